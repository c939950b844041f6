"""Safetensors files before anything is made of them: every header is checked, and an index names files of its own folder only.

The format's own reader checks most of this too. Two readers that take a broken file for two things are what such a file is made for: of a name that
stands twice, or of bytes that two tensors share, each may show another value.
"""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from unweave.errors import DataError, ModelError
from unweave.files import read_json

ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
MOST_HEADER = 100_000_000
"""Bytes that the header of a safetensors file may have at most, by the format's own reader."""

BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


class Held(NamedTuple):
    """What a header says of a tensor.

    Attributes:
        dtype: In the format's words, such as `BF16`.
        shape: Its shape.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def is_float(self) -> bool:
        """Whether its numbers have a fraction."""
        return "F" in self.dtype


def read_header(path: Path) -> dict[str, Held]:
    """Read and check the header of a safetensors file.

    Args:
        path: The file.

    Returns:
        Name to dtype and shape.

    Raises:
        ModelError: When the header is not whole, a name stands twice, or the tensors' places overlap, leave holes, or go beyond the file.
    """
    try:
        records, held_bytes = _records(path)
        found = {name: _held(name, record) for name, record in records.items() if name != "__metadata__"}
        _require_places({name: records[name]["data_offsets"] for name in found}, found, held_bytes)
    except _BrokenError as error:
        raise ModelError(
            f"The weights can't be loaded: {error}.",
            where=str(path),
            remedy="check that the file is whole, or copy it anew from where it came",
        ) from error
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: one, or those that its index names.

    Args:
        folder: The model's folder.

    Returns:
        The files.

    Raises:
        ModelError: When the index is broken, or names a file outside of the folder or one that is not there.
    """
    if (folder / ONE).is_file():
        return [folder / ONE]
    index = folder / INDEX
    if not index.is_file():
        return []
    try:
        names = read_json(index, what="The index of the weights")["weight_map"].values()
        files = sorted({str(name) for name in names})
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("The index of the weights is broken.", where=str(index), remedy="copy it anew") from error
    for name in files:
        # A link to elsewhere is the owner's, as in the hub's cache; a name is whoever wrote the index's.
        if Path(name).name != name or name in (".", "..") or "\\" in name or not name.endswith(".safetensors"):
            raise ModelError(
                f"The index names '{name}', which is no safetensors file of its folder.",
                where=str(index),
                remedy="copy the model anew, with all its files in one folder",
            )
        if not (folder / name).is_file():
            raise ModelError(
                f"The file '{name}' of the weights is missing.", where=str(index), remedy="copy the model anew"
            )
    return [folder / name for name in files]


def read_headers(files: Iterable[Path]) -> dict[str, Held]:
    """Read and check the headers of the files of a model.

    Args:
        files: The files.

    Returns:
        Name to dtype and shape, over all files.

    Raises:
        ModelError: When one is broken, or two hold a tensor of the same name.
    """
    found: dict[str, Held] = {}
    for path in files:
        own = read_header(path)
        if twice := found.keys() & own.keys():
            raise ModelError(
                f"The tensor '{min(twice)}' stands in two files.", where=str(path), remedy="copy the model anew"
            )
        found |= own
    return found


class _BrokenError(Exception):
    """What is wrong with a header."""


def _records(path: Path) -> tuple[dict[str, Any], int]:
    """The header's records, and how many bytes there are for tensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        if not 0 < length <= min(MOST_HEADER, size - 8):
            raise _BrokenError(f"its header of {length} bytes does not fit into {size}" if length >= 0 else "it is cut")
        text = file.read(length)
    try:
        records = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _BrokenError(f"its header is no JSON ({error})") from error
    if not isinstance(records, dict):
        raise _BrokenError("its header is no object")
    return records, size - 8 - length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _BrokenError(f"'{next(name for name in names if names.count(name) > 1)}' stands twice in its header")
    return found


def _held(name: str, record: Any) -> Held:
    try:
        dtype, shape, (begin, end) = record["dtype"], record["shape"], record["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise _BrokenError(f"its header does not say what '{name}' is") from None
    numbers = [*shape, begin, end] if isinstance(shape, list) else [None]
    if dtype not in BITS or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in numbers):
        raise _BrokenError(f"its header does not say what '{name}' is")
    return Held(dtype, tuple(shape))


def _require_places(places: dict[str, list[int]], held: dict[str, Held], held_bytes: int) -> None:
    """Each tensor has as many bytes as its shape needs, one behind the other, and none is left over."""
    at = 0
    for name, (begin, end) in sorted(places.items(), key=lambda item: item[1]):
        bits = BITS[held[name].dtype]
        for length in held[name].shape:
            bits *= length
        if end > held_bytes:
            raise _BrokenError(f"'{name}' ends beyond the file, which is cut or was changed")
        if begin != at:
            raise _BrokenError(f"'{name}' overlaps another tensor, or leaves a hole in front of it")
        if (end - begin) * 8 != bits:
            raise _BrokenError(f"'{name}' has {end - begin} bytes, and its shape needs {bits // 8}")
        at = end
    if at != held_bytes:
        raise _BrokenError(f"{held_bytes - at} of its bytes belong to no tensor")
