"""The ledger: what it refuses, what survives kill -9 at every step, two processes at once, and what verification finds."""

import dataclasses
import json
import shlex
import shutil
import signal
import sqlite3

import pytest
from safetensors.torch import load_file, save_file

from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, WORDS, World, cached_in, edit, put_back
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.data.reading import read_rows
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError, StoreError
from unweave.ledger.config import ListConfig, SelectionConfig, UndoConfig
from unweave.ledger.job import Job
from unweave.ledger.journal import Journal
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.near import near_rows
from unweave.ledger.run import STEPS, run_request
from unweave.ledger.selection import select_rows
from unweave.ledger.undoing import roll_back
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.private import Privacy, write_privacy
from unweave.train.sft import fine_tune

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cached(trained, tmp_path_factory):
    return cached_in(tmp_path_factory.mktemp("cached"), trained)


@pytest.fixture
def world(trained, cached, tmp_path):
    """The rows, a store of them, and how to add and run requests on a new ledger."""
    return World(trained, shutil.copytree(cached, tmp_path, dirs_exist_ok=True))


@pytest.fixture(scope="module")
def carried_out(trained, cached, tmp_path_factory):
    """A ledger in which the request `one` is done, of a model in the same folder, and a copy of all that."""
    folder = tmp_path_factory.mktemp("done")
    world = World(trained, shutil.copytree(cached, folder / "world"))
    world.base, world.adapter = world.folder / "base", world.folder / "adapter"
    for name in ("base", "adapter"):
        shutil.copytree(trained / name, world.folder / name)
    edit(world.adapter / "adapter_config.json", str(trained / "base"), str(world.base))
    world.add("r1", "r2", request_id="one", model=str(world.adapter))
    world.run("one")
    assert world.verify("one")["ok"]
    return world, shutil.copytree(world.folder, folder / "copy")


@pytest.fixture
def done(carried_out):
    with put_back(carried_out) as world:
        yield world


