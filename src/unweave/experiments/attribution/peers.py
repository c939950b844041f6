"""Other programs' scores in the same table: a command that is given the tokens, and writes the scores.

    COMMAND JOB.json SCORES.npy

The job names the base model, the adapter and the dtype, and holds `rows` and `queries`: a list of `ids` (tokens) and `prompt` (how many of them carry no
loss). The scores are one number a query and row, positive where a row helps the query.
"""

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

    def tokens(examples: Sequence[Example]) -> list[dict[str, object]]:
        return [{"ids": list(example.input_ids), "prompt": example.prompt_length} for example in examples]

    job, out = folder / f"{name}.json", folder / f"{name}.npy"
    out.unlink(missing_ok=True)
    described = {"base": base, "adapter": str(adapter), "dtype": dtype}
    write_json(job, {**described, "rows": tokens(rows), "queries": tokens(queries)})
    why = ""
    try:
        done = subprocess.run([*shlex.split(command), str(job), str(out)], capture_output=True, text=True, check=False)
        if done.returncode or not out.is_file():
            why = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        else:
            found = np.load(out, allow_pickle=False).astype(float)
            if found.shape == (len(queries), len(rows)):
                return found
            why = f"scores of the shape {found.shape} for {len(queries)} queries and {len(rows)} rows"
    except (OSError, ValueError) as error:
        why = str(error)
    raise ConfigError(f"The peer '{name}' gave no scores: {why}", where="`peers`", remedy="run its command by hand")
