"""Costs by hand, against tensors that exist, and against training runs whose hours were published."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from rlhf_mini.evaluation.training_cost import (
    A100,
    BFLOAT16,
    FLOAT32,
    GIB,
    H100,
    MIXED,
    Hardware,
    Memory,
    MicroBatch,
    bill,
    decoding_seconds,
    dpo_memory,
    full_memory,
    grpo_memory,
    grpo_passes,
    lora_memory,
    ppo_memory,
    ppo_passes,
)
from rlhf_mini.models import new_value_model
from rlhf_mini.models.footprint import (
    Shape,
    activation_bytes,
    checkpointed_activation_bytes,
    forward_flops,
    logit_bytes,
    training_flops,
)
from rlhf_mini.models.lora import add_lora

TINY = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False, "pad_token_id": 0,
}  # fmt: skip
LLAMA_3_2_1B = Shape(
    vocabulary=128256, width=2048, intermediate=8192, layers=16, heads=32, key_value_heads=8, head_width=64,
    tied=True,
)  # fmt: skip
LLAMA_2_7B = Shape(
    vocabulary=32000, width=4096, intermediate=11008, layers=32, heads=32, key_value_heads=32,
    head_width=128, tied=False,
)  # fmt: skip
LLAMA_2_70B = Shape(
    vocabulary=32000, width=8192, intermediate=28672, layers=80, heads=64, key_value_heads=8, head_width=128,
    tied=False,
)  # fmt: skip
BATCH = MicroBatch(sequences=2, tokens=8)


def bytes_after_a_step(model: torch.nn.Module) -> dict[str, int]:
    """Bytes of weights, gradients and AdamW's state, after one step that touched every number."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    sum((parameter * parameter).sum() for parameter in trained).backward()
    optimizer.step()
    moments = [
        tensor for state in optimizer.state.values() for name, tensor in state.items() if name != "step"
    ]
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    sizes = {
        "weights": trained,
        "gradients": [p.grad for p in trained],
        "optimizer": moments,
        "frozen": frozen,
    }
    return {name: sum(tensor.nbytes for tensor in tensors) for name, tensors in sizes.items()}


def parts(memory: Memory) -> dict[str, int]:
    return {name: getattr(memory, name) for name in ("weights", "gradients", "optimizer", "frozen")}


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [(FLOAT32, torch.float32), (BFLOAT16, torch.bfloat16)],
    ids=["float32", "bfloat16"],
)
def test_full_fine_tuning_holds_what_a_real_step_holds(precision, dtype) -> None:
    config = LlamaConfig(**TINY)
    model = LlamaForCausalLM(config).to(dtype)
    assert parts(full_memory(Shape.of(config), BATCH, precision=precision)) == bytes_after_a_step(model)


def test_lora_holds_what_a_real_step_holds() -> None:
    config = LlamaConfig(**TINY)
    model = LlamaForCausalLM(config)
    add_lora(model, rank=4, alpha=8, generator=torch.Generator().manual_seed(0))
    estimate = lora_memory(Shape.of(config), BATCH, precision=FLOAT32, rank=4)
    assert parts(estimate) == bytes_after_a_step(model)


def test_ppo_holds_what_its_four_models_hold() -> None:
    config = LlamaConfig(**TINY)
    policy, reference = LlamaForCausalLM(config), LlamaForCausalLM(config)
    config.num_labels = 1
    reward_model = LlamaForSequenceClassification(config)
    held = [bytes_after_a_step(model) for model in (policy, new_value_model(reward_model))]
    frozen = sum(p.nbytes for model in (reference, reward_model) for p in model.parameters())
    expected = {name: held[0][name] + held[1][name] for name in ("weights", "gradients", "optimizer")}
    estimate = ppo_memory(Shape.of(config), BATCH, precision=FLOAT32, drawn=4)
    bias = {"weights": 4, "gradients": 4, "optimizer": 8, "frozen": 0}  # of the value head, not counted
    assert {name: value + bias[name] for name, value in parts(estimate).items()} == {
        **expected,
        "frozen": frozen,
    }


def test_sixteen_bytes_a_number_either_way() -> None:
    assert FLOAT32.trained == MIXED.trained == 16
    assert BFLOAT16.trained == 8


def test_the_methods_side_by_side() -> None:
    """DPO is SFT on twice the sequences beside a reference; PPO trains two models and freezes two."""
    shape, sizes = LLAMA_3_2_1B, {"tokens": 512, "value_bytes": 2}
    batch, twice = MicroBatch(sequences=2, tokens=512), MicroBatch(sequences=4, tokens=512)
    sft, dpo = (full_memory(shape, one, precision=MIXED) for one in (batch, twice))
    assert (
        dpo_memory(shape, batch, precision=MIXED).activations
        == dpo.activations
        == 2 * sft.activations
        - (
            2 * 512 * 64 * 2  # sines and cosines, which sequences share
        )
    )
    assert dpo_memory(shape, batch, precision=MIXED).kept == sft.kept + 2 * shape.parameters
    ppo = ppo_memory(shape, batch, precision=MIXED, drawn=64)
    assert ppo.kept == (16 + 2) * (2 * shape.parameters + shape.width)  # tied: no head to lose, one to win
    grpo = grpo_memory(shape, batch, precision=MIXED, drawn=64)
    assert grpo.kept == dpo_memory(shape, batch, precision=MIXED).kept
    assert grpo.cache == ppo.cache == 2 * 16 * 8 * 64 * 2 * 512 * 64
    assert grpo.activations == sft.activations
    logits = logit_bytes(shape, sequences=2, **sizes)
    assert ppo.activations == 2 * (sft.activations - logits) + logits


