"""`unweave forget`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave.cli.common import execute, option_value, print_pairs
from unweave.config import read_value

OWN_LINES = ("watched", "cautions", "never_drawn")
"""Details that are told in lines of their own."""


def main(argv: Sequence[str]) -> int:
    """Unlearn rows.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    from unweave.forget.methods import get_method

    path = option_value(argv, "--config")
    name = option_value(argv, "--method") or (read_value(Path(path), "method") if path else None) or "rapidun"
    method = get_method(name)
    about = f"Take the influence of rows out of a model. {method.name}: {method.summary} ({method.paper})."
    return execute(
        method.config_type,
        argv,
        command="forget",
        description=about,
        work="unweave.forget.stage:forget_rows",
        show=lambda _, result: print_pairs(f"unlearned: {result.folder}", told(result)),
    )


def told(result: Any) -> dict[str, str]:
    """What a run gave, for people: losses as they went, and nothing that has no value.

    Args:
        result: A `ForgetResult`.

    Returns:
        Name to text.
    """
    lines = {
        "method": result.method,
        "rows": f"{result.forget_rows:,} to forget, {result.retain_rows:,} to keep",
        "seconds": f"{result.seconds:.1f}",
    }
    if result.planned_steps:
        lines["steps"] = f"{result.steps} of {result.planned_steps}, {result.tokens:,} tokens"
        if result.kept_step != result.steps:
            lines["steps"] += f"; the adapter is that of step {result.kept_step}"
    if result.forget_loss_first == result.forget_loss_first:
        lines["forget rows"] = f"{_from_to(result.forget_loss_first, result.forget_loss_last)}, first and last step"
    if watched := result.details.get("watched"):
        for kind in ("forget", "retain"):
            values = [point[f"{kind}_loss"] for point in (watched[0], watched[-1])]
            lines[f"{kind} rows"] = f"{_from_to(*values)}, before and after"
    if result.stopped:
        lines["stopped"] = result.stopped
    for kind, count in result.details.get("never_drawn", {}).items():
        if count:
            lines[f"{kind} rows never drawn"] = f"{count:,}"
    rest = {name: value for name, value in result.details.items() if name not in OWN_LINES and value is not None}
    lines |= {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in rest.items()}
    if cautions := result.details.get("cautions"):
        lines["cautions"] = " ".join(cautions)
    return lines


def _from_to(first: float, last: float) -> str:
    return f"loss {first:.3f} -> {last:.3f} nats a token"
