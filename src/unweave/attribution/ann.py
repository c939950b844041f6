"""An approximate index of a store: FAISS over shortened sketches, whose finds are always scored anew from the store.

Optional and derived: it lives in `index/` of the store, goes when a row is deleted, since it holds sketches too, and is made again when the store's rows
have changed. A sketch of K coordinates is folded once more, with
hashed signs, to at most 1,024 (the estimate stays unbiased, its noise grows), an inverted-file index over these finds a few hundred
candidates for either side, and their scores come from the stored sketches. Worth it for millions of rows; below that a full scan takes seconds
and misses nothing.
"""

import contextlib
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.retrieval import Ranking, influences, rank
from unweave.errors import ConfigError, MissingExtraError, StoreError
from unweave.files import write_json
from unweave.replacing import replacing
from unweave.sketch.fold import Fold
from unweave.store.base import Store
from unweave.store.records import INDEX
from unweave.store.store import GradientStore

SHORT = 1024
CANDIDATES = 20
LEAST_CANDIDATES = 200


def search_index(
    store: Store,
    queries: Float[Tensor, "q K"],
    *,
    top_k: int,
    similarity: str = "dot",
    learning_rate: float = 1.0,
) -> list[Ranking]:
    """The top rows of every query among the candidates of an approximate index.

    Args:
        store: The store.
        queries: Sketches of the queries.
        top_k: Rows on each side.
        similarity: `dot` or `cosine`.
        learning_rate: Factor of the influence.

    Returns:
        A ranking for each query; scores are the store's own, the choice of rows is approximate.

    Raises:
        ConfigError: When the store has no folder that could keep the index.
    """
    if not isinstance(store, GradientStore):
        raise ConfigError(
            "An approximate index lies in the folder of its store.", where="`index`", remedy="give the store a path"
        )
    index, ids = _index(store)
    short = _shorten(queries)
    count = min(len(ids), max(LEAST_CANDIDATES, CANDIDATES * top_k))
    rankings = []
    for query, shortened in zip(queries, short, strict=True):
        both = [index.search(sign * shortened[None], count)[1][0] for sign in (1, -1)]
        found = [ids[place] for place in dict.fromkeys(np.concatenate(both).tolist()) if place >= 0]
        scores = influences(query[None], store.read(found), similarity=similarity, learning_rate=learning_rate)[0]
        rankings.append(rank(found, scores, top_k=top_k))
    return rankings


def _index(store: GradientStore) -> tuple[Any, list[str]]:
    """The index of the store as it is now, from its folder or made anew."""
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", extra="faiss", purpose="An approximate index") from error
    path = store.folder / INDEX / f"{store.info()['rows_fingerprint']}.faiss"
    ids = store.row_ids()
    index: Any = None
    if path.is_file():
        # Compacted away between the two, or broken: it is made again.
        with contextlib.suppress(RuntimeError):
            index = faiss.read_index(str(path))
    if index is None or index.ntotal != len(ids):
        progress.say(f"index: {len(ids)} rows")
        index = _made(faiss, store)
        _keep(path, lambda temporary: faiss.write_index(index, str(temporary)), store, rows=len(ids))
    index.nprobe = max(1, index.nlist // 4)
    return index, ids


def _made(faiss: Any, store: GradientStore) -> Any:
    vectors = np.concatenate([_shorten(store.read(block.row_ids)) for block in store.blocks()])
    lists = max(1, int(sqrt(len(vectors)) / 4))
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


def _keep(path: Path, write: Callable[[Path], None], store: GradientStore, *, rows: int) -> None:
    """Keep an index in its store, in place of older ones, unless the store has gone on meanwhile: an index must never bring back what was deleted."""
    try:
        with GradientStore.open(store.folder).writing() as now:
            if now.info()["rows_fingerprint"] != path.stem:
                progress.say("index: the store has changed meanwhile, so the index is not kept")
                return
            now.drop_index()
            with replacing(path) as temporary:
                write(temporary)
            write_json(path.with_suffix(".json"), {"rows": rows})
    except (StoreError, OSError) as error:
        # The index serves this search all the same.
        reason = error.what if isinstance(error, StoreError) else str(error)
        progress.say(f"index: it is not kept: {reason}")


def _shorten(sketches: Float[Tensor, "n K"]) -> np.ndarray:
    if sketches.shape[1] <= SHORT:
        return sketches.numpy()
    out = torch.zeros(len(sketches), SHORT)
    Fold(SHORT, 1).add(out, "index", sketches.contiguous(), torch.ones(len(sketches)))
    return out.numpy()
