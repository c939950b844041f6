"""Which kernels run: by the device of the gradients, or the reference when `UNWEAVE_KERNELS=torch` asks for it."""

import functools
import importlib
import os
from collections.abc import Callable
from typing import Any

import torch

from unweave import progress

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
    module = _module(home)
    return getattr(module, name, None) or getattr(importlib.import_module("unweave.sketch.kernels.reference"), name)


@functools.cache
def _module(home: str) -> Any:
    try:
        return importlib.import_module(f"unweave.sketch.kernels.{home}")
    except ModuleNotFoundError as error:
        # As on Windows, where torch comes with CUDA and without Triton.
        if error.name != "triton":
            raise
        progress.say("Triton is not installed: sketches are made by the plain torch kernels, which are slower")
        return importlib.import_module("unweave.sketch.kernels.reference")
