"""Requests about a model that was trained in shards: only what saw the rows is trained again, and a replay from nothing gives the same adapter."""

import json

import pytest

from tests.folders import save_model, write_rows
from tests.ledger.ledgers import RECORDS, World
from unweave.data.reading import read_rows
from unweave.errors import ConfigError
from unweave.ledger.attempts import plan_of
from unweave.ledger.config import VerifyConfig
from unweave.ledger.criteria import read_criteria
from unweave.ledger.job import Job
from unweave.ledger.ledger import Ledger
from unweave.ledger.plan import plan_request
from unweave.ledger.price import recorded_price
from unweave.ledger.run import run_request
from unweave.ledger.verify import verify_request
from unweave.train.config import TrainConfig
from unweave.train.recipe import read_recipe
from unweave.train.sft import fine_tune
from unweave.train.shards import stages_again
from unweave.train.stages import read_stage

pytestmark = pytest.mark.long

# Without ids of their own: the ledger calls such rows by keyed names.
ROWS = [{name: value for name, value in record.items() if name != "id"} for record in RECORDS[:16]]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A ledger about a model in two shards of two slices."""
    folder = tmp_path_factory.mktemp("sharded")
    save_model(folder / "base")
    data = write_rows(folder / "train.jsonl", ROWS)
    fine_tune(
        TrainConfig(
            model=str(folder / "base"), data=data, output_dir=folder / "adapter", epochs=1.0, batch_size=4, learning_rate=5e-3, lora_r=2,
            lora_targets="q_proj,v_proj", dtype="float32", shards=2, slices=2, seed=1,
        )
    )  # fmt: skip
    return World(folder, folder)


def run(world, request, **changes):
    options = {"method": "exact", "forget_config": None, "retain_rows": 4, "test_rows": 4, "margin": 9.0}
    return run_request(world.config(request, **{**options, **changes}))


def recipe(world):
    return read_recipe(world.trained / "adapter")


def test_exact_requests_train_again_what_saw_the_rows_and_no_more(world, tmp_path):
    ids = [row.id for row in read_rows(world.folder / "train.jsonl").rows]
    world.add(ids[3], store=None, request_id="one")
    ledger = Ledger(world.ledger)
    job = Job(ledger, ledger.request("one"), world.config("one"), world.result("one"), ledger.model())
    price = recorded_price(job)
    assert f"{len(stages_again(ids, [ids[3]], recipe(world)))} saw the rows" in plan_request(job.config).notes[-1]
    certificate = run(world, "one")
    assert certificate["class"] == "exact"
    expected = [stage.name for stage in stages_again(ids, [ids[3]], recipe(world))]
    assert certificate["method"]["stages"]["trained"] == expected
    assert 0 < len(expected) < certificate["method"]["stages"]["all"]
    assert "were trained again without them" in certificate["meaning"]
    page = (world.result("one") / "certificate.html").read_text()
    assert f"{len(expected)} of {certificate['method']['stages']['all']}" in page
    listed = json.loads((world.result("one") / "store.json").read_text())["not_reached"]
    assert sum("stage of the training" in one["what"] for one in listed) >= len(expected)
    assert verify_request(VerifyConfig(request="one", ledger=world.ledger, metrics=False))["ok"]
    assert run(world, "one", replay=tmp_path / "replay")["same"]
    replayed = [read_stage(path.parent) for path in (tmp_path / "replay/adapter/shards").glob("*/*/stage.json")]
    assert {record.made for record in replayed} == {"trained"}, "from nothing"
    kept = [
        read_stage(path.parent).identity for path in (world.result("one") / "adapter/shards").glob("*/*/stage.json")
    ]
    assert all(identity.startswith("keyed:") for identity in kept)
    # The next request finds the stages of the one before.
    world.add(ids[8], request_id="two")
    again = run(world, "two")["method"]["stages"]
    assert again["trained"] == [stage.name for stage in stages_again(ids, [ids[8]], recipe(world))]
    assert price.retraining > 0


def test_auto_takes_it_first_where_it_is_cheaper(world):
    folder = world.result("one")
    ledger = Ledger(world.ledger)
    job = Job(
        ledger, ledger.request("one"), world.config("one", method="auto", forget_config=None), folder, ledger.model()
    )
    before = json.loads((folder / "measured.before.json").read_text())
    assert plan_of(job, read_criteria(folder), before, 8).methods == ()


def test_a_model_without_shards_has_no_exact_requests(trained, tmp_path):
    write_rows(tmp_path / "train.jsonl", RECORDS)
    plain = World(trained, tmp_path)
    plain.add("r1", store=None, request_id="one")
    with pytest.raises(ConfigError, match="not trained in shards") as caught:
        run(plain, "one")
    assert "`method` retrain" in caught.value.remedy
