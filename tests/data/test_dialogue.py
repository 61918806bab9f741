"""Conversations of several turns: token by token, against the chat template, and carried on by a policy."""

import pytest
import torch

from rlhf_mini.batch import pack_rows
from rlhf_mini.data.chat import answer
from rlhf_mini.data.dialogue import converse, encode_history, last_answers, pack_dialogues
from rlhf_mini.data.tokenizer import encode_prompt, encode_response, train_tokenizer
from rlhf_mini.losses import next_token_loss
from rlhf_mini.models import new_llama, response_logp

WORDS = ["a cat", "two dogs sat", "no", "a mat and a cat"]
TURNS = [("a cat", "sat"), ("no", "a mat"), ("two dogs", "no cat")]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(WORDS, vocab_size=270)


@pytest.fixture(scope="module")
def policy(tokenizer):
    return new_llama(
        vocab_size=len(tokenizer),
        width=16,
        layers=1,
        heads=2,
        context=96,
        pad_token=tokenizer.pad_token_id,
        eos_token=tokenizer.eos_token_id,
        bos_token=tokenizer.bos_token_id,
        seed=0,
    ).eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def template(tokenizer, turns, **options) -> list[int]:
    messages = []
    for question, text in turns:
        messages.append({"role": "user", "content": question})
        if text is not None:
            messages.append({"role": "assistant", "content": text})
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **options)


def test_a_dialogue_is_what_the_chat_template_writes(tokenizer):
    packed = pack_dialogues(tokenizer, [TURNS, TURNS[:1]])
    for row, turns in zip(range(2), (TURNS, TURNS[:1]), strict=True):
        assert packed.tokens[row][packed.mask[row]].tolist() == template(tokenizer, turns)
    history = encode_history(tokenizer, TURNS[:2], "two dogs")
    assert history == template(tokenizer, [*TURNS[:2], ("two dogs", None)], add_generation_prompt=True)
    assert encode_history(tokenizer, [], "a cat") == encode_prompt(tokenizer, "a cat")


def test_every_answer_counts_with_its_end_and_no_question_does(tokenizer):
    packed = pack_dialogues(tokenizer, [TURNS])
    runs, tokens = [[]], packed.tokens[0].tolist()
    for token, counts in zip(tokens, packed.response[0].tolist(), strict=True):
        if counts:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    assert [run for run in runs if run] == [encode_response(tokenizer, text) for _, text in TURNS]
    one = pack_dialogues(tokenizer, [TURNS[:1]])
    alone = pack_rows(
        [encode_prompt(tokenizer, "a cat")],
        [encode_response(tokenizer, "sat")],
        pad_token=tokenizer.pad_token_id,
    )
    assert torch.equal(one.tokens, alone.tokens)
    assert torch.equal(one.response, alone.response)


def test_only_the_last_answer_is_left_and_gets_gradients(tokenizer, policy):
    both = pack_dialogues(tokenizer, [TURNS, TURNS[:1], TURNS[1:]])
    last = last_answers(both)
    for row, text in enumerate(("no cat", "sat", "no cat")):
        assert last.tokens[row][last.response[row]].tolist() == encode_response(tokenizer, text)
    assert torch.equal(last.tokens, both.tokens)
    assert torch.equal(last.mask, both.mask)
    logp = response_logp(policy, last.tokens, last.mask, last.response)
    assert (next_token_loss(logp)[~last.response] == 0).all()
    everywhere = response_logp(policy, both.tokens, both.mask, both.response)
    torch.testing.assert_close(logp[last.response], everywhere[last.response])


def test_a_policy_answers_with_its_own_answers_before_its_eyes(tokenizer, policy):
    asked = [["a cat", "no"], ["two dogs sat", "a cat"], ["no", "no"]]
    dialogues = converse(policy, tokenizer, asked, max_new_tokens=8, generator=seeded(3))
    assert [[question for question, _ in turns] for turns in dialogues] == asked
    generator = seeded(3)
    first = answer(policy, tokenizer, [row[0] for row in asked], max_new_tokens=8, generator=generator)
    assert [turns[0][1] for turns in dialogues] == first
    shuffled = converse(policy, tokenizer, [["a cat", "no"]] * 40, max_new_tokens=8, generator=seeded(4))
    assert len({turns[1][1] for turns in shuffled}) > 1


def test_the_second_answer_depends_on_the_first_turn(tokenizer, policy):
    """With temperature 0 an answer is a function of what stands before it."""
    longer = converse(
        policy,
        tokenizer,
        [["a cat", "no"], ["two dogs sat", "no"]],
        max_new_tokens=6,
        generator=seeded(),
        temperature=0.0,
    )
    for turns in longer:
        before = encode_history(tokenizer, turns[:1], "no")
        tokens = torch.tensor([before])
        found = []
        with torch.no_grad():
            for _ in range(6):
                token = int(policy(tokens).logits[0, -1].argmax())
                found.append(token)
                if token == tokenizer.eos_token_id:
                    break
                tokens = torch.cat([tokens, torch.tensor([[token]])], 1)
        kept = [token for token in found if token != tokenizer.eos_token_id]
        assert turns[1][1] == tokenizer.decode(kept, skip_special_tokens=True)


def test_bad_input(tokenizer, policy):
    with pytest.raises(ValueError, match=r"got 2, without turns: \[1\]"):
        pack_dialogues(tokenizer, [TURNS, []])
    with pytest.raises(ValueError, match="got 0"):
        pack_dialogues(tokenizer, [])
    with pytest.raises(ValueError, match=r"as many questions in every row, got \[1, 2\]"):
        converse(policy, tokenizer, [["a"], ["a", "b"]], max_new_tokens=2, generator=seeded())
    with pytest.raises(ValueError, match="control token"):
        encode_history(tokenizer, TURNS, "<|end|>")
    with pytest.raises(ValueError, match="context"):
        converse(policy, tokenizer, [["a cat"] * 12], max_new_tokens=40, generator=seeded())
