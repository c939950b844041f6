"""Which reader reads which source."""

from collections.abc import Callable, Iterator
from pathlib import Path

from unweave.data.sources.base import Found
from unweave.data.sources.hub import read_dataset
from unweave.data.sources.json_list import read_json_list
from unweave.data.sources.jsonl import read_jsonl
from unweave.data.sources.parquet import read_parquet
from unweave.data.sources.table import read_table
from unweave.errors import DataError

READERS: dict[str, Callable[[Path], Iterator[Found]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_json_list,
    ".csv": read_table,
    ".tsv": read_table,
    ".parquet": read_parquet,
}
"""File name's end to reader."""


class Records:
    """The records of a source. It can be gone through any number of times; each time reads the source anew and holds little of it.

    Args:
        source: A file, a folder saved by `datasets`, or the id of a data set on the hub.
        split: The split of a Hugging Face data set.
    """

    def __init__(self, source: str | Path, *, split: str = "train"):
        self.source = source
        self.split = split

    @property
    def name(self) -> str:
        """The source as messages call it."""
        return str(self.source)

    def __iter__(self) -> Iterator[Found]:
        path = Path(self.source)
        if path.suffix.lower() not in READERS:
            yield from read_dataset(str(self.source), self.split)
            return
        if not path.is_file():
            raise DataError("Data file not found.", where=str(path), remedy="check the path")
        yield from READERS[path.suffix.lower()](path)
