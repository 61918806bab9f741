"""rlhf_mini.exact: by hand on two or three texts, and against brute force that shares nothing with it."""

import itertools
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.batch import Sequences
from rlhf_mini.exact import (
    TablePolicy,
    ToyLanguage,
    best_of_n,
    best_of_n_kl_bound,
    expectation,
    kl_divergence,
    kl_objective,
    kl_optimum,
    policy_gradient,
    sample_rows,
    sequence_entropy,
    values_and_advantages,
)
from rlhf_mini.exact.distributions import require_distribution

F64 = torch.float64
FIVE = ToyLanguage()
SMALL = ToyLanguage(vocabulary=3, steps=2, end_token=2)
CLOSE = {"rtol": 1e-12, "atol": 1e-14}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_logp(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, generator=generator(seed), dtype=F64).log_softmax(0)


def random_policy(language: ToyLanguage = FIVE, seed: int = 0) -> TablePolicy:
    return TablePolicy.random(language, generator=generator(seed))


# ---- the language


def test_texts_and_states_by_hand():
    assert SMALL.states == ((), (0,), (1,))
    assert SMALL.texts == ((2,), (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
    assert SMALL.tokens.tolist() == [[2, 2, 2], *([2, a, b] for a in (0, 1) for b in (0, 1, 2))]
    assert SMALL.mask.sum(1).tolist() == [2, 3, 3, 3, 3, 3, 3]
    assert SMALL.response.tolist() == [[False, True, False], *[[False, True, True]] * 6]
    # After state (): 0 leads to state 1, 1 to state 2, the end token to 3, which is "ended".
    assert SMALL.next_state.tolist() == [[1, 2, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]
    assert SMALL.state_before.tolist() == [[3, 0, 3], *[[3, 0, 1]] * 3, *[[3, 0, 2]] * 3]


def test_the_language_of_the_book():
    # Lengths 1, 2, 3 close with the end token: 1 + 4 + 16; length 4 may end in any of five: 64 · 5.
    assert len(FIVE.texts) == 1 + 4 + 16 + 320
    assert len(FIVE.states) == 1 + 4 + 16 + 64
    assert FIVE.tokens.shape == (341, 5)
    assert (FIVE.vocabulary, FIVE.steps, FIVE.end_token) == (5, 4, 0)


@pytest.mark.parametrize("language", [FIVE, SMALL, ToyLanguage(2, 1), ToyLanguage(4, 3, 1)])
def test_texts_against_brute_force(language):
    # Of all strings of `steps` tokens, keep what comes up to the first end token.
    texts = set()
    for string in itertools.product(range(language.vocabulary), repeat=language.steps):
        ends = [place for place, token in enumerate(string) if token == language.end_token]
        texts.add(string[: ends[0] + 1] if ends else string)
    assert set(language.texts) == texts
    assert len(language.texts) == len(texts)


def test_it_is_a_batch_of_the_library():
    batch = Sequences(FIVE.tokens, FIVE.mask, FIVE.response)
    assert batch.lengths.tolist() == [1 + len(text) for text in FIVE.texts]


def test_score_and_rewards_of_tokens():
    rewards = SMALL.score(lambda text: text.count(0) + 0.5)
    assert rewards.tolist() == [0.5, 2.5, 1.5, 1.5, 1.5, 0.5, 0.5]
    assert rewards.dtype == F64
    at_last = SMALL.at_last_token(rewards)
    assert at_last[0].tolist() == [0, 0.5, 0]
    assert at_last[1].tolist() == [0, 0, 2.5]
    assert torch.equal(at_last.sum(1), rewards)


def test_tables_and_tokens():
    table = torch.arange(9.0, dtype=F64).view(3, 3)
    per_token = SMALL.from_table(table)
    # Row 4 is the text (1, 0): token 1 in state 0, entry 1; token 0 in state 2, entry 6.
    assert per_token[4].tolist() == [0, 1, 6]
    assert per_token[0].tolist() == [0, 2, 0]
    assert torch.equal(SMALL.to_table(per_token), table)
    assert SMALL.from_states(torch.tensor([5.0, 6.0, 7.0]))[4].tolist() == [0, 5, 7]
    random = torch.randn(len(FIVE.states), 5, generator=generator(), dtype=F64)
    assert torch.equal(FIVE.to_table(FIVE.from_table(random)), random)


def test_what_looks_ahead_is_no_table():
    per_token = SMALL.from_table(torch.zeros(3, 3))
    per_token[1, 1] = 1.0  # the first token of (0, 0) gets more than the same token in (0, 1)
    with pytest.raises(
        ValueError, match="share a beginning disagree about its tokens: the numbers look ahead"
    ):
        SMALL.to_table(per_token)
    SMALL.to_table(torch.where(per_token == 1, 5e-6, 0.0))  # the last digits of float32 are forgiven
    with pytest.raises(ValueError, match="look ahead"):
        SMALL.to_table(torch.where(per_token == 1, 1000.0, 1000.001))


@pytest.mark.parametrize(
    "wrong", [{"vocabulary": 1}, {"steps": 0}, {"end_token": 5}, {"end_token": -1}, {"vocabulary": 0}]
)
def test_impossible_languages_are_refused(wrong):
    with pytest.raises(ValueError, match=r"needs vocabulary >= 2, steps >= 1 .* received ToyLanguage\("):
        ToyLanguage(**wrong)


@pytest.mark.parametrize(
    ("vocabulary", "steps", "texts"),
    [(11, 5, 111_111), (100_001, 1, 100_001), (10, 6, 597_871)],  # 1 + 10 + 100 + 1000 + 11 · 10⁴, and so on
)
def test_languages_that_are_too_large_are_refused(vocabulary, steps, texts):
    with pytest.raises(
        ValueError, match=rf" has {texts} texts, over 100000\. Use fewer tokens or fewer steps"
    ):
        ToyLanguage(vocabulary, steps)


@pytest.mark.parametrize(
    ("vocabulary", "steps", "texts"), [(18, 4, 88_741), (100_000, 1, 100_000), (10, 5, 66_430), (2, 20, 21)]
)
def test_languages_just_small_enough_are_not(vocabulary, steps, texts):
    assert len(ToyLanguage(vocabulary, steps).texts) == texts


# ---- policies


def test_a_policy_by_hand():
    # State (): 1/2, 1/4, 1/4 for tokens 0, 1, end; state (0): certain to end; state (1): 1/5, 3/5, 1/5.
    logits = torch.tensor([[2.0, 1.0, 1.0], [0.0, 0.0, 1.0], [1.0, 3.0, 1.0]], dtype=F64).log()
    chances = SMALL.sequence_logp(TablePolicy(SMALL, logits)).exp()
    expected = torch.tensor([1 / 4, 0, 0, 1 / 2, 1 / 20, 3 / 20, 1 / 20], dtype=F64)
    torch.testing.assert_close(chances, expected, **CLOSE)


def test_a_policy_against_plain_loops():
    policy = random_policy()
    logp, per_token = FIVE.sequence_logp(policy), FIVE.token_logp(policy)
    assert logp.dtype == F64
    number = {state: index for index, state in enumerate(FIVE.states)}
    for row, text in enumerate(FIVE.texts):
        terms = []
        for t, token in enumerate(text):
            weights = [math.exp(z) for z in policy.logits[number[text[:t]]].tolist()]
            terms.append(math.log(weights[token] / sum(weights)))
        assert math.isclose(logp[row].item(), math.fsum(terms), rel_tol=1e-12)
        assert per_token[row].tolist() == pytest.approx([0.0, *terms] + [0.0] * (4 - len(text)), rel=1e-12)
    assert math.isclose(logp.exp().sum().item(), 1.0, rel_tol=1e-12)


def test_a_policy_is_called_like_a_language_model():
    policy = random_policy(SMALL)
    logits = policy(torch.tensor([[2, 1, 0], [2, 0, 1]]))
    assert logits.shape == (2, 3, 3)
    assert torch.equal(logits[0, 0], policy.logits[0])  # after the begin
    assert torch.equal(logits[0, 1], policy.logits[2])  # after 1
    assert torch.equal(logits[1, 1], policy.logits[1])  # after 0
    assert (logits[:, 2] == 0).all()  # after the end
    torch.testing.assert_close(
        SMALL.sequence_logp(lambda tokens: policy(tokens).float()), SMALL.sequence_logp(policy)
    )


def test_a_policy_starts_uniform_copies_its_logits_and_checks_them():
    assert (TablePolicy(SMALL).logits == 0).all()
    given_logits = torch.ones(3, 3, dtype=F64)
    policy = TablePolicy(SMALL, given_logits)
    given_logits.zero_()
    assert (policy.logits == 1).all()
    assert TablePolicy(SMALL, torch.ones(3, 3)).logits.dtype == F64
    assert policy.logits.is_leaf
    assert policy.logits.requires_grad
    assert [name for name, _ in policy.named_parameters()] == ["logits"]
    with pytest.raises(
        ValueError, match=re.escape("logits must be (3, 3), states by tokens; received (3, 2)")
    ):
        TablePolicy(SMALL, torch.zeros(3, 2))


def test_random_policies_follow_their_generator():
    assert torch.equal(random_policy(seed=1).logits, random_policy(seed=1).logits)
    assert not torch.equal(random_policy(seed=1).logits, random_policy(seed=2).logits)
    assert (random_policy().logits != random_policy().logits.float()).any()  # drawn in double precision
    assert 0.8 < random_policy().logits.std() < 1.2  # 425 draws: a false alarm would be six standard errors


def test_the_policy_of_a_distribution():
    logp = random_logp(len(FIVE.texts))
    policy = TablePolicy.of_distribution(FIVE, logp)
    torch.testing.assert_close(FIVE.sequence_logp(policy), logp, **CLOSE)
    again = TablePolicy.of_distribution(FIVE, FIVE.sequence_logp(policy).float())
    assert again.logits.is_leaf
    torch.testing.assert_close(FIVE.sequence_logp(again), logp, rtol=0, atol=1e-5)  # float32 went in


def test_the_policy_of_a_distribution_with_texts_that_never_occur():
    # Only (1, 0) and (1, 1), 1/4 and 3/4. State (0) is never reached and stays uniform.
    chances = torch.tensor([0, 0, 0, 0, 1 / 4, 3 / 4, 0], dtype=F64)
    policy = TablePolicy.of_distribution(SMALL, chances.log())
    torch.testing.assert_close(SMALL.sequence_logp(policy).exp(), chances, **CLOSE)
    assert policy.logits[1].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=re.escape("exp(logp) add up to 7, not to 1")):
        TablePolicy.of_distribution(SMALL, torch.zeros(7, dtype=F64))


def test_a_transformer_fits_the_interface():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=5, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.LlamaForCausalLM(config).eval()
    logp = FIVE.sequence_logp(lambda tokens: model(tokens).logits)
    assert math.isclose(logp.exp().sum().item(), 1.0, rel_tol=1e-5)
    for row in (0, 3, 100, 340):
        text = FIVE.texts[row]
        alone = model(torch.tensor([[0, *text]])).logits[0].double().log_softmax(-1)
        expected = sum(alone[t, token].item() for t, token in enumerate(text))
        assert math.isclose(logp[row].item(), expected, rel_tol=1e-5)
    rewards = FIVE.score(len)
    gradients = policy_gradient(logp, rewards, model.parameters())
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    values, advantages = values_and_advantages(
        FIVE, FIVE.token_logp(lambda tokens: model(tokens).logits), FIVE.at_last_token(rewards)
    )
    assert math.isclose(values[0, 1].item(), expectation(logp, rewards).item(), rel_tol=1e-5)
    assert (advantages[~FIVE.response] == 0).all()


# ---- sums over all texts


def test_expectation_by_hand():
    logp, values = torch.tensor([0.5, 0.3, 0.2], dtype=F64).log(), torch.tensor([1.0, -2.0, 10.0], dtype=F64)
    assert math.isclose(expectation(logp, values), 0.5 - 0.6 + 2.0)


def test_kl_and_entropy_by_hand():
    # p = (1/2, 1/2, 0), q = (1/4, 1/2, 1/4): KL(p‖q) = (1/2) log 2; KL(q‖p) is infinite; H(q) = (3/2) log 2.
    p, q = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]], dtype=F64).log()
    assert math.isclose(kl_divergence(p, q), 0.5 * math.log(2))
    assert kl_divergence(q, p) == math.inf
    assert math.isclose(sequence_entropy(q), 1.5 * math.log(2))
    assert math.isclose(sequence_entropy(p), math.log(2))


