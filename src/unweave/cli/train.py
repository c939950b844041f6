"""`unweave train`."""

from collections.abc import Sequence

from unweave.cli.common import parse, print_json, print_pairs
from unweave.config import to_plain
from unweave.train.config import TrainConfig


def main(argv: Sequence[str]) -> int:
    """Fine-tune a model on rows.

    Args:
        argv: The arguments.

    Returns:
        The exit code.
    """
    config, common = parse(
        TrainConfig, argv, command="train", description="Fine-tune a model on rows, with loss on completions only."
    )
    from unweave.train.sft import fine_tune

    result = fine_tune(config)
    if common.json:
        print_json(result)
    else:
        print_pairs(f"trained: {result.folder}", to_plain(result))
    return 0
