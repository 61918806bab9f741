"""The losses that train a policy on preference pairs directly: DPO and what changes one thing about it.

All take *log-ratios*, ``log π(y|x)/π_ref(y|x)``: how much likelier the policy in training finds an answer
than the frozen reference does. They are summed over the answer's tokens; a caller who takes their mean over
the tokens instead has a loss per token, with another β. ``h`` is the log-ratio of the preferred answer less
that of the other, both of the same prompt.
"""

import torch
from torch.nn.functional import softplus

from rlhf_mini.shapes import Float, Int, Tensor
from rlhf_mini.tensors import require_same_shape


def implied_lead(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, kl_weight: float
) -> Float[Tensor, " B"]:
    """By how much the policy itself rates the preferred answer above the other: ``β h``.

    A policy that is the optimum ``π_ref exp(r/β)/Z`` of some reward has ``β log π/π_ref = r − β log Z``. In
    the difference of two answers to one prompt ``Z`` cancels, and the difference in reward is left: the
    policy is a reward model.

    Args:
        chosen: ``(B,)``, log-ratios of the preferred answers, nats per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        kl_weight: β, above 0, reward per nat.

    Returns:
        ``(B,)``, in units of the reward, of either sign; not reduced. Gradients flow to both.

    Raises:
        ValueError: if the shapes differ, or β is not above 0.

    Paper: Rafailov et al. 2023, arXiv 2305.18290, eq. 5 and 6.

    Example:
        >>> implied_lead(torch.tensor([3.0]), torch.tensor([-1.0]), kl_weight=0.5)
        tensor([2.])
    """
    require_same_shape(chosen=chosen, rejected=rejected)
    if not kl_weight > 0:
        raise ValueError(f"kl_weight must be above 0, as 0.1 is; received {kl_weight}.")
    return kl_weight * (chosen - rejected)


def dpo_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, kl_weight: float
) -> Float[Tensor, " B"]:
    """Direct preference optimisation: the loss of a reward model, with the policy as the reward model.

    ``−log σ(β h)``: the negative log-likelihood of the choice under Bradley–Terry, if the reward is
    ``β log π/π_ref``. With enough pairs its minimum is the policy that maximises the true reward less β times
    the KL to the reference. One pair alone has no minimum: the loss falls as long as ``h`` grows, and only
    ``h`` counts, so that both answers may become less likely.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the preferred answers, nats per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        kl_weight: β, above 0; the smaller, the farther the optimum is from the reference.

    Returns:
        ``(B,)``, nats per pair, above 0, ``log 2`` where the policy is the reference; not reduced. Gradients
        flow to both log-ratios, equal and opposite: ``∓β σ(−β h)``, at most β.

    Raises:
        ValueError: if the shapes differ, or β is not above 0.

    Paper: Rafailov et al. 2023, arXiv 2305.18290, eq. 7.

    Example:
        >>> tripled = torch.tensor([3.0]).log()  # the policy made the preferred answer 3 times as likely
        >>> dpo_loss(tripled, torch.zeros(1), kl_weight=1.0).neg().exp()  # 3 to 1 for it
        tensor([0.7500])
    """
    return softplus(-implied_lead(chosen, rejected, kl_weight=kl_weight))