def test_kl_direction_by_hand():
    # p = (3/4, 1/4), q = (1/2, 1/2): KL(p‖q) = (3/4) log(3/2) + (1/4) log(1/2) = .1308; KL(q‖p) = .1438.
    p, q = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=F64).log()
    assert math.isclose(kl_divergence(p, q), 0.75 * math.log(1.5) - 0.25 * math.log(2))
    assert math.isclose(kl_divergence(q, p), 0.5 * math.log(2 / 3) + 0.5 * math.log(2))


def test_what_cannot_occur_leaves_the_gradients_finite():
    logits = torch.tensor([1.0, 2.0, -math.inf], dtype=F64, requires_grad=True)
    other = torch.tensor([0.5, 0.0, -math.inf], dtype=F64, requires_grad=True)
    result = kl_divergence(logits.log_softmax(0), other.log_softmax(0)) + sequence_entropy(
        logits.log_softmax(0)
    )
    for gradient in torch.autograd.grad(result, [logits, other]):
        assert torch.isfinite(gradient).all()
        assert gradient[2] == 0


def test_gradients_of_the_sums():
    logits, other, rewards = torch.randn(3, 6, generator=generator(), dtype=F64)
    inputs = [x.requires_grad_() for x in (logits, other, rewards)]

    def sums(logits, other, rewards):
        logp, logp_other = logits.log_softmax(0), other.log_softmax(0)
        optimum = kl_optimum(logp_other, rewards, kl_weight=0.7)
        return (
            expectation(logp, rewards),
            kl_divergence(logp, logp_other),
            sequence_entropy(logp),
            kl_objective(logp, logp_other, rewards, kl_weight=0.7),
            optimum.logp,
            optimum.value,
            best_of_n(logp, torch.tensor([0.0, 1.0, 1.0, 2.0, 3.0, 0.0], dtype=F64), n=4),
        )

    assert torch.autograd.gradcheck(sums, inputs)


