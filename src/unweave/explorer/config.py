"""Options of `unweave serve`, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HOST, PORT = "127.0.0.1", 8765


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Explore a gradient store, or a run folder with one, in a browser: ask, look at the rows, decide, forget, verify.

    Attributes:
        path: A gradient store, or a run folder that holds one. By default the demo's (`runs/demo`), or else a small run that comes with unweave.
        also: Stores of the same rows at other checkpoints, to compare with; those beside the first in a run folder are found.
        model: The model, where it is not the one that the store names.
        adapter: Its adapter.
        final_adapter: The adapter that answers and that a request unlearns from, where the store is of an early checkpoint of it.
        data: The rows that the model was trained on, as a request to forget needs them; by default the file that the store's rows come from.
        ledger: The ledger's folder; by default the run folder's, or a new one in `work`.
        values: A table of values from `unweave value score`, to colour and sort rows by.
        work: Where questions, the review list and runs are kept; by default a folder beside `path`, named after it.
        host: The address to listen at. Any but this machine's own needs a `token`.
        port: The port; 0 takes a free one.
        token: What a browser must show before it sees anything: it is asked for once, or given as `?token=`.
        browser: Open a browser.
        dtype: As for the model.
        device: As for the model.
        export: In place of serving, write a copy to read to this folder: one page, no server needed.
        space: In place of serving, write a folder that can be pushed as a Space of the Hugging Face hub.
    """

    path: Path | None = None
    also: tuple[Path, ...] = ()
    model: str | None = None
    adapter: Path | None = None
    final_adapter: Path | None = None
    data: Path | None = None
    ledger: Path | None = None
    values: Path | None = None
    work: Path | None = None
    host: str = HOST
    port: int = PORT
    token: str | None = None
    browser: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    export: Path | None = None
    space: Path | None = None
