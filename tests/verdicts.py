"""Whether per-sample gradients are right: those of an architecture, with an adapter of some kind, against a loop of `torch.autograd.grad` in float64.

`verdict(architecture, kind)` is the one question. The kind is what of the model counts (`all`, `linear`), or the adapter that it has; the answer is
*equal*, *refused* with a reason, *not offered* by PEFT, or *wrong*.
"""

import warnings
from dataclasses import dataclass

import torch

from tests.architectures import build
from tests.reference import loop_gradients
from tests.tiny import random_examples
from unweave.data.batches import collate
from unweave.errors import UnweaveError
from unweave.gradients.per_sample import per_sample_gradients
from unweave.models.quiet import quiet_transformers
from unweave.models.selection import select_parameters

PARTLY_FLOAT32 = {
    *(
        "gemma",
        "gemma2",
        "gemma3, text",
        "gemma3, with vision",
        "cohere",
        "gpt_neo",
        "gptj",
        "mpt",
        "opt",
        "deepseek_v3",
        "qwen3_next",
    ),
    *("mamba", "mamba2"),
}
"""Models that compute a part in float32 whatever their dtype: another order of the same sum differs there in the eighth digit."""

FLOAT32 = {"xglm"}
"""Models that can't be computed in float64."""

ATTENTION = ["q_proj", "v_proj"]


def _adapter(kind):
    """The PEFT config of a kind; `None` for `all` and `linear`, which are no adapters."""
    import peft

    def lora(**options):
        return peft.LoraConfig(
            **{"r": 2, "lora_alpha": 4, "target_modules": ATTENTION, "init_lora_weights": False, **options}
        )

    embeddings = "embed_tokens"
    makers = {
        "lora": lambda: lora(target_modules="all-linear"),
        "lora, attention": lora,
        "lora, dora": lambda: lora(use_dora=True),
        "lora, embeddings": lambda: lora(target_modules=[*ATTENTION, embeddings]),
        "lora, head": lambda: lora(target_modules=[*ATTENTION, "lm_head"]),
        "lora, saved modules": lambda: lora(modules_to_save=["lm_head", embeddings]),
        "lora, tokens": lambda: lora(trainable_token_indices=[5, 9, 11]),
        "lora, biases": lambda: lora(bias="all"),
        "lora, ranks of its own": lambda: lora(rank_pattern={"q_proj": 3}, alpha_pattern={"v_proj": 1}),
        "lora, rank-stabilised": lambda: lora(use_rslora=True),
        "lora, own bias": lambda: lora(lora_bias=True),
        "ia3": lambda: peft.IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "oft": lambda: peft.OFTConfig(r=0, oft_block_size=4, target_modules=ATTENTION),
        "boft": lambda: peft.BOFTConfig(boft_block_size=4, target_modules=ATTENTION),
        "vera": lambda: peft.VeraConfig(r=2, target_modules=["q_proj"]),
        "loha": lambda: peft.LoHaConfig(r=2, target_modules=ATTENTION),
        "lokr": lambda: peft.LoKrConfig(r=2, target_modules=ATTENTION),
        "adalora": lambda: peft.AdaLoraConfig(init_r=2, total_step=10, target_modules=ATTENTION),
        "layer norms": lambda: peft.LNTuningConfig(target_modules=["input_layernorm"]),
        "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    }
    return makers[kind]() if kind in makers else None


BASES = ("all", "linear")
ADAPTERS = (
    *("lora", "lora, attention", "lora, dora", "lora, embeddings", "lora, head", "lora, saved modules", "lora, tokens", "lora, biases"),
    *("lora, ranks of its own", "lora, rank-stabilised"),
    *("lora, own bias", "ia3", "oft", "boft", "vera", "loha", "lokr", "adalora", "layer norms", "prompt", "prefix"),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What became of the gradients of one model.

    Attributes:
        outcome: `equal`, `refused`, `not offered` or `wrong`.
        detail: The reason, or the tensors that differ.
    """

    outcome: str
    detail: str = ""


def adapted(model, kind):
    """A model with an adapter of a kind whose parameters are all random, so that none has a gradient of zero."""
    from peft import get_peft_model

    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(model, _adapter(kind), autocast_adapter_dtype=False)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model.eval()


def verdict(name, kind):
    """Compare per-sample gradients with the loop."""
    model = build(name, dtype=torch.float32 if name in FLOAT32 else torch.float64)
    if hasattr(model, "set_experts_implementation"):
        # The grouped product of experts has no float64.
        model.set_experts_implementation("eager")
    if kind not in BASES:
        try:
            model = adapted(model, kind)
        except (ValueError, NotImplementedError) as error:
            return Verdict("not offered", str(error).splitlines()[0])
    tolerance = 1e-3 if name in FLOAT32 else 1e-5 if name in PARTLY_FLOAT32 else 1e-10
    return compare(model, kind if kind in BASES else "adapter", tolerance=tolerance)


def compare(model, which, *, tolerance=1e-10, examples=None):
    """The verdict on a model of which something is selected."""
    examples = examples or random_examples([9, 5, 4])
    found = {}
    try:
        selected = select_parameters(model, which)
        per_sample_gradients(
            model,
            collate(examples, pad_token_id=0),
            selected,
            lambda name, piece: found.__setitem__(name, piece.clone()),
        )
    except UnweaveError as error:
        return Verdict("refused", error.what)
    names = [item.name for item in selected]
    truth, _ = loop_gradients(model, examples, names)
    largest = max(gradient.abs().max() for gradient in truth.values())
    if not largest > 0:
        return Verdict("wrong", "no gradient at all: nothing is compared")
    wrong = []
    for name in names:
        size = truth[name].abs().max()
        # Sums that cancel exactly, as those of key biases do, leave the rounding of their terms.
        if not (found[name] - truth[name]).abs().max() <= tolerance * size + 1e-3 * tolerance * largest:
            wrong.append(f"{name}: {float((found[name] - truth[name]).abs().max() / size):.1e}")
    return Verdict("wrong", "; ".join(wrong[:3])) if wrong else Verdict("equal", f"{len(names)} tensors")
