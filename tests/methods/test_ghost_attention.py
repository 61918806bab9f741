"""Ghost attention: the instruction everywhere when sampling, in the first turn only when training."""

import pytest
import torch

from rlhf_mini.data.dialogue import last_answers, pack_dialogues
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.methods.ghost_attention import attach_to_every_question, keep_in_first_question

QUESTIONS, ANSWERS = ["who sat?", "who ran?", "why?"], ["a cat", "a dog", "no idea"]


def briefly(question: str) -> str:
    return f"be brief. {question}"


def test_the_instruction_is_attached_to_every_question():
    assert attach_to_every_question(briefly, QUESTIONS) == [
        "be brief. who sat?",
        "be brief. who ran?",
        "be brief. why?",
    ]


def test_it_stays_in_the_first_question_only():
    dialogue = keep_in_first_question(briefly, QUESTIONS, ANSWERS)
    assert dialogue == [("be brief. who sat?", "a cat"), ("who ran?", "a dog"), ("why?", "no idea")]
    assert sum("brief" in question for question, _ in dialogue) == 1
    assert not any("brief" in text for _, text in dialogue)


def test_the_loss_is_on_the_last_answer_alone():
    tokenizer = train_tokenizer(QUESTIONS + ANSWERS, vocab_size=270)
    dialogue = keep_in_first_question(briefly, QUESTIONS, ANSWERS)
    packed = last_answers(pack_dialogues(tokenizer, [dialogue]))
    assert tokenizer.decode(packed.tokens[packed.response][:-1]) == "no idea"
    assert packed.tokens[packed.response][-1] == tokenizer.eos_token_id
    assert torch.equal(packed.mask, torch.ones_like(packed.mask))


def test_answers_that_do_not_belong_to_the_questions_are_refused():
    with pytest.raises(ValueError, match="got 2 and 3"):
        keep_in_first_question(briefly, QUESTIONS, ANSWERS[:2])
    with pytest.raises(ValueError, match="got 0 and 0"):
        keep_in_first_question(briefly, [], [])
