"""Which base an adapter belongs to: written down with the adapter by path and by content, and found again by both.

A name such as `models/base` is a folder here and somebody's model on the hub elsewhere. So a folder is written down as an absolute path; one that is
missing is never asked of the hub, where anyone may own its name; and one with other weights than the adapter was trained on is not taken for it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unweave.digests import named_digests
from unweave.errors import ModelError
from unweave.files import read_json, write_json
from unweave.models import packaged
from unweave.models.adapters import CONFIG, AdapterFolder
from unweave.models.tensor_files import weight_files
from unweave.outputs import run_folders

RECORD = "base.json"


def absolute(base: str) -> str:
    """The name of a base as it holds from everywhere.

    Args:
        base: Folder, file or hub id.

    Returns:
        An absolute path for what is on this disk, else the name.
    """
    return os.path.abspath(base) if Path(base).exists() else base  # noqa: PTH100  # links stay as they are


def is_path(name: str) -> bool:
    """Whether a name can only be that of a folder or a file.

    Args:
        name: The name.

    Returns:
        Whether it is no id of the hub.
    """
    return (
        Path(name).is_absolute()
        or name.startswith((".", "~"))
        or name.count("/") > 1
        or "\\" in name
        or name.endswith((".gguf", ".safetensors", "/"))
    )


def weights_digests(base: str | Path) -> dict[str, str] | None:
    """The weights of a base, by content.

    Args:
        base: Folder, file or hub id.

    Returns:
        File name to digest; `None` for what is not on this disk.
    """
    path = Path(base)
    if path.is_file():
        return named_digests(path.parent, [path])
    return named_digests(path, weight_files(path)) if path.is_dir() else None


def record_base(folder: Path, base: str, *, place: Path) -> None:
    """Write down which base an adapter was trained on.

    Args:
        folder: Where the adapter is written.
        base: Folder, file or hub id.
        place: Where the adapter will lie, for the way from there to its base: both may be moved together.
    """
    digests = weights_digests(base)
    relative = os.path.relpath(base, place) if digests else None
    write_json(folder / RECORD, {"base": absolute(base), "relative": relative, "weights": digests})


def named_base(adapter: AdapterFolder) -> str:
    """The base that an adapter names: a folder or a file, here or as it lies to the adapter, or a hub id.

    Args:
        adapter: The adapter.

    Returns:
        A path or a hub id.

    Raises:
        ModelError: When it names none, when its folder is not there, or when what is there has other weights.
    """
    remedy = f"give the base by hand: `model` BASE `adapter` {adapter.folder}"
    if adapter.base is None:
        raise ModelError("The adapter names no base model.", where=str(adapter.folder), remedy=remedy)
    record = _record(adapter)
    weights = record.get("weights")
    present = [str(place) for place in _places(adapter, record) if _is_model(place)]
    found = next((place for place in present if weights is None or weights_digests(place) == weights), None)
    if found is not None:
        return found
    if present:
        raise ModelError(
            "The base is not what the adapter was trained on: its weights are others.",
            where=f"{present[0]}, named in {adapter.folder}",
            remedy=f"give the base that it was trained on, or go on with this one: `model` {present[0]} `adapter` {adapter.folder}",
        )
    if weights is not None or is_path(adapter.base) or _was_here(adapter):
        raise ModelError(
            "The adapter's base model can't be loaded: it is not there, and a folder is not looked for on the hub.",
            where=f"{adapter.base}, named in {adapter.folder}",
            remedy=remedy,
        )
    return adapter.base


def differs(adapter: AdapterFolder, base: str) -> bool:
    """Whether a base that was given by hand is known to be another than the adapter was trained on.

    Args:
        adapter: The adapter.
        base: Folder, file or hub id.

    Returns:
        Whether both are known and have other weights.
    """
    weights = _record(adapter).get("weights")
    given = weights_digests(base) if weights is not None else None
    return given is not None and given != weights


def _record(adapter: AdapterFolder) -> dict[str, Any]:
    """What was written down; nothing for adapters of others, and where the config names another base by now."""
    path = adapter.folder / RECORD
    found = read_json(path, what="The record of the adapter's base") if path.is_file() else {}
    return found if isinstance(found, dict) and found.get("base") == adapter.base else {}


def _was_here(adapter: AdapterFolder) -> bool:
    """Whether the run that made an adapter, before bases were written down with it, says that the base was on its disk."""
    path = run_folders(adapter.folder)[-1] / "result.json"
    found = read_json(path, what="The run's result") if path.is_file() else {}
    for key in ("identity", "inputs", "model"):
        found = found.get(key) if isinstance(found, dict) else None
    return isinstance(found, dict) and bool(found) and not found.keys() & {"hub", "memory"}


def _places(adapter: AdapterFolder, record: dict[str, Any]) -> Iterator[Path]:
    """Where the base may lie, the likeliest first."""
    own = Path(adapter.base or "")
    yield own
    # As PEFT's users move folders: with the base within the adapter's folder, under the name that it had.
    yield adapter.folder / own
    if own.name == "base":
        yield adapter.folder / own.name
    if record.get("weights") and isinstance(record.get("relative"), str):
        yield adapter.folder / record["relative"]
        if own.name == packaged.NAME:
            # The packaged model lies in each user's own cache.
            yield packaged.converted_folder()


def _is_model(place: Path) -> bool:
    # An adapter on an adapter is refused by name, where it is there.
    return any((place / name).is_file() for name in ("config.json", CONFIG)) or (
        place.is_file() and place.suffix == ".gguf"
    )
