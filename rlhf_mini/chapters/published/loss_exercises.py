"""Exercises of chapter 13 on two losses: Nemotron-4's RPO, and APA, by which Starling-alpha was trained."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.reader import Exercise, Mistake

# ------------------------------------------------------------------- 4 · reward-aware preference optimisation


def rpo_loss(
    chosen: Tensor, rejected: Tensor, score_chosen: Tensor, score_rejected: Tensor, beta: float, eta: float
) -> Tensor:
    """The loss of reward-aware preference optimisation (RPO), one number a pair, (B,).

    `chosen` and `rejected` (B,) are log π/π_ref of the preferred and of the other answer, summed over tokens;
    π is the policy in training and π_ref its reference. `score_chosen` and `score_rejected` (B,) are a reward
    model's scores of the same answers. With β = `beta` and η = `eta`, the policy's lead is
    a = β (chosen − rejected) and the scored lead is b = η (score_chosen − score_rejected). With the logistic
    function σ the loss is the divergence of one coin from another,

        σ(b) log(σ(b)/σ(a)) + (1 − σ(b)) log((1 − σ(b))/(1 − σ(a))).

    It must be finite for any leads.
    """
    policy, scored = beta * (chosen - rejected), eta * (score_chosen - score_rejected)
    heads = logsigmoid(scored) - logsigmoid(policy)
    tails = logsigmoid(-scored) - logsigmoid(-policy)
    return torch.sigmoid(scored) * heads + torch.sigmoid(-scored) * tails


def _coins(policy: Tensor, scored: Tensor) -> Tensor:
    """The divergence of `rpo_loss` from its two leads."""
    one, level = 1.0, torch.zeros_like(policy)
    return rpo_loss(policy, level, scored, level, one, one)


def _leads(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> tuple[Tensor, Tensor]:
    return beta * (chosen - rejected), eta * (better - worse)


def _cross_entropy(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    policy, scored = _leads(chosen, rejected, better, worse, beta, eta)
    return -torch.sigmoid(scored) * logsigmoid(policy) - torch.sigmoid(-scored) * logsigmoid(-policy)


def _other_coin(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    policy, scored = _leads(chosen, rejected, better, worse, beta, eta)
    return _coins(scored, policy)


def _heads_alone(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    policy, scored = _leads(chosen, rejected, better, worse, beta, eta)
    return torch.sigmoid(scored) * (logsigmoid(scored) - logsigmoid(policy))


def _squared(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    policy, scored = _leads(chosen, rejected, better, worse, beta, eta)
    return (policy - scored) ** 2


def _dpo(chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float) -> Tensor:
    return -logsigmoid(beta * (chosen - rejected))


def _margin(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    policy, scored = _leads(chosen, rejected, better, worse, beta, eta)
    return -logsigmoid(policy - scored)


def _exchanged(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    return rpo_loss(chosen, rejected, better, worse, eta, beta)


def _no_eta(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    return rpo_loss(chosen, rejected, better, worse, beta, 1.0)


def _one_score(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    return rpo_loss(chosen, rejected, better, torch.zeros_like(worse), beta, eta)


def _overflows(
    chosen: Tensor, rejected: Tensor, better: Tensor, worse: Tensor, beta: float, eta: float
) -> Tensor:
    p, q = (torch.sigmoid(lead) for lead in reversed(_leads(chosen, rejected, better, worse, beta, eta)))
    return p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))


RPO = Exercise(
    title="A loss that knows by how much (Nemotron-4)",
    level="medium",
    minutes=15,
    hints=(
        "Where the leads are equal the loss is 0. log σ(x) is logsigmoid(x), and log(1 − σ(x)) is "
        "logsigmoid(−x): neither overflows.",
        "σ(b) · (logsigmoid(b) − logsigmoid(a)) + σ(−b) · (logsigmoid(−b) − logsigmoid(−a)), with a of the "
        "policy and b of the scores.",
    ),
    solution=rpo_loss,
    cases=lambda: [
        (*torch.tensor([[2.0, -1.0], [0.5, 1.0], [3.0, 1.0], [1.0, 0.5]]).double().unbind(), 0.5, 1.0),
        (*torch.tensor([[0.0, 4.0], [0.0, 1.0], [1.0, 2.0], [1.0, 4.0]]).double().unbind(), 0.3, 2.0),
        (*torch.tensor([[40.0], [0.0], [900.0], [-20.0]]).double().unbind(), 1.0, 1.0),
    ],
    mistakes=(
        Mistake(
            _cross_entropy,
            "This is the cross-entropy of the two coins. It has the same gradient, but its least value is "
            "the entropy of σ(b) and not 0, so that a good policy cannot be told by its loss.",
        ),
        Mistake(
            _other_coin,
            "You have the two coins exchanged: the sum is over the scored coin, σ(b) in front of both "
            "logarithms. The other way round is a divergence too, and another loss.",
        ),
        Mistake(
            _heads_alone,
            "The second side of the coin is missing: (1 − σ(b)) log((1 − σ(b))/(1 − σ(a))). Without it the "
            "loss falls for ever as the policy's lead grows.",
        ),
        Mistake(
            _squared,
            "This is the squared difference of the two leads, another form of RPO. It asks two safe leads "
            "of 5 and 9 to agree as hard as one of −2 and 2; two coins hardly do.",
        ),
        Mistake(
            _dpo,
            "This is the loss of DPO: the scores do not occur in it. RPO needs them, one for each answer.",
        ),
        Mistake(
            _margin,
            "You use the scored lead as a margin. That loss falls for ever as the policy's lead grows beyond "
            "it; RPO pulls it back to the scored one.",
        ),
        Mistake(_exchanged, "You have β and η exchanged: β belongs to the log-ratios and η to the scores."),
        Mistake(_no_eta, "η is missing: it says how much one unit of score is worth in log-odds."),
        Mistake(
            _one_score,
            "You take σ of the preferred answer's score alone. A reward model has no zero: only the "
            "difference of two scores of one prompt means something.",
        ),
        Mistake(
            _overflows,
            "Your formula is right and your numbers are not: σ of a large lead is rounded to 1, 1 − σ to 0, "
            "and 0 · log 0 is NaN. Use logsigmoid(x) and logsigmoid(−x).",
        ),
    ),
    tolerance=1e-6,
)


# --------------------------------------------------------------------- 8 · advantage-induced policy alignment


def apa(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """The target of advantage-induced policy alignment (APA), (B, T), and its loss, one number.

    `logp` and `logp_init` (B, T) are the log-probabilities of the tokens of B answers under the policy π in
    training and under the policy π_init that training started from; `advantages` (B, T) are the advantages A
    of the tokens. `counts` (B, T) is true at the tokens of the answers and false at the padding. λ =
    `strength` is what one nat of distance from π_init costs, in units of the advantage.

    The target is the log-probability log π_init + A/λ. The loss is the mean of (log π − target)² over all
    tokens that count, whichever answer they belong to.
    """
    target = logp_init + advantages / strength
    return target, ((logp - target) ** 2)[counts].mean()


def _loss(logp: Tensor, target: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    return target, ((logp - target) ** 2)[counts].mean()


def _weighed(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return logp_init + advantages / strength, -(torch.exp(advantages / strength) * logp)[counts].mean()


def _times_lambda(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _loss(logp, logp_init + strength * advantages, counts)


def _no_start(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _loss(logp, advantages / strength, counts)


def _away(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _loss(logp, logp_init - advantages / strength, counts)


def _from_here(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _loss(logp, logp + advantages / strength, counts)


def _absolute(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    target = logp_init + advantages / strength
    return target, (logp - target).abs()[counts].mean()


def _with_padding(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _loss(logp, logp_init + advantages / strength, torch.ones_like(counts))


def _by_answer(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    target = logp_init + advantages / strength
    squares = torch.where(counts, (logp - target) ** 2, 0.0)
    return target, (squares.sum(1) / counts.sum(1)).mean()


def _summed(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    target, loss = apa(logp, logp_init, advantages, counts, strength)
    return target, loss * counts.sum()


def _probabilities(
    logp: Tensor, logp_init: Tensor, advantages: Tensor, counts: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    return _loss(logp.exp(), (logp_init + advantages / strength).exp(), counts)


def _rollouts() -> list[tuple]:
    full, short = [[True, True, True]], [[True, True, True], [False, True, False]]
    one = [[[-1.0, -2.0, -0.5]], [[-1.5, -2.0, -1.0]], [[0.5, -1.0, 0.2]]]
    two = [
        [[-0.4, -1.1, -3.0], [9.0, -2.2, -7.0]],
        [[-0.9, -1.0, -2.0], [4.0, -1.2, 3.0]],
        [[1.0, 0.3, -0.8], [2.0, -0.5, -6.0]],
    ]
    return [
        (*torch.tensor(one).double().unbind(), torch.tensor(full), 0.5),
        (*torch.tensor(two).double().unbind(), torch.tensor(short), 0.1),
        (*torch.tensor(two).double().unbind(), torch.tensor(short), 2.0),
    ]


APA = Exercise(
    title="A log-probability to aim at (Starling)",
    level="easy",
    minutes=10,
    hints=(
        "A token with an advantage of λ should become e times as likely as it was at the start: its "
        "log-probability should rise by 1 over that of π_init.",
        "target = logp_init + advantages / strength; ((logp − target) ** 2)[counts].mean() has all tokens "
        "that count and nothing else.",
    ),
    solution=apa,
    cases=_rollouts,
    mistakes=(
        Mistake(
            _weighed,
            "You weigh −log π by exp(A/λ). That is advantage-weighted regression, for which APA is often "
            "taken: APA draws the log-probability itself to a target, from above as well as from below.",
        ),
        Mistake(
            _times_lambda,
            "You multiply by λ. It is a price: the dearer a nat, the less far the target lies, A/λ.",
        ),
        Mistake(
            _no_start,
            "The start is missing: A/λ is how far the log-probability should move from log π_init. As it is, "
            "a token without an advantage should become certain.",
        ),
        Mistake(
            _away,
            "Your target lies on the wrong side of the start: a positive advantage makes a token likelier.",
        ),
        Mistake(
            _from_here,
            "Your target starts from log π, the policy as it is. It then runs away with the policy and the "
            "loss does not depend on log π at all; the start is log π_init.",
        ),
        Mistake(_absolute, "Your loss has distances and not their squares."),
        Mistake(
            _with_padding,
            "You count the padding. What stands there may be anything; `counts` says which tokens count.",
        ),
        Mistake(
            _by_answer,
            "You take the mean of each answer first. A token of a short answer then weighs more than one of "
            "a long answer; here all tokens that count weigh the same.",
        ),
        Mistake(_summed, "You add the squares and do not divide by the number of tokens that count."),
        Mistake(
            _probabilities,
            "You compare probabilities. The target and the distance are of log-probabilities, in nats.",
        ),
    ),
    tolerance=1e-6,
)
