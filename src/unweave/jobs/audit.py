"""The audit of an unlearned model: which models and files it reads, and whether it is one of rows, of a case, or of a server's models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave.data.dates import dated, recorded
from unweave.errors import ConfigError
from unweave.evaluation.config import AuditConfig, require_tests
from unweave.files import write_json
from unweave.jobs.audit_case import CaseAudit
from unweave.models.loading import ModelConfig, tokenizer_of
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_case, of_path, of_rows, of_store, of_value, together
from unweave.run.model_inputs import of_named_model


def audit_models(config: AuditConfig) -> dict[str, Any]:
    """Audit an unlearned model against the one it came from, and against the retrained one where there is one: on rows, or on a case.

    What was measured of a model is kept: an audit that was interrupted goes on, and one with another model added measures only that.

    Args:
        config: The models, and the rows or the case.

    Returns:
        The metrics, which are also in `metrics.json`; a page of them is in `audit.html`.
    """
    require_tests(config)
    if config.endpoint is not None:
        return _served(config)
    config = recorded(config, config.output_dir)
    # The models are judged on the same texts.
    models = list(model_labels(config).values())
    config = dated(config, tokenizer_of(ModelConfig(model=models[0])), *models)
    run = RunFolder(config.output_dir, "audit", config, key="audit", inputs=audit_inputs(config))
    with run.held():
        if config.case is None:
            from unweave.jobs.audit_rows import audit_rows

            return audit_rows(config, run, model_labels(config))
        audit = CaseAudit(config, run, model_labels(config))
        for label in audit.models:
            audit.measure(label)
        metrics = audit.conclude()
        write_json(config.output_dir / "metrics.json", metrics)
        from unweave.report.audit_page import write_audit_page

        write_audit_page(config.output_dir / "audit.html", metrics)
        audit.logits.remove()
    return metrics


def _served(config: AuditConfig) -> dict[str, Any]:
    from unweave.evaluation.served.client import require_endpoint
    from unweave.jobs.audit_served import audit_served

    config = recorded(replace(config, endpoint=require_endpoint(config.endpoint or "")), config.output_dir)
    if config.tokenizer is not None:
        config = dated(config, tokenizer_of(ModelConfig(model=config.tokenizer)), config.tokenizer)
    run = RunFolder(config.output_dir, "audit", config, key="audit", inputs=audit_inputs(config))
    with run.held():
        return audit_served(config, run, model_labels(config))


def audit_inputs(config: AuditConfig) -> dict[str, Input]:
    """What an audit reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    return {
        "case": of_case(config.case),
        **{name: of_rows(getattr(config, name), config) for name in ("forget", "like", "retain")},
        **{
            # What a server calls its models is all that is known of them.
            name: of_value(getattr(config, name)) if config.endpoint else of_named_model(getattr(config, name))
            for name in ("before", "after", "retrained")
        },
        **{name: of_named_model(getattr(config, name)) for name in ("probe_model", "tokenizer")},
        "lm_eval_include": of_path(config.lm_eval_include),
        "metric_table": of_path(config.metric_table),
        "others": together({Path(name).name: of_named_model(name) for name in config.others}),
        "store": of_store(config.store),
    }


def model_labels(config: AuditConfig) -> dict[str, str]:
    """The models of an audit by the labels that its results use, in the order in which they are measured.

    Args:
        config: The audit's.

    Returns:
        Label to model: `retrained` where there is one, `before`, `after`, and the others by their folders' names.

    Raises:
        ConfigError: When two of the others have the same name, or one that is taken.
    """
    models = {"retrained": config.retrained} if config.retrained is not None else {}
    models |= {"before": config.before} if config.before is not None else {}
    models["after"] = config.after
    for other in config.others:
        name = Path(other).name
        if name in models or name in ("before", "after", "retrained"):
            raise ConfigError(
                f"Two of the models would be called '{name}'.", where="`others`", remedy="rename one of the folders"
            )
        models[name] = other
    return models
