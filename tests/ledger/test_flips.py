"""Damage to a ledger, and to what a certificate speaks of: `verify` notices every single one."""

import re
import shutil
import sqlite3

import pytest

from tests.flips import additions, byte_flips, deletions, files_below, flip, swaps, truncations, unnoticed
from tests.folders import write_rows
from tests.ledger.ledgers import RECORDS, World, edit
from unweave.errors import UnweaveError
from unweave.ledger.config import VerifyConfig
from unweave.ledger.journal import Journal
from unweave.ledger.verify import verify_request


@pytest.fixture(scope="module")
def world(trained, tmp_path_factory):
    """A ledger with a request that is done, and everything that it was made of, in one folder."""
    world = World(trained, tmp_path_factory.mktemp("world"))
    for name in ("base", "adapter"):
        shutil.copytree(trained / name, world.folder / name)
    shutil.copy(trained / "ga.yaml", world.folder)
    edit(world.folder / "adapter" / "adapter_config.json", str(trained / "base"), str(world.folder / "base"))
    write_rows(world.folder / "train.jsonl", RECORDS)
    write_rows(world.folder / "holdout.jsonl", [RECORDS[i] | {"id": f"h{i}", "response": "moon"} for i in range(4)])
    world.add("r1", "r2", store=None, model=str(world.folder / "adapter"), request_id="one")
    options = {"holdout": world.folder / "holdout.jsonl", "forget_config": world.folder / "ga.yaml"}
    world.run("one", **options)
    assert world.verify("one")["ok"], world.faults("one")
    return world


def is_well(world, **options):
    try:
        return verify_request(VerifyConfig(request="one", ledger=world.ledger, **options))["ok"]
    except UnweaveError:
        return False


def quickly(world):
    """What is bound must be noticed by its digest: the metrics are not needed for that."""
    return lambda: is_well(world, metrics=False)


def everything(world):
    return files_below(world.folder)


def test_a_flipped_bit_anywhere_is_noticed(world):
    assert len(everything(world)) > 25
    assert unnoticed(byte_flips(everything(world), 60, seed=0), quickly(world)) == []


def test_a_flipped_bit_of_the_journal_is_noticed_where_it_holds_no_event(world):
    journal = world.ledger / "ledger.db"
    size = journal.stat().st_size
    # The header, with its counters and reserved bytes, and places all over the pages.
    places = [*range(18, 100, 5), *range(100, size, size // 20)]
    assert unnoticed([flip(journal, place, place % 8) for place in places], quickly(world)) == []


def test_a_schema_that_is_no_text_any_more_is_noticed(world):
    journal = world.ledger / "ledger.db"
    start = journal.read_bytes().index(b"CREATE TABLE")
    assert unnoticed([flip(journal, start + place, 7) for place in range(0, 60, 6)], quickly(world)) == []


@pytest.mark.parametrize("kind", ["truncations", "deletions", "swaps"])
def test_files_that_are_cut_gone_or_swapped_are_noticed(world, kind):
    damages = {
        "truncations": lambda files: truncations(files, seed=1)[::3],
        "deletions": deletions,
        "swaps": swaps,
    }[kind](everything(world))
    assert len(damages) > 15
    assert unnoticed(damages, quickly(world)) == []


def test_a_record_that_lacks_what_every_page_shows_is_noticed(world):
    path = world.result("one") / "measured.after.json"
    assert unnoticed([flip(path, path.read_bytes().index(b"exact_memorisation"), 0)], quickly(world)) == []


def test_files_that_were_not_there_are_noticed(world):
    names = [
        "adapter_model.bin",
        "modeling_x.py",
        "chat_template.jinja.bak",
        "extra.safetensors",
        "generation_config.json",
    ]
    folders = [world.folder / "base", world.folder / "adapter", world.result("one") / "adapter", world.result("one")]
    damages = [one for folder in folders for one in additions(folder, names) if not one.contents[0][0].exists()]
    assert len(damages) > 15
    damages += additions(world.ledger, ["ledger.db.bak", "certificate.json"]) + additions(
        world.ledger / "requests", ["two"]
    )
    assert unnoticed(damages, quickly(world)) == []


def test_the_whole_check_notices_the_same(world):
    assert unnoticed(byte_flips(everything(world), 6, seed=3, each=False), lambda: is_well(world)) == []
    assert is_well(world), "and all is well where nothing is damaged"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("INSERT INTO events SELECT number + 100, time, request, kind, content, previous, hash || 'x' FROM events WHERE number = 4", "is missing"),
        ("UPDATE events SET number = CASE number WHEN 4 THEN -5 WHEN 5 THEN 4 ELSE number END WHERE number IN (4, 5)", "event"),
        ("DELETE FROM events WHERE kind = 'done'", "seal|running"),
        ("UPDATE events SET time = replace(time, '20', '19') WHERE kind = 'added'", "was changed after it was written"),
    ],
)  # fmt: skip
def test_a_line_said_twice_or_in_another_order_is_noticed(world, statement, message):
    path = world.ledger / "ledger.db"
    before = path.read_bytes()
    try:
        with sqlite3.connect(path) as connection:
            connection.execute("DROP TRIGGER no_update")
            connection.execute("DROP TRIGGER no_delete")
            connection.execute(statement)
        assert not is_well(world, metrics=False)
        assert re.search(message, "; ".join(_said(world)))
    finally:
        path.write_bytes(before)


def _said(world):
    try:
        return world.faults("one")
    except UnweaveError as error:
        return [error.what, *Journal(world.ledger / "ledger.db").check()]
