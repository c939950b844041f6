"""What a run will hold in memory, term by term, before any weights are loaded.

A pass over a batch is made on a model without values (the meta device): each operator then makes tensors of the right sizes that take no memory, and what is
alive at a time is counted. So attention, checkpoints of activations and adapters count as they are, whatever the architecture. The libraries themselves, some
300 MiB, are not in the sum.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unweave.gradients.loss import chunked_losses
from unweave.models.adapters import adapter_parameters
from unweave.models.evaluation import evaluating
from unweave.models.loading import native_dtype, pick_device, place_of
from unweave.models.placing import checkpoint_layers
from unweave.models.pretrained import without_weights
from unweave.models.quiet import quiet_transformers
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

OPTIMIZER = 12
"""Bytes of AdamW's float32 copy and two moments, for each number that is trained."""

QUANTISED = {"8bit": 1.0, "4bit": 0.53}
"""Bytes of a quantised weight, with its share of the scales."""


@dataclass(frozen=True)
class Memory:
    """What a run holds.

    Attributes:
        terms: Name to bytes of what is there all the time.
        passes: Name to the most bytes that a pass adds while it runs. One runs at a time.
    """

    terms: dict[str, int]
    passes: dict[str, int]

    @property
    def peak(self) -> int:
        """The most bytes at a time, the libraries apart."""
        return sum(self.terms.values()) + max(self.passes.values(), default=0)

    def to_bytes(self) -> dict[str, int]:
        """All of it by name, the peak last."""
        return {**self.terms, **self.passes, "peak": self.peak}


@dataclass(frozen=True)
class Shape:
    """A batch.

    Attributes:
        rows: Its rows.
        length: The longest of them, in tokens.
        labelled: Labelled tokens of all of them.
    """

    rows: int
    length: int
    labelled: int


def largest(batches: Iterable[Iterable[tuple[int, int]]]) -> Shape:
    """The batch that takes most.

    Args:
        batches: Of each row of each batch its tokens and its labelled tokens.

    Returns:
        Its shape.
    """
    shapes = [
        Shape(len(own), max(tokens for tokens, _ in own), sum(labelled for _, labelled in own))
        for own in map(list, batches)
    ]
    return max(shapes, key=lambda shape: (shape.rows * shape.length, shape.labelled))


