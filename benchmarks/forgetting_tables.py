"""The tables of docs/forgetting.md and those of README.md on methods, weights and costs."""

from collections.abc import Callable
from typing import Any

from result_files import load, machine

CASES = "swap", "dolly", "dolly_rest", "dolly_dp2", "tofu01", "tofu05"
WEIGHT_CASES = "swap", "dolly"
FAULTY = {
    "fisher": "1/F was clamped at a number that nearly every parameter passes: the noise was the same on all",
    "ssd": "F_D held the forget rows, so that nothing could be selected: the row is the model before",
    "llmeraser": "the step was divided by all rows given instead of by those that stay",
    "fast-ntk": "losses were the outputs and 0 their target",
    "stable": "A was divided by omega, which then cancels, and bfloat16 rounded most of the change away",
    "undial": "there was a retain part, which the paper has not",
    "rmu": "the loss was that of the attention sink at the first token",
    "reglu": "the steps were too few and short, and covariances were of prompts and the first token too",
}
"""Methods whose formula, draws or default were mended after the cases were run, and what was wrong. A case that is run again leaves `MENDED_AFTER`."""
MENDED_AFTER = frozenset(CASES)
REPLACED = "Rows were sampled with replacement; now each comes once before any comes again (`--sampling cycle`)."
LLMERASER_NOTE = (
    "Made before the step was divided by the rows that stay: what is called the formula is {short:.0%} shorter here than it is now; the factors of edits that "
    "go to a target make up for it."
)


def forgetting(case: str) -> str:
    """The comparison of methods on a case, and its paired differences."""
    from unweave.experiments.bench.summary import markdown, measures_of

    result = load(f"forgetting_{case}")
    paired = [one for one in measures_of(result) if one.rows]
    mended = case in MENDED_AFTER
    faulty = sorted({row["entry"] for row in result["table"]} & set(FAULTY)) if mended else []

    def name(entry: str) -> str:
        return f"`{entry}`" + " †" * (entry in faulty)

    lines = [_marked(markdown(result), faulty)]
    if result["against"]:
        titles = " | ".join(one.title for one in paired)
        lines += [
            "",
            f"| `{result['against'][0]['baseline']}` against | {titles} |",
            "|---|" + "---:|" * len(paired),
        ]
    by_entry: dict[str, dict[str, Any]] = {}
    for one in result["against"]:
        by_entry.setdefault(one["entry"], {})[one["name"]] = one
    for entry, own in by_entry.items():
        cells = []
        for measure in paired:
            # The file holds the other minus the first; read the other way round it says what the first gains.
            value, factor = own[measure.name], -100 if measure.kind == "share" else -1
            middle, low, high = (factor * value[key] + 0.0 for key in ("difference", "high", "low"))
            digits = measure.digits
            cells.append(f"{middle:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}] {value['conclusion']}")
        lines.append(f"| {name(entry)} | " + " | ".join(cells) + " |")
    seeds = len(result["config"]["seeds"])
    lines += [
        "",
        f"({seeds} seed{'s' * (seeds > 1)}; Student's intervals over seeds above, over rows below, where a row's value is its mean over seeds; losses in "
        f"nats a token, shares in points; seconds with loading, weights included, the store apart; {machine(result)}.)",
    ]
    if result["config"]["tofu"]:
        lines += ["", _tofu_settings(result["config"]["max_new_tokens"])]
    if mended:
        lines += ["", REPLACED]
    if faulty:
        lines += [
            "",
            "† Made before the method was mended: " + "; ".join(f"`{one}`: {FAULTY[one]}" for one in faulty) + ".",
        ]
    return "\n".join(lines)


def _tofu_settings(tokens: int | None) -> str:
    """How long answers were, and which of TOFU's model utilities a table has."""
    length = (
        "Answers are as long as in TOFU's own evaluation"
        if tokens is None
        else f"Answers end after {tokens} new tokens, which ROUGE-L and, through it, the model utility rest on; TOFU's own evaluation, and now the default, "
        "lets prompt and answer have 200"
    )
    return f"{length}. The model utility is the geometric one (`model_utility`: TOFU's leaderboard, open-unlearning), not that of TOFU's paper."


def _marked(table: str, entries: list[str]) -> str:
    """A table whose rows of some entries bear a dagger."""
    for entry in entries:
        table = table.replace(f"| `{entry}` |", f"| `{entry}` † |")
    return table


