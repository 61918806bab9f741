"""An exponential average of a model's weights while it is trained.

    θ̄ ← decay · θ̄ + (1 − decay) · θ   after every step, from θ̄ = θ before the first.

It remembers about the last 1 / (1 − decay) steps. A policy that is pushed to and fro by noisy gradients moves
less in its average, so that the average also lies nearer to the start.

Paper: Ouyang et al. 2022, arXiv 2203.02155, App. C.4, where the decay is 0.992.
"""

import copy
from collections.abc import Mapping

import torch
from transformers import PreTrainedModel

from rlhf_mini.models.build import freeze


class MovingAverage:
    """The average of a model that is in training; called after every step, as a hook of the training loop.

    >>> from rlhf_mini.models import new_llama
    >>> model = new_llama(vocab_size=4, width=8, layers=1, heads=1, context=8, pad_token=0, eos_token=2,
    ...     bos_token=1, seed=0)
    >>> averaged = MovingAverage(model, decay=0.75)
    >>> start = model.lm_head.weight.clone()
    >>> _ = model.lm_head.weight.data.add_(4.0)
    >>> averaged(1, {})
    >>> torch.allclose(averaged.average.lm_head.weight, start + 1)  # a quarter of the way
    True
    """

    def __init__(self, model: PreTrainedModel, *, decay: float) -> None:
        """The average begins as a frozen copy of `model`; `decay` 0 follows the model at every step.

        Raises ValueError for a decay outside [0, 1).
        """
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
        self.model, self.decay = model, decay
        self.average = freeze(copy.deepcopy(model))

    @torch.no_grad()
    def __call__(self, step: int, entry: Mapping[str, float]) -> None:
        """Move the average towards the model as it is now; the step's number and entry are not read."""
        for kept, current in zip(self.average.parameters(), self.model.parameters(), strict=True):
            kept.lerp_(current, 1 - self.decay)


def decay_for(steps: int, *, share: float) -> float:
    """The decay that remembers a share of a training of so many steps: 1 − 1 / (share · steps).

    A share of less than one step remembers the last step alone, a decay of 0. Raises ValueError for no steps
    or a share outside (0, 1].

    >>> decay_for(4000, share=1 / 32)
    0.992
    """
    if steps < 1 or not 0 < share <= 1:
        raise ValueError(f"need at least one step and a share above 0 and at most 1, got {steps} and {share}")
    return 1 - 1 / max(1.0, share * steps)
