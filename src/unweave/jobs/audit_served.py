"""The audit of models behind an OpenAI-compatible server, from what such a server gives."""

from typing import Any

from unweave.config import part_of
from unweave.data.encoding import EncodingConfig
from unweave.data.training_rows import read_training_rows
from unweave.evaluation.config import AuditConfig, Margins
from unweave.evaluation.evaluate import conclude, require_detector
from unweave.evaluation.evidence import Clock
from unweave.evaluation.measured import Measured
from unweave.evaluation.row_tests import GIVEN, row_tests
from unweave.evaluation.served.asking import Kept, Served
from unweave.evaluation.served.client import Endpoint
from unweave.evaluation.served.judging import conclude_texts
from unweave.evaluation.served.measuring import measure_served
from unweave.evaluation.verdict import CLASS
from unweave.files import write_json
from unweave.models.loading import ModelConfig, tokenizer_of
from unweave.run.folder import RunFolder

NEEDS_WEIGHTS = (
    "attacks, gradient norms and the base without its adapter: they need the weights, and a server gives none"
)


def audit_served(config: AuditConfig, run: RunFolder, models: dict[str, str]) -> dict[str, Any]:
    """Audit models behind a server on rows.

    Args:
        config: The audit's.
        run: Its folder, held.
        models: Label to the server's name for the model.

    Returns:
        The metrics, which are also in `metrics.json`; a page of them is in `audit.html`.
    """
    from unweave.report.evaluation_page import write_evaluation_page

    require_detector(config.detector)
    assert config.endpoint is not None, "an audit of models at hand is another one"
    endpoint = Endpoint(config.endpoint, config.api_key_variable, config.request_timeout)
    paths = {name: getattr(config, name) for name in GIVEN}
    read = {name: read_training_rows(path, config) for name, path in paths.items() if path is not None}
    run.start(
        rows=[row for own in read.values() for row in own],
        problems=[problem for own in read.values() for problem in own.problems],
    )
    tests = row_tests(
        read,
        probes=config.probes,
        probe_rows=config.probe_rows,
        has_reference="retrained" in models,
        seed=config.seed,
    )
    encoding = part_of(EncodingConfig, config)
    tokenizer = None if config.tokenizer is None else tokenizer_of(ModelConfig(model=config.tokenizer))
    labels = {"reference" if label == "retrained" else label: name for label, name in models.items()}
    measured: dict[str, Measured] = {}
    seconds: dict[str, dict[str, float]] = {}
    try:
        for label, name in labels.items():
            clock = Clock()
            kept = Kept(config.output_dir / f"answers.{label}.jsonl")
            model = Served(endpoint, name, encoding, kept, tokenizer, config.parallel_requests, label)
            measured[label] = measure_served(
                model, tests, max_new_tokens=config.max_new_tokens, baseline=label == "after"
            )
            clock.lap("requests")
            seconds[label] = clock.seconds
    finally:
        endpoint.close()
    margins = part_of(Margins, config)
    if all("forget" in own.score.forced for own in measured.values()):
        report = conclude(
            tests, measured, margins, detector=config.detector, max_new_tokens=config.max_new_tokens, attacks={}, attack_names=(), seed=config.seed
        )  # fmt: skip
    else:
        report = conclude_texts(tests, measured, margins, detector=config.detector, seed=config.seed)
    report.left_out.append(NEEDS_WEIGHTS)
    metrics = {
        "class": CLASS,
        "endpoint": endpoint.url,
        "models": labels,
        "rows": {name: len(rows) for name, rows in tests.sets.items()},
        **report.to_json(),
        "ranking": [],
        "seconds": {"audit": round(sum(sum(own.values()) for own in seconds.values()), 3), "by_model": seconds},
    }
    write_json(config.output_dir / "metrics.json", metrics)
    shown = {label: f"{name} at {endpoint.url}" for label, name in labels.items()}
    write_evaluation_page(config.output_dir / "audit.html", report, models=shown, seconds=seconds)
    return metrics
