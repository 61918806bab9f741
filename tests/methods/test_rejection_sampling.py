"""Rejection sampling on the toy language: what is kept follows the exact best of K, and to learn it pays.

Prompts are the word "a"; a text is at most three words, and every text has its own reward.
"""

import math
from collections import Counter

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlhf_mini.evaluation import best_of_n_kl, best_of_n_kl_bound
from rlhf_mini.exact import best_of_n, expectation, kl_divergence
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.rejection_sampling import (
    Chosen,
    RejectionSamplingConfig,
    best_of,
    draw_candidates,
    fine_tune_on,
    keep,
    pooled,
    random_of,
    rejection_sampling,
    score_candidates,
)
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import copy_of, token_logits

WORDS = ["", "a", "b", "c", "d"]
TRAINING = SFTConfig(epochs=8, batch=32, optimizer=OptimizerConfig(learning_rate=1e-2, final_fraction=0.1))
CONFIG = RejectionSamplingConfig(samples=4, temperature=1.0, max_new_tokens=3, sft=TRAINING)


def in_words(text: tuple[int, ...]) -> str:
    return " ".join(WORDS[token] for token in text if token)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """The toy words, with spaces between them; masks tell padding from ends."""
    words = models.WordLevel({"<end>": 0, "a": 1, "b": 2, "c": 3, "d": 4}, unk_token="a")
    backend = Tokenizer(words)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")


@pytest.fixture(scope="module")
def rewards(language) -> dict[str, float]:
    drawn = torch.randn(len(language.texts), generator=torch.Generator().manual_seed(5)).tolist()
    return {in_words(text): reward for text, reward in zip(language.texts, drawn, strict=True)}


@pytest.fixture(scope="module")
def score(rewards, tokenizer):
    def of(sequences):
        rows = zip(sequences.tokens, sequences.response, strict=True)
        return torch.tensor([rewards[in_words(tuple(row[counts].tolist()))] for row, counts in rows])

    return of


@pytest.fixture(scope="module")
def after_a(language):
    """The exact log-probability of every text after the prompt "a"."""

    def logp(model, temperature: float = 1.0):
        def logits_of(tokens):
            prompted = tokens.clone()
            prompted[:, 0] = 1
            with torch.no_grad():
                return (
                    token_logits(model, prompted, torch.ones_like(prompted, dtype=torch.bool)) / temperature
                )

        return language.sequence_logp(logits_of)

    return logp


def draw_best(policy, tokenizer, score, *, count, config=CONFIG):
    generator = torch.Generator().manual_seed(0)
    candidates = draw_candidates(policy, tokenizer, ["a"] * count, config=config, generator=generator)
    scores = score_candidates(score, tokenizer, ["a"] * count, candidates)
    return candidates, scores


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_what_is_kept_follows_the_exact_best_of_k(
    language, rewards, score, toy_policy, tokenizer, after_a, temperature
):
    """4,000 draws from 85 texts: Pearson's χ² on those expected 5 times or more; limit at six deviations."""
    config = RejectionSamplingConfig(samples=4, temperature=temperature, max_new_tokens=3, sft=TRAINING)
    candidates, scores = draw_best(toy_policy, tokenizer, score, count=4000, config=config)
    kept = Counter(keep(["a"] * 4000, candidates, best_of(scores)).answers)
    by_text = torch.tensor([rewards[in_words(text)] for text in language.texts], dtype=torch.float64)
    exact = best_of_n(after_a(toy_policy, temperature), by_text, n=4).exp() * 4000
    seen = torch.tensor([float(kept[in_words(text)]) for text in language.texts])
    often = exact >= 5
    cells = [(seen[often], exact[often]), (seen[~often].sum()[None], exact[~often].sum()[None])]
    statistic = sum(float(((s - e) ** 2 / e).sum()) for s, e in cells)
    freedom = int(often.sum())
    assert freedom > 20
    assert abs(statistic - freedom) < 6 * math.sqrt(2 * freedom)
    unpicked = after_a(toy_policy, temperature).exp() * 4000  # and not the policy itself
    assert float(((seen - unpicked) ** 2 / unpicked).sum()) > 10 * freedom


def test_the_divergence_of_the_best_of_k_is_below_the_formula(language, rewards, toy_policy, after_a):
    by_text = torch.tensor([rewards[in_words(text)] for text in language.texts], dtype=torch.float64)
    logp = after_a(toy_policy)
    for n in (1, 4, 16):
        exact = float(kl_divergence(best_of_n(logp, by_text, n=n), logp))
        assert exact == pytest.approx(best_of_n_kl(logp.exp().numpy(), by_text.numpy(), n=n), abs=1e-9)
        assert exact <= best_of_n_kl_bound(n) + 1e-12
    assert best_of_n_kl_bound(16) - exact > 0.05  # with 85 texts the bound is not reached


