"""The rows that name a person: by the name in any form, by aliases, and by the surname alone where nobody else in the data has it.

Who is meant is judged by rule and from the data alone. What may be another person is listed apart, with the reason, and never counted as found.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from unweave.data.name_words import FUNCTION_WORDS
from unweave.data.person_forms import (
    PersonForms,
    begins_sentence,
    capitals_before,
    person_forms,
    plain_forms,
    whole_matches,
)
from unweave.data.rows import Row
from unweave.errors import ConfigError

RULES = "name", "alias", "shorter", "inverted", "initials", "a name between", "surname"
"""By what a row names a person, the surest first: the whole name; an alias; without a middle name; surname first; initials; with a further name; surname."""
SHOWN = 3


@dataclass(frozen=True)
class Mention:
    """Where a row names a person.

    Attributes:
        rule: One of `RULES`.
        field: `prompt`, `context`, `answer`, `clean answer`, `system`, `earlier turn`, `step` or `tools`.
        words: What stands there, without accents.
        doubt: Why it may be another person; empty where nothing speaks for that.
    """

    rule: str
    field: str
    words: str
    doubt: str = ""


@dataclass(frozen=True)
class PersonRows:
    """The rows that name a person.

    Attributes:
        named: Row id to the surest mention without a doubt.
        doubtful: Row id to the surest mention, of rows that have none without a doubt.
        others: Other people of the same surname in the data.
    """

    named: dict[str, Mention]
    doubtful: dict[str, Mention]
    others: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """How many rows each rule found, those in doubt left out."""
        found = Counter(one.rule for one in self.named.values())
        return {rule: found[rule] for rule in RULES if found[rule]}


@dataclass(frozen=True)
class _Place:
    """A match, and the text that it stands in."""

    field: str
    text: str
    start: int
    end: int
    rule: str

    @property
    def words(self) -> str:
        return self.text[self.start : self.end]


def find_person(rows: Sequence[Row], name: str, *, aliases: Sequence[str] = ()) -> PersonRows:
    """Find all rows that name a person, in any turn of theirs.

    Letters are compared without case and accents (*ü* is *u* and *ue*); a hyphen may be a space; *Ann* is found in *Ann's* and not in *Annual*. Beside the
    name in full: without its middle names, surname first, with initials, and the surname alone.

    Args:
        rows: All rows: whether a surname is unambiguous is a question to all of them.
        name: The name.
        aliases: Other names of the same person; found as they are, in any form of letters.

    Returns:
        The rows.

    Raises:
        ConfigError: When the name, or an alias, has no letters.
    """
    own = person_forms(name)
    also = [forms for alias in aliases for forms in (person_forms(alias) or [None])]
    if not own or None in also:
        raise ConfigError(
            "A name without letters names nobody.", where="`alias`" if own else "`person`", remedy="give the name"
        )
    texts = {row.id: [(place, plain) for place, text in row_fields(row) for plain in plain_forms(text)] for row in rows}
    given = {(forms.given or forms.surname)[0].casefold() for forms in (*own, *(one for one in also if one))}
    found = {
        row_id: [place for forms in own for place in _places(own_texts, forms)] for row_id, own_texts in texts.items()
    }
    others = _others(found.values(), given)
    aliased = {
        row_id: [one for forms in also if forms for one in _aliased(own, forms)] for row_id, own in texts.items()
    }
    doubts = _Doubts(
        own=own,
        others=others,
        small=_small_words(texts.values(), own),
        is_known=any(aliased.values())
        or any(place.rule not in ("surname", "a name between") for places in found.values() for place in places),
    )
    named: dict[str, Mention] = {}
    doubtful: dict[str, Mention] = {}
    for row in rows:
        mentions = [
            Mention(place.rule, place.field, place.words, doubts.of(place))
            for place in found[row.id]
            if not (place.rule == "surname" and _is_other(_given_before(place), given))
        ]
        mentions += aliased[row.id]
        sure = [mention for mention in mentions if not mention.doubt]
        if sure:
            named[row.id] = min(sure, key=_rank)
        elif mentions:
            doubtful[row.id] = min(mentions, key=_rank)
    return PersonRows(named, doubtful, tuple(sorted(others)))


def row_fields(row: Row) -> Iterator[tuple[str, str]]:
    """All texts of a row that a reader, or a model, sees.

    Args:
        row: The row.

    Yields:
        The name of a field, as in `Mention`, and its text.
    """
    yield "prompt", row.instruction
    yield "answer", row.completion
    if row.context:
        yield "context", row.context
    for role, text in row.turns:
        yield ("system" if role == "system" else "earlier turn"), text
    for step in row.steps:
        yield "step", step.content
    if row.clean_completion:
        yield "clean answer", row.clean_completion
    extra = [turn.extra for turn in row.conversation if turn.extra]
    if extra or row.tools:
        yield "tools", json.dumps([*extra, *row.tools], ensure_ascii=False, default=str)


def _rank(mention: Mention) -> int:
    return RULES.index(mention.rule)


def _places(texts: Iterable[tuple[str, str]], forms: PersonForms) -> Iterator[_Place]:
    """All places of a row where a name may stand; the surname only where no longer form covers it."""
    for field, text in texts:
        taken: list[tuple[int, int]] = []
        for rule, pattern in forms.patterns:
            for match in whole_matches(pattern, text):
                start, end = match.span()
                if any(start < stop and begin < end for begin, stop in taken):
                    continue
                kind = _kind(rule, match)
                if kind:
                    taken.append((start, end))
                    yield _Place(field, text, start, end, kind)


def _kind(rule: str, match: re.Match[str]) -> str:
    """The rule of a match, or none where it is no match after all."""
    groups = match.groupdict()
    if rule == "name" and groups:
        initials = [value for key, value in groups.items() if key.endswith("_initial") and value]
        if initials:
            # An article before a surname is no initial.
            return "initials" if not any(one.islower() for one in initials) else ""
        return "name" if all(value for key, value in groups.items() if not key.endswith("_initial")) else "shorter"
    if rule == "inverted" and (initial := groups.get("first_initial")):
        return "initials" if not initial.islower() else ""
    if rule == "a name between":
        between = groups["between"] or ""
        return rule if between[0].isupper() and between.casefold() not in FUNCTION_WORDS else ""
    return rule


def _given_before(place: _Place) -> list[str]:
    return capitals_before(place.text, place.start)


def _is_other(before: Sequence[str], given: set[str]) -> bool:
    """Whether these are given names, and not those of the person."""
    return bool(before) and before[-1].casefold() not in given


def _others(found: Iterable[Sequence[_Place]], given: set[str]) -> dict[str, str]:
    """Other people of the surname: their names in full to the first given name."""
    others: dict[str, str] = {}
    for places in found:
        for place in places:
            before = _given_before(place) if place.rule == "surname" else []
            if _is_other(before, given):
                others.setdefault(" ".join([*before, place.words]), before[0])
    return others


def _small_words(texts: Iterable[Sequence[tuple[str, str]]], own: Sequence[PersonForms]) -> set[str]:
    """Which of the names' last words stand in the data in small letters, as words of the language do."""
    wanted = {forms.surname[-1].casefold() for forms in own}
    patterns = {word: re.compile(rf"(?<![\w.@-]){re.escape(word)}(?![\w@-])") for word in wanted}
    return {word for word, pattern in patterns.items() if any(pattern.search(text) for row in texts for _, text in row)}