# ---- values and the policy gradient


def test_values_and_advantages_by_hand():
    # Uniform over three tokens. Text rewards: the end at once 9; (0, ·): 0, 3, 6; (1, ·): 3, 3, 3.
    # V(0) = 3, V(1) = 3, V() = (3 + 3 + 9)/3 = 5. A() = −2, −2, +4; A(0) = −3, 0, +3; A(1) = 0.
    rewards = torch.tensor([9.0, 0.0, 3.0, 6.0, 3.0, 3.0, 3.0], dtype=F64)
    logp = SMALL.token_logp(TablePolicy(SMALL))
    values, advantages = values_and_advantages(SMALL, logp, SMALL.at_last_token(rewards))
    expected = [[0, 5, 0], *[[0, 5, 3]] * 6]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=F64), **CLOSE)
    expected = [[0, 4, 0], [0, -2, -3], [0, -2, 0], [0, -2, 3], *[[0, -2, 0]] * 3]
    torch.testing.assert_close(advantages, torch.tensor(expected, dtype=F64), rtol=1e-12, atol=1e-12)


def test_values_by_hand_with_a_discount():
    # As above with γ = 1/2: V() = (3/2 + 3/2 + 9)/3 = 4; A() = −5/2, −5/2, 5.
    rewards = torch.tensor([9.0, 0.0, 3.0, 6.0, 3.0, 3.0, 3.0], dtype=F64)
    logp = SMALL.token_logp(TablePolicy(SMALL))
    values, advantages = values_and_advantages(SMALL, logp, SMALL.at_last_token(rewards), discount=0.5)
    torch.testing.assert_close(values[:, 1], torch.full((7,), 4.0, dtype=F64), **CLOSE)
    torch.testing.assert_close(advantages[:, 1], torch.tensor([5.0, *[-2.5] * 6], dtype=F64), **CLOSE)


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_values_against_brute_force(discount):
    # V(s): the mean of the discounted reward to come over the texts that begin with s, each with its chance.
    policy = random_policy()
    table = torch.randn(len(FIVE.states), 5, generator=generator(3), dtype=F64)
    token_rewards = FIVE.from_table(table)
    values, advantages = values_and_advantages(
        FIVE, FIVE.token_logp(policy), token_rewards, discount=discount
    )
    chances = FIVE.sequence_logp(policy).exp().tolist()
    rewards = token_rewards.tolist()

    def mean_to_come(beginning: tuple[int, ...], start: int) -> float:
        weighted = total = 0.0
        for row, text in enumerate(FIVE.texts):
            if text[: len(beginning)] == beginning:
                to_come = sum(discount ** (t - start) * rewards[row][1 + t] for t in range(start, len(text)))
                weighted, total = weighted + chances[row] * to_come, total + chances[row]
        return weighted / total

    for row in (0, 1, 7, 30, 200, 340):
        text = FIVE.texts[row]
        for t in range(len(text)):
            value = mean_to_come(text[:t], t)
            assert math.isclose(values[row, 1 + t].item(), value, rel_tol=1e-10)
            action_value = mean_to_come(text[: t + 1], t)
            assert math.isclose(
                advantages[row, 1 + t].item(), action_value - value, rel_tol=1e-9, abs_tol=1e-12
            )


