"""A row's text as the model sees it, cut where the loss begins and ends."""

from collections.abc import Sequence
from typing import Any

from unweave.data.encoding import Example
from unweave.visible import visible


def pieces_of(example: Example, tokenizer: Any) -> list[tuple[str, bool]]:
    """The text of an example, cut where the loss begins and ends.

    Args:
        example: The example.
        tokenizer: The tokenizer that made it.

    Returns:
        Each piece of the text, with whether it is learned.
    """
    pieces, at = [], 0
    for stretch in example.stretches:
        pieces += [(range(at, stretch.start), False), (stretch, True)]
        at = stretch.stop
    pieces.append((range(at, len(example)), False))
    texts = ((tokenizer.decode([example.input_ids[place] for place in part]), learned) for part, learned in pieces)
    return [(text, is_learned) for text, is_learned in texts if text]


def marked(pieces: Sequence[tuple[str, bool]]) -> str:
    """Pieces of a text as one, with brackets around what is learned.

    Args:
        pieces: From `pieces_of`.

    Returns:
        The text; hidden characters are shown.
    """
    return "".join(f"⟦{visible(text)}⟧" if is_learned else visible(text) for text, is_learned in pieces)
