"""The states of a request, and the events that lead from one to another: one table, which every command asks and every journal is read with.

An event that the table does not have in a state is never appended, and changes nothing where somebody has put it into a journal.
"""

from unweave.ledger.journal import Event

OPEN, RUNNING = "open", "running"
DONE, NOT_SHOWN = "done", "done, not shown"
NOT_FORGOTTEN = "not forgotten"
ROLLED_BACK, CANCELLED = "rolled back", "cancelled"

ADD, START, STEP, END, SIGN, ROLL_BACK, CANCEL = (
    "added",
    "started",
    "step",
    "done",
    "signed",
    "rolled back",
    "cancelled",
)
FAIL = "not forgotten"
"""The end of an attempt that did not meet the criteria it had named: the model before stays current, and the request may be carried out again."""
END_NOT_SHOWN = "done, not shown"
"""The event `done` of a run whose measurements do not show that the rows were forgotten."""

TABLE: dict[str | None, dict[str, str]] = {
    None: {ADD: OPEN},
    OPEN: {START: RUNNING, CANCEL: CANCELLED},
    RUNNING: {
        START: RUNNING,
        STEP: RUNNING,
        END: DONE,
        END_NOT_SHOWN: NOT_SHOWN,
        FAIL: NOT_FORGOTTEN,
        CANCEL: CANCELLED,
    },
    NOT_FORGOTTEN: {START: RUNNING, CANCEL: CANCELLED},
    DONE: {SIGN: DONE, ROLL_BACK: ROLLED_BACK},
    NOT_SHOWN: {SIGN: NOT_SHOWN, ROLL_BACK: ROLLED_BACK},
    ROLLED_BACK: {},
    CANCELLED: {},
}
"""State to event to state; `None` is the state of what was never asked for. `started` in *running* is an attempt that starts over."""

CARRIED_OUT = (DONE, NOT_SHOWN)
GIVEN_UP = (ROLLED_BACK, CANCELLED)
"""States of which the rows may be asked for again."""


def event_name(event: Event) -> str:
    """An event as the table names it.

    Args:
        event: An event of a request.

    Returns:
        Its kind; an end that does not show that the rows were forgotten has a name of its own. Ends of before that was recorded say nothing of it.
    """
    return END_NOT_SHOWN if event.kind == END and event.content.get("shown") is False else event.kind


def after(state: str | None, event: str) -> str | None:
    """The state that an event leads to.

    Args:
        state: The state before; `None` of what was never asked for.
        event: The event's name.

    Returns:
        The state; `None` where there is no such event in that state.
    """
    return TABLE[state].get(event)


def after_as_read(state: str | None, event: str) -> str | None:
    """The state that an event of a journal leads to, whoever wrote it.

    Args:
        state: The state before.
        event: The event's name.

    Returns:
        The state; `None` where the event changes nothing. An attempt whose start the journal has lost is one all the same: `verify` reports the loss.
    """
    return after(state, event) or (after(RUNNING, event) if state == OPEN else None)


def as_markdown() -> str:
    """The table for people.

    Returns:
        A line a state, a column an event; what can't be is empty.
    """
    events = list(dict.fromkeys(event for row in TABLE.values() for event in row))
    lines = [["state", *events], ["---"] * (len(events) + 1)]
    lines += [
        [f"*{state or 'not asked for'}*", *(row.get(event, "") for event in events)] for state, row in TABLE.items()
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
