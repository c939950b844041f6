"""Forgotten means gone: a row with a word of its own is cached, traced, killed, forgotten; then nothing that unweave wrote holds its text or its sketch."""

import json
import random
import shlex
import signal
from pathlib import Path

import pytest

from tests.canary import ROW_ID, canary_record, hits, sketch_needles, text_needles
from tests.folders import write_rows
from tests.ledger.ledgers import EASY, RECORDS, WORDS
from unweave.attribution.caching import cache_rows
from unweave.engines.config import CacheConfig
from unweave.jobs.config import TraceConfig
from unweave.jobs.trace import trace_answers
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig
from unweave.ledger.run import run_request
from unweave.store.maintenance import check_store
from unweave.store.store import GradientStore


@pytest.fixture
def killed_and_rerun(tmp_path, forks, monkeypatch):
    """Runs a command that is killed twice, each time before a random change to the disk, and then goes on to its end."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))
    rng = random.Random(0)

    def run(most, *arguments):
        line = shlex.join(map(str, arguments))
        codes = [forks.run(line, folder=tmp_path, at=rng.randrange(1, most)).code for _ in range(2)]
        assert -signal.SIGKILL in codes, "one of them is killed"
        ended = forks.run(line, folder=tmp_path)
        assert ended.code in (0, 3), ended.errors

    return run


def test_of_a_forgotten_row_nothing_is_left_in_what_unweave_wrote(trained, tmp_path, killed_and_rerun):
    pytest.importorskip("faiss")
    record, word = canary_record()
    data = write_rows(tmp_path / "train.jsonl", [*RECORDS, record])
    store, ledger, inside, outside = (tmp_path / name for name in ("store", "ledger", "store/trace.html", "page.html"))
    model = str(trained / "adapter")
    killed_and_rerun(
        80, "cache", "--model", model, "--data", data, "--store", store, "--dimension", 64, "--commit-rows", 20, "--dtype", "float32"
    )  # fmt: skip
    needles = text_needles(word) | sketch_needles(store)
    for page in (inside, outside):
        asked = {"prompt": record["instruction"], "completion": record["response"], "html": page, "top_k": 60}
        trace_answers(TraceConfig(store=store, index="faiss", dtype="float32", **asked))
    assert list((store / "index").glob("*.faiss")), "there is an index, and it holds the row"
    found = hits(tmp_path, needles, apart=[data])
    assert {"page.html", "store/rows.parquet", "store/trace.html"} <= set(found), "the search sees what is there"
    assert any(name.startswith("store/index/") for name in found)
    assert any(name.startswith("store/shards/") for name in found)
    # A store that the ledger does not know.
    second = tmp_path / "second"
    cache_rows(CacheConfig(model=model, data=data, store=second, dimension=64, dtype="float32", number_format="int8"))
    needles |= sketch_needles(second)
    # Another request that was killed half-way, and holds the row among those to be kept.
    options = {"data": data, "model": model, "store": store, "max_removed_share": 0.5, "max_perplexity_change": 10.0}
    add_request(AddConfig(ledger=ledger, row_ids=("r1",), request_id="other", **options))
    add_request(AddConfig(ledger=ledger, row_ids=(ROW_ID,), request_id="one"))
    work = ledger / "requests/other/work"
    work.mkdir(parents=True)
    (work / "retain.jsonl").write_text(json.dumps(record) + "\n")
    (ledger / ".tmp-0-half.jsonl").write_text(json.dumps(record))
    killed_and_rerun(
        200, "request", "run", "one", "--ledger", ledger, "--method", "ga", "--forget-config", trained / "ga.yaml",
        "--retain-rows", 30, "--test-rows", 12, "--dtype", "float32", *WORDS, "--stores", second,
    )  # fmt: skip
    assert hits(tmp_path, needles, apart=[data, outside]) == []
    listed = json.loads((ledger / "requests/one/store.json").read_text())["not_reached"]
    places = {Path(one["place"]) for one in listed}
    assert {data.resolve(), outside.resolve(), Path(model).resolve()} <= places, "what is out of reach is named"
    for folder in (store, second):
        opened = GradientStore.open(folder)
        assert check_store(opened) == []
        assert ROW_ID not in opened.row_ids()
        assert len(opened.row_ids()) == len(RECORDS)
    config = RunConfig(
        request="one", ledger=ledger, method="ga", forget_config=trained / "ga.yaml", dtype="float32", **EASY
    )
    run_request(config)
    assert hits(tmp_path, needles, apart=[data, outside]) == [], "a run of what is done writes nothing"


def test_a_row_that_is_deleted_and_compacted_away_leaves_pages_of_the_store(tmp_path):
    """Without a ledger: deleting and compacting is all that is needed."""
    import torch

    from tests.store.test_store import make_spec
    from unweave.data.rows import Row
    from unweave.files import write_text
    from unweave.store.maintenance import compact_store
    from unweave.store.outputs import remember_output
    from unweave.store.texts import write_texts

    record, word = canary_record()
    store = GradientStore.create(tmp_path / "s", make_spec())
    texts = {ROW_ID: record["response"], "a": "another answer that stays"}
    with store.writing():
        store.commit([*texts], torch.randn(2, 64), torch.ones(2), torch.ones(2))
        write_texts(store.folder, [Row(id=name, instruction="q", completion=text) for name, text in texts.items()])
    pages = {
        name: tmp_path / place
        for name, place in (("in", "s/a.html"), ("out", "b.html"), ("edited", "s/c.html"), ("other", "s/d.html"))
    }
    for name, page in pages.items():
        write_text(page, f"<p>{texts['a'] if name == 'other' else record['response']}</p>")
        remember_output(store, page)
    pages["edited"].write_text(pages["edited"].read_text() + "<p>a note of mine</p>")
    needles = text_needles(word) | sketch_needles(store.folder)
    with store.writing():
        store.delete([ROW_ID])
    compact_store(store)
    assert hits(tmp_path, needles) == ["b.html", "s/c.html"], "what lies elsewhere, or was edited, is the user's"
    assert pages["other"].is_file()
    assert check_store(GradientStore.open(store.folder)) == []
