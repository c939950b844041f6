"""Long jobs in processes of their own: how they end, that one is at work at a time, and that nothing is lost when something is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.explorer.clients import ADDRESS
from tests.explorer.learned import client_of, copy_of_learned, once
from unweave import events
from unweave.errors import BusyError, DataError
from unweave.explorer.processes import Processes

PROGRAM = """
import os, sys, time
what, *rest = sys.argv[1:]
print("begun", what, *rest)
with open("done.txt", "a") as file:
    file.write(what + "\\n")
if what == "fail":
    sys.exit("error: It can't.\\n  remedy: none")
if what == "slow":
    open("slow.pid", "w").write(str(os.getpid()))
    until = time.monotonic() + 60
    while not os.path.exists("go") and time.monotonic() < until:
        time.sleep(0.01)
if what == "code":
    sys.exit(int(rest[0]))
print("events to", os.environ["UNWEAVE_EVENTS"])
"""


@pytest.fixture
def processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Processes(tmp_path / "runs", program=("-c", PROGRAM))


def begun(*, what="slow"):
    path = Path("slow.pid")
    once(lambda: path.exists() and path.read_text(), what=f"{what} has not begun")
    return int(path.read_text())


def ended(processes, run):
    once(lambda: not processes.run(run.id).is_running, what="it does not end")
    return processes.run(run.id)


def made():
    return Path("done.txt").read_text().split()


def test_commands_are_run_one_after_the_other(processes, tmp_path):
    run = processes.start("Two", [["one", "--x", "a b"], ["two"]], about={"request": "r"})
    assert run.is_running
    run = ended(processes, run)
    assert (run.state, run.code, run.made, run.about) == ("done", 0, 2, {"request": "r"})
    assert run.ended >= run.started
    folder = run.folder.resolve()
    assert run.output() == ["begun one --x a b", f"events to {folder / 'events.jsonl'}", "begun two", f"events to {folder / 'events.jsonl'}"]  # fmt: skip
    assert processes.progress(run).command == 1
    with pytest.raises(DataError, match="The run is done"):
        processes.go_on(run.id)


@pytest.mark.parametrize(("code", "state"), [(3, "not forgotten"), (1, "failed"), (130, "interrupted")])
def test_the_code_of_a_command_says_how_a_run_ended(processes, code, state):
    run = ended(processes, processes.start("It", [["code", str(code)], ["two"]], about={}))
    assert (run.state, run.code, made()) == (state, code, ["code"])


def test_what_failed_says_why_and_can_be_tried_again(processes):
    run = ended(processes, processes.start("It", [["one"], ["fail"]], about={}))
    assert (run.state, run.error()) == ("failed", "It can't.\n  remedy: none")
    ended(processes, processes.go_on(run.id))
    assert made() == ["one", "fail", "fail"], "what has ended well is not run again"


def test_what_is_killed_is_interrupted_and_goes_on(processes, tmp_path):
    run = processes.start("It", [["one"], ["slow"], ["three"]], about={})
    begun()
    os.killpg(json.loads((run.folder / "lock").read_text())["process"], signal.SIGKILL)
    run = ended(processes, run)
    assert (run.state, run.code, run.ended, run.made) == ("interrupted", None, None, 1)
    assert not (run.folder / "exit.json").exists()
    Path("go").touch()
    other = Processes(tmp_path / "runs")  # As after a restart of the server.
    assert [one.id for one in other.runs()] == [run.id]
    run = ended(other, other.go_on(run.id))
    assert (run.state, made()) == ("done", ["one", "slow", "slow", "three"])


def test_a_command_whose_runner_was_killed_is_still_at_work(processes):
    run = processes.start("It", [["slow"]], about={})
    child = begun()
    os.kill(json.loads((run.folder / "lock").read_text())["process"], signal.SIGKILL)
    time.sleep(0.1)
    assert processes.run(run.id).is_running
    with pytest.raises(BusyError):
        processes.go_on(run.id)
    os.kill(child, signal.SIGKILL)
    assert ended(processes, run).state == "interrupted"


def test_one_is_at_work_at_a_time(processes):
    run = processes.start("The first", [["slow"]], about={})
    begun()
    with pytest.raises(BusyError, match="It is 'The first'"):
        processes.start("The second", [["one"]], about={})
    words = [sys.executable, "-m", "unweave.explorer.runner", str(run.folder)]
    assert subprocess.run(words, check=False).returncode == 1, "no second runner in its folder"
    assert [one.title for one in processes.runs()] == ["The first"]
    Path("go").touch()
    assert ended(processes, run).state == "done"
    assert made() == ["slow"]


def test_cancelling_interrupts_and_a_second_time_kills(processes):
    run = processes.start("It", [["slow"], ["two"]], about={})
    begun()
    time.sleep(0.1)
    processes.cancel(run.id)
    run = ended(processes, run)
    assert (run.state, run.made) == ("interrupted", 0)
    Path("slow.pid").unlink()
    processes.go_on(run.id)
    begun()
    assert not (run.folder / "cancelled").exists()
    (run.folder / "cancelled").touch()
    processes.cancel(run.id)
    assert ended(processes, run).state == "interrupted"
    assert made() == ["slow", "slow"]


def test_a_stop_is_asked_for_by_a_file_that_goes_when_it_goes_on(processes):
    run = processes.start("It", [["slow"], ["code", "1"]], about={})
    begun()
    assert processes.stop(run.id).stopping
    assert (run.folder / f"events.jsonl{events.STOP}").exists()
    Path("go").touch()
    ended(processes, run)
    assert not processes.go_on(run.id).stopping


@pytest.mark.parametrize("name", ["", "..", "../x", "20260101-000000-abcdef", "/etc"])
def test_a_run_that_is_none(processes, name):
    with pytest.raises(DataError, match="no such run"):
        processes.run(name)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    found = client_of(copy_of_learned(tmp_path_factory))
    found.workspace.processes.program = ["-c", PROGRAM]
    return found


def test_the_pages_follow_a_run(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    processes = client.workspace.processes
    assert "There is none yet" in client.get("/runs").text
    run = processes.start("<script>alert(1)</script>", [["slow", "<img src=x>"]], about={"request": "a&b"})
    begun()
    with (run.folder / "events.jsonl").open("a") as file:
        for event in (
            {"kind": "say", "text": "<b>said</b>"},
            {"kind": "progress", "what": "<i>task</i>", "done": 3, "total": 9, "time": 1.0},
            {"kind": "losses", "step": 0, "forget": 1.0, "retain": None, "target": None},
            {"kind": "losses", "step": 5, "forget": 1.5, "retain": None, "target": None},
        ):
            file.write(json.dumps(event) + "\n")
    for place in ("/run", "/run/part"):
        text = client.get(place, params={"id": run.id}).text
        assert 'hx-trigger="every 1s"' in text
        assert 'value="3"' in text
        assert "<polyline" in text
        assert "Stop, keep the best step" in text
        assert "begun slow &lt;img src=x&gt;" in text
        assert ("hx-swap-oob" in text) == (place == "/run/part")
        for bad in ("<script>alert", "<b>said", "<i>task", "<img"):
            assert bad not in text
        assert 'style="' not in text
    assert "&lt;script&gt;alert(1)" in client.get("/runs").text
    text = client.post("/run/stop", params={"id": run.id}).text
    assert "It was asked to stop" in text
    assert "run-stop" not in text
    refused = client.post("/run/go-on", params={"id": run.id}, headers={"hx-request": "true"})
    assert (refused.status_code, "one writes at a time" in refused.text) == (409, True)
    Path("go").touch()
    ended(processes, run)
    text = client.get("/run/part", params={"id": run.id}).text
    assert "every 1s" not in text
    assert "The run is over: done." in text
    assert 'href="/evidence/request?id=a%26b"' in text
    assert "tag state good" in client.get("/runs").text


def test_a_cancelled_run_goes_on_from_its_page(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = client.workspace.processes.start("It", [["slow"]], about={})
    begun()
    time.sleep(0.1)
    client.post("/run/cancel", params={"id": run.id})
    ended(client.workspace.processes, run)
    assert "Go on" in client.get("/run", params={"id": run.id}).text
    Path("go").touch()
    assert client.post("/run/go-on", params={"id": run.id}).status_code == 200
    assert ended(client.workspace.processes, run).state == "done"


def test_only_its_own_pages_may_ask(client):
    other = TestClient(client.app, base_url=ADDRESS, headers={"Origin": "http://evil.example"})
    assert other.post("/run/cancel", params={"id": "x"}).status_code == 403
    assert client.get("/run", params={"id": "../../etc"}).status_code == 400
