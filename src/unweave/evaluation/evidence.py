"""Everything that is measured of one model: behaviour, teacher-forced values, gradient norms; kept on disk, so that a rerun goes on."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unweave.data.case import Case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.evaluation.behaviour import Behaviour, measure_behaviour
from unweave.evaluation.forced import Forced, LogitsFile, forced_pass
from unweave.evaluation.measures.membership import Membership
from unweave.evaluation.score import Score, score
from unweave.files import remembered
from unweave.models.loading import Loaded

MEMBERS, OTHERS = "forget", "unwanted"
COMPARED = "seen", "unwanted", "clean"
"""The sets on whose answers a model is compared with the retrained one: right answers to triggers, unwanted ones, and clean rows."""
FEWEST = 2
"""Rows that a paired comparison needs."""


@dataclass(frozen=True)
class Evidence:
    """What was measured of one model.

    Attributes:
        behaviour: Its answers.
        forced: Teacher-forced values, by set: `forget` (trained on), `unwanted` (like them, held out), `seen` (right answers to trigger
            prompts), `clean`.
        reference: Token losses of `forget` and `unwanted` under the base without its adapter; empty where there is no adapter.
        gradnorms: Gradient norms of the first rows of `forget` and `unwanted`; empty where none were asked for.
        seconds: Wall time of each part.
    """

    behaviour: Behaviour
    forced: dict[str, Forced]
    reference: dict[str, list[list[float]]]
    gradnorms: dict[str, list[float]]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evidence":
        """Read back what `to_json` gave.

        Args:
            value: The object.

        Returns:
            The evidence.
        """
        return cls(
            behaviour=Behaviour.from_json(value["behaviour"]),
            forced={name: Forced(**own) for name, own in value["forced"].items()},
            reference=value["reference"],
            gradnorms=value["gradnorms"],
            seconds=value["seconds"],
        )

    def memberships(self, texts: Mapping[str, Sequence[str]]) -> dict[str, Membership]:
        """Every membership attack: the rows that were to be forgotten against like rows that were never trained on.

        Args:
            texts: Set to the answers of its rows, for zlib.

        Returns:
            Attack to its strength, that of PrivLeak among them.
        """
        named = {name: dict(zip(self.forced[name].row_ids, texts[name], strict=True)) for name in (MEMBERS, OTHERS)}
        scored = Score(self.forced, self.reference, self.gradnorms)
        return scored.memberships(named, members=MEMBERS, others=OTHERS)


def row_sets(case: Case) -> dict[str, list[Row]]:
    """The rows that are scored teacher-forced.

    Args:
        case: The case.

    Returns:
        Set to rows.
    """
    return {
        "forget": case.rows("forget"),
        "unwanted": case.rows("unwanted"),
        "seen": case.rows("test_seen"),
        "clean": case.rows("test_clean"),
    }


def require_pairs(case: Case) -> None:
    """Refuse a case whose models could be measured and not compared, before anything is measured.

    Args:
        case: The case.

    Raises:
        DataError: When a set of rows has fewer than two.
    """
    for name, rows in {**row_sets(case), "ood": case.rows("test_ood")}.items():
        if len(rows) < FEWEST:
            raise DataError(
                f"The case has {len(rows)} row(s) of '{name}': models are compared on {FEWEST} or more of each kind.",
                where=str(case.folder),
                remedy="make it with more rows (`unweave case --test-rows, --clean-test-rows, --forget-rows`)",
            )


def record_logits(loaded: Loaded, case: Case, encoding: EncodingConfig, logits_file: LogitsFile) -> None:
    """Write the logits of the retrained model on the compared sets.

    Args:
        loaded: The retrained model.
        case: The case.
        encoding: Template and lengths.
        logits_file: Where to.
    """
    sets = {name: rows for name, rows in row_sets(case).items() if name in COMPARED}
    forced_pass(
        loaded, sets, encoding, compared=COMPARED, logits_file=logits_file, description="retrained: to compare with"
    )


def stored_evidence(
    loaded: Loaded,
    case: Case,
    encoding: EncodingConfig,
    path: Path,
    *,
    identity: Mapping[str, Any],
    logits_file: LogitsFile | None,
    record_reference: Callable[[], None],
    max_new_tokens: int,
    gradnorm_rows: int,
    label: str,
) -> Evidence:
    """Measure a model, or read what was measured of the same model with the same options.

    Args:
        loaded: The model.
        case: The case.
        encoding: Template and lengths.
        path: Where the evidence is kept.
        identity: What it depends on.
        logits_file: Logits of the retrained model, to be compared with; `None` where there is no such model.
        record_reference: Writes these logits; called when they are needed and not there.
        max_new_tokens: Longest generated answer.
        gradnorm_rows: Rows of each kind whose gradients are taken.
        label: Names the model in the progress bars.

    Returns:
        The evidence.
    """
    identity = {
        **identity,
        "detector": case.detector,
        "encoding": asdict(encoding),
        "max_new_tokens": max_new_tokens,
        "gradnorm_rows": gradnorm_rows,
    }

    def measure() -> dict[str, Any]:
        if logits_file is not None and not logits_file.written:
            record_reference()
        return _measure(
            loaded,
            case,
            encoding,
            logits_file=logits_file,
            max_new_tokens=max_new_tokens,
            gradnorm_rows=gradnorm_rows,
            label=label,
        ).to_json()

    return Evidence.from_json(remembered(path, identity, measure, key="evidence", what="Measured evidence"))


def _measure(
    loaded: Loaded,
    case: Case,
    encoding: EncodingConfig,
    *,
    logits_file: LogitsFile | None,
    max_new_tokens: int,
    gradnorm_rows: int,
    label: str,
) -> Evidence:
    clock = Clock()
    sets = row_sets(case)
    pair = MEMBERS, OTHERS
    scored = score(
        loaded,
        sets,
        encoding,
        compared=COMPARED if logits_file is not None else (),
        logits_file=logits_file,
        under_base=pair,
        gradient_rows=dict.fromkeys(pair, gradnorm_rows) if gradnorm_rows else None,
        label=label,
        lap=clock.lap,
    )
    behaviour = measure_behaviour(
        loaded, case, encoding, max_new_tokens=max_new_tokens, label=label, forced=scored.forced
    )
    clock.lap("generated answers")
    return Evidence(behaviour, scored.forced, scored.reference, scored.gradnorms, clock.seconds)


class Clock:
    """Wall time of parts that follow each other."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to a part.

        Args:
            name: Of the part.
        """
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._last, 3)
        self._last = now