class Outline:
    """A model without values, as a run holds it.

    Args:
        config: The model, and how it is held.
        lora: A fresh adapter on it; an adapter's own otherwise, where the config names one.
        own: Whether the config's own adapter is put on.
    """

    def __init__(self, config: Any, lora: LoraOptions | None = None, *, own: bool = True):
        place = place_of(config)
        device = pick_device(config.device)
        self.dtype = native_dtype(device) if config.dtype == "auto" else getattr(torch, config.dtype)
        self.quantization = config.quantization
        with quiet_transformers(), torch.device("meta"):
            model: Any = without_weights(place.base, revision=place.revision).to(self.dtype)
            if config.attn_implementation != "auto" or device.type == "cpu":
                short = getattr(config, "max_length", 512) <= 512
                kind = config.attn_implementation
                model.set_attn_implementation(kind if kind != "auto" else "eager" if short else "sdpa")
            if lora is not None:
                model = add_lora(model, lora, seed=0)
            elif own and place.adapter is not None:
                from peft import PeftConfig, get_peft_model

                own_config = PeftConfig.from_pretrained(str(place.adapter.folder))
                model = get_peft_model(model, own_config, autocast_adapter_dtype=False)
        if config.gradient_checkpointing or config.device_map == "offload":
            checkpoint_layers(model, where=place.base)
        self.model: Any = model.to(self.dtype)
        adapter = adapter_parameters(model) if hasattr(model, "peft_config") else {}
        self.adapter = sum(own.numel() for own in adapter.values())
        self.base = sum(own.numel() for own in model.parameters()) - self.adapter

    def weights(self) -> dict[str, int]:
        """Bytes of the weights, and of the adapter."""
        a_number = QUANTISED.get(self.quantization, self.dtype.itemsize)
        own = {"adapter": self.adapter * self.dtype.itemsize} if self.adapter else {}
        return {"weights": int(self.base * a_number), **own}

    def trainable(self, *, full: bool = False) -> int:
        """Mark what is trained.

        Args:
            full: All weights, in place of the adapter's.

        Returns:
            How many numbers.
        """
        chosen = adapter_parameters(self.model).values() if not full else self.model.parameters()
        self.model.requires_grad_(False)
        for own in chosen:
            own.requires_grad_(True)
        return sum(own.numel() for own in self.model.parameters() if own.requires_grad)

    def training_pass(self, shape: Shape) -> int:
        """The most bytes of a step's forward and backward pass: activations, logits, gradients.

        Args:
            shape: Its batch.

        Returns:
            Bytes.
        """
        self.model.train()
        return self._counted(shape, lambda losses: losses.mean().backward())

    def reading_pass(self, shape: Shape) -> int:
        """The most bytes of a forward pass that keeps nothing: of losses.

        Args:
            shape: Its batch.

        Returns:
            Bytes.
        """
        self.model.eval()
        with torch.no_grad():
            return self._counted(shape, lambda _: None)

    def gradient_pass(self, shape: Shape, modules: dict[str, nn.Module]) -> int:
        """The most bytes of a pass for per-sample gradients: activations, logits, what comes in and out of the modules, and one module's gradients.

        Args:
            shape: Its batch.
            modules: The modules whose gradients count.

        Returns:
            Bytes.
        """
        self.model.eval()
        self.model.requires_grad_(False)
        kept: list[Tensor] = []

        def observe(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            del module
            came = inputs[0].detach()
            kept.append(came)
            if not output.requires_grad:
                output.requires_grad_(True)

            def piece(gradient: Tensor) -> None:
                wide = torch.einsum("bto,bti->boi", gradient, came).float()
                wide.mul(wide).sum()

            output.register_hook(piece)

        handles = [module.register_forward_hook(observe) for module in modules.values()]
        try:
            with evaluating(self.model):
                return self._counted(shape, lambda losses: losses.sum().backward())
        finally:
            for handle in handles:
                handle.remove()

    def generating(self, rows: int, length: int, new: int) -> int:
        """The most bytes of generating: keys and values of all tokens, and the pass over the prompts.

        Args:
            rows: Prompts at a time.
            length: Their tokens.
            new: Tokens of the answers.

        Returns:
            Bytes.
        """
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        cache = 2 * rows * (length + new) * heads * size * config.num_hidden_layers * self.dtype.itemsize
        return cache + self.reading_pass(Shape(rows, length, rows))

    def _counted(self, shape: Shape, then: Callable[[Tensor], Any]) -> int:
        model, labelled = self.model, max(1, min(shape.labelled, shape.rows * shape.length))
        head = model.get_output_embeddings()

        def only_labelled(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            states = inputs[0].reshape(-1, inputs[0].shape[-1])
            return (states.index_select(0, torch.zeros(labelled, dtype=torch.long, device="meta")), *inputs[1:])

        handle = head.register_forward_pre_hook(only_labelled)
        counter = _Alive()
        try:
            with counter:
                ids = torch.zeros(shape.rows, shape.length, dtype=torch.long, device="meta")
                logits = model(input_ids=ids, use_cache=False).logits
                then(chunked_losses(logits, torch.zeros(labelled, dtype=torch.long, device="meta")))
        finally:
            handle.remove()
            model.zero_grad(set_to_none=True)
        return counter.peak


class _Alive(TorchDispatchMode):
    """Counts the bytes of what is made and not gone yet."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._counted: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            # Models ask whether all of a mask is set, or of positions: so it is in a batch without padding.
            return args[0].dtype == torch.bool or torch.ones((), dtype=args[0].dtype).item()
        made = func(*args, **(kwargs or {}))
        inputs = {id(one.untyped_storage()) for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and id(one.untyped_storage()) not in inputs:
                self._count(one.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self._counted:
            return
        self._counted.add(key)
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, size).atexit = False

    def _gone(self, key: int, size: int) -> None:
        self._counted.discard(key)
        self.now -= size


def traced_modules(model: Any, parameters: str) -> dict[str, nn.Module]:
    """The modules whose weights' gradients count, as `select_parameters` chooses them of a model with values.

    Args:
        model: The model.
        parameters: `lora`, `linear`, or else all linear layers are taken.

    Returns:
        Name to module.
    """
    adapter = {id(own) for own in adapter_parameters(model).values()} if hasattr(model, "peft_config") else set()
    head = model.get_output_embeddings()
    wants_adapter = parameters in ("lora", "adapter")
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and (id(module.weight) in adapter) == wants_adapter
    }


def of_training(outline: Outline, shape: Shape, *, full: bool = False, more: dict[str, int] | None = None) -> Memory:
    """Fine-tuning, or unlearning by steps.

    Args:
        outline: The model.
        shape: The largest step.
        full: Whether all weights are trained.
        more: Further passes.

    Returns:
        What it holds.
    """
    trained = outline.trainable(full=full)
    terms = {**outline.weights(), "optimizer": OPTIMIZER * trained}
    return Memory(terms, {"step": outline.training_pass(shape), **(more or {})})


def of_reading(outline: Outline, passes: dict[str, int], *, more: dict[str, int] | None = None) -> Memory:
    """A command that leaves the weights as they are.

    Args:
        outline: The model.
        passes: Name to bytes of a pass.
        more: What else is held all the time: a commit's sketches, a block of a store.

    Returns:
        What it holds.
    """
    terms = outline.weights()
    return Memory({**terms, **(more or {})}, passes)
