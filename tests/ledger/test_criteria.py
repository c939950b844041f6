"""What forgotten means is named first, and a request is done only where it came out so: else the model before stays, and the request may run again."""

import json
from types import SimpleNamespace

import peft
import pytest
import torch

from tests.folders import save_model, write_rows
from tests.ledger.ledgers import EASY, RECORDS, World
from tests.models.test_adapters import logits, save_adapter
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.engines.config import CacheConfig
from unweave.errors import DataError
from unweave.ledger import attempts
from unweave.ledger.config import ListConfig, VerifyConfig
from unweave.ledger.ledger import Ledger, list_requests
from unweave.ledger.measuring import never_trained
from unweave.ledger.verify import verify_request
from unweave.models.loading import ModelConfig, load
from unweave.store.store import GradientStore
from unweave.unlearning.target import calibrated


@pytest.fixture
def world(trained, tmp_path, monkeypatch):
    # Sixty steps are for models that know something.
    monkeypatch.setattr(attempts, "STEPS", 4)
    monkeypatch.setattr(attempts, "PASSES", 0.5)
    write_rows(tmp_path / "train.jsonl", RECORDS)
    return World(trained, tmp_path)


def begin(world, *row_ids, **changes):
    return world.add(*row_ids, store=None, max_removed_share=0.9, request_id="one", **changes)


def state(world):
    return list_requests(ListConfig(ledger=world.ledger))[0]["state"]


def read(world, name):
    return json.loads((world.result("one") / name).read_text())


def mean(measured, name="forget"):
    losses = measured["sets"][name]["losses"].values()
    return sum(losses) / len(losses)


def test_the_target_is_what_the_base_has(world):
    begin(world, "r1", "r2")
    world.run("one", target_loss=None, margin=50.0)
    named, reference = read(world, "criteria.json"), read(world, "measured.reference.json")
    assert named["target"] == pytest.approx(mean(reference))
    assert named["least"] == pytest.approx(0.9 * named["target"])
    assert "under the base model" in named["source"]
    before = read(world, "measured.before.json")
    assert mean(reference) > mean(before) + 1, "the base does not know the rows"


def test_held_out_rows_give_the_target_by_how_hard_they_are(world):
    begin(world, "r1", "r2")
    holdout = write_rows(
        world.folder / "holdout.jsonl",
        [
            {"id": f"h{i}", "instruction": f"add {i} and 9", "context": "", "response": f"{i} yes" + " yes" * (i % 3)}
            for i in range(10)
        ],
    )
    world.run("one", target_loss=None, margin=50.0, holdout=holdout)
    named, reference, before = (
        read(world, name) for name in ("criteria.json", "measured.reference.json", "measured.before.json")
    )
    ids = list(before["sets"]["holdout"]["losses"])
    hard, losses = ([side["sets"]["holdout"]["losses"][row_id] for row_id in ids] for side in (reference, before))
    assert named["target"] == pytest.approx(calibrated(hard, losses, mean(reference)))
    assert "as hard as they are" in named["source"]


def test_a_line_through_rows_says_what_a_loss_under_the_reference_means():
    assert calibrated([1.0, 2.0, 3.0], [1.5, 2.5, 3.5], 4.0) == pytest.approx(4.5)
    assert calibrated([2.0, 2.0, 2.0], [1.0, 2.0, 3.0], 4.0) is None


def test_a_request_that_does_not_reach_its_criteria_is_not_forgotten(trained, world, capsys):

    data, store = world.folder / "train.jsonl", world.folder / "store"
    cache_rows(CacheConfig(model=str(trained / "adapter"), data=data, store=store, dimension=64, dtype="float32"))
    world.add("r1", "r2", request_id="one")
    place = ["--ledger", str(world.ledger)]
    options = ["--method", "ga", "--forget-config", str(trained / "ga.yaml"), "--retain-rows", "8", "--test-rows", "12"]
    hard = [*options, "--target-loss", "30", "--dtype", "float32"]
    assert main(["request", "run", "one", *place, *hard]) == 3
    out = capsys.readouterr().out
    assert "request one: not forgotten (empirical)" in out
    assert "NOT MET: the rows' loss went from" in out
    assert "answer before" in out
    assert "answer never trained" in out
    assert state(world) == "not forgotten"
    assert Ledger(world.ledger).model() == str(trained / "adapter"), "the model before stays the current one"
    assert {"r1", "r2"} <= GradientStore.open(store).names(), "and the store keeps the rows"
    report = read(world, "report.json")
    assert report["state"] == "not forgotten"
    assert not report["criteria"]["outcomes"]["loss"]["met"]
    page = (world.result("one") / "report.html").read_text()
    assert "this is no certificate" in page
    assert "Certificate of" not in page
    assert not (world.result("one") / "certificate.json").exists()
    assert main(["request", "run", "one", *place, *hard]) == 3, "the same again ends as it did"
    assert "was carried out with these options" in capsys.readouterr().err
    with pytest.raises(DataError, match="is not forgotten: there is nothing to verify"):
        verify_request(VerifyConfig(request="one", ledger=world.ledger))
    for path in world.ledger.rglob("*"):
        assert not (path.is_file() and b"add 1 and" in path.read_bytes()), f"{path} holds the text of a row"
    easy = [*options, "--target-loss", "0.1", "--margin", "0.5", "--dtype", "float32"]
    assert main(["request", "run", "one", *place, *easy]) == 0, "other options are another attempt"
    assert state(world) == "done"
    assert not (world.result("one") / "report.json").exists()
    assert world.verify("one")["ok"]
    assert not {"r1", "r2"} & GradientStore.open(store).names()


