"""One stage of training several times over from one start, and the mean of what comes out.

Paper: Grattafiori et al. 2024 (Llama 3), arXiv 2407.21783, §4.1.5: models from several versions of the data
or of the hyperparameters are averaged at each stage, of the reward model, of SFT and of DPO. The members
are siblings, of one start and one stage; models of different rounds are not averaged.
"""

from collections.abc import Callable

from transformers import PreTrainedModel

from rlhf_mini.models import copy_of
from rlhf_mini.models.averaging import uniform_average


def mean_of_siblings(
    start: PreTrainedModel, train: Callable[[PreTrainedModel, int], object], *, members: int
) -> PreTrainedModel:
    """The mean of `members` copies of `start`, each trained by `train(copy, place)`, the first place being 0.

    Frozen, in eval mode; a reward model's normalisation is reset, as by `uniform_average`. One member is
    that member. Raises ValueError on fewer than one.
    """
    if members < 1:
        raise ValueError(f"members must be at least 1, got {members}")
    siblings = [copy_of(start) for _ in range(members)]
    for place, sibling in enumerate(siblings):
        train(sibling, place)
    return uniform_average(siblings)
