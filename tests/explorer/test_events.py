"""Events of a command: whole lines in a file that somebody follows, and a stop that keeps the best step."""

import json

import pytest
import torch

from tests.explorer.learned import SMALL, copy_of_learned
from unweave import events, progress
from unweave.explorer.following import Follower, Losses
from unweave.explorer.loss_chart import chart_of
from unweave.jobs.forget import forget_rows
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig
from unweave.ledger.run import run_request
from unweave.unlearning.config import config_of
from unweave.unlearning.stopping import EarlyStopping, Point


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return copy_of_learned(tmp_path_factory)


@pytest.fixture
def file(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(events.VARIABLE, str(path))
    return path


def lines(path, kind=None):
    text = path.read_text()
    assert text.endswith("\n")
    found = [json.loads(line) for line in text.splitlines()]
    return [one for one in found if kind in (None, one["kind"])]


def test_progress_and_sentences_are_written_though_nothing_is_shown(file, capsys):
    with progress.silent():
        with progress.task("cache", 3) as advance:
            for _ in range(3):
                advance(1)
        progress.say("two\nlines")
        progress.say_once("once")
        progress.say_once("once")
    assert capsys.readouterr().err == ""
    first, *_, last = lines(file, "progress")
    assert (first["what"], first["done"], first["total"], "ended" in first) == ("cache", 0, 3, False)
    assert (last["done"], last["ended"]) == (3, True)
    assert last["time"] >= first["time"] > 1e9
    assert [one["text"] for one in lines(file, "say")] == ["two\nlines", "once"]


def test_a_task_has_few_lines_and_its_end_whatever_ends_it(file):
    def fail():
        with progress.task("many", 100_000) as advance:
            for _ in range(1000):
                advance(1)
            raise ValueError("on the way")

    with progress.silent(), pytest.raises(ValueError, match="on the way"):
        fail()
    found = lines(file, "progress")
    assert len(found) < 100
    assert (found[-1]["done"], found[-1]["ended"]) == (1000, True)


def test_what_the_library_keeps_to_itself_is_no_event(file):
    with progress.gathered() as said:
        progress.say("x")
        with progress.task("y", 1) as advance:
            advance(1)
    assert said == ["x"]
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(events.VARIABLE, str(tmp_path / "no folder" / "events"))
    progress.say("still said")
    assert "still said" in capsys.readouterr().err
    monkeypatch.delenv(events.VARIABLE)
    assert not events.stop_is_asked()
    events.write("say", text="x")


def test_one_process_of_several_writes(file, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    progress.say("x")
    (file.with_name(file.name + events.STOP)).touch()
    assert not events.stop_is_asked()
    assert not file.exists()


def test_a_stop_keeps_the_best_step(file, tmp_path):
    losses = {0: 1.0, 1: 2.0, 2: 1.5}

    class Scripted(EarlyStopping):
        def _measure(self, step):
            return Point(step, losses[step], float("nan") if step == 0 else 0.5)

    model = torch.nn.Linear(1, 1)
    made = Scripted(model, [], [], folder=tmp_path, pad_token_id=0, every=1, target=9.0, max_retain_increase=9.0, fingerprint="a")  # fmt: skip
    for step in (1, 2):
        with torch.no_grad():
            model.weight.fill_(float(step))
        if step == 2:
            file.with_name(file.name + events.STOP).touch()
        assert not made.should_stop()
        made.after_step(step)
    assert made.should_stop()
    assert made.reason == "stopped by hand at step 2"
    assert made.finish(steps=2, diverged=False) == 1
    assert model.weight.item() == 1.0
    found = [(one["step"], one["forget"], one["retain"], one["target"]) for one in lines(file, "losses")]
    assert found == [(0, 1.0, None, 9.0), (1, 2.0, 0.5, 9.0), (2, 1.5, 0.5, 9.0)]


def test_a_run_ends_after_the_step_at_which_it_is_stopped(world, file, tmp_path, monkeypatch):
    asked, rows = [], (world / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "forget.jsonl").write_text("".join(rows[24:]))
    (tmp_path / "retain.jsonl").write_text("".join(rows[:24]))
    monkeypatch.setattr(events, "stop_is_asked", lambda: asked.append(0) or len(asked) == 7)
    result = forget_rows(
        config_of("graddiff")(
            model=str(world / "tuned"), forget=tmp_path / "forget.jsonl", retain=tmp_path / "retain.jsonl", output_dir=tmp_path / "out", epochs=5.0,
            batch_size=4, learning_rate=1e-4, check_every=5, check_rows=4, dtype="float32", adapter_mode="continue", max_retain_increase=9.0,
            stop_at_base=False,
        )
    )  # fmt: skip
    assert (result.stopped, result.steps) == ("stopped by hand at step 7", 7)
    assert result.planned_steps > 20
    assert [one["step"] for one in lines(file, "losses")] == [0, 5, 7]
    best = max(result.details["watched"], key=lambda point: point["forget_loss"])
    assert result.kept_step == best["step"]


def test_a_stopped_request_tries_no_more(world, file):
    ledger = world / "stopped"
    add_request(
        AddConfig(
            ledger=ledger,
            data=world / "rows.jsonl",
            model=str(world / "tuned"),
            row_ids=("p0", "p1"),
            request_id="one",
        )
    )
    file.with_name(file.name + events.STOP).touch()
    options = {**SMALL, "method": "npo", "target_loss": 90.0}
    found = run_request(RunConfig(request="one", ledger=ledger, dtype="float32", **options))
    assert found["state"] == "not forgotten"
    assert [one["reason"] for one in found["attempts"]["tried"]] == ["stopped by hand at step 1"]
    said = [one["text"] for one in lines(file, "say")]
    assert "no further attempt is begun: the request was stopped by hand" in said


def test_a_follower_reads_whole_lines_as_they_come(tmp_path):
    path = tmp_path / "events"
    follower = Follower(path)
    assert follower.progress().said == []
    one = {"kind": "progress", "what": "a", "done": 1, "total": 4, "time": 10.0}
    two = {**one, "done": 3, "time": 16.0}
    path.write_text(json.dumps(one) + "\n" + json.dumps(two)[:20])
    (task,) = follower.progress().current
    assert (task.done, task.left) == (1, None)
    path.write_text(json.dumps(one) + "\n" + json.dumps(two) + "\nnot json\n{}\n")
    (task,) = follower.progress().current
    assert (task.done, task.left) == (3, 2.0)
    with path.open("a") as file:
        file.write(json.dumps({**two, "done": 4, "ended": True}) + "\n")
    assert follower.progress().current == []


def test_what_a_resumed_attempt_says_again_is_no_other_attempt(tmp_path):
    path = tmp_path / "events"
    made = [{"kind": "losses", "step": step, "forget": step / 10, "retain": 0.1, "target": 2.0, "time": 0.0} for step in (0, 5, 10)]  # fmt: skip
    path.write_text("".join(json.dumps(one) + "\n" for one in [*made[:2], *made, made[0]]))
    assert [len(one) for one in Follower(path).progress().attempts] == [3, 1]


def test_the_chart_says_in_words_what_it_shows():
    points = [Losses(0, 1.0, 0.5, 4.0), Losses(5, 2.0, 0.25, 4.0)]
    assert chart_of(points[:1]) is None
    chart = chart_of(points)
    assert chart.words == (
        "Mean loss up to step 5, in nats a token: rows to forget from 1.00 to 2.00, rows to keep from 0.50 to 0.25; the target is 4.00"
    )
    forget, retain = chart.lines
    assert forget.points[0][1] > forget.points[1][1] > chart.target
    assert retain.points[1][1] > forget.points[1][1]
    assert [text for _, text in chart.up] == ["0", "1", "2", "3", "4"]
