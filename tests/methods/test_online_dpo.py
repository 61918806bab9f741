"""Online DPO on the toy language: who orders the pairs, which prompts are asked, and where it lands."""

import math

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import rlhf_mini.methods.online_dpo as module
from rlhf_mini.exact import ToyLanguage, kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.losses import dpo_loss, rpo_backward_kl_loss
from rlhf_mini.methods.dpo import kept_reference
from rlhf_mini.methods.online_dpo import (
    OnlineDPOConfig,
    judged_pairs,
    online_dpo,
    prefer_higher,
    take_step,
)
from rlhf_mini.models import copy_of, freeze, token_logits

WORDS = ["", "a", "b", "c", "d"]
BETA = 1.0


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def settings(**changes):
    numbers = {
        "steps": 2,
        "batch": 4,
        "max_new_tokens": 3,
        "optimizer": OptimizerConfig(learning_rate=5e-3, final_fraction=0.0),
    }
    return OnlineDPOConfig(**{**numbers, **changes})


def objective(pair):
    return dpo_loss(*pair.log_ratios, kl_weight=BETA)


def first_is_better(prompts, first, second):
    return torch.ones(len(prompts), dtype=torch.bool)


@pytest.fixture(scope="module")
def tokenizer():
    """The toy words, with spaces between them."""
    words = models.WordLevel({"<end>": 0, "a": 1, "b": 2, "c": 3, "d": 4}, unk_token="a")
    backend = Tokenizer(words)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")


# --------------------------------------------------------------------------------------------------- judges


def test_the_verdict_orders_the_pairs(tokenizer):
    verdicts = torch.tensor([True, False, True])
    pairs = judged_pairs(tokenizer, ["a", "b", "c"], ["a", "b b", "c"], ["d", "d d", ""], verdicts)
    # prompt, answer, end; the pad is the end token, too
    assert pairs.chosen.tokens.tolist() == [[1, 1, 0, 0], [2, 4, 4, 0], [3, 3, 0, 0]]
    assert pairs.chosen.response.sum(1).tolist() == [2, 3, 2]
    assert pairs.rejected.tokens.tolist() == [[1, 4, 0, 0], [2, 2, 2, 0], [3, 0, 0, 0]]
    assert pairs.rejected.response.sum(1).tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    ("verdicts", "received"),
    [
        (torch.ones(1, dtype=torch.bool), r"\(1,\) of torch.bool"),
        (torch.ones(2, 1, dtype=torch.bool), r"\(2, 1\) of torch.bool"),
        (torch.ones(2), r"\(2,\) of torch.float32"),
        (torch.ones(2, dtype=torch.long), r"\(2,\) of torch.int64"),
    ],
)
def test_other_verdicts_are_refused(tokenizer, verdicts, received):
    with pytest.raises(ValueError, match=rf"one boolean for each of 2 prompts; it returned {received}"):
        judged_pairs(tokenizer, ["a", "b"], ["a", "b"], ["d", "d"], verdicts)


def test_the_higher_score_is_preferred_and_the_first_of_equals(tokenizer):
    def length(sequences):
        return sequences.response.sum(1).float()

    judge = prefer_higher(length, tokenizer)
    verdicts = judge(["a"] * 4, ["a b", "a", "a", ""], ["a", "a b", "d", "c d"])
    assert verdicts.tolist() == [True, False, True, False]


def test_a_score_sees_the_prompt_with_each_answer(tokenizer):
    seen = []

    def watching(sequences):
        seen.append(
            [tokens[mask].tolist() for tokens, mask in zip(sequences.tokens, sequences.mask, strict=True)]
        )
        return torch.zeros(len(sequences))

    prefer_higher(watching, tokenizer)(["b", "c"], ["a", "a a"], ["d", ""])
    assert seen == [[[2, 1, 0], [3, 1, 1, 0]], [[2, 4, 0], [3, 0]]]


def test_a_score_that_is_not_finite_stops_the_judge(tokenizer):
    with pytest.raises(ValueError, match="NaN or infinity"):
        prefer_higher(lambda rows: torch.full((len(rows),), math.nan), tokenizer)(["a"], ["b"], ["c"])


# ------------------------------------------------------------------------------------------------- one step


def test_it_starts_at_log_2_and_logs_its_own_answers(toy_policy, tokenizer):
    asked = []

    def judge(prompts, first, second):
        asked.append((prompts, first, second))
        return first_is_better(prompts, first, second)

    policy = copy_of(toy_policy)
    log = online_dpo(
        policy,
        freeze(toy_policy),
        tokenizer,
        ["a", "b"],
        judge,
        objective,
        config=settings(steps=3),
        generator=seeded(),
    )
    assert len(log) == len(asked) == 3
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for name in ("chosen", "rejected", "lead"):
        assert log[0][name] == pytest.approx(0, abs=1e-5)
    for entry, (_, first, second) in zip(log, asked, strict=True):
        words = sum(len(text.split()) + 1 for text in first + second)
        assert entry["length"] == pytest.approx(words / 8)
        assert entry["lead"] == pytest.approx(entry["chosen"] - entry["rejected"], abs=1e-6)
    assert asked[0][1] != asked[0][2]  # two answers, not one twice
    assert asked[0][1:] != asked[1][1:]
    assert abs(log[-1]["lead"]) > 1e-3  # the reference did not come along
    assert not policy.training


