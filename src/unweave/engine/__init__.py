"""Engines: who does which unit of work. One process, processes of torchrun, or actors of Ray; the store is the same whichever."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__, {"ENGINES": "unweave.engine.registry", "cache": "unweave.engine.run"}
)