def test_a_request_from_the_command_line_to_its_proof(world, capsys):
    place = ["--ledger", str(world.ledger)]
    made = [
        "--data",
        str(world.folder / "train.jsonl"),
        "--model",
        str(world.trained / "adapter"),
        "--store",
        str(world.folder / "store"),
    ]
    assert (
        main(
            [
                "request",
                "add",
                *place,
                *made,
                "--where",
                "owner",
                "bob",
                "--text",
                "add 2",
                "--yes",
                "--reason",
                "withdrawn",
                "--request-id",
                "one",
            ]
        )
        == 0
    )
    assert "request one: 2 row(s), removal" in capsys.readouterr().out
    options = [
        "--method",
        "ga",
        "--forget-config",
        str(world.trained / "ga.yaml"),
        "--retain-rows",
        "8",
        "--test-rows",
        "12",
        "--dtype",
        "float32",
        *WORDS,
    ]
    assert main(["request", "run", "one", *place, *options, "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)
    assert certificate["class"] == "empirical"
    assert certificate["request"]["reason"] == "withdrawn"
    assert set(certificate["request"]["rows"]) == {"r12", "r32"}
    assert (
        certificate["measured"]["after"]["sets"]["forget"]["perplexity"]
        > certificate["measured"]["before"]["sets"]["forget"]["perplexity"]
    )
    assert any("membership" in item for item in certificate["not_measured"])
    assert main(["request", "verify", "one", *place]) == 0
    assert "request one: verified" in capsys.readouterr().out
    assert main(["request", "list", *place, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["id"], one["state"], one["class"]) for one in listed] == [("one", "done", "empirical")]
    page = (world.result("one") / "certificate.html").read_text()
    assert "withdrawn" in page
    assert "<script" not in page
    # The ledger keeps no text of what was forgotten.
    for path in world.ledger.rglob("*"):
        if path.is_file():
            assert b"add 2 and" not in path.read_bytes(), path
    assert not (world.result("one") / "work").exists()


def test_the_rows_leave_the_gradient_store(done):
    store = GradientStore.open(done.folder / "store")
    assert len(store.row_ids()) == 46
    assert not {"r1", "r2"} & store.names()
    assert not list((done.folder / "store" / "deletions").glob("*.json")), "compacted: the sketches are off the disk"


def test_the_same_request_twice_does_nothing(world, done):
    first, again = world.add("r1", "r2"), world.add("r2", "r1")
    assert (first["added"], again["added"]) == (True, False)
    assert first["id"] == again["id"]
    events, files = world_state(done)
    assert done.run("one")["request"]["id"] == "one"
    assert world_state(done) == (events, files)


def world_state(world):
    files = {
        path: path.stat().st_mtime_ns
        for path in world.ledger.rglob("*")
        if path.is_file() and path.suffix not in (".db", ".lock")
    }
    return len(Journal(world.ledger / "ledger.db").events()), files


def test_unknown_rows_and_overlaps_are_errors(world):
    with pytest.raises(DataError, match="such as 'r99'"):
        world.add("r1", "r99")
    with pytest.raises(DataError, match="one of the 48 there are, such as r0, r1, r10"):
        world.add("nothing like it")
    assert not world.ledger.exists(), "nothing was added"
    world.add("r1", request_id="one")
    with pytest.raises(DataError, match="in the request 'one' already"):
        world.add("r1", "r3")
    with pytest.raises(DataError, match="another request 'one'"):
        world.add("r4", request_id="one")
    with pytest.raises(DataError, match="no request 'two'"):
        world.run("two")
    with pytest.raises(ConfigError, match="is about data"):
        world.add("r5", data=world.trained / "train.jsonl")
    with pytest.raises(DataError, match="nothing to verify"):
        world.verify("one")
    with pytest.raises(DataError, match="no ledger here"):
        list_requests(ListConfig(ledger=world.folder / "nowhere"))


def test_rows_that_changed_or_left_are_not_forgotten_silently(world):
    world.add("r1", request_id="one")
    changed = [record | ({"response": "other"} if record["id"] == "r1" else {}) for record in RECORDS]
    write_rows(world.folder / "train.jsonl", changed)
    with pytest.raises(DataError, match="'r1' has changed"):
        world.run("one")
    write_rows(world.folder / "train.jsonl", RECORDS[2:])
    with pytest.raises(DataError, match="'r1' is no longer in the data"):
        world.run("one")


def test_selection_by_field_text_and_near_duplicates(world):
    rows = read_rows(world.folder / "train.jsonl").rows
    by_owner = select_rows(rows, SelectionConfig(where={"owner": "bob"})).rows
    assert len(by_owner) == 12
    both = select_rows(rows, SelectionConfig(where={"owner": "bob"}, text="ADD 0")).rows
    assert {row.id for row in both} == {"r0", "r20", "r40"}
    near = near_rows(rows, rows[7].user_text + "\n" + rows[7].completion, method="minhash", similarity=0.9)
    assert near["r7"] == ("minhash", 1.0)
    assert len(near) < 5
    for config, message in (
        (SelectionConfig(), "needs rows"),
        (SelectionConfig(where={"ownr": "bob"}), "'ownr'"),
        (SelectionConfig(text="zebra"), "No row matches"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            select_rows(rows, config)


def test_minhash_estimates_the_jaccard_similarity():
    from unweave.data.rows import Row

    one, two = "abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz9876543210"
    shingles = [
        {text[start : start + 5] for start in range(len(text) - 4)} for text in (f"\n{one}".strip(), f"\n{two}".strip())
    ]
    truth = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
    found = near_rows([Row("x", "", one)], two, method="minhash", similarity=0.0)["x"][1]
    assert found == pytest.approx(truth, abs=3 / 16)


def test_corrections_and_modifications(world):
    new = write_rows(world.folder / "new.jsonl", [RECORDS[3] | {"response": "no"}])
    world.add("r3", kind="correction", replacement=new, request_id="fix")
    after = world.run("fix", method="rapidun", forget_config=None)["measured"]
    assert after["after"]["sets"]["replacement"]["rows"] == 1
    changed = write_rows(world.folder / "moved.jsonl", [RECORDS[4] | {"instruction": "hello"}])
    world.add("r4", kind="modification", replacement=changed, request_id="move")
    world.run("move", method="rapidun", forget_config=None)
    assert world.verify("move")["ok"]
    for kind, replacement, message in (
        ("correction", None, "needs new rows"),
        ("removal", new, "takes no new rows"),
        ("correction", changed, "in one of the two only"),
        ("correction", write_rows(world.folder / "q.jsonl", [RECORDS[5] | {"instruction": "hello"}]), "not the prompt"),
        ("correction", write_rows(world.folder / "s.jsonl", [RECORDS[5]]), "is the old one"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            world.add("r5", kind=kind, replacement=replacement)
    third = write_rows(world.folder / "third.jsonl", [RECORDS[6] | {"response": "no"}])
    world.add("r6", kind="correction", replacement=third, request_id="third")
    write_rows(third, [RECORDS[6] | {"response": "yes"}])
    with pytest.raises(DataError, match="new rows have changed"):
        world.run("third", method="rapidun", forget_config=None)


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("npo", "correction"),
        ("llmeraser", "correction"),
        ("llmeraser", "modification"),
        ("retrain", "correction"),
        ("ga", "correction"),
    ],
)
def test_a_request_by_every_method_that_can_express_it(world, method, kind):
    asked = {"instruction": "say it"} if kind == "modification" else {}
    records = [RECORDS[3] | asked | {"response": "no"}, RECORDS[5] | asked | {"response": "moon"}]
    new = write_rows(world.folder / "new.jsonl", records)
    world.add("r3", "r5", kind=kind, replacement=new, request_id="fix")
    if method == "ga":
        with pytest.raises(ConfigError, match="'ga' can't express a correction"):
            world.run("fix")
        return
    certificate = world.run("fix", method=method, forget_config=None, margin=50.0)
    sets = {side: certificate["measured"][side]["sets"]["replacement"] for side in ("before", "after")}
    assert sets["after"]["perplexity"] < sets["before"]["perplexity"], "the new answers became likelier"
    assert world.verify("fix")["ok"]


def test_retraining_is_exact_and_says_so(done, tmp_path):
    world = done
    world.add("r3", request_id="two")
    certificate = world.run("two", method="retrain", forget_config=None)
    assert certificate["class"] == "exact"
    kept = write_rows(tmp_path / "kept.jsonl", [record for record in RECORDS if record["id"] not in ("r1", "r2", "r3")])
    direct = fine_tune(
        TrainConfig(
            model=str(world.trained / "base"), data=kept, output_dir=tmp_path / "direct", epochs=4, batch_size=8, learning_rate=5e-3, lora_r=4,
            dtype="float32",
        )
    )  # fmt: skip
    own, other = (
        load_file(folder / "adapter_model.safetensors") for folder in (world.result("two") / "adapter", direct.folder)
    )
    assert own.keys() == other.keys()
    assert all((own[name] == other[name]).all() for name in own), (
        "the same as training without the rows of both requests"
    )
    assert world.verify("two")["ok"]


def test_a_guarantee_of_private_training_is_in_the_certificate(world):
    write_privacy(world.trained / "adapter", Privacy(2.0, 1e-4, 1.1, 1.0, 0.1, 20, 60))
    world.add("r1", "r2", request_id="one")
    try:
        certificate = world.run("one", method="dp2", forget_config=None)
    finally:
        (world.trained / "adapter" / "privacy.json").unlink()
    assert certificate["class"] == "DP"
    assert certificate["method"]["guarantee"]["epsilon"] == 2.0
    assert certificate["method"]["guarantee"]["group_epsilon"] == 4.0
    assert "4," in (world.result("one") / "certificate.html").read_text().split("together:")[1][:20]


def test_weights_need_a_store_that_holds_the_rows(world):
    world.add("r1", "r2", request_id="one")
    certificate = world.run("one", weights="rapidun")
    assert (world.result("one") / "forget_weights.jsonl").is_file()
    assert certificate["method"]["options"]["weights"] == "rapidun"
    world.add("r3", request_id="two")
    store = GradientStore.open(world.folder / "store")
    with store.writing():
        store.delete(["r3"])
    with pytest.raises(StoreError, match="such as 'r3'"):
        world.run("two", weights="rapidun")
    world.run("two")


def test_sequential_requests_build_on_each_other_and_roll_back_in_order(done):
    world = done
    world.add("r3", request_id="two")
    world.run("two")
    ledger = Ledger(world.ledger)
    assert ledger.model() == str(world.result("two") / "adapter")
    certificate = json.loads((world.result("two") / "certificate.json").read_text())
    assert certificate["model"]["before"]["model"] == str(world.result("one") / "adapter")
    assert list(certificate["ledger"]["requests_before"]) == ["one"]
    with pytest.raises(DataError, match="roll 'two' back first"):
        roll_back(UndoConfig(request="one", ledger=world.ledger))
    found = roll_back(UndoConfig(request="two", ledger=world.ledger, reason="mistake"))
    assert found["model"] == str(world.result("one") / "adapter")
    assert found["rows_to_cache_again"] == ["r3"]
    assert [one["state"] for one in list_requests(ListConfig(ledger=world.ledger))] == ["done", "rolled back"]
    with pytest.raises(DataError, match="rolled back"):
        world.run("two")
    assert world.add("r3", request_id="again")["added"]
    assert world.run("again")["model"]["before"]["model"] == str(world.result("one") / "adapter")


def test_the_drift_budget_says_when_to_retrain(world):
    world.add(*(f"r{i}" for i in range(10)), request_id="many")
    certificate = world.run("many")
    assert certificate["drift"]["retraining_due"]
    assert "20.8% of the rows" in certificate["drift"]["reason"]
    world.add("r20", request_id="next")
    with pytest.raises(ConfigError, match="drift budget is used up"):
        world.run("next")
    assert world.run("next", method="retrain", forget_config=None)["drift"]["retraining_due"] is False


def test_a_replay_gives_the_same_adapter(world, tmp_path):
    world.add("r1", "r2", request_id="one")
    world.run("one", weights="rapidun")
    events = len(Ledger(world.ledger).journal.events())
    assert world.run("one", replay=tmp_path / "replay")["same"]
    assert len(Ledger(world.ledger).journal.events()) == events
    with pytest.raises(ConfigError, match="not empty"):
        world.run("one", replay=tmp_path / "replay")
    # Later requests change which rows are kept and tested on; a replay sees the ledger as it was.
    world.add("r3", "r4", "r5", "r6", request_id="two")
    world.run("two", method="retrain", forget_config=None)
    world.add("r7", request_id="three")
    assert world.run("one", replay=tmp_path / "later")["same"]
    assert world.run("two", replay=tmp_path / "exact")["same"]


def test_a_run_that_forgot_nothing_is_not_certified_as_forgetting(world):
    world.add("r1", "r2", request_id="one")
    certificate = world.run("one", method="rapidun", forget_config=None)
    assert "does not show that they were forgotten" in certificate["findings"][0]
    assert "does not show" in (world.result("one") / "certificate.html").read_text()


# What a verification must find.

TAMPERING = {
    "the certificate": (lambda world: edit(world.result("one") / "certificate.json", "empirical", "exact"), "differs from the journal"),
    "the page": (lambda world: edit(world.result("one") / "certificate.html", "empirical", "exact"), "differs from the journal"),
    "the adapter": (lambda world: nudge(world.result("one") / "adapter/adapter_model.safetensors"), "differs"),
    "a missing adapter": (lambda world: (world.result("one") / "adapter/adapter_model.safetensors").unlink(), "missing"),
    "the model before": (lambda world: nudge(world.adapter / "adapter_model.safetensors"), "differs or is missing"),
    "the base": (lambda world: nudge(world.base / "model.safetensors"), "differs or is missing"),
    "the measurements": (lambda world: edit(world.result("one") / "measured.after.json", "probability", "probabilit"), "differs from the journal"),
    "an event": (lambda world: sql(world, "UPDATE events SET content = replace(content, 'ga', 'xx') WHERE kind = 'started'"), "was changed after"),
    "a lost event": (lambda world: sql(world, "DELETE FROM events WHERE number = 3"), "event 3 of the journal is missing"),
    "the triggers": (lambda world: sql(world, "SELECT 1"), "lost its protection"),
    "the data": (lambda world: write_rows(world.folder / "train.jsonl", [RECORDS[0], RECORDS[1] | {"response": "red"}, *RECORDS[2:]]), "r1"),
    "a row that came back": (lambda world: recache(world), "'r1' is in"),
}  # fmt: skip


def nudge(path):
    tensors = load_file(path)
    first = next(iter(tensors))
    tensors[first] = tensors[first] + 0.5
    save_file(tensors, path, metadata={"format": "pt"})


def sql(world, statement):
    """What someone with the file in his hands can do: drop the triggers, then anything."""
    with sqlite3.connect(world.ledger / "ledger.db") as connection:
        connection.execute("DROP TRIGGER no_update")
        connection.execute("DROP TRIGGER no_delete")
        connection.execute(statement)


def recache(world):
    cache_rows(
        CacheConfig(model=str(world.adapter), data=world.folder / "train.jsonl", store=world.folder / "store", dimension=64, dtype="float32")
    )  # fmt: skip


@pytest.mark.parametrize("what", TAMPERING)
def test_verification_finds_tampering(done, what):
    tamper, message = TAMPERING[what]
    tamper(done)
    faults = done.faults("one")
    assert any(message in fault for fault in faults), faults
    assert main(["request", "verify", "one", "--ledger", str(done.ledger)]) == 1


def test_a_cut_tail_is_found_by_the_certificate(done):
    hashes = [event.hash for event in Journal(done.ledger / "ledger.db").events()]
    certificate = json.loads((done.result("one") / "certificate.json").read_text())
    assert certificate["ledger"]["event"] == hashes[-3], "the event before 'certified' and 'done'"


def test_the_journal_refuses_to_be_changed(tmp_path):
    journal = Journal(tmp_path / "j.db")
    journal.append("created", data="x")
    with sqlite3.connect(tmp_path / "j.db") as connection:
        for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    assert journal.check() == []
    (tmp_path / "bad.db").write_bytes(b"this is no database at all, only some bytes" * 40)
    with pytest.raises(DataError, match="can't be used"):
        Journal(tmp_path / "bad.db").events()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("database or disk is full", "free some space"),
        ("attempt to write a readonly database", "permissions"),
        ("database is locked", "wait"),
        ("database disk image is malformed", "backup"),
    ],
)
def test_a_ledger_that_can_not_be_written_to_is_not_told_to_be_broken(tmp_path, monkeypatch, said, remedy):
    def fails(*_, **__):
        raise sqlite3.OperationalError(said)

    journal = Journal(tmp_path / "j.db")
    monkeypatch.setattr(sqlite3, "connect", fails)
    with pytest.raises(DataError, match=said) as raised:
        journal.append("created")
    assert remedy in raised.value.remedy


# Kills. The child stops itself with SIGKILL right before or right after the event of a step is written.

STOPPING = """
import os, signal
from unweave.ledger import journal
kind, when = run
append = journal.Journal.append_if
def stopping(self, condition, event, request="", **content):
    here = (content.get("step") if event == "step" else event) == kind
    if here and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    made = append(self, condition, event, request, **content)
    if here and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return made
journal.Journal.append_if = stopping
"""


def arguments(world):
    options = [
        "--method",
        "ga",
        "--forget-config",
        world.trained / "ga.yaml",
        "--retain-rows",
        "8",
        "--test-rows",
        "12",
        "--dtype",
        "float32",
        *WORDS,
    ]
    return [str(word) for word in ("request", "run", "one", "--ledger", world.ledger, *options, "--json")]


def killed_at(forks, world, kind, when):
    return forks.run(shlex.join(arguments(world)), folder=world.folder, before=f"run = {(kind, when)!r}\n{STOPPING}")


def test_kill_nine_at_a_step_is_resumed(world, forks, exhaustive):
    """One request is killed right before or right after its events in turn, each time going on, and ends as if nothing had happened."""
    world.add("r1", "r2", request_id="one")
    # Every order of both, at every step, is in test_states.py, with steps that cost nothing: here they are real, and those that change a folder.
    events = ("started", *STEPS, "done") if exhaustive else ("prepared", "forgotten", "store cleaned", "done")
    kills = [(kind, ("before", "after")[place % 2]) for place, kind in enumerate(events)]
    ended = [killed_at(forks, world, *kill) for kill in kills]
    assert [one.code for one in ended] == [-signal.SIGKILL] * len(kills), ended[-1].errors
    final = forks.run(shlex.join(arguments(world)), folder=world.folder)
    assert final.code == 0, final.errors
    assert "nothing to do" in final.errors
    assert world.verify("one")["ok"]
    kinds = [event.content.get("step", event.kind) for event in Ledger(world.ledger).request("one").events]
    assert kinds == ["added", "started", *STEPS, "done"], "no step was recorded twice"
    assert not {"r1", "r2"} & GradientStore.open(world.folder / "store").names()
    assert not (world.result("one") / "work").exists()
    other = dataclasses.replace(world.config("one"), replay=world.folder / "replay")
    assert run_request(other)["same"], "the adapter is the one of an undisturbed run"


def test_two_processes_at_once(world, forks):
    """Of two that run the same request one does the work; the other is refused, or finds it done."""
    world.add("r1", "r2", request_id="one")
    pair = forks.together(*[shlex.join(arguments(world))] * 2, folder=world.folder)
    assert 0 in [ended.code for ended in pair], pair
    for ended in pair:
        assert ended.code == 0 or "Another process is at work" in ended.errors
    kinds = [event.content.get("step", event.kind) for event in Ledger(world.ledger).request("one").events]
    assert kinds == ["added", "started", *STEPS, "done"]
    assert world.verify("one")["ok"]


ADDER = """
import sys
from pathlib import Path
from unweave.ledger.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(20):
    journal.append("added", f"{sys.argv[2]}{number}", n=number)
"""


def test_many_writers_leave_one_chain(tmp_path, forks):
    Journal(tmp_path / "j.db")
    writers = forks.programs(*((ADDER, tmp_path / "j.db", name) for name in "abc"), folder=tmp_path)
    assert [writer.code for writer in writers] == [0, 0, 0]
    journal = Journal(tmp_path / "j.db")
    assert len(journal.events()) == 60
    assert journal.check() == []


def test_a_run_with_other_options_starts_over(world, forks):
    world.add("r1", "r2", request_id="one")
    ended = killed_at(forks, world, "forgotten", "after")
    assert ended.code == -signal.SIGKILL
    assert Ledger(world.ledger).request("one").state == "running"
    world.run("one", seed=5)
    kinds = [event.content.get("step", event.kind) for event in Ledger(world.ledger).request("one").events]
    assert kinds.count("started") == 2
    assert world.verify("one")["ok"]


@pytest.mark.parametrize("name", ["holdout.jsonl", "train.jsonl", "ga.yaml", "adapter/adapter_model.safetensors"])
def test_an_attempt_is_known_by_what_it_reads(world, name):
    shutil.copy(world.trained / "ga.yaml", world.folder)
    shutil.copytree(world.trained / "adapter", world.folder / "adapter")
    write_rows(world.folder / "holdout.jsonl")
    world.add("r1", request_id="one", model=str(world.folder / "adapter"))
    ledger = Ledger(world.ledger)
    config = world.config("one", holdout=world.folder / "holdout.jsonl", forget_config=world.folder / "ga.yaml")

    def started():
        return Job(ledger, ledger.request("one"), config, world.result("one"), ledger.model()).started

    first, path = started(), world.folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    assert started() != first
    path.write_bytes(content)
    assert started() == first
