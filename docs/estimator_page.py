"""The page "which estimator when", from the result files of the evaluation suite, of the comparison with kronfluence, and of what recording costs."""

import json
from pathlib import Path
from typing import Any

from unweave.attribution.registry import ESTIMATORS, PRECONDITIONERS, SCORERS
from unweave.attribution.trained import AUTO

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

BEGIN = """# Which estimator when

`unweave bench attribution` measures every estimator and baseline in one run: by retraining (LDS, QLD, counterfactual removal), by one more step (tail-patch),
by rows that were planted (facts asked in other words, wrong answers, a trigger, a replaced entity, DATE-LM's two application tasks), and by
checks that good scores must pass (a randomised adapter, unrelated questions, other batches, seeds and orders). `unweave list measures` says what each is,
`unweave list estimators`, `unweave list preconditioners` and `unweave list scorers` what is measured.
A figure is written the moment it is there, and a killed run goes on.

```sh
unweave bench attribution --model MODEL --output-dir suite --seeds 0 1 2
unweave bench attribution --model MODEL --output-dir suite --peers kronfluence "PYTHON benchmarks/peers/kronfluence_ekfac.py"
```

## What is there decides first

| the training left | then |
|---|---|
| a record (`unweave train --record`) | `--estimator auto` takes `{auto}`; `unrolled` is the derivative of the training itself, for small jobs |
| `checkpoint-N` or snapshots with the optimizer's state | `segments` and `trajectory`; `unrolled` needs a record |
| the adapter only | the store's sketches; with `--normalize none` and small models a preconditioner (`ekfac` before `cg`, which takes hundreds of passes) |
| nothing, or a first look | `bm25`: no gradient at all |

"""


