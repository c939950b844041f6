"""Whole files or none."""

import json

import pytest

from unweave.errors import DataError
from unweave.files import read_json, replacing, replacing_folder, write_json


def test_an_error_leaves_the_old_content_and_no_rubbish(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_folders_are_replaced_whole(tmp_path):
    target = tmp_path / "f"
    for content in ("one", "two"):
        with replacing_folder(target) as folder:
            (folder / content).write_text(content)
    assert [entry.name for entry in target.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replacing_folder(target) as folder:
        (folder / "three").write_text("x")
        raise RuntimeError
    assert [entry.name for entry in target.iterdir()] == ["two"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_json_has_no_nan_and_errors_name_the_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": float("nan"), "b": [float("inf"), 1.5]})
    assert read_json(path, what="It") == {"a": None, "b": [None, 1.5]}
    path.write_text("{")
    with pytest.raises(DataError, match="It is not valid JSON") as raised:
        read_json(path, what="It")
    assert str(path) in str(raised.value)
    with pytest.raises(DataError, match="It not found"):
        read_json(tmp_path / "b.json", what="It")
