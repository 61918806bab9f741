"""Masked sums and the one shift: what every loss and estimator stands on.

A batch is padded on the right. Everything per token is aligned with the token: ``logp[:, t]`` is the
log-probability of token ``t`` given the tokens before it. A model puts that number one column earlier, at the
position that predicts token ``t``; ``align_to_tokens`` is the only place that moves it.

A true mask entry means "this position counts". What stands where the mask is false may be anything, NaN and
infinity included: it changes neither a result nor a gradient.
"""

import torch

from rlhf_mini.shapes import Bool, Float, Int, Tensor


def require_same_shape(**tensors: Tensor) -> None:
    """Stop unless all the named tensors have one shape.

    ``(B,)`` times ``(B, 1)`` is ``(B, B)`` without a warning, so every loss begins with this line.

    Raises:
        ValueError: if two shapes differ; the message lists every name with its shape.

    Example:
        >>> require_same_shape(logp=torch.zeros(2, 3), advantages=torch.zeros(2, 3))
    """
    if len({tuple(tensor.shape) for tensor in tensors.values()}) > 1:
        found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(
            f"These must share one shape: {found}. Reshape them before the call; nothing is broadcast."
        )


def require_mask(mask: Tensor) -> None:
    """Stop unless the mask is boolean, for with 0s and 1s ``~mask`` would be nonsense without an error.

    Raises:
        ValueError: if the mask has another dtype.

    Example:
        >>> require_mask(torch.tensor([True, False]))
    """
    if mask.dtype != torch.bool:
        raise ValueError(
            f"A mask holds True where a position counts; received {mask.dtype}. Use mask.bool()."
        )


def require_finite(mask: Tensor, **tensors: Tensor) -> None:
    """Stop if a number that counts is NaN or infinite.

    Raises:
        ValueError: naming the tensor and the first place of such a number; or if the mask is not boolean.

    Example:
        >>> require_finite(torch.tensor([True, False]), rewards=torch.tensor([1.0, float("nan")]))
    """
    require_mask(mask)
    for name, tensor in tensors.items():
        bad = mask & ~torch.isfinite(tensor)
        if bad.any():
            place = tuple(bad.nonzero()[0].tolist())
            raise ValueError(
                f"{name}{list(place)} is {tensor[place].item()}, and it counts (its mask is True). "
                f"Every counted entry of {name} must be finite: look at what computed it."
            )


def align_to_tokens(per_position: Float[Tensor, "B T *rest"]) -> Float[Tensor, "B T *rest"]:
    """Move what stands at each position to the token that the position predicts: the one shift.

    ``out[:, t] = per_position[:, t − 1]`` and ``out[:, 0] = 0``, because nothing predicts the first token.

    Args:
        per_position: what a model computes at each position, ``(B, T, …)``.

    Returns:
        The same shape, aligned with the tokens. The last position, which predicts a token not in the batch,
        is left out, and no gradient reaches it.

    Example:
        >>> align_to_tokens(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 1., 2.]])
    """
    return torch.cat([torch.zeros_like(per_position[:, :1]), per_position[:, :-1]], dim=1)


def token_logp(
    logits: Float[Tensor, "B T V"], tokens: Int[Tensor, "B T"], *, temperature: float = 1.0
) -> Float[Tensor, "B T"]:
    """The log-probability of each token given the tokens before it.

    ``logp[:, t] = z[tokens[:, t]] − log Σ_v exp z[v]`` with ``z = logits[:, t − 1] / temperature``.

    Args:
        logits: what the model puts at each position, ``(B, T, V)``; position ``t`` predicts token ``t + 1``.
        tokens: the tokens, ``(B, T)``, each in ``0 … V − 1``; padding too must be a real token.
        temperature: what the logits are divided by, above 0.

    Returns:
        ``(B, T)``, nats per token, at most 0, aligned with the tokens; column 0 is 0. Half-precision logits
        are summed in float32. Nothing is masked. Gradients flow to the logits.

    Raises:
        ValueError: on a temperature that is not above 0, on shapes that disagree, on tokens outside the
            vocabulary.

    Example:
        >>> token_logp(torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2]])).exp()
        tensor([[1.0000, 0.2500, 0.2500]])
    """
    if not temperature > 0:
        raise ValueError(
            f"temperature must be above 0; received {temperature}. Greedy choice has no log-probability."
        )
    if logits.shape[:2] != tokens.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} must be tokens' shape {tuple(tokens.shape)} and a vocabulary."
        )
    vocabulary = logits.shape[-1]
    if tokens.numel() and (int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary):
        raise ValueError(
            f"tokens lie in {int(tokens.min())} … {int(tokens.max())}, the logits know 0 … {vocabulary - 1}: "
            "the tokenizer does not belong to this model, or padding was written as -100."
        )
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    next_token = tokens.roll(-1, dims=1)  # wrong in the last column, which aligning drops
    # Subtracting the log-sum spares the (B, T, V) copy that log_softmax would make.
    return align_to_tokens(logits.gather(-1, next_token[..., None]).squeeze(-1) - logits.logsumexp(-1))


