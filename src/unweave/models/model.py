"""A model with its tokenizer: what every function of the library takes."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unweave.data.dates import dated
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.pieces import marked, pieces_of
from unweave.models.tokenizers import padded

if TYPE_CHECKING:
    import torch

    from unweave.data.rows import Row

IN_MEMORY = "(in memory)"
"""Stands for the folder of a model, or of an adapter, that was never loaded from one."""


@dataclass
class Model:
    """A model ready for use: loaded by `load_model`, or put around what is in memory.

    Example:
        >>> import unweave as uw
        >>> model = uw.Model(hf_model, tokenizer)
        >>> print(model.render(uw.load_rows([{"prompt": "hello", "completion": "world"}])[0]))
        <|im_start|> user hello <|im_end|> <|im_start|> assistant⟦world <|im_end|>⟧

    Attributes:
        model: The Hugging Face causal model, a `PeftModel` when there is an adapter. It is not changed: dropout is off while unweave looks at it.
        tokenizer: Its tokenizer. One without a pad token is copied, and the copy pads with the end of a text.
        base: Folder or hub id of the base model; by default what the model says of itself.
        adapter: The adapter's folder, or `None`.
        revision: Of the base, where one was asked for, or named by the adapter.
        quantization: How the base is held.
    """

    model: Any
    tokenizer: Any
    base: str = ""
    adapter: str | None = None
    revision: str | None = None
    quantization: str = "none"

    def __post_init__(self) -> None:
        if self.base:
            return
        self.base = getattr(self.model, "name_or_path", "") or IN_MEMORY
        if self.adapter is None and hasattr(self.model, "peft_config"):
            self.adapter = IN_MEMORY
        if self.tokenizer is not None and self.tokenizer.pad_token_id is None:
            self.tokenizer = padded(copy.deepcopy(self.tokenizer), place=self.base)

    @property
    def device(self) -> "torch.device":
        """Where the model's inputs must be."""
        return next(self.model.parameters()).device

    def render(self, row: "Row", *, encoding: EncodingConfig | None = None) -> str:
        """The text that the model sees of a row, with what it learns of it in brackets: ⟦so⟧.

        Args:
            row: The row.
            encoding: Template and lengths; by default the model's chat template.

        Returns:
            The text; characters that do not show are written out.

        Raises:
            DataError: When the chat template refuses the row, or nothing of it is learned.
        """
        encoding = dated(encoding or EncodingConfig(), self.tokenizer, self.adapter, self.base)
        example = encode_rows([row], self.tokenizer, encoding).examples[0]
        return marked(pieces_of(example, self.tokenizer))
