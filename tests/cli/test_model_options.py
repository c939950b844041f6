"""How a model is held: every command either takes an option to every model that it loads, or refuses it by name before it loads one."""

import dataclasses
import sys
from pathlib import Path

import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.notebook import numbered
from unweave.cli.common import Common
from unweave.cli.main import main
from unweave.cli.options import options_of
from unweave.cli.running import config_of
from unweave.cli.table import TABLE
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.errors import ConfigError
from unweave.gradients.per_sample import per_sample_gradients
from unweave.models import loading
from unweave.models.fingerprint import model_fingerprint
from unweave.models.generation import greedy_answers
from unweave.models.holding import HOLDING
from unweave.models.loading import ModelConfig, load
from unweave.models.selection import select_parameters

GIVEN = {
    "dtype": "float64",
    "device": "cpu",
    "attn_implementation": "sdpa",
    "quantization": "4bit",
    "gradient_checkpointing": True,
    "device_map": "auto",
}
"""A value of each that is not its default, but for the device: there is one in the tests."""

WHOLE = "train", "value curve", "forget", "demo", "bench attribution"
"""Commands that take `device_map` and refuse any but the default."""

OWN_DEVICE = "value fit", "value predict", "value select", "value report"
"""Commands whose `device`, and `dtype`, are of a student or an encoder: they load no language model to hold."""

SMALL = ["--max-length", "64", "--quiet"]


