"""The audit from rows alone: each model is loaded once and measured, what was measured is kept, and judged as `uw.evaluate` judges."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unweave.config import part_of
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_rows
from unweave.evaluation.attacks.running import Found, stored_attacks
from unweave.evaluation.config import AttackConfig, AuditConfig, Margins
from unweave.evaluation.evaluate import ATTACKED, conclude, require_detector, writer
from unweave.evaluation.evidence import Clock
from unweave.evaluation.forced import LogitsFile
from unweave.evaluation.harness import Scores, harness_scores, harness_table, require_harness
from unweave.evaluation.measured import Measured, measure_rows
from unweave.evaluation.meta.table import MetricTable
from unweave.evaluation.row_tests import GIVEN, row_tests
from unweave.evaluation.verdict import CLASS, ranking
from unweave.files import remembered, write_json
from unweave.models.loading import Loaded, held, load
from unweave.run.folder import RunFolder
from unweave.run.identity import versions
from unweave.run.inputs import of_path, rows_digest
from unweave.run.model_inputs import of_named_model

WITHOUT_A_CASE = (
    "answers to triggers, and false alarms without one: they are tests of a case",
    "how well the rows are traced: that is judged on a case",
)


def audit_rows(config: AuditConfig, run: RunFolder, models: Mapping[str, str]) -> dict[str, Any]:
    """Audit models on rows.

    Args:
        config: The audit's.
        run: Its folder, held.
        models: Label to model, in the order in which they are measured.

    Returns:
        The metrics, which are also in `metrics.json`; a page of them is in `audit.html`.
    """
    audit = _RowAudit(
        config, run, {"reference" if label == "retrained" else label: name for label, name in models.items()}
    )
    for label in audit.models:
        audit.measure(label)
    return audit.conclude()


class _RowAudit:
    """One run: what it has measured so far."""

    def __init__(self, config: AuditConfig, run: RunFolder, models: Mapping[str, str]):
        require_detector(config.detector)
        if config.lm_eval:
            require_harness()
        self.config, self.models = config, models
        self.table = MetricTable.read(config.metric_table) if config.metric_table is not None else None
        paths = {name: getattr(config, name) for name in GIVEN}
        read = {name: read_training_rows(path, config) for name, path in paths.items() if path is not None}
        run.start(
            rows=[row for own in read.values() for row in own],
            problems=[problem for own in read.values() for problem in own.problems],
        )
        self.encoding = part_of(EncodingConfig, config)
        self.tests = row_tests(
            read,
            probes=config.probes,
            probe_rows=config.probe_rows,
            paraphrases=self._written if config.probe_model is not None else None,
            has_reference="reference" in models,
            seed=config.seed,
        )
        self.logits = LogitsFile(config.output_dir / "retrained_logits.bin", {})
        self.digests = {name: rows_digest(own) for name, own in self.tests.sets.items()}
        self.measured: dict[str, Measured] = {}
        self.attacked: dict[str, Found] = {}
        self.harness: dict[str, Scores] = {}
        self.seconds: dict[str, dict[str, float]] = {}

    def _written(self, rows: Sequence[Row]) -> dict[str, str]:
        """What the probe model writes, or has written of the same rows."""
        config = self.config
        assert config.probe_model is not None, "a model writes"
        name = config.probe_model
        identity = {
            "model": of_named_model(name).content,
            "rows": rows_digest(rows),
            "count": config.probe_rows,
            "encoding": asdict(self.encoding),
            "dtype": config.dtype,
            "quantization": config.quantization,
            **versions(),
        }

        def write() -> dict[str, str]:
            loaded = load(held(config, name))
            return writer(loaded, self.encoding, config.probes, count=config.probe_rows)(rows)

        path = config.output_dir / "paraphrases.json"
        return remembered(path, identity, write, key="paraphrases", what="The paraphrases")

    def measure(self, label: str) -> None:
        """Measure one model, or read what was measured of it."""
        config, clock = self.config, Clock()
        loaded = self._load(label)
        clock.lap("load")
        identity = self._identity(label, loaded)
        if label == "reference":
            self.logits.identity = identity

        def measured() -> dict[str, Any]:
            if "reference" in self.models and label != "reference" and not self.logits.written:
                # The reference's evidence is kept from an earlier run, and its logits are not.
                self._measured("reference", self._load("reference"), Clock())
            own = self._measured(label, loaded, clock)
            return {**own.to_json(), "seconds": clock.seconds}

        path = config.output_dir / f"evidence.{label}.json"
        kept = remembered(path, identity, measured, key="evidence", what="Measured evidence")
        self.seconds[label] = {**clock.seconds, **kept["seconds"]}
        self.measured[label] = Measured.from_json(kept)
        if config.lm_eval:
            # Before the attacks: they spend the model.
            self.harness[label] = self._on_tasks(label, loaded, identity, clock)
        if label in ATTACKED and config.attacks:
            self.attacked[label] = self._attack(label, loaded, identity)
            self.seconds[label] |= {f"attack: {name}": own["seconds"] for name, own in self.attacked[label].items()}

    def _attack(self, label: str, loaded: Loaded, identity: Mapping[str, Any]) -> Found:
        """The attacks that are not on the disk yet, each written as it ends; the model is spent afterwards."""
        config = self.config
        options = part_of(AttackConfig, config)
        identity = {**identity, **asdict(options), "attacks": "", "detector": config.detector}
        material = material_of_rows(self.tests.sets, detector=config.detector, max_new_tokens=config.max_new_tokens)
        target = Target(loaded, material, self.encoding, options, config.max_new_tokens, config.seed, label)
        return stored_attacks(target, config.attacks, config.output_dir / f"attacks.{label}.json", identity)

    def _on_tasks(self, label: str, loaded: Loaded, identity: Mapping[str, Any], clock: Clock) -> Scores:
        """What a model reaches on the harness's tasks, or has reached."""
        config = self.config
        tasks = {
            "tasks": list(config.lm_eval),
            "include": of_path(config.lm_eval_include).content,
            "limit": config.lm_eval_limit,
            "seed": config.seed,
        }
        own = {**tasks, **{name: identity[name] for name in ("models", "dtype", "quantization")}, **versions()}

        def measure() -> Scores:
            return harness_scores(
                loaded, config.lm_eval, include=config.lm_eval_include, limit=config.lm_eval_limit, seed=config.seed
            )

        path = config.output_dir / f"lm_eval.{label}.json"
        found = remembered(path, own, measure, key="scores", what="Scores on the harness's tasks")
        clock.lap("harness")
        self.seconds[label] |= {"harness": clock.seconds["harness"]}
        return found

    def _load(self, label: str) -> Loaded:
        return load(held(self.config, self.models[label]))

    def _identity(self, label: str, loaded: Loaded) -> dict[str, Any]:
        """What numbers of a model are numbers of: the model, the reference that it is compared with, and the tests."""
        names = {label, *(["reference"] if "reference" in self.models else [])}
        return {
            "models": {
                "own" if name == label else name: of_named_model(self.models[name]).content for name in sorted(names)
            },
            "dtype": str(loaded.model.dtype),
            "quantization": loaded.quantization,
            "tests": self.digests,
            "encoding": asdict(self.encoding),
            "max_new_tokens": self.config.max_new_tokens,
            "gradnorm_rows": self.config.gradnorm_rows,
            "probes": {name: rows_digest(one.asked for one in own) for name, own in self.tests.probes.families.items()},
            "probe_rows": self.config.probe_rows,
            "seed": self.config.seed,
            **versions(),
        }

    def _measured(self, label: str, loaded: Loaded, clock: Clock) -> Measured:
        return measure_rows(
            loaded,
            self.tests,
            self.encoding,
            logits_file=self.logits if "reference" in self.models else None,
            max_new_tokens=self.config.max_new_tokens,
            gradnorm_rows=self.config.gradnorm_rows,
            baseline=label not in ("before", "reference"),
            label=label,
            lap=clock.lap,
        )

    def conclude(self) -> dict[str, Any]:
        """The figures of all models, beside each other, and the verdicts; written down."""
        from unweave.report.evaluation_page import write_evaluation_page

        config = self.config
        report = conclude(
            self.tests,
            self.measured,
            part_of(Margins, config),
            detector=config.detector,
            max_new_tokens=config.max_new_tokens,
            attacks=self.attacked,
            attack_names=config.attacks,
            metric_table=self.table,
            seed=config.seed,
        )
        report.left_out.extend(WITHOUT_A_CASE)
        tasks = harness_table(self.harness, seed=config.seed) if self.harness else {}
        metrics = {
            "class": CLASS,
            "models": dict(self.models),
            "rows": {name: len(rows) for name, rows in self.tests.sets.items()},
            **report.to_json(),
            **({"lm_eval": tasks} if tasks else {}),
            "ranking": ranking([report.verdict, *report.others.values()]),
            "seconds": {
                "audit": round(sum(sum(own.values()) for own in self.seconds.values()), 3),
                "by_model": self.seconds,
            },
        }
        write_json(config.output_dir / "metrics.json", metrics)
        page = Path(config.output_dir) / "audit.html"
        write_evaluation_page(page, report, models=self.models, seconds=self.seconds, tasks=tasks)
        self.logits.remove()
        return metrics
