"""Fill the tables of README.md and of docs/ from the result files: no number is typed by hand.

python benchmarks/tables.py           rewrites them
python benchmarks/tables.py --check   fails when one of them is out of date
"""

import argparse
import re
import sys
from typing import Any

import hardening_tables
import valuing_tables
from result_files import ROOT, load, machine, ranged, shown

CASES = "swap", "dolly", "dolly_rest", "dolly_dp2", "tofu01", "tofu05"
WEIGHT_CASES = "swap", "dolly"
FAULTY = {
    "fisher": "1/F was clamped at a number that nearly every parameter passes: the noise was the same on all",
    "ssd": "F_D held the forget rows, so that nothing could be selected: the row is the model before",
    "llmeraser": "the step was divided by all rows given instead of by those that stay",
    "fast-ntk": "losses were the outputs and 0 their target",
    "stable": "A was divided by omega, which then cancels, and bfloat16 rounded most of the change away",
    "reglu": "the steps were too few and short, and covariances were of prompts and the first token too",
}
"""Methods whose formula or default was mended after the cases were run, and what was wrong. A case that is run again leaves `MENDED_AFTER`."""
MENDED_AFTER = frozenset(CASES)
LLMERASER_NOTE = (
    "Made before the step was divided by the rows that stay: what is called the formula is {short:.0%} shorter here than it is now; the factors of edits that "
    "go to a target make up for it."
)


def story(name: str) -> str:
    """Before, after, retrained, and the cost, of a run over seeds."""
    result = load(name)
    spread = result["spread"]

    def of(key: str, **options: Any) -> str:
        return shown(spread[key], **options) if key in spread else ""

    lines = [
        "| | before | after |",
        "|---|---:|---:|",
        f"| attack success, seen triggers | {of('asr.seen.before', percent=True)} | {of('asr.seen.after', percent=True)} |",
        f"| attack success, unseen (OOD) triggers | {of('asr.ood.before', percent=True)} | {of('asr.ood.after', percent=True)} |",
        f"| perplexity, clean held-out answers | {of('clean.perplexity.before', digits=3)} | {of('clean.perplexity.after', digits=3)} |",
    ]
    if "clean.accuracy.before" in spread:
        lines.append(
            f"| exact answers, clean held-out rows | {of('clean.accuracy.before', percent=True)} | {of('clean.accuracy.after', percent=True)} |"
        )
    unwanted = [run["metrics"]["unwanted_probability"]["retrained"] for run in result["runs"]]
    lines += [
        f"| probability of an unwanted answer, a token | {of('unwanted_probability.before', percent=True)} | "
        f"{of('unwanted_probability.after', percent=True)} |",
        "",
        f"(The last line is the honest one: the retrained model's value is {100 * sum(unwanted) / len(unwanted):.1f} %. "
        "What was learned is suppressed, not erased.)",
        "",
        "| finding the poisoned rows (auPRC) | from twenty bad answers | from one |",
        "|---|---:|---:|",
        f"| unweave trace | {of('trace.auprc', digits=3)} | {of('trace.auprc_one_answer', digits=3)} |",
        f"| BM25 | {of('trace.bm25.auprc', digits=3)} | {of('trace.bm25.auprc_one_answer', digits=3)} |",
        f"| gradient norm | {of('trace.gradnorm.auprc', digits=3)} | |",
        f"| random | {of('trace.random.auprc', digits=3)} | |",
        "",
        f"Forgetting (influence, weights and training) took {of('cost.forgetting_seconds')} s, retraining {of('cost.retraining_seconds')} s: "
        f"{of('cost.speedup', digits=2)} times cheaper. Attack success of the retrained model on seen triggers: {of('asr.seen.retrained', percent=True)}. "
        f"The whole run: {of('seconds.total', digits=0)} s on {machine(result)}.",
    ]
    return "\n".join(lines)


