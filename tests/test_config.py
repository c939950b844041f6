"""YAML into dataclasses: strict, all errors at once, each with its line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from unweave.config import dump_yaml, load_yaml, read_command
from unweave.errors import ConfigError
from unweave.weights.config import WeighConfig


@dataclass(frozen=True, kw_only=True)
class Example:
    data: Path
    rate: float = 0.1
    rows: int = 3
    kind: Literal["a", "b"] = "a"
    on: bool = False
    names: tuple[str, ...] = ()
    columns: dict[str, str] | None = None
    limit: int | None = 5
    label: str = field(default="x")


def write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def test_values_are_converted_and_defaults_kept(tmp_path):
    path = write(
        tmp_path,
        "command: x\ndata: d.jsonl\nrate: 1e-4\non: true\nnames: [a, b]\ncolumns: {completion: c}\nlimit: null\nlabel: 12\n",
    )
    config = load_yaml(Example, path, command="x")
    assert config == Example(
        data=Path("d.jsonl"), rate=1e-4, on=True, names=("a", "b"), columns={"completion": "c"}, limit=None, label="12"
    )


def test_all_errors_come_at_once_with_lines(tmp_path):
    path = write(tmp_path, "rats: 1\nrate: fast\nkind: c\nrows: 1.5\nrows: 2\nnames: a\non: yes\n")
    with pytest.raises(ConfigError) as raised:
        load_yaml(Example, path)
    message = str(raised.value)
    for expected in (
        "line 1: unknown key 'rats'; did you mean 'rate'?",
        "line 2: rate: expected a number, got 'fast'",
        "line 3: kind: 'c' is not one of a, b",
        "line 4: rows: expected a whole number, got '1.5'",
        "line 6: names: expected a list",
        "line 7: on: expected true or false, got 'yes'",
        "the key 'data' is missing",
    ):
        assert expected in message
    assert raised.value.exit_code == 2


def test_broken_and_missing_files(tmp_path):
    with pytest.raises(ConfigError, match="not found"):
        load_yaml(Example, tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="Not valid YAML") as raised:
        load_yaml(Example, write(tmp_path, "a: [1\nb: 2\n"))
    assert "c.yaml:" in str(raised.value)
    with pytest.raises(ConfigError, match="a mapping"):
        load_yaml(Example, write(tmp_path, "- 1\n"))
    with pytest.raises(ConfigError, match="names no command"):
        read_command(write(tmp_path, "data: x\n"))
    with pytest.raises(ConfigError, match="not `unweave y`"):
        load_yaml(Example, write(tmp_path, "command: x\ndata: d\n"), command="y")


def test_what_is_dumped_is_read_back(tmp_path):
    config = WeighConfig(f2f=Path("a.json"), topk=None, tau_f=1e-5)
    path = write(tmp_path, dump_yaml("weigh", config))
    assert read_command(path) == "weigh"
    assert load_yaml(WeighConfig, path, command="weigh") == config
