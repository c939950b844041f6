"""A folder of files, or a pattern such as `data/*.jsonl`: the shards of one data set, in the order of their names."""

import glob
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from unweave import progress
from unweave.data.sources.opening import format_of
from unweave.errors import DataError

SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
}  # fmt: skip
"""Words in the names of files and folders, and the split that they mean: those of the hub."""

DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""Files of `datasets` that hold no rows."""


def shards(folder: Path, split: str | None, *, formats: Collection[str]) -> list[Path]:
    """The files of a folder that hold rows of a split.

    Args:
        folder: The folder.
        split: The split; `None` is `train`, where names have splits in them at all.
        formats: Ends of names that can be read.

    Returns:
        The files; those of subfolders only where the folder itself has none.

    Raises:
        DataError: When there are none, or files of several formats.
    """
    depths = ("*", "*/*", "*/*/*")
    found = next((own for own in (_inside(folder, depth, formats) for depth in depths) if own), [])
    if not found:
        raise DataError(
            "The folder holds no files of rows.",
            where=str(folder),
            remedy=f"give one with {', '.join(sorted(formats))}",
        )
    return _one_format(_of_split(folder, found, split), str(folder))


def matching(pattern: str, *, formats: Collection[str]) -> list[Path]:
    """The files that a pattern names.

    Args:
        pattern: With `*`, `?` or `[...]`; `**` stands for any folders.
        formats: Ends of names that can be read.

    Returns:
        The files.

    Raises:
        DataError: When there are none, or files of several formats.
    """
    found = _readable(map(Path, glob.iglob(pattern, recursive=True)), formats)  # noqa: PTH207  # it may begin anywhere
    if not found:
        raise DataError("No file matches this pattern.", where=pattern, remedy="check it, or give a folder")
    return _one_format(found, pattern)


def _inside(folder: Path, pattern: str, formats: Collection[str]) -> list[Path]:
    """Files whose names, and whose folders' names, do not begin as those of helpers do: `.cache`, `_SUCCESS`."""
    own = (path for path in folder.glob(pattern) if not any(part[0] in "._" for part in path.relative_to(folder).parts))
    return _readable(own, formats)


def _readable(paths: Iterable[Path], formats: Collection[str]) -> list[Path]:
    kept = (path for path in paths if format_of(path) in formats and path.name not in DESCRIPTIONS and path.is_file())
    return sorted(kept)


def _one_format(files: list[Path], where: str) -> list[Path]:
    """Two formats side by side are most often the same rows twice."""
    kinds = sorted({format_of(path) for path in files})
    if len(kinds) > 1:
        raise DataError(
            f"The files are of several formats: {', '.join(kinds)}.",
            where=where,
            remedy=f"give those of one, such as '{Path(where).parent if '*' in where else where}/*{kinds[0]}'",
        )
    return files


def _of_split(folder: Path, files: list[Path], split: str | None) -> list[Path]:
    """Those of a split, where any name has a split in it; all where none does."""
    own = {path: _split_of(path.relative_to(folder)) for path in files}
    named = sorted({name for name in own.values() if name})
    if not named:
        if split is not None and split != "train":
            raise DataError(
                f"No split is in the names of the files, and '{split}' was asked for.",
                where=str(folder),
                remedy="leave `split` out, or give the files of the split alone",
            )
        return files
    wanted = SPLITS.get(split or "train", split)
    kept = [path for path in files if own[path] == wanted]
    if not kept:
        raise DataError(
            f"The folder has no split '{split or 'train'}'.",
            where=str(folder),
            remedy=f"give `split` {' or '.join(named)}",
        )
    if len(kept) < len(files):
        progress.say(f"{folder}: {len(kept)} of {len(files)} files are read, those of the split '{wanted}'")
    return kept


def _split_of(path: Path) -> str | None:
    """The split in a name, such as `train-00000-of-00002.parquet` or `test/rows.jsonl`."""
    words = re.split(r"[^a-z]+", str(path).lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)