def test_the_reference_is_asked_about_the_fresh_pairs(toy_policy, tokenizer, exact_logp):
    """Log-ratios against plain sums, of a policy that is not its reference."""
    policy, reference = copy_of(toy_policy), freeze(copy_of(toy_policy))
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(1.7)
    pairs = judged_pairs(tokenizer, ["a", "b"], ["c", "d d"], ["", "a"], torch.tensor([True, False]))
    expected = [
        kept_reference(policy, pairs).chosen - kept_reference(reference, pairs).chosen,
        kept_reference(policy, pairs).rejected - kept_reference(reference, pairs).rejected,
    ]
    with Training(policy, optimizer=OptimizerConfig(learning_rate=1e-3), steps=1) as training:
        entry = take_step(training, policy, reference, pairs, objective)
    assert entry["chosen"] == pytest.approx(float(expected[0].mean()), abs=1e-5)
    assert entry["rejected"] == pytest.approx(float(expected[1].mean()), abs=1e-5)
    loss = torch.log(1 + torch.exp(-BETA * (expected[0] - expected[1]))).mean()
    assert entry["loss"] == pytest.approx(float(loss), abs=1e-5)
    now = kept_reference(policy, pairs)
    before = kept_reference(reference, pairs)
    lead = (now.chosen - now.rejected) - (before.chosen - before.rejected)
    assert float(lead.mean()) > float((expected[0] - expected[1]).mean())
    assert entry["length"] == pytest.approx((2 + 2 + 1 + 3) / 4)


def test_the_frozen_stays_frozen(toy_policy, tokenizer, weights_of, same_weights):
    policy, before = copy_of(toy_policy), weights_of(toy_policy)
    online_dpo(
        policy,
        freeze(toy_policy),
        tokenizer,
        ["a"],
        first_is_better,
        objective,
        config=settings(),
        generator=seeded(),
    )
    assert same_weights(before, weights_of(toy_policy))
    assert not same_weights(before, weights_of(policy))


def test_dropout_is_off_while_it_learns(tokenizer):
    torch.manual_seed(0)
    rates = {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}
    sizes = {"vocab_size": 5, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2, "eos_token_id": 0}
    sizes["bos_token_id"] = 0  # its own is outside this vocabulary
    policy = GPT2LMHeadModel(GPT2Config(**sizes, **rates)).train()
    log = online_dpo(
        policy,
        freeze(copy_of(policy)),
        tokenizer,
        ["a"],
        first_is_better,
        objective,
        config=settings(steps=1),
        generator=seeded(),
    )
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


# -------------------------------------------------------------------------------------------------- prompts


def test_all_prompts_are_asked_before_any_comes_again(toy_policy, tokenizer, monkeypatch):
    """Nine prompts in batches of four: 36 questions in nine steps are four whole passes, in new orders."""
    prompts = [f"{x} {y}" for x in "abc" for y in "abd"]
    asked, answered = [], []

    def answer(policy, tokenizer, prompts, **options):
        answered.extend(prompts)
        return ["a" for _ in prompts]

    def judge(prompts, first, second):
        asked.extend(prompts)
        return first_is_better(prompts, first, second)

    monkeypatch.setattr(module, "answer", answer)
    online_dpo(
        copy_of(toy_policy),
        freeze(toy_policy),
        tokenizer,
        prompts,
        judge,
        objective,
        config=settings(steps=9),
        generator=seeded(),
    )
    passes = [asked[start : start + 9] for start in range(0, 36, 9)]
    assert all(sorted(one) == sorted(prompts) for one in passes)
    assert len({tuple(one) for one in passes}) == 4
    assert sorted(answered) == sorted(2 * asked)


def test_more_answers_than_prompts(toy_policy, tokenizer):
    """Two prompts in a batch of five: the whole list twice, and one more."""
    asked = []

    def judge(prompts, first, second):
        asked.append(prompts)
        return first_is_better(prompts, first, second)

    online_dpo(
        copy_of(toy_policy),
        freeze(toy_policy),
        tokenizer,
        ["a", "b"],
        judge,
        objective,
        config=settings(steps=2, batch=5),
        generator=seeded(),
    )
    flat = [prompt for batch in asked for prompt in batch]
    assert len(flat) == 10
    assert all(sorted(flat[start : start + 2]) == ["a", "b"] for start in range(0, 10, 2))


# ------------------------------------------------------------------------------------------------- refusals