def test_advantages_average_to_zero_in_every_state_and_values_begin_with_the_expected_reward():
    policy, rewards = random_policy(), torch.randn(341, generator=generator(1), dtype=F64)
    logp = FIVE.token_logp(policy)
    values, advantages = values_and_advantages(FIVE, logp, FIVE.at_last_token(rewards))
    average = (FIVE.to_table(logp).exp() * FIVE.to_table(advantages)).sum(1)
    torch.testing.assert_close(average, torch.zeros_like(average), rtol=0, atol=1e-14)
    torch.testing.assert_close(values[0, 1], expectation(FIVE.sequence_logp(policy), rewards), **CLOSE)


def test_values_are_differentiable():
    policy, rewards = random_policy(SMALL), torch.randn(7, generator=generator(1), dtype=F64)
    values, _ = values_and_advantages(SMALL, SMALL.token_logp(policy), SMALL.at_last_token(rewards))
    (gradient,) = torch.autograd.grad(values[0, 1], policy.logits)
    (exact,) = policy_gradient(SMALL.sequence_logp(policy), rewards, policy.parameters())
    torch.testing.assert_close(gradient, exact, **CLOSE)


def test_the_policy_gradient_is_visits_times_chance_times_advantage():
    # ∂ E[r] / ∂ z(s, a) = d(s) π(a|s) A(s, a), for logits z: the policy gradient theorem.
    policy, rewards = random_policy(), torch.randn(341, generator=generator(1), dtype=F64)
    logp = FIVE.token_logp(policy)
    _, advantages = values_and_advantages(FIVE, logp, FIVE.at_last_token(rewards))
    chances = logp.sum(1).exp().tolist()
    visits = torch.tensor(
        [
            sum(chances[row] for row, text in enumerate(FIVE.texts) if text[: len(s)] == s)
            for s in FIVE.states
        ],
        dtype=F64,
    )
    expected = visits[:, None] * FIVE.to_table(logp).exp() * FIVE.to_table(advantages)
    (gradient,) = policy_gradient(logp.sum(1), rewards, policy.parameters())
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-10, atol=1e-15)


