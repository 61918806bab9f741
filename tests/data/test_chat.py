"""Prompts in words to sampled sequences and back."""

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from rlhf_mini.batch import pack_rows
from rlhf_mini.data.chat import answer, draw, pack_texts, response_texts
from rlhf_mini.data.tokenizer import encode_prompt, encode_response, train_tokenizer
from rlhf_mini.models import new_llama, response_logp

PROMPTS = ["a cat", "two dogs sat", "no", "a mat and a cat"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(PROMPTS, vocab_size=270)


@pytest.fixture(scope="module")
def policy(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    model = new_llama(
        vocab_size=len(tokenizer),
        width=16,
        layers=1,
        heads=2,
        context=48,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=0,
    )
    with torch.no_grad():  # every tenth token or so shall be the end token
        model.model.embed_tokens.weight[tokenizer.eos_token_id] = 0.5 * torch.randn(
            16, generator=torch.Generator().manual_seed(1)
        )
    return model.eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_drawn_answers_follow_their_prompts_and_stop_at_the_end_token(
    policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [encode_prompt(tokenizer, prompt) for prompt in PROMPTS * 8]
    drawn = draw(policy, tokenizer, prompts, max_new_tokens=12, generator=seeded())
    stopped = 0
    for row, prompt in enumerate(prompts):
        real = drawn.tokens[row][drawn.mask[row]].tolist()
        written = drawn.tokens[row][drawn.response[row]].tolist()
        assert real == prompt + written
        assert 1 <= len(written) <= 12
        assert tokenizer.eos_token_id not in written[:-1]
        assert len(written) == 12 or written[-1] == tokenizer.eos_token_id
        stopped += written[-1] == tokenizer.eos_token_id
    assert 0 < stopped < len(prompts)
    expected = response_logp(policy, drawn.tokens, drawn.mask, drawn.response)
    torch.testing.assert_close(drawn.logp, expected, atol=1e-5, rtol=0)


def test_a_cooler_temperature_is_passed_on(
    policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [encode_prompt(tokenizer, PROMPTS[0])] * 3
    greedy = draw(policy, tokenizer, prompts, max_new_tokens=8, generator=seeded(), temperature=0.0)
    assert torch.equal(greedy.tokens[0], greedy.tokens[2])
    told = answer(policy, tokenizer, PROMPTS[:1], max_new_tokens=8, generator=seeded(5), temperature=0.0)
    assert told == response_texts(tokenizer, greedy)[:1]


def test_answers_come_in_the_order_of_the_prompts_whatever_the_batch(
    policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    told = [
        answer(
            policy,
            tokenizer,
            PROMPTS,
            max_new_tokens=8,
            generator=seeded(),
            temperature=0.0,
            batch=batch,
        )
        for batch in (1, 3, 256)
    ]
    assert len(told[0]) == len(PROMPTS)
    assert told[0] == told[1] == told[2]


def test_a_generator_fixes_the_answers(policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    one, two, other = (
        answer(policy, tokenizer, PROMPTS, max_new_tokens=8, generator=seeded(seed)) for seed in (1, 1, 2)
    )
    assert one == two != other


def test_packed_texts_hold_prompt_answer_and_end_and_can_be_read_back(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    answers = ["yes", "", "a long answer indeed", "Grüße 🐈"]
    packed = pack_texts(tokenizer, PROMPTS, answers)
    for row, (prompt, text) in enumerate(zip(PROMPTS, answers, strict=True)):
        asked, told = encode_prompt(tokenizer, prompt), encode_response(tokenizer, text)
        assert packed.tokens[row][packed.mask[row]].tolist() == asked + told
        assert packed.tokens[row][packed.response[row]].tolist() == told
        assert told[-1] == tokenizer.eos_token_id
    assert response_texts(tokenizer, packed) == answers


def test_what_stands_behind_the_first_end_token_is_not_read(tokenizer: PreTrainedTokenizerFast) -> None:
    told = [*encode_response(tokenizer, "a cat"), *encode_response(tokenizer, "sat")]
    packed = pack_rows([[tokenizer.bos_token_id]], [told], pad_token=tokenizer.pad_token_id)
    assert response_texts(tokenizer, packed) == ["a cat"]


def test_prompts_and_answers_must_be_as_many(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(ValueError, match="as many prompts as responses"):
        pack_texts(tokenizer, PROMPTS, ["one"])
