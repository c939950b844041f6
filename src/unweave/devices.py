"""What a device has left."""

import ctypes
import sys

import psutil
import torch


def free_memory(device: torch.device | str) -> int:
    """Memory that this process could still take, that included which it has freed and kept for itself.

    Args:
        device: Of the GPU's own memory for a GPU, of the machine's for the CPU.

    Returns:
        Bytes; of other processes' doing as much as of this one's.
    """
    device = torch.device(device)
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if sys.platform == "linux":
        # glibc keeps what tensors have freed, gigabytes of it; another C library may not have the call.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    return int(psutil.virtual_memory().available)
