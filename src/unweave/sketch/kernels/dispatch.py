"""Which kernels run: by the device of the gradients, or the reference when `UNWEAVE_KERNELS=torch` asks for it."""

import importlib
import os
from collections.abc import Callable
from typing import Any

import torch

HOMES = {"cpu": "cpu", "cuda": "cuda"}


def kernel(name: str, device: torch.device) -> Callable[..., Any]:
    """An inner loop for a device.

    Args:
        name: `fold_add`, `table_add`, `outer_add` or `row_squares`.
        device: Where the gradients are.

    Returns:
        The numba one on the CPU, the Triton one on CUDA, the plain torch one on other devices and where there is no fused one.
    """
    home = "reference" if os.environ.get("UNWEAVE_KERNELS") == "torch" else HOMES.get(device.type, "reference")
    module = importlib.import_module(f"unweave.sketch.kernels.{home}")
    return getattr(module, name, None) or getattr(importlib.import_module("unweave.sketch.kernels.reference"), name)
