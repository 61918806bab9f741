"""One step of GRPO: TRL's `GRPOTrainer` and ours on the same 64 answers, with and without KL in the loss.

Both get the answers, their advantages, and the log-probabilities under the policy that drew them and under
the reference, as after a draw; both compute the loss with the entropies that they log. TRL is asked for its
loss alone (`compute_loss`); backward and AdamW are the same program for both, so that nothing of its
trainer's bookkeeping is counted.
"""

import tempfile
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks import workload
from benchmarks.measure import Record, interleaved, medians, record
from rlhf_mini.batch import Sequences
from rlhf_mini.data.tokenizer import train_tokenizer
from rlhf_mini.estimators import group_scaled_advantages
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.methods.groups import Graded
from rlhf_mini.methods.grpo import GRPOConfig, group_loss
from rlhf_mini.models import copy_of, response_logp

ANSWERS, GROUP, PROMPT, KL_WEIGHT = 64, 8, 16, 0.04


def grpo_step(*, rounds: int = 15) -> list[Record]:
    """Forward, backward and AdamW on 8 groups of 8 answers, 30 to 110 tokens with the prompt's 16."""
    answers = graded_answers()
    rows = []
    for name, kl_weight in (("no KL", 0.0), ("KL in the loss", KL_WEIGHT)):
        theirs, ours = Theirs(answers, kl_weight), Ours(answers, kl_weight)
        first = theirs.step(), ours.step()
        assert abs(first[0] - first[1]) < 1e-4, f"the two losses differ: {first}"
        seconds = medians(interleaved({"TRL": theirs.step, "rlhf_mini": ours.step}, rounds=rounds))
        for method, value in seconds.items():
            times = seconds["TRL"] / value
            rows.append(record(f"GRPO, {ANSWERS} answers, {name}", method, value, times_trl=times))
    return rows


def graded_answers() -> Graded:
    """The mixed batch as 8 groups, each with one prompt; the reference is a little off the policy."""
    tokens, mask = workload.mixed_batch()
    first = torch.arange(ANSWERS) // GROUP * GROUP
    tokens[:, :PROMPT] = tokens[first, :PROMPT]
    response = mask & (torch.arange(tokens.shape[1]) >= PROMPT)
    generator = torch.Generator().manual_seed(3)
    base, reference = workload.model(), workload.model()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
        logp_old, logp_ref = (response_logp(one, tokens, mask, response) for one in (base, reference))
    rewards = torch.randint(2, (ANSWERS // GROUP, GROUP), generator=generator).float()
    advantages = group_scaled_advantages(rewards).flatten()
    return Graded(Sequences(tokens, mask, response), logp_old, logp_ref, advantages)


class Ours:
    """The library's step, which `update` makes."""

    def __init__(self, answers: Graded, kl_weight: float) -> None:
        self.answers, self.method = answers, grpo_method()
        self.model = copy_of(workload.model())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        drawing = Drawing(samples=GROUP, temperature=1.0, max_new_tokens=1)
        config = GRPOConfig(
            iterations=1,
            prompts=ANSWERS // GROUP,
            drawing=drawing,
            minibatch=ANSWERS,
            epochs=1,
            optimizer=OptimizerConfig(learning_rate=1e-4),
        )
        self.config = replace(config, kl_weight=kl_weight)

    def step(self) -> float:
        loss, _ = group_loss(self.model, self.answers, self.method, config=self.config)
        return workload.step(self.optimizer, loss)


class Theirs:
    """TRL's loss on the same tokens."""

    def __init__(self, answers: Graded, kl_weight: float) -> None:
        from datasets import Dataset
        from trl import GRPOConfig as TheirConfig
        from trl import GRPOTrainer

        self.model = copy_of(workload.model())
        self.trainer = GRPOTrainer(
            model=self.model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=TheirConfig(
                output_dir=tempfile.mkdtemp(),
                report_to="none",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                disable_tqdm=True,
                per_device_train_batch_size=ANSWERS,
                num_generations=GROUP,
                loss_type="grpo",
                epsilon=0.2,
                use_bias_correction_kl=False,
            ),
            train_dataset=Dataset.from_list([{"prompt": "a fox"}] * ANSWERS),
            processing_class=train_tokenizer(["a fox ran home"], vocab_size=300),
        )
        self.trainer.beta = kl_weight  # set afterwards: at 0 it loads no reference, and it needs none here
        self.trainer.current_gradient_accumulation_steps = 1
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        tokens, mask = answers.sequences.tokens, answers.sequences.mask.long()
        self.batch: dict[str, Tensor] = {
            "prompt_ids": tokens[:, :PROMPT],
            "prompt_mask": mask[:, :PROMPT],
            "completion_ids": tokens[:, PROMPT:],
            "completion_mask": mask[:, PROMPT:],
            "advantages": answers.advantages,
            "old_per_token_logps": answers.logp_old[:, PROMPT:],
            "ref_per_token_logps": answers.logp_ref[:, PROMPT:],
            "num_items_in_batch": mask[:, PROMPT:].sum(),
        }

    def step(self) -> float:
        loss: Tensor = self.trainer.compute_loss(self.model, dict(self.batch))
        return workload.step(self.optimizer, loss)
