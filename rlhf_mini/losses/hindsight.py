"""The losses of hindsight instruction relabelling: smoothed likelihood, and a contrast of instructions.

An output that misses its instruction fulfils another one. Trained towards that one (the likelihood), it
should also be likelier under it than under instructions that it does not fulfil (the contrast). The third
term of the method, the entropy, is ``estimators.token_entropy`` with a minus.
"""

from torch.nn.functional import softplus

from rlhf_mini.shapes import Float, Int, Tensor
from rlhf_mini.tensors import require_same_shape


def smoothed_token_loss(
    logp: Float[Tensor, "B T"], logp_mean: Float[Tensor, "B T"], *, label_smoothing: float
) -> Float[Tensor, "B T"]:
    """The surprise at each token, if a share of the target lies on the whole vocabulary.

    ``−(1 − ε) log p(x_t) − ε (1/V) Σ_v log p(v)``: the cross-entropy with a target that puts ``1 − ε`` on the
    token that came and spreads ε over all V tokens, that one among them. It is least where the model says
    what the target says, so that no token is ever held to be impossible; and a model that says just that
    draws, at temperature 1, another token than the right one in a share ``ε (V − 1)/V`` of all places.

    Args:
        logp: ``(B, T)``, nats per token, from ``tensors.token_logp``.
        logp_mean: ``(B, T)``, the mean of log p(v) over the vocabulary in the same place.
        label_smoothing: ε, from 0 up to but not 1; 0 is ``next_token_loss``.

    Returns:
        ``(B, T)``, nats per token, not reduced. Gradients flow to both.

    Raises:
        ValueError: if the shapes differ, or ε lies outside [0, 1).

    Papers: Szegedy et al. 2016, arXiv 1512.00567, §7; in hindsight relabelling, Zhang et al. 2023, arXiv
    2302.05206.

    Example:
        >>> import torch
        >>> logp = torch.tensor([[0.25, 0.75]]).log()  # two tokens in the vocabulary; the first came
        >>> smoothed_token_loss(logp[:, :1], logp.mean(1, keepdim=True), label_smoothing=1 / 2)
        tensor([[1.1116]])
        >>> -(3 * logp[0, 0] + logp[0, 1]) / 4  # ¾ of the target on the first, ¼ on the second
        tensor(1.1116)
    """
    require_same_shape(logp=logp, logp_mean=logp_mean)
    _require_share(label_smoothing)
    if label_smoothing == 0:
        return -logp
    return -(1 - label_smoothing) * logp - label_smoothing * logp_mean


def two_way_contrast_loss(
    logp_own: Float[Tensor, " B"], logp_other: Float[Tensor, " B"], *, label_smoothing: float
) -> Float[Tensor, " B"]:
    """How surprising it is that an output was written under its own instruction, and not under another.

    ``−(1 − ε) log σ(u) − ε log σ(−u)`` with ``u = log P(o | q, p) − log P(o | q, p')``: where both
    instructions are equally likely beforehand, σ(u) is the chance that it was p. With ε above 0 the loss is
    least at ``u = log((1 − ε)/ε)``, and pushes no further apart than that.

    Args:
        logp_own: ``(B,)``, log-probability of the output under the instruction that it fulfils; in the
            authors' program the mean over its tokens, so that long outputs are not told apart too easily.
        logp_other: ``(B,)``, the same output under an instruction that it does not fulfil.
        label_smoothing: ε, from 0 up to but not 1; all of it lies on the other instruction.

    Returns:
        ``(B,)``, nats per output, ``log 2`` where both are equally likely; not reduced. Gradients flow to
        both, equal and opposite.

    Raises:
        ValueError: if the shapes differ, or ε lies outside [0, 1).

    Paper: Zhang et al. 2023, arXiv 2302.05206; this form with ε = 0.2 is that of the released program, which
    the paper's equation extends to a whole batch (``instruction_contrast_loss``).

    Example:
        >>> import torch
        >>> two_way_contrast_loss(torch.tensor([-1.0]), torch.tensor([-1.0]), label_smoothing=0.2).exp()
        tensor([2.])
    """
    require_same_shape(logp_own=logp_own, logp_other=logp_other)
    _require_share(label_smoothing)
    lead = logp_own - logp_other
    loss = softplus(-lead)  # −log σ(u), without the overflow of exp
    return loss if label_smoothing == 0 else loss + label_smoothing * lead  # −log σ(−u) = u − log σ(u)


def instruction_contrast_loss(
    logp: Float[Tensor, "B K"], own: Int[Tensor, " B"], *, label_smoothing: float
) -> Float[Tensor, " B"]:
    """How surprising each output's own instruction is among several.

    ``−(1 − ε) log s_own − ε/(K − 1) Σ_{k ≠ own} log s_k`` with ``s = softmax_k log P(o_i | q_i, p_k)``. With
    the instructions of the whole batch, own being the diagonal of ``(B, B)``, and ε = 0 it is the paper's
    loss. An instruction that occurs twice among the K counts as wrong in one of its places: give each once.

    Args:
        logp: ``(B, K)``, log-probability of output i under instruction k, to its own query; sums over its
            tokens in the paper, means in the authors' program. K at least 2.
        own: ``(B,)``, which of the K the output fulfils, in ``0 … K − 1``.
        label_smoothing: ε, from 0 up to but not 1, spread over the other instructions.

    Returns:
        ``(B,)``, nats per output, ``log K`` where all are equally likely; not reduced. Gradients flow to all
        of a row, and sum to 0 there. For K = 2 it is ``two_way_contrast_loss``.

    Raises:
        ValueError: if there are fewer than two instructions, ``own`` is not one a row or names an instruction
            that is not there, or ε lies outside [0, 1).

    Paper: Zhang et al. 2023, arXiv 2302.05206, §4.

    Example:
        >>> import torch
        >>> instruction_contrast_loss(torch.zeros(1, 4), torch.tensor([2]), label_smoothing=0.0).exp()
        tensor([4.])
    """
    if logp.ndim != 2 or logp.shape[1] < 2:
        raise ValueError(
            f"logp must be (B, K) with K at least 2, an output under K instructions in one row; "
            f"received {tuple(logp.shape)}."
        )
    if own.shape != logp.shape[:1]:
        raise ValueError(
            f"own must be {tuple(logp.shape[:1])}, one instruction for each row of logp "
            f"{tuple(logp.shape)}; received {tuple(own.shape)}."
        )
    if len(own) and (int(own.min()) < 0 or int(own.max()) >= logp.shape[1]):
        raise ValueError(
            f"own lies in {int(own.min())} … {int(own.max())}, and the {logp.shape[1]} instructions are "
            f"numbered 0 … {logp.shape[1] - 1}."
        )
    _require_share(label_smoothing)
    log_share = logp - logp.logsumexp(1, keepdim=True)
    of_own = log_share.gather(1, own[:, None]).squeeze(1)
    if label_smoothing == 0:
        return -of_own
    of_others = (log_share.sum(1) - of_own) / (logp.shape[1] - 1)
    return -(1 - label_smoothing) * of_own - label_smoothing * of_others


def _require_share(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), as 0.2 does; received {label_smoothing}.")
