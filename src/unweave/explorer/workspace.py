"""What is explored: a store with its model, other stores beside it, a ledger, and the folder in which the explorer keeps its own things."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave.attribution.index import GradientIndex
from unweave.attribution.model import store_model
from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.explorer.config import ServeConfig
from unweave.explorer.processes import Processes
from unweave.explorer.reviewed import Reviewed
from unweave.explorer.sample import with_something_to_open
from unweave.ledger.ledger import FILE as LEDGER_FILE
from unweave.models.loading import Loaded, load
from unweave.store.format import StoreSpec
from unweave.store.store import GradientStore
from unweave.store.texts import FILE as TEXTS_FILE
from unweave.store.texts import stored_rows
from unweave.train.early import final_of

if TYPE_CHECKING:
    from unweave.explorer.positions import Positions
    from unweave.explorer.table import RowTable

STORE_FILE = "store.json"


class Workspace:
    """Everything that the screens share.

    Attributes:
        config: The options.
        path: What was opened: the store, or the run folder that holds it.
        place: The store's folder.
        also: Folders of the other stores.
        folder: Where questions, the review list and runs are kept.
        reviewed: The rows on the review list.
        processes: The long jobs.
        computing: Held while the model computes: one at a time.
    """

    def __init__(self, config: ServeConfig):
        self.config = config = with_something_to_open(config)
        assert config.path is not None, "there is always something"
        self.path = config.path
        self.place, *beside = find_stores(config.path)
        self.also = list(dict.fromkeys([*config.also, *beside]))
        self.folder = config.work or self.path.resolve().with_name(f"{self.path.resolve().name}.explorer")
        self.reviewed = Reviewed(self.folder / "review.json")
        self.processes = Processes(self.folder / "runs")
        self.computing = threading.RLock()
        self._reading = threading.Lock()
        self._read: tuple[Any, dict[str, dict[str, Any]], list[str]] | None = None
        self._indexes: dict[Path, GradientIndex] = {}
        self._tabling = threading.Lock()
        self._table: RowTable | None = None
        self.spec: StoreSpec = GradientStore.open(self.place).spec

    @cached_property
    def name(self) -> str:
        """The model, in short."""
        final = self.final_adapter or self.spec.adapter
        return Path(final or self.spec.model).name or str(self.spec.model)

    @cached_property
    def final_adapter(self) -> Path | None:
        """The adapter that answers, where the store is of an early checkpoint of it; `None` where it is of the model itself."""
        if self.config.final_adapter is not None:
            return self.config.final_adapter
        return final_of(self.spec.adapter) if self.config.model is None and self.config.adapter is None else None

    @property
    def ledger(self) -> Path:
        """The ledger's folder, whether there is one yet or not."""
        found = [folder for folder in (self.path, self.path / "ledger") if (folder / LEDGER_FILE).is_file()]
        return self.config.ledger or (found[0] if found else self.folder / "ledger")

    @property
    def has_ledger(self) -> bool:
        """Whether there is a ledger yet."""
        return (self.ledger / LEDGER_FILE).is_file()

    @property
    def data(self) -> Path | None:
        """The rows that the model was trained on; `None` where that is not one file that is there."""
        if self.config.data is not None:
            return self.config.data
        sources = {text["source"] for text in self.texts().values()}
        files = [Path(source) for source in sources if source and Path(source).is_file()]
        return files[0] if len(sources) == len(files) == 1 else None

    def index(self, place: Path | None = None) -> GradientIndex:
        """A store with its model, loaded once. To be used while `computing` is held.

        Args:
            place: The store; by default the first.

        Returns:
            The index; rows that have left the store since are gone from it.
        """
        place = place or self.place
        with self.computing:
            if place not in self._indexes:
                store = GradientStore.open(place)
                options = self.config if place == self.place else None
                self._indexes[place] = GradientIndex(store, load(store_model(store.spec, options)))
            self._indexes[place].store.refresh()
            return self._indexes[place]

    @cached_property
    def speaker(self) -> Loaded:
        """The model that answers: the final one, where the store is of an early checkpoint."""
        if self.final_adapter is None:
            return self.index().model
        return load(replace(store_model(self.spec, self.config), adapter=self.final_adapter))

    def texts(self) -> Mapping[str, dict[str, Any]]:
        """Row id to its text, source, line and other columns, as `unweave.store.texts.read_texts` gives them; read anew when the store has changed."""
        return self._texts()[1]

    def row_ids(self) -> Sequence[str]:
        """All rows, in scan order."""
        return self._texts()[2]

    def version(self) -> Any:
        """What changes when the store's rows do."""
        return self._texts()[0]

    def table(self) -> "RowTable":
        """The rows as a table to search, made anew when the store has changed; the influence that it was given stays."""
        from unweave.explorer.table import RowTable

        version, texts, ids = self._texts()
        with self._tabling:
            if self._table is None or self._table.version != version:
                made = RowTable(ids, texts, self._numbers(ids), version=version)
                if self._table is not None:
                    made.take_influence(self._table)
                self._table = made
            return self._table

    def _numbers(self, ids: list[str]) -> dict[tuple[str, str], Sequence[float]]:
        """The numbers that each row has, by name and title."""
        store = GradientStore.open(self.place)
        found: dict[tuple[str, str], Sequence[float]] = {
            ("loss", "loss"): store.column("losses", ids).tolist(),
            ("norm", "gradient norm"): store.column("norms", ids).tolist(),
        }
        if self.config.values is not None:
            from unweave.valuation.table import read_table, task_columns

            columns = read_table(self.config.values)
            for task in task_columns(columns):
                values = dict(zip(columns["id"], columns[task], strict=True))
                found[f"value_{task}", f"value: {task}"] = [values.get(row_id, float("nan")) for row_id in ids]
        return found

    @cached_property
    def positions(self) -> "Positions":
        """Where the rows are on the map."""
        from unweave.explorer.positions import Positions

        return Positions(self)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the store's model, which is here without the model."""
        from unweave.models.loading import tokenizer_of

        return tokenizer_of(store_model(self.spec, self.config))

    def row(self, row_id: str) -> Row:
        """A row.

        Args:
            row_id: Its id.

        Returns:
            The row.

        Raises:
            DataError: When the store has none of that id.
        """
        return self.rows([row_id])[0]

    def rows(self, row_ids: Sequence[str]) -> list[Row]:
        """Some rows.

        Args:
            row_ids: Their ids.

        Returns:
            The rows, in the order of `row_ids`.

        Raises:
            DataError: When the store has none of such an id.
        """
        texts = self.texts()
        if missing := [row_id for row_id in row_ids if row_id not in texts]:
            raise DataError(
                "There is no such row in the store.", where=missing[0], remedy="it may have been forgotten since"
            )
        return stored_rows(texts, row_ids, where=str(self.place))

    def _texts(self) -> tuple[Any, dict[str, dict[str, Any]], list[str]]:
        with self._reading:
            seen = _state_of(self.place)
            if self._read is None or self._read[0] != seen:
                store = GradientStore.open(self.place)
                texts = store.texts()
                ids = [row_id for row_id in store.row_ids() if row_id in texts]
                self._read = seen, {row_id: texts[row_id] for row_id in ids}, ids
            return self._read


def _state_of(place: Path) -> list[tuple[str, int, int]]:
    """Name, time and size of each file that says which rows a store has. It is asked for with every request, so nothing else is read."""
    found = []
    for folder, _, names in os.walk(place):
        for name in names:
            if name == TEXTS_FILE or name.endswith(".json"):
                path = f"{folder}{os.sep}{name}"
                state = os.stat(path)  # noqa: PTH116
                found.append((path, state.st_mtime_ns, state.st_size))
    return sorted(found)


def find_stores(path: Path) -> list[Path]:
    """The stores in a folder.

    Args:
        path: A store, or a run folder.

    Returns:
        The store itself; or those in the folder, an early checkpoint's before others.

    Raises:
        DataError: When there is none.
    """
    if (path / STORE_FILE).is_file():
        return [path]
    found = sorted(file.parent for file in path.glob(f"*/{STORE_FILE}")) if path.is_dir() else []
    if not found:
        raise DataError(
            "There is no gradient store here.",
            where=str(path),
            remedy="give a store, or a run folder with one; `unweave cache` makes one",
        )
    return sorted(found, key=lambda place: ("early" not in place.name, place.name))
