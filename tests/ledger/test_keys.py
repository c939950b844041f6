"""The ledger's key: no hash in a ledger tells which text it is of, and everything that was told before is still told with the key."""

import json
import shutil
import sqlite3
from dataclasses import replace

import pytest

from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, World, cached_in
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, DataError
from unweave.files import file_digest
from unweave.ledger.config import VerifyConfig
from unweave.ledger.keys import Key, key_path, ledger_name, make_key, read_key, row_hash
from unweave.ledger.ledger import Ledger
from unweave.ledger.request import Origin
from unweave.ledger.verify import verify_request
from unweave.run.folder import rows_fingerprint
from unweave.store.store import GradientStore

NAMELESS = [{name: value for name, value in record.items() if name != "id"} for record in RECORDS]


@pytest.fixture(scope="module")
def cached(trained, tmp_path_factory):
    """Rows without ids of their own: these are hashes of their content."""
    return cached_in(tmp_path_factory.mktemp("cached"), trained, NAMELESS)


@pytest.fixture
def world(trained, cached, tmp_path):
    return World(trained, shutil.copytree(cached, tmp_path, dirs_exist_ok=True))


def all_bytes(folder):
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_key_is_made_once_for_its_owner_alone(tmp_path, capsys):
    path = tmp_path / "deep" / "ledger.key"
    key = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_key(path) == read_key(path, key.id) == key
    assert list(path.parent.iterdir()) == [path]
    assert key.secret.hex() not in repr(key)
    assert "caution" not in capsys.readouterr().err
    path.chmod(0o644)
    read_key(path)
    assert f"chmod 600 {path}" in capsys.readouterr().err


def test_hashes_depend_on_key_purpose_and_content():
    one, two = (Key(str(number), bytes([number]) * 32) for number in (1, 2))
    row = Row("r1", "in which year?", "1984")
    hashes = {
        row_hash(row, one), row_hash(row, two), row_hash(row, None), row_hash(replace(row, completion="1985"), one),
        row_hash(replace(row, id="r2"), one), one.digest("file", rows_fingerprint([row])), one.digest("row", "x"),
    }  # fmt: skip
    assert len(hashes) == 7
    assert row_hash(row, None) == rows_fingerprint([row]), "as ledgers of before there were keys have it"


def test_only_ids_that_are_hashes_get_another_name():
    key = Key("k", b"x" * 32)
    for row_id in ("r1", "0123456789abcde", "0123456789abcdeg", "keyed-0123456789abcdef"):
        assert ledger_name(row_id, key) == row_id
    for row_id in ("0123456789abcdef", "0123456789abcdef-2"):
        name = ledger_name(row_id, key)
        assert name.startswith("keyed-")
        assert row_id not in name
        assert ledger_name(name, key) == name
        assert ledger_name(row_id, None) == row_id


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"unweave ledger key": 1, "id": "x", "secret": "zz"}', '{"unweave ledger key": 1, "id": "x", "secret": "00"}'],
)  # fmt: skip
def test_a_broken_key_is_told(tmp_path, content):
    (tmp_path / "k").write_text(content)
    with pytest.raises(DataError):
        read_key(tmp_path / "k")


def test_a_key_in_the_ledger_is_refused(tmp_path, monkeypatch):
    ledger = tmp_path / "ledger"
    with pytest.raises(ConfigError, match="The key lies in the ledger"):
        key_path(ledger, ledger / "x.key")
    with pytest.raises(ConfigError, match="The key lies in the ledger"):
        key_path(ledger, tmp_path / "other" / ".." / "ledger" / "x.key")
    assert key_path(ledger, None) == tmp_path / "ledger.key"
    ledger.mkdir()
    monkeypatch.chdir(ledger)
    assert key_path(ledger.relative_to(tmp_path).parent, None) == tmp_path / "ledger.key"


