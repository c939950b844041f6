"""The question spelled in another way: other case, without accents, with a typing error, or with a name in Cyrillic letters."""

import re
import unicodedata

from unweave.data.rows import Row
from unweave.evaluation.measures.facts import names_in
from unweave.evaluation.probes.base import Beside, Probe, in_words

TYPED = 5
"""Letters of a word that a typing error is made in, at least."""

CYRILLIC = {
    "shch": "щ", "sh": "ш", "ch": "ч", "zh": "ж", "kh": "х", "ts": "ц", "yu": "ю", "ya": "я", "ph": "ф", "th": "т", "ck": "к", "qu": "кв",
    **dict(zip("abcdefghijklmnopqrstuvwxyz", "а б к д е ф г х и дж к л м н о п к р с т у в в кс и з".split(), strict=True)),
}  # fmt: skip
"""Latin letters to Cyrillic ones, as names are written; the longest that fits comes first."""


def spelling(row: Row, beside: Beside) -> Probe | str:
    """Ask in another spelling.

    Args:
        row: The row.
        beside: Randomness to choose one.

    Returns:
        The probe, or why there is none.
    """
    text = row.instruction
    rng = beside.random(row, "spelling")
    ways = {
        "capitals": text.upper(),
        "small letters": text.lower(),
        "no accents": without_accents(text),
        "typing error": _with_error(text, rng.random()),
        "Cyrillic name": _in_cyrillic(text),
    }
    other = {name: own for name, own in ways.items() if own != text}
    if not other:
        return "the question has no letters that could be others"
    variant = rng.choice(sorted(other))
    return in_words(row, other[variant], variant=variant)


def without_accents(text: str) -> str:
    """A text without the marks on its letters.

    Args:
        text: The text.

    Returns:
        The text; other letters as they were.
    """
    parts = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(one for one in parts if unicodedata.category(one) != "Mn"))


def to_cyrillic(name: str) -> str:
    """A name in Cyrillic letters, letter by letter.

    Args:
        name: A name in Latin letters.

    Returns:
        The name; what is no Latin letter as it was.
    """
    plain = without_accents(name)
    found = []
    while plain:
        size = next((size for size in (4, 2, 1) if plain[:size].lower() in CYRILLIC and len(plain) >= size), None)
        letters = CYRILLIC[plain[:size].lower()] if size else plain[0]
        found.append(letters.capitalize() if size and plain[0].isupper() else letters)
        plain = plain[size or 1 :]
    return "".join(found)


def _in_cyrillic(text: str) -> str:
    for name in names_in(text):
        text = text.replace(name, to_cyrillic(name))
    return text


def _with_error(text: str, place: float) -> str:
    """Two neighbouring letters inside of a long word changed round."""
    words = [found for found in re.finditer(r"[^\W\d_]+", text) if len(found.group()) >= TYPED]
    if not words:
        return text
    word = words[int(place * len(words))]
    spots = [at for at in range(word.start() + 1, word.end() - 2) if text[at] != text[at + 1]]
    if not spots:
        return text
    at = spots[len(spots) // 2]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


PROBE = spelling
