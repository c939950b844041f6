"""Seconds and peak memory of a piece of work in this process."""

import contextlib
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost(Generic[T]):
    """What a piece of work gave and took.

    Attributes:
        value: Its result.
        seconds: Wall time.
        cpu_seconds: Processor time of this process, all its threads together: the steadier of the two where the machine does other things too.
        peak_mib: The largest resident memory while it ran, what was resident before included. Where the system can't begin anew (outside Linux), the largest
            since the process began.
    """

    value: T
    seconds: float
    cpu_seconds: float
    peak_mib: float


def measured(work: Callable[[], T]) -> Cost[T]:
    """Do something and look at what it takes.

    Args:
        work: The work.

    Returns:
        Its result and cost.
    """
    with contextlib.suppress(OSError):
        _RESET.write_text("5")
    begun, busy = time.perf_counter(), time.process_time()
    value = work()
    return Cost(value, time.perf_counter() - begun, time.process_time() - busy, _peak_mib())


def _peak_mib() -> float:
    with contextlib.suppress(OSError, StopIteration):
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def bytes_below(folder: Path) -> int:
    """What a folder holds.

    Args:
        folder: The folder.

    Returns:
        Bytes of its files.
    """
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
