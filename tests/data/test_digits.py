"""The character tokenizer: one token a character, in and out, and the chat of the other tokenizer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rlhf_mini.data.chat import answer, pack_texts, response_texts
from rlhf_mini.data.digits import DIGITS, character_tokenizer
from rlhf_mini.data.tokenizer import (
    CONTROL_TOKENS,
    decode_response,
    encode_prompt,
    encode_response,
    encode_text,
    train_tokenizer,
)
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import new_llama
from rlhf_mini.worlds.sums import ALPHABET, Level, demonstrate, draw_sums

TOKENIZER = character_tokenizer(ALPHABET)
texts = st.text(alphabet=ALPHABET, max_size=30)


def test_controls_come_first_and_then_one_token_for_each_character():
    assert TOKENIZER.convert_tokens_to_ids([*CONTROL_TOKENS, *ALPHABET]) == list(range(5 + len(ALPHABET)))
    assert len(TOKENIZER) == 5 + len(ALPHABET)
    assert (TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id) == (0, 1, 2)


@settings(deadline=None)
@given(texts)
def test_a_text_is_as_many_tokens_as_characters_and_comes_back(text):
    assert encode_text(TOKENIZER, text) == [5 + ALPHABET.index(character) for character in text]
    assert TOKENIZER.decode(encode_text(TOKENIZER, text)) == text
    assert encode_response(TOKENIZER, text) == [*encode_text(TOKENIZER, text), TOKENIZER.eos_token_id]
    assert decode_response(TOKENIZER, encode_response(TOKENIZER, text)) == text


def test_spaces_before_marks_come_back_too():
    tokenizer = character_tokenizer("ab .,?!'nt")
    for text in ("a . b", "a , b !", "a n't b ' t", "a ? b"):
        assert tokenizer.decode(encode_text(tokenizer, text)) == text


@settings(deadline=None)
@given(texts, texts)
def test_the_chat_is_that_of_the_other_tokenizer(prompt, response):
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    whole = TOKENIZER.apply_chat_template(messages, tokenize=True, return_dict=False)
    assert encode_prompt(TOKENIZER, prompt) + encode_response(TOKENIZER, response) == whole
    assert encode_prompt(TOKENIZER, prompt) == [1, 3, *encode_text(TOKENIZER, prompt), 4]


def test_as_the_byte_level_tokenizer_does_it():
    other = train_tokenizer(["27+58"], vocab_size=261)
    for tokenizer in (TOKENIZER, other):
        packed = pack_texts(tokenizer, ["27+58"], ["=85"])
        assert tokenizer.decode(packed.tokens[0]) == "<|begin|><|user|>27+58<|assistant|>=85<|end|>"
        assert packed.response[0].tolist() == [False] * 8 + [True] * 4


def test_saved_and_loaded_by_transformers(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == TOKENIZER.get_vocab()
    assert loaded.chat_template == TOKENIZER.chat_template
    assert (loaded.pad_token, loaded.bos_token, loaded.eos_token) == ("<|pad|>", "<|begin|>", "<|end|>")
    text = "right 27+58=85  x"
    assert encode_text(loaded, text) == encode_text(TOKENIZER, text)
    assert encode_prompt(loaded, text) == encode_prompt(TOKENIZER, text)
    assert loaded.decode(encode_text(TOKENIZER, text)) == text


def test_an_unknown_character_is_an_error_and_not_a_hole():
    for text in ("27−58", "A", "<|end|>"):
        with pytest.raises(Exception, match="UNK"):  # of the tokenizers package, which has only one kind
            encode_text(TOKENIZER, text)


def test_bad_characters_are_refused():
    with pytest.raises(ValueError, match="'1' occurs twice"):
        character_tokenizer(DIGITS + "+1")
    with pytest.raises(ValueError, match="different ones, at least one; received ''"):
        character_tokenizer("")


def test_a_model_learns_a_sum_by_heart_and_answers_with_it():
    """Fine-tuning, sampling and reading work with this tokenizer as with the other."""
    problems = draw_sums(4, Level(2, 1), seed=0)
    solutions = demonstrate(problems, error_rate=0.0, seed=0)
    prompts = [problem.text for problem in problems]
    model = new_llama(
        vocab_size=len(TOKENIZER),
        width=32,
        layers=1,
        heads=2,
        context=32,
        pad_token=TOKENIZER.pad_token_id,
        eos_token=TOKENIZER.eos_token_id,
        bos_token=TOKENIZER.bos_token_id,
        seed=0,
    )
    config = SFTConfig(epochs=80, batch=4, optimizer=OptimizerConfig(learning_rate=1e-2))
    packed = pack_texts(TOKENIZER, prompts, solutions)
    sft(model, packed, config=config, generator=torch.Generator().manual_seed(0))
    told = answer(
        model.eval(),
        TOKENIZER,
        prompts,
        max_new_tokens=12,
        temperature=0.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert told == solutions
    assert response_texts(TOKENIZER, packed) == solutions
