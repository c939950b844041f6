"""Compressions of gradients, one file each."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "SketchConfig": "unweave.sketch.config",
        "Sketch": "unweave.sketch.base",
        "Fold": "unweave.sketch.fold",
        "RapidGrad": "unweave.sketch.rapidgrad",
        "Identity": "unweave.sketch.identity",
        "SKETCHES": "unweave.sketch.registry",
        "make_sketch": "unweave.sketch.make",
    },
)