def test_without_a_method_what_is_short_ends_in_retraining(world):
    begin(world, "r1", "r2")
    found = world.run("one", method="auto", forget_config=None, target_loss=30.0)
    assert found["class"] == "exact"
    assert found["state"] == "done", "nothing of the rows is in it, whatever the criteria say"
    tried = [one["method"] for one in found["attempts"]["tried"]]
    assert tried[-1] == "retrain"
    assert found["attempts"]["chosen"] == len(tried) - 1
    assert found["method"]["name"] == "retrain"
    assert world.verify("one")["ok"]
    assert world.run("one", method="auto", forget_config=None, target_loss=30.0, replay=world.folder / "again")["same"]


def test_a_named_method_is_the_only_one_and_its_rate_is_searched_for(world):
    begin(world, "r1", "r2")
    found = world.run("one", method="graddiff", forget_config=None, target_loss=30.0)
    assert found["state"] == "not forgotten"
    tried = found["attempts"]["tried"]
    assert {one["method"] for one in tried} == {"graddiff"}
    rates = [one["options"]["learning_rate"] for one in tried]
    assert len(set(rates)) == len(rates) > 1
    assert all(set(one["figures"]) == {"loss", "answers", "others"} for one in tried)


def test_the_limit_on_minutes_ends_the_search(world):
    begin(world, "r1", "r2")
    found = world.run("one", method="auto", forget_config=None, target_loss=30.0, max_minutes=1e-6)
    assert found["state"] == "not forgotten"
    assert len(found["attempts"]["tried"]) == 1, "one attempt is made whatever it takes"


def test_small_data_is_shared_out(world):
    write_rows(world.folder / "train.jsonl", RECORDS[:9])
    begin(world, "r1")
    found = world.run("one", retain_rows=128, test_rows=64, margin=0.001)
    assert found["measured"]["after"]["sets"]["test"]["rows"] == 3
    assert any("3 rows do not show" in finding for finding in found["findings"]), "what that costs is said"


def test_the_verdict_is_the_same_whatever_the_threads_and_the_batch(world):
    begin(world, "r1", "r2")
    found = world.run("one", dtype="bfloat16")
    assert found["measured"]["after"]["dtype"] == "float32", "whatever it was unlearned in"
    threads = torch.get_num_threads()
    try:
        for count, budget in ((1, 1), (2, 4096), (1, 160)):
            torch.set_num_threads(count)
            checked = verify_request(VerifyConfig(request="one", ledger=world.ledger, token_budget=budget))
            assert [check["fault"] for check in checked["checks"] if not check["ok"]] == []
    finally:
        torch.set_num_threads(threads)


def test_the_tolerance_is_above_rounding_and_below_any_training(world):
    from unweave.ledger.verify_numbers import rounding
    from unweave.models.loading import ModelConfig, load

    begin(world, "r1", "r2")
    world.run("one")
    said = read(world, "measured.after.json")
    loaded = load(ModelConfig(model=str(world.result("one") / "adapter"), dtype="float32"))
    assert 1e-6 < rounding(loaded.model, said) < 1e-3
    assert rounding(loaded.model, {}) == 1e-3, "of measurements of before"
    for name in ("measured.after.json", "certificate.json"):
        path = world.result("one") / name
        path.write_text(path.read_text().replace('"begins": []', '"begins": ["r1"]'))
    assert not world.verify("one")["ok"]


def test_large_sets_are_measured_in_part(world):
    begin(world, "r1", "r2")
    world.run("one", **EASY)
    checked = verify_request(VerifyConfig(request="one", ledger=world.ledger, max_rows=5))
    assert checked["ok"]
    assert any("test (5 of 12 rows)" in check["check"] for check in checked["checks"])


def test_options_of_a_method_name_it(world):
    begin(world, "r1", "r2")
    found = world.run("one", method="auto")
    assert [one["method"] for one in found["attempts"]["tried"]] == ["ga"]
    assert found["state"] == "done"


def test_an_adapter_that_trained_the_bases_biases_has_the_base_for_a_reference(tmp_path):
    # Switched off it would leave its biases in the base.
    base = save_model(tmp_path / "base", kind="gpt_neox")
    lora = peft.LoraConfig(r=3, target_modules=["query_key_value"], bias="all", task_type="CAUSAL_LM")
    save_adapter(tmp_path / "adapter", base, lora)
    job = SimpleNamespace(
        config=SimpleNamespace(device="cpu"),
        ledger=SimpleNamespace(origin=lambda: SimpleNamespace(model=str(tmp_path / "adapter"))),
    )
    plain = load(ModelConfig(model=str(base), dtype="float32")).model
    with never_trained(job) as loaded:
        assert torch.equal(logits(loaded.model), logits(plain))
        assert loaded.tokenizer is not None
