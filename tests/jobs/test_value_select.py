"""Choosing rows: against brute force, within the budget, without copies, fair to providers."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from tests.folders import write_rows
from unweave.cli.main import main
from unweave.errors import ConfigError, DataError
from unweave.jobs.value_select import select_rows
from unweave.valuation.choice import Candidates, Selection, shares_of, take_centers, take_facility, take_top
from unweave.valuation.config import SelectConfig
from unweave.valuation.table import write_table


def candidates(count, *, seed=0, dimension=4):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.sort(rng.normal(size=count))[::-1]
    return Candidates(values, np.ones(count), [f"text {index}" for index in range(count)], vectors)


def chosen_by(take, known, budget, *, diversity=0.5, duplicates=1.0):
    selection = Selection(known, budget=budget, duplicates=duplicates)
    take(selection, diversity)
    return selection


def objective(known, rows, diversity):
    similar = np.clip(known.vectors @ known.vectors.T, 0, None)
    worth = (known.values - known.values.min()) / np.ptp(known.values)
    stands = similar[list(rows)].max(axis=0).mean() if rows else 0.0
    return (1 - diversity) * worth[list(rows)].sum() / worth.sum() + diversity * stands


@pytest.mark.parametrize("diversity", [0.0, 0.3, 1.0])
def test_lazy_facility_location_is_the_greedy_choice_and_near_the_best(diversity):
    known = candidates(11, seed=3)
    found = chosen_by(take_facility, known, 4, diversity=diversity).chosen
    greedy = []
    for _ in range(4):
        greedy.append(
            max(
                (row for row in range(11) if row not in greedy),
                key=lambda row: objective(known, [*greedy, row], diversity),
            )
        )
    assert found == greedy
    best = max(objective(known, rows, diversity) for rows in itertools.combinations(range(11), 4))
    assert objective(known, found, diversity) >= (1 - 1 / np.e) * best, "the bound of Nemhauser, Wolsey and Fisher"
    if diversity == 0:
        assert found == [0, 1, 2, 3]


def test_centers_are_farthest_first():
    known = candidates(20, seed=5)
    found = chosen_by(take_centers, known, 5).chosen
    assert found[0] == 0
    for place in range(1, 5):
        distances = [min(1 - known.vectors[row] @ known.vectors[other] for other in found[:place]) for row in range(20)]
        assert distances[found[place]] == pytest.approx(max(distances))


def test_budgets_of_unequal_costs_and_copies():
    known = candidates(6)
    costs = np.array([3.0, 9.0, 2.0, 2.0, 1.0, 1.0])
    texts = ["a b", "c", "a  b", "d", "e", "f"]
    selection = chosen_by(take_top, replace(known, costs=costs, texts=texts), 6)
    assert selection.chosen == [0, 3, 4], "what does not fit is passed over, what is there already too"
    assert (selection.spent, selection.copies) == (6.0, 1)
    twins = np.vstack([known.vectors[:3], known.vectors[:3]])
    selection = chosen_by(take_top, replace(known, vectors=twins), 6, duplicates=0.99)
    assert selection.chosen == [0, 1, 2]


def test_providers_are_paid_by_the_value_that_they_bring():
    table = shares_of([3.0, 1.0, -2.0, 1.0], ["ann", "bob", "bob", "ann"], 10.0)
    assert list(table) == ["ann", "bob"]
    assert table["ann"] == {"rows": 2, "value": 4.0, "share": 0.8, "payment": 8.0, "price_a_row": 4.0}
    assert table["bob"]["payment"] == pytest.approx(2.0), "a harmful row costs its provider nothing but its place"
    assert "payment" not in shares_of([1.0], ["ann"], None)["ann"]
    assert shares_of([-1.0], ["ann"], 5.0)["ann"]["payment"] == 0.0


@pytest.fixture
def world(tmp_path):
    kinds = ["sail the harbour tide", "plough the barley field", "bake the rye bread"]
    rows = [
        {
            "id": f"r{index}",
            "instruction": f"say {index}",
            "response": f"{kinds[index % 3]} {index}",
            "owner": ("ann", "bob")[index % 2],
        }
        for index in range(30)
    ]
    # The first kind is worth most, so that the best rows are all alike.
    values = [2.0 - index % 3 + index / 100 for index in range(30)]
    write_table(
        tmp_path / "v.parquet",
        {"id": [row["id"] for row in rows], "line": list(range(30)), "task": values, "loss": values},
    )
    return SelectConfig(
        values=tmp_path / "v.parquet",
        data=write_rows(tmp_path / "rows.jsonl", rows),
        output=tmp_path / "chosen.jsonl",
        budget_rows=6,
        device="cpu",
    )


def test_the_best_rows_and_the_best_that_differ(world):
    top = select_rows(replace(world, provider="owner", price=12.0))
    chosen = [json.loads(line) for line in world.output.read_text().splitlines()]
    assert [row["id"] for row in chosen] == ["r27", "r24", "r21", "r18", "r15", "r12"]
    assert chosen[0]["value"] == pytest.approx(2.27)
    assert top.value == pytest.approx(top.best_value)
    assert sum(own["payment"] for own in top.providers.values()) == pytest.approx(12.0)
    summary = json.loads((world.output.parent / "chosen.summary.json").read_text())
    assert (summary["rows"], summary["of"], summary["task"]) == (6, 30, "task")
    for strategy in ("facility", "k-center"):
        spread = select_rows(replace(world, strategy=strategy, diversity=0.9, pool=5.0))
        kinds = {int(json.loads(line)["id"][1:]) % 3 for line in world.output.read_text().splitlines()}
        assert len(kinds) == 3, strategy
        assert spread.value < spread.best_value


def test_tokens_as_a_budget(world):
    few, more = (select_rows(replace(world, budget_rows=None, budget_tokens=budget)) for budget in (150, 400))
    assert 0 < few.rows < more.rows
    assert few.spent <= 150
    assert more.spent <= 400


def test_refusals_and_the_command(world, tmp_path, capsys):
    for changes, error, message in (
        ({"budget_tokens": 5}, ConfigError, "rows or of tokens"),
        ({"budget_rows": 0}, ConfigError, "rows or of tokens"),
        ({"diversity": 2.0}, ConfigError, "out of range"),
        ({"features": "store"}, ConfigError, "needs a store"),
        ({"price": 5.0}, ConfigError, "shared among providers"),
        ({"task": "tsak"}, ConfigError, "no column 'tsak'"),
        ({"provider": "seller"}, DataError, "no 'seller'"),
        (
            {"data": write_rows(tmp_path / "o.jsonl", [{"id": "z", "instruction": "a", "response": "b"}])},
            DataError,
            "not in the data",
        ),
    ):
        with pytest.raises(error, match=message):
            select_rows(replace(world, **changes))
    options = [
        "--values",
        str(world.values),
        "--data",
        str(world.data),
        "--output",
        str(world.output),
        "--budget-rows",
        "4",
        "--provider",
        "owner",
    ]
    assert main(["value", "select", *options]) == 0
    printed = capsys.readouterr().out
    assert "4 of 30 rows" in printed
    assert "ann" in printed
