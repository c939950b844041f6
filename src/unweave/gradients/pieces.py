"""Per-sample gradients of one module's parameter, from what went into the module and what came back to its output.

For y = x W^T + b with inputs a_t and output gradients g_t at token t, example i has

    dL/dW = sum_t g_t a_t^T   [out, in]        dL/db = sum_t g_t   [out]

Tensors here are in *example layout*: [examples, tokens, features], padding filled with zeros, so that a sum over tokens is a sum over
one example's own tokens.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from unweave.models.selection import Use, is_conv1d, is_linear, is_linear_weight


def gradient_piece(
    use: Use, inputs: Shaped[Tensor, "examples tokens *features"], grads: Float[Tensor, "examples tokens *out"]
) -> Float[Tensor, " examples *shape"]:
    """The gradient of a parameter in one of its uses, for each example.

    Args:
        use: The module and which of its parameters.
        inputs: What went into the module: activations, or token ids [examples, tokens, 1] for an embedding.
        grads: The gradient of the summed example losses with respect to the module's output.

    Returns:
        One gradient an example, shaped like the parameter, in float32 (float64 for a float64 model). Weights of linear layers in bfloat16
        stay so: the product accumulates in float32, and its last rounding is no larger than that of the factors.
    """
    if is_linear_weight(use) and grads.dtype == inputs.dtype == torch.bfloat16:
        return _sum_of_products(*weight_factors(use, inputs, grads))
    wide = torch.float64 if grads.dtype == torch.float64 else torch.float32
    grads = grads.to(wide)
    if is_added(use):
        return grads.flatten(1, -1 - use.module.get_parameter(use.attribute).ndim).sum(dim=1)
    if is_linear(use.module):
        return _sum_of_products(*weight_factors(use, inputs.to(wide), grads))
    if isinstance(use.module, nn.Embedding):
        return _embedding_piece(use.module, inputs.squeeze(-1), grads)
    return _rerun_piece(use, inputs.to(grads.dtype), grads)


def is_added(use: Use) -> bool:
    """Whether a parameter is added to its module's output, so that its gradient is a sum of output gradients.

    Args:
        use: The use.

    Returns:
        True for biases of linear layers and layer norms.
    """
    return use.attribute == "bias" and (is_linear(use.module) or isinstance(use.module, nn.LayerNorm))


def weight_factors(use: Use, inputs: Tensor, grads: Tensor) -> tuple[Tensor, Tensor]:
    """Which of a linear module's factors goes with the rows of its weight, and which with the columns.

    Args:
        use: The use of its weight.
        inputs: What went into the module.
        grads: The gradient with respect to its output.

    Returns:
        left and right, [examples, tokens, features], with the weight's gradient sum_t left_t right_t^T.
    """
    inputs, grads = inputs.flatten(1, -2), grads.flatten(1, -2)
    return (inputs, grads) if is_conv1d(use.module) else (grads, inputs)


def _sum_of_products(left: Tensor, right: Tensor) -> Tensor:
    return torch.bmm(left.mT, right)


def _embedding_piece(module: nn.Embedding, ids: Tensor, grads: Tensor) -> Tensor:
    """Token gradients added up into the rows of their ids; the padding index gets none, as in PyTorch."""
    examples = len(ids)
    piece = torch.zeros(examples, module.num_embeddings, module.embedding_dim, dtype=grads.dtype, device=grads.device)
    if module.padding_idx is not None:
        grads = grads * (ids != module.padding_idx).unsqueeze(-1)
    example = torch.arange(examples, device=ids.device)[:, None].expand_as(ids)
    return piece.index_put((example, ids), grads, accumulate=True)


def _rerun_piece(use: Use, inputs: Tensor, grads: Tensor) -> Tensor:
    """Norms, IA3 and other small modules: the module itself, differentiated with one copy of the parameter an example."""
    name = use.attribute
    rest = {key: value.detach().to(grads.dtype) for key, value in use.module.named_parameters() if key != name}
    parameter = use.module.get_parameter(name).detach().to(grads.dtype)

    def output(value: Tensor, example: Tensor) -> Tensor:
        return torch.func.functional_call(use.module, {**rest, name: value}, (example,))

    def one(example: Tensor, grad: Tensor) -> Tensor:
        pull_back = torch.func.vjp(lambda value: output(value, example[None]), parameter)[1]
        return pull_back(grad[None])[0]

    return torch.func.vmap(one)(inputs, grads)
