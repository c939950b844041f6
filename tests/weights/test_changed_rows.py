"""Sketches of rows whose text is another now weigh nothing."""

import json

import pytest
import torch

from tests.store.test_store import make_spec
from unweave.data.rows import Row
from unweave.errors import StoreError
from unweave.jobs.weigh import weigh_rows
from unweave.store.store import GradientStore
from unweave.store.texts import write_texts
from unweave.weights.config import WeighConfig

ROWS = {"forget": ["f1", "f2"], "retain": ["r1", "r2"]}


@pytest.fixture
def config(tmp_path):
    store = GradientStore.create(tmp_path / "store", make_spec())
    ids = [row_id for own in ROWS.values() for row_id in own]
    with store.writing():
        write_texts(store.folder, [Row(id=name, instruction=f"ask {name}", completion=f"say {name}") for name in ids])
        store.commit(ids, torch.randn(4, 64), torch.ones(4), torch.ones(4))
    for name, own in ROWS.items():
        rows = [{"id": row_id, "instruction": f"ask {row_id}", "response": f"say {row_id}"} for row_id in own]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {name: tmp_path / f"{name}.jsonl" for name in ROWS}
    out = {f"output_{name}": tmp_path / f"{name}.weights.jsonl" for name in ROWS}
    return WeighConfig(store=store.folder, **files, **out)


def test_rows_as_they_were_cached_are_weighed(config):
    assert len(weigh_rows(config).forget) == 2


@pytest.mark.parametrize("side", ROWS)
@pytest.mark.parametrize("method", ["rapidun", "loreun"])
def test_a_row_that_changed_since_is_named(config, side, method):
    path = getattr(config, side)
    row_id = ROWS[side][1]
    path.write_text(path.read_text().replace(f"say {row_id}", "say another thing"))
    changed = WeighConfig(**{**config.__dict__, "method": method})
    with pytest.raises(StoreError, match=f"'{row_id}' has changed since it was cached") as raised:
        weigh_rows(changed)
    assert f"{path.name}" in str(raised.value)
    assert "cache these rows again" in str(raised.value)
    assert not config.output_forget.exists()