def test_no_guess_fits_anything_in_the_ledger(world, capsys):
    rows = read_rows(world.folder / "train.jsonl").rows
    chosen = rows[7:9]
    added = world.add(*[row.id for row in chosen], request_id="one")
    assert added["rows"] == sorted(row.id for row in chosen), "people are told their own ids"
    world.run("one", weights="rapidun", method="rapidun", forget_config=None)
    ledger = Ledger(world.ledger)
    names = list(ledger.request("one").rows)
    assert all(name.startswith("keyed-") for name in names)
    retain = ledger.named(rows)
    guesses = {rows_fingerprint(rows), rows_fingerprint(retain), file_digest(world.folder / "train.jsonl")}
    for kept in (chosen, ledger.named(chosen)):
        guesses.add(rows_fingerprint(kept))
        guesses.add(file_digest(write_rows(world.folder / "forget.jsonl", [row.to_record() for row in kept])))
        guesses |= {rows_fingerprint([row]) for row in kept}
    guesses |= {row.id for row in rows}
    content = all_bytes(world.ledger)
    assert not [guess for guess in guesses if guess.encode() in content]
    assert names[0].encode() in content, "the ledger's own names are looked for where they are"
    stored = GradientStore.open(world.folder / "store").names()
    assert len(stored) == 46
    assert not stored & {row.id for row in chosen}
    found = world.verify("one")
    assert found["ok"], found
    write_rows(world.folder / "train.jsonl", [record for place, record in enumerate(NAMELESS) if place not in (7, 8)])
    assert world.verify("one")["ok"]
    cache_rows(
        CacheConfig(
            model=str(world.trained / "adapter"), data=write_rows(world.folder / "back.jsonl", NAMELESS[7:8]), store=world.folder / "store", dimension=64,
            dtype="float32",
        )
    )  # fmt: skip
    assert any("is in" in fault and "again" in fault for fault in world.faults("one"))


def test_without_its_key_a_ledger_is_listed_and_checked_as_far_as_that_goes(world, capsys):
    write_rows(world.folder / "train.jsonl", RECORDS)
    world.add("r1", "r2", request_id="one", store=None)
    world.run("one")
    key = world.folder / "ledger.key"
    place = ["--ledger", str(world.ledger)]
    elsewhere = world.folder / "safe.key"
    shutil.move(key, elsewhere)
    assert main(["request", "list", *place]) == 0
    for command in (["verify", "one", *place], ["add", *place, "--row-ids", "r3"]):
        assert main(["request", *command]) == 1
        told = capsys.readouterr().err
        assert "key" in told
        assert "give its file with --key" in told
    assert main(["request", "verify", "one", *place, "--key", str(elsewhere)]) == 0
    assert main(["request", "add", *place, "--row-ids", "r3", "--key", str(elsewhere), "--request-id", "two"]) == 0
    capsys.readouterr()
    assert main(["request", "verify", "one", *place, "--without-key", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert any(check["check"].startswith("not checked without the key") for check in told["checks"])
    with sqlite3.connect(world.ledger / "ledger.db") as connection:
        connection.execute("DROP TRIGGER no_update")
        connection.execute("UPDATE events SET content = replace(content, 'removal', 'Removal') WHERE kind = 'added'")
    assert not verify_request(VerifyConfig(request="one", ledger=world.ledger, without_key=True))["ok"]
    other = make_key(world.folder / "other.key")
    with pytest.raises(DataError, match=f"This is the key {other.id}"):
        verify_request(VerifyConfig(request="one", ledger=world.ledger, key=world.folder / "other.key"))


def test_a_changed_row_is_found_with_the_key(world):
    write_rows(world.folder / "train.jsonl", RECORDS)
    world.add("r1", request_id="one", store=None)
    world.run("one")
    changed = [record | ({"response": "other"} if record["id"] == "r1" else {}) for record in RECORDS]
    write_rows(world.folder / "train.jsonl", changed)
    assert any("'r1' has changed since" in fault for fault in world.faults("one"))


def test_ledgers_of_before_there_were_keys_go_on(world):
    data = write_rows(world.folder / "train.jsonl", RECORDS)
    row = read_rows(data).rows[1]
    ledger = Ledger(world.ledger, create=True)
    origin = Origin(
        str(data),
        rows_fingerprint(read_rows(data).rows),
        48,
        str(world.trained / "adapter"),
        {},
        "",
        {},
        None,
        10.0,
        0.5,
    )
    first = {name: value for name, value in origin.__dict__.items() if name not in ("key", "reading")}
    ledger.journal.append("created", **first)
    asked = {"kind": "removal", "rows": {"r1": rows_fingerprint([row])}, "replacement": None, "reason": ""}
    ledger.journal.append("added", "one", asked=asked, replacement_rows=None)
    world.run("one")
    assert world.verify("one")["ok"]
    world.add("r2", request_id="two")
    assert Ledger(world.ledger).request("two").rows == {"r2": rows_fingerprint([read_rows(data).rows[2]])}
    assert not (world.folder / "ledger.key").exists()
