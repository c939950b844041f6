"""The results of a comparison: means over seeds, paired differences to the first entry, and the files that show them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from unweave.config import to_plain
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.under_test import Measure, ModelUnderTest
from unweave.markdown import code, plain
from unweave.run.folder import environment
from unweave.stats.comparisons import as_family, compare_paired
from unweave.stats.intervals import across_seeds

SECONDS = Measure("seconds", "seconds", "s", "number", 0)


def summarise(
    runs: Sequence[dict[str, Any]],
    plain: dict[int, dict[str, dict[str, Any]]],
    config: ForgettingBenchConfig,
    under_test: ModelUnderTest,
) -> dict[str, Any]:
    """Sum up.

    Args:
        runs: One an entry and size: trials, chosen options, final runs.
        plain: Forget rows to the models that were only measured.
        config: The comparison's.
        under_test: What was measured.

    Returns:
        `measures`: their titles and kinds; `table`: entry, size, chosen options and the measures over seeds; `against`: each entry's rows compared with the
        first entry's of the same size, a row's value being its mean over seeds; `plain`; `search`; `axes` of the plot; `config`; `environment`.
    """
    table = [
        {
            "entry": run["entry"],
            "forget_rows": run["forget_rows"],
            "chosen": run["chosen"],
            **{one.name: _over_seeds(one, run["finals"]) for one in (*under_test.measures, SECONDS)},
        }
        for run in runs
    ]
    paired = [one for one in under_test.measures if one.rows]
    against = []
    for size in config.forget_sizes:
        own = [run for run in runs if run["forget_rows"] == size]
        for run in own[1:]:
            pairs = [
                compare_paired(one.name, _by_row(own[0], one.rows), _by_row(run, one.rows), margin=one.margin)
                for one in paired
            ]
            against.extend(
                {**one.to_json(), "baseline": own[0]["entry"], "entry": run["entry"], "forget_rows": size}
                for one in as_family(pairs)
            )
    search = [
        {
            "entry": run["entry"],
            "forget_rows": run["forget_rows"],
            **{key: trial[key] for key in ("options", "seconds")},
            **{one.name: trial[one.name] for one in under_test.measures if one.name in trial},
        }
        for run in runs
        for trial in run["trials"]
    ]
    several = len({str(own) for own in plain.values()}) > 1
    measured = {
        f"{label}, {size} rows" if several else label: {
            one.name: own["test"].get(one.name) for one in under_test.measures
        }
        for size, models in plain.items()
        for label, own in models.items()
    }
    return {
        "subject": under_test.name,
        "measures": [asdict(one) for one in under_test.measures],
        "axes": {"x": asdict(under_test.utility), "y": asdict(under_test.forgetting)},
        "table": table,
        "plain": measured,
        "against": against,
        "search": search,
        "config": to_plain(config),
        "environment": environment(),
    }


def _over_seeds(measure: Measure, finals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean with Student's interval, which for a share is cut at 0 and 1."""
    found = across_seeds([final[measure.name] for final in finals]).to_json()
    if measure.kind == "share":
        # `min` and `max` with NaN first keep it: a single seed has no interval.
        found |= {"low": max(found["low"], 0.0), "high": min(found["high"], 1.0)}
    return found


def _by_row(run: dict[str, Any], name: str) -> list[float]:
    columns = [final["rows"][name] for final in run["finals"]]
    return [sum(values) / len(values) for values in zip(*columns, strict=True)]


def measures_of(results: dict[str, Any]) -> list[Measure]:
    """The measures of results that were read from a file.

    Args:
        results: From `summarise`.

    Returns:
        The measures.
    """
    return [Measure(**one) for one in results["measures"]]


def cells(
    results: dict[str, Any], *, search: bool = False, intervals: bool = True
) -> tuple[list[str], list[list[str]]]:
    """The table as text, for all that show it.

    Args:
        results: From `summarise`.
        search: The trials in place of the results.
        intervals: Whether means have theirs.

    Returns:
        Titles and rows.
    """
    measures = measures_of(results)
    header = ["method", "forget rows", *(one.title for one in measures), "seconds", "options"]
    rows: list[list[str]] = []
    if search:
        for trial in results["search"]:
            values = [shown(one, trial.get(one.name)) for one in measures]
            rows.append(
                [
                    trial["entry"],
                    str(trial["forget_rows"]),
                    *values,
                    f"{trial['seconds']:.0f}",
                    options_shown(trial["options"]),
                ]
            )
        return header, rows
    for label, own in results["plain"].items():
        rows.append([label, "", *(shown(one, own.get(one.name)) for one in measures), "", ""])
    for row in results["table"]:
        show = spread if intervals else lambda one, value: shown(one, value["value"])
        values = [show(one, row[one.name]) for one in measures]
        seconds = f"{row['seconds']['value']:.0f}"
        rows.append([row["entry"], str(row["forget_rows"]), *values, seconds, options_shown(row["chosen"])])
    return header, rows


def markdown(results: dict[str, Any]) -> str:
    """The table as Markdown.

    Args:
        results: From `summarise`.

    Returns:
        Its lines.
    """
    header, rows = cells(results)
    marks = ["---", *("---:" for _ in header[1:-1]), "---"]
    lines = ["| " + " | ".join(map(plain, header)) + " |", "|" + "|".join(marks) + "|"]
    for row in rows:
        name = code(row[0], cell=True) if row[1] else f"*{plain(row[0])}*"
        lines.append("| " + " | ".join([name, *map(plain, row[1:])]) + " |")
    return "\n".join(lines)


def options_shown(options: dict[str, Any]) -> str:
    """Options in words.

    Args:
        options: Option to value.

    Returns:
        Text.
    """
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, int | float) else f"{key} {value}" for key, value in options.items()
    )


def shown(measure: Measure, value: float | None) -> str:
    """A number as its measure is shown.

    Args:
        measure: The measure.
        value: Its value; `None` where there is none.

    Returns:
        Text.
    """
    if value is None:
        return ""
    if measure.kind == "share":
        return f"{100 * value:.{measure.digits}f} %"
    return f"{value:.{measure.digits}f}"


def spread(measure: Measure, value: dict[str, Any]) -> str:
    """A mean over seeds, with its interval where there are several that differ: seeds that agree to the last digit say nothing of the spread.

    Args:
        measure: The measure.
        value: An estimate.

    Returns:
        Text.
    """
    center = shown(measure, value["value"])
    if value["low"] is None or value["low"] != value["low"]:
        return center
    low, high = (shown(measure, value[end]).removesuffix(" %") for end in ("low", "high"))
    return center if low == high else f"{center} [{low}, {high}]"
