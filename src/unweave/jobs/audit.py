"""The audit: the same tests on every model, row by row, the numbers beside each other, the attacks, and what all of it says."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from unweave.attribution.result import TraceResult
from unweave.attribution.tracing import trace_rows
from unweave.config import part_of
from unweave.data.case import Case, open_case
from unweave.data.dates import dated, recorded
from unweave.data.encoding import EncodingConfig
from unweave.errors import ConfigError, DataError
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_case
from unweave.evaluation.attacks.running import stored_attacks
from unweave.evaluation.attacks.table import attack_findings
from unweave.evaluation.behaviour import Behaviour, measure_behaviour
from unweave.evaluation.config import AttackConfig, AuditConfig, Margins, require_tests
from unweave.evaluation.evidence import Clock, Evidence, record_logits, require_pairs, row_sets, stored_evidence
from unweave.evaluation.forced import LogitsFile
from unweave.evaluation.measures.text import rouge_l_recall
from unweave.evaluation.metrics import compare
from unweave.evaluation.tracing import TraceQuality, bad_generations, trace_quality
from unweave.evaluation.verdict import CLASS, Verdict, judge, ranking
from unweave.files import remembered, write_json
from unweave.models.loading import Loaded, ModelConfig, load, tokenizer_of
from unweave.run.folder import RunFolder
from unweave.run.identity import versions
from unweave.run.inputs import (
    Input,
    of_case,
    of_loaded,
    of_named_model,
    of_path,
    of_rows,
    of_store,
    of_value,
    rows_digest,
    together,
)
from unweave.stats.intervals import mean
from unweave.store.store import GradientStore

ATTACKED_LABELS = "retrained", "after"


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
        audit = _Audit(config, run)
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


class _Audit:
    """One run of the audit: what it has measured so far."""

    def __init__(self, config: AuditConfig, run: RunFolder):
        self.config = config
        assert config.case is not None, "an audit of rows is another one"
        self.case = open_case(config.case)
        require_pairs(self.case)
        self.models = model_labels(config)
        run.start()
        self.encoding = part_of(EncodingConfig, config)
        self.tests = run.inputs["case"].content
        self.logits = LogitsFile(config.output_dir / "retrained_logits.bin", {})
        self.evidence: dict[str, Evidence] = {}
        self.attacks: dict[str, dict[str, Any]] = {}
        self.quality: TraceQuality | None = None
        self.seconds: dict[str, dict[str, float]] = {}

    def measure(self, label: str) -> None:
        """Everything about one model, loaded once."""
        config, clock = self.config, Clock()
        loaded = load(ModelConfig(model=self.models[label], dtype=config.dtype, device=config.device))
        clock.lap("load")
        if label == "retrained":
            own = self._measured(label, loaded)
            self.logits.identity = {"model": own, "tests": self.tests, "encoding": self.encoding.__dict__}
        identity = {**self._measured(label, loaded), "tests": self.tests}
        self.evidence[label] = stored_evidence(
            loaded,
            self.case,
            self.encoding,
            config.output_dir / f"evidence.{label}.json",
            identity=identity,
            logits_file=self.logits if "retrained" in self.models else None,
            # The retrained model's own pass records as it goes.
            record_reference=(lambda: None) if label == "retrained" else self._record_reference,
            max_new_tokens=config.max_new_tokens,
            gradnorm_rows=config.gradnorm_rows,
            label=label,
        )
        clock.lap("measured")
        if label == "before" and config.store is not None:
            behaviour = self.evidence[label].behaviour
            store, queries = config.store, config.trace_queries
            _, self.quality = audit_trace(loaded, self.case, store, behaviour, queries=queries, seed=config.seed)
            clock.lap("trace")
        if config.attacks and label in ATTACKED_LABELS:
            self.attacks[label] = self._attack(loaded, label, identity, clock)
        own = clock.seconds
        own.pop("measured")
        self.seconds[label] = own | self.evidence[label].seconds

    def _measured(self, label: str, loaded: Loaded) -> dict[str, Any]:
        """What numbers of a model are numbers of: the model, and the retrained one that it is compared with."""
        models = {name: of_named_model(name).content for name in {self.models[label], *self._retrained()}}
        return {
            "model": models[self.models[label]],
            "retrained": [models[name] for name in self._retrained()],
            "dtype": str(loaded.model.dtype),
            **versions(),
        }

    def _retrained(self) -> list[str]:
        return [self.models["retrained"]] if "retrained" in self.models else []

    def _record_reference(self) -> None:
        """The retrained model's logits, where its evidence is kept from an earlier run and they are not."""
        config = self.config
        retrained = load(ModelConfig(model=self.models["retrained"], dtype=config.dtype, device=config.device))
        record_logits(retrained, self.case, self.encoding, self.logits)

    def _attack(self, loaded: Loaded, label: str, identity: dict[str, Any], clock: Clock) -> dict[str, Any]:
        """The attacks that are not on the disk yet, each written as it ends."""
        config = self.config
        options = asdict(part_of(AttackConfig, config))
        options.pop("attacks")
        identity = {**identity, **options, "seed": config.seed, "max_new_tokens": config.max_new_tokens}
        attacked = part_of(AttackConfig, config)
        target = Target(
            loaded, material_of_case(self.case), self.encoding, attacked, config.max_new_tokens, config.seed, label
        )
        found = stored_attacks(target, config.attacks, config.output_dir / f"attacks.{label}.json", identity)
        for name, one in found.items():
            clock.seconds[f"attack: {name}"] = one["seconds"]
        return found

    def _rouge(self, own: Evidence) -> dict[str, Any]:
        """ROUGE-L recall of the generated answers to each test's prompts, against the right ones."""
        found = {}
        for test, answers in own.behaviour.answers.items():
            rows = self.case.rows(f"test_{test}")
            values = [rouge_l_recall(row.completion, answer) for row, answer in zip(rows, answers, strict=True)]
            found[test] = mean(values, seed=self.config.seed).within(0, 1).to_json()
        return found

    def conclude(self) -> dict[str, Any]:
        """The metrics of all models, beside each other, and the verdicts."""
        config, evidence = self.config, self.evidence
        sets = row_sets(self.case)
        texts = {name: [row.completion for row in rows] for name, rows in sets.items()}
        for name, rows in sets.items():
            if (have := len(evidence["before"].forced[name].row_ids)) != len(rows):
                raise DataError(
                    f"{len(rows) - have} row(s) of '{name}' do not fit the longest sequence.",
                    where=str(self.case.folder),
                    remedy="raise `max_length`",
                )
        retrained = evidence.get("retrained")
        memberships = {label: own.memberships(texts) for label, own in evidence.items()}
        verdicts: list[Verdict] = [
            judge(
                label,
                own,
                before=evidence["before"],
                retrained=retrained,
                memberships=memberships[label],
                retrained_memberships=memberships.get("retrained"),
                margins=part_of(Margins, config),
                seed=config.seed,
            )
            for label, own in evidence.items()
            if label != "retrained" and not (label == "before" and retrained is None)
        ]
        metrics: dict[str, Any] = {
            "class": CLASS,
            "case": self.case.name,
            "models": self.models,
            **compare(
                evidence["before"].behaviour,
                evidence["after"].behaviour,
                retrained=retrained.behaviour if retrained else None,
                seed=config.seed,
            ),
            "margins": part_of(Margins, config).__dict__,
            "verdicts": {verdict.model: verdict.to_json() for verdict in verdicts},
            "ranking": ranking(verdicts),
            "given_answers": {
                label: {name: forced.summary() for name, forced in own.forced.items()}
                for label, own in evidence.items()
            },
            "rouge_l": {label: self._rouge(own) for label, own in evidence.items()},
            "membership": {
                label: {attack: value.to_json() for attack, value in own.items()} for label, own in memberships.items()
            },
            "attacks": self.attacks,
            "attack_findings": attack_findings(self.attacks),
        }
        if self.quality is not None:
            metrics["trace"] = self.quality.to_json()
        total = sum(sum(own.values()) for own in self.seconds.values())
        metrics["seconds"] = {"audit": round(total, 3), "by_model": self.seconds}
        return metrics


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
        "model": of_loaded(loaded).content,
        "dtype": str(loaded.model.dtype),
        **versions(),
        "tests": rows_digest(tests),
        "detector": case.detector,
        "encoding": asdict(encoding),
        "max_new_tokens": max_new_tokens,
    }

    def measure() -> dict[str, Any]:
        return measure_behaviour(loaded, case, encoding, max_new_tokens=max_new_tokens, label=label).to_json()

    return Behaviour.from_json(remembered(path, identity, measure, key="behaviour", what="A measured behaviour"))


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