def test_fine_tuning_on_the_best_pays_and_on_any_does_not(
    language, rewards, score, toy_policy, tokenizer, after_a
):
    by_text = torch.tensor([rewards[in_words(text)] for text in language.texts], dtype=torch.float64)
    before = after_a(toy_policy)
    target = best_of_n(before, by_text, n=4)
    candidates, scores = draw_best(toy_policy, tokenizer, score, count=1000)
    generator = torch.Generator().manual_seed(1)
    value, distance = {}, {}
    for name, picked in (("best", best_of(scores)), ("any", random_of(scores, generator=generator))):
        model = copy_of(toy_policy)
        chosen = keep(["a"] * 1000, candidates, picked)
        fine_tune_on(model, tokenizer, chosen, config=CONFIG, generator=torch.Generator().manual_seed(2))
        value[name] = float(expectation(after_a(model), by_text))
        distance[name] = float(kl_divergence(target, after_a(model)))
    start, goal = float(expectation(before, by_text)), float(expectation(target, by_text))
    assert value["best"] - start > 0.8 * (goal - start)
    assert abs(value["any"] - start) < 0.2 * (goal - start)
    assert distance["best"] < 0.4 * float(kl_divergence(target, before))
    assert distance["any"] > 0.8 * float(kl_divergence(target, before))


def test_one_round_is_its_four_steps(score, toy_policy, tokenizer, weights_of, same_weights):
    prompts = ["a", "b", "c", "d"] * 16
    whole, stepwise = copy_of(toy_policy), copy_of(toy_policy)
    chosen = rejection_sampling(
        whole, tokenizer, prompts, score, config=CONFIG, generator=torch.Generator().manual_seed(3)
    )
    generator = torch.Generator().manual_seed(3)
    candidates = draw_candidates(stepwise, tokenizer, prompts, config=CONFIG, generator=generator)
    scores = score_candidates(score, tokenizer, prompts, candidates)
    kept = [texts[max(range(4), key=lambda k: row[k])] for texts, row in zip(candidates, scores, strict=True)]
    assert chosen == Chosen(prompts, kept)
    fine_tune_on(stepwise, tokenizer, chosen, config=CONFIG, generator=generator)
    assert same_weights(weights_of(whole), weights_of(stepwise))
    assert not same_weights(weights_of(whole), weights_of(toy_policy))


def test_candidates_stand_beside_their_prompts(toy_policy, tokenizer):
    seen = []

    def by_prompt(sequences):
        """The prompt's own token, and a little for the place in the batch."""
        seen.append(len(sequences))
        return sequences.tokens[:, 0].float()

    candidates = draw_candidates(
        toy_policy, tokenizer, ["c", "b"], config=CONFIG, generator=torch.Generator().manual_seed(0)
    )
    assert [len(texts) for texts in candidates] == [4, 4]
    scores = score_candidates(by_prompt, tokenizer, ["c", "b"], candidates, batch=3)
    assert scores.tolist() == [[3.0] * 4, [2.0] * 4]
    assert seen == [3, 3, 2]


def test_ties_go_to_the_first_and_random_choices_to_all():
    scores = torch.zeros(6000, 3)
    scores[:, 2] = -1
    assert best_of(scores).eq(0).all()
    assert best_of(torch.tensor([[0.0, 2.0, 2.0, 1.0]])).tolist() == [1]
    counts = torch.bincount(random_of(scores, generator=torch.Generator().manual_seed(0)), minlength=3)
    # binomial, 6000 draws at 1/3: standard deviation 36.5; five of them
    assert (counts - 2000).abs().max() < 183


def test_rounds_are_pooled_in_order():
    first, second = Chosen(["p", "q"], ["1", "2"]), Chosen(["p"], ["3"])
    assert pooled([first, second]) == Chosen(["p", "q", "p"], ["1", "2", "3"])
    assert len(pooled([first, second])) == 3


def test_bad_input(tokenizer):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        RejectionSamplingConfig(samples=4, temperature=0.0, max_new_tokens=3, sft=TRAINING)
    with pytest.raises(ValueError, match="samples and max_new_tokens"):
        RejectionSamplingConfig(samples=0, temperature=1.0, max_new_tokens=3, sft=TRAINING)
    with pytest.raises(ValueError, match="2 prompts but 1 answers"):
        Chosen(["p", "q"], ["a"])
    zero = lambda sequences: torch.zeros(len(sequences))  # noqa: E731
    for candidates in ([["a"]], [["a"], ["a", "b"]], [[], []]):
        with pytest.raises(ValueError, match="need the same number of candidates"):
            score_candidates(zero, tokenizer, ["a", "b"], candidates)
    with pytest.raises(ValueError, match="prompt 1 is NaN or infinite"):
        score_candidates(
            lambda sequences: torch.tensor([0.0, math.nan]), tokenizer, ["a", "b"], [["c"], ["d"]]
        )
