"""One step of DPO: TRL's `DPOTrainer` and ours on the same 32 pairs, the reference's numbers kept and live.

TRL is asked for its loss alone (`compute_loss`); backward and AdamW are the same program for both, so that
nothing of its trainer's bookkeeping is counted. By default it runs the reference at every step, as `reference
live` does here; `precompute_ref_log_probs` keeps what the reference says, as the library always does.
"""

import tempfile
from typing import Any

import torch
from torch import Tensor

from benchmarks import workload
from benchmarks.measure import Record, interleaved, medians, record
from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import KeptReference, compare, kept_reference
from rlhf_mini.models import copy_of, freeze

PAIRS, PROMPT, KL_WEIGHT = 32, 16, 0.1


def dpo_step(*, rounds: int = 15) -> list[Record]:
    """Forward, backward and AdamW on 32 pairs of 30 to 110 tokens, 16 of them the prompt's."""
    pairs = _pairs()
    theirs, ours = Theirs(pairs), Ours(pairs)
    first = theirs.live(), ours.live()
    assert abs(first[0] - first[1]) < 1e-4, f"the two losses differ: {first}"
    contestants = {
        "TRL, reference live": theirs.live,
        "TRL, reference kept": theirs.kept,
        "rlhf_mini, reference live": ours.live,
        "rlhf_mini, reference kept": ours.kept,
    }
    seconds = medians(interleaved(contestants, rounds=rounds))
    return [
        record(
            f"DPO, {PAIRS} pairs",
            name,
            seconds[name],
            times_trl=seconds[f"TRL, reference {name.rsplit(' ', 1)[1]}"] / seconds[name],
        )
        for name in contestants
    ]


def _pairs() -> Pairs:
    """The mixed batch's first half as chosen, its second half as rejected, with prompts of 16 tokens."""
    tokens, mask = workload.mixed_batch()
    tokens[PAIRS:, :PROMPT] = tokens[:PAIRS, :PROMPT]
    response = mask & (torch.arange(tokens.shape[1]) >= PROMPT)
    sides = [
        Sequences(*(part[rows] for part in (tokens, mask, response)))
        for rows in torch.arange(2 * PAIRS).split(PAIRS)
    ]
    return Pairs(*sides)


class Ours:
    """The library's step, which `train_on_pairs` makes."""

    def __init__(self, pairs: Pairs) -> None:
        base = workload.model()
        self.pairs, self.reference, self.model = pairs, freeze(copy_of(base)), copy_of(base)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.said = kept_reference(self.reference, pairs)

    def kept(self) -> float:
        return self._step(self.said)

    def live(self) -> float:
        return self._step(kept_reference(self.reference, self.pairs))

    def _step(self, said: KeptReference) -> float:
        pair = compare(self.model, torch.arange(PAIRS), self.pairs, said)
        return workload.step(self.optimizer, dpo_loss(*pair.log_ratios, kl_weight=KL_WEIGHT).mean())


class Theirs:
    """TRL's loss on the same tokens."""

    def __init__(self, pairs: Pairs) -> None:
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        base = workload.model()
        self.model, reference = copy_of(base), freeze(copy_of(base))
        row = {"prompt": "a fox", "chosen": " ran home", "rejected": " ran"}
        self.trainer = DPOTrainer(
            self.model,
            ref_model=reference,
            args=DPOConfig(
                output_dir=tempfile.mkdtemp(),
                report_to="none",
                use_cpu=True,
                bf16=False,
                beta=KL_WEIGHT,
                gradient_checkpointing=False,
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([row] * 4),
            processing_class=train_tokenizer([" ".join(row.values())], vocab_size=300),
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        both = (pairs.chosen, pairs.rejected)
        self.batch = {
            "input_ids": torch.cat([side.tokens for side in both]),
            "attention_mask": torch.cat([side.mask for side in both]).long(),
            "completion_mask": torch.cat([side.response for side in both]).long(),
        }
        said = kept_reference(reference, pairs)
        self.said = {"ref_chosen_logps": said.chosen, "ref_rejected_logps": said.rejected}

    def live(self) -> float:
        self.trainer.precompute_ref_logps = False
        return self._step(self.batch)

    def kept(self) -> float:
        self.trainer.precompute_ref_logps = True
        return self._step(self.batch | self.said)

    def _step(self, batch: dict[str, Any]) -> float:
        loss: Tensor = self.trainer.compute_loss(self.model, dict(batch))
        return workload.step(self.optimizer, loss)
