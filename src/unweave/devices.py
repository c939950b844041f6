"""What a device has left, and the end of a batch that would take more."""

import contextlib
import ctypes
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from unweave.faults import ran_out

RESERVE = 1 << 27
RESERVED_SHARE = 0.02
"""What a batch must leave of the CPU's memory: bytes at least, and of the limit. What one operator takes must fit in it."""
INTERVAL = 0.02
"""Seconds between two looks at the memory."""
UNLIMITED = 1 << 60

Groups = list[tuple[Path, Path]]
"""Files of control groups: of a limit, and of what is used."""


def free_memory(device: torch.device | str) -> int:
    """Memory that this process could still take, that included which it has freed and kept for itself.

    Args:
        device: Of the GPU's own memory for a GPU; for the CPU of the machine's, of the control group's and of the address space's limit, whichever is least.

    Returns:
        Bytes; of other processes' doing as much as of this one's.
    """
    device = torch.device(device)
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    _trim()
    return _free(_groups())[0]


@contextlib.contextmanager
def within_memory(device: torch.device) -> Iterator[None]:
    """End what runs modules when the CPU's memory is nearly used up, with an error that can be caught: the system would end the process.

    Args:
        device: Where the modules are; a GPU says by itself that it has no memory left.

    Yields:
        Nothing.

    Raises:
        MemoryError: In the block, in front of a module.
    """
    if device.type != "cpu":
        yield
        return
    last, groups = 0.0, _groups()

    def look(*_: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < INTERVAL:
            return
        last = now
        if _short(groups):
            # What glibc has kept of freed tensors may be enough.
            _trim()
            if _short(groups):
                raise MemoryError("The memory is nearly used up.")

    handle = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or the CPU.

    Args:
        error: The error.

    Returns:
        Whether the same work in smaller pieces may succeed.
    """
    return isinstance(error, torch.OutOfMemoryError) or ran_out(error)


def release(device: torch.device) -> None:
    """Give back what was kept of freed tensors.

    Args:
        device: Whose.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        _trim()


def _short(groups: Groups) -> bool:
    free, limit = _free(groups)
    return free < max(RESERVE, RESERVED_SHARE * limit)


def _trim() -> None:
    if sys.platform == "linux":
        # glibc keeps what tensors have freed, gigabytes of it; another C library may not have the call.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _free(groups: Groups) -> tuple[int, int]:
    """Bytes that are free under the narrowest limit, that of control groups among them, and that limit."""
    machine = psutil.virtual_memory()
    found = [(int(machine.available), int(machine.total))]
    if (limit := _address_space()) is not None:
        found.append((limit - psutil.Process().memory_info().vms, limit))
    for limit, used in groups:
        if (most := _number(limit)) is not None:
            # Pages of files count as used, and are given up first.
            cached = _cached(limit.with_name("memory.stat"))
            found.append((most - (_number(used) or 0) + cached, most))
    return min(found)


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Groups:
    """The files of limit and use of this process's control groups and of those that they are in."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root
        limit, used = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        )
        # In a container the path is often the host's, and the group's files are at the top.
        place = top / path.lstrip("/")
        around = [folder for folder in (place, *place.parents) if folder.is_relative_to(top)]
        found += [(folder / limit, folder / used) for folder in around if (folder / limit).is_file()]
    return found


def _number(path: Path) -> int | None:
    """The number in a file; `None` where there is none, or no limit."""
    try:
        number = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return number if number < UNLIMITED else None


def _cached(path: Path) -> int:
    try:
        fields = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("total_inactive_file", fields.get("inactive_file", 0)))
