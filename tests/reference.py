"""Slow dense truth: one example at a time, through autograd, written from the definitions."""

import torch


def loop_gradients(model, examples, names, *, reduction="mean"):
    """The gradient of each example's loss for each named parameter, by torch.autograd.grad, one example a forward pass."""
    parameters = dict(model.named_parameters())
    out = {name: [] for name in names}
    losses = []
    flags = {name: parameter.requires_grad for name, parameter in parameters.items()}
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in names)
    for example in examples:
        ids = torch.tensor([example.input_ids])
        logits = model(input_ids=ids, use_cache=False).logits[0]
        log_probabilities = torch.log_softmax(logits[:-1], dim=-1)
        targets = ids[0, 1:]
        picked = -log_probabilities[torch.arange(len(targets)), targets][example.prompt_length - 1 :]
        loss = picked.mean() if reduction == "mean" else picked.sum()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, [parameters[name] for name in names], allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            out[name].append(torch.zeros_like(parameters[name]) if gradient is None else gradient)
    for name, parameter in parameters.items():
        parameter.requires_grad_(flags[name])
    for module, mode in modes:
        module.training = mode
    return {name: torch.stack(gradients) for name, gradients in out.items()}, losses
