"""Options of an audit, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from unweave.data.encoding import EncodingConfig
from unweave.evaluation.attacks.registry import ATTACKS, DEFAULTS
from unweave.registry import OneOf


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Which attacks, and how much of them.

    Attributes:
        attacks: `lens` reads the unwanted answer off the middle layers and probes them for the trigger; `sampling` draws many answers a prompt;
            `prompts` asks in other words; `relearn` trains a few steps on some forget rows, and on unrelated ones; `quantise` rounds the merged
            weights to 8 and 4 bits. `--attacks` without a name makes none.
        attack_rows: Prompts that each attack is judged on.
        samples: Answers drawn for each prompt.
        temperature: Of these draws.
        relearn_rows: Rows that relearning trains on.
        relearn_steps: Steps of it, each on all those rows.
        relearn_rate: Its step size (AdamW).
    """

    attacks: tuple[Annotated[str, OneOf(ATTACKS)], ...] = DEFAULTS
    attack_rows: int = 16
    samples: int = 8
    temperature: float = 1.0
    relearn_rows: int = 8
    relearn_steps: int = 4
    relearn_rate: float = 2e-4


@dataclass(frozen=True, kw_only=True)
class Margins:
    """The smallest differences that matter, set before anything is measured.

    Attributes:
        margin_share: Of attack success, false alarms and right answers, as a share.
        margin_forget: Of the loss of the unwanted answers, in nats a token.
        margin_clean: Of the loss of the clean answers, in nats a token; 0.05 is 5 % of perplexity.
    """

    margin_share: float = 0.1
    margin_forget: float = 0.5
    margin_clean: float = 0.05


@dataclass(frozen=True, kw_only=True)
class AuditConfig(AttackConfig, Margins, EncodingConfig):
    """Measure what was forgotten and what was kept.

    Attributes:
        case: The case folder with the tests.
        before: The model with the unwanted behaviour: anything that `--model` takes.
        after: The unlearned model.
        others: More models to judge and rank, such as those of other methods; each is called by its folder's name.
        retrained: The model trained without the forget rows: what forgetting should have given.
        store: A gradient store of the training rows under the model `before`, to judge the trace.
        output_dir: Where `metrics.json`, the page `audit.html` and the answers go.
        max_new_tokens: Longest generated answer.
        trace_queries: Bad generations to trace.
        gradnorm_rows: Rows of each kind whose gradients are taken, for the membership attack that needs them; 0 leaves it out.
        dtype: As for the model.
        device: As for the model.
        seed: Of the bootstrap and of the attacks.
    """

    case: Path
    before: str
    after: str
    output_dir: Path
    others: tuple[str, ...] = ()
    retrained: str | None = None
    store: Path | None = None
    max_new_tokens: int = 24
    trace_queries: int = 10
    gradnorm_rows: int = 24
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    seed: int = 0
