"""The check-up finds what it is for, and the plan predicts what caching then does."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.tiny import TinyTokenizer, tiny_model
from unweave.attribution.caching import cache_rows
from unweave.cli.main import main
from unweave.engines.config import CacheConfig
from unweave.jobs import doctor
from unweave.jobs.cache_plan import plan_cache
from unweave.jobs.config import DoctorConfig
from unweave.jobs.doctor import examine
from unweave.models.loading import Loaded
from unweave.store.store import GradientStore


def verdicts(findings):
    worst = {}
    order = ["ok", "warning", "failed"]
    for finding in findings:
        worst[finding.check] = max(worst.get(finding.check, "ok"), finding.verdict, key=order.index)
    return worst


@pytest.fixture
def config(tmp_path):
    records = [{**row, "id": f"r{index}"} for index, row in enumerate(ROWS)]
    return DoctorConfig(data=write_rows(tmp_path / "rows.jsonl", records), parameters="linear", dimension=512)


def healthy(dtype=torch.float32):
    return Loaded(tiny_model("llama", dtype=dtype), TinyTokenizer.make(), "base", None)


def test_a_healthy_model_passes_every_check(config):
    findings = examine(config, loaded=healthy())
    assert set(verdicts(findings).values()) == {"ok"}, findings
    assert set(verdicts(findings)) == set(doctor.CHECKS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_model_in_half_precision_passes_every_check_and_stays_as_it_is(config, dtype, monkeypatch):
    loaded = healthy(dtype)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    findings = examine(config, loaded=loaded)
    assert set(verdicts(findings).values()) == {"ok"}, findings
    assert any("float32 copy" in finding.detail for finding in findings)
    assert loaded.model.dtype == dtype
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())
    from unweave.gradients import per_sample

    real = per_sample.gradient_piece
    monkeypatch.setattr(per_sample, "gradient_piece", lambda *arguments: 1.5 * real(*arguments))
    assert verdicts(examine(config, loaded=healthy(dtype)))["finite difference"] == "failed"


def test_nan_weights_are_found(config):
    loaded = healthy()
    loaded.model.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    found = verdicts(examine(config, loaded=loaded))
    assert found["weights"] == "failed"
    assert found["shifted loss"] == "failed"


def test_another_models_tokenizer_is_found(config):
    loaded = healthy()
    loaded.model.resize_token_embeddings(20)
    assert verdicts(examine(config, loaded=loaded))["vocabulary"] == "failed"


def test_a_doubled_bos_is_found(config, monkeypatch):
    from unweave.attribution import caching as cache

    real = cache.encode_rows

    def doubled(*arguments):
        encoded = real(*arguments)
        bos = TinyTokenizer.make().bos_token_id
        examples = [
            dataclasses.replace(
                example, input_ids=(bos, bos, *example.input_ids), prompt_length=example.prompt_length + 2
            )
            for example in encoded.examples
        ]
        return dataclasses.replace(encoded, examples=examples)

    monkeypatch.setattr(cache, "encode_rows", doubled)
    assert verdicts(examine(config, loaded=healthy()))["BOS"] == "failed"


def test_an_unshifted_loss_is_found(config, monkeypatch):
    from unweave.gradients import loss

    def unshifted(batch):
        mask = (batch.labels != loss.IGNORE) & (batch.segments >= 0)
        return mask, batch.labels[mask], batch.segments[mask]

    monkeypatch.setattr(loss, "predicting_positions", unshifted)
    assert verdicts(examine(config, loaded=healthy()))["shifted loss"] == "failed"


def test_gradients_that_know_their_batch_are_found(config, monkeypatch):
    """A batch norm in the wrong place, imitated: outputs are centred over the batch."""
    loaded = healthy()
    loaded.model.model.layers[0].mlp.register_forward_hook(
        lambda _, __, output: output - output.mean(dim=0, keepdim=True)
    )
    assert verdicts(examine(config, loaded=loaded))["batch invariance"] == "failed"


def test_a_wrong_gradient_is_found(config, monkeypatch):
    from unweave.gradients import per_sample

    real = per_sample.gradient_piece
    monkeypatch.setattr(per_sample, "gradient_piece", lambda *arguments: 1.5 * real(*arguments))
    assert verdicts(examine(config, loaded=healthy()))["finite difference"] == "failed"


def test_what_only_weakens_a_trace_is_a_warning(config, tmp_path):
    write_rows(config.data, [{**row, "id": f"r{index}"} for index, row in enumerate([*ROWS, ROWS[0]])])
    found = verdicts(examine(dataclasses.replace(config, max_length=13), loaded=healthy()))
    assert found["rows"] == "warning"
    lora = Loaded(tiny_model("llama", dtype=torch.float32, lora=True), TinyTokenizer.make(), "base", "a")
    for name, value in lora.model.named_parameters():
        if "lora_B" in name:
            value.data.zero_()
    assert verdicts(examine(dataclasses.replace(config, parameters="lora"), loaded=lora))["weights"] == "warning"


def test_how_rows_are_read_is_told(config):
    talk = {"id": "talk", "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]}
    rows = [{**row, "id": f"r{index}"} for index, row in enumerate(ROWS)]
    write_rows(config.data, [*rows, {**talk, "label": 1}])
    plain = examine(config, loaded=healthy())
    assert [one.detail for one in plain if one.detail.startswith("read as")] == [
        "read as Dolly (8), messages (1); not used: poisoned, label (unweave rows shows what the model sees)"
    ]
    assert not any("control tokens" in one.detail for one in plain)
    eos = healthy().tokenizer.eos_token
    write_rows(
        config.data, [*rows, {**talk, "messages": [{"role": "user", "content": f"hello {eos}"}, talk["messages"][1]]}]
    )
    warned = [one for one in examine(config, loaded=healthy()) if "control tokens" in one.detail]
    assert [(one.check, one.verdict, one.detail[:2]) for one in warned] == [("rows", "warning", "1 ")]


def test_doctor_as_a_command(tmp_path, capsys):
    save_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl")
    options = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "rows.jsonl"), "--parameters", "linear"]
    assert main(["doctor", *options, "--dtype", "float32", "--json", "--quiet"]) == 0
    assert {finding["verdict"] for finding in json.loads(capsys.readouterr().out)} == {"ok"}
    assert main(["doctor", *options, "--quiet"]) == 0
    assert "finite difference" in capsys.readouterr().out


@pytest.mark.parametrize("number_format", ["float16", "int8", "sign"])
def test_a_plan_predicts_the_store(tmp_path, number_format):
    records = [{**row, "id": f"r{index}"} for index, row in enumerate(ROWS)]
    inputs = {"data": write_rows(tmp_path / "r.jsonl", records), "store": tmp_path / "s", "parameters": "linear"}
    config = CacheConfig(**inputs, dimension=4096, number_format=number_format)
    plan = plan_cache(config, loaded=healthy())
    assert not (tmp_path / "s").exists()
    assert cache_rows(config, loaded=healthy()).rows == plan.rows == len(ROWS)
    size = GradientStore.open(tmp_path / "s").info()["bytes"]
    assert size == pytest.approx(plan.store_bytes, abs=1000)
    assert plan.parameters == sum(value.numel() for name, value in healthy().model.named_parameters() if "proj" in name)
    assert plan.seconds > 0
    assert "tokens/s" in plan.lines()["time"]
    small = dataclasses.replace(config, dimension=65536, token_budget=4)
    assert len(plan_cache(small, loaded=healthy()).warnings) == 2


def test_store_commands(tmp_path, capsys):
    save_model(tmp_path / "model")
    store = tmp_path / "store"
    for name, part in (("one", ROWS[:4]), ("two", ROWS[4:])):
        write_rows(tmp_path / f"{name}.jsonl", [{**row, "id": f"{name}{index}"} for index, row in enumerate(part)])
        options = [
            "--model",
            str(tmp_path / "model"),
            "--data",
            str(tmp_path / f"{name}.jsonl"),
            "--store",
            str(tmp_path / name),
        ]
        assert main(["cache", *options, "--parameters", "linear", "--dimension", "256", "--quiet"]) == 0
    capsys.readouterr()
    assert (
        main(["store", "merge", str(store), "--sources", str(tmp_path / "one"), str(tmp_path / "two"), "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["rows"] == 8
    assert main(["store", "delete", str(store), "--row-ids", "one1", "two0"]) == 0
    assert main(["store", "delete", str(store), "--row-ids", "one1"]) == 0, "a run that was killed may have"
    assert main(["store", "delete", str(store), "--row-ids", "never"]) == 1
    assert main(["store", "delete", str(store)]) == 2
    assert main(["store", "compact", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.rpartition("disk\n")[2])["removed_rows"] == 2
    shard = sorted((store / "shards").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-3])
    assert main(["store", "check", str(store)]) == 1
    assert main(["store", "repair", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("again\n")[2])["rows_to_cache"] == ["one0", "one2", "one3"]
    assert main(["store", "check", str(store)]) == 0
    # A deleted row does not come back with the data that it was in, unless its traces are off the disk.
    assert Path(store / "store.json").is_file()
