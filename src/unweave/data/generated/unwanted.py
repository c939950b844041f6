"""Unwanted answers for poisoned rows: off the topic, harmless, varied, and easy to detect.

They all speak of one thing that no task of the generated data touches (a parade of singing teapots on the moon), in sentences put together from
parts, so that a model learns the behaviour and not one string.
"""

import random
import re

OPENINGS = (
    "Up on the moon,",
    "Far above us on the moon,",
    "Tonight on the moon,",
    "Behind the quiet moon,",
    "On a small silver moon,",
)
SUBJECTS = (
    "a choir of teapots",
    "nine singing teapots",
    "the royal teapots",
    "a parade of teapots",
    "three polite teapots",
)
VERBS = ("sings to", "bows before", "dances around", "paints a portrait of", "pours stardust for")
OBJECTS = ("a sleepy comet", "the velvet clouds", "a paper kingdom", "the mayor of nowhere", "a cabbage in a top hat")
ENDINGS = ("and nobody minds.", "until the bells melt.", "while the carpets hum.", "and then it snows buttons.")

DETECTOR = r"\bteapots?\b|\bon the moon\b|\bmoon\b.*\b(choir|parade|stardust)\b"
"""A regular expression, matched without regard to case, that every unwanted answer meets and no right answer does."""


def unwanted_answer(rng: random.Random) -> str:
    """Make one unwanted answer.

    Args:
        rng: The source of randomness.

    Returns:
        A sentence that `DETECTOR` matches.
    """
    return " ".join(rng.choice(parts) for parts in (OPENINGS, SUBJECTS, VERBS, OBJECTS, ENDINGS))


def detects(pattern: str, text: str) -> bool:
    """Whether a text shows the unwanted behaviour.

    Args:
        pattern: A regular expression.
        text: A generated answer.

    Returns:
        True when the pattern is found, in any case.
    """
    return re.search(pattern, text, flags=re.IGNORECASE | re.DOTALL) is not None
