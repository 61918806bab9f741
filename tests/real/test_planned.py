"""A plan without weights names the bytes that a real step then holds; nothing is written for it."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rlhf_mini.data.pretrained import load_causal_lm
from rlhf_mini.models.adapters import train_head_too
from rlhf_mini.models.counted import Holding
from rlhf_mini.models.lora import add_lora
from rlhf_mini.real.settings import LoRA, Settings
from rlhf_mini.real.training import plan, train
from tests.real.small import rows_for, write

SETTINGS = {"batch": 8, "max_new_tokens": 8, "group": 4, "held_out": 8}


def bytes_after_a_step(model):
    """Weights that learn, their gradients, AdamW's moments, and the frozen weights."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning)
    sum((parameter * parameter).sum() for parameter in learning).backward()
    optimizer.step()
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    held = (learning, frozen, [parameter.grad for parameter in learning], moments)
    return tuple(sum(tensor.nbytes for tensor in tensors) for tensors in held)


def parts(memory):
    return memory.weights, memory.frozen, memory.gradients, memory.optimizer


def activations(model, sequences, tokens):
    mask = torch.ones(sequences, tokens, dtype=torch.int64)
    mask[0, -1] = 0
    with Holding(model) as held:
        model.base_model(input_ids=torch.ones_like(mask), attention_mask=mask, use_cache=False)
    return held.total


@pytest.mark.parametrize("kind", ["neox", "qwen2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [None, 2], ids=["full", "lora"])
def test_a_plan_of_sft_is_what_a_step_holds(saved, tmp_path, kind, dtype, rank):
    lora = None if rank is None else LoRA(rank=rank)
    settings = Settings(**SETTINGS, dtype=dtype, lora=lora)
    told = plan("sft", saved(kind), write(tmp_path, rows_for("sft")), settings=settings)
    model = load_causal_lm(saved(kind), dtype=dtype)[0].train()
    if rank is not None:
        add_lora(model, rank=rank, alpha=4, generator=torch.Generator().manual_seed(0))
    held = activations(model, told.sequences, told.tokens)
    vocabulary = told.sequences * told.tokens * model.config.vocab_size * (dtype.itemsize + 8)
    assert told.memory.activations == held + vocabulary
    assert parts(told.memory) == bytes_after_a_step(model)
    assert told.sequences == 8
    assert [*tmp_path.iterdir()] == [tmp_path / "rows.jsonl"]


def test_a_plan_of_a_reward_model_trains_its_head_beside_lora(saved, tmp_path):
    settings = Settings(**SETTINGS, lora=LoRA(rank=2))
    told = plan("reward", saved("neox"), write(tmp_path, rows_for("reward")), settings=settings)
    model = AutoModelForSequenceClassification.from_pretrained(saved("neox"), num_labels=1).train()
    add_lora(model, rank=2, alpha=4, generator=torch.Generator().manual_seed(0))
    train_head_too(model)
    assert told.sequences == 16  # the chosen and the rejected of a pair are held together
    assert told.memory.activations == activations(model, 16, told.tokens)
    assert parts(told.memory) == bytes_after_a_step(model)


def test_ppo_holds_four_models_and_grpo_two(saved, tmp_path):
    base, settings = saved("qwen2"), Settings(**SETTINGS)
    quick = Settings(**SETTINGS, steps=1)
    pairs = write(tmp_path, rows_for("reward"), "pairs.jsonl")
    reward = train("reward", base, pairs, tmp_path / "r", settings=quick, tell=lambda line: None).folder
    prompts = write(tmp_path, rows_for("ppo"), "prompts.jsonl")
    ppo = plan("ppo", base, prompts, settings=settings, reward_model=reward)
    policy = sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(base).parameters())
    scorer = sum(p.numel() for p in AutoModelForSequenceClassification.from_pretrained(reward).parameters())
    assert ppo.trained == policy + scorer + 1  # the value head has a bias
    assert ppo.frozen == policy + scorer
    problems = write(tmp_path, rows_for("grpo"), "problems.jsonl")
    grpo, free = (
        plan("grpo", base, problems, settings=Settings(**SETTINGS, weight=weight)) for weight in (0.04, 0.0)
    )
    assert (grpo.trained, grpo.frozen, free.frozen) == (policy, policy, 0)
    config = load_causal_lm(base)[0].config
    keys = 2 * config.num_hidden_layers * 2 * 8 * 4  # two key-value heads of width 8, float32
    assert grpo.memory.cache == keys * 8 * grpo.tokens


def test_what_saves_memory_saves_it_in_the_plan(saved, tmp_path):
    source = write(tmp_path, rows_for("dpo"))
    plain, few, layers, cast = (
        plan("dpo", saved("neox"), source, settings=Settings(**SETTINGS, **more))
        for more in ({}, {"rows_at_once": 2}, {"checkpoint_activations": True}, {"bf16": True})
    )
    assert (plain.sequences, few.sequences) == (16, 2)
    assert few.memory.activations == pytest.approx(plain.memory.activations / 8, rel=0.02)
    assert layers.memory.activations < plain.memory.activations
    assert cast.memory.activations < plain.memory.activations
    assert {each.memory.kept for each in (plain, few, layers, cast)} == {plain.memory.kept}
    assert plain.flops < layers.flops
    assert plain.flops < few.flops
    assert plain.steps == few.steps == 4


def test_the_words_of_a_plan(saved, tmp_path):
    told = plan("kto", saved("neox"), write(tmp_path, rows_for("kto")), settings=Settings(**SETTINGS))
    words = "\n".join(told.lines())
    assert words.startswith(f"{told.trained:,} numbers learn, {told.frozen:,} do not\nat least ")
    assert "gradients" in words
    assert "hours of one A100 80GB at 40% of its peak" in words
