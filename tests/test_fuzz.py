"""Files as they come: whatever is in them, a reader gives a result or an `UnweaveError`, and the command line an exit code, never a traceback.

A fixed budget of inputs runs with the suite; `UNWEAVE_FUZZ=2000 pytest tests/test_fuzz.py` gives each test that many.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.test_store import fill, make_spec
from unweave.attribution.formats.rapidin import read_influence_file
from unweave.cli.main import main
from unweave.config import load_yaml, read_command
from unweave.data.copies import find_copies
from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.errors import UnweaveError
from unweave.jobs.weigh import weigh_rows
from unweave.ledger.config import ListConfig
from unweave.ledger.ledger import Ledger, list_requests
from unweave.store.maintenance import check_store, compact_store, repair_store
from unweave.store.shards import layout_of
from unweave.store.store import GradientStore
from unweave.store.texts import stored_rows, texts_by_id, write_texts
from unweave.train.config import TrainConfig
from unweave.unlearning.config import config_of
from unweave.weights.config import WeighConfig
from unweave.weights.files import read_weights

BUDGET = int(os.environ.get("UNWEAVE_FUZZ", "40"))
FUZZ = settings(
    max_examples=BUDGET, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)

# Values that have broken readers: half of a character, control characters, numbers that are none, numbers that no float holds.
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "",
            " ",
            "\x00",
            "\ud800",
            "a\ud83d",
            "\u2028",
            "\x1b[31m",
            "<|im_end|>",
            "{{ x }}",
            "NaN",
            "null",
            "-1",
            "1e999",
            "9" * 5000,
            "x" * 9000,
            "..",
            "~",
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([10**30, -(2**63), 2**31, 1e308, float("nan"), float("inf"), True, False]),
)
LEAVES = st.one_of(st.none(), NUMBERS, TEXTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "function", "", "x"])
MESSAGES = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": ROLES, "content": st.one_of(TEXTS, VALUES)}, optional={"tool_calls": VALUES, "weight": VALUES, "name": VALUES}),
        st.fixed_dictionaries({"from": ROLES, "value": st.one_of(TEXTS, VALUES)}),
        VALUES,
    ),
    max_size=4,
)  # fmt: skip
COLUMNS = (
    "id prompt completion messages conversations instruction input output context response question answer text labels query history "
    "system tools chosen rejected response_clean target weight other_columns extra"
).split()
RECORDS = st.dictionaries(st.one_of(st.sampled_from(COLUMNS), TEXTS), st.one_of(TEXTS, MESSAGES, VALUES), max_size=6)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory() as place:
        yield Path(place)


def outcome(work):
    """What work gives, or its error; everything but an `UnweaveError` goes through and fails the test."""
    try:
        return work()
    except UnweaveError as error:
        return error


def exit_code(*arguments):
    """The exit code of a command line; a traceback, or the word bug, fails the test."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
    assert "bug in unweave" not in errors.getvalue(), errors.getvalue()
    assert code in (0, 1, 2, 3), (code, errors.getvalue())
    return code


class Raw:
    """JSON that `json.dumps` would not write, with a short name."""

    def __init__(self, name, text):
        self.name, self.text = name, text

    def __repr__(self):
        return f"Raw({self.name!r})"


# Deeper than the interpreter recurses, and a whole number of more digits than it reads.
RAW = st.sampled_from(
    [
        Raw("deep list", "[" * 100_000 + "]" * 100_000),
        Raw("deep object, cut", '{"a":' * 50_000),
        Raw("long number", "9" * 6000),
        Raw("long number in a row", '{"prompt": "p", "completion": ' + "9" * 6000 + "}"),
        Raw("key twice", '{"id": "a", "id": "b"}'),
        Raw("NaN", "NaN"),
    ]
)


def as_json(value):
    return value.text if isinstance(value, Raw) else json.dumps(value, ensure_ascii=True, default=str)


