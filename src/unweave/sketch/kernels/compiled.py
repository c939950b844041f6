"""Compiling with numba, and keeping the machine code on disk where there is a folder for it."""

import functools
from collections.abc import Callable
from typing import Any

import numba

from unweave import progress


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit` with numba's cache, or without where neither the package's folder nor the user's cache can be written.

    Args:
        options: Of `numba.njit`.

    Returns:
        A decorator.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _say_once()
            return numba.njit(**options)(function)

    return decorate


@functools.cache
def _say_once() -> None:
    progress.say(
        "No folder can be written to keep compiled kernels in: every process compiles them anew; set NUMBA_CACHE_DIR to one that can be written"
    )
