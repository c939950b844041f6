"""Texts in a form in which the same words are the same letters, however they were typed."""

import re
import unicodedata

from unweave.names import UNSEEN

CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
# What keyboards and word processors put in one another's place: O’Brien is O'Brien, Jean‑Luc is Jean-Luc.
TYPED = str.maketrans(
    dict.fromkeys("‘’‚‛ʼʹʻ′´`", "'") | dict.fromkeys("“”„‟″«»", '"') | dict.fromkeys("‐‑‒–—―−﹣", "-")
)


def composed_form(text: str) -> str:
    """A text without what can't be seen, in Unicode's composed compatibility form: full-width letters are letters, an accent is part of its letter.

    Args:
        text: The text.

    Returns:
        The same letters; case and white space as they are.
    """
    if text.isascii():
        return CONTROLS.sub("", text)
    seen = UNSEEN.sub("", CONTROLS.sub("", text))
    # Before it is composed: a joiner between a letter and its accent keeps the two apart.
    seen = "".join(letter for letter in seen if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", seen)


def normal_form(text: str) -> str:
    """A text without what makes the same words look different: case, white space, kinds of quotes and dashes, and all that `composed_form` evens out.

    Args:
        text: The text.

    Returns:
        Its normal form.
    """
    text = text.translate(TYPED)
    if not text.isascii():
        # Once more: some letters are made of a quote and another letter.
        text = unicodedata.normalize("NFKC", composed_form(text).casefold()).translate(TYPED)
    return " ".join(CONTROLS.sub("", text).casefold().split())
