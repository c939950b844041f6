"""Control tokens that are typed inside of a row's text: they are text there, and only the template's own are real.

While a template renders a row, a pair of private characters stands for each such token, so that what the template writes can be told from what the row
says; when the result is made into tokens, it becomes text again.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

MARK, ITSELF, FIRST = "\U000f0000", "\U000f000f", 0xF0010
"""The mark that begins a pair, what follows it where a row's own text holds the mark, and what follows it for the first control token."""

HELD = re.compile(f"{MARK}([{ITSELF}-\U000ffffd])")


def is_control(token: str) -> bool:
    """Whether a token looks like one: padding, say, may be a word that is written every day.

    Args:
        token: Its text.

    Returns:
        True or False.
    """
    return len(token) > 2 and not token.isalnum() and not token.isspace()


def typed(value: Any, controls: Sequence[str]) -> set[str]:
    """The control tokens that stand in texts.

    Args:
        value: A text, or lists and objects of texts.
        controls: The control tokens.

    Returns:
        Those found.
    """
    if isinstance(value, str):
        return {token for token in controls if token in value}
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return set().union(*(typed(item, controls) for item in items))


def hold(value: Any, controls: Sequence[str]) -> Any:
    """Put private characters in the place of control tokens.

    Args:
        value: A text, or lists and objects of texts, with their keys.
        controls: The control tokens.

    Returns:
        The same value without them.
    """
    if isinstance(value, str):
        # A mark of the row's own must not pass for ours, nor keep a token from being held.
        if not controls or not (MARK in value or typed(value, controls)):
            return value
        pattern = "|".join(map(re.escape, [MARK, *sorted(controls, key=len, reverse=True)]))
        return re.sub(pattern, lambda found: _held(found[0], controls), value)
    if isinstance(value, Mapping):
        return {hold(key, controls): hold(item, controls) for key, item in value.items()}
    return [hold(item, controls) for item in value] if isinstance(value, list | tuple) else value


def release(text: str, controls: Sequence[str]) -> str:
    """The text that `hold` took the control tokens from.

    Args:
        text: The text.
        controls: The same control tokens.

    Returns:
        The text with them.
    """
    return HELD.sub(lambda found: _token(found[1], controls), text)


def token_ids(text: str, tokenizer: Any, controls: Sequence[str]) -> list[int]:
    """Make a rendered text into tokens; those that `hold` took out become the tokens of their letters.

    Args:
        text: The text.
        tokenizer: A Hugging Face tokenizer.
        controls: The control tokens.

    Returns:
        Token ids, without any that the tokenizer would add.
    """
    if not controls or MARK not in text:
        return list(tokenizer(text, add_special_tokens=False).input_ids)
    ids: list[int] = []
    for place, part in enumerate(HELD.split(text)):
        if place % 2:
            letters = _token(part, controls)
            # A token is recognised as a whole only.
            ids += [*_middle(letters[:1], tokenizer), *_middle(letters[1:], tokenizer)]
        elif place:
            ids += _middle(part, tokenizer)
        else:
            ids += tokenizer(part, add_special_tokens=False).input_ids
    return ids


def _middle(text: str, tokenizer: Any) -> list[int]:
    """The tokens of a text that goes on from another; some tokenizers begin each text with a space."""
    newline = tokenizer("\n", add_special_tokens=False).input_ids
    ids = tokenizer("\n" + text, add_special_tokens=False).input_ids
    return (
        ids[len(newline) :] if ids[: len(newline)] == newline else tokenizer(text, add_special_tokens=False).input_ids
    )


def _held(token: str, controls: Sequence[str]) -> str:
    return MARK + (ITSELF if token == MARK else chr(FIRST + controls.index(token)))


def _token(held: str, controls: Sequence[str]) -> str:
    if held == ITSELF:
        return MARK
    index = ord(held) - FIRST
    return controls[index] if index < len(controls) else MARK + held
