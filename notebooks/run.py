"""Execute the notebooks on the packaged model, each in an empty folder: a cell that fails fails the run.

    python notebooks/run.py                           all of them; nothing is kept
    python notebooks/run.py trace_an_answer.ipynb     one of them
    python notebooks/run.py --write                   keep what they print, without times, places and progress

Needs `nbclient` and `ipykernel` (extra `docs`) and the packaged model.
"""

import argparse
import os
import re
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
LONGEST = 1800
"""Seconds that a cell may take on a machine that others use."""


def execute(path: Path) -> tuple[Any, float]:
    """Execute a notebook.

    Args:
        path: The notebook.

    Returns:
        The notebook with its outputs, and the CPU-seconds that it took.

    Raises:
        SystemExit: When a cell fails; with what it said.
    """
    notebook = nbformat.read(path, as_version=4)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(prefix="unweave-notebook-") as folder:
        # Sockets of the file system: what passes between the two is nobody else's business.
        config = Config({"KernelManager": {"transport": "ipc", "ip": str(Path(folder, "kernel"))}})
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook,
            config=config,
            kernel_name="python3",
            startup_timeout=LONGEST,
            timeout=LONGEST,
            record_timing=False,
            coalesce_streams=True,
            resources=resources,
        )
        try:
            client.execute(env={**os.environ, "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1", "COLUMNS": "100"})
        except CellExecutionError as error:
            raise SystemExit(f"{path.name}: a cell fails\n{error}") from error
        places = {folder: ".", os.path.realpath(folder): "."}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    clean(notebook, places)
    return notebook, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def clean(notebook: Any, places: dict[str, str]) -> None:
    """Take out of the outputs what is of this machine and this hour: progress, times, places.

    Args:
        notebook: It is changed.
        places: Folder to what is written in its place.
    """
    places = {**places, str(ROOT): "unweave", str(Path.home()): "~"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = [own for own in cell.outputs if own.get("name") != "stderr"]
        for output in cell.outputs:
            if "text" in output:
                output["text"] = without(output["text"], places)
            for kind, text in output.get("data", {}).items():
                output["data"][kind] = without(text, places) if isinstance(text, str) else text
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def without(text: str, places: dict[str, str]) -> str:
    """A text without places of this machine, and without times.

    Args:
        text: The text.
        places: Folder to what is written in its place.

    Returns:
        The text.
    """
    for place in sorted(places, key=len, reverse=True):
        text = text.replace(place, places[place])
    return re.sub(r"\b\d+(\.\d+)? ?(s|seconds)\b", "... s", text)


def main() -> None:
    """Execute what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", help="names of files in this folder; all by default")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the notebooks")
    options = parser.parse_args()
    for path in [FOLDER / name for name in options.notebooks] or sorted(FOLDER.glob("*.ipynb")):
        notebook, seconds = execute(path)
        if options.write:
            nbformat.write(notebook, path)
        print(f"{path.name}: {seconds:.0f} CPU-seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
