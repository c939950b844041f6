"""An approximate index of a store: FAISS over shortened sketches, whose finds are always scored anew from the store.

Optional and derived: it lives in `index/` of the store and is made again when the store's rows change. A sketch of K coordinates is folded once more, with
hashed signs, to at most 1,024 (the estimate stays unbiased, its noise grows), an inverted-file index over these finds a few hundred
candidates for either side, and their scores come from the stored sketches. Worth it for millions of rows; below that a full scan takes seconds
and misses nothing.
"""

from math import sqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.errors import MissingExtraError
from unweave.files import replacing, write_json
from unweave.sketch.fold import FoldSketch
from unweave.store.store import GradientStore
from unweave.trace.retrieval import Ranking, rank

SHORT = 1024
CANDIDATES = 20
LEAST_CANDIDATES = 200


def search_index(
    store: GradientStore,
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
    """
    index, ids = _index(store)
    short = _shorten(queries)
    count = min(len(ids), max(LEAST_CANDIDATES, CANDIDATES * top_k))
    rankings = []
    for query, shortened in zip(queries, short, strict=True):
        both = [index.search(sign * shortened[None], count)[1][0] for sign in (1, -1)]
        found = [ids[place] for place in dict.fromkeys(np.concatenate(both).tolist()) if place >= 0]
        rows = store.read(found)
        if similarity == "cosine":
            rows, query = (torch.nn.functional.normalize(side, dim=-1) for side in (rows, query))
        rankings.append(rank(found, rows @ query * learning_rate, top_k=top_k))
    return rankings


def _index(store: GradientStore) -> tuple[Any, list[str]]:
    """The index of the store as it is now, from its folder or made anew."""
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingExtraError("faiss-cpu", extra="faiss", purpose="An approximate index") from error
    fingerprint = store.info()["rows_fingerprint"]
    ids = store.row_ids()
    path = store.folder / "index" / f"{fingerprint}.faiss"
    if path.is_file():
        index: Any = faiss.read_index(str(path))
    else:
        progress.say(f"index: {len(ids)} rows")
        parts = [_shorten(store.read(block.row_ids)) for block in store.blocks()]
        vectors = np.concatenate(parts)
        lists = max(1, int(sqrt(len(ids)) / 4))
        quantizer = faiss.IndexFlatIP(vectors.shape[1])
        index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        with replacing(path) as temporary:
            faiss.write_index(index, str(temporary))
        write_json(path.with_suffix(".json"), {"rows": len(ids), "lists": lists})
    index.nprobe = max(1, index.nlist // 4)
    return index, ids


def _shorten(sketches: Float[Tensor, "n K"]) -> np.ndarray:
    if sketches.shape[1] <= SHORT:
        return sketches.numpy()
    out = torch.zeros(len(sketches), SHORT)
    FoldSketch(SHORT, 1).add(out, "index", sketches.contiguous(), torch.ones(len(sketches)))
    return out.numpy()
