"""The audit of a case: the same tests on every model, the numbers beside each other, the attacks, and what all of it says."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from unweave.attribution.result import TraceResult
from unweave.attribution.tracing import trace_rows
from unweave.config import part_of
from unweave.data.case import Case, open_case
from unweave.data.encoding import EncodingConfig
from unweave.errors import DataError
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_case
from unweave.evaluation.attacks.running import stored_attacks
from unweave.evaluation.attacks.table import attack_findings
from unweave.evaluation.behaviour import Behaviour, measure_behaviour
from unweave.evaluation.config import AttackConfig, AuditConfig, Margins
from unweave.evaluation.evidence import Clock, Evidence, record_logits, require_pairs, row_sets, stored_evidence
from unweave.evaluation.forced import LogitsFile
from unweave.evaluation.measures.text import rouge_l_recall
from unweave.evaluation.metrics import compare
from unweave.evaluation.tracing import TraceQuality, bad_generations, trace_quality
from unweave.evaluation.verdict import CLASS, Verdict, judge, ranking
from unweave.files import remembered
from unweave.models.loading import Loaded, held, load
from unweave.run.folder import RunFolder
from unweave.run.identity import versions
from unweave.run.inputs import rows_digest
from unweave.run.model_inputs import of_loaded, of_named_model
from unweave.stats.intervals import mean
from unweave.store.store import GradientStore

ATTACKED_LABELS = "retrained", "after"


class CaseAudit:
    """One run of the audit: what it has measured so far.

    Args:
        config: Its options.
        run: Its folder.
        models: Label to model, in the order in which they are measured.
    """

    def __init__(self, config: AuditConfig, run: RunFolder, models: dict[str, str]):
        self.config = config
        assert config.case is not None, "an audit of rows is another one"
        self.case = open_case(config.case)
        require_pairs(self.case)
        self.models = models
        run.start()
        self.encoding = part_of(EncodingConfig, config)
        self.tests = run.inputs["case"].content
        self.logits = LogitsFile(config.output_dir / "retrained_logits.bin", {})
        self.evidence: dict[str, Evidence] = {}
        self.attacks: dict[str, dict[str, Any]] = {}
        self.quality: TraceQuality | None = None
        self.seconds: dict[str, dict[str, float]] = {}

    def measure(self, label: str) -> None:
        """Measure everything about one model, loaded once.

        Args:
            label: Of the model.
        """
        config, clock = self.config, Clock()
        loaded = load(held(config, self.models[label]))
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
            "quantization": loaded.quantization,
            **versions(),
        }

    def _retrained(self) -> list[str]:
        return [self.models["retrained"]] if "retrained" in self.models else []

    def _record_reference(self) -> None:
        """The retrained model's logits, where its evidence is kept from an earlier run and they are not."""
        config = self.config
        retrained = load(held(config, self.models["retrained"]))
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
        """Put the metrics of all models beside each other, and judge.

        Returns:
            The metrics.

        Raises:
            DataError: When rows of a test did not fit the longest sequence.
        """
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
