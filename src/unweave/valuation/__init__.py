"""What rows are worth for a task, before anyone trains on them."""

from unweave.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "CurveConfig": "unweave.valuation.config",
        "FitConfig": "unweave.valuation.config",
        "PredictConfig": "unweave.valuation.config",
        "ScoreConfig": "unweave.valuation.config",
        "SelectConfig": "unweave.valuation.config",
        "FitOptions": "unweave.valuation.config",
        "ValueStudent": "unweave.valuation.student",
        "ValueTable": "unweave.valuation.table",
        "fit_student": "unweave.jobs.value_fit",
        "learning_curves": "unweave.jobs.value_curve",
        "predict_values": "unweave.jobs.value_predict",
        "select_rows": "unweave.jobs.value_select",
        "score_rows": "unweave.jobs.value_score",
    },
)
