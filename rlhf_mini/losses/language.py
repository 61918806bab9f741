"""The loss of pretraining and of supervised fine-tuning."""

from rlhf_mini.shapes import Float, Tensor


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
