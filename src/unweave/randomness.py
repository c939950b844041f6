"""The generators of a process, left as they were by what seeds them."""

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put the global generators of Python, NumPy and PyTorch back afterwards: Hugging Face's `Trainer` seeds all of them.

    Yields:
        Nothing.
    """
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
