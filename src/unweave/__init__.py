"""unweave: find what a language model learned from which training rows, and take it out.

The public names below are imported when first used, so that `import unweave` and `unweave --help` load neither torch nor
transformers.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load": "unweave.models",
    "read_rows": "unweave.data",
    "fine_tune": "unweave.train",
    "GradientStore": "unweave.store",
    "cache_rows": "unweave.trace",
    "trace": "unweave.trace",
    "weigh": "unweave.weigh",
    "forget": "unweave.forget",
    "audit": "unweave.audit",
}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'unweave' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
