"""`unweave value predict`: values of millions of rows by a student, a part of the rows at a time."""

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unweave import progress
from unweave.data.config import stream_configured
from unweave.data.reading import Problem
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.files import read_json, write_json, write_jsonl
from unweave.replacing import replacing, replacing_folder
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_rows
from unweave.run.model_inputs import of_student
from unweave.valuation.config import PredictConfig
from unweave.valuation.sorting import merge_sorted
from unweave.valuation.student import ValueStudent

SAID_EVERY = 10
RESULT = "predicted.json"


@dataclass(frozen=True)
class PredictResult:
    """What predicting gave.

    Attributes:
        folder: Where `values.parquet`, or the buckets, and `problems.jsonl` are.
        files: The tables.
        rows: Rows with a value.
        problems: Rows without: each stands in `problems.jsonl` with its place and reason.
        seconds: Wall time of this process.
        rows_per_second: Rows that this process predicted, a second of predicting; 0 where all was done before.
    """

    folder: Path
    files: list[str]
    rows: int
    problems: int
    seconds: float
    rows_per_second: float


def predict_values(config: PredictConfig) -> PredictResult:
    """Predict.

    Args:
        config: ValueStudent, rows, output.

    Returns:
        What was written.

    Raises:
        ConfigError: When a size is not positive.
    """
    if min(config.part_rows, config.batch_size) < 1:
        raise ConfigError(
            "Parts and batches need rows.", where="`part_rows`, `batch_size`", remedy="give numbers above 0"
        )
    run = RunFolder(config.output_dir, "value predict", config, key="predict", inputs=predict_inputs(config))
    with run.held():
        done = run.finished()
        if done is not None:
            return PredictResult(**{**done, "folder": config.output_dir, "rows_per_second": 0.0})
        return _predict(run, config)


def predict_inputs(config: PredictConfig) -> dict[str, Input]:
    """What predicting reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """

    def read() -> Iterator[Row]:
        found = stream_configured(config.data, config)
        return (one[0] for one in found if not isinstance(one, Problem))

    return {"student": of_student(config.student), "data": of_rows(config.data, config, read=read)}


def _predict(run: RunFolder, config: PredictConfig) -> PredictResult:
    started = time.monotonic()
    student = ValueStudent.from_pretrained(config.student, device=config.device, dtype=config.dtype)
    run.start()
    folder = config.output_dir / ".parts"
    mark = {"identity": run.digest}
    if (folder / "identity.json").is_file() and read_json(folder / "identity.json", what="Parts") != mark:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "identity.json", mark)
    parts, spent, fresh = [], 0.0, 0
    found = stream_configured(config.data, config)
    for number in itertools.count():
        part = list(itertools.islice(found, config.part_rows))
        if not part:
            break
        place = folder / f"{number:08d}"
        parts.append(place)
        if not place.is_dir():
            begun = time.monotonic()
            rows = [one[0] for one in part if not isinstance(one, Problem)]
            _write_part(place, student, rows, [one for one in part if isinstance(one, Problem)], config)
            spent, fresh = spent + time.monotonic() - begun, fresh + len(rows)
            if number % SAID_EVERY == 0:
                progress.say(
                    f"predict: {number * config.part_rows + len(part)} rows read, {fresh / spent:.0f} a second"
                )
    files = _gather(config, parts, student)
    counts = [read_json(place / RESULT, what="A part") for place in parts]
    with replacing(config.output_dir / "problems.jsonl") as out, out.open("w", encoding="utf-8") as lines:
        for place in parts:
            lines.write((place / "problems.jsonl").read_text(encoding="utf-8"))
    seconds = round(time.monotonic() - started, 3)
    rate = fresh / spent if spent else 0.0
    result = PredictResult(
        config.output_dir,
        files,
        sum(one["rows"] for one in counts),
        sum(one["problems"] for one in counts),
        seconds,
        rate,
    )
    run.finish({**result.__dict__, "folder": str(result.folder)})
    return result


def bucket_bounds(student: ValueStudent) -> list[float]:
    """The nine values that cut those that the student was fitted on into tenths; the first task's.

    Args:
        student: The student.

    Returns:
        Ascending.
    """
    return np.quantile(student.spec.calibration[student.spec.tasks[0]].values, np.linspace(0.1, 0.9, 9)).tolist()


def _write_part(
    place: Path, student: ValueStudent, rows: Sequence[Row], problems: Sequence[Problem], config: PredictConfig
) -> None:
    table = pa.table(student.predict(rows, batch_size=config.batch_size).to_columns(), schema=_schema(student))
    if config.order == "sorted":
        table = table.sort_by([(student.spec.tasks[0], "descending")])
    with replacing_folder(place) as out:
        pq.write_table(table, out / "values.parquet")
        write_jsonl(out / "problems.jsonl", [{"place": one.place, "reason": one.reason} for one in problems])
        write_json(out / RESULT, {"rows": len(rows), "problems": len(problems)})


def _schema(student: ValueStudent) -> Any:
    numbers = [f"{name}{end}" for name in student.spec.tasks for end in ("", ".low", ".high")]
    return pa.schema([("id", pa.string()), ("line", pa.int64()), *((name, pa.float64()) for name in numbers)])


def _gather(config: PredictConfig, parts: Sequence[Path], student: ValueStudent) -> list[str]:
    """The parts as the tables that were asked for; a few rows of each part are in memory at a time."""
    schema, first = _schema(student), student.spec.tasks[0]
    if config.order == "buckets":
        bounds = bucket_bounds(student)
        names = [f"bucket-{number}.parquet" for number in range(len(bounds) + 1)]
        with contextlib.ExitStack() as open_files:
            places = [open_files.enter_context(replacing(config.output_dir / name)) for name in names]
            writers = [open_files.enter_context(pq.ParquetWriter(place, schema)) for place in places]
            for place in parts:
                table = pq.read_table(place / "values.parquet")
                buckets = np.searchsorted(bounds, table.column(first).to_numpy(), side="right")
                for number, writer in enumerate(writers):
                    writer.write_table(table.filter(pa.array(buckets == number)))
        return names
    with replacing(config.output_dir / "values.parquet") as out, pq.ParquetWriter(out, schema) as writer:
        if config.order == "as-read":
            for place in parts:
                writer.write_table(pq.read_table(place / "values.parquet"))
        else:
            tables = [place / "values.parquet" for place in parts]
            for table in merge_sorted(tables, first, folder=config.output_dir / ".parts", schema=schema):
                writer.write_table(table)
    return ["values.parquet"]
