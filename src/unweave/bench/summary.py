"""The results of a comparison: means over seeds, paired differences to the first entry, and the files that tell them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.audit.comparisons import as_family, compare_paired
from unweave.audit.statistics import across_seeds
from unweave.bench.config import ForgettingBenchConfig
from unweave.config import to_plain
from unweave.files import write_json, write_text
from unweave.runs import environment

MEASURES = "attack_success", "attack_success_ood", "unwanted_loss", "clean_loss", "seconds"
MARGINS = {"seen": 0.1, "unwanted": 0.5, "clean": 0.05}


def summarise(runs: Sequence[dict[str, Any]], plain: dict[str, Any], config: ForgettingBenchConfig) -> dict[str, Any]:
    """Sum up.

    Args:
        runs: One an entry and size: trials, chosen setting, final runs.
        plain: The models that were only measured.
        config: The comparison's.

    Returns:
        `table`: entry, size, chosen setting and the measures over seeds; `against`: each entry's rows compared with the first entry's of the same
        size, a row's value being its mean over seeds; `plain`; `search`; `config`; `environment`.
    """
    table = [
        {
            "entry": run["entry"],
            "forget_rows": run["forget_rows"],
            "chosen": run["chosen"],
            **{name: _over_seeds(name, [final[name] for final in run["finals"]]) for name in MEASURES},
        }
        for run in runs
    ]
    against = []
    for size in config.forget_sizes:
        own = [run for run in runs if run["forget_rows"] == size]
        for run in own[1:]:
            pairs = [
                compare_paired(name, _by_row(own[0], name), _by_row(run, name), margin=margin)
                for name, margin in MARGINS.items()
            ]
            against.extend(
                {**one.to_json(), "baseline": own[0]["entry"], "entry": run["entry"], "forget_rows": size}
                for one in as_family(pairs)
            )
    told = ("options", "attack_success", "unwanted_loss", "clean_loss", "seconds")
    search = [
        {"entry": run["entry"], "forget_rows": run["forget_rows"], **{key: trial[key] for key in told}}
        for run in runs
        for trial in run["trials"]
    ]
    measured = {label: {key: own["test"].get(key) for key in MEASURES[:-1]} for label, own in plain.items()}
    return {
        "table": table,
        "plain": measured,
        "against": against,
        "search": search,
        "config": to_plain(config),
        "environment": environment(),
    }


def _over_seeds(name: str, values: Sequence[float]) -> dict[str, Any]:
    """The mean with Student's interval, which for a share is cut at 0 and 1."""
    found = across_seeds(values).to_json()
    if name.startswith("attack_success"):
        # `min` and `max` with NaN first keep it: a single seed has no interval.
        found |= {"low": max(found["low"], 0.0), "high": min(found["high"], 1.0)}
    return found


def _by_row(run: dict[str, Any], name: str) -> list[float]:
    columns = [final["rows"][name] for final in run["finals"]]
    return [sum(values) / len(values) for values in zip(*columns, strict=True)]


def write_results(folder: Path, results: dict[str, Any]) -> None:
    """Write `results.json`, `table.md` and `report.html`.

    Args:
        folder: Where to.
        results: From `summarise`.
    """
    from unweave.report.bench_page import write_bench_page

    write_json(folder / "results.json", results)
    write_text(folder / "table.md", markdown(results) + "\n")
    write_bench_page(folder / "report.html", results)


def markdown(results: dict[str, Any]) -> str:
    """The table as Markdown.

    Args:
        results: From `summarise`.

    Returns:
        Its lines.
    """
    lines = [
        "| method | forget rows | attack success, seen | OOD | loss of unwanted answers | loss of clean answers | seconds | setting |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for label, own in results["plain"].items():
        cells = [
            f"{100 * own['attack_success']:.1f} %",
            f"{100 * own['attack_success_ood']:.1f} %",
            f"{own['unwanted_loss']:.2f}",
            f"{own['clean_loss']:.3f}",
        ]
        lines.append(f"| *{label}* | | " + " | ".join(cells) + " | | |")
    for row in results["table"]:
        cells = [
            *(spread(row[name], 100, 1, " %") for name in ("attack_success", "attack_success_ood")),
            spread(row["unwanted_loss"], 1, 2),
            spread(row["clean_loss"], 1, 3),
            f"{row['seconds']['value']:.0f}",
        ]
        setting = ", ".join(f"{key} {value:g}" for key, value in row["chosen"].items())
        lines.append(f"| `{row['entry']}` | {row['forget_rows']} | " + " | ".join(cells) + f" | {setting} |")
    return "\n".join(lines)


def spread(value: dict[str, Any], factor: float, digits: int, unit: str = "") -> str:
    """A mean over seeds, with its interval where there are several.

    Args:
        value: An estimate.
        factor: What it is multiplied with.
        digits: After the point.
        unit: Behind the mean.

    Returns:
        Text.
    """
    center = f"{factor * value['value']:.{digits}f}{unit}"
    if value["low"] is None or value["low"] != value["low"]:
        return center
    return f"{center} [{factor * value['low']:.{digits}f}, {factor * value['high']:.{digits}f}]"
