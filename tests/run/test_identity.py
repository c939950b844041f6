"""The contract of a run's identity: whatever a command reads, and whatever option changes its result, makes another run; nothing else does."""

import dataclasses
import json
import os
import shutil
import types
import typing
from pathlib import Path

import pytest

from tests.folders import save_model, write_rows
from unweave.cli.table import TABLE
from unweave.config import dump_yaml
from unweave.errors import ModelError
from unweave.evaluation.config import AuditConfig
from unweave.evaluation.tofu.config import TofuConfig
from unweave.evaluation.tofu.evaluate import tofu_inputs
from unweave.experiments.attribution.bench import bench_inputs as attribution_inputs
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.forgetting import bench_inputs
from unweave.experiments.demo.config import DemoConfig
from unweave.experiments.demo.pipeline import demo_inputs
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.experiments.influence.stage import influence_inputs
from unweave.fixing.config import FixConfig
from unweave.fixing.job import fix_inputs
from unweave.jobs.audit import audit_inputs
from unweave.jobs.forget import forget_inputs
from unweave.jobs.value_curve import curve_inputs
from unweave.jobs.value_fit import fit_inputs
from unweave.jobs.value_predict import predict_inputs
from unweave.jobs.value_score import score_inputs
from unweave.models.loading import load
from unweave.outputs import WRITES
from unweave.run.folder import RunFolder
from unweave.run.identity import NO_EFFECT, options_of
from unweave.store.format import StoreSpec
from unweave.train.adapters import add_lora, save_adapter
from unweave.train.config import LoraOptions, TrainConfig
from unweave.train.sft import train_inputs
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import METHODS, get_method
from unweave.valuation.config import CurveConfig, FitConfig, PredictConfig, ScoreConfig

BASE = ("base/model.safetensors", "base/config.json", "base/tokenizer.json", "base/tokenizer_config.json")
ADAPTER = ("adapter/adapter_model.safetensors", "adapter/adapter_config.json")
MODEL = (*BASE, *ADAPTER)
CASE = ("case/case.json", "case/train.jsonl", "case/test_seen.jsonl")
STORE = ("store/store.json", "store/commits/000000-a.json")
FOLDER = {"output_dir": Path("out")}
ROWS = {"data": Path("rows.jsonl")}

