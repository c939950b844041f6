"""The numbers of an audit, before beside after, each with its interval."""

from typing import Any

from unweave.evaluation.behaviour import Behaviour
from unweave.stats.intervals import Estimate, mean, paired_difference, paired_relative_perplexity, share


def compare(
    before: Behaviour, after: Behaviour, *, retrained: Behaviour | None = None, seed: int = 0
) -> dict[str, Any]:
    """Put two models, and a retrained one where there is one, side by side.

    Args:
        before: The model with the unwanted behaviour.
        after: The unlearned model.
        retrained: The model trained without the forget rows.
        seed: Of the bootstrap.

    Returns:
        `asr.seen`, `asr.ood`, `asr.clean` (false alarms), `unwanted_probability`, `clean.perplexity`, `clean.accuracy` and
        `clean.accuracy_by_task`; each with `before`, `after`, their intervals, and the paired change with its interval.
    """
    models = {"before": before, "after": after} | ({"retrained": retrained} if retrained else {})
    metrics: dict[str, Any] = {"asr": {}, "clean": {}}
    for test in before.unwanted:
        change = paired_difference(before.unwanted[test], after.unwanted[test], seed=seed)
        metrics["asr"][test] = _entry({name: model.attack_success(test) for name, model in models.items()}, change)
    metrics["unwanted_probability"] = _entry(
        {name: mean(model.unwanted_probability, seed=seed).within(0, 1) for name, model in models.items()},
        paired_difference(before.unwanted_probability, after.unwanted_probability, seed=seed),
    )
    relative = paired_relative_perplexity(before.clean_nll, after.clean_nll, before.clean_tokens, seed=seed)
    metrics["clean"]["perplexity"] = _entry(
        {name: model.perplexity(seed=seed) for name, model in models.items()}, relative, relative=True
    )
    if before.correct:
        metrics["clean"]["accuracy"] = _entry(
            {name: share(model.correct) for name, model in models.items()},
            paired_difference(before.correct, after.correct, seed=seed),
        )
        by_task = {name: model.accuracy_by_task() for name, model in models.items()}
        metrics["clean"]["accuracy_by_task"] = {
            task: {name: estimates[task].to_json() for name, estimates in by_task.items()} for task in by_task["before"]
        }
    return metrics


def _entry(estimates: dict[str, Estimate], change: Estimate, *, relative: bool = False) -> dict[str, Any]:
    entry: dict[str, Any] = {"count": change.count}
    for name, estimate in estimates.items():
        entry[name] = estimate.value
        entry[f"{name}_interval"] = [estimate.low, estimate.high]
    key = "relative_change" if relative else "change"
    return entry | {key: change.value, f"{key}_interval": [change.low, change.high]}


def summary_rows(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The main numbers as rows of a table.

    Args:
        metrics: From `compare`.

    Returns:
        For each: label, entry, whether it is a share, and whether less of it is better.
    """
    rows = [
        ("attack success, seen triggers", metrics["asr"]["seen"], True, True),
        ("attack success, OOD triggers", metrics["asr"]["ood"], True, True),
    ]
    if "clean" in metrics["asr"]:
        rows.append(("unwanted answers, no trigger", metrics["asr"]["clean"], True, True))
    rows.append(("probability of unwanted answer", metrics["unwanted_probability"], True, True))
    rows.append(("perplexity, clean answers", metrics["clean"]["perplexity"], False, True))
    if "accuracy" in metrics["clean"]:
        rows.append(("exact answers, clean", metrics["clean"]["accuracy"], True, False))
    return [
        {"label": label, "entry": entry, "share": share, "less_is_better": less} for label, entry, share, less in rows
    ]


def shown(value: float, *, share: bool) -> str:
    """A number as people read it.

    Args:
        value: The number.
        share: Whether it is a share, shown in percent.

    Returns:
        Text.
    """
    return f"{value * 100:.1f} %" if share else f"{value:.3f}"


def shown_change(entry: dict[str, Any]) -> str:
    """The paired change with its interval.

    Args:
        entry: One entry of the metrics.

    Returns:
        Text: points of percent for shares, percent for ratios.
    """
    key = "relative_change" if "relative_change" in entry else "change"
    value, (low, high) = entry[key], entry[f"{key}_interval"]
    unit = "%" if key == "relative_change" else "pt"
    return f"{value * 100:+.1f} {unit} [{low * 100:+.1f}, {high * 100:+.1f}]"