def test_the_policy_gradient_treats_rewards_as_constants_and_keeps_the_graph():
    policy = random_policy(SMALL)
    logp = SMALL.sequence_logp(policy)
    # Were (log π)² differentiated too, the gradient would change. (Not so log π, for E[∇ log π] = 0.)
    attached = policy_gradient(logp, logp.square(), policy.parameters())
    constant = policy_gradient(logp, logp.square().detach(), policy.parameters())
    assert torch.equal(attached[0], constant[0])
    full = torch.autograd.grad(expectation(logp, logp.square()), policy.logits)[0]
    assert (full - attached[0]).abs().max() > 0.01


# ---- the optimum under a KL penalty


def test_optimum_by_hand():
    # π_ref = (1/2, 1/2), r = (log 3, 0), β = 1: weights 3/2 and 1/2, Z = 2, π* = (3/4, 1/4), value log 2.
    logp_ref, rewards = torch.tensor([0.5, 0.5], dtype=F64).log(), torch.tensor([3.0, 1.0], dtype=F64).log()
    optimum = kl_optimum(logp_ref, rewards, kl_weight=1.0)
    torch.testing.assert_close(optimum.logp.exp(), torch.tensor([0.75, 0.25], dtype=F64), **CLOSE)
    assert math.isclose(optimum.log_partition, math.log(2))
    assert math.isclose(optimum.value, math.log(2))
    # With β = 1/2 the weights are 9/2 and 1/2: Z = 5, π* = (9/10, 1/10), value (1/2) log 5.
    optimum = kl_optimum(logp_ref, rewards, kl_weight=0.5)
    torch.testing.assert_close(optimum.logp.exp(), torch.tensor([0.9, 0.1], dtype=F64), **CLOSE)
    assert math.isclose(optimum.log_partition, math.log(5))
    assert math.isclose(optimum.value, 0.5 * math.log(5))