class EnoughError(Exception):
    """What was to be seen has been."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    for name in ("base", "other"):
        save_model(folder / name)
    rows = numbered(ROWS)
    for name, own in (("rows", rows), ("forget", rows[:3]), ("retain", rows[3:]), ("like", rows[5:])):
        write_rows(folder / f"{name}.jsonl", own)
    training = ["--epochs", "1", "--batch-size", "4", "--lora-r", "2", "--dtype", "float32"]
    data = ["--data", str(folder / "rows.jsonl")]
    assert (
        main(
            ["train", "--model", str(folder / "base"), *data, *training, *SMALL, "--output-dir", str(folder / "tuned")]
        )
        == 0
    )
    cache = ["--model", str(folder / "tuned"), *data, "--dimension", "128", "--dtype", "float32", *SMALL]
    assert main(["cache", *cache, "--store", str(folder / "store")]) == 0
    assert (
        main(
            [
                "value",
                "score",
                "--model",
                str(folder / "base"),
                *data,
                "--tasks",
                str(folder / "like.jsonl"),
                "--dtype",
                "float32",
                *SMALL,
                "--output",
                str(folder / "values.jsonl"),
            ]
        )
        == 0
    )
    return folder


def lines(folder, out):
    """Command to a line that gets it to load all its models, and how many there are."""
    tuned, base = (["--model", str(folder / name)] for name in ("tuned", "base"))
    data = ["--data", str(folder / "rows.jsonl")]
    to = ["--output-dir", str(out / "out")]
    rows = ["--forget", str(folder / "forget.jsonl"), "--retain", str(folder / "retain.jsonl")]
    later = ["--baselines", "tracin", "--tracin-model", str(folder / "other")]
    least = ["--shares", "0.5", "--seeds", "0"]
    audited = [
        "--probe-model",
        str(folder / "other"),
        "--attacks",
        "sampling",
        "--max-new-tokens",
        "2",
        "--gradnorm-rows",
        "2",
    ]
    few = ["--epochs", "1", "--batch-size", "4", "--lora-r", "2"]
    bench = "--measures recall --scorers gradient --seeds 0 --rows 36 --asked 2 --dimension 64 --epochs 1 --lora-r 2 --max-length 64".split()
    return {
        "train": ([*base, *data, *few, *to, *SMALL], 1),
        "doctor": ([*tuned, *data, "--dimension", "128", *SMALL], 1),
        "cache": ([*tuned, *data, "--dimension", "128", "--store", str(out / "store"), *SMALL], 1),
        "trace": (["--store", str(folder / "store"), "--prompt", "hello", "--max-new-tokens", "2", "--quiet"], 1),
        "value score": ([*base, *data, "--tasks", str(folder / "like.jsonl"), "--output", str(out / "v.jsonl"), *later, *SMALL], 2),
        "value curve": ([*base, *data, "--values", str(folder / "values.jsonl"), "--test", str(folder / "like.jsonl"), *least, *few, *to, *SMALL], 5),
        "forget": ([*tuned, *rows, "--target", str(folder / "rows.jsonl"), "--target-reference", str(folder / "other"), "--epochs", "1", *to, *SMALL], 2),
        "forget --method distill": ([*tuned, *rows, "--teacher", "model", "--teacher-model", str(folder / "base"), "--epochs", "1", *to, *SMALL], 2),
        "forget --method retrain": ([*tuned, *rows[:2], *to, *SMALL], 1),
        "audit": (["--before", str(folder / "base"), "--after", str(folder / "tuned"), "--retrained", str(folder / "other"), *rows, *audited, *to, *SMALL], 4),
        "audit tofu": ([*base, "--data", str(folder), *to, "--quiet"], None),
        "demo": ([*base, *to, "--quiet"], None),
        "bench attribution": ([*base, *bench, *to, "--quiet"], 2),
    }  # fmt: skip


def words(name):
    value = GIVEN[name]
    option = f"--{name.replace('_', '-')}"
    return [option] if value is True else [option, str(value)]


def names_of(command):
    kind, _ = config_of(TABLE[command], [])
    return {field.name for field in dataclasses.fields(kind)}


@pytest.fixture
def recorded(monkeypatch):
    """The configs that models are loaded by; what is quantised is loaded as it is, since the library that does it is not there."""
    seen, load_base = [], loading._load_base

    def record(place, config, device):
        seen.append(config)
        return load_base(place, dataclasses.replace(config, quantization="none"), device)

    monkeypatch.setattr(loading, "_load_base", record)
    return seen


@pytest.mark.parametrize("command", sorted(TABLE))
def test_an_option_that_a_command_lacks_is_refused_by_name(command, capsys, recorded):
    missing = [name for name in HOLDING if name not in names_of(command)]
    if missing:
        kind, _ = config_of(TABLE[command], [])
        first = [next(iter(own.choices), "x") for own in options_of(kind, Common) if own.is_positional]
        with pytest.raises(SystemExit, match="2"):
            sys.exit(main([*command.split(), *first, *(word for name in missing for word in words(name))]))
        said = capsys.readouterr().err
        assert [name for name in missing if f"--{name.replace('_', '-')}" not in said] == [], command
    if len(missing) < len(HOLDING) and command not in (
        *OWN_DEVICE,
        "bench forgetting",
        "audit influence",
        "serve",
        "fix",
        "request run",
    ):
        assert not missing, "a command with some of these options has all, or stands above"
        assert command in lines_of_commands(), "and has a line"
    assert not recorded


def lines_of_commands():
    return lines(Path("any"), Path("any"))


@pytest.mark.parametrize("line", sorted(lines_of_commands()))
def test_every_model_is_held_as_asked(line, world, tmp_path, recorded, monkeypatch, capsys):
    argv, count = lines(world, tmp_path)[line]
    command = [*line.split(), *argv]
    name = " ".join(word for word in line.partition(" --")[0].split())
    given = {option: value for option, value in GIVEN.items() if not (option == "device_map" and name in WHOLE)}
    if count is None:
        real = loading._load_base
        monkeypatch.setattr(loading, "_load_base", lambda *own: (real(*own), (_ for _ in ()).throw(EnoughError()))[0])
    code = main([*command, *(word for option in given for word in words(option))])
    if count is not None:
        assert code == 0, capsys.readouterr().err
        assert len(recorded) == count
    assert recorded, capsys.readouterr().err
    for config in recorded:
        teaches = line.endswith("distill") and config is recorded[-1]
        # A teacher is differentiated by nobody, and an `auto` was decided on for the student.
        assert {
            option: getattr(config, option) for option in given if not (teaches and option == "gradient_checkpointing")
        } == {option: value for option, value in given.items() if not (teaches and option == "gradient_checkpointing")}


@pytest.mark.parametrize("line", [line for line in sorted(lines_of_commands()) if line.partition(" --")[0] in WHOLE])
def test_what_trains_refuses_layers_in_several_places(line, world, tmp_path, recorded, capsys):
    assert main([*line.split(), *lines(world, tmp_path)[line][0], "--device-map", "offload"]) == 2
    assert "--device-map" in capsys.readouterr().err
    assert not recorded


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--attacks", "relearn", "--device-map", "offload"], "--device-map"),
        (["--attacks", "quantise", "--quantization", "4bit"], "--quantization"),
        (["--attacks", "sampling", "--device-map", "offload", "--quantization", "4bit"], "--quantization"),
    ],
)
def test_an_audit_refuses_what_its_attacks_can_not_do_with(more, named, world, tmp_path, recorded, capsys):
    argv = lines(world, tmp_path)["audit"][0]
    place = argv.index("--attacks")
    assert main(["audit", *argv[:place], *argv[place + 2 :], *more]) == 2
    assert named in capsys.readouterr().err
    assert not recorded


def test_training_all_weights_of_a_quantised_base_is_refused_before_it_is_loaded(world, tmp_path, recorded, capsys):
    argv = lines(world, tmp_path)["train"][0]
    assert main(["train", *argv, "--tuning", "full", "--quantization", "4bit"]) == 2
    assert "--quantization" in capsys.readouterr().err
    assert not recorded


@pytest.mark.parametrize("how", [{"gradient_checkpointing": True}, {"device_map": "offload"}])
def test_a_model_held_in_less_memory_is_the_same_model(how, world):
    rows = read_rows(world / "rows.jsonl").rows
    found = []
    for options in ({}, how):
        loaded = load(ModelConfig(model=str(world / "tuned"), dtype="float64", **options))
        examples = encode_rows(rows, loaded.tokenizer, EncodingConfig()).examples[:4]
        batch = collate(examples, pad_token_id=loaded.tokenizer.pad_token_id)
        calls, gradients = [], {}
        handle = (
            loaded.model.get_base_model()
            .model.layers[0]
            .mlp.register_forward_pre_hook(lambda *_, into=calls: into.append(1))
        )
        chosen = select_parameters(loaded.model, "lora")
        per_sample_gradients(
            loaded.model, batch, chosen, lambda name, piece, into=gradients: into.update({name: piece})
        )
        handle.remove()
        answers = greedy_answers(loaded, rows[:3], EncodingConfig(), max_new_tokens=3)
        found.append((model_fingerprint(loaded.model), answers, gradients, len(calls)))
    weights = [own for name, own in loaded.model.named_parameters() if "base_layer.weight" in name]
    assert weights
    assert all(own.is_meta for own in weights) == ("device_map" in how)
    (own_print, own_answers, own_gradients, own_calls), (fingerprint, answers, gradients, calls) = found
    assert fingerprint == own_print
    assert answers == own_answers
    assert gradients.keys() == own_gradients.keys()
    for name, piece in gradients.items():
        torch.testing.assert_close(piece, own_gradients[name])
    assert calls > own_calls, "each layer is run again for the backward pass"
    if "device_map" in how:
        with pytest.raises(ConfigError, match="no gradient of them"):
            select_parameters(loaded.model, "linear")
