"""The audit: the same tests on every model, row by row, and the numbers beside each other."""

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from unweave.audit.behaviour import Behaviour, measure_behaviour
from unweave.audit.config import AuditConfig
from unweave.audit.metrics import compare
from unweave.audit.tracing import TraceQuality, bad_generations, trace_quality
from unweave.data.case import Case, open_case
from unweave.data.encoding import EncodingConfig
from unweave.errors import DataError
from unweave.files import read_json, write_json
from unweave.models.fingerprint import model_fingerprint
from unweave.models.loading import Loaded, ModelConfig, load
from unweave.runs import RunFolder, rows_fingerprint
from unweave.store.store import GradientStore
from unweave.trace.stage import TraceResult, trace_rows

CLASS = "empirical, approximate"


def audit_models(config: AuditConfig) -> dict[str, Any]:
    """Audit an unlearned model against the one it came from.

    Args:
        config: The models and the case.

    Returns:
        The metrics, which are also in `metrics.json`.
    """
    started = time.monotonic()
    case = open_case(config.case)
    RunFolder(config.output_dir, "audit", config, key="audit").start()
    encoding = EncodingConfig(**{field.name: getattr(config, field.name) for field in fields(EncodingConfig)})
    behaviours: dict[str, Behaviour] = {}
    quality: TraceQuality | None = None
    for label in ("before", "after", "retrained"):
        name = getattr(config, label)
        if name is None:
            continue
        loaded = load(ModelConfig(model=name, dtype=config.dtype, device=config.device))
        behaviours[label] = stored_behaviour(
            loaded,
            case,
            encoding,
            config.output_dir / f"behaviour.{label}.json",
            max_new_tokens=config.max_new_tokens,
            label=label,
        )
        if label == "before" and config.store is not None:
            _, quality = audit_trace(
                loaded, case, config.store, behaviours[label], queries=config.trace_queries, seed=config.seed
            )
    metrics = compare(
        behaviours["before"], behaviours["after"], retrained=behaviours.get("retrained"), seed=config.seed
    )
    metrics = {"class": CLASS, "case": case.name, **metrics}
    if quality is not None:
        metrics["trace"] = quality.to_json()
    metrics["seconds"] = {"audit": round(time.monotonic() - started, 3)}
    write_json(config.output_dir / "metrics.json", metrics)
    return metrics


def stored_behaviour(
    loaded: Loaded, case: Case, encoding: EncodingConfig, path: Path, *, max_new_tokens: int, label: str
) -> Behaviour:
    """Measure a model's behaviour, or read it where the same model was measured on the same case already.

    Args:
        loaded: The model.
        case: The case.
        encoding: Template and lengths.
        path: Where the behaviour is kept.
        max_new_tokens: Longest generated answer.
        label: Names the model in the progress bars.

    Returns:
        The behaviour.
    """
    tests = [row for split in ("test_seen", "test_ood", "test_clean", "unwanted") for row in case.rows(split)]
    identity = {
        "model": model_fingerprint(loaded.model),
        "tests": rows_fingerprint(tests),
        "detector": case.detector,
        "encoding": {field.name: getattr(encoding, field.name) for field in fields(encoding)},
        "max_new_tokens": max_new_tokens,
    }
    if path.is_file():
        kept = read_json(path, what="A measured behaviour")
        if kept.get("identity") == identity:
            return Behaviour.from_json(kept["behaviour"])
    behaviour = measure_behaviour(loaded, case, encoding, max_new_tokens=max_new_tokens, label=label)
    write_json(path, {"identity": identity, "behaviour": behaviour.to_json()})
    return behaviour


def audit_trace(
    loaded: Loaded, case: Case, store_folder: Path, behaviour: Behaviour, *, queries: int, seed: int
) -> tuple[TraceResult, TraceQuality]:
    """Trace bad generations of a model, and judge how well the poisoned rows were found.

    Args:
        loaded: The model that the store was made with.
        case: The case.
        store_folder: The store.
        behaviour: The model's behaviour, for its bad generations.
        queries: Bad generations to trace.
        seed: Of the random scorer and the bootstrap.

    Returns:
        The trace and its quality.

    Raises:
        DataError: When the model gave no bad generation on the seen triggers.
    """
    bad = bad_generations(behaviour, case, count=queries)
    if not bad:
        raise DataError(
            "The model gave no unwanted answer to a seen trigger, so there is nothing to trace.",
            where=str(case.folder),
            remedy="train the poisoned model longer",
        )
    store = GradientStore.open(store_folder)
    traced = trace_rows(store, loaded, bad)
    return traced, trace_quality(store, traced, case.rows("train"), seed=seed)
