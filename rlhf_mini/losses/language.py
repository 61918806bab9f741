"""The losses of language modelling: from the left, through holes; supervised fine-tuning uses the first."""

from rlhf_mini.shapes import Float, Int, Tensor


def next_token_loss(logp: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The surprise at each token: the loss of a causal language model.

    ``−log p(x_t | x_{<t})``. What is averaged over which tokens makes it pretraining (all of them) or
    supervised fine-tuning (the response only); ``exp`` of the mean is the perplexity.

    Args:
        logp: ``(B, T)``, nats per token, from ``tensors.token_logp``.

    Returns:
        ``(B, T)``, nats per token, not reduced. Gradients flow to ``logp``.

    Example:
        >>> import torch
        >>> next_token_loss(torch.tensor([[0.0, -2.0]]))
        tensor([[-0., 2.]])
    """
    return -logp


def masked_token_loss(logits: Float[Tensor, "B T V"], tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """The surprise at each position's own token: the loss of a masked language model.

    ``−log p(x_i | x̃) = log Σ_v exp logits[:, i, v] − logits[:, i, x_i]``, where ``x̃`` is the text with holes
    that the model was given. Nothing is shifted: position i speaks about token i. A mean over the positions
    that were chosen as targets is the loss of Devlin et al. (2019), §3.1; at all others the token itself was
    given, and copying it is no achievement.

    Args:
        logits: ``(B, T, V)``, what the model puts at each position when it reads ``x̃``.
        tokens: ``(B, T)``, the original text, each token in ``0 … V − 1``.

    Returns:
        ``(B, T)``, nats per token, not reduced. Gradients flow to ``logits``.

    Raises:
        ValueError: on shapes that disagree.

    Example:
        >>> import torch
        >>> masked_token_loss(torch.zeros(1, 2, 4), torch.tensor([[0, 3]]))
        tensor([[1.3863, 1.3863]])
    """
    if logits.shape[:2] != tokens.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} must be tokens' shape {tuple(tokens.shape)} and a vocabulary."
        )
    return logits.logsumexp(-1) - logits.gather(-1, tokens[..., None]).squeeze(-1)
