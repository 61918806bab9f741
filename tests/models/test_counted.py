"""What is counted without weights is what a real model holds and computes; on a Llama it is the formula."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, LlamaConfig, Qwen2Config

from rlhf_mini.models.checkpoints import checkpoint_activations, decoder_layers
from rlhf_mini.models.counted import Holding, counted
from rlhf_mini.models.footprint import Shape, activation_bytes, layer_activation_bytes
from rlhf_mini.models.lora import add_lora, trainable_parameters
from tests.models.tiny import SIZES

CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "neox": GPTNeoXConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2),
    "gpt2": GPT2Config(vocab_size=48, n_embd=32, n_layer=2, n_head=4, n_positions=64, eos_token_id=2),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
SEQUENCES, TOKENS = 3, 20


def padded():
    """A batch and its mask, of which one row is shorter: then the mask is a tensor that attention keeps."""
    mask = torch.ones(SEQUENCES, TOKENS, dtype=torch.int64)
    mask[0, TOKENS // 2 :] = 0
    return {"input_ids": torch.ones_like(mask), "attention_mask": mask}


def build(config, *, lora=False, checkpoints=False):
    model = AutoModelForCausalLM.from_config(config).train()
    if lora:
        add_lora(model, rank=2, alpha=4, generator=torch.Generator().manual_seed(0))
    if checkpoints:
        checkpoint_activations(model)
    return model


@every_config
@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_what_is_counted_is_what_a_real_model_holds(config, bfloat16, lora):
    if lora and config.model_type == "gpt2":
        return  # its layers are no linear ones
    estimate = counted(
        lambda: build(config, lora=lora), sequences=SEQUENCES, tokens=TOKENS, bfloat16=bfloat16
    )
    model = build(config, lora=lora)
    with Holding(model) as held, torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        model.base_model(**padded(), use_cache=False)
    assert estimate.activations == held.total
    assert estimate.trained == trainable_parameters(model)
    assert estimate.weight_bytes == sum(parameter.nbytes for parameter in model.parameters())
    assert estimate.trained_bytes == sum(p.nbytes for p in model.parameters() if p.requires_grad)
    assert estimate.trained + estimate.frozen == sum(p.numel() for p in model.parameters())


@every_config
def test_with_checkpoints_the_inputs_and_one_layer_are_counted(config):
    estimate = counted(lambda: build(config, checkpoints=True), sequences=SEQUENCES, tokens=TOKENS)
    model = build(config, checkpoints=True)
    with Holding(model) as inputs:
        model.base_model(**padded(), use_cache=False)
    plain = build(config)
    with Holding(plain, decoder_layers(plain)) as whole:
        plain.base_model(**padded(), use_cache=False)
    assert estimate.activations == inputs.total + whole.largest < whole.total + whole.largest
    assert whole.largest < whole.total


def test_the_formulas_of_a_llama_agree_but_for_the_mask():
    config = CONFIGS["llama"]
    shape, sizes = Shape.of(config), {"sequences": SEQUENCES, "tokens": TOKENS, "value_bytes": 4}
    estimate = counted(lambda: build(config), sequences=SEQUENCES, tokens=TOKENS)
    assert estimate.trained == shape.parameters
    masks = estimate.activations - activation_bytes(shape, **sizes)
    # A number a pair of tokens in float32, and its boolean, of each sequence: at most; never a layer's worth.
    assert 0 <= masks <= SEQUENCES * TOKENS * TOKENS * (4 + 4)
    assert masks < SEQUENCES * TOKENS * layer_activation_bytes(shape, value_bytes=4)


@every_config
def test_operations_are_those_of_a_real_pass(config):
    estimate = counted(lambda: build(config), sequences=SEQUENCES, tokens=TOKENS)
    model, tokens = build(config), padded()["input_ids"]
    with FlopCounterMode(display=False) as there, torch.no_grad():
        model(tokens, use_cache=False)
    with FlopCounterMode(display=False) as both:
        model(tokens, use_cache=False).logits.sum().backward()
    assert estimate.forward_flops == there.get_total_flops()
    assert estimate.training_flops == both.get_total_flops()


def test_a_model_of_eight_billion_is_counted_without_its_memory():
    """Llama 3.1 8B, two layers of it: the shapes are real, the memory is not."""
    config = LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=2,
        num_attention_heads=32, num_key_value_heads=8,
    )  # fmt: skip
    state = torch.get_rng_state()
    estimate = counted(lambda: build(config), sequences=2, tokens=512)
    assert estimate.trained == Shape.of(config).parameters
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="sequences and tokens must be at least 1, got 0 and 4"):
        counted(lambda: build(CONFIGS["llama"]), sequences=0, tokens=4)