KEPT = {
    "train": (TrainConfig, train_inputs, {**FOLDER, **ROWS, "model": "adapter", "without": Path("forget.jsonl")}, (*MODEL, "rows.jsonl", "forget.jsonl")),
    "value score": (
        ScoreConfig,
        score_inputs,
        {
            **ROWS, "output": Path("v.jsonl"), "model": "base", "adapter": Path("adapter"), "tasks": ("t=task.jsonl",), "store": Path("store"),
            "baselines": ("embedding",), "tracin_model": "base", "encoder": "encoder",
        },
        (*MODEL, *STORE, "rows.jsonl", "task.jsonl", "encoder/model.safetensors"),
    ),
    "value fit": (
        FitConfig,
        fit_inputs,
        {**FOLDER, **ROWS, "values": Path("values.jsonl"), "student": "encoder"},
        ("rows.jsonl", "values.jsonl", "encoder/model.safetensors", "encoder/tokenizer.json"),
    ),
    "value predict": (
        PredictConfig,
        predict_inputs,
        {**FOLDER, **ROWS, "student": Path("student")},
        ("rows.jsonl", "student/student.json", "student/head.safetensors", "student/backbone/model.safetensors"),
    ),
    "value curve": (
        CurveConfig,
        curve_inputs,
        {**FOLDER, **ROWS, "model": "adapter", "values": Path("values.jsonl"), "test": Path("task.jsonl")},
        (*MODEL, "rows.jsonl", "values.jsonl", "task.jsonl"),
    ),
    "audit": (
        AuditConfig,
        audit_inputs,
        {
            **FOLDER, "case": Path("case"), "before": "adapter", "after": "other", "retrained": "base", "others": ("third",), "store": Path("store"),
            "forget": Path("forget.jsonl"), "like": Path("task.jsonl"), "retain": Path("rows.jsonl"),
            "probe_model": "third", "metric_table": Path("log.json"),
        },
        (*MODEL, *CASE, *STORE, "other/adapter_model.safetensors", "third/adapter_model.safetensors", "forget.jsonl", "task.jsonl", "rows.jsonl", "log.json"),
    ),
    "audit influence": (
        InfluenceAuditConfig,
        influence_inputs,
        {
            **FOLDER, "store": Path("store"), "queries": Path("task.jsonl"), "case": Path("case"), "parts": ("sketch", "retraining", "controls"),
            "recipe": Path("recipe.yaml"), "forget_config": Path("forget.yaml"),
        },
        (*MODEL, *CASE, *STORE, "task.jsonl", "rows.jsonl", "recipe.yaml", "forget.yaml"),
    ),
    "audit tofu": (
        TofuConfig,
        tofu_inputs,
        {**FOLDER, "model": "adapter", "data": Path("tofu"), "reference": Path("log.json")},
        (*MODEL, "tofu/forget10_perturbed.json", "log.json"),
    ),
    "bench forgetting": (
        ForgettingBenchConfig,
        bench_inputs,
        {**FOLDER, "case": Path("case"), "tofu": Path("tofu"), "model": "adapter", "retrained": "other", "store": Path("store")},
        (*MODEL, *CASE, *STORE, "other/adapter_model.safetensors", "tofu/forget10_perturbed.json"),
    ),
    "bench attribution": (
        AttributionBenchConfig,
        attribution_inputs,
        {**FOLDER, "model": "adapter", "date_lm_toxicity": Path("case"), "date_lm_factual": Path("tofu"), "encoder": "encoder", "peers": {"a": "b"}},
        (*MODEL, "case/train.jsonl", "tofu/forget10_perturbed.json", "encoder/model.safetensors"),
    ),
    "fix": (
        FixConfig,
        fix_inputs,
        {
            **FOLDER, **ROWS, "model": "adapter", "prompt": "hello", "trace_model": "other", "retrained": "third", "retain": Path("forget.jsonl"),
            "decisions": Path("task.jsonl"),
        },
        (*MODEL, "other/adapter_model.safetensors", "third/adapter_model.safetensors", "rows.jsonl", "forget.jsonl"),
    ),
    "demo": (
        DemoConfig,
        demo_inputs,
        {**FOLDER, "model": "adapter", "source_dir": Path("case"), "clean_data": Path("rows.jsonl")},
        (*MODEL, "case/train.jsonl", "rows.jsonl"),
    ),
}  # fmt: skip
"""Command to its config, what it declares, options that name something of each kind, and the files behind these."""

ROW_OPTIONS = {"forget": Path("forget.jsonl"), "retain": Path("rows.jsonl"), "target": Path("task.jsonl")}
WEIGHTS = {"forget_weights": Path("f.weights.jsonl"), "retain_weights": Path("r.weights.jsonl")}
FORGET_FILES = (
    *MODEL,
    "forget.jsonl",
    "rows.jsonl",
    "task.jsonl",
    "f.weights.jsonl",
    "r.weights.jsonl",
    "third/adapter_model.safetensors",
)

