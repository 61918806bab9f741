"""The losses of reward models that learn from K answers to one prompt at a time, and not from two."""

import torch
from torch.nn.functional import softplus

from rlhf_mini.shapes import Float, Int, Tensor


def all_pairs_loss(scores: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """The Bradley–Terry loss of a whole ranking: the mean over all its pairs.

    ``1/C(K, 2) Σ_{i<j} −log σ(r_i − r_j)``, the answers of a row ordered from best to worst. The pairs of one
    ranking are not independent, and their mean is one example, not C(K, 2) of them.

    Args:
        scores: ``(B, K)``, the scores of K answers to each prompt, the best first; K at least 2.

    Returns:
        ``(B,)``, nats per pair, ``log 2`` where all scores are equal; not reduced. Gradients flow to all
        scores, and sum to 0 in each row. For K = 2 it is ``pairwise_loss``.

    Raises:
        ValueError: if there are fewer than two answers.

    Paper: Ouyang et al. 2022, arXiv 2203.02155, eq. 1.

    Example:
        >>> all_pairs_loss(torch.zeros(1, 4)).exp()  # six pairs, each an even chance
        tensor([2.])
    """
    _require_ranking(scores)
    better, worse = torch.triu_indices(scores.shape[1], scores.shape[1], offset=1, device=scores.device)
    return softplus(scores[:, worse] - scores[:, better]).mean(1)


def plackett_luce_loss(scores: Float[Tensor, "B K"]) -> Float[Tensor, " B"]:
    """The negative log-likelihood of a ranking as K − 1 choices, each of the best of those that remain.

    ``−Σ_{k<K} log( exp r_k / Σ_{j≥k} exp r_j )``, the answers of a row ordered from best to worst. Unlike the
    pairs of ``all_pairs_loss``, which each count as if they had been judged alone, it is the likelihood of
    the ranking as one event: its exponentials over all K! orders sum to 1.

    Args:
        scores: ``(B, K)``, the scores of K answers to each prompt, the best first; K at least 2.

    Returns:
        ``(B,)``, nats per ranking, ``log K!`` where all scores are equal; not reduced. Gradients flow to all
        scores, and sum to 0 in each row. For K = 2 it is ``pairwise_loss``.

    Raises:
        ValueError: if there are fewer than two answers.

    Papers: Plackett 1975, *The analysis of permutations*, Applied Statistics 24; as the loss of a reward
    model, Zhu et al. 2024 (Starling-7B).

    Example:
        >>> plackett_luce_loss(torch.zeros(1, 3)).exp()  # one of six orders
        tensor([6.])
    """
    _require_ranking(scores)
    remaining = scores.flip(1).logcumsumexp(1).flip(1)  # log Σ_{j≥k} exp r_j
    return (remaining - scores)[:, :-1].sum(1)  # the last answer is chosen from itself alone: 0


def best_of_k_loss(scores: Float[Tensor, "B K"], best: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The negative log-likelihood of one choice among K answers, the rest left unordered.

    ``−log( exp r_b / Σ_i exp r_i )``: a softmax over the answers of a prompt.

    Args:
        scores: ``(B, K)``, the scores of K answers to each prompt, in any order; K at least 2.
        best: ``(B,)``, which of them was picked, in ``0 … K − 1``.

    Returns:
        ``(B,)``, nats per choice, ``log K`` where all scores are equal; not reduced. Gradients flow to all
        scores, and sum to 0 in each row. For K = 2 it is ``pairwise_loss``.

    Raises:
        ValueError: if there are fewer than two answers, ``best`` is not one a row, or it names an answer that
            is not there.

    Paper: Ziegler et al. 2019, arXiv 1909.08593, eq. 1 (K = 4).

    Example:
        >>> best_of_k_loss(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([4.])
    """
    _require_ranking(scores)
    if best.shape != scores.shape[:1]:
        raise ValueError(
            f"best must be {tuple(scores.shape[:1])}, one choice for each row of scores "
            f"{tuple(scores.shape)}; received {tuple(best.shape)}."
        )
    if len(best) and (int(best.min()) < 0 or int(best.max()) >= scores.shape[1]):
        raise ValueError(
            f"best lies in {int(best.min())} … {int(best.max())}, and the {scores.shape[1]} answers are "
            f"numbered 0 … {scores.shape[1] - 1}."
        )
    return scores.logsumexp(1) - scores.gather(1, best[:, None]).squeeze(1)


def _require_ranking(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"scores must be (B, K) with K at least 2, all answers to a prompt in one row; "
            f"received {tuple(scores.shape)}."
        )
