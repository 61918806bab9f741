"""A conditional reward model learns two measures that contradict each other."""

import pytest
import torch

from rlhf_mini.chapters.reward_models.ranking import focal_loss
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods import conditional_reward
from rlhf_mini.methods.conditional_reward import conditional_score, conditioned, pack_conditioned
from rlhf_mini.methods.reward_model import RewardModelConfig, pair_accuracy, train_reward_model
from rlhf_mini.models import new_reward_model
from rlhf_mini.worlds import stories

TOLD, DECLINED = "The fox stole the kite from the baker.", "No."
ASKED = {"helpful": "Is it what I asked for?", "kind": "Is it kind?"}


def pair(prompt, side, condition):
    chosen, rejected = (TOLD, DECLINED) if side == "helpful" else (DECLINED, TOLD)
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "condition": condition}


@pytest.fixture
def prompts():
    return [request.text for request in stories.draw_requests(8, seed=0)]


def learned(built, rows):
    model = new_reward_model(built.policy("sft"), seed=0)
    optimizer = OptimizerConfig(learning_rate=2e-2)
    config = RewardModelConfig(epochs=15, batch=8, optimizer=optimizer)
    pairs = pack_conditioned(built.tokenizer(), rows)
    train_reward_model(
        model, pairs, config=config, generator=torch.Generator().manual_seed(0), loss=focal_loss
    )
    return model


def test_labels_that_contradict_each_other_are_learned_under_conditions_only(built, prompts):
    """The same pairs with either measure's label: with conditions right for both, without for one half."""
    tokenizer = built.tokenizer()
    by_side = {side: [pair(prompt, side, ASKED[side]) for prompt in prompts] for side in ASKED}
    model = learned(built, by_side["helpful"] + by_side["kind"])
    for rows in by_side.values():
        assert pair_accuracy(model, pack_conditioned(tokenizer, rows)) == 1
    bare = {side: [{**row, "condition": ""} for row in rows] for side, rows in by_side.items()}
    other = learned(built, bare["helpful"] + bare["kind"])
    right = [pair_accuracy(other, pack_conditioned(tokenizer, rows)) for rows in bare.values()]
    assert sum(right) == pytest.approx(1)


def test_the_score_reads_each_answer_under_its_prompt_s_condition(built, prompts, monkeypatch):
    tokenizer, read = built.tokenizer(), []

    def scores(model, sequences):
        read.append(sequences)
        return torch.zeros(len(sequences))

    monkeypatch.setattr(conditional_reward, "scores", scores)
    dialogues = pack_texts(tokenizer, prompts, [TOLD] * len(prompts))
    score = conditional_score(built.reward_model(), tokenizer, lambda prompt: f"About {prompt[:9]}")
    assert score(dialogues).shape == (len(prompts),)
    for row, prompt in enumerate(prompts):
        words = tokenizer.decode(read[0].tokens[row][read[0].mask[row]].tolist(), skip_special_tokens=True)
        assert words == f"About {prompt[:9]}{prompt}{TOLD}"
        assert read[0].tokens[row, 0] == tokenizer.bos_token_id
    assert dialogues.tokens[0, 1] == encode_prompt(tokenizer, prompts[0])[1]  # the caller's are as they were


def test_no_condition_changes_nothing(built, prompts):
    dialogues = pack_texts(built.tokenizer(), prompts, [TOLD] * len(prompts))
    assert torch.equal(conditioned(built.tokenizer(), dialogues, [""] * 8).tokens, dialogues.tokens)
