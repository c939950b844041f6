"""Hugging Face data sets: saved in a folder, or on the hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unweave.data.sources.base import Found
from unweave.errors import DataError, MissingExtraError


def read_dataset(name: str, split: str) -> Iterator[Found]:
    """Read a data set.

    Args:
        name: A folder that `datasets` saved, or the id of a data set on the hub.
        split: The split.

    Yields:
        Its records.

    Raises:
        DataError: When there is none, or it lacks the split.
        MissingExtraError: When `datasets` is not installed.
    """
    path = Path(name)
    if path.is_file():
        raise DataError(
            f"Unknown file type '{path.suffix}'.", where=name, remedy="use .jsonl, .json, .csv, .tsv or .parquet"
        )
    is_saved = (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file()
    if not is_saved and (path.is_dir() or name.startswith((".", "/")) or name.count("/") != 1):
        raise DataError(
            "Data not found.",
            where=name,
            remedy="give a file, a folder saved by `datasets`, or a hub id such as owner/name",
        )
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", extra="datasets", purpose="Reading a Hugging Face data set") from error
    try:
        data: Any = datasets.load_from_disk(name) if is_saved else datasets.load_dataset(name, split=split)
    except Exception as error:
        raise DataError(
            f"The data set can't be loaded: {error}", where=name, remedy="check the id and the network, or give a file"
        ) from error
    if isinstance(data, datasets.DatasetDict):
        if split not in data:
            raise DataError(
                f"The data set has no split '{split}'.", where=name, remedy=f"it has: {', '.join(map(str, data))}"
            )
        data = data[split]
    for number, record in enumerate(data, start=1):
        yield Found(name, number, record)