def weights() -> str:
    """The kinds of weights on all cases that have them."""
    from unweave.experiments.bench.summary import spread
    from unweave.experiments.bench.under_test import Measure

    lines = [
        "| case | weights | attack success, seen | OOD | loss of right answers, near | far |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for case in WEIGHT_CASES:
        result = load(f"forgetting_{case}")
        measures = {one["name"]: Measure(**one) for one in result["measures"]}
        for row in result["table"]:
            method, _, kind = row["entry"].partition("+")
            if method == "rapidun":
                values = [
                    spread(measures[name], row[name])
                    for name in ("attack_success", "attack_success_ood", "near_loss", "clean_loss")
                ]
                lines.append(f"| {case} | `{kind}` | " + " | ".join(values) + " |")
    if MENDED_AFTER & set(WEIGHT_CASES):
        lines += ["", REPLACED]
    return "\n".join(lines)


def cost() -> str:
    """RapidUn's cost beside retraining, and where they meet."""
    result = load("cost")
    lines = [
        "| training rows | known rows | retraining, s | RapidUn, s | times cheaper | with a store that is there, s | times cheaper |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in result["sets"]:
        cells = []
        for kind in ("rapidun", "stored"):
            cells += [f"{one[kind]['seconds']:,.0f}", _times(one[kind])]
        lines.append(
            f"| {one['set']}, {one['rows']:,} rows | {one['known']} | {one['retrain']:,.0f} | "
            + " | ".join(cells)
            + " |"
        )
    meet = ", ".join(f"{one['rows']:,.0f} rows for {one['known']} known ones" for one in result["break_even"])
    lines += [
        "",
        f"Retraining is cheaper below {meet}. ({result['epochs']} epochs of training; {len(result['seconds'])} rounds, median [smallest, largest]; "
        f"{machine(result)}.)",
    ]
    return "\n".join(lines)


def cost_line() -> str:
    """The same in a sentence, for the forty rows that RapidUn's paper knows."""
    result = load("cost")
    told = [
        f"{_times(one['rapidun'])} times on {one['set']} ({one['rows']:,} rows), {_times(one['stored'])} times where a store that has served a trace is there"
        for one in result["sets"]
        if one["known"] == 40
    ]
    source = f"(Parts measured, the rest is multiplication: [`cost.json`](../benchmarks/results/cost.json); {machine(result)}.)"
    return f"Unlearning forty known rows is cheaper than training again: {'; '.join(told)}. {source}"


def _times(one: dict[str, Any]) -> str:
    ratios = sorted(one["times_cheaper"])
    return f"{ratios[len(ratios) // 2]:.0f} [{ratios[0]:.0f}, {ratios[-1]:.0f}]"


def llmeraser(name: str) -> str:
    """The edit beside retraining."""
    result = load(name)
    keys, seeds = list(result["runs"][0]["retrained"]), len(result["runs"])

    def spread(gap: dict[str, float]) -> str:
        return f" [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]"

    lines = [
        "| distance from retrained | residual | products | factor | times cheaper | " + " | ".join(keys) + " |",
        "|---|---:|---:|---:|---:|" + "---:|" * len(keys),
    ]
    names = {"before": "not edited", "again": "retrained with other seeds"}
    for label, own in result["table"].items():
        solved = [
            f"{own[key]['value']:.{digits}f}" if key in own else ""
            for key, digits in (("residual", 4), ("products", 1), ("scale", 1), ("times_cheaper", 1))
        ]
        gaps = [own["distance_from_retrained"][key] for key in keys]
        cells = [f"{100 * gap['value']:+.1f} %" + (spread(gap) if seeds > 1 else "") for gap in gaps]
        lines.append(f"| {names.get(label, label)} | " + " | ".join([*solved, *cells]) + " |")
    over = f"{seeds} seeds, Student's intervals" if seeds > 1 else "1 seed"
    enough = ", ".join(f"{rows:,.0f} ({name})" for name, rows in result["rows_for_a_30th"].items())
    lines += [
        "",
        f"The edit's cost does not depend on the number of training rows, of which there are {result['rows']:,} here: retraining is 30 times dearer from so "
        f"many rows on: {enough}. ({over}; {machine(result)}.)",
        "",
        LLMERASER_NOTE.format(short=result["removed"] / result["rows"]),
    ]
    return "\n".join(lines)


def distilled() -> str:
    """The chosen case under `distill`, in a sentence."""
    result = load("defaults_chosen")
    before = result["before"]
    ((label, own),) = [one for one in result["methods"].items() if one[0].split()[0] == "distill"]
    options = ", ".join(f"`{pair}`" for pair in label.split()[1:])
    return (
        f"Of {result['rows']} TOFU rows that SmolLM2-135M knew by heart ({result['forget_rows']} to forget, at {before['forget_loss']:.3f} nats a token, "
        f"{before['verbatim']} of their answers verbatim; the others at {before['retain_loss']:.3f}), {own['steps']} steps with {options}, which became the "
        f"defaults, left the first at {own['forget_loss']:.2f} ({own['details']['teacher_loss']:.2f} under the teacher), "
        f"{own['verbatim']} answers verbatim, and the others at {own['retain_loss']:.3f} "
        f"([`defaults_chosen.json`](../benchmarks/results/defaults_chosen.json))."
    )


TABLES: dict[str, Callable[[], str]] = {
    "distill": distilled,
    "weights": weights,
    "cost": cost,
    "cost_line": cost_line,
    "llmeraser": lambda: llmeraser("llmeraser"),
    "llmeraser_2100": lambda: llmeraser("llmeraser_2100"),
    **{f"forgetting_{case}": (lambda case=case: forgetting(case)) for case in CASES},
}
