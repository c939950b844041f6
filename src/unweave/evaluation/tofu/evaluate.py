"""TOFU's evaluation of a model, from its data files: writes a log in TOFU's own format, and scores it."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unweave.config import part_of
from unweave.data.dates import dated, recorded
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.evaluation.forced import forced_pass
from unweave.evaluation.measures.text import rouge_l_recall
from unweave.evaluation.tofu.config import TofuConfig
from unweave.evaluation.tofu.files import TofuItem, questions, read_test
from unweave.evaluation.tofu.logs import AGGREGATED, TESTS, TofuLog, TofuTest
from unweave.evaluation.tofu.scores import FORMULAS, score_logs, utilities
from unweave.files import write_json
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, load
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_path
from unweave.run.model_inputs import of_model

OFFICIAL_LENGTH = 200
"""Tokens of prompt and answer together in TOFU's own evaluation (`generation.max_length`)."""


@dataclass(frozen=True)
class _Slot:
    """Which answer of which sample a scored row is: -2 the right one, -1 in other words, from 0 the wrong ones."""

    test: str
    item: int
    kind: int


def evaluate_tofu(config: TofuConfig, *, loaded: Loaded | None = None) -> dict[str, Any]:
    """Evaluate a model on TOFU's four tests.

    Args:
        config: Model, folder of TOFU's files, forget split.
        loaded: The model, where it is loaded already.

    Returns:
        `model_utility` by both of TOFU's formulas, and with a reference log `forget_quality` and the rest of `TofuScores`; they are in `scores.json` too,
        and the log in `eval_log_aggregated.json`.
    """
    config = recorded(config, config.output_dir)
    run = RunFolder(config.output_dir, "audit tofu", config, inputs=tofu_inputs(config, loaded))
    with run.held():
        return _evaluate(run, config, loaded or load(config))


def tofu_inputs(config: TofuConfig, loaded: Loaded | None = None) -> dict[str, Input]:
    """What TOFU's evaluation reads.

    Args:
        config: Its config.
        loaded: The model, where it is in memory already.

    Returns:
        Option to input.
    """
    return {**of_model(config, loaded), "data": of_path(config.data), "reference": of_path(config.reference)}


def _evaluate(run: RunFolder, config: TofuConfig, loaded: Loaded) -> dict[str, Any]:
    started = time.monotonic()
    config = run.config = dated(config, loaded.tokenizer, loaded.adapter, loaded.base)
    run.start(loaded)
    encoding = part_of(EncodingConfig, config)
    tests = {name: read_test(config.data, name, forget=config.forget_split, rows=config.max_rows) for name in TESTS}
    log = measure_tofu(loaded, tests, encoding, max_new_tokens=config.max_new_tokens)
    write_json(config.output_dir / AGGREGATED, log.to_json())
    result: dict[str, Any] = {**utilities(log), "formulas": FORMULAS}
    if config.reference is not None:
        result |= asdict(score_logs(log, config.reference))
    result |= {"log": str(config.output_dir / AGGREGATED), "seconds": round(time.monotonic() - started, 3)}
    write_json(config.output_dir / "scores.json", result)
    return result


def measure_tofu(
    loaded: Loaded, tests: dict[str, list[TofuItem]], encoding: EncodingConfig, *, max_new_tokens: int | None
) -> TofuLog:
    """Score and generate the answers of all tests; one batched pass scores all answers, right and wrong.

    Args:
        loaded: The model.
        tests: Our name of a test to its samples.
        encoding: Template and lengths.
        max_new_tokens: Longest generated answer; 0 generates none, and the log has no ROUGE; `None` is TOFU's own limit.

    Returns:
        The log.

    Raises:
        DataError: When an answer does not fit the longest sequence.
    """
    slots, rows = _all_answers(tests)
    forced = forced_pass(loaded, {"tofu": rows}, encoding, description="TOFU answers")["tofu"]
    if len(forced.row_ids) != len(rows):
        lost = next(row for row in rows if row.id not in set(forced.row_ids))
        raise DataError("An answer does not fit the longest sequence.", where=lost.place, remedy="raise `max_length`")
    losses = dict(zip(slots, forced.mean_losses(), strict=True))
    found = {}
    for name, items in tests.items():
        answers: list[str] = []
        if max_new_tokens != 0:
            limit: Any = (
                {"total_tokens": OFFICIAL_LENGTH} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
            )
            answers = greedy_answers(loaded, questions(items), encoding, description=f"TOFU {name}", **limit)
        found[name] = TofuTest(
            answer_losses=[losses[_Slot(name, index, -2)] for index in range(len(items))],
            paraphrased_losses=[losses[_Slot(name, index, -1)] for index in range(len(items))],
            perturbed_losses=[
                [losses[_Slot(name, index, kind)] for kind in range(len(item.perturbed))]
                for index, item in enumerate(items)
            ],
            rouge=[
                rouge_l_recall(item.row.completion, answer)
                for item, answer in zip(items, answers, strict=bool(answers))
            ],
            row_ids=[str(index) for index in range(len(items))],
        )
    return TofuLog("", found)


def _all_answers(tests: dict[str, list[TofuItem]]) -> tuple[list[_Slot], Sequence[Row]]:
    slots, rows = [], []
    for name, items in tests.items():
        for index, item in enumerate(items):
            for kind, answer in enumerate((item.row.completion, item.paraphrased, *item.perturbed), start=-2):
                slots.append(_Slot(name, index, kind))
                rows.append(item.row.with_completion(answer))
    return slots, rows
