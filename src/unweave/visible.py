"""Characters that do not show, shown: nothing in a row, an id or a name may move the cursor, turn text around, or hide in it.

Everything made for people's eyes goes through here: the terminal (`terminal.py`), pages, cards, plots and tables. Data files keep the texts as they are.
A hidden character is written as its code point, ⟨U+202E⟩. Text of every script stays as it is, and so do the joiners that belong to it: those between
letters of Arabic and Indic scripts, and those inside of an emoji.
"""

import json
import re
import unicodedata
from typing import Any

_UNUSUAL = re.compile(r"[^ -~]")
_SHOWN = re.compile(r"⟨U\+([0-9A-F]{4,6})⟩")
LAST = 0x10FFFF
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of a category that shows, and yet without a picture of their own: joiners, fillers, vowels that are not written, selectors of variants.
_WITHOUT_PICTURE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)
# Signs of numbers and verses, which Unicode counts among the format characters.
_PICTURES = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
_JOINERS = "\u200c\u200d"
_ZWJ = "\u200d"
_EMOJI_SELECTORS = "\ufe0e\ufe0f"
_EMOJI_WITHOUT_SYMBOL = frozenset("0123456789#*©®‼⁉〰")
_JOINED_SCRIPTS = ((0x0600, 0x109F), (0x1780, 0x18AF), (0xA840, 0xABFF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC))


def visible(text: str) -> str:
    """A text whose hidden characters are shown; its line breaks and tabs stay.

    Args:
        text: The text.

    Returns:
        The same text where it has none.
    """
    return _UNUSUAL.sub(lambda found: found[0] if found[0] in "\n\t" else _shown(found), text)


def one_line(text: object) -> str:
    """A name, an id, a cell, a reason: as `visible`, and line breaks and tabs are shown too, so that no text begins a line of its own.

    Args:
        text: The text, or what is written as one.

    Returns:
        The same text where it has none.
    """
    return _UNUSUAL.sub(_shown, str(text))


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON whose hidden characters are escaped as JSON does it: harmless on a terminal, and exactly the same data.

    Args:
        value: What to write.
        indent: Spaces a level; by default all stands on one line.
        ascii_only: Whether all but ASCII is escaped.

    Returns:
        The text.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    return _UNUSUAL.sub(
        lambda found: found[0] if found[0] == "\n" or _shown(found) == found[0] else json.dumps(found[0])[1:-1], text
    )


def csv_cell(text: str) -> str:
    """A text as a cell of a CSV file: on one line, and no formula to a spreadsheet. `csv_text` gives it back.

    A text that begins as a formula does gets an apostrophe in front, which spreadsheets take for "this is text"; a number is none.

    Args:
        text: The text.

    Returns:
        The cell.
    """
    cell = one_line(text.replace("⟨U+", "⟨U+27E8⟩U+"))
    return f"'{cell}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else cell


def csv_text(cell: str) -> str:
    """The text that `csv_cell` made a cell of.

    Args:
        cell: The cell.

    Returns:
        The text.
    """
    text = _SHOWN.sub(lambda found: chr(code) if (code := int(found[1], 16)) <= LAST else found[0], cell)
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


# Also in the wide letters of East Asia, and behind apostrophes, so that none of the text's own is taken for ours.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if not _is_hidden(character) or _belongs(found.string, found.start()):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def _is_hidden(character: str) -> bool:
    code = ord(character)
    if any(low <= code <= high for low, high in _WITHOUT_PICTURE):
        return True
    return unicodedata.category(character) in _HIDDEN_CATEGORIES and character not in _PICTURES


def _belongs(text: str, place: int) -> bool:
    """Whether a joiner or a selector is part of how its neighbours are written."""
    before, character, after = text[place - 1 : place], text[place], text[place + 1 : place + 2]
    if character in _EMOJI_SELECTORS:
        return _is_emoji(before)
    if character not in _JOINERS or not before or not after:
        return False
    if _is_joined(before) and _is_joined(after):
        return True
    if before in _EMOJI_SELECTORS:
        before = text[place - 2 : place - 1]
    return character == _ZWJ and _is_emoji(before) and _is_emoji(after)


def _is_emoji(character: str) -> bool:
    if not character or character in _EMOJI_WITHOUT_SYMBOL:
        return bool(character)
    return ord(character) >= 0x2190 and unicodedata.category(character) in ("So", "Sk", "Sm") and character != "\u2800"


def _is_joined(character: str) -> bool:
    code = ord(character)
    return any(low <= code <= high for low, high in _JOINED_SCRIPTS) and not _is_hidden(character)
