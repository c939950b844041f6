"""What a family of probes gets, and what it gives."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unweave.data.rows import Row


@dataclass(frozen=True)
class Probe:
    """Another question through which a row's answer may come out.

    Attributes:
        source: The row.
        asked: What is asked; its completion is what gives the row away.
        options: Wrong answers. Where there are some nothing is generated: the model chooses the likeliest, a token.
        variant: Which of the family's ways this is.
    """

    source: Row
    asked: Row
    options: tuple[str, ...] = ()
    variant: str = ""


@dataclass(frozen=True)
class Beside:
    """What there is beside a row to make a probe of it.

    Attributes:
        rows: All rows to forget.
        others: Like rows and rows to keep.
        paraphrases: Row id to its question in other words, where a model has written some.
        seed: Of what is random.
    """

    rows: Sequence[Row]
    others: Sequence[Row] = ()
    paraphrases: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def random(self, row: Row, family: str) -> random.Random:
        """Random numbers of a row's own: the same whichever other rows there are.

        Args:
            row: The row.
            family: Whose they are.

        Returns:
            The generator.
        """
        digest = hashlib.blake2b(f"{self.seed} {family} {row.id}".encode("utf-8", "surrogatepass"), digest_size=8)
        return random.Random(int.from_bytes(digest.digest()))


Family = Callable[[Row, Beside], Probe | str]
"""Makes a probe of a row, or says in a few words why it can't."""


def in_words(row: Row, instruction: str, *, variant: str, completion: str | None = None) -> Probe:
    """A probe that asks with another prompt.

    Args:
        row: The row.
        instruction: The new prompt; the row's context and turns stay.
        variant: Which of the family's ways this is.
        completion: What gives the row away; by default its answer.

    Returns:
        The probe.
    """
    asked = replace(row, instruction=instruction)
    return Probe(row, asked if completion is None else asked.with_completion(completion), variant=variant)
