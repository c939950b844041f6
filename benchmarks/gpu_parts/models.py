"""Models with random weights, made where they are to be, and rows and a tokenizer that go with them: nothing is read or fetched."""

from typing import Any

import torch

from gpu_parts.session import Session, Sizes
from unweave.data.encoding import Example
from unweave.models.model import Model
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

PAD, BEGIN, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


def bare_model(options: dict[str, Any], *, device: torch.device, dtype: torch.dtype, seed: int) -> Any:
    """A Llama whose weights are normal numbers: shapes first, then values on the device itself, with no copy on the CPU."""
    from transformers import AutoConfig, AutoModelForCausalLM

    special = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD, "tie_word_embeddings": False}
    config = AutoConfig.for_model("llama", **options, **special)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
            else:
                parameter.normal_(0.0, 0.02, generator=generator)
    # What is no weight, as the frequencies of positions, was computed on the meta device and is nothing yet.
    for path, module in list(model.named_modules()):
        if dict(module.named_buffers(recurse=False)):
            parent = model.get_submodule(path.rpartition(".")[0])
            with device:
                setattr(parent, path.rpartition(".")[2], type(module)(config=config))
    return model.eval().requires_grad_(False)


def adapted_model(session: Session, *, options: dict[str, Any] | None = None, **given: Any) -> Any:
    """The large model with a LoRA adapter on all its linear layers, both factors random, so that both have gradients."""
    sizes = session.sizes
    given = {"device": session.device, "dtype": sizes.dtype, **given}
    model = bare_model(options or sizes.model, seed=session.seed, **given)
    return with_lora(model, sizes, seed=session.seed)


def with_lora(model: Any, sizes: Sizes, *, seed: int) -> Any:
    """Put the adapter on."""
    model = add_lora(model, LoraOptions(lora_r=sizes.lora_r, lora_dropout=0.0), seed=seed)
    # On the CPU, so that every device has the same numbers.
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.01 * torch.randn(parameter.shape, generator=generator))
    return model


def random_examples(sizes: Sizes, count: int, *, seed: int, vocabulary: int | None = None) -> list[Example]:
    """Rows of the full length, a quarter of it prompt."""
    generator = torch.Generator().manual_seed(seed)
    high = vocabulary or sizes.model["vocab_size"]
    ids = torch.randint(len(SPECIAL), high, (count, sizes.length), generator=generator).tolist()
    return [Example(f"row{index}", tuple(own), sizes.length // 4) for index, own in enumerate(ids)]


def word_tokenizer(words: int) -> Any:
    """A word is a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL, *(f"w{index}" for index in range(words - len(SPECIAL)))]
    backend = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['content'] + ' </s> ' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '' }}{% endif %}"
    )
    return tokenizer


def random_rows(sizes: Sizes, count: int, *, seed: int, prefix: str) -> list[dict[str, str]]:
    """Rows as text, which the tokenizer makes as long as the sizes say, or a few tokens shorter."""
    generator = torch.Generator().manual_seed(seed)
    high = min(sizes.model["vocab_size"], 1024) - len(SPECIAL)
    words = torch.randint(0, high, (count, sizes.length - 4), generator=generator).tolist()
    cut = sizes.length // 4
    return [
        {
            "id": f"{prefix}{index}",
            "prompt": " ".join(f"w{word}" for word in own[:cut]),
            "completion": " ".join(f"w{word}" for word in own[cut:]),
        }
        for index, own in enumerate(words)
    ]


def in_memory(model: Any, sizes: Sizes) -> Model:
    """The model with its tokenizer."""
    return Model(model, word_tokenizer(min(sizes.model["vocab_size"], 1024)))
