"""Files and folders that are written so that a reader, or a rerun after a kill, never meets half of one, and taken away for good.

The pattern: write to a temporary name in the same folder, flush and fsync, rename over the target, fsync the folder.
The rename is atomic on POSIX file systems, so the target holds either the old content or the new. A kill leaves at most a
`.tmp-*` file behind, which nothing reads and the next writer of the target takes up (see `unweave.temporary`).
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from unweave.temporary import TEMPORARY_PREFIX, new_mode, remove_stale, temporary_file, temporary_folder

Observer = Callable[[Path, Path | None], contextlib.AbstractContextManager[None]]
"""Gets a file and its new content, `None` where it is removed; it is entered around the change."""

_observers: dict[Path, Observer] = {}


@contextlib.contextmanager
def observed(folder: Path, observer: Observer) -> Iterator[None]:
    """Let something take note of every file that this process replaces or removes in a folder; what observes it already goes on.

    Args:
        folder: The folder.
        observer: Entered around each change.

    Yields:
        Nothing.
    """
    if folder in _observers:
        yield
        return
    _observers[folder] = observer
    try:
        yield
    finally:
        del _observers[folder]


@contextlib.contextmanager
def _changing(path: Path, content: Path | None) -> Iterator[None]:
    with contextlib.ExitStack() as observers:
        for folder, observer in _observers.items():
            if folder in path.parents:
                observers.enter_context(observer(path, content))
        yield
        sync_folder(path.parent)


def remove(path: Path) -> None:
    """Take a file away, for good.

    Args:
        path: The file; it may be gone already.
    """
    if path.exists():
        with _changing(path, None):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path`, whole, when the block ends without an error. Its permissions follow the umask.

    Args:
        path: The file to write; its folder is made where needed.

    Yields:
        The path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as temporary:
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        # A library may have put a file of its own there.
        temporary.chmod(mode)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        with _changing(path, temporary):
            temporary.replace(path)


def follow_umask(folder: Path) -> None:
    """Give the files of weights in a folder the mode of a new file; safetensors makes them for their owner only.

    Args:
        folder: Where a library has just written a model.
    """
    mode = new_mode(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(mode)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path`, whole, when the block ends without an error.

    An existing folder is removed just before the rename: a kill between the two leaves none, never half of one.

    Args:
        path: The folder to write.

    Yields:
        The folder to write into.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as temporary:
        folder = temporary / path.name
        folder.mkdir()
        yield folder
        follow_umask(folder)
        if path.exists():
            shutil.rmtree(path)
        folder.rename(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames within `folder` durable.

    Args:
        folder: The folder whose entries changed.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that never changes another name, or where the disk has no links, copy it.

    Args:
        source: The file.
        target: The other name; what has it is replaced.
    """
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def write_new_for_owner(path: Path, content: bytes) -> None:
    """Write a secret: whole or not at all, readable by its owner alone, and never in the place of another file, which is an error of the system's.

    Args:
        path: The file.
        content: Its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{TEMPORARY_PREFIX}{path.name[:100]}-"
    # A kill may have left a second name of the secret, or half of one.
    remove_stale(path.parent, below=False, prefix=prefix)
    handle, temporary = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.link(temporary, path)
        sync_folder(path.parent)
    finally:
        Path(temporary).unlink(missing_ok=True)
