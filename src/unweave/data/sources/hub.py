"""Hugging Face data sets: saved in a folder, or on the hub."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unweave.data.sources.base import Found, Reading
from unweave.data.sources.memory import dataset_records, say_idle
from unweave.errors import ConfigError, DataError, MissingExtraError, UnweaveError

HUB_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+|[\w-]+)(?::(?P<subset>[\w.+-]+))?(?:@(?P<revision>[\w./-]+))?")


def is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a folder.

    Args:
        folder: The folder.

    Returns:
        True when it did.
    """
    return any((folder / name).is_file() for name in ("state.json", "dataset_dict.json"))


def read_saved(folder: Path, reading: Reading) -> Iterator[Found]:
    """Read a folder that `datasets` saved.

    Args:
        folder: The folder.
        reading: The split.

    Yields:
        Its records; the line of a record is its position.
    """
    data = _loaded(str(folder), lambda datasets: datasets.load_from_disk(str(folder)))
    say_idle(data, str(folder), reading)
    yield from dataset_records(data, str(folder), reading)


def read_hub(name: str, reading: Reading) -> Iterator[Found]:
    """Read a data set of the hub.

    Args:
        name: Its id, such as `owner/name`, `name`, `owner/name:subset` or `owner/name:subset@revision`.
        reading: Split, subset and revision.

    Yields:
        Its records; the line of a record is its position.

    Raises:
        DataError: When there is none, or it lacks the split or the subset.
        ConfigError: When the id and an option name different subsets or revisions.
    """
    parts = HUB_ID.fullmatch(name)
    if parts is None:
        raise DataError(
            "Data not found.",
            where=name,
            remedy="give a file, a folder of files, a folder saved by the package datasets, or a hub id such as owner/name",
        )
    found: dict[str, str | None] = {}
    for part, option, given in (
        ("subset", "`subset`", reading.subset),
        ("revision", "`data_revision`", reading.data_revision),
    ):
        if parts[part] and given and parts[part] != given:
            raise ConfigError(
                f"The id says {part} '{parts[part]}', the option '{given}'.",
                where=f"{name}, {option}",
                remedy="give one of them",
            )
        found[part] = parts[part] or given
    split = reading.split or "train"
    # A split such as train[:100] is cut by the library, which can't do it to a stream.
    streaming = reading.few and "[" not in split

    def load(datasets: Any) -> Any:
        # Releases that could run a program of a data set asked for leave on the terminal without an answer given beforehand.
        return datasets.load_dataset(
            parts["id"],
            found["subset"],
            split=split,
            revision=found["revision"],
            streaming=streaming,
            trust_remote_code=False,
        )

    yield from dataset_records(_loaded(name, load, parts["id"], found), name, reading)


def _loaded(name: str, load: Any, hub_id: str | None = None, found: Mapping[str, str | None] | None = None) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets", extra="datasets", purpose="Reading a Hugging Face data set") from error
    try:
        return load(datasets)
    except Exception as error:
        # The library raises whatever its many readers and the network do.
        raise _explained(datasets, error, name, hub_id, found or {}) from error


def _explained(
    datasets: Any, error: Exception, name: str, hub_id: str | None, found: Mapping[str, str | None]
) -> UnweaveError:
    reason = str(error).strip().rstrip(".") or type(error).__name__
    if hub_id is None:
        return DataError(f"The data set can't be loaded: {reason}.", where=name, remedy="save it anew")
    missing = DataError(
        f"It is no file or folder, and no data set of that id can be loaded: {reason}.",
        where=name,
        remedy="check the path, or the id and the network",
    )
    if not isinstance(error, ValueError):
        return missing
    # The library knows the data set, and not the split or the subset.
    subset, revision = found.get("subset"), found.get("revision")
    try:
        subsets = datasets.get_dataset_config_names(hub_id, revision=revision)
        if subset not in subsets if subset else len(subsets) > 1 and "default" not in subsets:
            return DataError(
                f"The data set has {f'no subset {subset!r}' if subset else 'several subsets'}.",
                where=name,
                remedy=f"give `subset` with one of: {', '.join(subsets)}",
            )
        splits = datasets.get_dataset_split_names(hub_id, subset, revision=revision)
    except Exception:
        return missing
    return DataError(
        f"The data set has no such split: {reason}.",
        where=name,
        remedy=f"give `split` with one of: {', '.join(splits)}",
    )
