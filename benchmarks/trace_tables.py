"""The table of docs/tracing.md on the test of gaps."""

from collections.abc import Callable

from result_files import load


def stand_out() -> str:
    """False alarms, and planted rows that are found."""
    result = load("stand_out")
    titles = {"false_alarms": "nothing planted, {}", "found": "{}, normal otherwise"}
    sizes = list(result["false_alarms"])
    lines = ["| says that rows stand out | " + " | ".join(f"{int(size):,} rows" for size in sizes) + " |"]
    lines.append("|---|" + "---:|" * len(sizes))
    for part, title in titles.items():
        for name in result[part][sizes[0]]:
            found = [result[part][size][name] for size in sizes]
            cells = [f"{one['share']:.1%} [{one['low']:.1%}, {one['high']:.1%}]" for one in found]
            lines.append(f"| {title.format(name)} | " + " | ".join(cells) + " |")
    note = f"({result['draws']:,} draws a cell, Wilson's intervals; t: Student's, by degrees of freedom; rows out by so many standard deviations.)"
    return "\n".join([*lines, "", note])


TABLES: dict[str, Callable[[], str]] = {"stand_out": stand_out}
