"""What an error of a library below really is, when it is no bug of unweave's: a full disk, an unreadable file, no memory left, too large a number."""

import errno
import os
from collections.abc import Iterator

from unweave.errors import UnweaveError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# torch and safetensors wrap what the system says in errors of their own; torch's writer only notices that its file is shorter than it should be.
NO_SPACE_TEXTS = (
    "No space left on device",
    "os error 28",
    "File too large",
    "os error 27",
    "Disk quota exceeded",
    "os error 122",
    "PytorchStreamWriter failed",
    "unexpected pos",
)
NO_MEMORY_TEXTS = (
    "can't allocate memory",
    "out of memory",
    "Unable to allocate",
    "Cannot allocate memory",
    "std::bad_alloc",
)
REMEDIES = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file: give another folder",
    errno.EISDIR: "this is a folder: give a file",
    errno.EEXIST: "a file has this name: give another folder",
    errno.EACCES: "choose another folder, or change its permissions",
    errno.EPERM: "choose another folder, or change its permissions",
    errno.EROFS: "this file system can't be written to: choose another folder",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "the links of this path lead in a circle: give another one",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "the disk can't be read or written: check it",
    errno.ENOLCK: "this file system has no locks: choose another folder",
}


def explained(error: BaseException) -> UnweaveError | None:
    """An error of the system or of a library as one that says what to do.

    Args:
        error: What was raised.

    Returns:
        The same in words; `None` where it is not one of these.
    """
    for one in _chain(error):
        text = str(one)
        if (isinstance(one, OSError) and one.errno in NO_SPACE) or any(part in text for part in NO_SPACE_TEXTS):
            return UnweaveError(
                "The disk is full; what was finished is kept.",
                where=_place(one),
                remedy="free some space and run the same command again",
            )
        if ran_out(one):
            return UnweaveError(
                "There is not enough memory.",
                remedy="use a smaller model, smaller batches or shorter rows (`unweave plan cache` says what caching needs)",
            )
    if isinstance(error, RecursionError):
        return UnweaveError("A file, or a template, is nested too deeply.", remedy="check the files that are read")
    if isinstance(error, OverflowError):
        return UnweaveError(f"A number is too large to compute with: {error}.", remedy="give smaller numbers")
    if isinstance(error, UnicodeError):
        return UnweaveError(f"A text is not UTF-8: {error}.", remedy="check the names and the files that are given")
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        return UnweaveError(
            f"{what[0].upper()}{what[1:]}.".replace("..", "."),
            where=_place(error),
            remedy=REMEDIES.get(error.errno or 0, "check the path, and that it can be read and written"),
        )
    return None


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the CPU's memory ran out.

    Args:
        error: The error.

    Returns:
        True for Python's own, and for what torch raises in its place.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in NO_MEMORY_TEXTS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _place(error: BaseException) -> str | None:
    name = getattr(error, "filename", None)
    return os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else None
