"""The run that comes with the package: whole, small, and of rows that its model knows."""

import json

import pytest

from unweave.attribution.index import GradientIndex
from unweave.cli.main import main
from unweave.explorer import sample
from unweave.explorer.config import ServeConfig
from unweave.explorer.workspace import Workspace
from unweave.models import packaged
from unweave.store.store import GradientStore

MOST_BYTES = 3 * 2**20


def test_it_is_whole_and_small(capsys):
    assert main(["store", "check", str(sample.FOLDER / "store")]) == 0
    capsys.readouterr()
    rows = [json.loads(line) for line in (sample.FOLDER / "island.jsonl").read_text().splitlines()]
    store = GradientStore.open(sample.FOLDER / "store")
    assert sorted(store.row_ids()) == sorted(row["id"] for row in rows)
    assert {text["source"] for text in store.texts().values()} == {"island.jsonl"}, (
        "no path of the machine that made it"
    )
    assert sum(path.stat().st_size for path in sample.FOLDER.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.real_model
def test_it_is_opened_as_a_copy_where_nothing_else_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = Workspace(ServeConfig())
    assert workspace.place == sample.COPY / "store"
    assert workspace.data == sample.COPY / "island.jsonl"
    assert workspace.name == "island"
    with workspace.computing:
        hits = workspace.index().attribute(
            "What does a berth in Wick Harbour cost?", completion="A berth costs nine hundred crowns a night.", top_k=8
        )
    assert sum(hit.row.completion.count("nine hundred crowns") for hit in hits) >= 3
    assert isinstance(workspace.index(), GradientIndex)
    # What was changed in the copy stays.
    (sample.COPY / "island.jsonl").write_text("")
    assert sample.with_something_to_open(ServeConfig()).path == sample.COPY
    assert (sample.COPY / "island.jsonl").read_text() == ""
    assert (
        json.loads((sample.COPY / "island/adapter_config.json").read_text())["base_model_name_or_path"]
        == packaged.resolve()
    )


def test_what_is_given_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ServeConfig(path=tmp_path / "store")
    assert sample.with_something_to_open(given) is given
    (tmp_path / "runs/demo/store").mkdir(parents=True)
    (tmp_path / "runs/demo/store/store.json").write_text("{}")
    assert sample.with_something_to_open(ServeConfig()).path == sample.USUAL
