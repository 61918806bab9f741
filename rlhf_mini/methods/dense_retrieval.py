"""Dense passage retrieval: one encoder for questions, one for passages, trained to meet (DPR).

Simplifications compared with Karpukhin et al. (2020): the negatives are the other passages of the batch only,
without one that lexical search has found; the vector is the mean over the tokens, where theirs is the first
token's.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.loop import Hook, OptimizerConfig, fit
from rlhf_mini.losses import in_batch_contrastive_loss
from rlhf_mini.models.embedding import text_vectors

Questions = tuple[Sequences, Sequences]  # row by row, a question and the passage that answers it


def dense_retrieval(
    question_encoder: PreTrainedModel,
    passage_encoder: PreTrainedModel,
    batches: Iterator[Questions],
    *,
    steps: int,
    optimizer: OptimizerConfig,
    hooks: Sequence[Hook] = (),
) -> list[dict[str, float]]:
    """Train both encoders in place; returns the history of `fit`.

    Minimises the mean of −log ( e^{q_i · p_i} / Σ_j e^{q_i · p_j} ) over the questions of a batch; nats a
    question. Equation 2 of the paper, with in-batch negatives.
    """

    def loss_fn(batch: Questions) -> tuple[Tensor, dict[str, Tensor]]:
        questions, passages = batch
        q = text_vectors(question_encoder, questions.tokens, questions.mask)
        p = text_vectors(passage_encoder, passages.tokens, passages.mask)
        return in_batch_contrastive_loss(q @ p.T).mean(), {}

    both = nn.ModuleDict({"question": question_encoder, "passage": passage_encoder}).train()
    return fit(both, batches, loss_fn, optimizer=optimizer, steps=steps, hooks=hooks, description="retrieval")
