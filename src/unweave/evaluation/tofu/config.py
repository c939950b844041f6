"""Options of TOFU's evaluation and of scoring its logs, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unweave.data.encoding import EncodingConfig
from unweave.models.loading import ModelConfig


@dataclass(frozen=True, kw_only=True)
class TofuLogConfig:
    """Score one of TOFU's aggregated evaluation logs against that of a retained model.

    Attributes:
        log: The unlearned model's log: the aggregated JSON, or its folder.
        reference: The log of the model trained on the retain rows only.
    """

    log: Annotated[Path, tyro.conf.Positional]
    reference: Path


@dataclass(frozen=True, kw_only=True)
class TofuConfig(ModelConfig, EncodingConfig):
    """Evaluate a model on TOFU's files, and write a log in TOFU's format.

    Attributes:
        data: Folder of TOFU's files.
        output_dir: Where the log and the scores go.
        forget_split: The split to forget: `forget01`, `forget05` or `forget10`.
        reference: A retained model's log, for forget quality.
        max_rows: At most so many samples of each test; TOFU's own evaluation takes 300 of the retain rows.
        max_new_tokens: Longest generated answer; by default as in TOFU's own evaluation, so that prompt and answer have 200 tokens. 0 generates none.
    """

    data: Path
    output_dir: Path
    forget_split: str = "forget10"
    reference: Path | None = None
    max_rows: int = 300
    max_new_tokens: int | None = None
