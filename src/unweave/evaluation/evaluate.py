"""Evaluating a model on rows alone: was it forgotten, and at what cost, with no detector and no tests made for the case."""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.attacks.base import Target
from unweave.evaluation.attacks.material import material_of_rows
from unweave.evaluation.attacks.running import Found, attacks_left_out, run_attacks
from unweave.evaluation.attacks.table import attack_table
from unweave.evaluation.config import AttackConfig, Margins, require_paraphrases
from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.figures import figures_of, gives_away
from unweave.evaluation.forced import LogitsFile
from unweave.evaluation.judging import judge_rows
from unweave.evaluation.measured import Measured, measure_rows
from unweave.evaluation.meta.table import MetricTable
from unweave.evaluation.probes.outcome import outcome_of, rates_of
from unweave.evaluation.probes.registry import DEFAULTS
from unweave.evaluation.probes.writing import write_paraphrases
from unweave.evaluation.row_tests import PARAPHRASES, RowTests, row_tests
from unweave.models.model import Model

PARAPHRASED = (
    "like rows that were never trained on: paraphrases of the rows were made in their place, by templates. Membership inference tells the rows' own wording "
    "from others then, and not rows that were trained on from rows that were not; and the loss of paraphrases, which a model that knows the rows finds easy "
    "too, is a lower bound of the level that the rows' loss should reach"
)
"""What made rows cost in certainty."""

ATTACKED = "after", "reference"
"""The models that are attacked."""

FIRST = "after", "before", "reference"
"""The order in which models are shown; others follow."""


def evaluate(
    model: Model,
    *,
    forget: Any,
    like: Any = None,
    retain: Any = None,
    before: Model | None = None,
    reference: Model | None = None,
    margins: Margins = Margins(),  # noqa: B008  # it is frozen
    detector: str | None = None,
    probes: Sequence[str] = DEFAULTS,
    probe_rows: int = 16,
    probe_model: Model | None = None,
    attacks: AttackConfig | Sequence[str] = (),
    encoding: EncodingConfig | None = None,
    max_new_tokens: int = 24,
    gradnorm_rows: int = 0,
    token_budget: int = 4096,
    metric_table: MetricTable | None = None,
    seed: int = 0,
) -> Evaluation:
    """Evaluate whether a model has forgotten rows, and what it has lost besides.

    With a reference model, one that never saw the rows, each figure is compared with its own, row by row, against a margin (minimum-effect tests with Holm's
    correction). Without one the rows count as forgotten when their answers no longer come and their loss is near that of like rows that were never trained
    on, or at least above what it was before. Without like rows there is no membership inference, and without rows to keep nothing is said of damage.

    Args:
        model: The model under test.
        forget: The rows that it should have forgotten: anything that `uw.load_rows` takes, as all rows here.
        like: Rows like them that no model was trained on.
        retain: Rows that it should still know.
        before: The model before.
        reference: A model that never saw the rows, such as one retrained without them.
        margins: The smallest differences that matter.
        detector: A regular expression that finds the unwanted behaviour in an answer, where there is one.
        probes: Families of probes (`unweave list probes`); none where it is empty.
        probe_rows: The most rows that a family probes, one probe a row.
        probe_model: A model that writes paraphrases of the rows' questions, in place of templates.
        attacks: Attacks on the model under test and on the reference (`unweave list attacks`), by name, or with how much of each; none by default.
        encoding: Template and lengths.
        max_new_tokens: Longest generated answer; 0 generates none.
        gradnorm_rows: Rows to forget, and like ones, whose gradients are taken for the membership attack that needs them.
        token_budget: Tokens a batch, padding included.
        metric_table: What a test of the metrics found (`unweave.evaluation.meta`): the verdict says how sure it is by it.
        seed: Of the bootstrap, and of what is random in probes.

    Returns:
        The evaluation.

    Raises:
        ConfigError: When the detector is no regular expression.
        DataError: When a set has no rows, or none of one fits the longest sequence.

    Example:
        >>> import unweave as uw
        >>> report = uw.evaluate(model, forget=forget, like=like, retain=retain)
        >>> report.verdict.conclusion, report.left_out[0]
        ('forgotten; damage was not measured', 'what changed: no model before')
        >>> report.figures["after"]["forget"]["loss"].count
        2
    """
    require_detector(detector)
    attack_config = attacks if isinstance(attacks, AttackConfig) else AttackConfig(attacks=tuple(attacks))
    encoding = encoding or EncodingConfig()
    given = {"forget": forget, "like": like, "retain": retain}
    tests = row_tests(
        given,
        probes=probes,
        probe_rows=probe_rows,
        paraphrases=writer(probe_model, encoding, probes, count=probe_rows) if probe_model is not None else None,
        has_reference=reference is not None,
        seed=seed,
    )
    models = {"reference": reference, "before": before, "after": model}
    measured: dict[str, Measured] = {}
    attacked: dict[str, Found] = {}
    with ExitStack() as stack:
        logits = None
        if reference is not None:
            # The reference's logits of all labelled tokens: on the disk, which holds more than the memory does.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="unweave-"))
            logits = LogitsFile(Path(folder) / "logits.bin", {})
        for label, one in models.items():
            if one is not None:
                measured[label] = measure_rows(
                    one,
                    tests,
                    encoding,
                    logits_file=logits,
                    max_new_tokens=max_new_tokens,
                    gradnorm_rows=gradnorm_rows,
                    baseline=label == "after",
                    token_budget=token_budget,
                    label=label,
                )
            if one is not None and label in ATTACKED and attack_config.attacks:
                material = material_of_rows(tests.sets, detector=detector, max_new_tokens=max_new_tokens)
                target = Target(one, material, encoding, attack_config, max_new_tokens, seed, label)
                attacked[label] = run_attacks(target, attack_config.attacks, spare=True)
    return conclude(
        tests,
        measured,
        margins,
        detector=detector,
        max_new_tokens=max_new_tokens,
        attacks=attacked,
        attack_names=attack_config.attacks,
        metric_table=metric_table,
        seed=seed,
    )


