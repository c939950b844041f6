"""Options of the comparison of forgetting methods, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.data.encoding import EncodingConfig


@dataclass(frozen=True, kw_only=True)
class ForgettingBenchConfig(EncodingConfig):
    """Compare forgetting methods on one poisoned model, each with hyper-parameters chosen by the same small budget on a validation split.

    Attributes:
        case: The case folder; its trigger and clean tests are split into validation and test.
        tofu: In place of a case: the folder of TOFU's files.
        model: The poisoned model, an adapter folder.
        output_dir: Where runs, table, plot and page go; a rerun goes on.
        store: A gradient store of the training rows, for influence weights.
        retrained: A model retrained without the forget rows, measured beside the methods; TOFU's forget quality needs it.
        entries: What is compared: a method, or `method+weights` with the weights of `unweave weigh`, such as `rapidun+random`;
            `random-signed` permutes the values of `signed`.
        forget_sizes: Rows to forget: that many of the case's, sampled by the seed.
        retain_rows: Rows to keep.
        retain_from: `retain`: the case's clean retain rows. `train`: the training rows as they come, unknown poisoned ones among them.
        seeds: Of the rows, the sampling and the training.
        trials: Choices of options that are tried for each entry, sampled from the method's search space.
        steps: Of every method that trains.
        batch_size: Rows a step.
        validation_rows: Prompts of each test that options are chosen on; the rest is the test.
        max_validation: Clean rows of the validation.
        max_test: At most so many rows of each test.
        margin_clean: A choice that raises the loss of right answers by more than this on the validation rows, in nats a token, is chosen only when all do.
        max_new_tokens: Longest generated answer; by default 24, and on TOFU what its own evaluation allows (200 tokens with the prompt).
        dtype: As for the model.
        device: As for the model.
    """

    case: Path | None = None
    tofu: Path | None = None
    model: str
    output_dir: Path
    store: Path | None = None
    retrained: str | None = None
    entries: tuple[str, ...] = (
        "rapidun+rapidun", "rapidun+rapidun-dense", "rapidun+uniform", "rapidun+random", "ga", "graddiff", "npo", "loreun", "fisher", "llmeraser",
    )  # fmt: skip
    forget_sizes: tuple[int, ...] = (40,)
    retain_rows: int = 120
    retain_from: Literal["retain", "train"] = "retain"
    seeds: tuple[int, ...] = (0, 1, 2)
    trials: int = 4
    steps: int = 20
    batch_size: int = 8
    validation_rows: int = 20
    max_validation: int = 40
    max_test: int = 60
    margin_clean: float = 0.05
    max_new_tokens: int | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