def conservative_dpo_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, kl_weight: float, flip_rate: float
) -> Float[Tensor, " B"]:
    """DPO with smoothed labels (cDPO): as if each label were wrong with probability ε.

    ``−(1 − ε) log σ(β h) − ε log σ(−β h)``: the cross-entropy of a label that is right with probability
    ``1 − ε``. Its minimum is finite, at ``β h = log((1 − ε)/ε)``, for every pair the same, and so it stops a
    policy from running away. It does not undo wrong labels: where they are wrong, smoothing adds a second
    smoothing to the one the data have. ``robust_dpo_loss`` undoes them.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the answers labelled as preferred, nats per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        kl_weight: β, above 0.
        flip_rate: ε, at least 0 and below ½; 0 is ``dpo_loss``.

    Returns:
        ``(B,)``, nats per pair, above 0, ``log 2`` where the policy is the reference; not reduced. Gradients
        flow to both log-ratios, equal and opposite.

    Raises:
        ValueError: if the shapes differ, β is not above 0, or ε is out of range.

    Source: Mitchell 2023, *A note on DPO with noisy preferences & relationship to IPO*.

    Example:
        >>> lead = torch.tensor([100.0])  # sure of a label that is wrong one time in four
        >>> conservative_dpo_loss(lead, torch.zeros(1), kl_weight=1.0, flip_rate=0.25)
        tensor([25.])
    """
    lead = implied_lead(chosen, rejected, kl_weight=kl_weight)
    _require_flip_rate(flip_rate)
    return (1 - flip_rate) * softplus(-lead) + flip_rate * softplus(lead)


def robust_dpo_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, kl_weight: float, flip_rate: float
) -> Float[Tensor, " B"]:
    """DPO for labels of which a known share is wrong: on average the loss of the right labels.

    ``( −(1 − ε) log σ(β h) + ε log σ(−β h) ) / (1 − 2ε)``. If each label is turned round with probability ε,
    whatever the pair, the expectation of this loss is ``dpo_loss`` on the labels as they were. The price is
    variance, and a loss without a lower bound: on a pair that the policy is sure of it falls on like
    ``−ε β h/(1 − 2ε)``, so that a small data set drives the policy away even faster than with DPO. On average
    too it may have no minimum where pairs are labelled one way more often than ``1 − ε``: do not overstate ε.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the answers labelled as preferred, nats per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        kl_weight: β, above 0.
        flip_rate: ε, at least 0 and below ½; 0 is ``dpo_loss``.

    Returns:
        ``(B,)``, nats per pair, of either sign, ``log 2`` where the policy is the reference; not reduced.
        Gradients flow to both log-ratios, equal and opposite, and never change their sign.

    Raises:
        ValueError: if the shapes differ, β is not above 0, or ε is out of range.

    Paper: Ray Chowdhury et al. 2024, arXiv 2403.00409, §3.

    Example:
        >>> lead = torch.tensor([100.0])  # −0.25 · 100 / 0.5
        >>> robust_dpo_loss(lead, torch.zeros(1), kl_weight=1.0, flip_rate=0.25)
        tensor([-50.])
    """
    lead = implied_lead(chosen, rejected, kl_weight=kl_weight)
    _require_flip_rate(flip_rate)
    return ((1 - flip_rate) * softplus(-lead) - flip_rate * softplus(lead)) / (1 - 2 * flip_rate)


def ipo_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, kl_weight: float
) -> Float[Tensor, " B"]:
    """Identity preference optimisation: a lead of a set size, and no more.

    ``(h − 1/(2τ))²``. No Bradley–Terry model stands behind it: it maximises how often the policy's answers
    are preferred to those of the data's writer, less τ times the KL to the reference. Where a pair is always
    judged the same way DPO drives the other answer's probability to 0 whatever its β is; here the log-ratios
    stop ``1/(2τ)`` apart.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the preferred answers, nats per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        kl_weight: τ, above 0, win rate per nat; the lead aimed at is ``1/(2τ)`` nats.

    Returns:
        ``(B,)``, squared nats, at least 0, ``1/(4τ²)`` where the policy is the reference; not reduced.
        Gradients flow to both log-ratios, equal and opposite, and turn round once the lead is too large.

    Raises:
        ValueError: if the shapes differ, or τ is not above 0.

    Paper: Azar et al. 2023, arXiv 2310.12036, eq. 17.

    Example:
        >>> ipo_loss(torch.tensor([7.0]), torch.tensor([3.0]), kl_weight=0.1)  # a lead of 4; 5 is aimed at
        tensor([1.])
    """
    require_same_shape(chosen=chosen, rejected=rejected)
    if not kl_weight > 0:
        raise ValueError(f"kl_weight must be above 0, as 0.1 is; received {kl_weight}.")
    return (chosen - rejected - 1 / (2 * kl_weight)).square()


