"""The program that runs the SQL that people type, in a process of its own: see `sql.py`, which starts it and talks to it.

A message is one of `unweave.data.pipes`; one that names a number of bytes is followed by them. Standard output carries answers only.
"""

import base64
import contextlib
import os
import resource
import sys
import threading
from collections.abc import Mapping
from typing import Any

from unweave.data.pipes import receive, send

TABLE = "rows"
MOST_ROWS, MOST_CHARACTERS = 1_000, 2_000
"""What is given back of a query: so many rows, and of a text so much."""
SECONDS = 5.0
BYTES = 2**31
"""What a query may use of memory, beside the table."""


def serve() -> None:
    """Answer requests until there are no more."""
    import duckdb
    import numpy as np
    import pyarrow as pa

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "python_enable_replacements": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": "",
            "threads": "2",
            "memory_limit": f"{BYTES // 2**20}MiB",
            "lock_configuration": "true",
        },
    )
    while (request := receive(sys.stdin.buffer)) is not None:
        if "table" in request:
            held = pa.ipc.open_stream(sys.stdin.buffer.read(request["table"])).read_all()
            connection.register("incoming", held)
            connection.execute("CREATE OR REPLACE TABLE given AS SELECT * FROM incoming")
            connection.unregister("incoming")
            connection.execute(f"CREATE OR REPLACE VIEW {TABLE} AS SELECT * FROM given")
            del held
            _limit()
        elif "influence" in request:
            held = np.frombuffer(sys.stdin.buffer.read(request["influence"]))
            shown = pa.table({"place": np.arange(len(held)), "influence": held})
            connection.register("incoming", shown)
            connection.execute(
                "CREATE OR REPLACE TABLE scores AS SELECT place, CASE WHEN isnan(influence) THEN NULL ELSE influence END AS influence FROM incoming"
            )
            connection.unregister("incoming")
            connection.execute(
                f"CREATE OR REPLACE VIEW {TABLE} AS SELECT given.*, scores.influence FROM given LEFT JOIN scores USING (place)"
            )
            _limit()
        else:
            send(answers, _answer(connection, request))


def _answer(connection: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    import duckdb

    cursor = connection.cursor()
    timer = threading.Timer(SECONDS, cursor.interrupt)
    try:
        statements = cursor.extract_statements(request["sql"])
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            return {"refused": "statement"}
        timer.start()
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        relation = cursor.sql(request["sql"])
        if request["whole"]:
            return _shown(relation)
        return {"places": _packed(relation.fetchnumpy()["place"], request["rows"])}
    except duckdb.InterruptException:
        return {"refused": "seconds"}
    except (MemoryError, duckdb.OutOfMemoryException):
        return {"refused": "memory"}
    except duckdb.Error as error:
        return {"refused": "error", "why": str(error)}
    except Exception as error:
        return {"refused": "error", "why": f"{type(error).__name__}: {error}"}
    finally:
        timer.cancel()
        cursor.close()


def _packed(places: Any, rows: int) -> str:
    """A bit a row, as text."""
    import numpy as np

    found = np.zeros(rows, dtype=bool)
    found[np.asarray(places)] = True
    return base64.b64encode(np.packbits(found).tobytes()).decode("ascii")


def _shown(relation: Any) -> dict[str, Any]:
    found = relation.limit(MOST_ROWS + 1).fetchall()
    return {
        "columns": relation.columns,
        "rows": [[_cell(value) for value in row] for row in found[:MOST_ROWS]],
        "cut": len(found) > MOST_ROWS,
    }


def _cell(value: Any) -> Any:
    """A value as JSON holds it."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        # JSON has no word for those that are not finite.
        return value if abs(value) < float("inf") else str(value)
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _limit() -> None:
    """Beyond these bytes the system gives no more memory."""
    # Not every system can limit memory, or say how much there is.
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            now = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, hard))
