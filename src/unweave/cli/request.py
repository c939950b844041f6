"""`unweave request add|list|run|verify|rollback|cancel`: the deletion ledger."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unweave import terminal
from unweave.cli.common import execute, option_value, parse, print_json, print_pairs
from unweave.config import read_value
from unweave.errors import ConfigError, nearest

HELP = """usage: unweave request ACTION [OPTIONS]

The deletion ledger: requests to forget rows, what was done about each, and the proof of it.

actions:
  add       ask for rows to be forgotten, by id, field, words or near-duplicates
  list      the requests and their states
  run       carry a request out: unlearn, measure, clean the gradient store, certify
  verify    recompute hashes and metrics of one request, or of all, and fail on any difference
  rollback  make the model before the last request the current one again
  cancel    give up a request that is not done, and remove what a failed run of it has left

`unweave request ACTION --help` lists an action's options.

`run` exits with 0 when the rows were forgotten by the criteria that it named, and with 3 when they were not, or when it can't be shown that they were.
`verify` exits with 0 when everything that can still be checked is as it was, naming what can't (rows that have left the data), and with 1 otherwise."""

NOT_SHOWN_CODE = 3


def main(argv: Sequence[str]) -> int:
    """Work with a ledger.

    Args:
        argv: The action, then its options.

    Returns:
        The exit code; 1 when a verification fails.

    Raises:
        ConfigError: When there is no such action.
    """
    if not argv or argv[0] in ("-h", "--help"):
        terminal.lines(HELP + " Each takes --config FILE.yaml and --json.")
        return 0 if argv else 2
    if argv[0] not in _ACTIONS:
        raise ConfigError(f"Unknown action '{argv[0]}'.", where="unweave request", remedy=nearest(argv[0], _ACTIONS))
    return _ACTIONS[argv[0]](argv[1:])


def _add(argv: Sequence[str]) -> int:
    from unweave.audit.ledger.config import AddConfig

    def show(_: AddConfig, result: dict[str, Any]) -> None:
        terminal.line(
            f"request {result['id']}: {len(result['rows'])} row(s), {result['kind']}"
            + ("" if result["added"] else "; it is in the ledger already")
        )
        for copy in result["copies"]:
            kind = "a copy" if copy["exact"] else f"a near-duplicate (similarity {copy['similarity']:.2f})"
            terminal.line(
                f"caution: row {copy['row_id']} ({copy['place']}) is {kind} of {copy['of']} and not in the request; --with-copies takes it in"
            )

    _require_ids(argv)
    return execute(
        AddConfig, argv, command="request add", description="Ask for rows to be forgotten.", work="unweave.audit.ledger.adding:add_request", show=show
    )  # fmt: skip


def _require_ids(argv: Sequence[str]) -> None:
    """Refuse `--row-ids` without an id, as of a shell's empty variable: it would be no criterion, and more rows would match, not fewer."""
    after = [argv[place + 1 :] for place, argument in enumerate(argv) if argument.replace("_", "-") == "--row-ids"]
    path = option_value(argv, "--config")
    empty = [
        *(not rest or rest[0].startswith("--") for rest in after),
        bool(path) and read_value(Path(path), "row_ids") == "[]",
    ]
    if any(empty):
        raise ConfigError("No row id is given.", where="--row-ids", remedy="give ids, or leave the option out")


def _list(argv: Sequence[str]) -> int:
    from unweave.audit.ledger.config import ListConfig

    def show(config: ListConfig, found: list[dict[str, Any]]) -> None:
        header = ["id", "kind", "rows", "state", "class", "added", "reason"]
        rows = [[str(one[name]) if one[name] is not None else "" for name in header] for one in found]
        terminal.print_table(
            f"requests of {config.ledger}", header, rows, text_columns=["kind", "state", "class", "added", "reason"]
        )
        for one in found:
            if one["texts_left"]:
                terminal.line(
                    f"caution: a killed run of {one['id']} left texts of its rows; run it again, or cancel it"
                )

    return execute(
        ListConfig, argv, command="request list", description="List the requests.", work="unweave.audit.ledger.ledger:list_requests", show=show
    )  # fmt: skip


def _run(argv: Sequence[str]) -> int:
    from unweave.audit.ledger.config import RunConfig
    from unweave.audit.ledger.states import NOT_FORGOTTEN

    def show(config: RunConfig, result: dict[str, Any]) -> None:
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
            print_pairs(
                f"row {one['row']}: {one['question']}", {f"answer {name}": text for name, text in asked.items()}
            )
        failed = state == NOT_FORGOTTEN
        page = "report.html" if failed else "certificate.html"
        terminal.line(f"{page.removesuffix('.html')}: {config.ledger / 'requests' / result['request']['id'] / page}")
        if failed:
            terminal.line(
                "The model before stays the current one. To go on: more --max-minutes, another --method, --method retrain, or a --margin that you can accept."
            )
        if places := result["store"].get("not_reached"):
            terminal.line("not reached, and for you to take care of (copies of the data and pages elsewhere too):")
            for one in places:
                terminal.line(f"  {one['place']}: {one['what']}")
        for finding in result["findings"]:
            terminal.line(f"caution: {finding}")
        if result["drift"]["retraining_due"]:
            terminal.line(f"retraining is due: {result['drift']['reason']}")

    return execute(
        RunConfig, argv, command="request run", description="Carry out a request.", work="unweave.audit.ledger.run:run_request", show=show,
        code=lambda result: NOT_SHOWN_CODE if result.get("shown") is False else 0,
    )  # fmt: skip


def _verify(argv: Sequence[str]) -> int:
    from unweave.audit.ledger.config import VerifyConfig

    config, common = parse(VerifyConfig, argv, command="request verify", description="Verify a request, or all.")
    from unweave.audit.ledger.verify import verify_requests

    results = verify_requests(config)
    if common.json:
        print_json(results[0] if config.request else results)
    else:
        for result in results:
            for check in result["checks"]:
                terminal.line(
                    f"{'ok    ' if check['ok'] else 'FAILED'}  {check['check']}"
                    + (f": {check['fault']}" if check["fault"] else "")
                )
            terminal.line(
                f"request {result['request']}: "
                + ("verified" if result["ok"] else "NOT verified")
                + ("; forgotten rows have left the data, what that leaves open is said above" if result["gone"] else "")
                + ("; done, not shown to have forgotten" if result["state"] == "done, not shown" else "")
            )
    return 0 if all(result["ok"] for result in results) else 1


def _rollback(argv: Sequence[str]) -> int:
    from unweave.audit.ledger.config import RollbackConfig

    return execute(
        RollbackConfig,
        argv,
        command="request rollback",
        description="Undo the last request that was carried out.",
        work="unweave.audit.ledger.undoing:roll_back",
        show=lambda _, result: print_pairs("rolled back", result),
    )


def _cancel(argv: Sequence[str]) -> int:
    from unweave.audit.ledger.config import CancelConfig

    return execute(
        CancelConfig,
        argv,
        command="request cancel",
        description="Give up a request that is not done.",
        work="unweave.audit.ledger.undoing:cancel_request",
        show=lambda _, result: print_pairs("cancelled", result),
    )


_ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {
    "add": _add,
    "list": _list,
    "run": _run,
    "verify": _verify,
    "rollback": _rollback,
    "cancel": _cancel,
}
