"""Engines: who does which unit of work. One process, processes of torchrun, or actors of Ray; the store is the same whichever."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__, {"ENGINES": "unweave.engines.registry", "cache": "unweave.engines.run"}
)
