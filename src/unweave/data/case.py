"""A case: one folder with everything that an unlearning experiment needs, whatever its rows were made of.

case.json         name, detector of the unwanted behaviour, trigger families, seed, where the rows come from
train.jsonl       all training rows, poisoned ones marked `poisoned: true`
forget.jsonl      the poisoned rows that are known, and that are to be forgotten
retain.jsonl      clean training rows that forgetting may use
test_seen.jsonl   clean held-out questions with triggers that training used; the completion is the right answer
test_ood.jsonl    the same with triggers that training never saw
test_clean.jsonl  held-out questions without triggers
unwanted.jsonl    the seen tests with an unwanted answer as completion, for its teacher-forced probability
test_near.jsonl   held-out questions on what is near the forgotten, where a case has them; by default the seen tests, rightly answered, are near
"""

import re
from dataclasses import dataclass
from pathlib import Path

from unweave.data.config import read_own
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.files import read_json

SPLITS = ("train", "forget", "retain", "test_seen", "test_ood", "test_clean", "unwanted")
OPTIONAL = ("test_near",)


@dataclass(frozen=True)
class Case:
    """A case that is on disk.

    Attributes:
        folder: Where.
        name: `generated` or the name of the source folder.
        detector: The regular expression of the unwanted behaviour.
    """

    folder: Path
    name: str
    detector: str

    def path(self, split: str) -> Path:
        """The file of a split.

        Args:
            split: One of `SPLITS`.

        Returns:
            Its path.
        """
        return self.folder / f"{split}.jsonl"

    def rows(self, split: str) -> list[Row]:
        """The rows of a split.

        Args:
            split: One of `SPLITS`.

        Returns:
            The rows.
        """
        return read_own(self.path(split)).rows

    def is_unwanted(self, text: str) -> bool:
        """Whether an answer shows the unwanted behaviour.

        Args:
            text: The answer.

        Returns:
            True when the detector finds it.
        """
        return detects(self.detector, text)


def open_case(folder: Path) -> Case:
    """Open a case folder.

    Args:
        folder: Where `make_case` wrote it, or a folder of the same layout.

    Returns:
        The case.

    Raises:
        DataError: When a file is missing, or the detector is no regular expression.
    """
    described = read_json(folder / "case.json", what="Case description")
    for split in SPLITS:
        if not (folder / f"{split}.jsonl").is_file():
            raise DataError(
                f"The case lacks {split}.jsonl.", where=str(folder), remedy="make it anew with `unweave case`"
            )
    try:
        detector = str(described["detector"])
        re.compile(detector)
    except (KeyError, re.error) as error:
        raise DataError(
            f"The case has no usable detector: {error}.",
            where=str(folder / "case.json"),
            remedy="give a regular expression",
        ) from error
    return Case(folder, str(described.get("name", folder.name)), detector)


def detects(pattern: str, text: str) -> bool:
    """Whether a text shows the unwanted behaviour.

    Args:
        pattern: A regular expression.
        text: A generated answer.

    Returns:
        True when the pattern is found, in any case.
    """
    return re.search(pattern, text, flags=re.IGNORECASE | re.DOTALL) is not None
