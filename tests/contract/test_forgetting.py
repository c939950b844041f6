"""An unlearning method and a layout that a test registers work like those that the package brings."""

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from tests.folders import write_rows
from unweave.data.layouts import LAYOUTS
from unweave.data.layouts.base import Layout, pair_reader
from unweave.data.reading import read_rows
from unweave.errors import ConfigError
from unweave.jobs.forget import forget_rows
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import METHODS, Objective, available, get_method
from unweave.unlearning.roles import Role


@dataclass(frozen=True, kw_only=True)
class Flatter(Objective):
    """Answers are to be as likely as a target says.

    Attributes:
        wanted: Their loss, nats a token.
    """

    name: ClassVar = "flatter"
    summary: ClassVar = "answers as likely as asked"
    paper: ClassVar = "a test"
    uses_retain: ClassVar = False

    wanted: float = 5.0

    def loss(self, step):
        return (step.masked_mean(step.losses.means(), Role.UNWANTED) - self.wanted).square()


@pytest.fixture
def flatter(monkeypatch):
    monkeypatch.setitem(METHODS, "flatter", Flatter)


def made_by(folder):
    return load_file(folder / "adapter_model.safetensors"), json.loads((folder / "result.json").read_text())["result"]


@pytest.mark.usefixtures("flatter")
def test_a_method_in_python_in_yaml_and_on_the_command_line(place, helped, capsys):
    options = {"model": str(place.model), "forget": place.rows, "epochs": 4.0, "dtype": "float32", "learning_rate": 1e-3, "wanted": 6.5}  # fmt: skip
    forget_rows(config_of("flatter")(**options, output_dir=place.folder / "zero"))
    words = {**options, "method": "flatter"}
    assert place.run("forget", **words, output_dir=place.folder / "one") == 0
    assert place.replay("forget", **words, output_dir=place.folder / "two") == 0
    (weights, told), *others = (made_by(place.folder / name) for name in ("zero", "one", "two"))
    assert told["method"] == "flatter"
    first, last = told["details"]["effect"]["forget_loss"]
    assert abs(last - 6.5) < abs(first - 6.5)
    for same, _ in others:
        assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert "--wanted FLOAT" in helped("forget --method flatter")
    capsys.readouterr()
    assert available()["flatter"] is Flatter
    assert place.run("methods") == 0
    assert "flatter" in capsys.readouterr().out


def test_a_method_that_is_not_there():
    with pytest.raises(ConfigError, match="did you mean 'npo'"):
        get_method("npos")


RECIPES = Layout(
    name="recipes", required=("dish", "steps"), read=pair_reader("dish", "steps"), prompt="`dish`", learned="`steps`"
)


def test_a_layout(place, capsys, monkeypatch):
    path = write_rows(place.folder / "recipes.jsonl", [{"dish": "hello", "steps": "add 1 and 2"}, {"dish": "ahoy", "steps": "world"}])  # fmt: skip
    with pytest.raises(ConfigError):
        read_rows(path)
    monkeypatch.setitem(LAYOUTS, "recipes", RECIPES)
    assert [(row.instruction, row.completion) for row in read_rows(path)] == [
        ("hello", "add 1 and 2"),
        ("ahoy", "world"),
    ]
    options = {"data": path, "model": place.model}
    assert place.run("rows", **options) == 0
    by_options = capsys.readouterr().out
    assert "add 1 and 2" in by_options
    assert place.replay("rows", **options) == 0
    assert capsys.readouterr().out == by_options