ELSEWHERE = {
    "cache": "the store refuses what it was not made with, and keeps a digest of each row's tokens: tests/store, tests/trace",
    "forget": "below, for every method",
    "request run": "its attempts are compared by what they read: tests/ledger/test_ledger.py",
}
ANEW = {
    "case", "doctor", "rows", "trace", "weigh", "list", "completion", "report", "run", "serve", "value select", "value report", "audit tofu-log", "request add",
    "request list", "request verify", "request cancel", "request rollback", "request key", "request sign", "request export",
    "store info", "store check", "store repair", "store delete", "store compact", "store merge",
}  # fmt: skip
"""Commands that keep nothing of what they have done: each run computes all of it."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with one small thing of each kind that a command reads."""
    folder = tmp_path_factory.mktemp("world")
    save_model(folder / "base")
    loaded = load(str(folder / "base"))
    model = add_lora(loaded.model, LoraOptions(lora_r=2), seed=0)
    for name in ("adapter", "other", "third"):
        save_adapter(model, loaded.tokenizer, folder / name, base=str(folder / "base"))
        # As an adapter of another trainer: with this record another base is refused, which the last test is about.
        (folder / name / "base.json").unlink()
    for name in ("rows", "forget", "task", "values", "f.weights", "r.weights", "answers", "new", "curvature"):
        write_rows(folder / f"{name}.jsonl")
    shutil.copytree(folder / "base", folder / "encoder")
    (folder / "student").mkdir()
    shutil.copytree(folder / "base", folder / "student/backbone")
    (folder / "student/student.json").write_text('{"backbone": "encoder", "kernel": false}')
    (folder / "student/head.safetensors").write_bytes(b"head")
    (folder / "tofu").mkdir()
    (folder / "tofu/forget10_perturbed.json").write_text("[1]")
    (folder / "log.json").write_text("[1]")
    (folder / "case").mkdir()
    for name in ("case.json", "train.jsonl", "test_seen.jsonl"):
        (folder / "case" / name).write_text('{"detector": "x"}\n')
    (folder / "store/commits").mkdir(parents=True)
    values = {field.name: "x" for field in dataclasses.fields(StoreSpec)}
    values |= {"model": str(folder / "base"), "adapter": str(folder / "adapter"), "number_format": "float16"}
    spec = StoreSpec(**{**values, "encoding": {}, "loading": {}, "dimension": 4, "sketch_seed": 0})
    (folder / "store/store.json").write_text(json.dumps(spec.to_json()))
    (folder / "store/commits/000000-a.json").write_text('{"row_ids": ["a"]}')
    recipe = TrainConfig(data=folder / "rows.jsonl", output_dir=folder / "o", model=str(folder / "adapter"))
    (folder / "recipe.yaml").write_text(dump_yaml("train", recipe))
    unlearning = config_of("rapidun")(
        forget=folder / "forget.jsonl",
        retain=folder / "rows.jsonl",
        output_dir=folder / "o",
        model=str(folder / "other"),
    )
    (folder / "forget.yaml").write_text(dump_yaml("forget", unlearning))
    return folder


def placed(value, folder):
    """An option with the paths that it names lying in a folder."""
    if isinstance(value, tuple):
        return tuple(placed(item, folder) for item in value)
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, str) and (folder / value).exists():
        return str(folder / value)
    if isinstance(value, str) and value.startswith("t="):
        return f"t={folder / value[2:]}"
    return value


def digest_of(command, kind, inputs, options, folder):
    config = kind(**{name: placed(value, folder) for name, value in options.items()})
    return RunFolder(folder / "out", command, config, inputs=inputs(config)).digest


def change(path):
    """Other content of the same size and time: what no look at the folder would tell."""
    times, content = path.stat(), path.read_bytes()
    if path.name in ("adapter_config.json", "store.json", "student.json"):
        # What is read as JSON has to stay that.
        new = content.replace(b"false", b"true ", 1) if b"false" in content else content.replace(b'"x"', b'"y"', 1)
    elif path.suffix == ".yaml":
        new = content.replace(b"learning_rate: 0.0002", b"learning_rate: 0.0003").replace(b"seed: 0", b"seed: 1")
    else:
        place = len(content) // 2
        new = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    assert new != content, path
    assert len(new) == len(content), path
    path.write_bytes(new)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return content


def changed_value(hint, value):
    """Another value of the same type."""
    if typing.get_origin(hint) is typing.Literal:
        return next(choice for choice in typing.get_args(hint) if choice != value)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = next(choice for choice in typing.get_args(hint) if choice is not type(None))
        return changed_value(inner, value)
    if typing.get_origin(hint) is tuple:
        return (*value, changed_value(typing.get_args(hint)[0], value[0] if value else None))
    if typing.get_origin(hint) is dict:
        return {**(value or {}), "completion": "other"}
    if hint is bool:
        return not value
    if hint is float:
        # Shares stay shares.
        return 0.5 if not value or value == float("inf") else value / 2
    if hint is int:
        return 1 if value is None else value + 1
    return f"{value}x"


def check_files(digest, files, folder):
    first = digest()
    for name in files:
        content = change(folder / name)
        assert digest() != first, f"{name} changed, and the run is the same"
        times = (folder / name).stat()
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(times.st_atime_ns + 10**9, times.st_mtime_ns + 10**9))
        assert digest() == first, f"{name} is as before, at another time, and the run is another"