def writer(
    model: Model, encoding: EncodingConfig, probes: Sequence[str], *, count: int
) -> Callable[[Sequence[Row]], dict[str, str]]:
    """What writes the paraphrases of an evaluation.

    Args:
        model: The model that writes.
        encoding: Template and lengths.
        probes: The families of probes that are asked for.
        count: The most rows.

    Returns:
        A function of the rows to forget.
    """
    require_paraphrases(probes)
    return lambda rows: write_paraphrases(model, rows, encoding, count=count)


def conclude(
    tests: RowTests,
    measured: Mapping[str, Measured],
    margins: Margins,
    *,
    detector: str | None,
    max_new_tokens: int,
    attacks: Mapping[str, Found],
    attack_names: Sequence[str],
    metric_table: MetricTable | None = None,
    seed: int,
) -> Evaluation:
    """What the measurements of all models say.

    Args:
        tests: What each was asked.
        measured: Of `after`, and where they are there of `before`, `reference` and others.
        margins: The smallest differences that matter.
        detector: A regular expression of the unwanted behaviour, where there is one.
        max_new_tokens: Longest generated answer.
        attacks: What attacks found, of `after` and where it is there of `reference`.
        attack_names: The attacks that were asked for.
        metric_table: What a test of the metrics found, where there was one.
        seed: Of the bootstrap.

    Returns:
        The evaluation.
    """
    order = [*(label for label in FIRST if label in measured), *(label for label in measured if label not in FIRST)]
    scores = {label: measured[label].score for label in order}
    texts = {name: {row.id: row.completion for row in rows} for name, rows in tests.sets.items()}
    others = _others(measured)
    membership = {
        label: own.memberships(texts, members="forget", others=others) for label, own in scores.items() if others
    }
    outcomes = {label: outcome_of(tests.probes, measured[label].probes) for label in order}
    verdicts = {
        label: judge_rows(
            scores,
            membership,
            margins,
            label=label,
            probes=outcomes,
            baseline=outcome_of(tests.baseline, measured[label].baseline),
            attacks=attacks,
            seed=seed,
        )
        for label in order
        if label == "after" or label not in FIRST
    }
    if metric_table is not None:
        certainty = metric_table.of_verdict()
        verdicts = {label: replace(one, certainty=certainty) for label, one in verdicts.items()}
    return Evaluation(
        verdict=verdicts.pop("after"),
        figures={
            label: {
                name: figures_of(
                    tests.sets[name],
                    forced,
                    measured[label].answers.get(name),
                    compared=label != "reference",
                    detector=detector,
                    seed=seed,
                )
                for name, forced in own.forced.items()
            }
            for label, own in scores.items()
        },
        membership=membership,
        losses={
            label: {
                name: dict(zip(forced.row_ids, forced.mean_losses(), strict=True))
                for name, forced in own.forced.items()
            }
            for label, own in scores.items()
        },
        answers={label: measured[label].answers for label in order if measured[label].answers},
        margins=margins,
        left_out=[
            *_left_out(tests, measured, detector=detector, max_new_tokens=max_new_tokens),
            *attacks_left_out(
                material_of_rows(tests.sets, detector=detector, max_new_tokens=max_new_tokens), attack_names
            ),
        ],
        attacks=attack_table({label: attacks[label] for label in order if label in attacks}),
        others=verdicts,
        probes=rates_of(tests.probes, outcomes, _own_prompts(tests, measured, order), seed=seed),
    )


