"""The drawing of chapter 13, by hand."""

import math

import pytest
import torch

from rlhf_mini.chapters.published import flow
from rlhf_mini.methods.reference_baseline import prompts_of
from rlhf_mini.reader import flow_diagram, three_tokens

# β = 0.5, λ = 0.5, clip range 0.2; the reference's own answer has 0.7 of the answer's 1.5
POLICY, REFERENCE, VALUES = (0.4, 0.6, 0.5), (0.5, 0.6, 0.25), (0.5, 0.8, 1.0)
AFTER = (0.6, 0.6, 0.45)


def by_hand():
    rewards = [-0.5 * math.log(p / q) for p, q in zip(POLICY, REFERENCE, strict=True)]
    rewards[2] += 1.5 - 0.7
    later, deltas = (*VALUES[1:], 0.0), []
    for reward, value, after in zip(rewards, VALUES, later, strict=True):
        deltas.append(reward + after - value)
    advantages = [0.0] * 3
    for place in (2, 1, 0):
        advantages[place] = deltas[place] + (0.5 * advantages[place + 1] if place < 2 else 0.0)
    losses = []
    for now, before, advantage in zip(AFTER, POLICY, advantages, strict=True):
        ratio = now / before
        losses.append(-min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage))
    return rewards, advantages, losses


def test_the_numbers_by_hand():
    told, (rewards, advantages, losses) = flow.numbers(), by_hand()
    assert told["paid"].tolist() == pytest.approx([0.8])
    assert told["rewards"][0].tolist() == pytest.approx(rewards, abs=1e-6)
    assert told["advantages"][0].tolist() == pytest.approx(advantages, abs=1e-6)
    assert told["losses"][0].tolist() == pytest.approx(losses, abs=1e-6)
    practised = [-math.log(p) for p in (0.4, 0.1, 0.5)]
    assert told["practised"][0].tolist() == pytest.approx(practised, abs=1e-6)
    expected = sum(losses) / 3 + 0.1 * sum(practised) / 3
    assert float(told["total"]) == pytest.approx(expected, abs=1e-6)


def test_the_baseline_lowers_the_last_reward_and_no_other():
    """By as much as the reference's own answer is worth: for one prompt it is a constant."""
    plain = three_tokens.ppo_numbers()["rewards"]
    difference = plain - flow.numbers()["rewards"]
    torch.testing.assert_close(difference, torch.tensor([[0.0, 0.0, 0.7]]), rtol=0, atol=1e-6)


def test_the_answer_belongs_to_the_prompt_that_the_baseline_is_of():
    assert prompts_of(flow.an_answer()) == [(1,)]
    assert int(flow.an_answer().response.sum()) == len(three_tokens.TOKENS)


def test_the_drawing_shows_these_numbers():
    drawn, gap = flow.chatglm_example(), flow.GAP
    box = {one.key: one.detail for one in drawn.boxes}
    rewards, advantages, losses = by_hand()

    def row(values):
        return gap.join(f"{round(value, 2) + 0.0:.2f}" for value in values).replace("-", "−")

    assert box["paid"] == f"r(y) − r(its own){gap}0.80"
    assert box["rewards"].split("\n")[1] == row(rewards)
    assert box["gae"].split("\n")[1] == f"Â{gap}{row(advantages)}"
    assert box["loss"].split("\n")[1] == row(losses)
    assert box["total"].startswith("mean + 0.1 × mean")
    assert [one.key for one in drawn.boxes if one.frozen] == ["reference", "reward"]
    arrows = [(arrow.source, arrow.target) for arrow in drawn.arrows if arrow.kind == "gradient"]
    assert arrows == [("total", "policy")]
    into = {arrow.source for arrow in drawn.arrows if arrow.target == "reward"}
    assert into == {"policy", "reference"}  # both answers are scored by one model
    assert flow_diagram(drawn, alt="ChatGLM's recipe on three tokens, drawn for a test of its numbers.").body
