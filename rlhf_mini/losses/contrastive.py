"""The loss that trains embeddings by contrast: SimCSE's, DPR's and many others'."""

import torch

from rlhf_mini.shapes import Float, Tensor


def in_batch_contrastive_loss(similarity: Float[Tensor, "B B"]) -> Float[Tensor, " B"]:
    """How surprising each row's own partner is among all the partners of the batch.

    ``−log ( exp s_ii / Σ_j exp s_ij )``: the cross-entropy of picking column i in row i. With
    ``s_ij = cos(h_i, h_j⁺) / τ`` it is SimCSE's loss (Gao et al. 2021, equation 1), with ``s_ij = q_i · p_j``
    DPR's with in-batch negatives (Karpukhin et al. 2020, equation 2).

    Args:
        similarity: ``(B, B)``, row i's similarity with each of the batch's partners; its own stands at
            column i.

    Returns:
        ``(B,)``, nats per row, not reduced; ``log B`` where all similarities are equal. Gradients flow to
        ``similarity``, for the own partner upwards and for all others downwards.

    Raises:
        ValueError: if the matrix is not square, or has a single row and so nothing to tell apart.

    Example:
        >>> in_batch_contrastive_loss(torch.zeros(2, 2))
        tensor([0.6931, 0.6931])
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or len(similarity) < 2:
        raise ValueError(
            f"similarity must be (B, B) with B at least 2, a row's own partner on the diagonal; "
            f"received {tuple(similarity.shape)}."
        )
    return similarity.logsumexp(1) - torch.diagonal(similarity)
