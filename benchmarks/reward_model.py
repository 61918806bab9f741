"""One training step of a reward model: on pairs, beside `transformers`' own forward; and on rankings.

A ranking of K answers holds K(K − 1)/2 pairs. Judged one by one, each answer goes through the model K − 1
times; in `train_on_rankings` it goes through once.
"""

import torch
from torch import Tensor

from benchmarks import workload
from benchmarks.measure import Record, interleaved, medians, record
from rlhf_mini.losses import all_pairs_loss, pairwise_loss
from rlhf_mini.models import new_reward_model, sequence_scores

PAIRS, PROMPTS, ANSWERS = 32, 8, 6


def reward_model_step(*, rounds: int = 21) -> list[Record]:
    """Forward, backward and AdamW on 32 pairs, and on 8 prompts with 6 answers each."""
    base = workload.model()
    batch = workload.mixed_batch()
    theirs, ours = Trainer(base, batch), Trainer(base, batch)
    first = theirs.pairs(theirs.transformers), ours.pairs(ours.lean)
    assert abs(first[0] - first[1]) < 1e-4, f"the two losses differ: {first}"
    ranked = tuple(part[: PROMPTS * ANSWERS] for part in batch)
    apart, together = Trainer(base, ranked), Trainer(base, ranked)
    first = apart.pairs_of_rankings(), together.rankings()
    assert abs(first[0] - first[1]) < 1e-4, f"the two losses differ: {first}"
    rows = []
    for experiment, reference, contestants in (
        (
            f"reward model, {PAIRS} pairs",
            "transformers",
            {
                "transformers": lambda: theirs.pairs(theirs.transformers),
                "rlhf_mini": lambda: ours.pairs(ours.lean),
            },
        ),
        (
            f"reward model, {PROMPTS} rankings of {ANSWERS}",
            "pair by pair",
            {"pair by pair": apart.pairs_of_rankings, "once an answer": together.rankings},
        ),
    ):
        seconds = medians(interleaved(contestants, rounds=rounds))
        for method in contestants:
            metrics = {f"times_{reference.replace(' ', '_')}": seconds[reference] / seconds[method]}
            rows.append(record(experiment, method, seconds[method], **metrics))
    return rows


class Trainer:
    """A reward model and its optimizer, on one batch again and again."""

    def __init__(self, base: torch.nn.Module, batch: tuple[Tensor, ...]):
        self.model = new_reward_model(base, seed=0)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.tokens, self.mask = batch

    def transformers(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.model(input_ids=tokens, attention_mask=mask.long(), use_cache=False).logits.squeeze(-1)

    def lean(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return sequence_scores(self.model, tokens, mask)

    def pairs(self, forward) -> float:  # type: ignore[no-untyped-def]
        scores = forward(self.tokens, self.mask)
        return workload.step(self.optimizer, pairwise_loss(scores[:PAIRS], scores[PAIRS:]).mean())

    def rankings(self) -> float:
        scores = self.lean(self.tokens, self.mask).view(PROMPTS, ANSWERS)
        return workload.step(self.optimizer, all_pairs_loss(scores).mean())

    def pairs_of_rankings(self) -> float:
        better, worse = torch.triu_indices(ANSWERS, ANSWERS, offset=1)
        rows = torch.arange(PROMPTS * ANSWERS).view(PROMPTS, ANSWERS)
        chosen, rejected = (
            self.lean(self.tokens[side], self.mask[side])
            for side in (rows[:, better].flatten(), rows[:, worse].flatten())
        )
        return workload.step(self.optimizer, pairwise_loss(chosen, rejected).mean())
