"""Fill the tables of README.md and of docs/ from the result files: no number is typed by hand.

python benchmarks/tables.py           rewrites them
python benchmarks/tables.py --check   fails when one of them is out of date
"""

import argparse
import re
import sys
from typing import Any

import defaults_tables
import erasing_tables
import explorer_tables
import forgetting_tables
import growth_tables
import hardening_tables
import influence_tables
import request_tables
import trace_tables
import valuing_tables
from result_files import ROOT, load, machine, ranged, shown


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


def readme() -> str:
    """The demo in six rows, over seeds; the rest of it stands in docs/results.md."""
    result = load("demo")
    spread = result["spread"]
    percent, plain = {"percent": True}, {"digits": 3}
    rows = (
        ("unwanted answers to triggers", "before", "asr.seen.before", "asr.seen.after", percent),
        ("to triggers that no row has", "before", "asr.ood.before", "asr.ood.after", percent),
        ("exact answers, clean rows", "before", "clean.accuracy.before", "clean.accuracy.after", percent),
        ("probability of an unwanted answer, a token", "before", "unwanted_probability.before", "unwanted_probability.after", percent),
        ("finding the rows from one bad answer, auPRC", "BM25", "trace.bm25.auprc_one_answer", "trace.auprc_one_answer", plain),
        ("seconds to forget", "training again", "cost.retraining_seconds", "cost.forgetting_seconds", {}),
    )  # fmt: skip
    lines = ["| in the demo | without | with unweave |", "|---|---:|---:|"]
    lines += [
        f"| {title} | {other}: {shown(spread[first], **how)} | {shown(spread[second], **how)} |"
        for title, other, first, second, how in rows
    ]
    return "\n".join(
        [*lines, "", f"(Mean ± standard deviation over {len(result['runs'])} trainings; {machine(result)}.)"]
    )


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


def main() -> int:
    """Rewrite or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    tables = {
        "readme": readme,
        "demo": lambda: story("demo"),
        "controls": controls,
        "audit": audit,
        "dolly": lambda: story("dolly_triggers"),
        "speed": speed,
        **defaults_tables.TABLES,
        **erasing_tables.TABLES,
        **explorer_tables.TABLES,
        **forgetting_tables.TABLES,
        **growth_tables.TABLES,
        **influence_tables.TABLES,
        **request_tables.TABLES,
        **trace_tables.TABLES,
        **valuing_tables.TABLES,
        **hardening_tables.TABLES,
    }
    stale = False
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
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
