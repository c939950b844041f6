"""Values of candidate rows for tasks, in memory: LinFiK in one pass over the gradients, and the scores that it is compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from unweave import progress
from unweave.attribution.adding import sketcher_for
from unweave.attribution.config import ENCODER
from unweave.data.encoding import EncodingConfig, Example, content_of, encode_rows
from unweave.data.reading import load_rows
from unweave.errors import ConfigError
from unweave.models.model import Model
from unweave.models.vocabulary import require_tokens
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.store.store import GradientStore
from unweave.valuation.baselines import BASELINES, Candidates
from unweave.valuation.config import Baseline
from unweave.valuation.linfik import TaskGradients
from unweave.valuation.table import Columns, ValueTable, require_task_names

LESS_SAMPLE = 256
"""Candidates that Adam's second moments are estimated from, at most."""

Keep = Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]]
"""Gives what a block of rows came to under a name: read where it was kept before, or made and kept."""


def _anew(name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    del name
    return compute()


def value(
    model: Model,
    candidates: Any,
    *,
    tasks: Mapping[str, Any],
    learning_rate: float = 1.0,
    parameters: str = "auto",
    reduction: Literal["sum", "mean"] = "sum",
    store: GradientStore | None = None,
    baselines: Sequence[Baseline] = (),
    tracin_model: Model | None = None,
    encoder: str = ENCODER,
    encoding: EncodingConfig | None = None,
    token_budget: int = 1024,
    block_rows: int = 256,
    seed: int = 0,
    keep: Keep = _anew,
) -> ValueTable:
    """Value candidate rows for tasks by LinFiK (arXiv 2503.01052): what one step of training on a row would do to each task's loss.

    A row's value is learning_rate * <mean gradient of the task's rows, gradient of the row>, at the model's parameters as they are: to first order, by how
    much the task's loss falls, in nats a token, when one step of gradient descent is made on the row. All tasks are valued in one pass over the candidates.

    Args:
        model: The model.
        candidates: The rows to value: anything that `uw.load_rows` takes, as all rows here.
        tasks: Name to validation rows of each task, a few hundred.
        learning_rate: The step's size; it scales all values alike.
        parameters: Whose gradients: `auto` (an adapter's where there is one, else `linear`), `lora`, `linear`, `all`, or a regular expression.
        reduction: What is stepped on: the `sum` of a candidate's token losses, or their `mean`. A store has its own.
        store: Holds the candidates: values then come from its sketches, in seconds, and in its normalization.
        baselines: What else to score the rows by, beside the values, such as `bm25` or `less`.
        tracin_model: For the baseline `tracin`: the model at the end of training on the candidates.
        encoder: For the baseline `embedding`: a sentence encoder.
        encoding: Template and lengths; a store has its own.
        token_budget: Tokens a batch, padding included.
        block_rows: Rows that `keep` is given at a time.
        seed: For the baseline `random`.
        keep: Keeps blocks of values, and gives those again that it has.

    Returns:
        The values: positive helps the task, negative harms it.

    Raises:
        ConfigError: When there is no task, its name can't be a column's, or a baseline lacks what it needs.
        DataError: When no row of a task leaves space for an answer.

    Example:
        >>> import unweave as uw
        >>> table = uw.value(model, retain, tasks={"sums": retain[3:5]})
        >>> list(table.to_pandas().columns)
        ['line', 'sums', 'loss']
        >>> len(table), min(table["sums"][3:5]) > 0
        (6, True)
    """
    named = {name: load_rows(rows).rows for name, rows in tasks.items()}
    require_scores(list(named), baselines=baselines, has_store=store is not None, has_tracin=tracin_model is not None)
    if store is not None:
        # Gradients of other tokens are not comparable.
        encoding = EncodingConfig(**store.spec.encoding)
    encoding = encoding or EncodingConfig()
    rows = load_rows(candidates).rows
    encoded = encode_rows(rows, model.tokenizer, encoding).examples
    by_id = {row.id: row for row in rows}
    kept = [by_id[example.row_id] for example in encoded]
    examples = {name: encode_rows(own, model.tokenizer, encoding).examples for name, own in named.items()}
    require_tokens(model.model, [*encoded, *(one for own in examples.values() for one in own)])
    run = _Run(encoded, examples, learning_rate, parameters, reduction, "less" in baselines, token_budget, block_rows)
    columns = run.exact(model, keep, key="linfik") if store is None else run.stored(model, store)
    losses = columns.pop("loss")
    material = Candidates(kept, losses, named, model, encoding=encoding, encoder=encoder, seed=seed)
    for name in baselines:
        if name in BASELINES:
            columns |= BASELINES[name](material)
    if "tracin" in baselines and tracin_model is not None:
        later = replace(run, less=False).exact(tracin_model, keep, key="tracin")
        columns |= {f"tracin.{name}": later[name] for name in named}
    if "gradnorm" not in baselines:
        columns.pop("gradnorm", None)
    ids, lines = [row.id for row in kept], [row.line for row in kept]
    return ValueTable(tuple(named), ids, columns, lines, losses, dropped=len(rows) - len(kept))


def require_scores(names: Sequence[str], *, baselines: Sequence[str], has_store: bool, has_tracin: bool) -> None:
    """Refuse what could not be scored, before anything is.

    Args:
        names: The tasks' names.
        baselines: Names of other scores.
        has_store: Whether values come from a store.
        has_tracin: Whether there is another checkpoint.

    Raises:
        ConfigError: When there is no task, its name can't be a column's, or a baseline lacks what it needs.
    """
    if "tracin" in baselines and not has_tracin:
        raise ConfigError(
            "`tracin` needs another checkpoint.", where="`tracin_model`", remedy="give the model after training"
        )
    if "less" in baselines and has_store:
        raise ConfigError(
            "`less` needs whole gradients.", where="`baselines`, `store`", remedy="leave one of the two out"
        )
    if not names:
        raise ConfigError("Values need a task.", where="`tasks`", remedy="give a name and validation rows")
    require_task_names(names)


@dataclass(frozen=True)
class _Run:
    """One valuation.

    Attributes:
        rows: The candidates.
        tasks: Validation rows by task.
        learning_rate: Scales the values.
        parameters: Whose gradients.
        reduction: Of a candidate's loss.
        less: Whether to score by LESS too.
        token_budget: Tokens a batch.
        block_rows: Rows a block.
    """

    rows: Sequence[Example]
    tasks: dict[str, list[Example]]
    learning_rate: float
    parameters: str
    reduction: Literal["sum", "mean"]
    less: bool
    token_budget: int
    block_rows: int

    def exact(self, model: Model, keep: Keep, *, key: str) -> Columns:
        """Values by exact inner products, block by block.

        Args:
            model: The model.
            keep: Keeps blocks.
            key: Names this pass in the names of its blocks.

        Returns:
            The tasks, `less.TASK` where asked for, `gradnorm` and `loss`.
        """
        parameters = self.parameters
        if parameters == "auto":
            parameters = "lora" if model.adapter is not None else "linear"
        gradients = GradientConfig(parameters=parameters, normalize="none", token_budget=self.token_budget)
        sketcher = Sketcher(model.model, pad_token_id=model.tokenizer.pad_token_id, config=gradients)
        # Task gradients are made when the first block is missing: a finished run is read, not computed.
        made: list[TaskGradients] = []

        def gradients_of_tasks() -> TaskGradients:
            if not made:
                made.append(TaskGradients(sketcher, list(self.tasks.values()), reduction=self.reduction))
                if self.less:
                    made[0].prepare_less(less_sample(self.rows))
            return made[0]

        def block(part: Sequence[Example]) -> dict[str, Any]:
            found = gradients_of_tasks().values(part, advance=advance)
            cosines = found.cosines.T.tolist() if found.cosines is not None else None
            return {
                "products": found.products.T.tolist(),
                "cosines": cosines,
                "norms": found.norms.tolist(),
                "losses": found.losses.tolist(),
            }

        names = (*self.tasks, *(f"less.{name}" for name in self.tasks if self.less), "gradnorm", "loss")
        columns: Columns = {name: [] for name in names}
        with progress.task("value", len(self.rows)) as advance:
            for number, start in enumerate(range(0, len(self.rows), self.block_rows)):
                part = self.rows[start : start + self.block_rows]
                own = keep(f"{key}-{number:06d}", lambda part=part: block(part))
                for index, name in enumerate(self.tasks):
                    columns[name] += [self.learning_rate * product for product in own["products"][index]]
                    if self.less:
                        columns[f"less.{name}"] += own["cosines"][index]
                columns["gradnorm"] += own["norms"]
                columns["loss"] += own["losses"]
        return columns

    def stored(self, model: Model, store: GradientStore) -> Columns:
        """Values from the sketches of a store.

        Args:
            model: The model.
            store: Holds the candidates.

        Returns:
            The tasks, `gradnorm` and `loss`.
        """
        sketcher = sketcher_for(store, model)
        queries = torch.stack([sketcher.sketch_all(own).sketches.mean(dim=0) for own in self.tasks.values()])
        ids = [example.row_id for example in self.rows]
        store.require_rows(ids, [content_of(example) for example in self.rows])
        parts = [
            store.read(ids[start : start + self.block_rows]) @ queries.T
            for start in range(0, len(ids), self.block_rows)
        ]
        values = self.learning_rate * torch.cat(parts)
        columns = {name: values[:, index].tolist() for index, name in enumerate(self.tasks)}
        return columns | {"gradnorm": store.column("norms", ids).tolist(), "loss": store.column("losses", ids).tolist()}


def less_sample(rows: Sequence[Example]) -> list[Example]:
    """The candidates that `less` estimates Adam's second moments from.

    Args:
        rows: All candidates.

    Returns:
        256 of them at equal distances, or all where there are no more.
    """
    count = min(LESS_SAMPLE, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]
