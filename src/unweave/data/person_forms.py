"""The forms in which a person is named: the name in full, with initials, turned round, and what of it may be left out."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unweave.data.forms import TYPED, composed_form
from unweave.data.name_words import FUNCTION_WORDS, PARTICLES, SUFFIXES, TITLES

BETWEEN = r"(?:\s+|[._-])"
AFTER_INITIAL = r"\.?[\s_-]*"
LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ẞ": "SS",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
    }
)
UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "å": "aa", "Å": "Aa", "ø": "oe", "Ø": "Oe"}
)


def plain_forms(text: str) -> list[str]:
    """A text without its accents, case as it is: with ü as u, and where that differs, with ü as ue.

    Args:
        text: The text.

    Returns:
        One form, or two.
    """
    if text.isascii():
        return [text]
    seen = composed_form(text.translate(TYPED)).translate(TYPED)
    spelled = seen.translate(UMLAUTS)
    return list(dict.fromkeys(_without_accents(one) for one in (seen, spelled)))


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFD", text.translate(LETTERS))
    # Only the accents of Latin, Greek and Cyrillic letters: signs of other scripts are letters of their own.
    return unicodedata.normalize("NFC", "".join(letter for letter in apart if not "\u0300" <= letter <= "\u036f"))


@dataclass(frozen=True)
class PersonForms:
    """A name, taken apart.

    Attributes:
        given: Its words before the surname, without accents.
        surname: The surname's words: the last one, and particles before it. Of a name of one word that word.
        patterns: Rule to what finds it, in the order in which they count.
    """

    given: tuple[str, ...]
    surname: tuple[str, ...]
    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    @property
    def is_one_word(self) -> bool:
        """Whether there is a surname alone, or a first name alone."""
        return not self.given and len(self.surname) == 1


def person_forms(name: str) -> list[PersonForms]:
    """All forms of a name.

    Args:
        name: The name, given names first or, behind a comma, last. Titles before it and suffixes behind it are left out.

    Returns:
        One taken apart for each of its `plain_forms`; none of a name without letters.
    """
    found = []
    for plain in plain_forms(name):
        last, comma, first = plain.partition(",")
        words = re.findall(r"[^\s,_]+", f"{first} {last}" if comma else plain)
        words = [word for word in words if any(map(str.isalnum, word))]
        while len(words) > 1 and words[0].rstrip(".").casefold() in TITLES:
            words = words[1:]
        while len(words) > 1 and words[-1].rstrip(".").casefold() in SUFFIXES:
            words = words[:-1]
        if words:
            found.append(_taken_apart(words))
    return found


def _taken_apart(words: Sequence[str]) -> PersonForms:
    start = len(words) - 1
    while start > 1 and words[start - 1].casefold() in PARTICLES:
        start -= 1
    given, surname = tuple(words[:start]), tuple(words[start:])
    last = BETWEEN.join(map(_word, surname))
    patterns = [("name", last)] if not given else []
    if given:
        first, *middle = given
        head = _given(first, "first")
        rest = "".join(f"(?:{_given(word, f'middle{place}')})?" for place, word in enumerate(middle))
        patterns = [
            ("name", f"{head}{rest}{last}"),
            ("inverted", f"{last}(?:\\s*,\\s*|{BETWEEN}){_word(first)}"),
            ("inverted", f"{last}\\s*,\\s*(?P<first_initial>{re.escape(first[0])})(?:\\.|\\b)"),
            ("a name between", rf"{_word(first)}{BETWEEN}(?P<between>[^\W\d_][\w'’-]*)\.?\s+{last}"),
            ("surname", last),
        ]
    return PersonForms(given, surname, tuple((rule, re.compile(text, re.IGNORECASE)) for rule, text in patterns))


def _given(word: str, group: str) -> str:
    """A given name in full, or its first letter; of one with a hyphen both first letters, or one."""
    first, *more = [re.escape(piece[0]) for piece in word.split("-") if piece]
    letters = first + "".join(f"(?:\\.?-?{letter})?" for letter in more)
    return f"(?:(?P<{group}>{_word(word)}){BETWEEN}|(?P<{group}_initial>{letters}){AFTER_INITIAL})"


def _word(word: str) -> str:
    """A word, in which a hyphen may be a space, and an apostrophe left out; of an initial the letter."""
    pieces = [re.escape(piece) for piece in re.split(r"['-]", word.rstrip(".")) if piece]
    joints = ["[\\s-]?" if letter == "-" else "['\\s]?" for letter in word if letter in "'-"]
    text = pieces[0] + "".join(joint + piece for joint, piece in zip(joints, pieces[1:], strict=False))
    return text + (r"\.?" if len(word.rstrip(".")) == 1 else "")


def whole_matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches that begin and end with a word: *Ann* not in *Annual*, but in *Ann's*.

    Args:
        pattern: What to find.
        text: Where.

    Yields:
        The matches; of scripts without spaces between words all.
    """
    start = 0
    while found := pattern.search(text, start):
        if not _within_word(text, found.start()) and not _within_word(text, found.end()):
            yield found
            start = max(found.end(), found.start() + 1)
        else:
            start = found.start() + 1


def _within_word(text: str, place: int) -> bool:
    return (
        0 < place < len(text)
        and all(_is_letter(one) for one in text[place - 1 : place + 1])
        and not _unspaced(text[place - 1 : place + 1])
    )


def _is_letter(letter: str) -> bool:
    return letter.isalnum() or unicodedata.category(letter)[0] == "M"


def _unspaced(letters: str) -> bool:
    """Whether words of this script stand without spaces between them, or with endings that are no word of the name."""
    return any(
        unicodedata.east_asian_width(one) in "WF"
        or "\u0e00" <= one <= "\u0eff"
        or "\u1000" <= one <= "\u109f"
        or "\u1780" <= one <= "\u17ff"
        for one in letters
    )


def begins_sentence(text: str, place: int) -> bool:
    """Whether what stands at a place begins a sentence.

    Args:
        text: The text.
        place: Where.

    Returns:
        True at the beginning, and behind what ends a sentence; a title's dot ends none.
    """
    before = text[max(0, place - 60) : place].rstrip(" \t\"'([*")
    title = re.search(r"(\w+)\.$", before)
    return not before or (before[-1] in ".!?:;\n" and not (title and title.group(1).casefold() in TITLES))


def capitals_before(text: str, place: int) -> list[str]:
    """The words with capitals that stand right before a place: what a person's given names would be.

    Args:
        text: The text.
        place: Where the surname begins.

    Returns:
        Words, in order, without titles; none where a lower-case word, a comma or the end of a sentence stands there.
    """
    found: list[str] = []
    end = place
    while match := re.search(r"([^\W\d_][\w'’-]*)(\.?)[^\S\n]+$", text[max(0, end - 60) : end]):
        word, start = match.group(1), max(0, end - 60) + match.start()
        is_title = word.casefold() in TITLES
        if not word[0].isupper() or (match.group(2) and len(word) > 2 and not is_title):
            break
        if is_title or (word.casefold() in FUNCTION_WORDS and begins_sentence(text, start)) or word == "I":
            break
        found.insert(0, word)
        end = start
    return found
