"""`unweave value select`: rows for a budget, from a table of values."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from unweave.config import part_of, to_plain
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.files import write_json, write_jsonl
from unweave.models.loading import ModelConfig, tokenizer_of
from unweave.run.folder import environment
from unweave.store.store import GradientStore
from unweave.valuation.baselines import document
from unweave.valuation.choice import STRATEGIES, Candidates, Selection, shares_of
from unweave.valuation.config import SelectConfig
from unweave.valuation.table import read_table, task_columns, valued_rows


@dataclass(frozen=True)
class SelectResult:
    """What was chosen.

    Attributes:
        output: The chosen rows.
        rows: How many.
        of: How many there were to choose from.
        spent: Rows or tokens of the budget that they take.
        value: Their summed value.
        best_value: The summed value of the largest values for the same number of rows: what diversity cost.
        copies: Rows left out as copies of chosen ones.
        providers: Provider to its contribution.
        seconds: Wall time.
    """

    output: Path
    rows: int
    of: int
    spent: float
    value: float
    best_value: float
    copies: int
    providers: dict[str, dict[str, float]]
    seconds: float


def select_rows(config: SelectConfig) -> SelectResult:
    """Choose rows, and write them with a summary.

    Args:
        config: Values, rows, budget, strategy.

    Returns:
        What was chosen.

    Raises:
        ConfigError: When the budget, the task or a share is wrong.
        DataError: When values and rows do not fit, or a row has no provider.
    """
    started = time.monotonic()
    _check(config)
    table = read_table(config.values)
    task = config.task or next(iter(task_columns(table)), None)
    if task is None or task not in table:
        raise ConfigError(
            f"The table has no column '{task}'.", where=str(config.values), remedy="give `task`, a column of it"
        )
    values = {row_id: value for row_id, value in zip(table["id"], table[task], strict=True) if value == value}
    rows = valued_rows(values, config.values, config)
    ranked = sorted(values, key=lambda row_id: (-values[row_id], row_id))
    costs = _costs(config, [rows[row_id] for row_id in ranked])
    budget = float(config.budget_rows or config.budget_tokens or 0)
    if config.strategy != "top":
        bought = int(np.searchsorted(np.cumsum(costs), budget, side="right"))
        ranked = ranked[: max(2, int(config.pool * max(1, bought)))]
    chosen_rows = [rows[row_id] for row_id in ranked]
    vectors = _vectors(config, chosen_rows) if config.strategy != "top" or config.duplicates < 1 else None
    own = np.array([values[row_id] for row_id in ranked])
    selection = Selection(
        Candidates(own, costs[: len(ranked)], [document(row) for row in chosen_rows], vectors),
        budget=budget,
        duplicates=config.duplicates,
    )
    STRATEGIES[config.strategy](selection, config.diversity)
    order = sorted(selection.chosen)
    picked, worth = [chosen_rows[index] for index in order], [float(own[index]) for index in order]
    providers = shares_of(worth, [_provider(row, config) for row in picked], config.price) if config.provider else {}
    write_jsonl(config.output, [{**row.to_record(), "value": value} for row, value in zip(picked, worth, strict=True)])
    best = float(np.sort(np.fromiter(values.values(), dtype=float))[::-1][: len(picked)].sum())
    seconds = round(time.monotonic() - started, 3)
    result = SelectResult(
        config.output, len(picked), len(values), selection.spent, sum(worth), best, selection.copies, providers, seconds
    )
    summary: dict[str, Any] = {
        **asdict(result),
        "output": str(config.output),
        "task": task,
        "config": to_plain(config),
        "environment": environment(),
    }
    write_json(config.output.with_suffix(".summary.json"), summary)
    return result


def _check(config: SelectConfig) -> None:
    if (config.budget_rows is None) == (config.budget_tokens is None) or (
        config.budget_rows or config.budget_tokens or 0
    ) < 1:
        raise ConfigError(
            "A budget is a number of rows or of tokens.",
            where="`budget_rows`, `budget_tokens`",
            remedy="give one of the two",
        )
    if not 0 <= config.diversity <= 1 or not 0 < config.duplicates <= 1 or config.pool < 1:
        raise ConfigError(
            "A share is out of range.",
            where="`diversity`, `duplicates`, `pool`",
            remedy="give shares up to 1, and a pool of 1 or more",
        )
    if config.features == "store" and config.store is None:
        raise ConfigError("Similarity on sketches needs a store.", where="`features` store", remedy="give `store`")
    if config.price is not None and config.provider is None:
        raise ConfigError(
            "A price is shared among providers.", where="`price`", remedy="give `provider`, a column of the data"
        )


def _costs(config: SelectConfig, rows: list[Row]) -> Float[np.ndarray, " n"]:
    if config.budget_rows is not None:
        return np.ones(len(rows))
    encoded = encode_rows(
        rows, tokenizer_of(ModelConfig(model=config.tokenizer)), part_of(EncodingConfig, config)
    ).examples
    lengths = {example.row_id: len(example) for example in encoded}
    # A row without space for its answer can't be trained on: no budget buys it.
    return np.array([float(lengths.get(row.id, np.inf)) for row in rows])


def _vectors(config: SelectConfig, rows: list[Row]) -> Float[np.ndarray, "n d"]:
    if config.store is not None and config.features == "store":
        store = GradientStore.open(config.store)
        store.require_texts(rows)
        sketches = store.read([row.id for row in rows])
        return torch.nn.functional.normalize(sketches, dim=1).numpy()
    from unweave.models.encoder import load_encoder

    return load_encoder(config.encoder, device=config.device).encode([document(row) for row in rows]).numpy()


def _provider(row: Row, config: SelectConfig) -> str:
    found = row.meta.get(str(config.provider))
    if found in (None, ""):
        raise DataError(f"The row has no '{config.provider}'.", where=row.place, remedy="give every row its provider")
    return str(found)
