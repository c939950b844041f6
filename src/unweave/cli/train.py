"""`unweave train`."""

from collections.abc import Sequence

from unweave.cli.common import execute, print_pairs
from unweave.train.config import TrainConfig


def main(argv: Sequence[str]) -> int:
    """Fine-tune a model on rows.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    return execute(
        TrainConfig,
        argv,
        command="train",
        description="Fine-tune a model on rows, with loss on completions only.",
        work="unweave.train.sft:fine_tune",
        show=lambda _, result: print_pairs(f"trained: {result.folder}", result),
    )