# How a file is damaged; drawn without looking at it, so that what is drawn depends on nothing else.
PLACES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4)
DAMAGE = st.one_of(
    st.tuples(st.just("cut"), PLACES),
    st.tuples(st.just("flip"), PLACES),
    st.tuples(st.just("double"), st.none()),
    st.tuples(st.just("replace"), st.one_of(st.binary(max_size=40), VALUES.map(lambda value: as_json(value).encode()))),
)
SOMETIMES = st.one_of(st.none(), DAMAGE)


def damaged(whole, damage):
    """A file's bytes, cut, flipped, doubled or replaced."""
    if damage is None:
        return whole
    kind, how = damage
    if kind == "cut":
        return whole[: int(how[0][0] * len(whole))]
    if kind == "flip":
        changed = bytearray(whole)
        for place, value in how if changed else ():
            changed[min(int(place * len(changed)), len(changed) - 1)] = value
        return bytes(changed)
    return whole + whole if kind == "double" else how


@FUZZ
@given(
    st.lists(st.one_of(RECORDS, RECORDS, RECORDS, VALUES, RAW), max_size=4),
    st.booleans(),
    st.sampled_from(["jsonl", "json"]),
    SOMETIMES,
)
def test_rows_of_json(records, skip, kind, damage):
    with folder() as place:
        path = place / f"rows.{kind}"
        parts = list(map(as_json, records))
        whole = "\n".join(parts) if kind == "jsonl" else f"[{', '.join(parts)}]"
        content = whole.encode()
        path.write_bytes(damaged(content, damage))
        found = outcome(lambda: read_rows(path, on_bad_row="skip" if skip else "error"))
        if not isinstance(found, UnweaveError):
            again = place / "again.jsonl"
            again.write_text("".join(as_json(row.to_record()) + "\n" for row in found), encoding="utf-8")
            second = read_rows(again)
            assert [(row.id, row.user_text, row.completion) for row in second] == [
                (row.id, row.user_text, row.completion) for row in found
            ], "what was read is written and read again as it was"
            find_copies(found.rows, [dataclasses.replace(row, id=f"{row.id}'") for row in found], similarity=0.5)


@FUZZ
@given(
    st.lists(st.lists(st.one_of(st.sampled_from(COLUMNS), TEXTS), max_size=4), max_size=5),
    st.sampled_from(["csv", "tsv"]),
    SOMETIMES,
)
def test_rows_of_tables(table, kind, damage):
    with folder() as place:
        written = io.StringIO(newline="")
        with contextlib.suppress(csv.Error):
            csv.writer(written, delimiter="\t" if kind == "tsv" else ",").writerows(table)
        content = written.getvalue().encode("utf-8", "surrogatepass")
        path = place / f"rows.{kind}"
        path.write_bytes(damaged(content, damage))
        for bad in ("error", "skip"):
            outcome(lambda bad=bad: read_rows(path, on_bad_row=bad))


NAMES = sorted(
    {field.name for kind in (TrainConfig, config_of("npo"), CacheConfig) for field in dataclasses.fields(kind)}
)
ODD_YAML = (
    "|null|~|true|[1, 2]|{a: 1}|[|*x|&x 1|!!python/object:os.system x|- 1|1e-4|.nan|-.inf|? x|0x1F|2024-01-01|&a [*a]|!!binary x|<<: x|%|@|\t"
).split("|")
SCALARS = st.one_of(TEXTS, NUMBERS.map(str), st.sampled_from(ODD_YAML))  # fmt: skip


@FUZZ
@given(
    st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.just("command"), TEXTS), SCALARS), max_size=6),
    st.sampled_from([TrainConfig, config_of("npo"), CacheConfig]),
    SOMETIMES,
)
def test_configs(pairs, kind, damage):
    text = "".join(f"{name}: {value}\n" for name, value in pairs)
    content = text.encode("utf-8", "surrogatepass")
    with folder() as place:
        path = place / "c.yaml"
        path.write_bytes(damaged(content, damage))
        outcome(lambda: load_yaml(kind, path, command="train"))
        outcome(lambda: read_command(path))


