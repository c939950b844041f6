"""The states of a request against a small model: every order of runs, failures, kills, reruns, rollbacks, cancellations, overlaps, and other processes.

What a run does is put aside: its steps are cheap and deterministic, and everything around them is the product's. A kill is the ledger's folder as it was at
that moment: what runs after it, a `finally` too, does not count.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.folders import write_rows
from unweave.errors import BusyError, DataError
from unweave.files import write_json, write_text
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, ListConfig, RunConfig, UndoConfig
from unweave.ledger.journal import Journal
from unweave.ledger.judging import VERDICT
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.run import JUDGED, REPORTED, STEPS, run_request
from unweave.ledger.states import (
    CANCELLED,
    DONE,
    GIVEN_UP,
    NOT_FORGOTTEN,
    NOT_SHOWN,
    OPEN,
    ROLLED_BACK,
    RUNNING,
    TABLE,
    after,
    as_markdown,
)
from unweave.ledger.undoing import cancel_request, roll_back

NAMES = st.sampled_from("abc")
ROWS = [{"id": f"r{i}", "instruction": f"add {i}", "context": "", "response": f"canary{i}"} for i in range(12)]
ORIGIN, MEMORY = "origin", Path("/dev/shm")


class Kill(BaseException):
    """The process is gone."""


@dataclass
class Known:
    """A request as the model has it: its rows and state, and of its attempt what it began with, the steps that are on the disk, and what came out."""

    rows: frozenset
    state: str = OPEN
    began: tuple | None = None
    steps: list = field(default_factory=list)
    texts: bool = False
    came: str = DONE


class Requests(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        # In memory where that can be had: every event of a journal waits for the disk.
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.ledger, self.before_kill = self.folder / "ledger", self.folder / "killed"
        write_rows(self.folder / "rows.jsonl", ROWS)
        write_text(self.folder / ORIGIN / "config.json", "{}")
        self.known: dict[str, Known] = {}
        self.done: list[str] = []

    def teardown(self):
        shutil.rmtree(self.folder)

    def current(self):
        return str(self.ledger / "requests" / self.done[-1] / "adapter") if self.done else str(self.folder / ORIGIN)

    @rule(name=NAMES, rows=st.sets(st.integers(0, 4), min_size=1, max_size=2))
    def add(self, name, rows):
        rows = frozenset(f"r{i}" for i in rows)
        first = {} if self.known else {"data": self.folder / "rows.jsonl", "model": str(self.folder / ORIGIN)}
        config = AddConfig(ledger=self.ledger, row_ids=tuple(rows), request_id=name, **first)
        own = self.known.get(name)
        reasons = []
        if own is not None and own.state in GIVEN_UP:
            reasons.append("There was a request")
        elif own is not None and own.rows != rows:
            reasons.append("another request")
        if any(other.rows & rows and other.state not in GIVEN_UP for key, other in self.known.items() if key != name):
            reasons.append("is in the request")
        if reasons:
            return refused(add_request, config, "|".join(reasons))
        assert add_request(config)["added"] == (own is None)
        self.known.setdefault(name, Known(rows))
        return None

    @rule(
        name=NAMES, seed=st.integers(0, 1), came=st.sampled_from([DONE, DONE, NOT_SHOWN, NOT_FORGOTTEN]),
        end=st.sampled_from(["well", "well", "fails", "killed in", "killed before", "killed after"]),
        at=st.integers(0, len(STEPS) + 1), meanwhile=st.sampled_from(["nothing", "run", "cancel", "roll back", "add"]), other=NAMES,
        rows=st.sets(st.integers(0, 4), min_size=1, max_size=2),
    )  # fmt: skip
    @precondition(lambda self: self.known)
    def run(self, name, seed, came, end, at, meanwhile, other, rows):
        config = RunConfig(ledger=self.ledger, request=name, seed=seed)
        own = self.known.get(name)
        if own is None:
            return refused(run_request, config, "no request")
        if own.state in GIVEN_UP:
            return refused(run_request, config, f"was {own.state}")
        if own.state in (DONE, NOT_SHOWN):
            made = []
            assert run_request(config, steps=self.steps(made, came))["of"] == sorted(own.rows)
            assert made == []
            own.texts = False
            return None
        began = (seed, self.current())
        if own.state == NOT_FORGOTTEN and own.began == began:
            made = []
            assert run_request(config, steps=self.steps(made, came))["state"] == NOT_FORGOTTEN
            assert made == [], "the same attempt ends as it did"
            own.texts = False
            return None
        if own.state == NOT_FORGOTTEN:
            own.began = None
        due = list(STEPS) if own.began != began else [step for step in STEPS if step not in own.steps]
        if own.began == began and "prepared" not in due and not own.texts:
            due = ["prepared", *due]
        # A kill after the criteria were found unmet, and before the end was recorded: the verdict is on the disk, and stands.
        if "judged" not in due:
            came = own.came
        if came == NOT_FORGOTTEN:
            kept = due.index("store cleaned") if "store cleaned" in due else len(due)
            due = [*due[:kept], *([] if own.began == began and REPORTED in own.steps else [REPORTED])]
        made: list[str] = []

        def now(step, job):
            """What happens in a step."""
            if len(made) == 1:
                self.other_process(meanwhile, other, rows)
            if len(made) - 1 == at:
                if end == "fails":
                    raise DataError("something is missing")
                if end == "killed in":
                    job.folder.mkdir(parents=True, exist_ok=True)
                    (job.folder / f"half of {step}").write_text("half")
                    self.kill()

        appended = []
        original = Journal.append_if

        def append_if(journal, condition, kind, request="", **content):
            if kind == "added":
                return original(journal, condition, kind, request, **content)
            if end == "killed before" and len(appended) == at:
                self.kill()
            event = original(journal, condition, kind, request, **content)
            appended.append(content.get("step", kind))
            if end == "killed after" and len(appended) - 1 == at:
                self.kill()
            return event

        outcome = "well"
        with mock.patch.object(Journal, "append_if", append_if):
            try:
                certificate = run_request(config, steps=self.steps(made, came, now))
                assert certificate["began"] == list(began)
            except Kill:
                outcome = "killed"
                shutil.rmtree(self.ledger)
                self.before_kill.rename(self.ledger)
            except DataError as error:
                assert "something is missing" in str(error)  # noqa: PT017  # the error may come or not
                outcome = "fails"
        assert made == due[: len(made)], "what is on the disk is not made again, and nothing else is left out"
        if "started" in appended:
            own.began, own.steps, own.state, own.texts = began, [], RUNNING, False
        own.steps = list(dict.fromkeys([*own.steps, *(step for step in appended if step in (*STEPS, REPORTED))]))
        if "judged" in appended:
            own.came = came
        # A kill in the first step comes before it has written anything.
        wrote = "prepared" in made and not (end == "killed in" and made == ["prepared"])
        own.texts = (own.texts or wrote) if outcome == "killed" else False
        if "done" in appended:
            own.state = NOT_SHOWN if came == NOT_SHOWN else DONE
            self.done.append(name)
        if NOT_FORGOTTEN in appended:
            own.state = NOT_FORGOTTEN
        if outcome == "well":
            assert own.state == came
            assert made == due
        return None

    def steps(self, made, came, now=lambda *_: None):
        def step_of(step):
            def make(job):
                made.append(step)
                now(step, job)
                if step == "prepared":
                    text = "".join(f"canary{row_id}\n" for row_id in sorted(job.request.rows))
                    write_text(job.work / "forget.jsonl", text)
                    return {"forget": job.work / "forget.jsonl"}
                assert (job.work / "forget.jsonl").read_text().startswith("canary")
                if step == "forgotten":
                    write_text(job.adapter / "adapter_model.safetensors", f"{job.config.seed} {job.before}")
                    return {"weights": job.adapter / "adapter_model.safetensors"}
                if step == JUDGED:
                    write_json(job.folder / VERDICT, {"forgotten": came != NOT_FORGOTTEN})
                    return {"verdict": job.folder / VERDICT}
                if step in ("certified", REPORTED):
                    name = "certificate" if step == "certified" else "report"
                    content = (job.adapter / "adapter_model.safetensors").read_text().split()
                    write_json(
                        job.folder / f"{name}.json",
                        {
                            "class": "empirical", "state": came, "shown": came == DONE, "drift": {"retraining_due": False}, "of": sorted(job.request.rows),
                            "began": [int(content[0]), content[1]],
                        },
                    )  # fmt: skip
                    write_text(job.folder / f"{name}.html", "page")
                    return {name: job.folder / f"{name}.json", "page": job.folder / f"{name}.html"}
                write_text(job.folder / f"{step}.json", "{}")
                return {"file": job.folder / f"{step}.json"}

            return make

        return {step: step_of(step) for step in (*STEPS, REPORTED)}

    def kill(self):
        shutil.copytree(self.ledger, self.before_kill)
        raise Kill

    def other_process(self, what, name, rows):
        """While a run is at work: what would change a request is refused, asking for rows is not."""
        if what == "add":
            return self.add(name, rows)
        if what != "nothing":
            command = {"run": run_request, "cancel": cancel_request, "roll back": roll_back}[what]
            config = {"run": RunConfig, "cancel": UndoConfig, "roll back": UndoConfig}[what]
            with pytest.raises(BusyError, match="Another process is at work"):
                command(config(ledger=self.ledger, request=name))
        return None

    @rule(name=NAMES)
    @precondition(lambda self: self.known)
    def roll_back(self, name):
        config = UndoConfig(ledger=self.ledger, request=name)
        own = self.known.get(name)
        if own is None:
            return refused(roll_back, config, "no request")
        if own.state not in (DONE, NOT_SHOWN):
            return refused(roll_back, config, f"is {own.state}")
        if self.done[-1] != name:
            return refused(roll_back, config, "Later requests build on")
        roll_back(config)
        self.done.pop()
        own.state, own.texts = ROLLED_BACK, False
        return None

    @rule(name=NAMES)
    @precondition(lambda self: self.known)
    def cancel(self, name):
        config = UndoConfig(ledger=self.ledger, request=name)
        own = self.known.get(name)
        if own is None:
            return refused(cancel_request, config, "no request")
        if own.state in (DONE, NOT_SHOWN, ROLLED_BACK):
            return refused(cancel_request, config, f"is {own.state}")
        cancel_request(config)
        own.state, own.texts = CANCELLED, False
        return None

    @invariant()
    @precondition(lambda self: self.known)
    def the_ledger_is_as_the_model(self):
        ledger = Ledger(self.ledger)
        listed = {one["id"]: (one["state"], one["texts_left"]) for one in list_requests(ListConfig(ledger=self.ledger))}
        assert listed == {name: (own.state, own.texts) for name, own in self.known.items()}
        assert ledger.model() == self.current()
        assert [request.id for request in ledger.carried_out()] == self.done
        assert ledger.journal.check() == []
        for name, own in self.known.items():
            folder = self.ledger / "requests" / name
            texts = [path for path in folder.rglob("*") if path.is_file() and "canary" in path.read_text()]
            assert bool(texts) <= own.texts, "a text is left only where a kill left it"
            assert not (own.state == CANCELLED and folder.exists())
            if own.state in (DONE, NOT_SHOWN):
                assert json.loads((folder / "certificate.json").read_text())["of"] == sorted(own.rows)
            state = None
            for event in ledger.request(name).events:
                step = "done, not shown" if event.content.get("shown") is False else event.kind
                assert step in TABLE[state], "no event is appended that the table does not have"
                state = TABLE[state][step]
            assert state == own.state


def refused(command, config, message):
    with pytest.raises(DataError, match=message):
        command(config)


TestRequests = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")(Requests.TestCase)
TestRequests.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_kill_between_two_attempts_is_no_end():
    """The first attempt's files are gone, the second has not begun."""
    machine = Requests()
    run = {"name": "a", "meanwhile": "nothing", "other": "a", "rows": {0}}
    machine.add("a", {0})
    machine.run(seed=0, came=NOT_FORGOTTEN, end="well", at=0, **run)
    machine.run(seed=1, came=DONE, end="killed before", at=0, **run)
    machine.the_ledger_is_as_the_model()
    machine.run(seed=0, came=DONE, end="well", at=0, **run)
    machine.the_ledger_is_as_the_model()
    machine.teardown()


