"""The tables of memory and growth: docs/tracing.md and docs/scaling.md."""

from result_files import load, machine


def store() -> str:
    """What a store's commands take as its rows grow."""
    result = load("growth_store")
    points = {(one["command"], one["rows"]): one for one in result["points"]}
    sizes = sorted({rows for _, rows in points})
    commands = list(dict.fromkeys(command for command, _ in points))
    head = " | ".join(f"{rows:,} rows" for rows in sizes)
    lines = [
        f"Generated sketches, K = {result['dimension']}; {machine(result)}. Seconds of CPU, and peak memory above what the process began with:",
        "",
        f"| | {head} |",
        "|---|" + "---:|" * len(sizes),
    ]
    for command in commands:
        cells = []
        for rows in sizes:
            one = points.get((command, rows))
            cells.append("-" if one is None else f"{one['cpu_seconds']:.2f} s, {one['peak_mib']:.0f} MiB")
        lines.append(f"| {command} | {' | '.join(cells)} |")
    return "\n".join(lines)


def planned() -> str:
    """What plans say of memory, against measured peaks."""
    result = load("plan_memory")
    within = sum(one["within"] for one in result["cases"])
    lines = [
        f"Random Llama models in float32; {machine(result)}. {within} of {len(result['cases'])} within {result['tolerance']:.0%}. "
        "MiB above what the process began with:",
        "",
        "| command | width, layers | rows x words | options | planned | measured | planned / measured |",
        "|---|---|---|---|---:|---:|---:|",
    ]
    for one in result["cases"]:
        options = ", ".join(f"{name} {value}" for name, value in one["options"].items())
        lines.append(
            f"| {one['command']} | {one['hidden_size']}, {one['num_hidden_layers']} | {one['rows']} x {one['words']} | {options} "
            f"| {one['planned_mib']:.0f} | {one['peak_mib']:.0f} | {one['planned_over_peak']:.2f} |"
        )
    return "\n".join(lines)


def short() -> str:
    """What is survived under a limit of memory."""
    result = load("short_of_memory")
    lines = [
        f"`ulimit -v` of {result['limit_gib']:g} GiB; {machine(result)}:",
        "",
        "| | without a limit | under it | largest difference |",
        "|---|---|---|---:|",
    ]
    for name, one in result["runs"].items():
        lines.append(f"| {name} | {one['free']} | {one['limited']} | {one['difference']:.1e} |")
    return "\n".join(lines)


TABLES = {"growth-store": store, "plan-memory": planned, "short-of-memory": short}
"""Marker to table."""