def _others(measured: Mapping[str, Measured]) -> str | None:
    """The set that membership inference compares with: like rows, or paraphrases of which each model has some."""
    for name in ("like", PARAPHRASES):
        if all(name in own.score.forced for own in measured.values()):
            return name
    return None


def _own_prompts(tests: RowTests, measured: Mapping[str, Measured], order: Sequence[str]) -> dict[str, dict[str, bool]]:
    """Model to row id to whether the answer to the row's own prompt gives it away."""
    answers = {label: measured[label].answers.get("forget", {}) for label in order}
    return {
        label: {row.id: gives_away(row, own[row.id]) for row in tests.probes.rows}
        for label, own in answers.items()
        if own
    }


def require_detector(detector: str | None) -> None:
    """Refuse a detector that finds nothing because it is no regular expression.

    Args:
        detector: The expression, where there is one.

    Raises:
        ConfigError: When it can't be compiled.
    """
    try:
        re.compile(detector or "")
    except re.error as error:
        raise ConfigError(
            f"The detector is no regular expression: {error}.",
            where="`detector`",
            remedy="escape its special characters",
        ) from error


def _left_out(
    tests: RowTests, measured: Mapping[str, Measured], *, detector: str | None, max_new_tokens: int
) -> list[str]:
    tokens = measured["after"].score.forced["forget"].tokens()
    others, made = _others(measured), len(tests.sets.get(PARAPHRASES, []))
    fitting = (
        min(len(own.score.forced[PARAPHRASES].row_ids) for own in measured.values()) if others == PARAPHRASES else 0
    )
    longer = sum(count > max_new_tokens for count in tokens)
    missing = {
        "membership inference: no like rows that were never trained on, and no question to make some of": others
        is None,
        PARAPHRASED: others == PARAPHRASES,
        f"{made - fitting} of {made} made paraphrases: they do not fit the longest sequence": made > fitting,
        "damage: no rows to keep": "retain" not in tests.sets,
        "what changed: no model before": "before" not in measured,
        "over-forgetting: no reference model that never saw the rows": "reference" not in measured,
        "a detector's share of answers: none was given, answers are compared with the rows' own": detector is None,
        "generated answers, those to probes too: max_new_tokens is 0": not max_new_tokens,
        f"the ends of {longer} of {len(tokens)} answers to forget: they are longer than the {max_new_tokens} tokens that are generated": max_new_tokens
        and longer,
    }
    return [*(what for what, is_missing in missing.items() if is_missing), *tests.notes]