@FUZZ
@given(
    st.lists(st.one_of(st.fixed_dictionaries({"index": LEAVES, "weight": LEAVES}), VALUES, RAW), max_size=4),
    st.integers(0, 4),
    st.booleans(),
    SOMETIMES,
)
def test_weight_files(records, count, signed, damage):
    content = "\n".join(map(as_json, records)).encode()
    with folder() as place:
        path = place / "w.jsonl"
        path.write_bytes(damaged(content, damage))
        found = outcome(lambda: read_weights(path, count=count, signed=signed))
        assert isinstance(found, UnweaveError) or len(found) == count


LISTS = st.one_of(st.lists(st.integers(0, 5), max_size=3), st.lists(LEAVES, max_size=3), VALUES)
INFLUENCES = st.one_of(st.lists(st.floats(-2, 2), max_size=3), st.lists(LEAVES, max_size=3), VALUES)
ENTRIES = st.fixed_dictionaries(
    {}, optional={"helpful": LISTS, "helpful_infl": INFLUENCES, "harmful": LISTS, "harmful_infl": INFLUENCES}
)
GOOD = {"0": {"helpful": [0, 1], "helpful_infl": [1.0, 0.5], "harmful": [], "harmful_infl": []}}


@FUZZ
@given(
    st.one_of(st.dictionaries(TEXTS, st.one_of(ENTRIES, VALUES), max_size=3), ENTRIES, VALUES, RAW),
    st.sampled_from(["rapidun", "rapidun-dense", "signed", "random", "uniform"]),
    SOMETIMES,
    st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_influence_files(value, method, damage, chosen):
    content = as_json(value).encode()
    with folder() as place:
        path, good = place / "f.json", place / "good.json"
        path.write_bytes(damaged(content, damage))
        good.write_text(json.dumps(GOOD))
        outcome(lambda: read_influence_file(path))
        files = [path if own else good for own in chosen]
        options = dict(zip(("f2f", "f2r", "r2f", "r2r"), files, strict=True))
        outcome(
            lambda: weigh_rows(
                WeighConfig(method=method, output_forget=place / "a", output_retain=place / "b", **options)
            )
        )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with two shards, a deletion and texts."""
    place = tmp_path_factory.mktemp("store") / "s"
    made = GradientStore.create(place, make_spec())
    fill(made, ["a", "b"], seed=1)
    fill(made, ["c"], seed=2)
    write_texts(place, [Row(name, f"prompt {name}", "answer") for name in "abc"])
    made.delete(["b"])
    return place


@FUZZ
@given(st.data())
def test_store_folders(store, data):
    with folder() as place:
        copy = place / "s"
        shutil.copytree(store, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file())
        for _ in range(data.draw(st.integers(1, 2))):
            path = files[data.draw(st.integers(0, len(files) - 1))]
            if path.is_file():
                if data.draw(st.integers(0, 4)) == 0:
                    path.unlink()
                elif path.suffix == ".json" and data.draw(st.booleans()):
                    value = data.draw(nearly(path))
                    path.write_text(as_json(value))
                else:
                    path.write_bytes(damaged(path.read_bytes(), data.draw(DAMAGE)))
        layout_of.cache_clear()
        for work in (
            GradientStore.row_ids,
            GradientStore.info,
            check_store,
            read_all,
            texts_of,
            repair_store,
            compact_store,
            read_all,
        ):
            outcome(lambda work=work: work(GradientStore.open(copy)))
        assert exit_code("store", "check", copy) in (0, 1)


def nearly(path):
    """A JSON record with one value of it replaced."""
    try:
        record = json.loads(path.read_bytes())
    except ValueError:
        record = None
    if not isinstance(record, dict) or not record:
        return VALUES
    return st.tuples(st.sampled_from(sorted(record)), VALUES).map(lambda pair: record | {pair[0]: pair[1]})


def read_all(store):
    ids = store.row_ids()
    store.column("norms", ids)
    return store.read(ids)


def texts_of(store):
    texts = texts_by_id(store.folder)
    return stored_rows(texts, list(texts), where=store.place)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A ledger with a request that is done."""
    place = tmp_path_factory.mktemp("ledger")
    made = Ledger(place, create=True)
    asked = {"kind": "removal", "rows": {"a": "0" * 32}, "replacement": None, "reason": "why"}
    origin = {
        "data": "d", "data_fingerprint": "f", "rows": 3, "model": "m", "model_files": {}, "base": "b", "base_files": {}, "store": None,
        "max_perplexity_change": 0.05, "max_removed_share": 0.05,
    }  # fmt: skip
    made.journal.append("created", **origin)
    made.journal.append("added", "one", asked=asked)
    made.journal.append("started", "one", config={}, before="m")
    made.journal.append("done", "one", certificate="c", page="p", drift={}, **{"class": "exact"})
    return place


@FUZZ
@given(st.data())
def test_ledger_folders(ledger, data):
    with folder() as place:
        copy = place / "l"
        shutil.copytree(ledger, copy)
        file = copy / "ledger.db"
        content = file.read_bytes()
        if data.draw(st.booleans()):
            # Inside the text of the events, where SQLite itself sees nothing wrong.
            at = content.rfind(b'"asked"') + data.draw(st.integers(-200, 200))
            changed = bytearray(content)
            for offset in range(data.draw(st.integers(1, 6))):
                changed[(at + offset) % len(changed)] = data.draw(st.integers(0, 255))
            file.write_bytes(bytes(changed))
        else:
            file.write_bytes(damaged(content, data.draw(DAMAGE)))
        outcome(lambda: list_requests(ListConfig(ledger=copy)))
        outcome(lambda: Ledger(copy).journal.check())
        outcome(lambda: Ledger(copy).origin())
        outcome(lambda: Ledger(copy).model())
        for command in (["list"], ["verify", "one"], ["rollback", "one"]):
            exit_code("request", *command, "--ledger", copy)


@settings(FUZZ, max_examples=max(10, BUDGET // 2))
@given(st.data())
def test_command_lines(store, data):
    """Options of the wrong kind, files of the wrong kind, numbers that can't be."""
    with folder() as place:
        odd = place / "odd.json"
        odd.write_text(as_json(data.draw(VALUES)))
        (place / "folder").mkdir()
        paths = st.sampled_from(
            [odd, place / "no", place / "folder", odd / "x", Path("/dev/null"), place / ("x" * 300), store]
        )
        numbers = st.one_of(NUMBERS.map(str), st.sampled_from(["", "x", "1_0", "1e400", "--"]))
        option = st.sampled_from(["--seed", "--epochs", "--learning-rate", "--batch-size"])
        outputs = ["--output-forget", place / "a", "--output-retain", place / "b"]
        lines = [
            ["weigh", "--f2f", paths, "--f2r", paths, "--r2f", paths, "--r2r", paths, *outputs, "--tau-f", numbers],
            ["store", "info", paths],
            ["store", "delete", paths, "--row-ids", numbers],
            ["request", "list", "--ledger", paths],
            ["request", "add", "--ledger", place / "l", "--data", paths, "--model", paths, "--text", st.text(max_size=3)],
            ["train", "--data", paths, "--model", place / "no", "--output-dir", place / "o", option, numbers],
            ["run", paths],
            ["report", paths],
            ["value", "select", "--values", paths, "--budget-rows", numbers],
        ]  # fmt: skip
        line = lines[data.draw(st.integers(0, len(lines) - 1))]
        exit_code(*[data.draw(word) if isinstance(word, st.SearchStrategy) else word for word in line])


def test_the_sketches_of_the_store_are_read_where_nothing_is_broken(store):
    """What the fuzzing would pass over: that an unbroken store gives its rows."""
    opened = GradientStore.open(store)
    assert opened.row_ids() == ["a", "c"]
    assert torch.isfinite(read_all(opened)).all()