def test_objective_by_hand():
    # π certain of the first: E[r] = 3, KL = log 2; β = 2.
    certain, coin = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=F64).log()
    rewards = torch.tensor([3.0, 0.0], dtype=F64)
    assert math.isclose(kl_objective(certain, coin, rewards, kl_weight=2.0), 3 - 2 * math.log(2))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.05, 10))
def test_nothing_beats_the_optimum(seed, kl_weight):
    logp_ref, rewards = random_logp(12, seed), torch.randn(12, generator=generator(seed + 1), dtype=F64)
    optimum = kl_optimum(logp_ref, rewards, kl_weight=kl_weight)
    reached = kl_objective(optimum.logp, logp_ref, rewards, kl_weight=kl_weight)
    torch.testing.assert_close(reached, optimum.value, rtol=1e-10, atol=1e-10)
    # For any π the objective falls short by exactly β KL(π ‖ π*).
    other = random_logp(12, seed + 2)
    short = kl_weight * kl_divergence(other, optimum.logp)
    found = kl_objective(other, logp_ref, rewards, kl_weight=kl_weight)
    torch.testing.assert_close(found, optimum.value - short, rtol=1e-9, atol=1e-9)
    assert short > 0


def test_gradient_ascent_arrives_at_the_optimum():
    language = ToyLanguage(vocabulary=3, steps=3)
    rewards = language.score(lambda text: text.count(1) - (text[-1] != 0))
    reference = random_policy(language)
    logp_ref = language.sequence_logp(reference).detach()
    optimum = kl_optimum(logp_ref, rewards, kl_weight=0.5)
    policy = TablePolicy(language, reference.logits)
    tight = {"max_iter": 200, "tolerance_grad": 1e-10, "tolerance_change": 1e-15}
    optimizer = torch.optim.LBFGS(policy.parameters(), line_search_fn="strong_wolfe", **tight)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        shortfall = -kl_objective(language.sequence_logp(policy), logp_ref, rewards, kl_weight=0.5)
        shortfall.backward()
        return shortfall

    assert kl_divergence(language.sequence_logp(policy), optimum.logp) > 0.1
    optimizer.step(loss)
    torch.testing.assert_close(language.sequence_logp(policy).exp(), optimum.logp.exp(), rtol=0, atol=1e-6)
    reached = kl_objective(language.sequence_logp(policy), logp_ref, rewards, kl_weight=0.5)
    torch.testing.assert_close(reached, optimum.value, **CLOSE)


