"""The deletion ledger on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unweave import terminal
from unweave.cli.show.plain import print_pairs, print_sentences
from unweave.ledger.config import AddConfig, ListConfig, RunConfig, VerifyConfig

NOT_SHOWN_CODE = 3
"""The rows were not forgotten, or it can't be shown that they were."""

LISTED = 40
"""Rows of a preview that are printed."""


def show_added(_: AddConfig, result: dict[str, Any]) -> None:
    """Print a new request, and copies of its rows that are not in it; of a preview what it would hold.

    Args:
        result: The request.
    """
    if "preview" in result:
        if not result.get("declined"):
            show_preview(result)
        terminal.line("nothing was written" + ("" if result.get("declined") else ": this is a preview; --yes writes"))
        return
    terminal.line(
        f"request {result['id']}: {len(result['rows'])} row(s), {result['kind']}"
        + ("" if result["added"] else "; it is in the ledger already")
    )
    if result["doubtful"]:
        terminal.line(
            f"caution: {len(result['doubtful'])} row(s) that may be another person were left out; --include-ambiguous takes them in"
        )
    _caution_of_copies(result)


def _caution_of_copies(result: dict[str, Any]) -> None:
    for copy in result["copies"]:
        kind = "a copy" if copy["exact"] else f"a near-duplicate (similarity {copy['similarity']:.2f})"
        terminal.line(
            f"caution: row {copy['row_id']} ({copy['place']}) is {kind} of {copy['of']} and not in the request; --with-copies takes it in"
        )


def show_preview(result: dict[str, Any]) -> None:
    """Print the rows that a request would hold, those in doubt apart, and how many each rule found.

    Args:
        result: From `Prepared.shown`.
    """
    preview = result["preview"]
    _print_found(f"{len(preview['found'])} row(s) match", preview["found"])
    for rule, count in preview["counts"].items():
        terminal.line(f"  {rule}: {count} row(s)")
    if preview["doubtful"]:
        _print_found(
            f"{len(preview['doubtful'])} row(s) may be another person, and are not taken (--include-ambiguous takes them)",
            preview["doubtful"],
        )
    _caution_of_copies(result)


def _print_found(title: str, found: Sequence[dict[str, Any]]) -> None:
    header = ["source", "line", "what matched", "text"]
    rows = [
        [
            Path(one["source"]).name,
            str(one["line"]),
            "; ".join(_matched(match) for match in one["matches"]),
            _shortened(f"{one['prompt']} → {one['completion']}"),
        ]
        for one in found[:LISTED]
    ]
    terminal.print_table(title, header, rows, text_columns=["what matched", "text"])
    if (more := len(found) - LISTED) > 0:
        terminal.line(f"... and {more} more row(s): --json lists all")


def _matched(match: dict[str, Any]) -> str:
    near = "" if match["similarity"] is None else f" {match['similarity']:.2f}"
    words = f" '{_shortened(match['words'], 40)}'" if match["words"] else ""
    place = f" in {match['field']}" if match["field"] else ""
    return f"{match['rule']}{near}{words}{place}" + (f" ({match['doubt']})" if match["doubt"] else "")


def _shortened(text: str, longest: int = 100) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 3]}..."


def show_list(config: ListConfig, found: Sequence[dict[str, Any]]) -> None:
    """Print the requests of a ledger.

    Args:
        config: Which ledger.
        found: Its requests.
    """
    header = ["id", "kind", "rows", "state", "class", "added", "reason"]
    rows = [[str(one[name]) if one[name] is not None else "" for name in header] for one in found]
    terminal.print_table(
        f"requests of {config.ledger}", header, rows, text_columns=["kind", "state", "class", "added", "reason"]
    )
    for one in found:
        if one["texts_left"]:
            terminal.line(f"caution: a killed run of {one['id']} left texts of its rows; run it again, or cancel it")


def show_run(config: RunConfig, result: dict[str, Any]) -> None:
    """Print what came of a request, and what is left to do.

    Args:
        config: Which request.
        result: Its certificate or report.
    """
    from unweave.ledger.states import NOT_FORGOTTEN

    if config.replay is not None:
        print_pairs("replayed", result)
        return
    sets = {side: result["measured"][side]["sets"] for side in ("before", "after")}
    rows = [
        [
            name,
            *(f"{100 * sets[side][name]['probability']:.2f} %" for side in sets),
            *(f"{sets[side][name]['perplexity']:.3f}" for side in sets),
        ]
        for name in sets["after"]
    ]
    state = result.get("state", "done")
    title = f"request {result['request']['id']}: {state} ({result['class']})"
    terminal.print_table(title, ["rows", "probability before", "after", "perplexity before", "after"], rows)
    for one in result.get("criteria", {}).get("outcomes", {}).values():
        terminal.line(f"{'met' if one['met'] else 'NOT MET'}: {one['words']}")
    for one in result.get("answers", ()):
        asked = {name: text for name, text in one.items() if name not in ("row", "question")}
        print_pairs(f"row {one['row']}: {one['question']}", {f"answer {name}": text for name, text in asked.items()})
    failed = state == NOT_FORGOTTEN
    page = "report.html" if failed else "certificate.html"
    terminal.line(f"{page.removesuffix('.html')}: {config.ledger / 'requests' / result['request']['id'] / page}")
    if failed:
        terminal.line(
            "The model before stays the current one. To go on: more --max-minutes, another --method, --method retrain, or a --margin that you can accept."
        )
    if places := result["store"].get("not_reached"):
        terminal.line("not reached, and left to you (copies of the data and pages elsewhere too):")
        for one in places:
            terminal.line(f"  {one['place']}: {one['what']}")
    print_sentences(result["findings"], label="caution: ")
    if result["drift"]["retraining_due"]:
        terminal.line(f"retraining is due: {result['drift']['reason']}")


def run_code(result: dict[str, Any]) -> int:
    """The exit code of carrying a request out.

    Args:
        result: Its certificate or report.

    Returns:
        0 when the rows were forgotten by the criteria that it named, else 3.
    """
    return NOT_SHOWN_CODE if result.get("shown") is False else 0


def show_verified(_: VerifyConfig, results: Sequence[dict[str, Any]]) -> None:
    """Print the checks of each request.

    Args:
        results: One a request.
    """
    for result in results:
        for check in result["checks"]:
            fault = f": {check['fault']}" if check["fault"] else ""
            print_sentences([check["check"] + fault], label="ok      " if check["ok"] else "FAILED  ")
        terminal.line(
            f"request {result['request']}: "
            + ("verified" if result["ok"] else "NOT verified")
            + ("; forgotten rows have left the data, what that leaves open is said above" if result["gone"] else "")
            + ("; done, not shown to have forgotten" if result["state"] == "done, not shown" else "")
        )


def verified_json(config: VerifyConfig, results: Sequence[dict[str, Any]]) -> Any:
    """The checks as JSON.

    Args:
        config: What was asked for.
        results: One a request.

    Returns:
        One object where one request was named, else a list.
    """
    return results[0] if config.request else results


def verified_code(results: Sequence[dict[str, Any]]) -> int:
    """The exit code of a verification.

    Args:
        results: One a request.

    Returns:
        1 when one fails.
    """
    return int(not all(result["ok"] for result in results))
