"""What vouches for a store: a log of its files' digests, each line chained to the one before, so that no byte of the store changes unseen.

Shards have their digests in the commits; the commits, deletions, texts and descriptions have theirs here. Before a file is replaced or removed a line says
what it was and what it will be, and after it another that it is done. A kill in between leaves a file that is one of the two. Whoever writes to the store
appends, one at a time; a compaction writes the log anew, with a line for each file that is left.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from unweave.errors import StoreError
from unweave.files import file_digest
from unweave.replacing import replacing
from unweave.temporary import TEMPORARY_PREFIX, same_file

LOG = "log.jsonl"
DESCRIPTIONS = ("store.json", "rows.parquet", "columns.json")
RECORDS = ("commits", "deletions")
APART = ("shards",)
"""Folders whose files are vouched for elsewhere."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a store.

    Attributes:
        file: Its name within the store.
        text: What is wrong.
        strange: Whether the log does not know the file.
    """

    file: str
    text: str
    strange: bool = False


@dataclass(frozen=True)
class _Line:
    """A line of the log: what a file is, or may be while it is being replaced; `None` for a file that is not there."""

    file: str
    digests: tuple[str | None, ...]


class Log:
    """The log of one store.

    Args:
        folder: The store's folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / LOG
        self._forget()

    def _forget(self) -> None:
        self._inode: int | None = None
        self._offset, self._number, self._hash = 0, 0, ""
        self._files: dict[str, tuple[str | None, ...]] = {}
        self._outputs: dict[str, tuple[str | None, ...]] = {}
        self._faults: list[Fault] = []

    def exists(self) -> bool:
        """Whether the store has one: stores of before do not."""
        return self.path.is_file()

    def promised(self) -> bool:
        """Whether the store's description says that it has one."""
        try:
            return bool(json.loads((self.folder / "store.json").read_text(encoding="utf-8")).get("log"))
        except (OSError, ValueError, AttributeError, RecursionError):
            return False

    def covers(self, path: Path) -> str | None:
        """The name of a file that the log vouches for.

        Args:
            path: The file.

        Returns:
            Its name within the store; `None` where it is not the log's business.
        """
        try:
            name = path.relative_to(self.folder)
        except ValueError:
            return None
        hidden = any(part.startswith((".lock", TEMPORARY_PREFIX)) for part in name.parts)
        return None if hidden or name.parts[0] in (*APART, LOG) else name.as_posix()

    @contextlib.contextmanager
    def noting(self, path: Path, content: Path | None) -> Iterator[None]:
        """Note that a file is replaced or removed by the block.

        Args:
            path: The file.
            content: Its new content; `None` where it is removed.

        Yields:
            Nothing.

        Raises:
            StoreError: When the file is not what the log says: it must be checked before it is written over.
        """
        name = self.covers(path)
        if name is None:
            yield
            return
        before, after = _digest(path), None if content is None else _digest(content)
        self.read()
        if content is not None and before not in self._files.get(name, (before,)):
            raise StoreError(
                f"'{name}' is not what the store's log says.",
                where=str(path),
                remedy="run `unweave store check`, which says what is wrong and what to do",
            )
        self._append([_Line(name, (before, after))], sync=True)
        yield
        self._append([_Line(name, (after,))], sync=False)

    def remember(self, path: Path) -> None:
        """Note a file elsewhere that shows rows of the store.

        Args:
            path: Its absolute path.
        """
        self._append([_Line(str(path), (_digest(path),))], sync=False)

    def outputs(self) -> dict[Path, str | None]:
        """The files that `remember` noted, with their digests."""
        self.read()
        return {Path(name): digests[0] for name, digests in self._outputs.items()}

    def adopt(self) -> None:
        """Vouch from now on for a store without a log, as it is."""
        self.write({name: (_digest(self.folder / name),) for name in self.present()})

    def settle(self) -> None:
        """Say of files that a killed writer was replacing which of the two they are."""
        self.read()
        settled = []
        for name, digests in self._files.items():
            now = _digest(self.folder / name) if len(digests) > 1 else None
            if len(digests) > 1 and now in digests:
                settled.append(_Line(name, (now,)))
        if settled:
            self._append(settled, sync=True)

    def rewrite(self) -> None:
        """Write the log anew, with a line for each file that is left."""
        self.settle()
        self.write({name: digests for name, digests in self._files.items() if digests != (None,)})

    def write(self, files: dict[str, tuple[str | None, ...]]) -> None:
        """Write the log.

        Args:
            files: Name of each file to its digest, or to the two that it may have.
        """
        previous, text = "", b""
        kept = {name: digests for name, digests in self._outputs.items() if Path(name).is_file()}
        for name, digests in sorted({**files, **kept}.items()):
            line, previous = _encoded(_Line(name, digests), previous)
            text += line
        with self._held() if self.exists() else contextlib.nullcontext(), replacing(self.path) as temporary:
            temporary.write_bytes(text)
        self._forget()

    def present(self) -> list[str]:
        """The files that a log of this store must name."""
        found = [self.folder / name for name in DESCRIPTIONS]
        found += [path for kind in RECORDS for path in (self.folder / kind).glob("*.json")]
        return sorted(name for path in found if path.is_file() and (name := self.covers(path)))

    def faults(self) -> list[Fault]:
        """What is wrong with the log and with the files that it vouches for.

        Returns:
            One fault a file; none for a store without a log.
        """
        if not self.exists():
            return []
        self._forget()
        self.read()
        found = list(self._faults) if self._number else [Fault(LOG, f"{LOG} is empty")]
        for name, digests in sorted(self._files.items()):
            now = _digest(self.folder / name)
            if now not in digests:
                state = "is missing" if now is None else "differs from its digest in the store's log"
                found.append(Fault(name, f"{name} {state}"))
        strange = [name for name in self.present() if self._files.get(name, (None,)) == (None,)]
        found += [
            Fault(name, f"{name} is not in the store's log: it came here in another way", True) for name in strange
        ]
        return found

    def lost(self) -> list[str]:
        """Files that should be there and are not: without them the store says other things than it did."""
        if self._lost():
            # What was taken away since the log was read stands in it now.
            self.read()
        return self._lost()

    def _lost(self) -> list[str]:
        self.read()
        return sorted(
            name for name, digests in self._files.items() if None not in digests and not (self.folder / name).is_file()
        )

    def denies(self, path: Path) -> bool:
        """Whether a file is not what the log says; a store without a log has nothing to say.

        Args:
            path: The file.

        Returns:
            False where nothing speaks against it.
        """
        if not self.exists():
            return False
        now = _digest(path)
        # Read afterwards: what is being written has its line before it has its name.
        self.read()
        return now not in self._files.get(path.relative_to(self.folder).as_posix(), (None,))

    def expected(self) -> dict[str, tuple[str | None, ...]]:
        """Name of each file to its digest, or to the two that it may have."""
        self.read()
        return dict(self._files)

    def read(self) -> None:
        """Take in what was appended since."""
        with contextlib.suppress(FileNotFoundError), self.path.open("rb") as file:
            self._take_in(file)

    def _take_in(self, file: BinaryIO) -> None:
        inode = os.fstat(file.fileno()).st_ino
        if inode != self._inode:
            self._forget()
            self._inode = inode
        file.seek(self._offset)
        for raw in file:
            if not raw.endswith(b"\n"):
                # Half a line, which its writer did not live to end.
                self._faults.append(Fault(LOG, f"{LOG} ends in the middle of line {self._number + 1}"))
                break
            self._number += 1
            self._offset += len(raw)
            self._take_line(raw)

    def _take_line(self, raw: bytes) -> None:
        try:
            value = json.loads(raw)
            line = _Line(value["file"], tuple(value["digests"]))
            whole, following = _encoded(line, self._hash)
            self._hash = value["hash"] if isinstance(value["hash"], str) else following
        except (ValueError, KeyError, TypeError, RecursionError):
            whole, line = b"", None
            self._hash = ""
        if line is None or whole != raw:
            self._faults.append(Fault(LOG, f"{LOG} was changed in line {self._number}"))
            if line is None:
                return
        # A name within the store is never absolute.
        (self._outputs if line.file.startswith("/") else self._files)[line.file] = line.digests

    def _append(self, lines: list[_Line], *, sync: bool) -> None:
        with self._held() as file:
            self._take_in(file)
            file.truncate(self._offset)
            file.seek(self._offset)
            for line in lines:
                text, _ = _encoded(line, self._hash)
                file.write(text)
                file.flush()
                self._number += 1
                self._offset += len(text)
                self._take_line(text)
            if sync:
                os.fsync(file.fileno())

    @contextlib.contextmanager
    def _held(self) -> Iterator[BinaryIO]:
        """The log, open and held against other writers of the same store."""
        while True:
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                # A compaction may have written it anew meanwhile.
                if same_file(file.fileno(), self.path):
                    yield file
                    return


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _encoded(line: _Line, previous: str) -> tuple[bytes, str]:
    """A line as bytes, and its hash."""
    body: dict[str, Any] = {"file": line.file, "digests": list(line.digests)}
    text = json.dumps([previous, body], sort_keys=True)
    own = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    return (json.dumps({**body, "hash": own}, separators=(",", ":")) + "\n").encode(), own
