"""What a sequence of a step is to an objective."""

from enum import IntEnum


class Role(IntEnum):
    """What a sequence is to the objective."""

    RETAIN = 0
    UNWANTED = 1  # a forget row with the completion to be forgotten
    CLEAN = 2  # the same forget row with the right completion
