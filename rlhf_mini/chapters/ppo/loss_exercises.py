"""Exercises of chapter 05 on losses: what clipping lets through, whitening, k1, k2 and k3 as losses, PPO-ptx."""

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ------------------------------------------------------------------------------------- 4 · what still teaches


def learning_signal(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    """The derivative of each token's clipped loss by its log π; all of one shape."""
    ratio = (logp - logp_old).exp()
    gained_enough = (advantages > 0) & (ratio > 1 + clip_range)
    lost_enough = (advantages < 0) & (ratio < 1 - clip_range)
    return torch.where(gained_enough | lost_enough, 0.0, -ratio * advantages)


def _no_minimum(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    ratio = (logp - logp_old).exp()
    return torch.where((ratio - 1).abs() > clip_range, 0.0, -ratio * advantages)


def _detached(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return -advantages


def _gradients_clipped(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    ratio = (logp - logp_old).exp()
    return (-ratio * advantages).clamp(-clip_range, clip_range)


def _never_clipped(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return -(logp - logp_old).exp() * advantages


def _ratio_forgotten(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return torch.where(learning_signal(logp, logp_old, advantages, clip_range) == 0, 0.0, -advantages)


def _upwards(logp: Tensor, logp_old: Tensor, advantages: Tensor, clip_range: float) -> Tensor:
    return -learning_signal(logp, logp_old, advantages, clip_range)


def _steps() -> list[tuple]:
    before = torch.tensor([0.4, 0.4, 0.4, 0.4, 0.4, 0.4]).log()
    after = torch.tensor([0.6, 0.6, 0.2, 0.2, 0.42, 0.38]).log()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0, -0.5])
    return [
        (after, before, advantages, 0.2),
        (before, before, advantages, 0.2),
        (after, before, -advantages, 0.6),
    ]


SIGNAL = Exercise(
    title="What clipping lets through",
    level="medium",
    minutes=15,
    hints=(
        "Where nothing is clipped, the loss is −ρA, and the derivative of ρ = exp(log π − log π_old) by log π is ρ "
        "itself.",
        "The minimum chooses the clipped side, whose derivative is 0, only where A > 0 and ρ > 1 + ε, or A < 0 and "
        "ρ < 1 − ε.",
    ),
    solution=learning_signal,
    cases=_steps,
    mistakes=(
        Mistake(_no_minimum, "You silence every token whose ratio left the interval. Without the minimum, a bad token "
                "that has become likelier is never taken back."),
        Mistake(_detached, "Your ratio is always 1, as if log π_old were the policy's own log-probability, detached: "
                "clipping then never acts."),
        Mistake(_gradients_clipped, "You clip the gradient. PPO clips the ratio, and lets the gradient be as large "
                "as it is."),
        Mistake(_never_clipped, "Nothing is ever silenced in yours."),
        Mistake(_ratio_forgotten, "You silence the right tokens, but the derivative of ρ by log π is ρ, not 1."),
        Mistake(_upwards, "Your signs are those of the objective. This is the loss, which goes down."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 5 · whitening


def whitened(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    """Counted values at variance 1, and at mean 0 if shifted, else at their own mean; 0 where nothing counts."""
    counted = values[mask]
    mean, deviation = counted.mean(), counted.std(correction=0)
    scaled = (values - mean) / deviation
    return torch.where(mask, scaled if shift_mean else scaled + mean, 0.0)


def _padding_counts(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    values = torch.where(mask, values, 0.0)
    everything = torch.ones_like(mask)
    return torch.where(mask, whitened(values, everything, shift_mean), 0.0)


def _padding_counts_in_the_mean(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    mean = torch.where(mask, values, 0.0).mean()
    deviation = (values[mask] - mean).square().mean().sqrt()
    scaled = (values - mean) / deviation
    return torch.where(mask, scaled if shift_mean else scaled + mean, 0.0)


def _always_shifted(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    return whitened(values, mask, True)


def _never_shifted(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    return whitened(values, mask, False)


def _mean_scaled_too(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    if shift_mean:
        return whitened(values, mask, True)
    return torch.where(mask, values / values[mask].std(correction=0), 0.0)


def _one_less(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    counted = values[mask]
    scaled = (values - counted.mean()) / counted.std(correction=1)
    return torch.where(mask, scaled if shift_mean else scaled + counted.mean(), 0.0)


def _row_by_row(values: Tensor, mask: Tensor, shift_mean: bool) -> Tensor:
    return torch.stack([whitened(row, counts, shift_mean) for row, counts in zip(values, mask, strict=True)])


def _advantages() -> list[tuple]:
    values = torch.tensor([[1.0, 3.0, 8.0, 50.0], [-2.0, 0.5, 50.0, 50.0]])
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    return [(values, mask, True), (values, mask, False), (values * 0.1 + 5, mask, False)]


WHITENED = Exercise(
    title="Whitening under a mask",
    level="easy",
    minutes=10,
    hints=(
        "values[mask] is the list of all counted values, of every row. Its mean and its standard deviation are all "
        "that is needed.",
        "std(correction=0) divides by n. Without the shift, subtract the mean, divide, and add the mean again.",
    ),
    solution=whitened,
    cases=_advantages,
    mistakes=(
        Mistake(_padding_counts, "Padding counts in your mean and variance, as zeros: longer padding, other "
                "advantages."),
        Mistake(_padding_counts_in_the_mean, "Your variance is right about what counts, and your mean is over all "
                "columns, padding included."),
        Mistake(_always_shifted, "You always take the mean away. For rewards it must stay: their sign says whether "
                "an answer was good."),
        Mistake(_never_shifted, "You never take the mean away."),
        Mistake(_mean_scaled_too, "Without the shift your values are divided as they are, and their mean with them. "
                "Take the mean off, divide, put the mean back."),
        Mistake(_one_less, "You divide by n − 1. The book divides by n, as the code of 2019 does; on a real batch "
                "nobody sees the difference."),
        Mistake(_row_by_row, "You whiten every answer by itself, so that no answer can be better than another."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 6 · k1, k2, k3 as losses


def expected_gradients(logits: Tensor, logits_ref: Tensor) -> Tensor:
    """(V,), (V,) -> (3, V): E[∇k1], E[∇k2], E[∇k3] by the logits, over tokens drawn from π."""
    logp, logp_ref = logits.log_softmax(0), logits_ref.log_softmax(0)
    probability, log_ratio = logp.exp(), logp - logp_ref
    slopes = torch.stack(
        [torch.ones_like(logp), log_ratio, 1 - (-log_ratio).exp()]
    )  # dk/dlog π, token by token
    weighted = probability * slopes
    return weighted - probability * weighted.sum(1, keepdim=True)  # ∇log π(a) is 1 at a, less π


def _slopes_and_values(logits: Tensor, logits_ref: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    logp, logp_ref = logits.log_softmax(0), logits_ref.log_softmax(0)
    log_ratio = logp - logp_ref
    upside_down = (-log_ratio).exp()
    slopes = torch.stack([torch.ones_like(logp), log_ratio, 1 - upside_down])
    values = torch.stack([log_ratio, log_ratio.square() / 2, upside_down - 1 + log_ratio])
    return logp.exp(), slopes, values


def _gathered(weights: Tensor, slopes: Tensor, probability: Tensor) -> Tensor:
    return weights * slopes - probability * (weights * slopes).sum(1, keepdim=True)


def _of_the_expectation(logits: Tensor, logits_ref: Tensor) -> Tensor:
    probability, slopes, values = _slopes_and_values(logits, logits_ref)
    return _gathered(probability, slopes + values, probability)


def _in_the_reward(logits: Tensor, logits_ref: Tensor) -> Tensor:
    probability, _, values = _slopes_and_values(logits, logits_ref)
    return _gathered(probability, values, probability)


def _every_token_alike(logits: Tensor, logits_ref: Tensor) -> Tensor:
    probability, slopes, _ = _slopes_and_values(logits, logits_ref)
    return _gathered(torch.ones_like(probability), slopes, probability)


def _drawn_from_the_reference(logits: Tensor, logits_ref: Tensor) -> Tensor:
    probability, slopes, _ = _slopes_and_values(logits, logits_ref)
    return _gathered(logits_ref.softmax(0), slopes, probability)


def _ratio_upside_down(logits: Tensor, logits_ref: Tensor) -> Tensor:
    probability, slopes, values = _slopes_and_values(logits, logits_ref)
    slopes[2] = values[0].exp() - 1  # k3 with r = π/π_ref
    return _gathered(probability, slopes, probability)


def _distributions() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    coin = torch.tensor([0.9, 0.1], dtype=torch.float64).log()
    return [(first, second), (coin, coin.flip(0)), (second, 2 * first)]


ESTIMATORS = Exercise(
    title="Three estimators as losses",
    level="hard",
    minutes=25,
    hints=(
        "Draw every token once and weigh it by its probability, which is a constant: who samples is not "
        "differentiated. Autograd will do, with π.detach() as the weights.",
        "With autograd: for each estimator sum π.detach() · k over the vocabulary, and take the gradient of that by "
        "the logits. On paper: dk/dlog π is 1, log(π/π_ref) and 1 − π_ref/π, and ∇log π(a) is 1 at a, less π.",
    ),
    solution=expected_gradients,
    cases=_distributions,
    mistakes=(
        Mistake(_of_the_expectation, "You differentiate the weights, too. A loss on samples cannot: the samples are "
                "there already. (What you have is the gradient of each estimator's mean.)"),
        Mistake(_in_the_reward, "You hold the estimator fixed and differentiate log π: that is the estimator in the "
                "reward, not as a loss."),
        Mistake(_every_token_alike, "You sum over the vocabulary without weights. Tokens come as often as π says."),
        Mistake(_drawn_from_the_reference, "Your tokens are drawn from the reference. They are the policy's own."),
        Mistake(_ratio_upside_down, "In k3 the ratio is π_ref/π; yours is upside down, and estimates another "
                "quantity."),
    ),
    tolerance=1e-9,
)  # fmt: skip


# ------------------------------------------------------------------------------------- 7 · PPO-ptx


def mixed_loss(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    """The mean policy loss of the answers' tokens, plus γ times the mean −log π of the documents' tokens."""
    return policy_losses[response].mean() - gamma * document_logp[counted].mean()


def _unlearned(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    return policy_losses[response].mean() + gamma * document_logp[counted].mean()


def _summed(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    return policy_losses[response].mean() - gamma * document_logp[counted].sum()


def _padding_learned(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    return policy_losses[response].mean() - gamma * document_logp.mean()


def _one_mean(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    return torch.cat([policy_losses[response], -gamma * document_logp[counted]]).mean()


def _document_by_document(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    rows = (document_logp * counted).sum(1) / counted.sum(1)
    return policy_losses[response].mean() - gamma * rows.mean()


def _weighs_the_policy(
    policy_losses: Tensor, response: Tensor, document_logp: Tensor, counted: Tensor, gamma: float
) -> Tensor:
    return gamma * policy_losses[response].mean() - document_logp[counted].mean()


def _minibatches() -> list[tuple]:
    losses = torch.tensor([[9.0, 0.5, -0.25], [9.0, 9.0, 1.0]])
    response = torch.tensor([[False, True, True], [False, False, True]])
    logp = -torch.tensor([[7.0, 1.0, 2.0, 0.5], [7.0, 3.0, 7.0, 7.0]])
    counted = torch.tensor([[False, True, True, True], [False, True, False, False]])
    return [(losses, response, logp, counted, 0.5), (losses.flip(1), response, logp, counted, 27.8)]


MIXED = Exercise(
    title="The loss of PPO-ptx",
    level="easy",
    minutes=10,
    hints=(
        "Two means, each over its own tokens, and γ between them.",
        "policy_losses[response].mean(), and γ times −document_logp[counted].mean(): the documents are to become "
        "likelier.",
    ),
    solution=mixed_loss,
    cases=_minibatches,
    mistakes=(
        Mistake(_unlearned, "Your documents become less likely: the loss must fall where log π rises."),
        Mistake(_summed, "You sum over the documents' tokens, so that γ means something else for every batch."),
        Mistake(_padding_learned, "Begin tokens and padding count among your documents' tokens."),
        Mistake(_one_mean, "You take one mean over everything, so that the number of documents changes what an "
                "answer weighs."),
        Mistake(_document_by_document, "You average document by document. As in pretraining, every token counts the "
                "same."),
        Mistake(_weighs_the_policy, "γ stands before the wrong part: it weighs the documents."),
    ),
)  # fmt: skip