def check_options(command, kind, inputs, options, folder):
    hints = typing.get_type_hints(kind)
    # `auto` is what it comes out as: on some machines another name for one of the others.
    plain = {**options, "dtype": "float32"} if "dtype" in hints else options
    config = kind(**{name: placed(value, folder) for name, value in plain.items()})
    own = inputs(config)
    first = RunFolder(folder / "out", command, config, inputs=own).digest
    for field in dataclasses.fields(kind):
        if field.name in own or field.name == "method":
            continue
        value = getattr(config, field.name)
        if field.name in NO_EFFECT:
            other = Path("elsewhere") if isinstance(value, Path) else ("cpu" if field.name == "device" else value)
        else:
            other = "bfloat16" if field.name == "dtype" else changed_value(hints[field.name], value)
        run = RunFolder(folder / "out", command, dataclasses.replace(config, **{field.name: other}), inputs=own)
        assert (run.digest == first) == (field.name in NO_EFFECT), field.name


@pytest.mark.parametrize("command", KEPT)
def test_every_file_and_option_that_a_command_reads_makes_another_run(command, world):
    kind, inputs, options, files = KEPT[command]
    check_files(lambda: digest_of(command, kind, inputs, options, world), files, world)
    check_options(command, kind, inputs, options, world)


@pytest.mark.parametrize("method", METHODS)
def test_every_file_and_option_of_a_method_makes_another_run(method, world):
    kind = config_of(method)
    extra = {"answers": "answers.jsonl", "replacement": "new.jsonl", "recipe": "recipe.yaml"}
    names = {field.name for field in dataclasses.fields(kind)}
    options = {**FOLDER, **ROW_OPTIONS, **WEIGHTS, "model": "adapter", "target_reference": "third"}
    options |= {name: Path(file) for name, file in extra.items() if name in names}
    files = [file for file in FORGET_FILES if method == "rapidun" or file not in MODEL]
    files += [file for name, file in extra.items() if name in names]
    for name in get_method(method).models:
        options |= {name: "other"}
        files += ["other/adapter_model.safetensors"]
    check_files(lambda: digest_of("forget", kind, forget_inputs, options, world), files, world)
    check_options("forget", kind, forget_inputs, options, world)


@pytest.mark.parametrize("command", KEPT)
def test_where_things_lie_and_from_where_they_are_named_makes_no_other_run(command, world, tmp_path, monkeypatch):
    kind, inputs, options, _ = KEPT[command]
    absolute = digest_of(command, kind, inputs, options, world)
    monkeypatch.chdir(world)
    assert digest_of(command, kind, inputs, options, Path()) == absolute
    monkeypatch.chdir(world.parent)
    assert digest_of(command, kind, inputs, options, Path(world.name)) == absolute


def test_a_run_of_an_adapter_whose_base_has_changed_is_refused(tmp_path):
    loaded = load(str(save_model(tmp_path / "base")))
    save_adapter(
        add_lora(loaded.model, LoraOptions(lora_r=2), seed=0),
        loaded.tokenizer,
        tmp_path / "adapter",
        base=str(tmp_path / "base"),
    )
    config = TrainConfig(
        data=write_rows(tmp_path / "rows.jsonl"), output_dir=tmp_path / "out", model=str(tmp_path / "adapter")
    )
    assert train_inputs(config)
    change(tmp_path / "base/model.safetensors")
    with pytest.raises(ModelError, match="not what the adapter was trained on"):
        RunFolder(tmp_path / "out", "train", config, inputs=train_inputs(config))


def test_every_command_of_the_command_line_says_what_it_keeps():
    assert {*TABLE, "run"} == {*KEPT, *ELSEWHERE, *ANEW}
    without_folder = {"value score", "request run"}
    assert {*KEPT, *ELSEWHERE} - without_folder == set(WRITES), (
        "what a command writes is known wherever it may have to go"
    )


def test_a_path_that_is_no_declared_input_is_a_mistake_of_the_job(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config:
        data: Path
        output_dir: Path
        files: tuple[Path, ...] = (Path("a"),)

    config = Config(tmp_path, tmp_path)
    with pytest.raises(TypeError, match="no declared input"):
        options_of(config, {"data"})
    assert options_of(config, {"data", "files"}) == {}
    with pytest.raises(TypeError):
        RunFolder(tmp_path, "train", config)