def length_regularised_dpo_loss(
    chosen: Float[Tensor, " B"],
    rejected: Float[Tensor, " B"],
    chosen_length: Int[Tensor, " B"],
    rejected_length: Int[Tensor, " B"],
    *,
    kl_weight: float,
    length_weight: float,
) -> Float[Tensor, " B"]:
    """DPO for a reward less a price per token (R-DPO).

    ``−log σ(β h + α (|y_w| − |y_l|))``. If the labels follow a reward ``r``, the minimum is the optimum of
    ``r(y) − α |y|`` under the KL penalty. That a preferred answer is longer already explains
    part of the choice, and the policy need not lean to it so far.

    Args:
        chosen: ``(B,)``, log-ratios ``log π/π_ref`` of the preferred answers, nats per sequence.
        rejected: ``(B,)``, log-ratios of the others, of the same prompts.
        chosen_length: ``(B,)``, tokens of the preferred answers.
        rejected_length: ``(B,)``, tokens of the others.
        kl_weight: β, above 0, reward per nat.
        length_weight: α, reward per token; 0 is ``dpo_loss``, and below 0 longer answers are sought.

    Returns:
        ``(B,)``, nats per pair, above 0; not reduced. Gradients flow to both log-ratios, equal and opposite.

    Raises:
        ValueError: if the shapes differ, or β is not above 0.

    Paper: Park et al. 2024, arXiv 2403.19159.

    Example:
        >>> short, long = torch.tensor([8]), torch.tensor([12])  # 4 tokens shorter: 2 of lead are used up
        >>> lead = torch.tensor([2.0])
        >>> length_regularised_dpo_loss(
        ...     lead, torch.zeros(1), short, long, kl_weight=1.0, length_weight=0.5
        ... ).exp()  # an even chance
        tensor([2.])
    """
    lead = implied_lead(chosen, rejected, kl_weight=kl_weight)
    require_same_shape(chosen=chosen, chosen_length=chosen_length, rejected_length=rejected_length)
    longer = (chosen_length - rejected_length).to(lead.dtype)  # integers times a float would be float32
    return softplus(-(lead + length_weight * longer))


def calibration_loss(
    chosen: Float[Tensor, " B"], rejected: Float[Tensor, " B"], *, margin: float
) -> Float[Tensor, " B"]:
    """The hinge of SLiC: nothing once the preferred answer leads by enough.

    ``max(0, δ − s_w + s_l)``. The paper's ``s`` are log-probabilities, and a second term holds the policy to
    its fine-tuning data; with log-ratios the reference does so, and with β times log-ratios and δ = 1 it is
    the hinge loss in DPO's place.

    Args:
        chosen: ``(B,)``, log-probabilities or log-ratios of the preferred answers, nats per sequence.
        rejected: ``(B,)``, of the others, of the same prompts.
        margin: δ, at least 0, nats.

    Returns:
        ``(B,)``, nats, at least 0, δ where both are equal; not reduced. Gradients flow to both, ``∓1`` inside
        the margin and 0 beyond it.

    Raises:
        ValueError: if the shapes differ, or δ is below 0.

    Papers: Zhao et al. 2022, arXiv 2210.00045; with human preferences Zhao et al. 2023, arXiv 2305.10425.

    Example:
        >>> calibration_loss(torch.tensor([-2.0]), torch.tensor([-2.5]), margin=2.0)
        tensor([1.5000])
    """
    require_same_shape(chosen=chosen, rejected=rejected)
    if not margin >= 0:
        raise ValueError(f"margin must be 0 or above, in nats; received {margin}.")
    return torch.relu(margin - chosen + rejected)


def _require_flip_rate(flip_rate: float) -> None:
    if not 0 <= flip_rate < 0.5:
        raise ValueError(
            f"flip_rate must be at least 0 and below 0.5, as 0.1 is; received {flip_rate}. "
            "Labels that are wrong half the time say nothing, and beyond that they say the opposite."
        )
