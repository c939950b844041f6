"""Which numbers an option may have: checked before any work, so that a run ends with an option's name and not with a crash inside a library.

One entry an option, by name: options of one name mean the same wherever they stand. A number without an entry must be finite, which is also all that is
asked of a weight or a factor that may well be negative.
"""

import dataclasses
import math
import numbers
from collections.abc import Iterator
from typing import Any

from unweave.arguments import quoted
from unweave.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that an option may have.

    Attributes:
        text: What to give, for people.
        low: The smallest.
        high: The largest.
        above: Whether it must be above `low`.
        infinite: Whether infinity is a choice: no bound, or all there is.
    """

    text: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    infinite: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is in the range.

        Args:
            value: The number.

        Returns:
            The answer; NaN is in none.
        """
        if math.isnan(value) or (math.isinf(value) and not self.infinite):
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high


ANY = Range("a finite number")
LARGEST = 2**53
COUNT = Range("a whole number from 1 to 2^53", low=1, high=LARGEST)
COUNT_OR_NONE = Range("a whole number from 0 to 2^53", low=0, high=LARGEST)
POSITIVE = Range("a finite number above 0", low=0, above=True)
NOT_NEGATIVE = Range("a finite number from 0", low=0)
BOUND = Range("a number from 0, or inf for no bound", low=0, infinite=True)
RATIO = Range("a number from 0, or inf for all there is", low=0, infinite=True)
SHARE = Range("a number from 0 to 1", low=0, high=1)
SOME_SHARE = Range("a number above 0, up to 1", low=0, high=1, above=True)
SEED = Range("a whole number from 0 to 4294967295", low=0, high=2**32 - 1)

RANGES = {
    name: allowed
    for allowed, names in {
        SEED: "seed seeds case_seed sketch_seed",
        COUNT: "batch_size block_rows commit_rows part_rows dimension fit_rows forget_batch_size forget_sizes imbalance iterations limit lora_r max_length "
        "max_new_tokens n_forget n_retain patience probes rank retain_directions covariance_rows student_length subsets token_budget top_k topk trials workers "
        "outputs asked orders retrain_queries random_draws rounds checkpoint_rows parallel_requests lm_eval_limit record_states segments shards slices",
        COUNT_OR_NONE: "attack_rows check_every check_rows clean_rows clean_test_rows curvature_rows forget_families forget_rows gradnorm_rows max_queries "
        "max_rows max_test max_validation poisoned_rows relearn_rows relearn_steps rerank retain_rows rows samples steps test_rows trace_queries probe_rows "
        "training_rows validation_rows budget_rows budget_tokens probes_allowed",
        POSITIVE: "epochs forget_epochs learning_rate forget_learning_rate train_learning_rate relearn_rate solver_rate learning_rates lora_alpha "
        "loreun_tau tau_f tau_r temperature max_minutes margin margin_clean margin_forget dp_clip dp_epsilon memory_gib max_gib worker_cpus pool signed_ridge "
        "scale max_noise omega gain request_timeout",
        NOT_NEGATIVE: "weight_decay damping noise tolerance max_perplexity_change loreun_wmin loreun_wmax wmin_f wmax_f wmin_r wmax_r "
        "worker_gpus weight_warmup bound ridge target_loss selection dampening orthogonality l2",
        BOUND: "stop_loss max_retain_increase max_grad_norm max_residual",
        RATIO: "retain_ratio",
        SHARE: "warmup_ratio diversity leave_out max_removed_share held_out",
        SOME_SHARE: "margin_share max_inverse dp_delta duplicates near_copies similarity snapshot snapshots shares signed_precision checkpoint_scale "
        "removed_shares",
        Range("a whole number from 0 to 65535", low=0, high=65535): "port",
        Range("a number from 0, below 1", low=0, high=math.nextafter(1, 0)): "lora_dropout",
    }.items()
    for name in names.split()
}


def require_in_range(config: Any, *, where: str | None = None) -> None:
    """Refuse a config with a number that can't be.

    Args:
        config: A dataclass instance.
        where: The file it came from; by default the arguments are named.

    Raises:
        ConfigError: Naming every such argument, what it is and what it may be.
    """
    wrong = [
        (name, value, RANGES.get(name, ANY))
        for name, value in _numbers(config)
        if not RANGES.get(name, ANY).holds(value)
    ]
    if wrong:
        remedies = dict.fromkeys(f"give {allowed.text}" for _, _, allowed in wrong)
        raise ConfigError(
            "; ".join(f"{name} can't be {value}" for name, value, _ in wrong) + ".",
            where=where or quoted(*dict.fromkeys(name for name, _, _ in wrong)),
            remedy="; ".join(remedies),
        )


def _numbers(config: Any) -> Iterator[tuple[str, float]]:
    """The numbers of a config, by the option that holds them."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for number in value if isinstance(value, tuple | list) else (value,):
            # Python's callers may have numpy's numbers.
            if isinstance(number, numbers.Real) and not isinstance(number, bool):
                yield field.name, float(number) if not isinstance(number, int) else number
