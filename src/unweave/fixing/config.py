"""Options of `unweave fix`, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.data.config import DataConfig


@dataclass(frozen=True, kw_only=True)
class FixConfig(DataConfig):
    """From a bad answer to an unlearned model: trace it, find the rows that teach the same, ask, forget them, audit, and write one page.

    Each step is kept in the output folder; a rerun goes on where it stood. The exit code is 0 when the rows were forgotten, 3 when they were not or when it
    can't be shown that they were, 4 when no row of this data stands out, and 5 when the decisions are left to you.

    Attributes:
        model: The model that gives the bad answer: anything that `--model` takes.
        data: The rows that it was trained on.
        prompt: The prompt that it answers badly.
        bad: The bad answer; by default the model's own.
        system: The system text that the prompt stands under; by default the template's own, or none.
        trace_model: The model whose gradients trace the answer; by default the earliest snapshot that the training has left beside the model (see
            docs/tracing.md), or else the model itself.
        store: A gradient store of the data, in place of one in the output folder; it names its own model. Rows that are forgotten leave it.
        top_k: Rows of the trace that are looked at.
        yes: Forget what is proposed and ask nobody.
        max_rows: With `--yes`, the most rows that may be forgotten so: with more of them nothing is done.
        decisions: The file of decisions that an earlier run wrote, as you have edited it: `decision` is `forget` or `keep` in each line. Rows that nobody
            proposed may be added, also where nothing stands out.
        retain: A file of rows whose behaviour must stay, rows of the data; by default half are those most exposed, half are sampled.
        method: `auto` chooses by what is there and says why; or an unlearning method.
        retrained: A model trained without the rows, for the audit.
        target_loss: The loss of the rows that counts as forgotten, in nats a token; by default that of the base model.
        margin: The largest rise of the loss on other rows that does not matter, in nats a token.
        max_minutes: No attempt at forgetting is begun that would end later than this.
        retain_rows: Rows to keep that forgetting looks at.
        test_rows: Further rows, on which the change of everything else is measured.
        probe_rows: The most rows that a family of probes asks about in the audit.
        max_new_tokens: Longest generated answer.
        output_dir: Where all of it goes: `fix.html`, `fix.json`, `decisions.jsonl`, the ledger with the new model, and the audit.
        dtype: As for the model.
        device: As for the model.
        seed: Of what is random.
    """

    model: str
    data: Path
    prompt: str
    bad: str | None = None
    system: str | None = None
    trace_model: str | None = None
    store: Path | None = None
    top_k: int = 10
    yes: bool = False
    max_rows: int | None = None
    decisions: Path | None = None
    retain: Path | None = None
    method: str = "auto"
    retrained: str | None = None
    target_loss: float | None = None
    margin: float = 0.05
    max_minutes: float = 60.0
    retain_rows: int = 128
    test_rows: int = 64
    probe_rows: int = 16
    max_new_tokens: int = 48
    output_dir: Path
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    seed: int = 0