def test_checkpoints_or_not() -> None:
    for checkpointed, count in ((True, checkpointed_activation_bytes), (False, activation_bytes)):
        batch = MicroBatch(sequences=2, tokens=512, checkpointed=checkpointed)
        sizes = {"sequences": 2, "tokens": 512, "value_bytes": 2}
        expected = count(LLAMA_2_7B, **sizes) + logit_bytes(LLAMA_2_7B, **sizes)
        assert full_memory(LLAMA_2_7B, batch, precision=MIXED).activations == expected


def test_two_peaks_do_not_add_up() -> None:
    memory = Memory(weights=1, frozen=2, gradients=3, optimizer=4, activations=50, cache=70)
    assert (memory.kept, memory.total) == (10, 80)
    shared = memory.sharded(4)
    assert (shared.weights, shared.frozen, shared.gradients, shared.optimizer) == (1, 1, 1, 1)
    assert shared.total == 4 + 70


def test_what_fits_on_one_device_at_1_7_and_70_billion() -> None:
    """By hand: 16 bytes times 1.2, 6.7 and 69.0 · 10⁹ numbers are 18, 100 and 1,028 GiB."""
    batch = MicroBatch(sequences=1, tokens=2048)
    shapes = (LLAMA_3_2_1B, LLAMA_2_7B, LLAMA_2_70B)
    kept = [full_memory(shape, batch, precision=MIXED).kept / GIB for shape in shapes]
    assert kept == pytest.approx([18.4, 100.4, 1027.8], abs=0.1)
    full, lora = (
        [make(shape, batch, precision=MIXED).total < H100.memory for shape in shapes]
        for make in (full_memory, lambda *given, precision: lora_memory(*given, precision=precision, rank=16))
    )
    assert full == [True, False, False]
    assert lora == [True, True, False]
    assert full_memory(LLAMA_2_70B, batch, precision=MIXED).sharded(16).total < H100.memory


# -------------------------------------------------------------------------------------------- hours and money


def test_published_pretraining_hours_of_llama_2() -> None:
    """Touvron et al. 2023, arXiv 2307.09288, table 2: 2·10¹² tokens in sequences of 4,096 took 184,320 hours
    of an A100 at 7B, and 1,720,320 at 70B. By the formula that is 44% and 45% of the peak: plausible.
    """
    for shape, device_hours, share in ((LLAMA_2_7B, 184_320, 0.44), (LLAMA_2_70B, 1_720_320, 0.45)):
        flops = 2e12 * training_flops(shape, keys=4096)
        at_peak = bill(flops, A100, devices=1, utilisation=1.0, price=0).device_hours
        assert at_peak / device_hours == pytest.approx(share, abs=0.02)
        paid = bill(flops, A100, devices=2048, utilisation=at_peak / device_hours, price=2)
        assert paid.device_hours == pytest.approx(device_hours)
        assert paid.hours == pytest.approx(device_hours / 2048)
        assert paid.money == pytest.approx(2 * device_hours)


def test_passes_by_hand() -> None:
    """PPO: 1 drawn, 4 read, 2 models · 3 an epoch. GRPO: 1 drawn, 2 read, 1 model · 3 an epoch."""
    assert [ppo_passes(epochs=epochs) for epochs in (1, 4)] == [11, 29]
    assert [grpo_passes(epochs=epochs) for epochs in (1, 4)] == [6, 15]


def test_decoding_is_bound_by_reading_until_the_batch_is_large() -> None:
    slow = Hardware(name="by hand", flops=1e12, memory=1, bandwidth=1e9)
    one = decoding_seconds(LLAMA_2_7B, slow, sequences=1, prompt=0, new_tokens=1, value_bytes=2)
    assert one == pytest.approx((2 * 6_738_415_616 + 524_288) / 1e9)
    several = decoding_seconds(LLAMA_2_7B, slow, sequences=1, prompt=9, new_tokens=2, value_bytes=2)
    assert several == pytest.approx((2 * 2 * 6_738_415_616 + (10 + 11) * 524_288) / 1e9)
    many = decoding_seconds(LLAMA_2_7B, slow, sequences=10_000, prompt=0, new_tokens=1, value_bytes=2)
    assert many == pytest.approx(10_000 * forward_flops(LLAMA_2_7B, keys=1) / 1e12)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"0 < utilisation <= 1, .* got utilisation=0.0"):
        bill(1e15, H100, devices=1, utilisation=0.0, price=1)
    with pytest.raises(ValueError, match=r"got utilisation=0.4, devices=0"):
        bill(1e15, H100, devices=0, utilisation=0.4, price=1)
    with pytest.raises(ValueError, match="sequences and tokens must be at least 1"):
        MicroBatch(sequences=0, tokens=4)
    with pytest.raises(ValueError, match="devices must be at least 1, got 0"):
        full_memory(LLAMA_2_7B, BATCH, precision=MIXED).sharded(0)
    with pytest.raises(ValueError, match="flops, memory and bandwidth must be above 0"):
        Hardware(name="none", flops=0.0, memory=1, bandwidth=1.0)
