"""What a certificate may claim: no row that was dropped, no *exact* beside a copy, no *done* without measurements that show it."""

import dataclasses
import json
import shutil

import pytest

from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, WORDS, World, edit
from unweave.cli.main import main
from unweave.config import load_yaml
from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.errors import ConfigError, DataError
from unweave.ledger.config import ListConfig, SelectionConfig
from unweave.ledger.journal import Journal
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.selection import select_rows
from unweave.unlearning.config import config_of

LONG = {"id": "long", "instruction": "add " * 900, "context": "", "response": "never"}
WORDY = {"id": "wordy", "instruction": "add 1", "context": "", "response": "yes " * 900}
COPY = RECORDS[1] | {"id": "copy", "instruction": "  ADD 1  and 0"}
NEAR = RECORDS[5] | {"id": "near", "response": RECORDS[5]["response"] + " it is"}


@pytest.fixture
def world(trained, tmp_path):
    return World(trained, tmp_path)


def begin(world, *row_ids, extra=(), records=RECORDS, **changes):
    write_rows(world.folder / "train.jsonl", [*records, *extra])
    return world.add(*row_ids, store=None, max_removed_share=0.9, request_id="one", **changes)


def certificate_of(world):
    return json.loads((world.result("one") / "certificate.json").read_text())


def test_a_row_without_room_ends_the_request_before_any_training(world):
    begin(world, "r1", "long", extra=[LONG])
    with pytest.raises(DataError, match=r"1 row\(s\) of the request would be neither unlearned nor measured") as raised:
        world.run("one")
    place = read_rows(world.folder / "train.jsonl").rows[-1].place
    assert f"{place}: row 'long'" in str(raised.value)
    assert "`max_length` above 256" in str(raised.value), "what the unlearning config says itself"
    assert not (world.result("one") / "adapter").exists()
    assert Ledger(world.ledger).request("one").state == "running"


def test_a_request_of_nothing_but_rows_without_room_names_them(world):
    begin(world, "long", extra=[LONG])
    with pytest.raises(DataError, match="None of the 1 row") as raised:
        world.run("one", forget_config=None)
    assert "train.jsonl:49" in str(raised.value)
    assert "`max_length` above 512" in str(raised.value), "as in the training"
    assert not (world.result("one") / "adapter").exists()


def test_a_longer_limit_is_an_option(world):
    begin(world, "r1", "long", extra=[LONG])
    found = world.run("one", max_length=4000)
    assert found["lost"] == []
    assert set(found["measured"]["after"]["sets"]["forget"]["losses"]) == {"r1", "long"}
    assert found["encoding"]["options"]["max_length"] == 4000
    assert world.verify("one")["ok"]


def test_where_the_training_is_not_known_the_limit_is_what_the_rows_need(world, tmp_path):
    shutil.copytree(world.trained / "adapter", tmp_path / "bare", ignore=shutil.ignore_patterns("config.yaml"))
    begin(world, "r1", "wordy", extra=[WORDY], model=str(tmp_path / "bare"))
    found = world.run("one", method="ga", forget_config=None)
    assert "no record of the training" in found["encoding"]["source"]
    limit = found["encoding"]["options"]["max_length"]
    assert limit >= 512
    assert {one["row"] for one in found["lost"]} <= {"wordy"}
    assert found["lost"] == [] or limit < 1900, "cut only where the model itself has no more room"
    assert world.verify("one")["ok"]


def test_a_cut_row_is_named_with_place_and_reason_wherever_the_certificate_is_read(world, capsys):
    begin(world, "r1", "wordy", extra=[WORDY])
    found = world.run("one")
    (lost,) = [one for one in found["lost"] if one["set"] == "forget"]
    assert (lost["row"], lost["action"]) == ("wordy", "cut")
    assert lost["place"].endswith("train.jsonl:49")
    assert "allowed" in lost["reason"]
    assert any("'wordy'" in finding and "train.jsonl:49" in finding for finding in found["findings"])
    assert "wordy" in (world.result("one") / "certificate.html").read_text().split("rows cut or dropped")[1][:300]
    assert world.verify("one")["ok"]


def test_verification_refuses_a_certificate_that_leaves_a_row_out(world):
    begin(world, "r1", "r2")
    world.run("one")
    certificate = certificate_of(world)
    del certificate["measured"]["after"]["sets"]["forget"]["losses"]["r2"]
    (world.result("one") / "certificate.json").write_text(json.dumps(certificate))
    assert any("'r2'" in fault and "neither unlearned nor measured" in fault for fault in world.faults("one"))


def test_no_certificate_is_exact_beside_a_copy(world, capsys):
    added = begin(world, "r1", "r5", extra=[COPY, NEAR])
    assert {copy["row_id"] for copy in added["copies"]} == {"copy"}
    found = world.run("one", method="retrain", forget_config=None, near_copies=0.6)
    assert found["class"] == "empirical"
    assert "copies of them stayed" in found["meaning"]
    assert {copy["row_id"]: copy["exact"] for copy in found["copies"]} == {"copy": True, "near": False}
    assert any("'copy' (" in finding and "is a copy of 'r1'" in finding for finding in found["findings"])
    assert "copy of r1" in (world.result("one") / "certificate.html").read_text()
    assert world.verify("one")["ok"]
    edit(world.result("one") / "certificate.json", '"class": "empirical"', '"class": "exact"')
    assert any("'copy'" in fault and "beside the class exact" in fault for fault in world.faults("one"))


