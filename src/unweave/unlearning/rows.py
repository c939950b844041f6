"""A row as unlearning sees it: its tokens, its side, and its weight."""

from dataclasses import dataclass

from unweave.data.encoding import Example


@dataclass(frozen=True)
class ForgetRow:
    """A row that a step may sample.

    Attributes:
        example: Its tokens.
        clean: The tokens of the same question with the clean answer, for a forget row that has one.
        weight: Its weight.
        is_forget: Whether it is to be forgotten.
        among_retain: Whether it came with the retain rows, and is sampled as they are: one that its weight has sent to the other side.
    """

    example: Example
    clean: Example | None
    weight: float
    is_forget: bool
    among_retain: bool = False
