"""Killed at changes to the disk, and run once more: every command that writes ends as if nothing had happened.

Each command is killed at one change, of another kind from command to command (`place`), so that every kind has several kills; those that take up what a
kill has left are killed a second time while they do. `--exhaustive` kills each command at every change; `benchmarks/hardening.py` has random moments.
"""

import functools
import signal

import pytest

from tests.kills import WRITING, build, differences, unexplained
from unweave.cli.table import TABLE
from unweave.outputs import WRITES

pytestmark = pytest.mark.long

AGAIN = "cache", "train", "forget", "audit", "request run", "value score"
READING = {
    "doctor", "rows", "list", "completion", "audit tofu-log", "request list", "request verify", "store info", "store check",
}  # fmt: skip
"""Commands that write nothing."""
MADE_OF_OTHERS = {
    "run": "runs one of the others",
    "demo": "runs others one after another, each in its own folder: tests/experiments/demo",
    "report": "writes one page, as `value report` does",
    "serve": "its copy is one page written whole; what it starts are others: tests/explorer/test_runs.py",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return build(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def undisturbed(world, forks):
    """How a command ends that nothing disturbs, and what is there then; of each once."""

    @functools.cache
    def run(name):
        world.begin(name)
        return world.finish(forks, name)

    return run


def kind_of(change):
    """What a change does: the event, and whether the file is there already."""
    return change.partition(" ")[0] + change.rpartition(",")[2].replace(change, "")


def place(name, changes):
    """Where a command is killed: amid its changes of one kind, which is another from command to command."""
    kinds = sorted({kind_of(change) for change in changes})
    kind = kinds[list(WRITING).index(name) % len(kinds)]
    own = [number for number, change in enumerate(changes, start=1) if kind_of(change) == kind]
    return own[len(own) // 2]


@pytest.mark.parametrize("name", WRITING)
def test_a_command_that_is_killed_ends_as_an_undisturbed_one(name, world, forks, undisturbed, exhaustive):
    ended, whole = undisturbed(name)
    assert whole, "it writes something"
    for at in range(1, len(ended.changes) + 1) if exhaustive else [place(name, ended.changes)]:
        world.begin(name)
        assert world.run(forks, name, at=at).code == -signal.SIGKILL
        if name in AGAIN:
            # What is done already is not done again: this may find a run that is shorter.
            world.run(forks, name, at=1 + (len(ended.changes) - at) // 2)
        found = world.finish(forks, name)[1]
        assert unexplained(differences(whole, found)) == [], ended.changes[at - 1]


@pytest.mark.parametrize(
    ("name", "stop"), [("cache", signal.SIGINT), ("cache", signal.SIGTERM), ("train", signal.SIGINT), ("request run", signal.SIGTERM)]
)  # fmt: skip
def test_a_command_that_is_interrupted_says_so_and_goes_on_when_it_is_run_again(name, stop, world, forks, undisturbed):
    ended, whole = undisturbed(name)
    world.begin(name)
    stopped = world.run(forks, name, at=len(ended.changes) // 2, by=stop)
    assert stopped.code == 130
    assert "Interrupted; what was finished is kept" in stopped.errors
    assert "Traceback" not in stopped.errors
    assert unexplained(differences(whole, world.finish(forks, name)[1])) == []


def test_every_command_of_the_command_line_is_killed_or_writes_nothing():
    commands = {writing.command for writing in WRITING.values()}
    assert {*TABLE, "run"} == {*commands, *READING, *MADE_OF_OTHERS}
    assert set(WRITES) <= {*commands, *MADE_OF_OTHERS}
