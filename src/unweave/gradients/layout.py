"""Which example each row of a tensor belongs to.

Models carry activations as [B, T, ...], flatten them to [B*T, ...] in front of a layer, or compute once, as [1, T, ...], what is the same for all
examples. All of these become *example layout*, [examples, tokens, ...], in which a sum over tokens is a sum over one example's own tokens. Rows that
are in no such order, as those that a router sends to an expert, have none: `None`.
"""

import torch
from torch import Tensor

from unweave.data.batches import Batch
from unweave.gradients.loss import predicting_positions


class ExampleLayout:
    """Brings the tensors of one batch into example layout.

    Args:
        batch: The batch, padded or packed.
    """

    def __init__(self, batch: Batch):
        self._shape = batch.segments.shape
        self._labelled, _, _ = predicting_positions(batch)
        self._count = int(self._labelled.sum())
        self._index: Tensor | None = None
        self._mask = batch.segments >= 0
        if batch.attention_mask is None:
            lengths = torch.bincount(batch.segments[0], minlength=len(batch))
            offsets = torch.arange(int(lengths.max()), device=lengths.device)
            self._index = ((lengths.cumsum(0) - lengths)[:, None] + offsets).clamp(max=self._shape[1] - 1)
            self._mask = offsets[None, :] < lengths[:, None]

    def per_example(self, tensor: Tensor, *, of_head: bool = False) -> Tensor:
        """What is computed once for all examples, as position embeddings are, with a batch dimension of its own.

        Args:
            tensor: What goes into a module, or comes out of it.
            of_head: Whether the module is the output head, or in it.

        Returns:
            A view [B, T, ...] of a tensor [1, T, ...]; any other as it is.
        """
        shared = not of_head and tensor.ndim > 1 and tensor.shape[:2] == (1, self._shape[1])
        return tensor.expand(self._shape[0], *tensor.shape[1:]) if shared else tensor

    def tokens(self, tensor: Tensor, *, of_head: bool = False) -> Tensor | None:
        """Token layout, [B, T, ...] as the batch has it.

        Args:
            tensor: One row a token, or several in a row.
            of_head: Whether it belongs to the output head, which sees labelled positions only, as [1, N, ...]: they are put back where they came from.

        Returns:
            The tensor, or `None` where its rows can't be separated.
        """
        rows, width = self._shape
        if of_head:
            if tensor.ndim < 3 or tensor.shape[:2] != (1, self._count):
                return None
            full = tensor.new_zeros((rows, width, *tensor.shape[2:]))
            full[self._labelled] = tensor[0]
            return full
        if tensor.ndim > 2 and len(tensor) == rows and (self._index is None or tensor.shape[1] == width):
            return tensor
        whole = len(tensor) % (rows * width) == 0 if self._index is None else len(tensor) == width
        return tensor.unflatten(0, (rows, -1)) if tensor.ndim > 1 and whole else None

    def examples(self, tensor: Tensor, *, zero: bool) -> Tensor:
        """Example layout [N, longest, ...] of a tensor in token layout.

        Args:
            tensor: The tensor.
            zero: Whether to clear what is not the example's own.

        Returns:
            The tensor.
        """
        # Padding on the right needs no clearing: no token sees it, so its gradients are exactly zero. What `zero` clears are the
        # tokens of other examples in a packed sequence.
        if self._index is None:
            return tensor
        tensor = tensor[0][self._index]
        if not zero:
            return tensor
        return tensor * self._mask.reshape(*self._mask.shape, *[1] * (tensor.ndim - 2))
