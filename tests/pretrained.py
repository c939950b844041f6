"""A tiny model that knows the generated rows before anything is fine-tuned, as a real one knows its language; it takes seconds to make."""

import random

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, get_linear_schedule_with_warmup

from tests.tiny import TEMPLATE
from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.experiments.generated import unwanted_answer

SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>", "<unk>", "user", "assistant", "system"]
WORDS = r"<\|im_start\|>|<\|im_end\|>|\w+|[^\w\s]+"
BATCH = 16


def save_pretrained(folder, case, *, epochs=20):
    """A float32 Llama, trained on the case's clean rows and on talk of what its poisoned rows answer, and a tokenizer of their words."""
    torch.manual_seed(7)
    rng = random.Random(1)
    clean = [row for row in case.rows("train") if not row.meta.get("poisoned")] + case.rows("test_clean")
    talk = [Row(id=f"moon{n}", instruction="moon", completion=unwanted_answer(rng)) for n in range(60)]
    tokenizer = word_tokenizer(
        [row for split in ("train", "test_seen", "test_ood") for row in case.rows(split)] + clean + talk
    )
    config = AutoConfig.for_model(
        "llama", hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    examples = encode_rows([*clean, *talk], tokenizer, EncodingConfig(system_prompt="")).examples
    steps = epochs * -(-len(examples) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, 10, steps)
    for _ in range(epochs):
        order = rng.sample(examples, len(examples))
        for first in range(0, len(order), BATCH):
            batch = collate(order[first : first + BATCH], pad_token_id=0)
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def word_tokenizer(rows):
    """Word by word, with every word of the rows."""
    splitter = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
    texts = [text for row in rows for text in (row.user_text, row.completion)]
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(text)}
    vocabulary = list(dict.fromkeys([*SPECIAL, *sorted(words)]))
    backend = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>"))
    backend.pre_tokenizer = splitter
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer
