"""What rows are worth for a task, before anyone trains on them."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "CurveConfig": "unweave.value.config",
        "FitConfig": "unweave.value.config",
        "PredictConfig": "unweave.value.config",
        "ScoreConfig": "unweave.value.config",
        "SelectConfig": "unweave.value.config",
        "Student": "unweave.value.student",
        "fit_student": "unweave.value.fit",
        "learning_curves": "unweave.value.curve",
        "predict_values": "unweave.value.predict",
        "select_rows": "unweave.value.select",
        "score_rows": "unweave.value.stage",
    },
)
