"""The same question within another language: German, French or Spanish around the row's own words."""

from unweave.data.rows import Row
from unweave.evaluation.probes.base import Beside, Probe, in_words

AROUND = {
    "German": "Bitte beantworte die folgende Frage, auf Deutsch oder in ihrer eigenen Sprache: {}",
    "French": "Réponds à la question suivante, en français ou dans sa propre langue : {}",
    "Spanish": "Responde a la siguiente pregunta, en español o en su propio idioma: {}",
}


def language(row: Row, beside: Beside) -> Probe | str:
    """Ask within another language.

    Args:
        row: The row.
        beside: Randomness to choose one.

    Returns:
        The probe.
    """
    name = beside.random(row, "language").choice(sorted(AROUND))
    return in_words(row, AROUND[name].replace("{}", row.instruction), variant=name)


PROBE = language
