"""Curvature between query and row: I(z, q) = <P g(q), g(z)>, one file a preconditioner P."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "PRECONDITIONERS": "unweave.attribution.registry",
        "Problem": "unweave.curvature.base",
    },
)
