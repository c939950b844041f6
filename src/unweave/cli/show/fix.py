"""`unweave fix` on the terminal."""

from typing import Any

from unweave import terminal
from unweave.cli.show.request import NOT_SHOWN_CODE
from unweave.fixing.config import FixConfig

NOTHING_CODE = 4
"""No row of the data stands out."""
WAITING_CODE = 5
"""Rows are proposed, and nobody has decided on them."""


def show(config: FixConfig, result: dict[str, Any]) -> None:
    """Print how far it came, and what to do next.

    Args:
        config: What was asked for.
        result: What each step found.
    """
    terminal.labelled("prompt", result["prompt"])
    terminal.labelled("answer", result["answer"])
    terminal.line(result["trace"]["said"])
    if "found" in result:
        terminal.line(
            f"{len(result['proposed'])} rows to forget: {len(result['trace']['seeds'])} traced, {len(result['found']['proposals'])} found from these"
        )
        terminal.line(result["found"]["missed"]["words"])
    if "next" in result:
        terminal.line(f"nothing was trained: decide on each row in {config.output_dir / 'decisions.jsonl'}, then")
        terminal.line(f"  {result['next']}")
    if "forgetting" in result:
        for reason in result["choice"]["reasons"]:
            terminal.line(reason)
        own = result["forgetting"]
        terminal.line(f"{own['state']} ({own['class']}), with {own['method']}")
        for words in own["criteria"]:
            terminal.line(f"  {words}")
        terminal.labelled("after", result["asked"]["after"])
        terminal.line(f"audit: {result['audit']['conclusion']}")
        for finding in own["findings"]:
            terminal.line(f"caution: {finding}")
        terminal.line(f"model: {config.output_dir / 'ledger/requests/fix/adapter'}")
    elif "next" not in result:
        terminal.line(
            "the answer does not come from a few of these rows, so far as tracing can say: nothing was trained"
        )
    terminal.line(f"page: {config.output_dir / 'fix.html'}")


def code(result: dict[str, Any]) -> int:
    """The exit code.

    Args:
        result: What each step found.

    Returns:
        0 when the rows were forgotten, 3 when not, or not shown, 4 when nothing stands out, 5 when decisions are to be made.
    """
    if "forgetting" in result:
        return 0 if result["forgetting"]["shown"] else NOT_SHOWN_CODE
    return WAITING_CODE if "next" in result else NOTHING_CODE
