"""TOFU (Maini et al., arXiv 2401.06121): its files, its evaluation logs, forget quality and model utility."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "TofuLog": "unweave.evaluation.tofu.logs",
        "TofuScores": "unweave.evaluation.tofu.scores",
        "evaluate_tofu": "unweave.evaluation.tofu.evaluate",
        "forget_quality": "unweave.evaluation.tofu.scores",
        "model_utility": "unweave.evaluation.tofu.scores",
        "read_log": "unweave.evaluation.tofu.logs",
        "score_logs": "unweave.evaluation.tofu.scores",
    },
)
