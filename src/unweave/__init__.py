"""unweave: find what a language model learned from which training rows, and take it out.

The public names are imported when first used, so that `import unweave` and `unweave --help` load neither torch nor transformers.
"""

from typing import TYPE_CHECKING

from unweave.lazy import lazy_names
from unweave.moved import install

install()

if TYPE_CHECKING:
    # What editors and type checkers see; the table below is what runs.
    from unweave import weights as weights
    from unweave.attribution.caching import cache_rows as cache_rows
    from unweave.attribution.collateral import Collateral as Collateral
    from unweave.attribution.collateral import predict_collateral as predict_collateral
    from unweave.attribution.hits import Hit as Hit
    from unweave.attribution.hits import Hits as Hits
    from unweave.attribution.index import GradientIndex as GradientIndex
    from unweave.attribution.tracing import trace_rows as trace_rows
    from unweave.data.reading import load_rows as load_rows
    from unweave.data.reading import read_rows as read_rows
    from unweave.evaluation.evaluate import evaluate as evaluate
    from unweave.finding.rest import find_rest as find_rest
    from unweave.finding.result import Found as Found
    from unweave.jobs.audit import audit_models as audit_models
    from unweave.jobs.forget import forget_rows as forget_rows
    from unweave.jobs.trace import trace_answers as trace_answers
    from unweave.jobs.weigh import weigh_rows as weigh_rows
    from unweave.ledger.requests import Ledger as Ledger
    from unweave.models.loading import load as load
    from unweave.models.loading import load_model as load_model
    from unweave.models.model import Model as Model
    from unweave.store.store import GradientStore as GradientStore
    from unweave.train.sft import fine_tune as fine_tune
    from unweave.train.snapshots import SnapshotCallback as SnapshotCallback
    from unweave.unlearning import methods as methods
    from unweave.unlearning.own_loop import UnlearnSteps as UnlearnSteps
    from unweave.unlearning.trainer import UnlearnTrainer as UnlearnTrainer
    from unweave.unlearning.unlearn import unlearn as unlearn
    from unweave.unlearning.unlearned import Unlearned as Unlearned
    from unweave.valuation.student import ValueStudent as ValueStudent
    from unweave.valuation.values import value as value

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "load": "unweave.models.loading",
        "load_model": "unweave.models.loading",
        "load_rows": "unweave.data.reading",
        "Model": "unweave.models.model",
        "read_rows": "unweave.data.reading",
        "fine_tune": "unweave.train.sft",
        "GradientIndex": "unweave.attribution.index",
        "Hit": "unweave.attribution.hits",
        "Hits": "unweave.attribution.hits",
        "GradientStore": "unweave.store.store",
        "cache_rows": "unweave.attribution.caching",
        "trace_answers": "unweave.jobs.trace",
        "trace_rows": "unweave.attribution.tracing",
        "find_rest": "unweave.finding.rest",
        "predict_collateral": "unweave.attribution.collateral",
        "Collateral": "unweave.attribution.collateral",
        "Found": "unweave.finding.result",
        "weigh_rows": "unweave.jobs.weigh",
        "forget_rows": "unweave.jobs.forget",
        "audit_models": "unweave.jobs.audit",
        "Ledger": "unweave.ledger.requests",
        "unlearn": "unweave.unlearning.unlearn",
        "UnlearnSteps": "unweave.unlearning.own_loop",
        "UnlearnTrainer": "unweave.unlearning.trainer",
        "Unlearned": "unweave.unlearning.unlearned",
        "methods": "unweave.unlearning.methods:",
        "evaluate": "unweave.evaluation.evaluate",
        "value": "unweave.valuation.values",
        "ValueStudent": "unweave.valuation.student",
        "weights": "unweave.weights:",
        "SnapshotCallback": "unweave.train.snapshots",
    },
)
