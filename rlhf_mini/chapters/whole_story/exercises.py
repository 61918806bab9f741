"""The exercises of chapter 00: solutions and hints; the wrong programs stand in `mistakes`."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.chapters.whole_story import mistakes as wrong
from rlhf_mini.reader import Exercise, Mistake, OpenExercise


def perplexity(nats: list[float], tokens: list[int]) -> float:
    """The exponential of the mean loss per token."""
    return math.exp(sum(nats) / sum(tokens))


PERPLEXITY = Exercise(
    title="Perplexity of a corpus",
    level="easy",
    minutes=5,
    hints=(
        "The mean in the definition is over tokens. A long document has more of them.",
        "Add up all nats, add up all tokens, divide, and only then take the exponential.",
    ),
    solution=perplexity,
    cases=lambda: [
        ([1.2, 4.0, 9.9], [1, 5, 30]),
        ([0.0, 3.0], [4, 2]),
        ([10 * math.log(7)], [10]),
    ],
    mistakes=(
        Mistake(
            wrong.mean_of_document_means,
            "You average the documents' means, so that a token of a short document counts for more than one "
            "of a long document.",
        ),
        Mistake(
            wrong.mean_of_perplexities,
            "You average perplexities. The mean comes before the exponential: the geometric mean of the "
            "probabilities is what counts.",
        ),
        Mistake(wrong.to_the_base_two, "The losses are in nats, so the exponential is to the base e, not 2."),
        Mistake(wrong.per_document, "You divide by the number of documents. Perplexity is per token."),
    ),
)


def pair_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """−log σ(chosen − rejected), of each pair."""
    return -logsigmoid(chosen - rejected)


PAIR_LOSS = Exercise(
    title="The pairwise loss",
    level="easy",
    minutes=5,
    hints=(
        "Only the difference of the two scores enters. Equal scores cost log 2.",
        "−log σ(z) with z = chosen − rejected; torch.nn.functional has logsigmoid, which does not overflow.",
    ),
    solution=pair_loss,
    cases=lambda: [
        (torch.tensor([1.0]), torch.tensor([0.2])),
        (torch.tensor([11.0, 3.0, 0.0]), torch.tensor([10.2, 3.0, 2.0])),
        (torch.tensor([-60.0, 80.0]), torch.tensor([60.0, -80.0])),
    ],
    mistakes=(
        Mistake(
            wrong.rewards_the_rejected,
            "Your loss falls as the rejected answer scores higher: the difference is the wrong way round.",
        ),
        Mistake(
            wrong.forgets_the_minus, "This is the log-likelihood, which should go up. A loss is its negative."
        ),
        Mistake(
            wrong.forgets_the_logarithm,
            "This is the probability that the model gives to the other choice. The loss is minus the "
            "logarithm of the probability of the choice that was made.",
        ),
        Mistake(
            wrong.overflows,
            "Right as a formula, but exp(120) is infinite in float32: a badly wrong pair would stop the "
            "training. torch.nn.functional.logsigmoid computes the same without the overflow.",
        ),
        Mistake(
            wrong.takes_the_mean,
            "You return the mean over the pairs. Return one loss a pair: to average is a decision of the "
            "training loop.",
        ),
    ),
)


def token_rewards(score: float, logp_old: Tensor, logp_ref: Tensor, kl_weight: float) -> Tensor:
    """Every token pays for its KL; the last one also receives the score."""
    rewards = -kl_weight * (logp_old - logp_ref)
    rewards[-1] += score
    return rewards


TOKEN_REWARDS = Exercise(
    title="Rewards of tokens",
    level="medium",
    minutes=10,
    hints=(
        "There are as many rewards as tokens. Which tokens does the indicator 1[t = L] concern?",
        "Start from −β times the log-ratio of every token, and add the score to the last one.",
    ),
    solution=token_rewards,
    cases=lambda: [
        (1.5, torch.tensor([-1.0, -0.5, -2.0]), torch.tensor([-1.2, -0.5, -1.0]), 0.1),
        (-0.7, torch.tensor([-0.1, -3.0]), torch.tensor([-2.0, -0.2]), 0.5),
        (2.0, torch.tensor([-0.4]), torch.tensor([-0.9]), 0.05),
    ],
    mistakes=(
        Mistake(
            wrong.pays_for_agreeing,
            "Your sign of the KL is wrong: a token that the policy likes more than the reference does must "
            "pay, and yours is paid for it.",
        ),
        Mistake(wrong.score_everywhere, "You give the score to every token. Only the last one receives it."),
        Mistake(
            wrong.all_at_the_end,
            "Your sum is right, but the whole penalty stands at the last token. Let every token pay its own "
            "part, where it was chosen.",
        ),
        Mistake(wrong.score_replaces, "Your last token receives the score and does not pay. It does both."),
        Mistake(wrong.weight_on_the_score, "You multiply the score by β, too. β weighs the KL only."),
    ),
)


def clipped_loss(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """−min(ρA, clip(ρ)A), of each token."""
    ratio = torch.exp(logp - logp_old)
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantages, clipped * advantages)


CLIPPED_LOSS = Exercise(
    title="PPO's clipped loss",
    level="medium",
    minutes=10,
    hints=(
        "The ratio of two probabilities is the exponential of a difference of log-probabilities.",
        "Compute ρA and clip(ρ)A, take the smaller one token by token, and change its sign.",
    ),
    solution=clipped_loss,
    cases=lambda: [
        (
            torch.tensor([0.5, 0.5, 0.1, 0.1]).log(),
            torch.tensor([0.25, 0.25, 0.4, 0.4]).log(),
            torch.tensor([1.0, -1.0, 1.0, -1.0]),
            0.2,
        ),
        (torch.tensor([-1.0, -2.0]), torch.tensor([-1.0, -2.0]), torch.tensor([0.5, -3.0]), 0.2),
        (torch.tensor([-1.0, -1.1]), torch.tensor([-1.05, -1.0]), torch.tensor([2.0, 0.0]), 0.1),
    ],
    mistakes=(
        Mistake(
            wrong.clips_without_the_minimum,
            "You clip without the minimum. Where a step has already made a bad token likelier, your loss is "
            "flat, and nothing takes the step back.",
        ),
        Mistake(
            wrong.takes_the_maximum, "You take the larger of the two. PPO is pessimistic: the smaller counts."
        ),
        Mistake(wrong.maximises, "This should go up; a loss goes down. Change its sign."),
        Mistake(
            wrong.difference_for_ratio,
            "You use the difference of the log-probabilities as the ratio. The ratio is its exponential, "
            "1 where nothing has changed.",
        ),
        Mistake(
            wrong.does_not_clip, "You do not clip: a ratio of 2 counts twice, however far the policy moved."
        ),
    ),
)


def best_of_n_kl(probabilities: list[float], n: int) -> float:
    """KL(best of n ‖ policy) over outcomes listed from the worst score to the best."""
    total, below = 0.0, 0.0
    for p in probabilities:
        picked = (below + p) ** n - below**n
        below += p
        if picked > 0:
            total += picked * math.log(picked / p)
    return total


BEST_OF_N_KL = Exercise(
    title="How far best of n goes",
    level="hard",
    minutes=20,
    hints=(
        "The best of n is the k-th outcome or a worse one if and only if all n samples are.",
        "With F the probability of the k-th outcome and all worse ones, and G of the worse ones alone, the "
        "k-th is picked with probability q = Fⁿ − Gⁿ. The KL is the sum of q log(q/p).",
    ),
    solution=best_of_n_kl,
    cases=lambda: [
        ([0.7, 0.2, 0.1], 4),
        ([0.25, 0.25, 0.5], 1),
        ([1.0], 8),
        ([0.5, 0.5], 5000),
    ],
    mistakes=(
        Mistake(
            wrong.the_bound,
            "This is the bound, log n − (n − 1)/n. It is reached where no two samples tie; with a few "
            "outcomes they do.",
        ),
        Mistake(
            wrong.powers,
            "pⁿ is the chance that all n samples are this outcome. The best of n is this outcome also where "
            "some of the samples are worse.",
        ),
        Mistake(
            wrong.at_least_once,
            "1 − (1 − p)ⁿ is the chance that the outcome is among the samples. It must also be the best of "
            "them; yours do not add up to 1.",
        ),
        Mistake(
            wrong.other_direction,
            "This is KL(policy ‖ best of n). The first distribution is the one that is summed over, and here "
            "that is best of n.",
        ),
        Mistake(
            wrong.forgets_zero,
            "Right, but for large n the worst outcomes are picked with probability 0 to the last digit, and "
            "there is no logarithm of 0. What is never picked adds nothing.",
        ),
    ),
    tolerance=1e-9,
)


FEWER_COMPARISONS = OpenExercise(
    title="A worse reward model",
    level="hard",
    minutes=30,
    hints=(
        "dataclasses.replace(pipeline.profile, pairs=pipeline.profile.pairs // 10), passed to Pipeline, "
        "leaves everything as it is but the number of comparisons. Write your prediction down first.",
        "For annotators who like length more: panel = tuple(dataclasses.replace(judge, length_bias=b) for "
        "judge in stories.PANEL); take the two answers of each training pair in random order as first and "
        "second, and let stories.annotate(rows, seed=1, panel=panel) judge them anew.",
    ),
    good_answer="A prediction made before the run, and one figure of proxy and gold against KL for both "
    "reward models over at least three seeds, with the same prompts. It says where gold turns in each, "
    "whether the proxies may be compared (each is in units of its own reward model), and which errors of the "
    "reward models the answers exploit: read ten of them. The better answers also find the length bias from "
    "which on best of 64 has a lower gold reward than best of 16.",
)

EXERCISES = (PERPLEXITY, PAIR_LOSS, TOKEN_REWARDS, CLIPPED_LOSS, BEST_OF_N_KL, FEWER_COMPARISONS)