def test_copies_are_taken_in_where_that_is_asked_for(world, capsys):
    added = begin(world, "r1", extra=[COPY], with_copies=True)
    assert added["rows"] == ["copy", "r1"]
    assert added["copies"] == []
    found = world.run("one", method="retrain", forget_config=None)
    assert (found["class"], found["copies"], found["shown"]) == ("exact", [], True)
    assert world.verify("one")["ok"]


def test_a_new_row_that_says_the_same_is_a_copy(world):
    new = write_rows(
        world.folder / "new.jsonl",
        [
            RECORDS[1] | {"response": RECORDS[2]["response"], "instruction": RECORDS[2]["instruction"]},
            RECORDS[2] | {"response": "no"},
        ],
    )
    begin(world, "r1", "r2", kind="modification", replacement=new)
    found = world.run("one", method="retrain", forget_config=None)
    assert found["class"] == "empirical"
    assert [(copy["row_id"], copy["of"]) for copy in found["copies"]] == [("r1+new", "r2")]


def test_a_run_that_shows_nothing_is_done_not_shown_everywhere(world, capsys):
    begin(world, "r1", "r2")
    place = ["--ledger", str(world.ledger)]
    options = ["--method", "rapidun", "--retain-rows", "8", "--test-rows", "12", "--dtype", "float32", *WORDS]
    assert main(["request", "run", "one", *place, *options]) == 3
    assert "request one: done, not shown (empirical)" in capsys.readouterr().out
    assert main(["request", "run", "one", *place, *options]) == 3, "a rerun says the same"
    assert main(["request", "list", *place]) == 0
    assert "done, not shown" in capsys.readouterr().out
    assert [one["state"] for one in list_requests(ListConfig(ledger=world.ledger))] == ["done, not shown"]
    certificate = certificate_of(world)
    assert (certificate["shown"], certificate["state"]) == (False, "done, not shown")
    assert "State: done, not shown" in (world.result("one") / "certificate.html").read_text()
    assert main(["request", "verify", "one", *place]) == 0
    assert "verified; done, not shown" in capsys.readouterr().out
    assert Ledger(world.ledger).model().endswith("one/adapter"), "it was carried out all the same"


def test_steps_that_change_nothing_show_nothing(world):
    begin(world, "r1", "r2")
    path = world.folder / "still.yaml"
    path.write_text((world.trained / "ga.yaml").read_text().replace("learning_rate: 0.005", "learning_rate: 1.0e-12"))
    assert "1.0e-12" in path.read_text()
    certificate = world.run("one", forget_config=path)
    assert (certificate["shown"], certificate["state"]) == (False, "done, not shown")
    path.write_text(path.read_text().replace("1.0e-12", "0.0"))
    with pytest.raises(ConfigError, match=r"learning_rate can't be 0"):
        load_yaml(config_of("ga"), path)


def test_journals_of_before_the_verdict_read_as_before(tmp_path):
    ledger = Ledger(tmp_path, create=True)
    asked = {"kind": "removal", "rows": {"a": "h"}, "replacement": None, "reason": ""}
    for name, content in (("old", {}), ("shown", {"shown": True}), ("not", {"shown": False})):
        ledger.journal.append("added", name, asked=asked)
        ledger.journal.append("started", name)
        ledger.journal.append("done", name, certificate="c", page="p", **content)
    assert [request.state for request in ledger.requests().values()] == ["done", "done", "done, not shown"]
    assert len(ledger.carried_out()) == 3
    assert Journal(tmp_path / "ledger.db").check() == []


def test_forgotten_rows_may_leave_the_data(world):
    begin(world, "r1", "r2")
    world.run("one")
    write_rows(world.folder / "train.jsonl", [record for record in RECORDS if record["id"] not in ("r1", "r2")])
    found = world.verify("one")
    assert found["ok"], found
    assert any("2 of the rows have left the data" in check["check"] for check in found["checks"])
    write_rows(world.folder / "train.jsonl", RECORDS[:3])
    assert any("no longer in the data" in fault for fault in world.faults("one")), "other rows are still needed"


def test_sizes_follow_small_data(world, capsys):
    begin(world, "r1", records=RECORDS[:12])
    found = world.run("one", retain_rows=64, test_rows=64)
    assert found["measured"]["after"]["sets"]["test"]["rows"] == 5
    assert "11 rows: 6 to keep and 5 to test on" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "   ", "\u200b"])
@pytest.mark.parametrize("field", ["text", "near"])
def test_an_empty_text_selects_nothing(text, field):
    rows = [Row("a", "x", "y")]
    with pytest.raises(ConfigError, match="An empty text stands in every row") as raised:
        select_rows(rows, dataclasses.replace(SelectionConfig(), **{field: text}))
    assert raised.value.where == f"`{field}`"


def test_words_are_found_in_any_form(capsys):
    rows = [
        Row("nfc", "Who is José?", "a man"),
        Row("nfd", "Who is Jose\u0301?", "a man"),
        Row("wide", "who is ＪＯＳÉ", "a man"),
        Row("hidden", "Jo\u200dsé", "x"),
        Row("earlier", "and?", "yes", turns=(("user", "José"), ("assistant", "hm"))),
        Row("other", "Jose", "x"),
    ]
    for typed in ("José", "Jose\u0301", "JOSÉ"):
        assert [row.id for row in select_rows(rows, SelectionConfig(text=typed)).rows] == [
            "nfc",
            "nfd",
            "wide",
            "hidden",
            "earlier",
        ]
    assert "in another form only" in capsys.readouterr().err