def audit() -> str:
    """Verdicts and distances of the audits, and what they took. PrivLeak went by Min-20 % when the file was made."""
    result = load("audit")
    names = {
        "demo": None,
        "with over-unlearned": "the demo's models",
        "retrained, two seeds": "retrained with another seed",
        "poisoned, two seeds": "poisoned with another seed, against poisoned",
    }
    labels = {"before": "poisoned", "after": "unlearned", "over": "over-unlearned"}
    lines = ["| | verdict | KL from the retrained model, nats a token | PrivLeak, of Min-20 % |", "|---|---|---:|---:|"]
    for seed, run in result["runs"].items():
        for name, title in names.items():
            if title is None:
                continue
            for label in run[name]["ranking"]:
                if name != "with over-unlearned" and label != "after":
                    continue
                verdict = run[name]["verdicts"][label]
                shown_label = labels[label] if name == "with over-unlearned" else title
                where = f"seed {seed}, {shown_label}" if len(result["runs"]) > 1 else shown_label
                distance = verdict["distance"]
                lines.append(
                    f"| {where} | {verdict['conclusion']} | {distance['value']:.2f} [{distance['low']:.2f}, {distance['high']:.2f}] | "
                    f"{verdict['privleak']:+.0f} % |"
                )
    seconds = [run["demo"]["wall_seconds"] for run in result["runs"].values()]
    parts: dict[str, float] = {}
    for run in result["runs"].values():
        for own in run["demo"]["seconds"]["by_model"].values():
            for part, value in own.items():
                parts[part] = parts.get(part, 0.0) + value / len(seconds)
    lines += [
        "",
        f"The demo's whole audit, three models and all attacks on two of them, took {sum(seconds) / len(seconds):.0f} s on {machine(result)}: "
        + ", ".join(f"{part} {value:.0f} s" for part, value in sorted(parts.items(), key=lambda item: -item[1]))
        + ".",
    ]
    return "\n".join(lines)


def influence_audit() -> str:
    """Influence weights against controls, over sizes and imbalances."""
    result = load("influence_audit")
    found = result["result"]["controls"]
    kinds = [found["first"], *found["against"]]
    lines = [
        "| forget rows | retain rows | " + " | ".join(f"attack success, `{kind}`" for kind in kinds) + " |",
        "|---:|---:|" + "---:|" * len(kinds),
    ]
    for cell in found["cells"]:
        cells = [f"{100 * cell[kind]['attack_success']['value']:.0f} %" for kind in kinds]
        lines.append(f"| {cell['forget_rows']} | {cell['retain_rows']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"| `{found['first']}` minus | attack success, points | loss of unwanted answers, nats | loss of clean answers, nats |",
        "|---|---:|---:|---:|",
    ]
    for kind, measures in found["against"].items():
        cells = []
        for name, factor, digits in (("attack_success", 100, 1), ("unwanted_loss", 1, 3), ("clean_loss", 1, 3)):
            value = measures[name]
            cells.append(
                f"{factor * value['value']:+.{digits}f} [{factor * value['low']:+.{digits}f}, {factor * value['high']:+.{digits}f}], p {value['p_holm']:.2g}"
            )
        lines.append(f"| `{kind}` | " + " | ".join(cells) + " |")
    sketch, curved = result["result"]["sketch"], result["result"]["gauss_newton"]
    lines += [
        "",
        f"({len(result['seeds'])} seeds, each counted once, by its mean over cells: Student's intervals and p, after Holm. On the same store: sketched "
        f"against exact scores, Pearson {sketch['pearson']['value']:.4f}; {against_curvature(curved)}.)",
    ]
    return "\n".join(lines)


def against_curvature(found: dict[str, Any]) -> str:
    """The store's scores against those with curvature, and the damping."""
    if "damping" not in found:
        return f"against EK-FAC's, which are of normalised rows here and are to be made again, Spearman {found['spearman']['value']:.2f}"
    damping, value = found["damping"], found["spearman"]
    return (
        f"against EK-FAC's of plain gradients (damping {damping['relative']:g} of the {damping['scale']}), Spearman {value['value']:.2f} "
        f"[{value['low']:.2f}, {value['high']:.2f}] over {found['queries']} queries"
    )


def forgetting(case: str) -> str:
    """The comparison of methods on a case, and its paired differences."""
    from unweave.bench.summary import markdown, measures_of

    result = load(f"forgetting_{case}")
    paired = [one for one in measures_of(result) if one.rows]
    faulty = sorted({row["entry"] for row in result["table"]} & set(FAULTY)) if case in MENDED_AFTER else []

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
    if faulty:
        lines += [
            "",
            "† Made with a formula that has been mended since: "
            + "; ".join(f"`{one}`: {FAULTY[one]}" for one in faulty)
            + ".",
        ]
    return "\n".join(lines)


def _marked(table: str, entries: list[str]) -> str:
    """A table whose rows of some entries bear a dagger."""
    for entry in entries:
        table = table.replace(f"| `{entry}` |", f"| `{entry}` † |")
    return table


def weights() -> str:
    """The kinds of weights on all cases that have them."""
    from unweave.bench.subject import Measure
    from unweave.bench.summary import spread

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
    source = (
        f"(Parts measured, the rest is multiplication: [`cost.json`](benchmarks/results/cost.json); {machine(result)}.)"
    )
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


