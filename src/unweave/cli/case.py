"""`unweave case`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unweave.cli.common import parse, print_json, print_pairs
from unweave.data.case import CaseConfig


@dataclass(frozen=True, kw_only=True)
class MakeCaseConfig(CaseConfig):
    """Make a case.

    Attributes:
        output_dir: Where the case goes.
    """

    output_dir: Path


def main(argv: Sequence[str]) -> int:
    """Write a case folder.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    config, common = parse(
        MakeCaseConfig, argv, command="case", description="Make the rows, triggers and tests of an experiment."
    )
    from unweave.data.case import SPLITS, make_case

    case = make_case(config, config.output_dir)
    counts = {split: len(case.rows(split)) for split in SPLITS}
    if common.json:
        print_json({"folder": str(case.folder), "detector": case.detector, "rows": counts})
    else:
        print_pairs(f"case: {case.folder}", counts)
    return 0
