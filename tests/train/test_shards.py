"""Training in shards: its adapter is the mean of the shards'; without some rows it is what training from nothing gives, at the price that the formula says."""

import dataclasses
import itertools
import json

import pytest
import torch
from safetensors.torch import load_file

import unweave as uw
from tests.folders import save_model, write_rows
from tests.tiny import tiny_model
from unweave.errors import ConfigError
from unweave.jobs import plans
from unweave.models.loading import ModelConfig, load
from unweave.train import planned
from unweave.train.adapters import add_lora
from unweave.train.combining import adapter_state, combine, require_combinable
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.train.shard_cost import expected_share, passes, passes_again
from unweave.train.shards import plan_stages, position, stage_epochs, stages_again
from unweave.train.stages import Elsewhere, read_stage, seconds_of_stages

RECORDS = [
    {"id": f"r{i}", "instruction": f"add {i % 10} and {i // 10}", "response": f"{(i * 3) % 10} yes"} for i in range(12)
]
GONE = "r3"


def config_in(folder, name, **changes):
    options = {
        "model": str(folder / "base"), "data": folder / "rows.jsonl", "output_dir": folder / name, "epochs": 1.5, "batch_size": 2, "learning_rate": 5e-3,
        "lora_r": 2, "dtype": "float32", "shards": 2, "slices": 2, "lora_targets": "q_proj,v_proj", "seed": 3,
    }  # fmt: skip
    return TrainConfig(**{**options, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, rows, a sharded training of them, and one without a row from nothing."""
    folder = tmp_path_factory.mktemp("sharded")
    save_model(folder / "base")
    write_rows(folder / "rows.jsonl", RECORDS)
    write_rows(folder / "gone.jsonl", [one for one in RECORDS if one["id"] == GONE])
    fine_tune(config_in(folder, "whole"))
    fine_tune(config_in(folder, "anew", without=folder / "gone.jsonl"))
    return folder


def weights(place):
    return load_file(place / "adapter_model.safetensors")


def assert_same(one, two):
    one, two = weights(one), weights(two)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_training_again_is_training_from_nothing_at_the_price_of_the_plan(folder, monkeypatch):
    steps = []
    original = planned.PlannedTrainer.compute_loss
    monkeypatch.setattr(
        planned.PlannedTrainer, "compute_loss", lambda self, *a, **b: steps.append(1) or original(self, *a, **b)
    )
    config = config_in(folder, "again", without=folder / "gone.jsonl")
    found = fine_tune(config, elsewhere=Elsewhere((folder / "nowhere", folder / "whole")))
    ids = [one["id"] for one in RECORDS]
    again = stages_again(ids, [GONE], config)
    trained = [name for name, made in found.stages.items() if made == "trained"]
    assert trained == [stage.name for stage in again]
    assert 0 < len(trained) < len(found.stages)
    expected = [max(1, round(stage_epochs(config) * -(-len(stage.rows) // config.batch_size))) for stage in again]
    assert len(steps) == sum(expected)
    assert_same(folder / "again", folder / "anew")
    for stage in plan_stages([name for name in ids if name != GONE], config):
        assert_same(stage.place(folder / "again"), stage.place(folder / "anew"))
    # What the whole training recorded says what all stages take, wherever they were trained.
    assert seconds_of_stages(folder / "again") > 0
    assert "stages" in json.loads((folder / "again/result.json").read_text())["result"]


def test_the_plan_is_what_is_done(folder):
    plan = plans.train(config_in(folder, "whole"))
    result = json.loads((folder / "whole/result.json").read_text())["result"]
    assert (plan.steps, plan.tokens, plan.work["stages"]) == (
        result["steps"],
        result["tokens"],
        len(result["stages"]),
    )
    assert "for 1 row," in plan.notes[-1]


def test_no_stage_names_a_row(folder):
    for path in (folder / "whole/shards").rglob("stage.json"):
        assert not any(
            f'"{one["id"]}"' in path.read_text() or one["instruction"] in path.read_text() for one in RECORDS
        )


def test_a_row_that_goes_moves_no_other():
    config = TrainConfig(data=".", output_dir=".", shards=3, slices=4, seed=9)
    ids = [f"row {number}" for number in range(400)]
    places = {name: position(name, config) for name in ids}
    assert {shard for shard, _ in places.values()} == {0, 1, 2}
    assert {number for _, number in places.values()} == {1, 2, 3, 4}
    assert max(list(places.values()).count(place) for place in set(places.values())) < 60
    left = plan_stages(ids[1:], config)
    for stage in left:
        assert [places[ids[1:][index]] for index in stage.rows] == [
            place for place in list(places.values())[1:] if place[0] == stage.shard and place[1] <= stage.slice
        ]
    assert any(places[name] != position(name, dataclasses.replace(config, seed=1)) for name in ids)


@pytest.mark.parametrize(("shards", "slices", "rows"), [(3, 2, 1), (2, 3, 2), (1, 4, 2), (4, 1, 3)])
def test_the_expected_cost_is_the_mean_over_all_choices_of_rows(shards, slices, rows):
    cells = list(itertools.product(range(shards), range(1, slices + 1)))
    costs = []
    for chosen in itertools.product(cells, repeat=rows):
        again = [number for shard, number in cells if any(hit == shard and where <= number for hit, where in chosen)]
        costs.append(sum(again) / (shards * sum(range(1, slices + 1))))
    assert expected_share(rows, shards=shards, slices=slices) == pytest.approx(sum(costs) / len(costs))
    if rows == 1:
        assert expected_share(1, shards=shards, slices=slices) == pytest.approx(
            (2 * slices + 1) / (3 * shards * slices)
        )


def test_all_stages_pass_as_often_over_rows_as_a_plain_training():
    config = TrainConfig(data=".", output_dir=".", shards=4, slices=4, epochs=3.0)
    ids = [str(number) for number in range(800)]
    assert passes(ids, config) == pytest.approx(3.0 * 800, rel=0.05)
    single = [passes_again(ids, [name], config) / passes(ids, config) for name in ids[::20]]
    assert sum(single) / len(single) == pytest.approx(expected_share(1, shards=4, slices=4), rel=0.2)


@pytest.mark.parametrize(
    ("targets", "rule"), [("all-linear", "mean"), ("q_proj,embed_tokens", "mean"), ("q_proj,v_proj", "sum")]
)
def test_the_combined_update_is_the_mean_of_the_updates(targets, rule):
    config = TrainConfig(
        data=".",
        output_dir=".",
        lora_r=2,
        lora_alpha=6,
        lora_dropout=0.0,
        lora_targets=targets,
        shards=3,
        combination=rule,
    )
    model = add_lora(tiny_model("qwen2"), config, seed=0)
    own = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    states, updates = [], []
    plain = {name: value.clone() for name, value in tiny_model("qwen2").state_dict().items()}
    for seed in range(3):
        torch.manual_seed(seed)
        for name, parameter in model.named_parameters():
            if name in own:
                parameter.data = torch.randn_like(parameter)
        states.append(adapter_state(model))
        merged = add_lora(tiny_model("qwen2"), config, seed=0)
        merged.load_state_dict(model.state_dict())
        merged = merged.merge_and_unload().state_dict()
        updates.append({name: merged[name] - plain[name] for name in plain})
    tokens = torch.arange(3, 12)[None]
    wanted = tiny_model("qwen2")
    wanted.load_state_dict(
        {name: plain[name] + sum(update[name] for update in updates) / (3 if rule == "mean" else 1) for name in plain}
    )
    combined = combine(model, states, config)
    shape = combined.peft_config["default"]
    assert (shape.r, shape.lora_alpha) == (6, 6 if rule == "mean" else 18)
    torch.testing.assert_close(combined(tokens).logits, wanted(tokens).logits, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("rule", "rank"), [("svd", 2), ("ties", 2), ("dare", 2), ("dare_ties", 2), ("svd", 16)])
def test_the_rules_of_peft_give_an_adapter_of_the_rank_of_one(rule, rank):
    config = TrainConfig(
        data=".", output_dir=".", lora_r=rank, lora_alpha=6, lora_targets="q_proj,v_proj", shards=2, combination=rule
    )
    found = []
    for _ in range(2):
        model = add_lora(tiny_model("llama"), config, seed=0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data = torch.ones_like(parameter)
        # The same adapter twice: its mean is the adapter, whose update has the rank of one.
        one = adapter_state(model)
        tokens = torch.arange(3, 12)[None]
        wanted = model.eval()(tokens).logits
        combined = combine(model, [one, one], config)
        found.append(combined(tokens).logits)
        assert combined.peft_config["default"].r == rank
    assert torch.equal(*found), "chance has a seed"
    if rule == "svd":
        torch.testing.assert_close(found[0], wanted, rtol=1e-8, atol=1e-8)


def test_kinds_of_adapters_that_can_not_be_combined_are_named():
    model = add_lora(tiny_model("llama"), TrainConfig(data=".", output_dir="."), seed=0)
    require_combinable(model)
    model.peft_config["default"].use_dora = True
    with pytest.raises(ConfigError, match="DoRA"):
        require_combinable(model)


def test_a_killed_run_keeps_its_stages_and_goes_on(folder, monkeypatch):
    original, begun = planned.PlannedTrainer.compute_loss, []

    def dies(self, *args, **options):
        begun.append(self.state.global_step)
        if begun.count(0) == 3 and self.state.global_step == 2:
            raise KeyboardInterrupt
        return original(self, *args, **options)

    monkeypatch.setattr(planned.PlannedTrainer, "compute_loss", dies)
    config = config_in(folder, "killed")
    with pytest.raises(KeyboardInterrupt):
        fine_tune(config)
    done = sorted((folder / "killed/shards").glob("*/*/stage.json"))
    assert len(done) == 2
    begun.clear()

    def goes_on(self, *args, **options):
        begun.append(self.state.global_step)
        return original(self, *args, **options)

    monkeypatch.setattr(planned.PlannedTrainer, "compute_loss", goes_on)
    found = fine_tune(config)
    assert begun[0] > 0, "within the stage it goes on from a checkpoint"
    assert begun.count(0) == len(found.stages) - 3
    assert set(found.stages.values()) == {"trained"}
    assert_same(folder / "killed", folder / "whole")


def test_a_damaged_stage_is_trained_again_and_others_rows_leave_the_folder(folder):
    config = config_in(folder, "damaged")
    fine_tune(config, elsewhere=Elsewhere((folder / "whole",)))
    stage = plan_stages([one["id"] for one in RECORDS], config)[0]
    place = stage.place(folder / "damaged")
    identity = read_stage(place).identity
    assert read_stage(place, identity) is not None
    assert read_stage(place, "another") is None
    content = (place / "adapter_model.safetensors").read_bytes()
    (place / "adapter_model.safetensors").unlink()
    (place / "adapter_model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert read_stage(place, identity) is None
    assert read_stage(stage.place(folder / "whole"), identity) is not None, "a link to it is another file by now"
    # Another data set in the same folder: nothing of the first stays.
    few = write_rows(folder / "few.jsonl", RECORDS[:2])
    found = fine_tune(config_in(folder, "damaged", data=few, epochs=0.5))
    assert {path.parent.name + "." + path.name for path in (folder / "damaged/shards").glob("*/*")} == set(found.stages)
    assert load(ModelConfig(model=str(folder / "damaged"))).adapter


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shards": 0}, "shards can't be 0"),
        ({"slices": 0}, "slices can't be 0"),
        ({"tuning": "full"}, "Shards are adapters"),
        ({"dp_epsilon": 2.0}, "Private training has no shards"),
        ({"snapshots": (0.5,)}, "no one adapter on its way"),
        ({"record": True}, "it has no one record"),
        ({"report_to": "tensorboard"}, "trackers take one"),
    ],
)
def test_what_can_not_be_sharded_is_refused(folder, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        fine_tune(config_in(folder, "refused", **changes))
    assert caught.value.remedy
    assert not (folder / "refused").exists()


def test_retraining_in_memory_is_refused(folder):
    model = uw.load_model(folder / "whole")
    rows = uw.load_rows(folder / "rows.jsonl")
    with pytest.raises(ConfigError, match="keeps its stages beside the model"):
        uw.unlearn(model, list(rows)[:2], list(rows)[2:], method=uw.methods.Retrain())


def test_retraining_by_the_forget_command_takes_stages_over(folder):
    made = uw.methods.Retrain().train(folder / "whole", folder / "gone.jsonl", folder / "forgotten")
    assert "reused" in made.stages.values()
    assert_same(folder / "forgotten", folder / "anew")


def test_several_processes_are_refused(folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="Training in shards runs in one process"):
        fine_tune(config_in(folder, "refused"))
