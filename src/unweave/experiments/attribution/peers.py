"""Other programs' scores in the same table: a command that is given the tokens, and writes the scores.

    COMMAND JOB.json SCORES.npy

The job names the base model, the adapter and the dtype, and holds `rows` and `queries`: a list of `ids` (tokens) and `prompt` (how many of them carry no
loss). The scores are one number a query and row, positive where a row helps the query.
"""

import json
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.files import write_json


def peer_scores(
    name: str,
    command: str,
    folder: Path,
    *,
    base: str,
    adapter: Path,
    dtype: str,
    rows: Sequence[Example],
    queries: Sequence[Example],
) -> Float[np.ndarray, "q n"]:
    """Ask another program.

    Args:
        name: What it is called.
        command: How it is called.
        folder: For the job and the scores.
        base: The base model.
        adapter: The adapter's folder.
        dtype: Of the model.
        rows: The training rows.
        queries: The queries.

    Returns:
        Its scores.

    Raises:
        ConfigError: When it fails, or gives scores of another shape.
    """

    def failed(why: str) -> ConfigError:
        return ConfigError(
            f"The peer '{name}' gave no scores: {why}", where="`peers`", remedy="run its command by hand"
        )

    def tokens(examples: Sequence[Example]) -> list[dict[str, object]]:
        return [{"ids": list(example.input_ids), "prompt": example.prompt_length} for example in examples]

    job, out = folder / f"{name}.json", folder / f"{name}.npy"
    out.unlink(missing_ok=True)
    described = {"base": base, "adapter": str(adapter), "dtype": dtype}
    write_json(job, {**described, "rows": tokens(rows), "queries": tokens(queries)})
    try:
        done = subprocess.run([*shlex.split(command), str(job), str(out)], capture_output=True, text=True, check=False)
    except OSError as error:
        raise failed(str(error)) from error
    if done.returncode or not out.is_file():
        raise failed((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    try:
        found = np.load(out, allow_pickle=False).astype(float)
    except (OSError, ValueError, json.JSONDecodeError) as error:
        raise failed(str(error)) from error
    if found.shape != (len(queries), len(rows)):
        raise failed(f"scores of the shape {found.shape} for {len(queries)} queries and {len(rows)} rows")
    return found
