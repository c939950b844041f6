"""The tables of docs/explorer.md."""

from result_files import load, machine


def rows() -> str:
    """What a step takes on a large store."""
    result = load("explorer_rows")
    lines = [
        f"{result['rows']:,} rows, generated sketches; {machine(result)}. Rendering included; 20 times each, milliseconds:",
        "",
        "| step | median | worst |",
        "|---|---:|---:|",
        *(f"| {name} | {one['median_ms']:.0f} | {one['worst_ms']:.0f} |" for name, one in result["steps"].items()),
    ]
    if "frames" in result:
        frames = result["frames"]
        lines += [
            "",
            f"The map of all rows, panned in Chromium without a GPU: {frames['frames_per_second']:.0f} frames a second, "
            f"{frames['mean_draw_ms']:.1f} ms a drawing. "
            f"Its positions are computed once: {result['map_seconds']:.0f} s. Peak memory of the server: {result['map_peak_gib']:.1f} GiB.",
        ]
    return "\n".join(lines)


def screens() -> str:
    """First paint, and from selecting words to the ranked list, on a real model."""
    result = load("explorer")
    memory = result["resident_mib"]
    lines = [
        f"SmolLM2-135M, {result['rows'].split(' · ')[-1]}; {result['environment']['cores']} cores of an {result['environment']['cpu']}. "
        "First paint, milliseconds:",
        "",
        "| | " + " | ".join(result["first_paint_ms"]) + " |",
        "|---|" + "---:|" * len(result["first_paint_ms"]),
        "| median | " + " | ".join(str(one["median"]) for one in result["first_paint_ms"].values()) + " |",
        "| worst of 5 | " + " | ".join(str(one["worst"]) for one in result["first_paint_ms"].values()) + " |",
        "",
        f"From selecting words to the ranked rows: {result['select_to_ranked_ms']['median']:.0f} ms in the median, "
        f"{result['select_to_ranked_ms']['worst']} at worst. "
        f"The first answer, with loading the model: {result['first_answer_seconds']} s. Memory of the server: {memory['started']} MiB after the start, "
        f"{memory['model loaded']} with the model.",
    ]
    return "\n".join(lines)


TABLES = {"explorer": screens, "explorer-rows": rows}
"""Marker to table."""
