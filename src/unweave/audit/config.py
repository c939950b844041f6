"""Options of an audit, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.data.encoding import EncodingConfig


@dataclass(frozen=True, kw_only=True)
class AuditConfig(EncodingConfig):
    """Measure what was forgotten and what was kept.

    Attributes:
        case: The case folder with the tests.
        before: The model with the unwanted behaviour: anything that `--model` takes.
        after: The unlearned model.
        retrained: The model trained without the forget rows, for comparison.
        store: A gradient store of the training rows under the model `before`, to judge the trace.
        output_dir: Where `metrics.json` and the answers go.
        max_new_tokens: Longest generated answer.
        trace_queries: Bad generations to trace.
        dtype: As for the model.
        device: As for the model.
        seed: Of the bootstrap.
    """

    case: Path
    before: str
    after: str
    output_dir: Path
    retrained: str | None = None
    store: Path | None = None
    max_new_tokens: int = 24
    trace_queries: int = 10
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    seed: int = 0
