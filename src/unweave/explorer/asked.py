"""Questions that were asked, with their answers and the rows that drive them: kept in files, so that a link to one stays good."""

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from unweave.data.rows import Row
from unweave.data.turns import Turn
from unweave.errors import DataError
from unweave.files import read_record, write_json

FOLDER = "answers"


@dataclass(frozen=True)
class AskedHit:
    """A row that drives an answer.

    Attributes:
        row: Its id.
        influence: On the whole answer.
        level: Share of rows below it.
    """

    row: str
    influence: float
    level: float


@dataclass(frozen=True)
class Asked:
    """A question with its answer.

    Attributes:
        id: A digest of both.
        prompt: The question.
        completion: The answer: the model's own, or one that was given.
        system: The system text, where one was given.
        generated: Whether the model has said it.
        time: When, in UTC.
        hits: The rows with the most influence on the whole answer, the most helpful first; empty before it was traced. The question is the same with them.
    """

    id: str
    prompt: str
    completion: str
    system: str | None = None
    generated: bool = True
    time: str = ""
    hits: tuple[AskedHit, ...] = field(default=(), compare=False)

    def row(self) -> Row:
        """The question and its answer as a row, as they are traced."""
        turns = () if self.system is None else (Turn("system", self.system),)
        return Row(id=f"asked {self.id}", instruction=self.prompt, completion=self.completion, turns=turns)


class AskedAnswers:
    """The questions of a workspace.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def keep(self, prompt: str, completion: str, *, system: str | None, generated: bool) -> Asked:
        """Keep a question.

        Args:
            prompt: The question.
            completion: The answer.
            system: The system text.
            generated: Whether the model has said it.

        Returns:
            The question; the one that is kept already where it was asked before.
        """
        name = hashlib.blake2b(repr((prompt, completion, system)).encode(), digest_size=8).hexdigest()
        if self._path(name).is_file():
            return self.get(name)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        asked = Asked(name, prompt, completion, system, generated, now)
        write_json(self._path(name), asdict(asked))
        return asked

    def keep_hits(self, asked: Asked, hits: Sequence[AskedHit]) -> None:
        """Keep the rows that drive an answer.

        Args:
            asked: The question.
            hits: Its rows.
        """
        write_json(self._path(asked.id), asdict(replace(asked, hits=tuple(hits))))

    def get(self, name: str) -> Asked:
        """A question.

        Args:
            name: Its id.

        Returns:
            The question.

        Raises:
            DataError: When none of that id was asked here.
        """
        path = self._path(name)
        if not path.is_file():
            raise DataError("No such question was asked here.", where=name, remedy="ask it again")
        return _of(read_record(path, what="A question that was asked"))

    def all(self) -> list[Asked]:
        """All questions, the newest first."""
        found = [_of(read_record(path, what="A question that was asked")) for path in self._folder.glob("*.json")]
        return sorted(found, key=lambda one: (one.time, one.id), reverse=True)

    def _path(self, name: str) -> Path:
        if not (name.isalnum() and name.isascii()):
            raise DataError(
                "A question's id has letters and digits only.", where=name, remedy="follow a link of the page"
            )
        return self._folder / f"{name}.json"


def _of(record: dict[str, Any]) -> Asked:
    return Asked(**{**record, "hits": tuple(AskedHit(**hit) for hit in record["hits"])})
