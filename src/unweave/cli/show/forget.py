"""An unlearning run on the terminal."""

import shlex
from typing import Any

from unweave import terminal
from unweave.cli.show.plain import print_pairs, print_sentences

OWN_LINES = ("watched", "cautions", "never_drawn", "effect")
"""Details that have lines of their own."""


def show(config: Any, result: Any) -> None:
    """Print what a run gave, and what makes sense next.

    Args:
        config: The run's.
        result: A `ForgetResult`.
    """
    print_pairs(f"unlearned: {result.folder}", summary(result))
    print_sentences(result.details.get("cautions", ()), label="caution: ")
    terminal.line(f"next: {proposed(config, result)}")


def proposed(config: Any, result: Any) -> str:
    """The command that makes sense after a run.

    Args:
        config: The run's.
        result: A `ForgetResult`.

    Returns:
        A rerun that does more, or less, where the run fell short or went too far; otherwise what gives evidence of it.
    """
    from unweave.unlearning.outcome import judged

    found = judged(result.details.get("effect", {}))
    again = ["unweave", "forget", "--config", str(config.output_dir / "config.yaml")]
    if found.factor is not None and result.planned_steps:
        rate = f"{config.learning_rate * found.factor:.2g}"
        return shlex.join([*again, "--learning-rate", rate, "--output-dir", f"{config.output_dir}-{rate}"])
    if found.short:
        return "unweave list methods"
    return shlex.join(["unweave", "request", "add", "--help"])


def summary(result: Any) -> dict[str, str]:
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
    if result.stopped:
        lines["stopped"] = result.stopped
    effect = result.details.get("effect", {})
    for kind in ("forget", "retain"):
        if f"{kind}_loss" in effect:
            begins = " -> ".join(map(str, effect[f"{kind}_begins"]))
            lines[f"{kind} rows"] = (
                f"{_from_to(*effect[f'{kind}_loss'])}; answers that begin as the rows' do {begins} of {effect[f'{kind}_rows']}"
            )
    for kind, count in result.details.get("never_drawn", {}).items():
        if count:
            lines[f"{kind} rows never sampled"] = f"{count:,}"
    rest = {name: value for name, value in result.details.items() if name not in OWN_LINES and value is not None}
    return lines | {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in rest.items()}


def _from_to(first: float, last: float) -> str:
    return f"loss {first:.3f} -> {last:.3f} nats a token"
