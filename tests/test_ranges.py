"""Which numbers an option may have: each has a range, and what is outside is refused by name before any work."""

import dataclasses
import importlib
import math
import pkgutil
import typing

import pytest

import unweave
from unweave.cli.main import main
from unweave.config import load_yaml
from unweave.errors import ConfigError
from unweave.ranges import ANY, RANGES, require_in_range
from unweave.train.config import TrainConfig
from unweave.unlearning.config import config_of

# Weights of terms, scales and indices, which may be any finite number or are checked where the model is known.
FREE = {
    "alpha", "alpha_harm", "ascent", "beta", "beta_harm", "dampening", "delta", "delta_harm", "descent", "gain", "gamma", "gamma_harm", "layer", "omega",
    "orthogonality", "price", "scale", "selection", "steering",
}  # fmt: skip


def config_types():
    found = {}
    for module in pkgutil.walk_packages(unweave.__path__, "unweave."):
        if "config" in module.name or ".cli." in module.name or ".methods." in module.name:
            for name, kind in vars(importlib.import_module(module.name)).items():
                if isinstance(kind, type) and dataclasses.is_dataclass(kind) and name.endswith("Config"):
                    found[f"{kind.__module__}.{name}"] = kind
    return list(found.values())


def is_number(hint):
    return hint in (int, float) or any(is_number(part) for part in typing.get_args(hint))


def test_every_numeric_option_has_a_range_that_its_default_is_in():
    names = set()
    for kind in config_types():
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if is_number(hints[field.name]):
                names.add(field.name)
                for value in field.default if isinstance(field.default, tuple) else (field.default,):
                    if isinstance(value, int | float) and not isinstance(value, bool):
                        assert RANGES.get(field.name, ANY).holds(value), (kind, field.name)
    assert len(names) > 100
    assert names - RANGES.keys() - FREE == set(), "a new option needs an entry"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--seed", "-1"),
        ("--seed", str(2**32)),
        ("--limit", str(2**63)),
        ("--epochs", "nan"),
        ("--epochs", "0"),
        ("--epochs", "inf"),
        ("--batch-size", "0"),
        ("--learning-rate", "0"),
        ("--learning-rate", "-1e-3"),
        ("--learning-rate", "inf"),
        ("--lora-dropout", "1"),
        ("--warmup-ratio", "1.5"),
        ("--weight-decay", "-1"),
        ("--max-grad-norm", "nan"),
        ("--max-length", "0"),
        ("--limit", "0"),
        ("--lora-r", "0"),
    ],
)
def test_a_number_that_cannot_be_ends_in_the_name_of_its_option(tmp_path, capsys, option, value):
    call = ["train", "--data", str(tmp_path / "no.jsonl"), "--output-dir", str(tmp_path / "o"), option, value]
    assert main(call) == 2
    errors = capsys.readouterr().err
    assert option in errors
    assert "remedy: give a" in errors
    assert not (tmp_path / "o").exists()


def test_in_python_arguments_are_named(tmp_path):
    config = TrainConfig(data="d", output_dir=tmp_path, learning_rate=-1.0, batch_size=0)
    with pytest.raises(ConfigError) as raised:
        require_in_range(config)
    assert raised.value.where == "`batch_size`, `learning_rate`"


def test_on_the_command_line_these_are_options(tmp_path, capsys):
    call = ["train", "--data", "d", "--output-dir", str(tmp_path / "o"), "--learning-rate", "-1", "--batch-size", "0"]
    assert main(call) == 2
    assert "where: --batch-size, --learning-rate\n" in capsys.readouterr().err


def test_a_config_file_is_checked_as_well_and_all_at_once(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("data: d\noutput_dir: o\nseed: -3\nepochs: .nan\n")
    with pytest.raises(ConfigError, match="expected a number"):
        load_yaml(TrainConfig, path)
    path.write_text("data: d\noutput_dir: o\nseed: -3\nepochs: nan\n")
    with pytest.raises(ConfigError, match=r"epochs can't be nan; seed can't be -3") as raised:
        load_yaml(TrainConfig, path)
    assert "c.yaml" in str(raised.value)


def test_bounds_may_be_infinite(tmp_path):
    require_in_range(
        config_of("npo")(
            forget=tmp_path, retain=tmp_path, output_dir=tmp_path, stop_loss=math.inf, retain_ratio=math.inf
        )
    )
    with pytest.raises(ConfigError, match="beta can't be inf"):
        require_in_range(config_of("npo")(forget=tmp_path, retain=tmp_path, output_dir=tmp_path, beta=math.inf))
