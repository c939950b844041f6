"""SQL over the rows, as people type it: one SELECT, over one table, in a process of its own.

DuckDB reads no file and writes nothing here, but a single call of a function can go on for minutes, or fill the memory, and within a process nothing ends it.
"""

import base64
import contextlib
import re
import struct
import subprocess
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from unweave.data.child import answer_of, start_child
from unweave.data.pipes import send
from unweave.errors import ConfigError, MissingExtraError
from unweave.explorer.sql_worker import SECONDS, TABLE

START, MORE = 120.0, 2.0
"""Seconds by the clock after which a start is given up, and those beyond a query's own after which its process is ended."""
LONGEST = 20_000
_WHOLE = re.compile(r"\s*(select|with|from)\b", re.IGNORECASE)
_REASONS = {
    "statement": "One SELECT is run, and nothing else.",
    "seconds": f"The query took longer than {SECONDS:g} seconds and was stopped.",
    "memory": "The query took too much memory and was stopped.",
    "ended": "The query broke the process that ran it, or took too much time or memory, and was stopped.",
}


@dataclass(frozen=True)
class Answer:
    """What a SELECT gave.

    Attributes:
        columns: Names of the columns.
        rows: Their values, texts cut where they are very long.
        cut: Whether there are more rows.
    """

    columns: list[str]
    rows: list[list[Any]]
    cut: bool


def is_whole(text: str) -> bool:
    """Whether a text is a SELECT of its own, and not a condition.

    Args:
        text: What was typed.

    Returns:
        The answer.
    """
    return _WHOLE.match(text) is not None


class Sandbox:
    """The process that runs SQL, started when it is needed and again when it has ended.

    Args:
        table: The rows, a `pyarrow.Table` with a column `place` from 0 on.
    """

    def __init__(self, table: Any):
        self._table = table
        self._influence: np.ndarray | None = None
        self._stale = False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closer: weakref.finalize[..., Any] | None = None

    def set_influence(self, influence: Float[np.ndarray, " n"]) -> None:
        """Give the rows a column `influence`, or another one.

        Args:
            influence: A number a row; NaN where there is none.
        """
        with self._lock:
            self._influence, self._stale = np.ascontiguousarray(influence, dtype=np.float64), True

    def condition(self, text: str) -> Bool[np.ndarray, " n"]:
        """The rows that a condition holds for.

        Args:
            text: The condition, as it stands behind WHERE.

        Returns:
            For each row whether it does.
        """
        # On lines of its own: a comment at its end must not swallow the bracket.
        answer = self._run(f"SELECT place FROM {TABLE} WHERE (\n{text}\n)", whole=False)
        packed = np.frombuffer(base64.b64decode(answer["places"]), dtype=np.uint8)
        return np.unpackbits(packed, count=self._table.num_rows).astype(bool)

    def select(self, text: str) -> Answer:
        """What a SELECT gives.

        Args:
            text: The SELECT.

        Returns:
            Its first rows.
        """
        answer = self._run(text, whole=True)
        return Answer(answer["columns"], answer["rows"], answer["cut"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _run(self, sql: str, *, whole: bool) -> dict[str, Any]:
        if len(sql) > LONGEST:
            raise ConfigError("The SQL is too long.", where="SQL", remedy=f"write it in {LONGEST:,} characters")
        with self._lock:
            try:
                self._begin()
                assert self._process is not None
                assert self._process.stdin is not None
                send(self._process.stdin, {"sql": sql, "whole": whole, "rows": self._table.num_rows})
                answer = answer_of(self._process, SECONDS + MORE)
            except (OSError, struct.error, ValueError):
                answer = None
            if answer is None:
                self._end()
                answer = {"refused": "ended"}
        if "refused" in answer:
            raise _refusal(answer)
        return answer

    def _begin(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is None:
            self._start()
        if self._stale and self._influence is not None:
            self._give("influence", self._influence.tobytes())
            self._stale = False

    def _start(self) -> None:
        import pyarrow as pa

        try:
            import duckdb  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("duckdb", extra="explorer", purpose="SQL over the rows") from error
        self._process = start_child("unweave.explorer.sql_worker", OMP_NUM_THREADS="1")
        self._closer = weakref.finalize(self, _end, self._process)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._table.schema) as writer:
            writer.write_table(self._table)
        self._give("table", sink.getvalue())
        self._stale = self._influence is not None
        assert self._process.stdin is not None
        # Until the table is there no query's seconds are counted.
        send(self._process.stdin, {"sql": "SELECT 1", "whole": True})
        if answer_of(self._process, START) is None:
            raise OSError("the process did not start")

    def _give(self, name: str, content: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        send(self._process.stdin, {name: len(content)})
        self._process.stdin.write(content)
        self._process.stdin.flush()

    def _end(self) -> None:
        if self._closer is not None:
            self._closer()
        self._process, self._closer = None, None


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            assert pipe is not None
            pipe.close()
    process.wait()


def _refusal(answer: dict[str, Any]) -> ConfigError:
    if answer["refused"] != "error":
        remedy = "ask for less of it" if answer["refused"] != "statement" else "write a condition, or one SELECT"
        return ConfigError(_REASONS[answer["refused"]], where="SQL", remedy=remedy)
    # DuckDB shows where in the query it stopped with a line of its own and a caret below, which only line up in the console.
    lines = [line.strip() for line in answer["why"].splitlines() if line.strip() and set(line.strip()) != {"^"}]
    said = " ".join(line for line in lines if not re.match(r"LINE \d+:", line))
    return ConfigError(
        f"The SQL can't be run: {said.rstrip('.')}.", where="SQL", remedy="mend it; its columns are listed below it"
    )
