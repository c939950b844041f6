"""Killed at changes to the disk, again and again, and run once more: every command that writes ends as if nothing had happened."""

import signal

import pytest

from tests.forks import Forks
from tests.kills import WRITING, build, differences, unexplained
from unweave.cli.table import TABLE
from unweave.outputs import WRITES

KILLS = 3
READING = {
    "doctor", "rows", "list", "completion", "audit tofu-log", "request list", "request verify", "store info", "store check",
}  # fmt: skip
"""Commands that write nothing."""
MADE_OF_OTHERS = {
    "run": "runs one of the others",
    "demo": "runs others one after another, each in its own folder: tests/experiments/demo",
    "report": "writes one page, as `value report` does",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return build(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def forks(world):
    with Forks(world.scratch) as started:
        yield started


@pytest.mark.parametrize("name", WRITING)
def test_a_command_that_is_killed_again_and_again_ends_as_an_undisturbed_one(name, world, forks):
    world.begin(name)
    ended, whole = world.finish(forks, name)
    assert whole, "it writes something"
    world.begin(name)
    places = [1 + round(share * (len(ended.changes) - 1) / (KILLS - 1)) for share in range(KILLS)]
    killed = [world.run(forks, name, at=at).code == -9 for at in places]
    # What is done already is not done again: later kills may find a run that is shorter.
    assert killed[0]
    found = world.finish(forks, name)[1]
    assert unexplained(differences(whole, found)) == []


@pytest.mark.parametrize(
    ("name", "stop"), [("cache", signal.SIGINT), ("cache", signal.SIGTERM), ("train", signal.SIGINT), ("request run", signal.SIGTERM)]
)  # fmt: skip
def test_a_command_that_is_interrupted_says_so_and_goes_on_when_it_is_run_again(name, stop, world, forks):
    world.begin(name)
    ended, whole = world.finish(forks, name)
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
