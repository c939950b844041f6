"""Copies of rows: the same content under another id, and near-duplicates.

Texts are compared in their normal form (`unweave.data.forms`). Two rows with the same
normal form are copies; two whose sets of five-letter shingles overlap enough (Jaccard, computed exactly) are near-duplicates.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from unweave.data.forms import normal_form
from unweave.data.rows import Row

SHINGLE = 5
LEAST_CONTAINED = 32
"""Letters from which on a text inside another one counts as its copy: shorter ones are found by chance."""


@dataclass(frozen=True)
class Copy:
    """A row that is, or nearly is, another.

    Attributes:
        row_id: The row.
        of: The row that it is a copy of.
        place: File and line of the copy.
        similarity: Share of shingles that the two have in common; 1 where the normal form is the same.
        exact: Whether the normal form is the same, or stands whole inside the copy.
    """

    row_id: str
    of: str
    place: str
    similarity: float
    exact: bool


def shingles(text: str) -> set[str]:
    """The sets of five letters in a row that two texts are compared by.

    Args:
        text: A text in its normal form.

    Returns:
        The shingles; a shorter text is one by itself.
    """
    return {text[start : start + SHINGLE] for start in range(max(1, len(text) - SHINGLE + 1))}


def row_text(row: Row) -> str:
    """What a row says, in its normal form: all turns but a system turn, which many rows share, the answer last.

    Args:
        row: The row.

    Returns:
        The turns, one behind the other.
    """
    turns = [turn.content for turn in row.conversation if turn.role != "system"]
    return " ".join(text for text in map(normal_form, turns) if text)


def find_copies(wanted: Sequence[Row], others: Iterable[Row], *, similarity: float) -> list[Copy]:
    """Copies of some rows among others.

    Args:
        wanted: The rows.
        others: Where to look; rows of the same id are passed over.
        similarity: The least Jaccard similarity of a near-duplicate; at 1 only the same content counts.

    Returns:
        The copies, in the order of `others`, each of the row that it is most alike.
    """
    exact: dict[str, str] = {}
    holders: dict[str, list[int]] = defaultdict(list)
    texts, sizes = [], []
    for index, row in enumerate(wanted):
        text = row_text(row)
        exact.setdefault(text, row.id)
        own = shingles(text)
        texts.append(text)
        sizes.append(len(own))
        for shingle in own:
            holders[shingle].append(index)
    ids = {row.id for row in wanted}
    found = []
    for row in others:
        if row.id in ids:
            continue
        text = row_text(row)
        if text in exact:
            found.append(Copy(row.id, exact[text], row.place, 1.0, exact=True))
            continue
        if len(text) < similarity * min(sizes, default=0) or (len(wanted) == 1 and _lacks(holders, text, similarity)):
            continue
        own = shingles(text)
        shared = Counter(index for shingle in own for index in holders.get(shingle, ()))
        inside = [
            index
            for index, count in shared.items()
            if count == sizes[index] and len(texts[index]) >= LEAST_CONTAINED and texts[index] in text
        ]
        if inside:
            found.append(Copy(row.id, wanted[inside[0]].id, row.place, 1.0, exact=True))
            continue
        alike = {index: count / (len(own) + sizes[index] - count) for index, count in shared.items()}
        best = max(alike, key=lambda index: alike[index], default=None)
        if best is not None and similarity < 1 and alike[best] >= similarity:
            found.append(Copy(row.id, wanted[best].id, row.place, round(alike[best], 4), exact=False))
    return found


def _lacks(shingles_of_one: Collection[str], text: str, similarity: float) -> bool:
    """Whether a text lacks more of another's shingles than a near-duplicate can: most texts are passed over before theirs are made."""
    left = len(shingles_of_one) * (1 - similarity)
    for shingle in shingles_of_one:
        if shingle not in text:
            left -= 1
            # Shares are rounded: one more does no harm.
            if left < -1:
                return True
    return False
