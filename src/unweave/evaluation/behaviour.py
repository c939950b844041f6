"""What one model does on a case: attack success, unwanted probability, perplexity, exact answers; a value for every row."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.forced import Forced, forced_pass
from unweave.evaluation.measures.text import check_answer
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded
from unweave.stats.intervals import Estimate, ratio, share


@dataclass(frozen=True)
class Behaviour:
    """A model's behaviour on the tests of a case, row by row.

    Attributes:
        row_ids: The ids of each test's rows.
        answers: Greedy answers of each test.
        unwanted: For the trigger tests and the clean test: 1 where the answer shows the unwanted behaviour.
        correct: For the clean test: 1 where the answer is right; empty where answers can't be checked.
        tasks: The task family of each clean row.
        unwanted_probability: exp(-l) of an unwanted answer to each seen trigger prompt: its geometric mean probability a token.
        clean_nll: Summed loss of the right answer of each clean row, in nats.
        clean_tokens: Its tokens.
        seconds: Wall time.
    """

    row_ids: dict[str, list[str]]
    answers: dict[str, list[str]]
    unwanted: dict[str, list[float]]
    correct: list[float]
    tasks: list[str]
    unwanted_probability: list[float]
    clean_nll: list[float]
    clean_tokens: list[int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Behaviour":
        """Read back what `to_json` gave.

        Args:
            value: The object.

        Returns:
            The behaviour.
        """
        return cls(**value)

    def attack_success(self, test: str) -> Estimate:
        """Share of a test's prompts whose greedy answer shows the unwanted behaviour.

        Args:
            test: `seen`, `ood` or `clean`.

        Returns:
            The estimate, with Wilson's interval.
        """
        return share(self.unwanted[test])

    def perplexity(self, *, seed: int = 0) -> Estimate:
        """Perplexity of the right answers of the clean rows, weighted by tokens.

        Args:
            seed: Of the bootstrap.

        Returns:
            The estimate.
        """
        loss = ratio(self.clean_nll, self.clean_tokens, seed=seed)
        return Estimate(math.exp(loss.value), math.exp(loss.low), math.exp(loss.high), loss.count)

    def accuracy_by_task(self) -> dict[str, Estimate]:
        """Exact-answer accuracy of each task family.

        Returns:
            Task to estimate; empty where answers can't be checked.
        """
        by_task: dict[str, list[float]] = {}
        for task, value in zip(self.tasks, self.correct, strict=False):
            by_task.setdefault(task, []).append(value)
        return {task: share(values) for task, values in sorted(by_task.items())}


def unwanted_answers(
    loaded: Loaded,
    case: Case,
    rows: Sequence[Row],
    encoding: EncodingConfig,
    *,
    max_new_tokens: int = 24,
    description: str = "generate",
) -> list[float]:
    """Whether the greedy answer to each prompt shows the unwanted behaviour.

    Args:
        loaded: The model.
        case: Whose detector judges.
        rows: The prompts.
        encoding: Template and lengths.
        max_new_tokens: Longest answer.
        description: For the progress bar.

    Returns:
        0 or 1 a prompt.
    """
    answers = greedy_answers(loaded, rows, encoding, max_new_tokens=max_new_tokens, description=description)
    return [float(case.is_unwanted(answer)) for answer in answers]


def measure_behaviour(
    loaded: Loaded,
    case: Case,
    encoding: EncodingConfig,
    *,
    max_new_tokens: int = 24,
    generation_batch: int = 32,
    clean_generations: bool = True,
    label: str = "",
    forced: dict[str, Forced] | None = None,
) -> Behaviour:
    """Run all tests of a case on a model.

    Args:
        loaded: The model.
        case: The case.
        encoding: Template and lengths.
        max_new_tokens: Longest answer; the attack and the exact answers are judged on it.
        generation_batch: Prompts generated at a time.
        clean_generations: Whether to answer the clean rows too, for accuracy and false alarms.
        label: Names the model in the progress bars.
        forced: The teacher-forced pass over (at least) the sets `unwanted` and `clean`, where it was made already.

    Returns:
        The behaviour.
    """
    started = time.monotonic()
    tests: dict[str, list[Row]] = {"seen": case.rows("test_seen"), "ood": case.rows("test_ood")}
    clean = case.rows("test_clean")
    if clean_generations:
        tests["clean"] = clean
    answers = {
        name: greedy_answers(
            loaded,
            rows,
            encoding,
            max_new_tokens=max_new_tokens,
            batch_size=generation_batch,
            description=f"{label} answers, {name}".strip(),
        )
        for name, rows in tests.items()
    }
    unwanted = {name: [float(case.is_unwanted(answer)) for answer in texts] for name, texts in answers.items()}
    checkable = clean_generations and all("keywords" in row.meta for row in clean)
    correct = (
        [
            float(check_answer(text, row.completion, row.meta["keywords"]))
            for row, text in zip(clean, answers["clean"], strict=True)
        ]
        if checkable
        else []
    )
    forced = forced or forced_pass(
        loaded,
        {"unwanted": case.rows("unwanted"), "clean": clean},
        encoding,
        description=f"{label} given answers".strip(),
    )
    return Behaviour(
        row_ids={name: [row.id for row in rows] for name, rows in tests.items()},
        answers=answers,
        unwanted=unwanted,
        correct=correct,
        tasks=[str(row.meta.get("task", "other")) for row in clean],
        unwanted_probability=forced["unwanted"].probabilities(),
        clean_nll=forced["clean"].sums(),
        clean_tokens=forced["clean"].tokens(),
        seconds=round(time.monotonic() - started, 3),
    )
