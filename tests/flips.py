"""Damage to files, one at a time and undone again: flipped bytes, cut ends, files that are gone or swapped, lines said twice or in another order.

`unnoticed` is for any check that says whether all is well: of a store, a ledger, a certificate.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True)
class Damage:
    """One change of the files on the disk.

    Attributes:
        name: What it is, for people.
        contents: File to its new content; `None` takes the file away.
    """

    name: str
    contents: tuple[tuple[Path, bytes | None], ...]


def files_below(*places: Path) -> list[Path]:
    """All files of some folders, and files."""
    found = [path for place in places for path in ([place] if place.is_file() else place.rglob("*")) if path.is_file()]
    return sorted(set(found))


def byte_flips(files: Sequence[Path], count: int, *, seed: int, each: bool = True) -> list[Damage]:
    """Single bits, at places that the seed draws: one in each file, then in files by their size."""
    draw = random.Random(seed)
    files = [path for path in files if path.stat().st_size]
    sizes = [path.stat().st_size for path in files]
    chosen = draw.sample(files, min(count, len(files))) if each else []
    chosen += draw.choices(files, weights=sizes, k=count - len(chosen))
    return [flip(path, draw.randrange(path.stat().st_size), draw.randrange(8)) for path in chosen]


def flip(path: Path, offset: int, bit: int) -> Damage:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    return Damage(f"bit {bit} of byte {offset} of {path.name}", ((path, bytes(content)),))


def truncations(files: Sequence[Path], *, seed: int) -> list[Damage]:
    """The end of each file cut off: one byte, and a random part."""
    draw = random.Random(seed)
    sized = [(path, path.stat().st_size) for path in files if path.stat().st_size]
    lengths = [(path, length) for path, size in sized for length in sorted({size - 1, draw.randrange(size)})]
    return [
        Damage(f"{path.name} cut to {length} bytes", ((path, path.read_bytes()[:length]),)) for path, length in lengths
    ]


def deletions(files: Sequence[Path]) -> list[Damage]:
    return [Damage(f"{path.name} deleted", ((path, None),)) for path in files]


def swaps(files: Sequence[Path]) -> list[Damage]:
    """Each two neighbours in the list with each other's content."""
    pairs = [(one, two) for one, two in pairwise(files) if one.read_bytes() != two.read_bytes()]
    return [
        Damage(f"{one.name} and {two.name} swapped", ((one, two.read_bytes()), (two, one.read_bytes())))
        for one, two in pairs
    ]


def additions(folder: Path, names: Sequence[str], content: bytes = b"{}") -> list[Damage]:
    """Files that were not there."""
    return [Damage(f"{name} added to {folder.name}", ((folder / name, content),)) for name in names]


@contextmanager
def done_to(damage: Damage) -> Iterator[None]:
    """The damage, for as long as the block lasts; the files are as they were after it."""
    with ExitStack() as undo:
        for path, content in damage.contents:
            before = path.read_bytes() if path.exists() else None
            undo.callback(_put, path, before)
            _put(path, content)
        yield


def _put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


def unnoticed(damages: Iterable[Damage], is_well: Callable[[], bool]) -> list[str]:
    """The damages after which a check still says that all is well.

    Args:
        damages: One after the other.
        is_well: The check.

    Returns:
        Their names.
    """
    missed = []
    for damage in damages:
        with done_to(damage):
            if is_well():
                missed.append(damage.name)
    return missed
