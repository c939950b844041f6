"""Evidence: forgetting, utility, retrieval quality, and their statistics."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "AuditConfig": "unweave.evaluation.config",
        "audit_models": "unweave.jobs.audit",
    },
)
