"""Rows that are near to a text: in their words, in what a sentence encoder makes of them, or letter by letter."""

from collections.abc import Callable, Sequence

from unweave import progress
from unweave.data.copies import shingles
from unweave.data.forms import normal_form
from unweave.data.rows import Row
from unweave.errors import MissingExtraError

PERMUTATIONS = 256
SIMILARITY = 0.7


def near_rows(
    rows: Sequence[Row],
    text: str,
    *,
    method: str = "auto",
    similarity: float | None = None,
    max_rows: int | None = None,
) -> dict[str, tuple[str, float]]:
    """Rows that are near to a text.

    Args:
        rows: All rows.
        text: The text.
        method: `bm25`, `embedding`, `minhash`, or `auto`: BM25, and embeddings where the packaged encoder is installed, whichever is the nearer.
        similarity: The least similarity; by default 0.7, or none where `max_rows` is given.
        max_rows: The most rows: the nearest ones.

    Returns:
        Row id to what found it and how near it is, 1 for the text itself; nearest first.

    Raises:
        MissingExtraError: When what a method needs is not installed.
    """
    methods = _methods(method)
    texts = [f"{row.user_text}\n{row.completion}" for row in rows]
    values = {name: METHODS[name](texts, text) for name in methods}
    least = similarity if similarity is not None else (SIMILARITY if max_rows is None else 0.0)
    best = [max((own[place], name) for name, own in values.items()) for place in range(len(rows))]
    order = sorted(range(len(rows)), key=lambda place: (-best[place][0], place))
    near = [place for place in order if best[place][0] >= least and best[place][0] > 0][:max_rows]
    bound = "" if max_rows is None else f", the {max_rows} nearest at most"
    progress.say(
        f"`near`: compared by {' and '.join(methods)}, from a similarity of {least:g} on{bound}: {len(near)} row(s)"
    )
    return {rows[place].id: (best[place][1], best[place][0]) for place in near}


def _methods(method: str) -> list[str]:
    if method != "auto":
        return [method]
    from unweave.attribution.config import ENCODER
    from unweave.models.encoder import PACKAGED, packaged_folder

    there = ENCODER not in PACKAGED or packaged_folder(ENCODER) is not None
    return ["bm25", "embedding"] if there else ["bm25"]


def _bm25(texts: Sequence[str], text: str) -> list[float]:
    """BM25 of each text as a share of that of the text itself, which stands among the documents."""
    from unweave.attribution.baselines import bm25_scores

    *scores, own = bm25_scores(text, [*texts, text])
    return [min(1.0, score / own) if own > 0 else 0.0 for score in scores]


def _minhash(texts: Sequence[str], text: str) -> list[float]:
    """Estimated Jaccard similarity of the sets of letter shingles (Broder 1997); the standard error is 1/32."""
    try:
        from datasketch import MinHash
    except ImportError as error:
        raise MissingExtraError("datasketch", extra="ledger", purpose="Finding near-duplicates by MinHash") from error

    def signature(content: str) -> MinHash:
        made = MinHash(num_perm=PERMUTATIONS)
        made.update_batch([shingle.encode() for shingle in shingles(normal_form(content))])
        return made

    own = signature(text)
    return [float(own.jaccard(signature(other))) for other in texts]


def _embedding(texts: Sequence[str], text: str) -> list[float]:
    from unweave.attribution.config import ENCODER
    from unweave.models.encoder import load_encoder

    vectors = load_encoder(ENCODER).encode([text, *texts])
    return (vectors[1:] @ vectors[0]).tolist()


METHODS: dict[str, Callable[[Sequence[str], str], list[float]]] = {
    "bm25": _bm25,
    "embedding": _embedding,
    "minhash": _minhash,
}
"""Name to a function of all texts and one: a similarity each, at most 1."""
