"""Options of caching on an engine, readable without torch."""

from dataclasses import dataclass, fields, replace
from typing import Annotated

from unweave.attribution.config import CachingConfig
from unweave.engines.registry import ENGINES
from unweave.registry import OneOf


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How work is spread over processes.

    Attributes:
        engine: `local`: this process. `torchrun`: the processes that torchrun (or `accelerate launch`) started, on one machine or several with a
            common disk. `ray`: actors on a Ray cluster.
        workers: For `ray`: how many actors.
        worker_cpus: For `ray`: CPUs of each; fractions let more actors share a core.
        worker_gpus: For `ray`: GPUs of each.
    """

    engine: Annotated[str, OneOf(ENGINES)] = "local"
    workers: int = 2
    worker_cpus: float = 0.5
    worker_gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CacheConfig(CachingConfig, EngineConfig):
    """Cache the sketched gradients of rows in a store.

    Attributes:
        data: The rows.
        store: The store's folder; rows that are in it already are not computed again.
        number_format: How sketches are stored: `float16`; `int8` (half the bytes); `sign` bits (a sixteenth: trace with --rerank); `float32`.
        commit_rows: Rows a commit: what a kill can lose at most.
        checkpoint_mode: Which checkpoint the gradients are of, where only the final adapter is left: `final` itself; `scaled`, the same with its update
            scaled by `checkpoint_scale`; `retrained`, a few steps from the base on `checkpoint_rows` of the rows; `auto`, what was measured best.
            What is made lies beside the store, in STORE.checkpoint. A snapshot of the training itself is better: give it as the model.
        checkpoint_scale: Factor of the final update, of `scaled`.
        checkpoint_rows: Rows of the retraining, each seen once, of `retrained`.
    """

    def recorded(self) -> CachingConfig:
        """The same on the default engine."""
        return replace(self, **{field.name: field.default for field in fields(EngineConfig)})
