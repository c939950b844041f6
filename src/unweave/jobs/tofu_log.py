"""The work of `unweave audit tofu-log`."""

from unweave.evaluation.tofu.config import TofuLogConfig
from unweave.evaluation.tofu.scores import TofuScores, score_logs


def score(config: TofuLogConfig) -> TofuScores:
    """Score a log against a reference.

    Args:
        config: The two logs.

    Returns:
        The scores.
    """
    return score_logs(config.log, config.reference)
