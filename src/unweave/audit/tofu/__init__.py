"""TOFU (Maini et al., arXiv 2401.06121): its files, its evaluation logs, forget quality and model utility."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "TofuLog": "unweave.audit.tofu.logs",
        "TofuScores": "unweave.audit.tofu.scores",
        "evaluate_tofu": "unweave.audit.tofu.evaluate",
        "forget_quality": "unweave.audit.tofu.scores",
        "model_utility": "unweave.audit.tofu.scores",
        "read_log": "unweave.audit.tofu.logs",
        "score_logs": "unweave.audit.tofu.scores",
    },
)