def test_bad_input_is_refused(toy_policy, tokenizer, weights_of, same_weights):
    policy, before = copy_of(toy_policy), weights_of(toy_policy)

    def run(*, reference=None, prompts=("a",), judge=first_is_better):
        return online_dpo(
            policy,
            freeze(copy_of(toy_policy)) if reference is None else reference,
            tokenizer,
            prompts,
            judge,
            objective,
            config=settings(),
            generator=seeded(),
        )

    with pytest.raises(ValueError, match="needs prompts to answer; there are none"):
        run(prompts=())
    with pytest.raises(ValueError, match="shares its weights"):
        run(reference=policy)
    with pytest.raises(ValueError, match=r"one boolean for each of 4 prompts; it returned \(3,\)"):
        run(judge=lambda prompts, first, second: torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"one boolean for each of 4 prompts.*float32"):
        run(judge=lambda prompts, first, second: torch.rand(4))
    assert same_weights(before, weights_of(policy))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "steps, batch and max_new_tokens must be at least 1"),
        ({"batch": 0}, "steps, batch and max_new_tokens must be at least 1"),
        ({"max_new_tokens": 0}, "steps, batch and max_new_tokens must be at least 1"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": math.inf}, "temperature must be above 0 and finite"),
        ({"temperature": math.nan}, "temperature must be above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        settings(**changes)


# -------------------------------------------------------------------------------------------- where it lands


class World:
    """Every text of at most three words has a reward, and π* ∝ π_ref exp(r/β) is known.

    All texts are learned as if they had ended, also those that were cut off: what counts are the 85 texts of
    at most three words and an end token, and how a policy shares its probability among those.
    """

    def __init__(self, text_rewards, *, sign=1):
        self.longer = ToyLanguage(vocabulary=5, steps=4)
        self.ended = self.longer.score(lambda text: text[-1] == 0).bool()
        in_words = lambda text: " ".join(WORDS[token] for token in text if token)  # noqa: E731
        self.reward = {in_words(text): sign * reward for text, reward in text_rewards.items()}
        self.rewards = torch.tensor(
            [self.reward[in_words(text)] for text in self.longer.texts if text[-1] == 0], dtype=torch.float64
        )

    def lead(self, first, second):
        return torch.tensor([self.reward[a] - self.reward[b] for a, b in zip(first, second, strict=True)])

    def logp(self, model):
        """Of the 85 texts after the prompt "a"."""

        def logits_of(tokens):
            prompted = tokens.clone()
            prompted[:, 0] = 1
            with torch.no_grad():
                return token_logits(model, prompted, torch.ones_like(prompted, dtype=torch.bool))

        return self.longer.sequence_logp(logits_of)[self.ended].log_softmax(0)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_goes_where_its_judge_points(text_rewards, toy_policy, tokenizer, sign):
    """A judge who errs as Bradley and Terry have it, and the plain DPO loss."""
    world, generator = World(text_rewards, sign=sign), seeded(3)

    def judge(prompts, first, second):
        return torch.rand(len(prompts), generator=generator) < world.lead(first, second).sigmoid()

    policy, start = copy_of(toy_policy), world.logp(toy_policy)
    online_dpo(
        policy,
        freeze(toy_policy),
        tokenizer,
        ["a"],
        judge,
        objective,
        config=settings(steps=20, batch=64),
        generator=seeded(),
    )
    end = world.logp(policy)
    best, other = (kl_optimum(start, turn * world.rewards, kl_weight=BETA).logp for turn in (1, -1))
    assert kl_divergence(end, best) < 0.8 * kl_divergence(start, best)
    assert kl_divergence(end, other) > 1.3 * kl_divergence(start, other)


@pytest.mark.slow  # 60 steps that each sample 512 answers: six seconds
def test_it_approaches_the_optimum_of_its_judge_s_rewards(text_rewards, toy_policy, tokenizer):
    """Every pair's loss is least at π*, whoever wrote the pair: most of the way there in 60 steps.

    The objective knows how sure the judge is (RPO's), so that labels have no noise. From 0.595 nats it ended
    at 0.163; 120 steps on a quarter of the answers ended at 0.190.
    """
    world, judged = World(text_rewards), {}

    def judge(prompts, first, second):
        lead = world.lead(first, second)
        judged["lead"] = lead.abs()
        return lead > 0

    def sure(pair):
        lead = judged["lead"]
        return rpo_backward_kl_loss(
            *pair.log_ratios, lead, torch.zeros_like(lead), kl_weight=BETA, reward_scale=1.0
        )

    policy, start = copy_of(toy_policy), world.logp(toy_policy)
    optimizer = OptimizerConfig(learning_rate=1e-2, final_fraction=0.0)
    log = online_dpo(
        policy,
        freeze(toy_policy),
        tokenizer,
        ["a"],
        judge,
        sure,
        config=settings(steps=60, batch=256, optimizer=optimizer),
        generator=seeded(),
    )
    best = kl_optimum(start, world.rewards, kl_weight=BETA).logp
    assert kl_divergence(start, best) > 0.4
    assert kl_divergence(world.logp(policy), best) < 0.4 * kl_divergence(start, best)
    assert log[-1]["loss"] < 0.2 * log[0]["loss"]
