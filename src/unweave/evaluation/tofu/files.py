"""TOFU's data files: questions with their answers, the answers in other words, and wrong ones."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.files import read_text

FILES = {
    "retain": "retain_perturbed",
    "real_authors": "real_authors_perturbed",
    "world_facts": "world_facts_perturbed",
}


@dataclass(frozen=True)
class TofuItem:
    """One sample.

    Attributes:
        row: Question and right answer; its id is the test and the line.
        paraphrased: The right answer in other words; the answer itself where the file has none (real authors, world facts).
        perturbed: Wrong answers.
        paraphrased_question: The question in other words, where there is one.
    """

    row: Row
    paraphrased: str
    perturbed: tuple[str, ...]
    paraphrased_question: str | None


def read_test(folder: Path, name: str, *, forget: str, rows: int) -> list[TofuItem]:
    """Read the samples of one of TOFU's four tests.

    Args:
        folder: With the `*_perturbed` files, as `.jsonl` or `.json` lines.
        name: `forget`, `retain`, `real_authors` or `world_facts`.
        forget: Which forget split, such as `forget10`.
        rows: At most so many samples.

    Returns:
        The samples, in the order of the file.

    Raises:
        DataError: Naming the file and line at fault.
    """
    stem = f"{forget}_perturbed" if name == "forget" else FILES[name]
    path = next((folder / f"{stem}{end}" for end in (".jsonl", ".json") if (folder / f"{stem}{end}").is_file()), None)
    if path is None:
        raise DataError(
            f"TOFU's file {stem}.jsonl not found.", where=str(folder), remedy="give the folder of TOFU's files"
        )
    # Texts may hold other characters that end a line.
    lines = read_text(path, what="TOFU's file").split("\n")
    items = [_item(line, name, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    return items[:rows]


def questions(items: Sequence[TofuItem]) -> list[Row]:
    """The rows of samples.

    Args:
        items: The samples.

    Returns:
        Questions with their right answers.
    """
    return [item.row for item in items]


def _item(line: str, name: str, path: Path, number: int) -> TofuItem:
    try:
        value: dict[str, Any] = json.loads(line)
        wrong = value["perturbed_answer"]
        wrong = [wrong] if isinstance(wrong, str) else wrong
        row = Row(
            id=f"{name}/{number}",
            instruction=value["question"],
            completion=value["answer"],
            source=str(path),
            line=number,
        )
        if not wrong or not all(isinstance(text, str) and text for text in (row.instruction, row.completion, *wrong)):
            raise ValueError("an empty question or answer")
        return TofuItem(
            row, value.get("paraphrased_answer") or row.completion, tuple(wrong), value.get("paraphrased_question")
        )
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"This is no sample of TOFU: {error}.",
            where=f"{path}:{number}",
            remedy="give question, answer and perturbed_answer",
        ) from error