def test_the_table_is_closed_and_every_state_can_be_reached():
    states = {state for state in TABLE if state is not None}
    assert {state for row in TABLE.values() for state in row.values()} == states
    reached, front = set(), [None]
    while front:
        front = [
            state for now in front for state in TABLE[now].values() if state not in reached and not reached.add(state)
        ]
    assert reached == states
    assert after(OPEN, "done") is None


def test_the_documentation_shows_the_table():
    page = (Path(__file__).parents[2] / "docs" / "auditing.md").read_text(encoding="utf-8")
    assert as_markdown() in page


@pytest.mark.parametrize("state", [state for state in TABLE if state is not None])
@pytest.mark.parametrize(
    "kind", ["added", "started", "step", "done", "signed", "rolled back", "cancelled", "not forgotten", "unheard of"]
)
def test_an_event_that_can_not_be_is_not_appended_and_counts_for_nothing(tmp_path, state, kind):
    ledger = Ledger(tmp_path, create=True)
    asked = {"kind": "removal", "rows": {"a": "h"}, "replacement": None, "reason": ""}
    ways = {
        OPEN: [], RUNNING: ["started"], DONE: ["started", "done"], NOT_SHOWN: ["started", "not"], ROLLED_BACK: ["started", "done", "rolled back"],
        CANCELLED: ["cancelled"], NOT_FORGOTTEN: ["started", "not forgotten"],
    }  # fmt: skip
    ledger.record("added", "one", asked=asked)
    for way in ways[state]:
        ledger.record("done" if way == "not" else way, "one", **({"shown": False} if way == "not" else {}))
    assert ledger.request("one").state == state
    content = {"asked": asked | {"reason": "again"}} if kind == "added" else {}
    if kind in TABLE[state]:
        assert ledger.record(kind, "one", **content)
        assert ledger.request("one").state == TABLE[state][kind]
        return
    with pytest.raises(DataError, match=f"is {state}"):
        ledger.record(kind, "one", **content)
    events = len(ledger.journal.events())
    ledger.journal.append(kind, "one", **content)
    assert len(ledger.journal.events()) == events + 1
    request = ledger.request("one")
    # A journal that has lost the start of an attempt is read all the same, and `verify` tells of the loss.
    lost = {(OPEN, "step"): RUNNING, (OPEN, "done"): DONE, (OPEN, "not forgotten"): NOT_FORGOTTEN}
    assert (request.state, request.reason) == (lost.get((state, kind), state), "")
