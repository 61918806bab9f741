"""Tiny models with tokenizers of the formats found on the hub, made here: nothing is downloaded."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from rlhf_mini.data.tokenizer import train_tokenizer

TEXTS = ["Which answer is better? A: a fox B: an owl. Better: A", "The answer is B", "1 2 3 4 5 6 7 8 9 10"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{{ m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
INST = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)


def own() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The library's own format."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    return _llama(len(tokenizer)), tokenizer


def chatml() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Byte-level BPE with ChatML, as in Qwen, on another architecture."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>"], special_tokens=True)
    tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", CHATML
    return _gpt2(len(tokenizer)), tokenizer


def inst() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Words that carry their space in front, "▁A", as in Llama 2 and Mistral; more embeddings than tokens."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    alphabet = sorted({letter for text in [*TEXTS, INST, "qzxjvk\n()'-"] for letter in text} | {"▁"})
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        chat_template=INST,
    )
    return _llama(len(tokenizer) + 7), tokenizer


def base() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A base model, without a chat template."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    tokenizer.chat_template = None
    return _gpt2(len(tokenizer)), tokenizer


FORMATS = {"own": own, "chatml": chatml, "inst": inst, "base": base}


def _llama(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def _gpt2(vocabulary: int) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2, n_positions=512, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()
