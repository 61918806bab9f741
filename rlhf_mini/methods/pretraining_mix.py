"""PPO-ptx: every step of PPO also predicts some documents of the pretraining text.

    J = E_π[r − β log(π/π_ref)] + γ E_{x ~ pretraining}[log π(x)]

What pulls the policy to the reward pulls it away from what it once learned, on texts that the reward never
sees. The second term practises those texts. `rlhf_mini.methods.rehearsal` does the same to fine-tuning.

Paper: Ouyang et al. 2022, arXiv 2203.02155, equation 2; their γ is 27.8.

Simplifications: γ weighs the mean over the documents' tokens, as the policy loss is a mean over the answers'
tokens; the paper does not say over what its expectation is averaged, so that its number does not carry over.
Both gradients are taken in one step and clipped together.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Sequences
from rlhf_mini.methods.ppo import Auxiliary
from rlhf_mini.methods.pretrain import document_batches
from rlhf_mini.methods.rehearsal import RehearsalConfig, mean_token_loss
from rlhf_mini.methods.sft import check_fits


def pretraining_mix(
    policy: PreTrainedModel,
    documents: Sequences,
    *,
    config: RehearsalConfig,
    generator: torch.Generator,
) -> Auxiliary:
    """The loss to add to each minibatch of PPO: γ times the mean −log π of the next documents' tokens.

    - `documents`: packed, as `pack_documents` makes them; every one comes once before any comes twice, but
      for those that a last batch would lack company for.
    - `config`: how many documents a step, and γ as `document_weight`.
    - `generator`: the order of the documents, on the CPU. Give it one of its own, or the rollouts change.

    For `ppo(…, auxiliary=…)`, which logs it, weighted, as `auxiliary_loss`. Raises ValueError, before
    anything is trained, for a document longer than the policy's context or fewer documents than a step takes.

    >>> from rlhf_mini.batch import pack_rows
    >>> from rlhf_mini.models import new_llama
    >>> policy = new_llama(vocab_size=4, width=8, layers=1, heads=1, context=8, pad_token=0, eos_token=2,
    ...     bos_token=1, seed=0)
    >>> documents = pack_rows([[1]], [[3, 3, 2]], pad_token=0)
    >>> mix = pretraining_mix(policy, documents, generator=torch.Generator(),
    ...     config=RehearsalConfig(documents_per_step=1, document_weight=10.0))
    >>> mix(None).shape  # the minibatch does not matter
    torch.Size([])
    """
    check_fits(documents, policy)
    if len(documents) < config.documents_per_step:
        raise ValueError(
            f"{len(documents)} documents are fewer than the {config.documents_per_step} of one step"
        )
    batches = document_batches(documents, batch=config.documents_per_step, generator=generator)

    def loss(minibatch: object) -> Tensor:  # of whatever PPO trains on beside it
        return config.document_weight * mean_token_loss(policy, next(batches).to(policy.device))

    return loss
