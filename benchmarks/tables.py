"""Fill the tables of the README from the result files: no number is typed by hand.

python benchmarks/tables.py           rewrites README.md
python benchmarks/tables.py --check   fails when README.md is out of date
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> dict[str, Any]:
    """A result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def shown(value: dict[str, Any], *, percent: bool = False, signed: bool = False, digits: int = 1) -> str:
    """Mean and standard deviation over seeds."""
    factor = 100 if percent else 1
    sign = "+" if signed else ""
    text = f"{value['mean'] * factor:{sign}.{digits}f}"
    if value["sd"] is not None:
        text += f" ± {value['sd'] * factor:.{digits}f}"
    return text + (" %" if percent else "")


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


def machine(result: dict[str, Any]) -> str:
    """The machine of a result."""
    environment = result["environment"]
    return f"{environment['threads']} threads of an {environment['cpu']}"


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
    """Sketch and caching speed."""
    sketch, caching = load("sketch_variance"), load("caching")
    times, gains = sketch["seconds"], sketch["times_faster_than_published"]
    lines = [
        f"| one sketch, D = 2^24, K = {sketch['K']:,} | ms (median) | times faster than the published shuffles |",
        "|---|---:|---:|",
    ]
    lines += [f"| {name} | {value['median'] * 1000:.1f} | {gains[name]:.0f} |" for name, value in times.items()]
    rates, ratios = caching["tokens_per_second"], caching["ratios"]
    lines += [
        "",
        f"| caching {caching['rows']} rows, SmolLM2-135M, LoRA r 16, {caching['dtype'].removeprefix('torch.')} | tokens/s (median) |",
        "|---|---:|",
    ]
    labels = {
        "floor": "floor: bare forward and activations-only backward",
        "unweave": "unweave",
        "loop": "a faithful RapidIn loop, batch of one",
    }
    lines += [f"| {labels[name]} | {value['median']:.0f} |" for name, value in rates.items()]
    floor, loop = ratios["unweave / floor"], ratios["unweave / loop"]
    lines += [
        "",
        f"Caching reaches {floor['median']:.2f} of the floor [{floor['min']:.2f}, {floor['max']:.2f}] and is {loop['median']:.0f} times as fast as the loop "
        f"[{loop['min']:.0f}, {loop['max']:.0f}], on {machine(caching)}. Files: [`sketch_variance.json`](benchmarks/results/sketch_variance.json), "
        "[`caching.json`](benchmarks/results/caching.json).",
    ]
    return "\n".join(lines)


def main() -> int:
    """Rewrite or check the README."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    path = ROOT / "README.md"
    before = path.read_text(encoding="utf-8")
    text = before
    tables = {
        "demo": lambda: story("demo"),
        "controls": controls,
        "snapshot": snapshot,
        "dolly": lambda: story("dolly_triggers"),
        "speed": speed,
    }
    for name, table in tables.items():
        text = re.sub(
            rf"(<!-- table:{name} -->\n).*?(<!-- /table -->)",
            lambda found, table=table: found[1] + table() + "\n" + found[2],
            text,
            flags=re.DOTALL,
        )
    if check:
        return int(text != before)
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
