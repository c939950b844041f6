"""Byte-level tokenizers with chat templates of several families, for tests of what rows become."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "What is the capital of France? Paris.",
    "the moon is made of rock, user assistant system tool answer question",
] * 4

CHATML = (
    "{%- if tools %}{{ '<|im_start|>system\\n' + tools | tojson + '<|im_end|>\\n' }}{% endif %}"
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{%- if m['role'] == 'assistant' %}{% generation %}{{ m['content'] if m['content'] else '' }}"
    "{%- for call in m['tool_calls'] or [] %}{{ '<tool_call>' + call['function'] | tojson + '</tool_call>' }}{% endfor %}"
    "{{- '<|im_end|>' }}{% endgeneration %}{{ '\\n' }}"
    "{%- else %}{{ m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML with tools, and the marks that TRL looks for."""

GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<|im_start|>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' + m['content'] | trim + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>model\\n' }}{% endif %}"
)
"""No system turn, alternating roles, trimmed contents, a BOS of its own."""

QWEN3 = (
    "{%- set last = namespace(user=0) %}{%- for m in messages %}{% if m['role'] == 'user' %}{% set last.user = loop.index0 %}{% endif %}{% endfor %}"
    "{%- for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{%- if m['role'] == 'assistant' and loop.index0 > last.user %}"
    "{{- '<think>\\n' + (m['reasoning_content'] or '') + '\\n</think>\\n\\n' }}{% endif %}"
    "{{- m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Puts an empty block of thoughts before the last answer, and takes those of earlier answers away."""

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (messages[0]['content'] + '\\n\\n' "
    "if loop.index0 > messages | length - 3 and messages[0]['role'] == 'system' else '') + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""A space before each answer, and the system text in the last user turn."""

R1 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<user>' + m['content'] }}{% else %}{{ '<model>' + m['content'] + '</s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<model><think>\\n' }}{% endif %}"
)
"""Generates from another text than it writes before an answer."""

DATED = "{{ 'Today ' + strftime_now('%d %b %Y') + '\\n' }}" + CHATML


def byte_tokenizer(template=CHATML, *, special=("<|im_start|>", "<|im_end|>"), added=(), bos=None, eos="</s>"):
    """A tokenizer trained on a few lines.

    Args:
        template: Its chat template.
        special: Tokens flagged as special, beside padding, BOS and EOS.
        added: Tokens that are added, but not flagged.
        bos: A BOS that it puts in front of every sequence.
        eos: Its EOS.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    names = [*dict.fromkeys(name for name in ("<pad>", bos, eos, *special) if name)]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    if bos:
        from tokenizers import processors

        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token=eos,
        pad_token="<pad>",
        extra_special_tokens=[name for name in special if name not in (bos, eos)],
    )
    tokenizer.add_tokens(list(added))
    tokenizer.chat_template = template
    return tokenizer
