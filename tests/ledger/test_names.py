"""Ids of requests: names and never paths, whoever wrote them into the journal."""

import pytest

from tests.folders import write_rows
from unweave.cli.main import main
from unweave.errors import ConfigError, DataError
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, ListConfig, RunConfig, UndoConfig, VerifyConfig
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.run import run_request
from unweave.ledger.undoing import roll_back
from unweave.ledger.verify import verify_request

ROWS = [{"id": f"r{i}", "instruction": f"add {i}", "context": "", "response": f"{i} yes"} for i in range(9)]


@pytest.fixture
def options(tmp_path):
    return {"ledger": tmp_path / "ledger", "data": write_rows(tmp_path / "rows.jsonl", ROWS), "model": "some/model"}


@pytest.mark.parametrize("name", ["..", ".", "", "/tmp/precious", "../../precious", "a/b", "-rf", "nul", "a\x1b[2J"])
def test_a_path_is_no_id_and_leaves_nothing_behind(options, name, capsys):
    with pytest.raises(ConfigError, match="The request's id is no name"):
        add_request(AddConfig(**options, row_ids=("r1",), request_id=name))
    assert not options["ledger"].exists()
    arguments = ["--ledger", options["ledger"], "--data", options["data"], "--model", "m", "--row-ids", "r1"]
    assert main(["request", "add", *map(str, arguments), f"--request-id={name}"]) == 2
    assert "use letters, digits" in capsys.readouterr().err


def test_an_accent_is_one_name_however_it_was_typed(options):
    assert add_request(AddConfig(**options, row_ids=("r1",), request_id="Jose\u0301"))["id"] == "José"
    ledger = Ledger(options["ledger"])
    assert ledger.request("Jose\u0301") == ledger.request("José")
    assert ledger.request_folder("José").parent == options["ledger"] / "requests"


@pytest.mark.parametrize("other", ["Ann", "ａnn"])
def test_ids_that_a_file_system_may_take_for_one(options, other):
    add_request(AddConfig(**options, row_ids=("r1",), request_id="ann"))
    with pytest.raises(DataError, match="can't be distinguished from the request 'ann'"):
        add_request(AddConfig(**options, row_ids=("r2",), request_id=other))
    assert list(Ledger(options["ledger"]).requests()) == ["ann"]


@pytest.mark.parametrize("name", ["..", "/PRECIOUS", "../../precious", "a b", "-rf"])
def test_an_old_ledger_with_a_path_is_listed_and_not_carried_out(options, tmp_path, name):
    name = name.replace("/PRECIOUS", str(tmp_path / "precious"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("thesis")
    add_request(AddConfig(**options, row_ids=("r1",), request_id="ok"))
    ledger = Ledger(options["ledger"])
    asked = {"kind": "removal", "rows": {"r2": "0" * 32}, "replacement": None, "reason": ""}
    ledger.journal.append("added", name, asked=asked)
    ledger.journal.append("started", name, config={}, before="", inputs="")
    assert [one["id"] for one in list_requests(ListConfig(ledger=options["ledger"]))] == ["ok", name]
    with pytest.raises(ConfigError, match="The request's id is"):
        run_request(RunConfig(ledger=options["ledger"], request=name))
    if name not in ("a b", "-rf"):
        ledger.journal.append("done", name, certificate="", page="", drift={"retraining_due": False})
        checks = verify_request(VerifyConfig(ledger=options["ledger"], request=name))["checks"]
        assert any("is a path" in (check["fault"] or "") for check in checks)
        with pytest.raises(ConfigError, match="is a path"):
            run_request(RunConfig(ledger=options["ledger"], request=name, replay=tmp_path / "replayed"))
        assert roll_back(UndoConfig(ledger=options["ledger"], request=name))["model"] == "some/model"
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "thesis"
    assert (options["ledger"] / "ledger.db").is_file()


def test_a_run_that_fails_leaves_no_text_and_its_request_can_be_cancelled(options, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    options["model"] = str(tmp_path / "model")
    add_request(AddConfig(**options, row_ids=("r1",), request_id="one"))
    place = ["--ledger", str(options["ledger"])]
    sizes = ["--method", "ga", "--retain-rows", "2", "--test-rows", "2"]
    assert main(["request", "run", "one", *place, *sizes]) == 1
    assert "request one: measured before" in capsys.readouterr().err, "the rows' texts were there"
    content = b"".join(path.read_bytes() for path in options["ledger"].rglob("*") if path.is_file())
    assert b"add 1" not in content
    assert not list((options["ledger"] / "requests").rglob("work"))
    assert main(["request", "cancel", "one", *place, "--reason", "a mistake", "--json"]) == 0
    assert '"state": "cancelled"' in capsys.readouterr().out
    assert not (options["ledger"] / "requests" / "one").exists()
    assert Ledger(options["ledger"]).request("one").events[-1].content["reason"] == "a mistake"
    assert main(["request", "list", *place]) == 0
    assert "cancelled" in capsys.readouterr().out
    assert main(["request", "cancel", "one", *place]) == 0, "again does nothing"
    for action in ("run", "verify", "rollback"):
        assert main(["request", action, "one", *place]) == 1
        assert "cancelled" in capsys.readouterr().err
    with pytest.raises(DataError, match="There was a request 'one' already; it is cancelled"):
        add_request(AddConfig(**options, row_ids=("r1",), request_id="one"))
    assert add_request(AddConfig(**options, row_ids=("r1",), request_id="two"))["added"]