@dataclass(frozen=True, kw_only=True)
class _Doubts:
    """What is needed to say why a match may be another person.

    Attributes:
        own: The forms of the name.
        others: Other people of the surname.
        small: The name's last words that are words of the data too.
        is_known: Whether a longer form than the surname stands anywhere.
    """

    own: Sequence[PersonForms]
    others: dict[str, str]
    small: set[str]
    is_known: bool

    def of(self, place: _Place) -> str:
        """Why a match may be another person; empty where nothing speaks for that."""
        if place.rule == "a name between":
            return "a further name stands in between"
        if all(forms.is_one_word for forms in self.own):
            return _small_word(place, self.own, self.small)
        if joined := re.match(r"-[^\W\d_][\w'-]*", place.text[place.end :]):
            return f"it may be of another name: '{place.words}{joined.group()}'"
        if place.rule == "initials":
            return self._of_initials(place)
        return self._of_surname(place) if place.rule == "surname" else ""

    def _of_initials(self, place: _Place) -> str:
        initial = self.own[0].given[0][0].casefold()
        if alike := [name for name, first in self.others.items() if first[0].casefold() == initial]:
            return f"there is another person of this initial: {_some(alike)}"
        if re.match(r"[AI]\s", place.words):
            return f"'{place.words[0]}' may be a word"
        return _small_word(place, self.own, self.small)

    def _of_surname(self, place: _Place) -> str:
        if self.others:
            return f"there are others of this surname: {_some(self.others)}"
        if not self.is_known:
            return "the name in full stands nowhere in the data"
        if behind := re.match(r"(?:[^\S\n]+|,\s+)([^\W\d_][\w'-]*)", place.text[place.end :]):
            word = behind.group(1)
            if word[0].isupper() and word.casefold() not in FUNCTION_WORDS:
                return f"it may be of another name: '{place.words}{behind.group()}'"
        return _small_word(place, self.own, self.small)


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:SHOWN]) + (", ..." if len(ordered) > SHOWN else "")


def _small_word(place: _Place, own: Sequence[PersonForms], small: set[str]) -> str:
    """Whether a name may be a word of the language."""
    last = re.split(r"[\s.,_]+", place.words.strip(". "))[-1]
    typed = own[0].surname[-1]
    if last[:1].islower() and not typed[0].islower():
        return "it is written in small letters, as a word is"
    if place.rule in ("name", "surname") and last.casefold() in small and begins_sentence(place.text, place.start):
        return "it begins a sentence, and is a word of the data too"
    return ""


def _aliased(texts: Sequence[tuple[str, str]], forms: PersonForms) -> Iterator[Mention]:
    for place in _places(texts, forms):
        if place.rule == "name":
            doubt = _small_word(place, [forms], set()) if forms.is_one_word else ""
            yield Mention("alias", place.field, place.words, doubt)
