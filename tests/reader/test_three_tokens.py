"""The three-token examples: every number in a drawing, by hand."""

import math
import re

import pytest

from rlhf_mini.reader.three_tokens import (
    GAP,
    dpo_example,
    dpo_numbers,
    ppo_example,
    ppo_numbers,
    ranking_example,
    ranking_numbers,
    reinforce_example,
    rejection_sampling_example,
    reward_model_example,
    sft_example,
)


def detail(flow, key):
    (box,) = [box for box in flow.boxes if box.key == key]
    return box.detail


def numbers(text):
    return [float(number.replace("−", "-")) for number in re.findall(r"−?\d+\.\d+", text)]


def test_sft_by_hand():
    losses = [-math.log(p) for p in (0.4, 0.6, 0.5)]
    assert numbers(detail(sft_example(), "policy")) == [0.4, 0.6, 0.5]
    shown = numbers(detail(sft_example(), "loss"))
    assert shown == pytest.approx([*losses, sum(losses) / 3], abs=0.005)


def test_reward_model_by_hand():
    assert numbers(detail(reward_model_example(), "reward")) == [1.5, 0.7]
    loss = math.log(1 + math.exp(-(1.5 - 0.7)))
    assert numbers(detail(reward_model_example(), "loss")) == pytest.approx([loss], abs=0.005)


def test_a_ranking_by_hand():
    # Leads of 0.8, 2.0 and 1.2; then the best of three, and of the two that remain.
    pairs = [math.log(1 + math.exp(-lead)) for lead in (1.5 - 0.7, 1.5 + 0.5, 0.7 + 0.5)]
    weights = [math.exp(score) for score in (1.5, 0.7, -0.5)]
    choices = -math.log(weights[0] / sum(weights)) - math.log(weights[1] / sum(weights[1:]))
    computed = ranking_numbers()
    assert computed["pairs"].tolist() == pytest.approx(pairs, abs=1e-6)
    assert float(computed["all_pairs"]) == pytest.approx(sum(pairs) / 3, abs=1e-6)
    assert float(computed["plackett_luce"]) == pytest.approx(choices, abs=1e-6)
    flow = ranking_example()
    assert numbers(detail(flow, "reward")) == [1.5, 0.7, -0.5]
    assert numbers(detail(flow, "loss")) == pytest.approx([*pairs, sum(pairs) / 3], abs=0.005)
    assert numbers(detail(flow, "choices")) == pytest.approx([choices], abs=0.005)


def test_reinforce_by_hand():
    assert numbers(detail(reinforce_example(), "rewards")) == [0.0, 0.0, 1.5]
    assert numbers(detail(reinforce_example(), "returns")) == [1.5, 1.5, 1.5]
    losses = [-1.5 * math.log(p) for p in (0.4, 0.6, 0.5)]
    assert numbers(detail(reinforce_example(), "loss")) == pytest.approx(losses, abs=0.005)


def test_ppo_by_hand():
    # r_t = −0.5 (log π − log π_ref), and 1.5 more on the last token
    rewards = [-0.5 * math.log(0.4 / 0.5), 0.0, -0.5 * math.log(0.5 / 0.25) + 1.5]
    values = [0.5, 0.8, 1.0, 0.0]
    errors = [rewards[t] + values[t + 1] - values[t] for t in range(3)]  # δ_t
    last = errors[2]
    middle = errors[1] + 0.5 * last
    advantages = [errors[0] + 0.5 * middle, middle, last]  # Â_t = δ_t + λ Â_{t+1}, λ = 0.5
    returns = [advantage + value for advantage, value in zip(advantages, values, strict=False)]
    ratio = [0.6 / 0.4, 1.0, 0.45 / 0.5]
    losses = [-min(r * a, min(max(r, 0.8), 1.2) * a) for r, a in zip(ratio, advantages, strict=True)]
    computed = ppo_numbers()
    for name, by_hand in (
        ("rewards", rewards),
        ("advantages", advantages),
        ("returns", returns),
        ("ratio", ratio),
        ("losses", losses),
    ):
        assert computed[name].flatten().tolist() == pytest.approx(by_hand, abs=1e-6), name
    flow = ppo_example()
    assert numbers(detail(flow, "rewards")) == pytest.approx(rewards, abs=0.005)
    assert numbers(detail(flow, "gae")) == pytest.approx([*advantages, *returns], abs=0.005)
    assert numbers(detail(flow, "loss")) == pytest.approx([*ratio, *losses], abs=0.005)


def test_rejection_sampling_by_hand():
    # R_s of the third answer, 0.1, is below 0.15: it counts for it; helpfulness for the other two
    flow = rejection_sampling_example()
    assert numbers(detail(flow, "helpfulness")) == [0.75, 0.6, 0.9]
    assert numbers(detail(flow, "safety")) == [0.6, 0.5, 0.1]
    assert numbers(detail(flow, "combined")) == [0.75, 0.6, 0.1]
    assert detail(flow, "kept").startswith("answer 1:")
    losses = [-math.log(p) for p in (0.4, 0.6, 0.5)]
    assert numbers(detail(flow, "loss")) == pytest.approx([*losses, sum(losses) / 3], abs=0.005)


def test_numbers_stand_apart_and_zero_has_no_sign():
    shown = detail(ppo_example(), "rewards")
    assert f"0.11{GAP}0.00{GAP}1.15" in shown
    assert "−0.00" not in shown


def test_dpo_by_hand():
    # Both answers begin alike: 0.4 against the reference's 0.5. So the chosen one is 0.12/0.075 = 1.6
    # times as likely as under the reference, the rejected one 0.02/0.025 = 0.8 times, and the quotient is 2.
    computed = dpo_numbers()
    assert float(computed["lead"]) == pytest.approx(0.5 * math.log(2), abs=1e-6)
    assert float(computed["loss"]) == pytest.approx(math.log(1 + 2**-0.5), abs=1e-6)
    assert float(computed["push"]) == pytest.approx(1 / (1 + 2**0.5), abs=1e-6)
    flow = dpo_example()
    assert numbers(detail(flow, "policy")) == [0.4, 0.6, 0.5, 0.4, 0.1, 0.5]
    assert numbers(detail(flow, "reference")) == [0.5, 0.6, 0.25, 0.5, 0.2, 0.25]
    assert numbers(detail(flow, "ratios").replace("+", "")) == pytest.approx(
        [math.log(1.6), math.log(0.8)], abs=0.005
    )
    assert numbers(detail(flow, "loss")) == pytest.approx(
        [0.5 * math.log(2), math.log(1 + 2**-0.5)], abs=0.005
    )
