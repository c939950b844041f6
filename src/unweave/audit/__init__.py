"""Evidence: forgetting, utility, retrieval quality, and their statistics."""

from unweave.audit.audit import audit
from unweave.audit.config import AuditConfig

__all__ = ["AuditConfig", "audit"]
