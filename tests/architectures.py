"""Tiny models of many architectures, with random weights from a fixed seed, for checks of what works with which model."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.tiny import VOCABULARY, TinyTokenizer, in_float64
from unweave.models.quiet import quiet_transformers

PLAIN = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
GROUPED = {**PLAIN, "num_key_value_heads": 1, "max_position_embeddings": 64}
HEADS = {**GROUPED, "head_dim": 8}
EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
GPT = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
VISION = {**PLAIN, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}

# Name to transformers' model type and what its config says.
ARCHITECTURES = {
    "llama": ("llama", GROUPED | {"tie_word_embeddings": False}),
    "llama, tied": ("llama", GROUPED | {"tie_word_embeddings": True}),
    "mistral": ("mistral", HEADS),
    "qwen2": ("qwen2", GROUPED),
    "qwen3": ("qwen3", HEADS),
    "phi": ("phi", PLAIN),
    "phi3": ("phi3", GROUPED),
    "gemma": ("gemma", HEADS),
    "gemma2": ("gemma2", HEADS | {"sliding_window": 8}),
    "gemma3, text": ("gemma3_text", HEADS | {"sliding_window": 8}),
    "gemma3, with vision": (
        "gemma3",
        {"text_config": HEADS, "vision_config": VISION, "mm_tokens_per_image": 4, "image_token_index": 3, "boi_token_index": 4, "eoi_token_index": 5},
    ),
    "olmo2": ("olmo2", GROUPED),
    "cohere": ("cohere", GROUPED),
    "stablelm": ("stablelm", GROUPED),
    "granite": ("granite", GROUPED),
    "starcoder2": ("starcoder2", GROUPED),
    "gpt2": ("gpt2", GPT),
    "gpt_bigcode": ("gpt_bigcode", GPT),
    "gpt_neo": ("gpt_neo", {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 64}),
    "gpt_neox": ("gpt_neox", PLAIN),
    "gptj": ("gptj", GPT | {"rotary_dim": 4}),
    "opt": ("opt", PLAIN | {"ffn_dim": 24, "word_embed_proj_dim": 16, "max_position_embeddings": 64}),
    "bloom": ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "falcon": ("falcon", PLAIN),
    "mpt": ("mpt", {"d_model": 16, "n_layers": 2, "n_heads": 2, "max_seq_len": 64}),
    "biogpt": ("biogpt", PLAIN | {"max_position_embeddings": 64}),
    "xglm": ("xglm", {"d_model": 16, "ffn_dim": 24, "num_layers": 2, "attention_heads": 2, "max_position_embeddings": 64}),
    "mixtral": ("mixtral", GROUPED | {"num_local_experts": 3, "num_experts_per_tok": 2}),
    "qwen2_moe": ("qwen2_moe", GROUPED | EXPERTS | {"shared_expert_intermediate_size": 12}),
    "qwen3_moe": ("qwen3_moe", HEADS | EXPERTS),
    "olmoe": ("olmoe", GROUPED | {"num_experts": 3, "num_experts_per_tok": 2}),
    "granitemoe": ("granitemoe", GROUPED | {"num_local_experts": 3, "num_experts_per_tok": 2}),
    "gpt_oss": ("gpt_oss", HEADS | {"num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": 8}),
    "deepseek_v3": (
        "deepseek_v3",
        PLAIN | {"num_key_value_heads": 2, "moe_intermediate_size": 12, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
                 "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4,
                 "qk_nope_head_dim": 4, "v_head_dim": 8},
    ),
    "mamba": ("mamba", {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4}),
    "mamba2": ("mamba2", {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "num_heads": 4, "head_dim": 8, "n_groups": 1, "chunk_size": 8}),
    "qwen3_next": (
        "qwen3_next",
        HEADS | EXPERTS | {"shared_expert_intermediate_size": 12, "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8,
                           "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"]},
    ),
    "jamba": (
        "jamba",
        GROUPED | {"num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
                   "expert_layer_offset": 1, "mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False},
    ),
}  # fmt: skip


def build(name: str, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A tiny model of an architecture, in evaluation mode, whose weights are large enough for every part to matter."""
    kind, options = ARCHITECTURES[name]
    special = {
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.2,
    }
    torch.manual_seed(7)
    if "text_config" in options:
        options = options | {"text_config": options["text_config"] | special}
        special = {}
    config = AutoConfig.for_model(kind, **special | options)
    with quiet_transformers():
        return in_float64(AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager").eval())


def save(name: str, folder: Path) -> Path:
    """The same as a folder, with a tokenizer."""
    with quiet_transformers():
        build(name).save_pretrained(folder)
    TinyTokenizer.make().save_pretrained(folder)
    return folder
