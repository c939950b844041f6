"""The tables of README.md on influence scores, and those of docs/statistics.md."""

from collections.abc import Callable
from typing import Any

from result_files import load, machine, shown

EARLY = "0.06"


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


def snapshot() -> str:
    """The trace with an early snapshot and with the final model."""
    spread = load("trace_snapshot")["spread"]
    lines = ["| traced with the adapter after | auPRC, twenty bad answers | one answer |", "|---|---:|---:|"]
    lines += [
        f"| {float(share):.0%} of the training | {shown(values['auprc'], digits=3)} | {shown(values['auprc_one_answer'], digits=3)} |"
        for share, values in spread.items()
    ]
    return "\n".join(lines)


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
        f"Not shown to differ from them: {', '.join(others) or 'none'}.",
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
    if part == "replaced":
        lines = ["| interval | of | n | covered | repetitions |", "|---|---|---|---:|---:|"]
        lines += [
            f"| {one['method'].removeprefix('replaced: ')} | {one['where']} | {one['size']} | {one['covered']:.3f} | {one['repetitions']:,} |"
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


TABLES: dict[str, Callable[[], str]] = {
    "snapshot": snapshot,
    "influence_audit": influence_audit,
    "quality": quality,
    "lds": lds,
    "coverage": lambda: coverage("intervals"),
    "coverage_tests": lambda: coverage("tests"),
    "coverage_replaced": lambda: coverage("replaced"),
}
