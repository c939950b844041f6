"""What a device has left."""

import psutil
import torch


def free_memory(device: torch.device | str) -> int:
    """Memory that a process could still take.

    Args:
        device: Of the GPU's own memory for a GPU, of the machine's for the CPU.

    Returns:
        Bytes; of other processes' doing as much as of this one's.
    """
    device = torch.device(device)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else int(psutil.virtual_memory().available)