# ---- best of n


def brute_best_of_n(chances: list[float], scores: list[float], n: int) -> list[float]:
    """All n-tuples of samples; the first with the highest score is kept."""
    kept = [0.0] * len(chances)
    for draw in itertools.product(range(len(chances)), repeat=n):
        best = max(draw, key=lambda row: scores[row])  # max returns the first of equals
        kept[best] += math.prod(chances[row] for row in draw)
    return kept


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "scores", [[0.0, 1.0, 2.0, 3.0], [2.0, 0.0, 2.0, 1.0], [1.0] * 4, [0.0, 1.0, 1.0, 0.0]]
)
def test_best_of_n_against_all_draws(scores, n):
    logp = random_logp(4)
    found = best_of_n(logp, torch.tensor(scores, dtype=F64), n=n).exp()
    expected = torch.tensor(brute_best_of_n(logp.exp().tolist(), scores, n), dtype=F64)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_best_of_n_by_hand():
    # Chances .7, .2, .1 from worst to best, n = 4: the best unless never drawn, 1 − .9⁴ = .3439;
    # the worst only if drawn four times, .7⁴ = .2401; the rest .4160. The KL is then .4725 nats.
    logp = torch.tensor([0.7, 0.2, 0.1], dtype=F64).log()
    found = best_of_n(logp, torch.tensor([1.0, 2.0, 3.0], dtype=F64), n=4)
    torch.testing.assert_close(found.exp(), torch.tensor([0.2401, 0.4160, 0.3439], dtype=F64), **CLOSE)
    assert round(kl_divergence(found, logp).item(), 4) == 0.4725


def test_best_of_n_with_ties_by_hand():
    # A fair coin of three texts, two of them tied for best, n = 2: the worst 1/9, the others share 8/9.
    logp = torch.full((3,), 1 / 3, dtype=F64).log()
    found = best_of_n(logp, torch.tensor([0.0, 5.0, 5.0], dtype=F64), n=2)
    torch.testing.assert_close(found.exp(), torch.tensor([1 / 9, 4 / 9, 4 / 9], dtype=F64), **CLOSE)


def test_best_of_one_is_the_policy_and_ties_everywhere_change_nothing():
    logp = random_logp(341)
    scores = torch.randn(341, generator=generator(5), dtype=F64)
    torch.testing.assert_close(best_of_n(logp, scores, n=1), logp, **CLOSE)
    torch.testing.assert_close(
        best_of_n(logp, torch.zeros(341, dtype=F64), n=16), logp, rtol=1e-12, atol=1e-12
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([2, 4, 16, 64]), st.booleans())
def test_best_of_n_stays_under_its_bound_and_scores_rise(seed, n, ties):
    logp, scores = random_logp(30, seed), torch.randn(30, generator=generator(seed + 1), dtype=F64)
    scores = scores.round() if ties else scores
    found = best_of_n(logp, scores, n=n)
    assert 0 < kl_divergence(found, logp) < best_of_n_kl_bound(n)
    assert expectation(found, scores) > expectation(logp, scores)


def test_the_bound_is_reached_without_ties():
    # 2,000 equally likely texts with different scores, n = 2: the gap to continuous scores is about 1/2000.
    logp = torch.full((2000,), 1 / 2000, dtype=F64).log()
    found = best_of_n(logp, torch.arange(2000.0, dtype=F64), n=2)
    assert math.isclose(kl_divergence(found, logp), best_of_n_kl_bound(2), rel_tol=1e-3)


