"""Files and folders on the way to their names: what a killed writer leaves is taken up by the next writer of the same name, or swept away.

A temporary file is named after what it becomes and held by a lock for as long as it is written, which the system lets go of when its writer ends,
however it ends. So nobody takes a living writer's file away, whatever process number is used again, and nothing of a dead one stays for good:
it may hold what was to be forgotten.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
LONGEST_NAME = 200


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """An empty file beside another, for its new content; its permissions follow the umask.

    Args:
        path: The file that it becomes.

    Yields:
        The file to write; whatever is left of it goes with the block.
    """
    with _held(path, folder=False) as temporary:
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside another, for its new content.

    Args:
        path: The folder that it becomes.

    Yields:
        The folder to write into; whatever is left of it goes with the block.
    """
    with _held(path, folder=True) as temporary:
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, under another name first: half of it is gone on from by nobody.

    Args:
        folder: The folder, or one that is not there; what a killed removal has left of it goes too.
    """
    going = folder.with_name(f"{TEMPORARY_PREFIX}{folder.name.lstrip('.')}")
    shutil.rmtree(going, ignore_errors=True)
    if folder.is_dir():
        folder.rename(going)
        shutil.rmtree(going, ignore_errors=True)


def new_mode(folder: Path) -> int:
    """The mode of a new file, made as any program makes one: who may read it is for the umask to say, which `tempfile` does not ask.

    Args:
        folder: Where to make one, for a moment.

    Returns:
        The permissions.
    """
    path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        path.unlink()


def remove_stale(folder: Path, *, below: bool = True, prefix: str = TEMPORARY_PREFIX) -> list[Path]:
    """Take away what killed writers have left; what a living one holds stays.

    Args:
        folder: The folder.
        below: Whether to look into the folders in it.
        prefix: How the names begin of what goes.

    Returns:
        What went.
    """
    pattern = f"{glob.escape(prefix)}*"
    # Read to the end first: what is listed goes on the way.
    found = list(folder.rglob(pattern) if below else folder.glob(pattern))
    return [path for path in found if _remove_stale(path)]


def same_file(descriptor: int, path: Path) -> bool:
    """Whether a name still stands for what was opened under it: a lock of a file that was replaced keeps nobody out.

    Args:
        descriptor: Of the open file or folder.
        path: The name.

    Returns:
        False where nothing has the name any more, too.
    """
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _remove_stale(path: Path) -> bool:
    """Whether this was nobody's, and went."""
    if path.is_symlink():
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        if not _locks(descriptor) or not same_file(descriptor, path):
            return False
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return True
    except FileNotFoundError:
        return False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _held(path: Path, *, folder: bool) -> Iterator[Path]:
    """The first free temporary of a name, empty, and locked while the block lasts."""
    for number in count():
        temporary = path.with_name(_name(path, number))
        new = _made(temporary, folder=folder)
        try:
            descriptor = os.open(temporary, os.O_RDONLY | (os.O_DIRECTORY if folder else 0))
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            # It went meanwhile, or is another user's.
            continue
        try:
            # On a disk without locks what is there already may be a living writer's.
            if (
                not _locks(descriptor, otherwise=new)
                or not same_file(descriptor, temporary)
                or temporary.is_dir() != folder
            ):
                continue
            if not new:
                _empty(temporary)
            yield temporary
            return
        finally:
            os.close(descriptor)


def _made(temporary: Path, *, folder: bool) -> bool:
    """Whether it was not there before."""
    with contextlib.suppress(FileExistsError):
        if folder:
            temporary.mkdir()
        else:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return True
    return False


def _locks(descriptor: int, *, otherwise: bool = False) -> bool:
    """Whether a lock was free; `otherwise` where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _empty(temporary: Path) -> None:
    if temporary.is_dir():
        for entry in temporary.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    else:
        # A new file under the name would be nobody's: it is this one that is locked.
        temporary.chmod(new_mode(temporary.parent))
        os.truncate(temporary, 0)


def _name(path: Path, number: int) -> str:
    name = path.name
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = hashlib.blake2b(os.fsencode(name), digest_size=8).hexdigest() + path.suffix[-20:]
    return f"{TEMPORARY_PREFIX}{number}-{name}"
