"""`unweave case`."""

from dataclasses import dataclass
from pathlib import Path

from unweave.data.case import Case
from unweave.experiments.case import CaseConfig, make_case


@dataclass(frozen=True, kw_only=True)
class MakeCaseConfig(CaseConfig):
    """Make the rows, triggers and tests of an experiment.

    Attributes:
        output_dir: Where the case goes.
    """

    output_dir: Path


def make(config: MakeCaseConfig) -> Case:
    """Make a case in a folder.

    Args:
        config: The case, and where it goes.

    Returns:
        The case.
    """
    return make_case(config, config.output_dir)
