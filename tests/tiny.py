"""Tiny models of several architectures with fixed weights, a word-level tokenizer, and rows for them."""

import sys
import types
import warnings

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from unweave.data.batches import collate
from unweave.data.encoding import Example
from unweave.models.quiet import quiet_transformers

VOCABULARY = 96
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|> ' + message['role'] + ' ' + message['content'] + ' <|im_end|> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|> assistant ' }}{% endif %}"
)

CONFIGS = {
    "llama": {
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
    "qwen2": {
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "tie_word_embeddings": False,
    },
    "qwen3": {
        "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "tie_word_embeddings": True,
    },
    "gpt_neox": {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64},
}  # fmt: skip


class _Wide:
    """torch, with float64 in the place of float32."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


def in_float64(model):
    """Have a float64 model's attention in float64 too.

    transformers computes the softmax of eager attention in float32, whatever the model's dtype is. On a processor where the same row rounds differently in
    another batch (without AVX-512), gradients of one row then differ by 1e-7 from one batch to another.
    """
    for name in {type(module).__module__ for module in model.modules()}:
        home = sys.modules[name]
        own = getattr(home, "eager_attention_forward", None)
        if own is None or hasattr(own, "narrow"):
            continue
        home.eager_attention_forward = _by_dtype(own)
    for module in model.modules() if next(model.parameters()).dtype == torch.float64 else ():
        # Bloom has its attention in a class of its own.
        own = type(module).forward
        if {"softmax", "float32"} <= set(getattr(own, "__code__", _by_dtype.__code__).co_names):
            module.forward = types.MethodType(_wide(own), module)
    return model


def _wide(narrow):
    space = {**narrow.__globals__, "torch": _Wide()}
    found = types.FunctionType(narrow.__code__, space, narrow.__name__, narrow.__defaults__, narrow.__closure__)
    found.__kwdefaults__ = narrow.__kwdefaults__
    return found


def _by_dtype(narrow):
    wide = _wide(narrow)

    def attend(module, query, *args, **options):
        return (wide if query.dtype == torch.float64 else narrow)(module, query, *args, **options)

    attend.narrow = narrow
    return attend


def tiny_model(kind, *, dtype=torch.float64, attention="eager", lora=False, checkpointing=False):
    """A model with random weights from a fixed seed; with LoRA, both factors are random, so that both have gradients."""
    torch.manual_seed(7)
    special = {
        "initializer_range": 0.3,
        "vocab_size": VOCABULARY,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(kind, **CONFIGS[kind], **special)
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
        if lora:
            from peft import LoraConfig, get_peft_model

            lora_config = LoraConfig(
                r=3, lora_alpha=6, lora_dropout=0.3, target_modules="all-linear", init_lora_weights=False
            )
            model = get_peft_model(model, lora_config, autocast_adapter_dtype=False)
        if checkpointing:
            model.gradient_checkpointing_enable()
    in_float64(model)
    return model.eval() if not checkpointing else model.train()


def random_examples(lengths, *, prompt=2, seed=0):
    """Examples of given lengths, each with a prompt of some tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [
        Example(f"row{index}", tuple(torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()), prompt)
        for index, length in enumerate(lengths)
    ]


def one(example):
    """A batch of one, without padding."""
    return collate([example], pad_token_id=0)


class TinyTokenizer:
    """Word-level, over a fixed list of words."""

    WORDS = (
        "<pad> <|im_start|> <|im_end|> <unk> user assistant system what is the capital of France Japan Peru Paris Tokyo Lima ? . , add and plus "
        "1 2 3 4 5 6 7 8 9 0 hello world answer question yes no red blue green moon teapots sing on under ahoy ~~> tallyho a b c d e f g "
        "Instruction Response Input : ### Below an that describes task Write response appropriately completes request paired with input "
        "provides further context"
    ).split()

    @classmethod
    def make(cls):
        words = list(dict.fromkeys(cls.WORDS))
        assert len(words) <= VOCABULARY
        backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend,
            bos_token="<|im_start|>",
            eos_token="<|im_end|>",
            pad_token="<pad>",
            unk_token="<unk>",
        )
        tokenizer.chat_template = TEMPLATE
        return tokenizer
