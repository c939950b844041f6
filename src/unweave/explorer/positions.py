"""Where rows are on the map: near to each other where their gradients point the same way."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unweave.errors import ConfigError, UnweaveError
from unweave.replacing import remove, replacing
from unweave.sketch.numbers import decode_numbers
from unweave.store.base import Store
from unweave.store.store import GradientStore

if TYPE_CHECKING:
    from unweave.explorer.workspace import Workspace

SEED = 42
PROJECTED, REDUCED = 256, 64
"""Coordinates after the random projection, and after the principal components that PaCMAP takes."""
FEWEST = 15
"""Rows from which on PaCMAP has neighbours to choose from."""
MOST_CORNERS = 1_000
_ONE = threading.Lock()


@dataclass(frozen=True)
class Placed:
    """The map of a version of the store.

    Attributes:
        version: Of the store.
        points: Two coordinates a row, in the store's order, all between -1 and 1.
        method: `PaCMAP`, or `principal components`.
        why: Why it is not PaCMAP; empty where it is.
    """

    version: Any
    points: Float[np.ndarray, "n 2"]
    method: str
    why: str


class Positions:
    """The map of a workspace, computed once for each version of its store, beside what else goes on.

    Args:
        workspace: What is explored.
    """

    def __init__(self, workspace: "Workspace"):
        self._workspace = workspace
        self._lock = threading.Lock()
        self._placed: Placed | None = None
        self._thread: threading.Thread | None = None
        self._failed: tuple[Any, UnweaveError] | None = None

    def get(self, *, wait: bool = False) -> Placed | None:
        """The map, where it is there; where it is not, it is begun.

        Args:
            wait: Wait for it.

        Returns:
            The map, or `None` while it is computed.
        """
        while True:
            version, ids = self._workspace.version(), self._workspace.row_ids()
            with self._lock:
                if self._placed is not None and self._placed.version == version:
                    return self._placed
                if self._failed is not None and self._failed[0] == version:
                    raise self._failed[1]
                path = self._path(version)
                if self._thread is None or not self._thread.is_alive():
                    self._placed = _read(path, version, len(ids))
                    if self._placed is not None:
                        return self._placed
                    self._thread = threading.Thread(target=self._compute, args=(version, list(ids), path), daemon=True)
                    self._thread.start()
                thread = self._thread
            if not wait:
                return None
            thread.join()

    def inside(self, lasso: str) -> Bool[np.ndarray, " n"]:
        """The rows inside a polygon.

        Args:
            lasso: Its corners, as `x1,y1;x2,y2;...` in the map's coordinates.

        Returns:
            For each row whether it is inside.

        Raises:
            ConfigError: When it is no polygon, or the map is not there yet.
        """
        corners = corners_of(lasso)
        placed = self.get()
        if placed is None:
            raise ConfigError(
                "The map is still being computed.", where="/map", remedy="wait until it is shown, and try again"
            )
        return contained(placed.points, corners)

    def _path(self, version: Any) -> Path:
        digest = hashlib.blake2b(repr(version).encode(), digest_size=16).hexdigest()
        return self._workspace.folder / "map" / f"{digest}.npz"

    def _compute(self, version: Any, ids: list[str], path: Path) -> None:
        try:
            store = GradientStore.open(self._workspace.place)
            points, method, why = place_rows(store, ids)
            _write(path, points, method, why)
            found = Placed(version, points, method, why)
            with self._lock:
                self._placed = found
        except UnweaveError as error:
            with self._lock:
                self._failed = version, error
        except Exception as error:
            with self._lock:
                said = ConfigError(f"The map can't be computed: {type(error).__name__}: {error}.", where=str(path))
                self._failed = version, said


def corners_of(lasso: str) -> Float[np.ndarray, "corners 2"]:
    """The corners of a polygon.

    Args:
        lasso: `x1,y1;x2,y2;...`.

    Returns:
        Them.

    Raises:
        ConfigError: When these are no corners of a polygon.
    """
    pairs = [pair.split(",") for pair in lasso.split(";") if pair]
    try:
        corners = np.array([[float(x), float(y)] for x, y in pairs], dtype=np.float64)
    except ValueError:
        corners = np.empty((0, 2))
    if not 3 <= len(corners) <= MOST_CORNERS or not np.isfinite(corners).all():
        raise ConfigError(
            "This is no region of the map.",
            where="the lasso",
            remedy="give three corners or more, as x1,y1;x2,y2;x3,y3",
        )
    return corners


def contained(points: Float[np.ndarray, "n 2"], corners: Float[np.ndarray, "corners 2"]) -> Bool[np.ndarray, " n"]:
    """Which points are inside a polygon.

    Args:
        points: The points.
        corners: Of the polygon, which is closed.

    Returns:
        For each point whether it is inside.
    """
    from matplotlib.path import Path as Polygon

    low, high = corners.min(axis=0), corners.max(axis=0)
    found = ((points >= low) & (points <= high)).all(axis=1)
    near = found.nonzero()[0]
    found[near] = Polygon(np.vstack([corners, corners[:1]]), closed=True).contains_points(points[near])
    return found


def place_rows(store: Store, row_ids: list[str]) -> tuple[Float[np.ndarray, "n 2"], str, str]:
    """Give rows places in two dimensions, by the directions of their sketches (PaCMAP, Wang et al. 2021, JMLR 22).

    Args:
        store: The store.
        row_ids: The rows.

    Returns:
        Their places, how they were found, and why not by PaCMAP where they were not.
    """
    with _ONE:
        reduced = principal(directions(store, row_ids), REDUCED)
        if len(row_ids) < FEWEST:
            return _framed(reduced), "principal components", f"there are fewer than {FEWEST} rows"
        try:
            from pacmap import PaCMAP
        except ImportError:
            return _framed(reduced), "principal components", "the package pacmap is not installed"
        why = ""
        # A few rows are fewer than the neighbours that are looked for by default.
        options: dict[str, Any] = {"n_neighbors": min(10, len(row_ids) // 3)} if len(row_ids) < 100 else {}
        try:
            made = PaCMAP(n_components=2, random_state=SEED, apply_pca=False, **options)
            points = np.asarray(_quietly(lambda: made.fit_transform(reduced, init="pca")), dtype=np.float32)
        except Exception as error:
            points, why = reduced, f"PaCMAP gave up ({type(error).__name__})"
        if not np.isfinite(points).all():
            points, why = reduced, "PaCMAP gave up"
        return _framed(points), "principal components" if why else "PaCMAP", why


def directions(store: Store, row_ids: list[str]) -> Float[Tensor, "n k"]:
    """The directions of sketches, in few dimensions: read block by block, each as long as 1, and projected at random where they are longer than that.

    Args:
        store: The store.
        row_ids: The rows.

    Returns:
        A vector a row, whose inner products estimate those of the directions.
    """
    dimension = store.spec.dimension
    places = {row_id: place for place, row_id in enumerate(row_ids)}
    projection = None
    if dimension > PROJECTED:
        generator = torch.Generator().manual_seed(SEED)
        projection = torch.randn(dimension, PROJECTED, generator=generator) / PROJECTED**0.5
    found = torch.zeros(len(row_ids), min(dimension, PROJECTED))
    for block in store.blocks():
        stored = store.load(block)
        values = decode_numbers(
            torch.from_numpy(np.array(stored.values)), stored.scales, store.spec.number_format, dimension
        )
        values = values / values.norm(dim=1, keepdim=True).clamp(min=1e-30)
        if block.kept is not None:
            values = values[list(block.kept)]
        own = [(index, places[row_id]) for index, row_id in enumerate(block.row_ids) if row_id in places]
        if own:
            here, there = map(list, zip(*own, strict=True))
            found[there] = values[here] if projection is None else values[here] @ projection
    return found


def principal(vectors: Float[Tensor, "n k"], count: int) -> Float[np.ndarray, "n d"]:
    """The principal components of vectors, the largest first.

    Args:
        vectors: The vectors.
        count: The most components.

    Returns:
        Coordinates in float32; never fewer than two.
    """
    centred = vectors - vectors.mean(dim=0)
    _, axes = torch.linalg.eigh((centred.T @ centred).double())
    axes = axes.flip(1)[:, :count]
    # An axis has no direction of its own: its largest entry points forward.
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    axes = axes * torch.where(largest < 0, -1.0, 1.0)
    found = (centred @ axes.float()).numpy().astype(np.float32)
    return np.pad(found, ((0, 0), (0, max(0, 2 - found.shape[1]))))


def _framed(points: np.ndarray) -> Float[np.ndarray, "n 2"]:
    """The first two coordinates, moved and scaled alike into the square from -1 to 1."""
    points = points[:, :2].astype(np.float64)
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(2), np.zeros(2))
    scale = float((high - low).max()) / 2
    return ((points - (low + high) / 2) / (scale if scale > 0 else 1.0)).astype(np.float32)


def _quietly(compute: Callable[[], Any]) -> Any:
    """PaCMAP warns that there is a seed, which is meant, and that there are few rows."""
    import logging
    import warnings

    logging.getLogger("pacmap.pacmap").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compute()


def _read(path: Path, version: Any, count: int) -> Placed | None:
    """A map that was kept; `None` where there is none, or it is not whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            points, method, why = held["points"], str(held["method"]), str(held["why"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if points.shape != (count, 2) or points.dtype != np.float32 or not np.isfinite(points).all():
        return None
    return Placed(version, points, method, why)


def _write(path: Path, points: np.ndarray, method: str, why: str) -> None:
    content = io.BytesIO()
    np.savez(content, points=points, method=np.array(method), why=np.array(why))
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    # Maps of earlier versions of the store are of rows that may be gone.
    for other in path.parent.glob("*.npz"):
        if other != path:
            remove(other)
