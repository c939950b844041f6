"""What a journal binds: of each kind of event of a request the first one counts, and whatever says the same again later is refused.

A hash chain without a signature does not say who wrote an event: who can write to the file can append events that are whole in every way. What they can't
do is come before what is there already. So the attempt that first ended with `done` is the request's, with its start and its steps as they stood then;
a later start, step or end changes nothing, and `verify` names it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from unweave.ledger.journal import Event
from unweave.ledger.states import after_as_read, event_name

ATTEMPT = "started", "step", "done"
ONCE = "added", "signed", "rolled back"
PAGES = "certified", "reported"
"""Steps that write down what follows from those before them."""


@dataclass(frozen=True)
class Bound:
    """The events of one request that count.

    Attributes:
        added: How it was asked for.
        started: The beginning of the attempt that counts: the one that was carried out, or the newest.
        steps: Name to event, of that attempt.
        done: Its end.
        signed: That its certificate was signed.
    """

    added: Event | None
    started: Event | None
    steps: dict[str, Event]
    done: Event | None
    signed: Event | None = None

    @cached_property
    def files(self) -> dict[str, str]:
        """The files that the steps made, by their place in the request's folder, with their digests."""
        return {name: digest for event in self.steps.values() for name, digest in event.content["files"].values()}

    @property
    def before_certificate(self) -> Event | None:
        """The newest event of the attempt that the certificate was made under."""
        steps = [event for name, event in self.steps.items() if name not in PAGES]
        return max([*steps, *([self.started] if self.started else [])], key=lambda event: event.number, default=None)


def bind(events: Sequence[Event]) -> Bound:
    """The events of a request that count.

    Args:
        events: All events of the request, in order.

    Returns:
        Those.
    """
    added = next((event for event in events if event.kind == "added"), None)
    done = next((event for event in events if event.kind == "done"), None)
    own = [event for event in events if done is None or event.number < done.number]
    started = next((event for event in reversed(own) if event.kind == "started"), None)
    steps: dict[str, Event] = {}
    if started is not None:
        for event in own:
            if event.kind == "step" and event.number > started.number:
                steps.setdefault(event.content.get("step", ""), event)
    signed = next((event for event in events if event.kind == "signed" and done and event.number > done.number), None)
    return Bound(added, started, steps, done, signed)


def said_before(events: Sequence[Event], event: Event) -> Event | None:
    """The event that a later one would take the place of.

    Args:
        events: The events of the same request before it.
        event: The later one.

    Returns:
        The earlier event, which counts; `None` where the later one says something new.
    """
    if event.kind in ONCE:
        return next((other for other in events if other.kind == event.kind), None)
    if event.kind not in ATTEMPT:
        return None
    own = bind(events)
    if own.done is not None:
        if event.kind == "step":
            return own.steps.get(event.content.get("step", ""), own.done)
        return own.done if event.kind == "done" else own.started or own.done
    if event.kind == "step":
        # What was lost and made again just as it was says nothing new, and nothing else.
        earlier = own.steps.get(event.content.get("step", ""))
        return earlier if earlier is not None and earlier.content != event.content else None
    return None


def repeated(events: Iterable[Event]) -> list[str]:
    """Events of a journal that come too late.

    Args:
        events: All of them.

    Returns:
        What is wrong with each, in words.
    """
    faults: list[str] = []
    own: dict[str, list[Event]] = {}
    states: dict[str, str] = {}
    created: Event | None = None
    for event in events:
        if event.kind == "created":
            if created is not None:
                faults.append(_again(event, created))
            created = created or event
            continue
        before = own.setdefault(event.request, [])
        state = states.get(event.request)
        if event.kind != "added" and not before:
            faults.append(
                f"event {event.number} ({event.kind}) is of a request that was never added, '{event.request}'"
            )
        elif (earlier := said_before(before, event)) is not None:
            faults.append(_again(event, earlier))
            # It counts for nothing, so nothing is measured against it either.
            continue
        elif (following := after_as_read(state, event_name(event))) is None:
            faults.append(
                f"event {event.number} ({_name(event)}) can't be of a request that is {state}: it does not count"
            )
            continue
        else:
            states[event.request] = following
        before.append(event)
    return faults


def _again(event: Event, earlier: Event) -> str:
    return (
        f"event {event.number} ({_name(event)}) says again what event {earlier.number} ({_name(earlier)}) bound: "
        "it was added afterwards, and does not count"
    )


def _name(event: Event) -> str:
    content: Mapping[str, Any] = event.content
    step = f" {content['step']}" if event.kind == "step" and "step" in content else ""
    return f"{event.kind}{step}" + (f" of {event.request}" if event.request else "")
