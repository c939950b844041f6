"""Influence summed by a field of the rows."""

import json
import math

import pytest
import torch

import unweave as uw
from tests.notebook import in_memory, write_files
from unweave.attribution.groups import sums_by
from unweave.cli.main import main
from unweave.errors import DataError

TEXTS = {
    "a": {"meta": '{"owner": "ann", "year": 2020}', "source": "x.jsonl"},
    "b": {"meta": '{"owner": "bo"}', "source": "y.jsonl"},
    "c": {"meta": '{"owner": "ann"}', "source": "y.jsonl"},
    "d": {"meta": "{}", "source": "y.jsonl"},
}
SCORES = torch.tensor([2.0, 1.0, -0.5, 1.0])


def by(field):
    return {one.group: one for one in sums_by(field, list(TEXTS), SCORES[None], TEXTS, where="store")[0]}


def test_sums_means_and_shares():
    found = by("owner")
    assert list(found) == ["ann", "", "bo"], "the largest sum first, then by name"
    assert (found["ann"].rows, found["ann"].total, found["ann"].mean, found["ann"].share) == (2, 1.5, 0.75, 0.5)
    assert sum(one.share for one in found.values()) == 1.0
    assert {name: one.total for name, one in by("source").items()} == {"x.jsonl": 2.0, "y.jsonl": 1.5}
    assert set(by("year")) == {"2020", ""}
    none = sums_by("owner", ["a"], torch.tensor([[-1.0]]), TEXTS, where="store")[0]
    assert math.isnan(none[0].share)


def test_a_field_that_no_row_has_is_refused_and_the_others_named():
    with pytest.raises(DataError, match="No row has the field 'ower'") as raised:
        by("ower")
    assert "owner, source, year" in str(raised.value)


def test_in_python_and_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(write_files(tmp_path))
    own = in_memory(tmp_path)
    index = uw.GradientIndex.build(own["model"], uw.load_rows("rows.jsonl"), path="store", dimension=4096)
    hits = index.attribute("what is the capital of Peru ?", completion="Lima")
    sums = hits.sums(by="poisoned")
    assert sum(one.rows for one in sums) == len(index)
    asked = ["trace", "--store", "store", "--prompt", "what is the capital of Peru ?", "--completion", "Lima"]
    assert main([*asked, "--group-by", "poisoned", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)[0]["groups"]
    assert {one["group"]: one["total"] for one in groups} == pytest.approx(
        {one.group: one.total for one in sums}, rel=1e-4
    )
    assert main([*asked, "--group-by", "poisoned"]) == 0
    assert "by poisoned" in capsys.readouterr().out
    assert main([*asked, "--group-by", "poisoned", "--index", "faiss"]) == 2
    assert "nothing to sum by a field" in capsys.readouterr().err
    assert main([*asked, "--group-by", "poisoned", "--scorer", "bm25", "--json"]) == 0
    assert sum(one["rows"] for one in json.loads(capsys.readouterr().out)[0]["groups"]) == len(index)
    assert main([*asked, "--group-by", "owner"]) == 1
    assert "No row has the field 'owner'" in capsys.readouterr().err
