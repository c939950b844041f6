"""The tables of docs/hardening.md, from benchmarks/results/hardening.json."""

from collections.abc import Callable
from typing import Any

from result_files import load

SCENARIOS = "two at once", "64 descriptors", "full disk", "read-only disk"


def _part(name: str) -> dict[str, Any]:
    return load("hardening")["parts"][name]


def kills() -> str:
    """Kills and how the commands ended after them."""
    part = _part("kills")
    lines = [
        "| command | takes | changes to the disk | killed at random moments | right before a change | ended as undisturbed | otherwise |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, one in part["commands"].items():
        own, odd = one["kills"], "; ".join(f"{what}: {', '.join(left[:2])}" for what, left in one["otherwise"].items())
        lines.append(
            f"| `{name}` | {one['seconds']:.1f} s | {one['changes']} | {own['random']} | {own['at a change']} | {one['equal']} of {sum(own.values())} "
            f"| {odd or 'none'} |"
        )
    places = sorted({place for one in part["commands"].values() for place in one["of the clock"]})
    lines += [
        "",
        f"Every file is compared. What two undisturbed runs do not have in common, and is left out of that: {_places(places)}.",
    ]
    return "\n".join(lines)


def _places(places: list[str]) -> str:
    """Files and fields, each once whatever command or part of a run it is of."""
    fields: dict[str, set[str]] = {}
    for place in places:
        file, _, field = place.partition(": ")
        fields.setdefault(file.rpartition("/")[2], set()).add(
            field.rpartition(".")[2] if "line" not in field else "lines with times"
        )
    return ", ".join(
        f"`{file}` ({', '.join(sorted(own))})" if any(own) else f"`{file}`" for file, own in sorted(fields.items())
    )


def outcomes() -> str:
    """How each command ends under each scenario."""
    lines = ["| command | " + " | ".join(SCENARIOS) + " |", "|---|" + "---|" * len(SCENARIOS)]
    for name, own in _part("outcomes")["commands"].items():
        lines.append(f"| `{name}` | " + " | ".join(_outcome(own[scenario]) for scenario in SCENARIOS) + " |")
    readers = _part("outcomes")["readers"]
    lines += [
        "",
        f"Traces from a store while it is compacted, {readers['rounds']} times both at once: {len(readers['failed']) or 'none'} failed, and all gave "
        f"{'the same answer' if readers['different answers'] == 1 else 'answers that differ'}.",
    ]
    return "\n".join(lines)


def _outcome(one: Any) -> str:
    if isinstance(one, str):
        return one
    said = ", ".join(_said(one[which]) for which in ("first", "second")) if "first" in one else _said(one)
    return f"{said}; then {one['again']}"


def _said(one: dict[str, Any]) -> str:
    error = one["error"].replace("|", "\\|").removeprefix("error: ")
    return f"{one['code']}" + (f" ({error})" if error else "")


def flips() -> str:
    """Flipped bytes, and how many were noticed."""
    lines = ["| what | bytes flipped, one at a time | noticed | not noticed |", "|---|---:|---:|---|"]
    for name, one in _part("flips")["kinds"].items():
        lines.append(f"| {name} | {one['flips']} | {one['noticed']} | {', '.join(one['missed']) or 'none'} |")
    return "\n".join(lines)


def canary() -> str:
    """What was left of a forgotten row."""
    part = _part("canary")
    return (
        f"{part['kills']} kills in {part['runs']} requests with their compactions; then every file was searched, compressed ones decompressed, "
        f"{part['files']} files in all: {part['hits']} hits."
    )


def offline() -> str:
    """Connections that were tried."""
    part = _part("offline")
    tried = {family: count for family, count in part["connections"].items() if family != "AF_UNIX"}
    local = part["connections"].get("AF_UNIX", 0)
    commands = ", ".join(f"`{command}`" for command in part["commands"])
    return (
        f"{commands}, watched by {part['watched by']}, with nothing set that tells libraries to stay offline: {sum(tried.values())} connections tried"
        + (f" ({tried})" if tried else "")
        + f"; {local} to sockets of the machine itself (AF_UNIX)."
    )


TABLES: dict[str, Callable[[], str]] = {
    "hardening_kills": kills,
    "hardening_outcomes": outcomes,
    "hardening_flips": flips,
    "hardening_canary": canary,
    "hardening_offline": offline,
}
