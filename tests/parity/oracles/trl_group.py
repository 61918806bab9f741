"""TRL 1.16's GRPO trainer with its loss types, its RLOO trainer, and the advantages that both compute."""

import sys
import tempfile
from collections import defaultdict
from types import SimpleNamespace

import torch

LOSS_TYPES = {  # TRL's name, level of the ratio
    "grpo": ("grpo", "token"),
    "bnpo": ("bnpo", "token"),
    "dapo": ("dapo", "token"),
    "dr_grpo": ("dr_grpo", "token"),
    "cispo": ("cispo", "token"),
    "gspo": ("grpo", "sequence"),
}


def stub(logp: torch.Tensor, **settings) -> SimpleNamespace:
    """A trainer that holds nothing but what its loss reads; its model says `logp`."""
    one_process = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction: x,
    )
    return SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=one_process,
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
        **settings,
    )


def losses(q: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each loss type without KL and with both kinds of KL, and RLOO's, with gradients."""
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_trainer import RLOOTrainer

    mask, logp, found = q["mask"].long(), q["logp"].requires_grad_(), {}
    prompt = torch.zeros(len(mask), 1, dtype=torch.int64)
    batch = {
        "prompt_ids": prompt,
        "prompt_mask": torch.ones_like(prompt),
        "completion_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "advantages": q["advantages"],
        "old_per_token_logps": q["logp_old"],
        "ref_per_token_logps": q["logp_ref"],
        "num_items_in_batch": mask.sum(),
    }

    def keep(name: str, loss: torch.Tensor) -> None:
        (gradient,) = torch.autograd.grad(loss, logp)
        found[name], found[f"{name}_gradient"] = loss.detach(), gradient

    for name, (kind, level) in LOSS_TYPES.items():
        for suffix, beta, corrected in (("", 0.0, False), ("_kl", 1.0, False), ("_reweighted", 1.0, True)):
            self = stub(
                logp,
                loss_type=kind,
                importance_sampling_level=level,
                beta=beta * float(q["kl_weight"]),
                epsilon_low=float(q["clip_low"]),
                epsilon_high=float(q["clip_high"]) + (kind == "cispo"),  # there the bound itself
                max_completion_length=int(q["longest"]),
                args=SimpleNamespace(use_bias_correction_kl=corrected, delta=None),
            )
            keep(name + suffix, GRPOTrainer._compute_loss(self, None, batch))
    self = stub(logp, epsilon_low=float(q["clip_low"]), epsilon_high=float(q["clip_high"]))
    old = {**batch, "old_logps": (q["logp_old"] * mask).sum(1)}
    keep("rloo", RLOOTrainer._compute_loss(self, None, old))
    return found


def advantages(rewards: torch.Tensor) -> dict[str, torch.Tensor]:
    """What real trainers make of these rewards, (prompts, G), in the first step of a training."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

    words = Tokenizer(models.WordLevel({"<end>": 0, "<pad>": 1, "a": 2, "b": 3}, unk_token="a"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<pad>")
    prompts, group = rewards.shape
    rows = Dataset.from_list([{"prompt": "a"}] * prompts)
    found = {}
    for name, trainer, config, settings in (
        ("group", GRPOTrainer, GRPOConfig, {"scale_rewards": "group"}),
        ("none", GRPOTrainer, GRPOConfig, {"scale_rewards": "none"}),
        ("rloo", RLOOTrainer, RLOOConfig, {}),
    ):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=4,
                hidden_size=8,
                intermediate_size=8,
                num_hidden_layers=1,
                num_attention_heads=1,
                eos_token_id=0,
                pad_token_id=1,
            )
        )
        args = config(
            output_dir=tempfile.mkdtemp(),
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            per_device_train_batch_size=prompts * group,
            num_generations=group,
            max_completion_length=2,
            max_steps=1,
            beta=0.0,
            **settings,
        )
        run = trainer(
            model=model,
            reward_funcs=lambda completions, **_: rewards.flatten().tolist(),
            args=args,
            train_dataset=rows,
            processing_class=tokenizer,
        )
        run.train()
        found[f"advantages_{name}"] = torch.tensor(list(run._logs["advantages"])).view(prompts, group)
    return found


def main(questions: str, answers: str) -> None:
    """Answer with both."""
    q = torch.load(questions, weights_only=True)
    torch.save({**losses(q), **advantages(q["rewards"])}, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