def zero_off_mask(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values where the mask is true, and 0 elsewhere; no gradient reaches the rest.

    A product with the mask would not do, since 0 times NaN is NaN. Call this before a function that is steep
    (``exp``), not after: behind it, NaN comes back in the gradient.

    Raises:
        ValueError: if the shapes differ or the mask is not boolean.

    Example:
        >>> zero_off_mask(torch.tensor([3.0, float("nan")]), torch.tensor([True, False]))
        tensor([3., 0.])
    """
    require_same_shape(values=values, mask=mask)
    require_mask(mask)
    return torch.where(mask, values, 0.0)


def masked_sum(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, dim: int | None = None
) -> Float[Tensor, "..."]:
    """The sum of the values that count.

    ``Σ_i m_i x_i``, over everything or along one axis.

    Args:
        values: any shape.
        mask: the same shape, true where a value counts. Nothing counted sums to 0.
        dim: the axis to sum along; all of them if None.

    Returns:
        A scalar, or the shape without ``dim``.

    Raises:
        ValueError: if the shapes differ or the mask is not boolean.

    Example:
        >>> masked_sum(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True]))
        tensor(5.)
    """
    return zero_off_mask(values, mask).sum(dim)


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, dim: int | None = None
) -> Float[Tensor, "..."]:
    """The mean of the values that count.

    ``Σ_i m_i x_i / Σ_i m_i``, over everything (each token weighs the same) or along one axis (then, averaged
    again, each sequence weighs the same).

    Args:
        values: any shape.
        mask: the same shape, true where a value counts.
        dim: the axis to average along; all of them if None.

    Returns:
        A scalar, or the shape without ``dim``.

    Raises:
        ValueError: if nothing counts, in all or in one of the rows; if the shapes differ or the mask is not
            boolean.

    Example:
        >>> masked_mean(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True]))
        tensor(2.5000)
    """
    total = masked_sum(values, mask, dim=dim)
    count = mask.sum(dim)
    if (count == 0).any():
        rows = "" if dim is None else f" at {(count == 0).nonzero().tolist()} (counted along axis {dim})"
        raise ValueError(
            f"The mask {tuple(mask.shape)} has no True entry{rows}, so there is nothing to average. "
            "Drop such rows before the call."
        )
    return total / count


def masked_var(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"], *, unbiased: bool
) -> Float[Tensor, ""]:
    """The variance of the values that count, over all axes.

    ``Σ_i m_i (x_i − x̄)² / n``, with ``n − 1`` below the line if ``unbiased``, where ``n = Σ_i m_i``.

    Args:
        values: any shape.
        mask: the same shape, true where a value counts.
        unbiased: divide by ``n − 1`` instead of ``n``.

    Returns:
        A scalar; 0 for one value, if not ``unbiased``.

    Raises:
        ValueError: if nothing counts, or only one value and ``unbiased``; if the shapes differ.

    Example:
        >>> masked_var(torch.tensor([1.0, 9.0, 3.0]), torch.tensor([True, False, True]), unbiased=False)
        tensor(1.)
    """
    count = mask.sum()
    if unbiased and int(count) < 2:
        raise ValueError(f"An unbiased variance needs two counted values; the mask has {int(count)}.")
    deviation = zero_off_mask(values, mask) - masked_mean(values, mask)
    return masked_sum(deviation.square(), mask) / (count - 1 if unbiased else count)


def last_true_index(mask: Bool[Tensor, "B T"]) -> Int[Tensor, " B"]:
    """Where each row's last counted position is.

    ``max {t : m_t}``.

    Args:
        mask: ``(B, T)``; holes are allowed.

    Returns:
        ``(B,)``, each in ``0 … T − 1``.

    Raises:
        ValueError: if a row has no true entry; the message names the rows.

    Example:
        >>> last_true_index(torch.tensor([[True, True, False], [False, True, True]]))
        tensor([1, 2])
    """
    require_mask(mask)
    empty = ~mask.any(dim=1)
    if empty.any():
        raise ValueError(
            f"Rows {empty.nonzero().flatten().tolist()} of the mask {tuple(mask.shape)} have no True entry."
        )
    position = torch.arange(mask.shape[1], device=mask.device)
    return (mask * position).amax(dim=1)
