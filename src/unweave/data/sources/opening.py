"""The bytes of a file, decompressed: plain, gzip or Zstandard; a pipe or standard input is read once and kept."""

import contextlib
import functools
import gzip
import io
import os
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from unweave.errors import DataError

COMPRESSED = (".gz", ".zst")
STANDARD_INPUT = "-"
STANDARD_INPUTS = (STANDARD_INPUT, "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
CHUNK, PACKED_CHUNK = 1 << 17, 1 << 14
PIPE_SECONDS = 5.0


class Input:
    """A file that is about to be read.

    Args:
        path: The file; `-` is standard input.
    """

    def __init__(self, path: Path):
        self.path = path
        self.line = 0
        """Where reading stands, for the message when it can't go on; 0 where lines mean nothing."""

    @property
    def name(self) -> str:
        """The file as messages call it."""
        return "standard input" if str(self.path) == STANDARD_INPUT else str(self.path)

    @property
    def place(self) -> str:
        """File, and the line after the last one that was read."""
        return f"{self.name}:{self.line + 1}" if self.line else self.name

    @property
    def kind(self) -> str:
        """The end of the file's name that says its format, such as `.jsonl` of `rows.jsonl.gz`."""
        return format_of(self.path)

    @contextlib.contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Open the file. What compresses it is decided by its first bytes: the web renames files, and decompresses them, as it likes.

        Yields:
            A stream of its decompressed bytes, which can't seek.

        Raises:
            DataError: When the file is not there or can't be read, or what was compressed is cut or damaged; also while the block reads.
        """
        try:
            with self._raw() as raw:
                stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw, CHUNK)
                start = stream.peek(4)[:4]
                if start.startswith(GZIP):
                    with gzip.GzipFile(fileobj=stream) as unpacked:
                        yield io.BufferedReader(cast(Any, unpacked), CHUNK)
                elif start == ZSTANDARD:
                    yield io.BufferedReader(_Zstandard(stream), CHUNK)
                else:
                    yield stream
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise DataError(
                f"The compressed file is cut or damaged: {error}",
                where=self.place,
                remedy="copy or download it again",
            ) from error
        except FileNotFoundError as error:
            raise DataError("Data file not found.", where=self.name, remedy="check the path") from error
        except OSError as error:
            raise DataError(
                f"The file can't be read: {error.strerror or error}.",
                where=self.place,
                remedy="check that it is a file, and that you may read it",
            ) from error

    def _raw(self) -> Any:
        if str(self.path) == STANDARD_INPUT:
            return io.BytesIO(_standard_input(sys.stdin))
        mode = self.path.stat().st_mode
        if stat.S_ISREG(mode):
            return self.path.open("rb")
        if stat.S_ISFIFO(mode):
            found = self.path.stat()
            return io.BytesIO(_piped(str(self.path), found.st_dev, found.st_ino))
        what = "a folder" if stat.S_ISDIR(mode) else "no file but a device"
        raise DataError(f"This is {what}.", where=self.name, remedy="give a file of rows; - is standard input")


def format_of(path: Path) -> str:
    """What the end of a file's name says of its format.

    Args:
        path: The file.

    Returns:
        Such as `.jsonl`, for `rows.jsonl` and for `rows.jsonl.gz`; empty where there is none.
    """
    end = path.suffix.lower()
    return Path(path.stem).suffix.lower() if end in COMPRESSED else end


def is_stream(path: Path) -> bool:
    """Whether a source can be read only once, by nobody else: standard input, or a pipe such as `<(command)` of a shell.

    Args:
        path: The source.

    Returns:
        True for `-` and for pipes.
    """
    return str(path) in STANDARD_INPUTS or path.is_fifo()


class _Zstandard(io.RawIOBase):
    """The content of Zstandard frames. The library's own reader takes a cut file for a short one."""

    def __init__(self, packed: IO[bytes]):
        self._packed = packed
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 31)
        self._frame = self._decompressor.decompressobj()
        self._waiting = memoryview(b"")
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            packed = (self._frame.unused_data if self._frame.eof else b"") or self._packed.read(PACKED_CHUNK)
            if not packed:
                if self._begun and not self._frame.eof:
                    raise EOFError("it ends in the middle")
                return 0
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._begun = True
            self._waiting = memoryview(self._frame.decompress(packed))
        size = min(len(buffer), len(self._waiting))
        buffer[:size], self._waiting = self._waiting[:size], self._waiting[size:]
        return size


@functools.cache
def _standard_input(stream: Any) -> bytes:
    """All of standard input, which is there only once."""
    if stream is None or stream.isatty():
        raise DataError(
            "Standard input is a terminal.", where="-", remedy="send rows into it: unweave ... < rows.jsonl"
        )
    return stream.buffer.read() if hasattr(stream, "buffer") else stream.read().encode()


@functools.cache
def _piped(name: str, _device: int, _inode: int) -> bytes:
    """All that is written into a pipe; one that nobody writes to is given up."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as pipe:  # noqa: PTH123  # a descriptor, no path
        until = time.monotonic() + PIPE_SECONDS
        # Nothing (b"") means that there is no writer, `None` that there is one, which has not written yet.
        while (found := pipe.read(CHUNK)) == b"":
            if time.monotonic() > until:
                raise DataError(
                    "Nothing is written into this pipe.",
                    where=name,
                    remedy="start what writes into it first, or give a file",
                )
            time.sleep(0.05)
        os.set_blocking(descriptor, True)
        return (found or b"") + pipe.read()