def _load(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def estimator_page(note: str) -> str:
    """The page.

    Args:
        note: Its first line.

    Returns:
        Markdown.
    """
    lines = [note, BEGIN.format(auto=AUTO).rstrip(), "", *_suite(_load("attribution_suite"))]
    lines += [*_peer(_load("ekfac_peer")), *_recording(_load("recording"))]
    return "\n".join(lines).rstrip() + "\n"


def _suite(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return [
            "## Measured",
            "",
            "Not yet: `python benchmarks/attribution_suite.py` makes the table that stands here.",
            "",
        ]
    config, table = result["config"], result["table"]
    seeds = len(config["seeds"])
    over = (
        "Student's intervals over seeds"
        if seeds > 1
        else "one seed: intervals are over queries, and over retrained models where there are some"
    )
    machine = result["environment"]
    lines = [
        "## Measured",
        "",
        f"A Llama of 160,000 parameters, LoRA of rank {config['lora_r']}, {config['rows']} rows a scene, {config['asked']} queries, {seeds} seed(s); {over}. "
        f"Seconds are the processor's, for all queries of a scene with caching, on an {machine['cpu']}; KiB are what is read from the disk. "
        "On models as small as this the order of methods is a hint and no law. *Italics*: baselines, and what scores without a name reach.",
        "",
    ]
    columns = [column for column in result["columns"] if column["measure"] != "sanity"]
    sanity = [column for column in result["columns"] if column["measure"] == "sanity"]
    half = -(-len(columns) // 2)
    for part, costs in ((columns[:half], False), (columns[half:], True), (sanity, False)):
        if part:
            lines += [*_table(part, table, result, costs=costs), ""]
    if sanity:
        lines += [
            "Of sanity, the first should be near 0, the overlap near chance, and the others near 1; "
            "a baseline that does not look at the model keeps its scores under a randomised adapter.",
            "",
        ]
    lines += ["### What follows", "", *(f"- {text}" for text in result["findings"]), ""]
    lines += ["### What was not run", "", *(f"- {text}" for text in _missing(result, columns)), ""]
    return lines


def _table(columns: list[dict[str, Any]], table: dict[str, Any], result: dict[str, Any], *, costs: bool) -> list[str]:
    titles = [column["title"] for column in columns] + (["CPU seconds", "KiB"] if costs else [])
    lines = ["| | " + " | ".join(titles) + " |", "|---|" + "---:|" * len(titles)]
    for name, cells in table.items():
        own = [_cell(column, cells.get(column["key"])) for column in columns]
        cost = result["costs"][name]
        if costs:
            own += [_number(cost["cpu_seconds"], 1), _number(cost["bytes"] / 1024, 0)]
        lines.append(f"| {f'*{name}*' if name in SCORERS else f'`{name}`'} | " + " | ".join(own) + " |")
    for name, cells in result["references"].items():
        if any(column["key"] in cells for column in columns):
            own = [_cell(column, cells.get(column["key"])) for column in columns] + (["", ""] if costs else [])
            lines.append(f"| *{name}* | " + " | ".join(own) + " |")
    return lines


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _cell(column: dict[str, Any], cell: dict[str, Any] | None) -> str:
    if cell is None or cell["value"] is None:
        return ""
    value, digits = f"{cell['value']:.{column['digits']}f}", column["digits"]
    if cell["low"] is None or cell["low"] == cell["high"]:
        return value
    return f"{value} [{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]"


def _missing(result: dict[str, Any], columns: list[dict[str, Any]]) -> list[str]:
    found = [f"{name}: {reason}" for name, reason in result["skipped"].items()]
    for kind, names in result["not_run"].items():
        if names:
            found.append(f"{kind} that were not asked for: {', '.join(f'`{name}`' for name in names)}")
    for name, cells in result["table"].items():
        if gone := [column["title"] for column in columns if column["key"] not in cells]:
            found.append(f"`{name}` has no figure yet for {', '.join(gone)}")
    if config := [name for name in ("date_lm_toxicity", "date_lm_factual") if not result["config"].get(name)]:
        found.append(
            f"DATE-LM's own files ({len(config)} of 2 were not given): its tasks ran on small generated rows, by its rules"
        )
    known = {*PRECONDITIONERS, *ESTIMATORS, *SCORERS}
    if fresh := sorted(known - set(result["table"]) - set(result["not_run"]["scorers"]) - set(result["skipped"])):
        found.append(f"newer than the table: {', '.join(f'`{name}`' for name in fresh)}")
    if len(result["config"]["seeds"]) == 1:
        found.append("more than one seed, so that of no difference it can be said that it would be seen again")
    return [*found, *result["notes"]]


def _peer(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return []
    factors, sampled = result["factors"], result["sampled_labels"]
    return [
        "## EK-FAC beside kronfluence's",
        "",
        f"On the same {result['layers']} linear layers, rows and labels, in float64 (kronfluence {result['kronfluence']}; `python benchmarks/ekfac_peer.py`), "
        f"the largest differences are {factors['activation_covariance']:.1e} of the activations' covariances, "
        f"{factors['gradient_covariance']:.1e} of the gradients', "
        f"{factors['eigenvalues']:.1e} of the eigenvalues, and {result['scores']:.1e} of the scores (slope {result['slope']:.6f}), "
        "each relative to the largest number. "
        f"With labels sampled from the model, each by its own random numbers, the scores of the two correlate by ranks at {sampled['spearman']:.3f}, "
        f"and those of two seeds of ours at {sampled['spearman_of_two_own_seeds']:.3f}. "
        "kronfluence's own default adds 1e-8 to the eigenvalues; compared is a tenth of their mean, as here.",
        "",
    ]


def _recording(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return []
    lines = [
        "## What recording costs",
        "",
        f"`unweave train --record`, over {result['steps']} steps with {result['states']} states kept (`python benchmarks/recording.py`): "
        "steps with and without it in turn, ratio of medians of processor time; and recording's own instructions, which is the steadier number.",
        "",
        "| parameters | trained | a step, ms | in pairs | own instructions | bytes | predicted |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for own in result.values():
        if not isinstance(own, dict) or "share_of_time" not in own:
            continue
        pairs = " ".join(f"{100 * own['share_of_time'][end]:+.1f}" for end in ("value", "low", "high")).split()
        lines.append(
            f"| {own['parameters']:,} | {own['trained']:,} | {own['milliseconds_a_step']:.0f} | {pairs[0]} % [{pairs[1]}, {pairs[2]}] | "
            f"{100 * own['share_of_time_by_own_instructions']:.1f} % | {own['bytes']:,} | {own['bytes_predicted']:,} |"
        )
    return [*lines, ""]