def test_the_bound_by_hand():
    assert best_of_n_kl_bound(1) == 0
    assert math.isclose(best_of_n_kl_bound(2), math.log(2) - 0.5)
    assert [round(best_of_n_kl_bound(n), 2) for n in (8, 64, 1000)] == [1.20, 3.17, 5.91]  # as published


def test_best_of_n_keeps_what_is_too_rare_for_a_difference():
    # A best text of probability 10⁻²⁰: F^n − G^n is 0 in double precision; truly it is n times as likely.
    logp = torch.tensor([1.0, 1e-20], dtype=F64).log()
    found = best_of_n(logp, torch.tensor([0.0, 1.0], dtype=F64), n=8)
    assert math.isclose(found[1].exp(), 8e-20, rel_tol=1e-12)


# ---- drawing


def test_sampling_follows_the_probabilities_and_the_generator():
    logp = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=F64).log()
    rows = sample_rows(logp, 40_000, generator=generator())
    shares = torch.bincount(rows, minlength=4) / 40_000
    # Standard error at most .0025: six of them, a false alarm in 10⁸.
    torch.testing.assert_close(shares.double(), logp.exp(), rtol=0, atol=0.015)
    assert shares[3] == 0
    assert torch.equal(rows, sample_rows(logp, 40_000, generator=generator()))
    assert not torch.equal(rows, sample_rows(logp, 40_000, generator=generator(1)))


def test_sampling_carries_no_gradient_and_picks_texts():
    policy = random_policy(SMALL)
    rows = sample_rows(SMALL.sequence_logp(policy), 5, generator=generator())
    assert rows.dtype == torch.int64
    assert SMALL.tokens[rows].shape == (5, 3)


# ---- bad input


def test_probabilities_must_add_up():
    half, good = torch.tensor([0.25, 0.25], dtype=F64).log(), torch.tensor([0.5, 0.5], dtype=F64).log()
    rewards = torch.zeros(2, dtype=F64)
    calls = [
        lambda: expectation(half, rewards),
        lambda: kl_divergence(half, good),
        lambda: sequence_entropy(half),
        lambda: best_of_n(half, rewards, n=2),
        lambda: sample_rows(half, 1, generator=generator()),
        lambda: policy_gradient(half, rewards, []),
    ]
    for call in calls:
        with pytest.raises(
            ValueError, match=re.escape("exp(logp) add up to 0.5, not to 1. Give one log-prob")
        ):
            call()
    with pytest.raises(ValueError, match=re.escape("exp(logp_other) add up to 0.5")):
        kl_divergence(good, half)
    with pytest.raises(ValueError, match=re.escape("exp(logp_ref) add up to 0.5")):
        kl_optimum(half, rewards, kl_weight=1.0)
    with pytest.raises(ValueError, match="add up to nan"):
        expectation(torch.full((2,), math.nan), rewards)
    with pytest.raises(ValueError, match=r"add up to 1\.00002"):
        require_distribution(logp=torch.tensor([1.00002], dtype=F64).log())
    require_distribution(logp=torch.tensor([1.000009], dtype=F64).log())


def test_shapes_and_numbers_are_checked(unchecked):
    logp, other = torch.zeros(1), torch.zeros(2)
    with pytest.raises(ValueError, match=re.escape("logp (1,), values (2,)")):
        expectation(logp, other)
    with pytest.raises(ValueError, match=re.escape("logp (1,), logp_other (2,)")):
        kl_divergence(logp, other)
    with pytest.raises(ValueError, match=re.escape("logp_ref (1,), rewards (2,)")):
        kl_optimum(logp, other, kl_weight=1.0)
    with pytest.raises(ValueError, match=re.escape("logp (1,), scores (2,)")):
        best_of_n(logp, other, n=1)
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"kl_weight must be above 0; received {bad}"):
            kl_optimum(logp, logp, kl_weight=bad)
    for bad in (0, -3):
        with pytest.raises(ValueError, match=f"n must be at least 1; received {bad}"):
            best_of_n(logp, logp, n=bad)
        with pytest.raises(ValueError, match=f"n must be at least 1; received {bad}"):
            best_of_n_kl_bound(bad)
