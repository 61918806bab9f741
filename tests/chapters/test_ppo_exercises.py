"""Chapter 05: solutions against the library, an iteration by hand, KL as a loss, the bug hunt, the ladder."""

import math

import pytest
import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.chapters.ppo import (
    bug_hunt,
    by_hand,
    exact_kl,
    exercises,
    ladder,
    loss_exercises,
    reward_exercises,
)
from rlhf_mini.chapters.ppo.toy import ToyWorld, toy_tokenizer
from rlhf_mini.chapters.toy_language import LANGUAGE, exact_logp
from rlhf_mini.estimators import token_rewards, whiten
from rlhf_mini.exact import TablePolicy, kl_divergence
from rlhf_mini.losses import ppo_policy_loss
from rlhf_mini.methods.pretraining_mix import pretraining_mix
from rlhf_mini.methods.rehearsal import RehearsalConfig
from rlhf_mini.methods.rollouts import AdaptiveKL, unfinished
from rlhf_mini.models import freeze, new_llama, response_logp, token_values
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader.three_tokens import ppo_numbers


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def rows():
    return pack_rows([[1, 5, 6], [1], [1, 9]], [[7, 2], [8, 8, 3], [2]], pad_token=0)


# ---------------------------------------------------------------------------------------------- exercises


def test_the_rewards_are_those_of_the_library(rows):
    scores = torch.randn(3, generator=seeded())
    logp, logp_ref = -torch.rand(2, 3, 5, generator=seeded(1))
    logp, logp_ref = logp[:, : rows.tokens.shape[1]], logp_ref[:, : rows.tokens.shape[1]]
    found = reward_exercises.batch_rewards(scores, logp, logp_ref, rows.response, 0.3)
    expected = token_rewards(scores, logp, logp_ref, rows.response, kl_weight=0.3)
    torch.testing.assert_close(found, expected)


def test_the_ended_scores_are_those_of_ppo(rows):
    scores = torch.tensor([1.0, 2.0, -3.0])
    found = reward_exercises.ended_scores(scores, rows.tokens, rows.response, 2, 0.5)
    assert found.tolist() == [1.0, 1.5, -3.0]
    torch.testing.assert_close(found, scores - 0.5 * unfinished(rows, end_token=2))


def test_the_weights_are_those_of_the_controller():
    controller, weights = AdaptiveKL(weight=0.1, target=6.0, horizon=1000), []
    for kl in (12.0, 5.0, 0.0, 6.5):
        controller.update(kl=kl, episodes=128)
        weights.append(controller.weight)
    assert reward_exercises.followed_weights(0.1, [12.0, 5.0, 0.0, 6.5], 6.0, 128, 1000) == pytest.approx(
        weights
    )


def test_the_signal_is_the_gradient_of_the_library_s_loss():
    logp_old = -torch.rand(4, 50, generator=seeded(), dtype=torch.float64)
    logp = (logp_old + torch.randn(4, 50, generator=seeded(1), dtype=torch.float64) * 0.4).requires_grad_()
    advantages = torch.randn(4, 50, generator=seeded(2), dtype=torch.float64)
    loss = ppo_policy_loss(logp, logp_old, advantages, clip_range=0.2)
    (expected,) = torch.autograd.grad(loss.sum(), [logp])
    found = loss_exercises.learning_signal(logp.detach(), logp_old, advantages, 0.2)
    torch.testing.assert_close(found, expected)
    assert 0.1 < float((found == 0).double().mean()) < 0.9


@pytest.mark.parametrize("shift_mean", [True, False])
def test_the_whitened_are_those_of_the_library(rows, shift_mean):
    values = torch.randn(rows.tokens.shape, generator=seeded())
    found = loss_exercises.whitened(values, rows.response, shift_mean)
    torch.testing.assert_close(found, whiten(values, rows.response, shift_mean=shift_mean))


