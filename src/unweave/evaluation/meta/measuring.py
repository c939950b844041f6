"""Measuring a model for a test of the metrics: as it is, after relearning, in few bits, and asked in other forms."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_rows
from unweave.evaluation.attacks.prompts import FORMS, in_form
from unweave.evaluation.attacks.quantise import GROUP, rounded
from unweave.evaluation.attacks.relearn import relearned
from unweave.evaluation.attacks.running import Found, run_attacks
from unweave.evaluation.config import AttackConfig, Margins
from unweave.evaluation.evaluate import conclude
from unweave.evaluation.forced import LogitsFile
from unweave.evaluation.measured import Measured, measure_rows
from unweave.evaluation.meta.readings import Reading, readings_of
from unweave.evaluation.meta.table import PLAIN, QUANTISED, RELEARNED
from unweave.evaluation.probes.registry import DEFAULTS
from unweave.evaluation.row_tests import RowTests, row_tests
from unweave.models.model import Model

STATES = PLAIN, RELEARNED, QUANTISED, *FORMS
"""What a model is measured in."""


@dataclass
class Meter:
    """Takes the readings of models, all on the same rows and beside the same reference model, which is measured once a state.

    Attributes:
        sets: `forget`; `like`, rows like them that no model was trained on; `retain`, rows to keep.
        reference: A model that was not trained on the rows to forget, and is none of those that the metrics are judged by.
        encoding: Template and lengths.
        folder: Where the reference's logits go.
        attacks: Which attacks, and how much of them; relearning as a state goes by its steps and rate, too.
        probes: Families of probes.
        probe_rows: The most rows that a family probes.
        margins: Of the verdict.
        bits: Of the state `quantised`.
        max_new_tokens: Longest generated answer.
        gradnorm_rows: Rows whose gradients are taken for the membership attack that needs them.
        seed: Of the bootstrap, and of what is random in probes and attacks.
    """

    sets: Mapping[str, Sequence[Row]]
    reference: Model
    encoding: EncodingConfig
    folder: Path
    attacks: AttackConfig = field(default_factory=AttackConfig)
    probes: Sequence[str] = DEFAULTS
    probe_rows: int = 16
    margins: Margins = field(default_factory=Margins)
    bits: int = 4
    max_new_tokens: int = 24
    gradnorm_rows: int = 24
    seed: int = 0
    _references: dict[str, tuple[Measured, Found]] = field(default_factory=dict)

    def readings(self, model: Model, state: str = PLAIN) -> dict[str, Reading]:
        """Every metric of a model in a state. Attacks and probes are made in the plain one alone.

        Args:
            model: The model; it is as before afterwards.
            state: One of `STATES`.

        Returns:
            Metric to reading.
        """
        tests = self._tests(state)
        if state not in self._references:
            self._references[state] = self._measured(self.reference, tests, state, "reference")
        own, attacked = self._in_state(model, tests, state)
        reference, reference_attacked = self._references[state]
        evaluation = conclude(
            tests,
            {"after": own, "reference": reference},
            self.margins,
            detector=None,
            max_new_tokens=self.max_new_tokens,
            attacks={"after": attacked, "reference": reference_attacked} if attacked else {},
            attack_names=self.attacks.attacks,
            seed=self.seed,
        )
        return readings_of(evaluation)

    def _in_state(self, model: Model, tests: RowTests, state: str) -> tuple[Measured, Found]:
        if state == RELEARNED:
            options = {"steps": self.attacks.relearn_steps, "rate": self.attacks.relearn_rate, "seed": self.seed}
            with relearned(model, list(self.sets["forget"]), self.encoding, **options):
                return self._measured(model, tests, state, "after")
        if state == QUANTISED:
            own = replace(model, model=copy.deepcopy(model.model))
            for _ in rounded(own, ((self.bits, GROUP),)):
                return self._measured(own, tests, state, "after")
        return self._measured(model, tests, state, "after")

    def _measured(self, model: Model, tests: RowTests, state: str, label: str) -> tuple[Measured, Found]:
        logits = LogitsFile(self.folder / f"logits.{state}.bin", {})
        if label == "reference":
            logits.remove()
        measured = measure_rows(
            model,
            tests,
            self.encoding,
            logits_file=logits,
            max_new_tokens=self.max_new_tokens,
            gradnorm_rows=self.gradnorm_rows if state == PLAIN else 0,
            label=f"{state}, {label}",
        )
        if state != PLAIN or not self.attacks.attacks:
            return measured, {}
        material = material_of_rows(tests.sets, max_new_tokens=self.max_new_tokens)
        target = Target(model, material, self.encoding, self.attacks, self.max_new_tokens, self.seed, label)
        return measured, run_attacks(target, self.attacks.attacks, spare=True)

    def _tests(self, state: str) -> RowTests:
        # Beside the plain state, the rows to keep would be answered for nothing.
        sets = {name: list(rows) for name, rows in self.sets.items() if state == PLAIN or name != "retain"}
        if state in FORMS:
            for name in ("forget", "like"):
                sets[name] = [in_form(row, FORMS[state]) for row in sets.get(name, [])]
        given = {name: rows for name, rows in sets.items() if rows}
        probes = self.probes if state == PLAIN else ()
        return row_tests(given, probes=probes, probe_rows=self.probe_rows, has_reference=True, seed=self.seed)