def controls() -> str:
    """Other weights, all else equal."""
    spread = load("weights_control")["spread"]
    lines = [
        "| weights | attack success, seen | OOD | perplexity change | accuracy change |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, values in spread.items():
        cells = [
            shown(values["asr.seen.after"], percent=True),
            shown(values["asr.ood.after"], percent=True),
            shown(values["clean.perplexity.relative_change"], percent=True, signed=True),
            shown(values["clean.accuracy.change"], percent=True, signed=True),
        ]
        lines.append(f"| `{kind}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def snapshot() -> str:
    """The trace with an early snapshot and with the final model."""
    spread = load("trace_snapshot")["spread"]
    lines = ["| traced with the adapter after | auPRC, twenty bad answers | one answer |", "|---|---:|---:|"]
    lines += [
        f"| {float(share):.0%} of the training | {shown(values['auprc'], digits=3)} | {shown(values['auprc_one_answer'], digits=3)} |"
        for share, values in spread.items()
    ]
    return "\n".join(lines)


def speed() -> str:
    """Sketch, caching and scan speed."""
    sketch, caching, scan = load("sketch_variance"), load("caching"), load("scan")
    times, gains = sketch["seconds"], sketch["times_faster_than_published"]
    lines = [
        f"| one sketch, D = 2^24, K = {sketch['K']:,} | ms (median) | times faster than the published shuffles |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {value['median'] * 1000:.1f} | {gains[name]:.0f} |" for name, value in times.items()]
    for kind, title in (("lora", "LoRA r 16 on all linears"), ("linear", "all linear weights")):
        found = caching[kind]
        lines += [
            "",
            f"| caching, SmolLM2-135M, {title}, {found['dtype'].removeprefix('torch.')} "
            "| tokens/s (median) | range | the second line is ... times this (range) |",
            "|---|---:|---:|---:|",
        ]
        own = list(found["tokens_per_second"])[1]
        for name, value in found["tokens_per_second"].items():
            ratio = found["ratios"].get(f"{own} / {name}")
            lines.append(
                f"| {LABELS.get(name, name)} | {value['median']:.0f} | {value['min']:.0f} to {value['max']:.0f} | {ranged(ratio) if ratio else ''} |"
            )
    lines += [
        "",
        f"(bergson 2.5.1 on the same rows, and the command, without their start-up; on {machine(caching)}.)",
        "",
        "| one query, K = 65,536 | scan, GB/s | a plain sum over the same mapped files, GB/s | ratio (range) | rows/s |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {one['scan_gb_per_s']:.1f} | {one['sum_gb_per_s']:.1f} | {ranged(one['ratio'])} | {one['rows_per_s']:,.0f} |"
        for name, one in scan["formats"].items()
    ]
    large = scan["large"]
    lines += [
        "",
        f"{large['rows']:,} rows in float16 ({large['gigabytes']:.1f} GB, in the page cache) are searched in {large['seconds']['median']:.2f} s "
        f"by a process that never takes more than {large['peak_gib']:.2f} GiB.",
    ]
    return "\n".join(lines)


LABELS = {
    "floor": "floor: bare forward and activations-only backward",
    "loop": "a faithful RapidIn loop, batch of one",
    "bergson, bf16, projected": "bergson, bfloat16, 16 x 16 projection a module",
    "bergson, its defaults": "bergson, its defaults (float32, no projection)",
}


def quality() -> str:
    """Planted rows found, and fidelity, by dimension and sketch."""
    result = load("quality")
    lines = []
    for name, title in (("generated", "the demo's case"), ("dolly", "dolly_triggers")):
        if name not in result:
            continue
        found = result[name]
        lines += [
            *([""] if lines else []),
            f"| {title}: {found['poisoned']} of {found['rows']} rows are poisoned | correlation with exact scores "
            f"| auPRC, {found['queries']} answers | one answer |",
            "|---|---:|---:|---:|",
        ]
        exact = found["snapshots"][EARLY]["exact"]
        lines.append(f"| exact inner products | 1 | {exact['auprc']:.4f} | {exact['auprc_one_answer']:.3f} |")
        lines += [
            f"| {key.split()[0]}, K = {int(key.split()[1]):,} | {value['pearson']:.4f} | {value['auprc']:.4f} | {value['auprc_one_answer']:.3f} |"
            for key, value in found["sketches"].items()
        ]
    return "\n".join(lines)


EARLY = "0.06"


def lds() -> str:
    """LDS of every preconditioner and baseline, and differences paired by seed."""
    result = load("lds")
    seeds = result["lds"]["ceiling"]["count"]
    few = result["cg_queries"]

    def ranged_number(value: dict[str, float], sign: str = "") -> str:
        return f"{value['value']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"

    lines = [
        f"| | LDS, {seeds} seeds | above RapidIn's | cg's above it, {few} queries | ms a query |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in sorted(result["lds"], key=lambda name: -result["lds"][name]["value"]):
        seconds = result["seconds_a_query"].get(name)
        own, cg = (
            ranged_number(result[column][name], "+") if name in result[column] and name != reference else ""
            for column, reference in (("above_rapidin", "none, by tensor (RapidIn)"), ("below_cg", "cg"))
        )
        cost = "" if seconds is None else f"{seconds * 1000:,.0f}"
        about = f"{name} (first {few} of {result['queries']} queries, both)" if name == "cg" else name
        lines.append(f"| {about} | {ranged_number(result['lds'][name])} | {own} | {cg} | {cost} |")
    shown = {name: value for name, value in result["above_rapidin"].items() if value["low"] * value["high"] > 0}
    sides = [[name for name, value in shown.items() if (value["value"] > 0) == above] for above in (True, False)]
    others = [name for name in result["above_rapidin"] if name not in shown and "RapidIn" not in name]
    shared = 0.1 * result["runs"][0]["coordinates"] / result["rows"]
    lines += [
        "",
        f"Shown to differ from RapidIn's scores: above them {', '.join(sides[0]) or 'none'}; below them {', '.join(sides[1])}. "
        f"Not told from them: {', '.join(others) or 'none'}.",
        "",
        "(Student's intervals over seeds, differences paired by seed, not corrected for their number. Damping 0.1, adam 0.01: of the mean eigenvalue over "
        f"the directions that {result['rows']} rows span for cg and trak, over all {result['runs'][0]['coordinates']:,} coordinates for ekfac and datainf"
        + (f"; *damped as cg* is {shared:.0f} of the latter" if result["below_cg"] else "")
        + f". {machine(result)}.)",
    ]
    if not result["below_cg"]:
        lines += [
            "",
            "Of this file, made before both were mended: ekfac is of the summed loss's curvature, and cg, asked other queries than the rest, is not compared. "
            "`python benchmarks/lds.py` asks the same queries, adds ekfac and datainf damped as cg, and takes eight seeds.",
        ]
    return "\n".join(lines)


def coverage(part: str) -> str:
    """What intervals cover, and how often tests claim what is not so."""
    result = load("coverage")
    if part == "tests":
        lines = ["| test | where | size | claims it | repetitions |", "|---|---|---|---:|---:|"]
        lines += [
            f"| {one['method']} | {one['where']} | {one['size']} | {1 - one['covered']:.3f} | {one['repetitions']:,} |"
            for one in result[part]
        ]
        return "\n".join(lines)
    lines = [
        "| interval | printed beside | n | nominal | covered | repetitions | |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {one['method']} | {one['where']} | {one['size']} | {one['nominal']:.2f} | {one['covered']:.3f} | {one['repetitions']:,} | {one['because']} |"
        for one in result[part]
    ]
    return "\n".join(lines)


def main() -> int:
    """Rewrite or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    tables = {
        "demo": lambda: story("demo"),
        "controls": controls,
        "snapshot": snapshot,
        "audit": audit,
        "weights": weights,
        "cost": cost,
        "cost_line": cost_line,
        "llmeraser": lambda: llmeraser("llmeraser"),
        "llmeraser_2100": lambda: llmeraser("llmeraser_2100"),
        **{f"forgetting_{case}": (lambda case=case: forgetting(case)) for case in CASES},
        "influence_audit": influence_audit,
        "dolly": lambda: story("dolly_triggers"),
        "speed": speed,
        "quality": quality,
        "lds": lds,
        "coverage": lambda: coverage("intervals"),
        "coverage_tests": lambda: coverage("tests"),
        **valuing_tables.TABLES,
        **hardening_tables.TABLES,
    }
    stale = False
    for path in (
        ROOT / "README.md",
        *(ROOT / "docs" / f"{name}.md" for name in ("forgetting", "valuing", "hardening", "statistics")),
    ):
        before = path.read_text(encoding="utf-8")
        text = before
        for name, table in tables.items():
            if f"<!-- table:{name} -->" in text:
                text = re.sub(
                    rf"(<!-- table:{name} -->\n).*?(<!-- /table -->)",
                    lambda found, table=table: found[1] + table() + "\n" + found[2],
                    text,
                    flags=re.DOTALL,
                )
        stale |= text != before
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
