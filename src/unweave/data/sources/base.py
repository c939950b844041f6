"""What every reader gives: records, each with its place; and what is said of a source beside its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from unweave import progress
from unweave.arguments import quoted

Record = Mapping[str, Any]


class Found(NamedTuple):
    """A record of a source.

    Attributes:
        source: The file it stands in, or the name of the data set.
        line: Its line there, from 1; in Parquet, JSON lists and data sets its position, from 1.
        record: Column to value, as JSON holds values; or, as text, why there is none.
    """

    source: str
    line: int
    record: Record | str


@dataclass(frozen=True)
class Reading:
    """Which part of a source is read.

    Attributes:
        split: The split of a data set, or of a folder whose files are named after splits; `None` is `train`.
        subset: The configuration of a data set on the hub.
        data_revision: Its branch, tag or commit.
        few: Only the first rows are wanted: a data set of the hub is streamed, not downloaded.
    """

    split: str | None = None
    subset: str | None = None
    data_revision: str | None = None
    few: bool = False

    def say_idle(self, source: str, *options: str) -> None:
        """Say which options were given that a source of this kind has nothing for.

        It is no error: one command may read a data set, which they are about, and files beside it.

        Args:
            source: The source.
            *options: Those that have no effect on it.
        """
        for name in options:
            if (value := getattr(self, name)) is not None:
                progress.say_once(f"{source}: {quoted(name)} {value} has no effect on it: all of its rows are read")