def test_the_expected_gradients_are_zero_the_reverse_and_the_forward_kl_s():
    logits, logits_ref = torch.randn(2, 6, generator=seeded(), dtype=torch.float64)
    logits.requires_grad_()
    logp, logp_ref = logits.log_softmax(0), logits_ref.log_softmax(0)
    gradient = lambda kl: torch.autograd.grad(kl, [logits], retain_graph=True)[0]  # noqa: E731
    found = loss_exercises.expected_gradients(logits.detach(), logits_ref)
    torch.testing.assert_close(found[0], torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(found[1], gradient(kl_divergence(logp, logp_ref)))
    torch.testing.assert_close(found[2], gradient(kl_divergence(logp_ref, logp)))


def test_the_mixed_loss_is_that_of_the_pretraining_mix():
    model = new_llama(
        vocab_size=16, width=16, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    documents = pack_rows([[1], [1]], [[7, 8, 2], [9, 2]], pad_token=0)
    config = RehearsalConfig(documents_per_step=2, document_weight=3.0)
    added = pretraining_mix(model, documents, config=config, generator=seeded())(None)
    losses, response = torch.tensor([[0.5, 4.0]]), torch.tensor([[True, False]])
    with torch.no_grad():
        logp = response_logp(model, documents.tokens, documents.mask, documents.response)
    found = loss_exercises.mixed_loss(losses, response, logp, documents.response, 3.0)
    assert float(found) == pytest.approx(0.5 + float(added.detach()), abs=1e-5)


def test_there_are_enough_exercises():
    assert len(exercises.EXERCISES) == 8


# ------------------------------------------------------------------------------------------------ by hand


def test_one_iteration_by_hand_is_the_library_s_and_the_drawing_s():
    hand, library, drawn = by_hand.by_hand(), by_hand.by_library(), ppo_numbers()
    assert hand.keys() == library.keys() == by_hand.NAMES.keys()
    for name, row in hand.items():
        assert row == pytest.approx(library[name], abs=1e-6), name
    for name in ("rewards", "advantages", "returns", "ratio"):
        assert hand[name] == pytest.approx(drawn[name][0].tolist(), abs=1e-6)
    # What the example was chosen for: ρ = 1.5 is clipped to 1.2, and the first value to 0.7.
    assert hand["policy_loss"][0] == pytest.approx(-1.2 * hand["whitened"][0])
    assert hand["value_loss"][0] == pytest.approx(0.5 * (0.7 - hand["returns"][0]) ** 2)
    assert sum(hand["whitened"]) == pytest.approx(0, abs=1e-9)


def test_the_rows_are_printed_under_their_tokens():
    lines = by_hand.told(by_hand.by_hand()).splitlines()
    assert len(lines) == 1 + len(by_hand.NAMES)
    assert len({len(line) for line in lines}) == 1
    assert max(map(len, lines)) <= 85


# ----------------------------------------------------------------------------------------------- exact KL


@pytest.mark.parametrize("seed", range(3))
def test_which_gradient_each_way_has(seed):
    found = exact_kl.gradients(seed=seed)
    for key in ("reward_k1", "loss_k2"):  # the right one
        assert found[f"gap_{key}"] < 1e-12
    assert found["size_loss_k1"] < 1e-12  # none
    assert found["gap_other_loss_k3"] < 1e-12  # the other direction's
    for key in exact_kl.WAYS.keys() - {"reward_k1", "loss_k2"}:
        assert found[f"gap_{key}"] > 0.1, key


def test_the_surrogate_against_sums_over_texts():
    """Its gradient by finite differences: the samples' weights held still, the estimates moved."""
    generator = seeded()
    policy, reference = (TablePolicy.random(exact_kl.LANGUAGE, generator=generator) for _ in range(2))
    ref = exact_kl.LANGUAGE.token_logp(reference).detach()
    drawn = exact_kl.LANGUAGE.sequence_logp(policy).detach().exp()
    direction = torch.randn(policy.logits.shape, generator=generator, dtype=torch.float64)

    def estimates(shift, way):
        moved = TablePolicy(exact_kl.LANGUAGE, policy.logits.detach() + shift * direction)
        with torch.no_grad():
            logp = exact_kl.LANGUAGE.token_logp(moved)
        total = []
        for row, other, counts in zip(logp, ref, exact_kl.LANGUAGE.response, strict=True):
            ratios = [float(p - q) for p, q, c in zip(row, other, counts, strict=True) if c]
            if not way.by_token:
                ratios = [sum(ratios)]
            forms = {"k1": lambda x: x, "k2": lambda x: x * x / 2, "k3": lambda x: math.exp(-x) - 1 + x}
            total.append(sum(map(forms[way.estimator], ratios)))
        return torch.tensor(total, dtype=torch.float64), logp.sum(1)

    for way in exact_kl.WAYS.values():
        (up, logp_up), (down, logp_down) = estimates(1e-5, way), estimates(-1e-5, way)
        if way.in_reward:
            now, _ = estimates(0.0, way)
            slope = (drawn * now * (logp_up - logp_down) / 2e-5).sum()
        else:
            slope = (drawn * (up - down) / 2e-5).sum()
        scalar = exact_kl.surrogate(way, exact_kl.LANGUAGE.token_logp(policy), ref)
        (gradient,) = torch.autograd.grad(scalar, [policy.logits])
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-5, abs=1e-7), way


@pytest.mark.slow  # 150 steps of four ways on a table of 21 states: some seconds
def test_where_the_ways_lead():
    """A short run already tells them apart: two take the same way to the optimum, the others stay away."""
    ends = {}
    for key in ("reward_k1", "loss_k1", "loss_k2", "loss_k3"):
        ends[key] = exact_kl.follow(exact_kl.WAYS[key], seed=0, steps=160)
    right = ends["reward_k1"]
    assert right["distance"] == pytest.approx(ends["loss_k2"]["distance"], abs=1e-9)
    assert right["distance"][-1] < 0.02 < 0.5 < ends["loss_k3"]["distance"][-1]
    assert ends["loss_k1"]["distance"][-1] > 1
    assert max(right["objective"]) <= right["best_objective"][0] + 1e-12
    figure = exact_kl.landing_figure(
        {
            "step": right["step"],
            **{f"curve_{key}": run["distance"] for key, run in ends.items()},
            "curve_loss_k2_tokens": right["distance"],
            **{f"distance_{key}": run["distance"][-1] for key, run in ends.items()},
            "distance_loss_k2_tokens": 0.1,
        }
    )
    assert "nats from the optimum" in figure.text


# ----------------------------------------------------------------------------------------- bug hunt, ladder


def test_the_two_functions_for_the_values():
    world = ToyWorld(seed=0)
    model = freeze(world.value_model())
    tokens, mask = LANGUAGE.tokens, LANGUAGE.mask
    right, wrong = bug_hunt.values_right(model, tokens, mask), bug_hunt.values_wrong(model, tokens, mask)
    torch.testing.assert_close(right, token_values(model, tokens, mask))
    # What the wrong one says beside a token is what the right one says beside the next.
    both = mask[:, 1:]
    torch.testing.assert_close(wrong[:, :-1][both], right[:, 1:][both])


def test_the_symptoms_of_a_short_run(monkeypatch):
    monkeypatch.setattr(bug_hunt, "WARM_UP", 2)
    monkeypatch.setattr(bug_hunt, "ITERATIONS", 3)
    runs = {way: bug_hunt.symptoms(Pipeline("quick", seed=1), way=way) for way in bug_hunt.WAYS}
    for run in runs.values():
        assert {len(run[name]) for name in ("score", "distance", "explained", "first_ratio")} == {3}
        assert max(run["first_ratio"]) < 1e-4  # which is why nothing asserts
    assert runs["wrong"]["start_distance"] == runs["right"]["start_distance"]
    assert runs["wrong"]["score"][0] == runs["right"]["score"][0]  # the same first rollout after the warm-up
    assert runs["wrong"]["distance"] != runs["right"]["distance"]
    pictures = bug_hunt.symptom_figures([runs["wrong"]], [runs["right"]])
    assert all("With the bug" in picture.text for picture in pictures)


def test_the_toy_world_is_the_same_every_time_and_another_for_another_seed():
    one, same, other = ToyWorld(seed=3), ToyWorld(seed=3), ToyWorld(seed=4)
    torch.testing.assert_close(exact_logp(one.policy()), exact_logp(same.policy()))
    assert not torch.equal(exact_logp(one.policy()), exact_logp(other.policy()))
    assert not torch.equal(one.rewards, other.rewards)
    texts = Sequences(LANGUAGE.tokens, LANGUAGE.mask, LANGUAGE.response)
    torch.testing.assert_close(one.score(texts).double(), one.rewards, rtol=0, atol=1e-6)
    assert toy_tokenizer().eos_token_id == LANGUAGE.end_token


@pytest.mark.parametrize("gae_lambda", [0.0, 0.95, 1.0])
def test_the_exact_rung_holds_at_every_lambda(gae_lambda):
    assert ladder.gradient_error(seed=5, gae_lambda=gae_lambda) < 1e-12
    assert ladder.exact()[0]


def test_the_exact_rung_would_fall(monkeypatch):
    def premium(scores, logp, logp_ref, response, *, kl_weight):
        return token_rewards(scores, logp, logp_ref, response, kl_weight=-kl_weight)

    monkeypatch.setattr(ladder, "token_rewards", premium)
    assert not ladder.exact()[0]


def test_the_ladder_s_rungs_are_named():
    rungs = ladder.rungs(Pipeline("quick", seed=0))
    assert [rung.name for rung in rungs] == [
        "exact test", "first minibatch", "one prompt", "known optimum", "band of good seeds", "real run",
    ]  # fmt: skip
