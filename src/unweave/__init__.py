"""unweave: find what a language model learned from which training rows, and take it out.

The public names are imported when first used, so that `import unweave` and `unweave --help` load neither torch nor transformers.
"""

from unweave.lazy import lazy_names

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "load": "unweave.models.loading",
        "read_rows": "unweave.data.reading",
        "fine_tune": "unweave.train.sft",
        "GradientStore": "unweave.store.store",
        "cache_rows": "unweave.trace.cache",
        "trace_answers": "unweave.trace.stage",
        "trace_rows": "unweave.trace.stage",
        "weigh_rows": "unweave.weigh.stage",
        "forget_rows": "unweave.forget.stage",
        "audit_models": "unweave.audit.stage",
    },
)
