"""Rows from files: conventions, stable ids, and every broken row by file and line."""

import csv
import json

import pytest

from unweave.data.reading import load_rows, read_rows
from unweave.data.rows import content_id
from unweave.errors import ConfigError, DataError


def jsonl(path, records):
    path.write_text("".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"prompt": "q", "completion": "a"}, ("q", "", "a", ())),
        ({"instruction": "q", "input": "c", "output": "a"}, ("q", "c", "a", ())),
        ({"instruction": "q", "context": "c", "response": "a", "category": "x"}, ("q", "c", "a", ())),
        ({"question": "q", "answer": "a"}, ("q", "", "a", ())),
        ({"text": "a"}, ("", "", "a", ())),
        (
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                ]
            },
            ("q", "", "a", (("system", "s"),)),
        ),
    ],
)
def test_conventions_are_recognised(tmp_path, record, expected):
    row = read_rows(jsonl(tmp_path / "d.jsonl", [record]))[0]
    assert (row.instruction, row.context, row.completion, row.turns) == expected
    assert row.id == content_id(expected[0], expected[1], expected[3], expected[2])
    assert row.place == f"{tmp_path / 'd.jsonl'}:1"


def test_csv_parquet_json_and_saved_datasets_give_the_same_rows(tmp_path):
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [
        {"instruction": f"say {index}", "context": "", "response": f"answer, {index}\nline"} for index in range(3)
    ]
    jsonl(tmp_path / "d.jsonl", records)
    (tmp_path / "d.json").write_text(json.dumps(records))
    with (tmp_path / "d.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "d.parquet")
    datasets.Dataset.from_list(records).save_to_disk(tmp_path / "saved")
    expected = [(row.id, row.completion) for row in read_rows(tmp_path / "d.jsonl")]
    for name in ("d.json", "d.csv", "d.parquet", "saved"):
        assert [(row.id, row.completion) for row in read_rows(tmp_path / name)] == expected, name


def test_ids_given_kept_and_repeats_told_apart(tmp_path):
    row = {"prompt": "q", "completion": "a"}
    rows = read_rows(jsonl(tmp_path / "d.jsonl", [row, row, {**row, "id": "mine"}]))
    assert rows[1].id == rows[0].id + "-2"
    assert rows[2].id == "mine"
    assert [(problem.action, problem.place.rpartition(":")[2]) for problem in rows.problems] == [("renamed", "2")]
    with pytest.raises(DataError, match="'mine' stands twice") as raised:
        read_rows(jsonl(tmp_path / "e.jsonl", [{**row, "id": "mine"}] * 2))
    assert "e.jsonl:2" in str(raised.value)


def test_broken_rows_are_named_with_file_and_line(tmp_path):
    path = jsonl(
        tmp_path / "d.jsonl",
        [
            {"prompt": "q", "completion": "a"},
            '{"prompt": "q", ',
            {"prompt": "q", "completion": "  "},
            {"prompt": "", "completion": "a"},
            {"prompt": "q"},
            {"prompt": ["q"], "completion": "a"},
            "[1]",
        ],
    )
    with pytest.raises(DataError) as raised:
        read_rows(path)
    message = str(raised.value)
    for line, reason in [
        (2, "broken JSON"),
        (3, "answer is empty"),
        (4, "prompt is empty"),
        (5, "'completion' is missing"),
        (6, "holds a list"),
        (7, "not an object"),
    ]:
        assert f"{path}:{line}: " in message
        assert reason in message
    assert "`on_bad_row` skip" in message
    rows = read_rows(path, on_bad_row="skip")
    assert len(rows) == 1
    assert len(rows.problems) == 6


def test_missing_empty_and_unknown(tmp_path):
    with pytest.raises(DataError, match="not found") as raised:
        read_rows(tmp_path / "absent.jsonl")
    assert "absent.jsonl" in str(raised.value)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no rows"):
        read_rows(tmp_path / "empty.jsonl")
    (tmp_path / "d.xlsx").write_text("x")
    with pytest.raises(DataError, match="Unknown file type"):
        read_rows(tmp_path / "d.xlsx")
    (tmp_path / "d.parquet").write_text("no parquet")
    with pytest.raises(DataError, match="Parquet"):
        read_rows(tmp_path / "d.parquet")


def test_columns_by_mapping_and_wrong_columns(tmp_path):
    path = jsonl(tmp_path / "d.jsonl", [{"ask": "q", "reply": "a", "good": "b", "n": 4}])
    with pytest.raises(ConfigError, match="ask, good, n, reply") as raised:
        read_rows(path)
    assert "`columns`" in str(raised.value)
    row = read_rows(path, columns={"instruction": "ask", "completion": "reply", "clean": "good"})[0]
    assert (row.instruction, row.completion, row.clean_completion, dict(row.meta)) == ("q", "a", "b", {"n": 4})
    with pytest.raises(ConfigError, match="'aks'") as raised:
        read_rows(path, columns={"instruction": "aks", "completion": "reply"})
    assert "did you mean 'ask'" in str(raised.value)
    with pytest.raises(ConfigError, match="Unknown role"):
        read_rows(path, columns={"promt": "ask", "completion": "reply"})


def test_a_row_survives_a_round_trip(tmp_path):
    records = [
        {"instruction": "q", "context": "c", "response": "bad", "response_clean": "good", "poisoned": True},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "y"},
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
    ]
    for number, record in enumerate(records):
        row = read_rows(jsonl(tmp_path / f"{number}.jsonl", [record]))[0]
        again = read_rows(jsonl(tmp_path / f"{number}b.jsonl", [row.to_record()]))[0]
        assert (again.id, again.instruction, again.context, again.completion) == (
            row.id,
            row.instruction,
            row.context,
            row.completion,
        )
        assert (again.turns, again.clean_completion, dict(again.meta)) == (
            row.turns,
            row.clean_completion,
            dict(row.meta),
        )


def test_a_clean_answer_that_only_a_later_row_has_is_found(tmp_path):
    rows = [{"instruction": "a", "response": "b"}, {"instruction": "c", "response": "bad", "response_clean": "good"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    first, second = read_rows(path).rows
    assert first.clean_completion is None
    assert second.clean_completion == "good"
    assert "response_clean" not in second.meta
    swapped = read_rows(path, columns={"instruction": "instruction", "completion": "response"}).rows
    assert swapped[1].clean_completion == "good"


def test_rows_are_a_sequence_that_goes_in_again():
    rows = load_rows([{"id": name, "text": f"{name} b c"} for name in "xyz"] + [{"text": ""}], on_bad_row="skip")
    assert [row.id for row in rows[1:]] == ["y", "z"]
    assert rows[-1] in rows
    assert [problem.action for problem in rows[:1].problems] == ["dropped"]
    assert load_rows(rows, limit=2) == rows[:2]
    assert load_rows(list(rows)).rows == rows.rows
    with pytest.raises(DataError, match="'x' stands twice"):
        load_rows([rows[0], rows[0]])
