"""Sizes from formulas against models that are really built, and against published counts."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    GPTNeoXConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
)

from rlhf_mini.models.footprint import (
    Shape,
    activation_bytes,
    cache_bytes,
    checkpointed_activation_bytes,
    checkpointed_training_flops,
    forward_flops,
    frozen_training_flops,
    layer_activation_bytes,
    logit_bytes,
    mean_keys,
    training_flops,
)
from rlhf_mini.models.lora import add_lora, trainable_parameters

SMALL = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 64,
    "tie_word_embeddings": False, "attn_implementation": "sdpa",
}  # fmt: skip
CHANGES = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "grouped": {"num_key_value_heads": 2},
    "one key-value head": {"num_key_value_heads": 1, "num_hidden_layers": 3},
    "heads wider than the stream": {"head_dim": 16, "vocab_size": 101, "intermediate_size": 7},
}
every_shape = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
SEQUENCES, TOKENS = 2, 16


def built(change: dict, dtype: torch.dtype = torch.float32) -> tuple[Shape, LlamaForCausalLM]:
    torch.manual_seed(0)
    config = LlamaConfig(**{**SMALL, **change})
    return Shape.of(config), LlamaForCausalLM(config).to(dtype).train()


def numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def checkpoint(model: LlamaForCausalLM) -> None:
    """`transformers` renamed the method."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def batch(vocabulary: int) -> torch.Tensor:
    return torch.randint(vocabulary, (SEQUENCES, TOKENS), generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------------------- parameters


@every_shape
def test_parameters_are_those_of_a_model_that_is_built(change: dict) -> None:
    shape, model = built(change)
    assert shape.parameters == numbers(model)
    assert shape.backbone_parameters == numbers(model.model)
    assert shape.layer_parameters == sum(
        parameter.numel() for parameter in model.model.layers[0].parameters()
    )
    config = LlamaConfig(**{**SMALL, **change}, num_labels=1, pad_token_id=0)
    scorer = LlamaForSequenceClassification(config)
    assert shape.scorer_parameters == numbers(scorer)


@every_shape
def test_lora_trains_as_many_numbers_as_it_says(change: dict) -> None:
    shape, model = built(change)
    add_lora(model, rank=3, alpha=6, generator=torch.Generator().manual_seed(0))
    assert shape.lora_parameters(3) == trainable_parameters(model)


# Counts as they are stated for these models on the hub and in the libraries that load them.
LLAMA_2 = {"vocab_size": 32000, "tie_word_embeddings": False}
LLAMA_3 = {"vocab_size": 128256, "num_key_value_heads": 8}
PUBLISHED = {
    "TinyLlama 1.1B": (1_100_048_384, {**LLAMA_2, "hidden_size": 2048, "intermediate_size": 5632,
        "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4}),
    "Llama 2 7B": (6_738_415_616, {**LLAMA_2, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32}),
    "Llama 2 13B": (13_015_864_320, {**LLAMA_2, "hidden_size": 5120, "intermediate_size": 13824,
        "num_hidden_layers": 40, "num_attention_heads": 40}),
    "Llama 2 70B": (68_976_648_192, {**LLAMA_2, "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8}),
    "Llama 3.2 1B": (1_235_814_400, {**LLAMA_3, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64, "tie_word_embeddings": True}),
    "Llama 3.1 8B": (8_030_261_248, {**LLAMA_3, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "tie_word_embeddings": False}),
    "Llama 3.1 70B": (70_553_706_496, {**LLAMA_3, "hidden_size": 8192, "intermediate_size": 28672,
        "num_hidden_layers": 80, "num_attention_heads": 64, "tie_word_embeddings": False}),
}  # fmt: skip


@pytest.mark.parametrize(("published", "sizes"), PUBLISHED.values(), ids=PUBLISHED)
def test_parameters_are_those_that_were_published(published: int, sizes: dict) -> None:
    assert Shape.of(LlamaConfig(**sizes)).parameters == published


def test_mistral_has_the_same_shape() -> None:
    sizes = {key: value for key, value in SMALL.items() if key != "attn_implementation"}
    config = MistralConfig(**{**sizes, "num_key_value_heads": 2})
    model = MistralForCausalLM(config)
    assert Shape.of(config).parameters == numbers(model)


# ----------------------------------------------------------------------------------------------------- memory


def saved_bytes(model: nn.Module, tokens: torch.Tensor) -> int:
    """Bytes of all storages that autograd holds after a forward pass, the model's own weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        model(tokens, use_cache=False)
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@every_shape
def test_activations_are_what_autograd_holds(change: dict, dtype: torch.dtype) -> None:
    shape, model = built(change, dtype)
    held = saved_bytes(model, batch(shape.vocabulary))
    sizes = {"sequences": SEQUENCES, "tokens": TOKENS, "value_bytes": dtype.itemsize}
    assert activation_bytes(shape, **sizes) == held


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_checkpoints_leave_the_inputs_of_the_layers(dtype: torch.dtype) -> None:
    shape, model = built({"num_hidden_layers": 3}, dtype)
    checkpoint(model)
    held = saved_bytes(model, batch(shape.vocabulary))
    sizes = {"sequences": SEQUENCES, "tokens": TOKENS, "value_bytes": dtype.itemsize}
    again = SEQUENCES * TOKENS * layer_activation_bytes(shape, value_bytes=dtype.itemsize)
    # The sines and cosines are the layers' business, and come back only when one is computed again.
    positions = 2 * TOKENS * shape.head_width * dtype.itemsize
    assert checkpointed_activation_bytes(shape, **sizes) == held + again + positions
    assert checkpointed_activation_bytes(shape, **sizes) < activation_bytes(shape, **sizes)


def test_log_probabilities_are_held_in_float32() -> None:
    shape, _ = built({})
    logits = torch.randn(SEQUENCES * TOKENS, shape.vocabulary, dtype=torch.bfloat16, requires_grad=True)
    held: dict[int, int] = {}

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 2:
            held[tensor.untyped_storage().data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        nn.functional.cross_entropy(logits.float(), batch(shape.vocabulary).flatten())
    sizes = {"sequences": SEQUENCES, "tokens": TOKENS}
    # Beside what is held stand the logits, and in the backward pass a gradient as large as what is held.
    assert logit_bytes(shape, **sizes, value_bytes=2) == logits.nbytes + 2 * sum(held.values())


@every_shape
def test_the_cache_is_what_a_model_keeps(change: dict) -> None:
    shape, model = built(change)
    cache = model(batch(shape.vocabulary), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache_bytes(shape, sequences=SEQUENCES, tokens=TOKENS, value_bytes=4) == held


# ------------------------------------------------------------------------------------------------- operations


@every_shape
def test_operations_are_those_that_are_counted(change: dict) -> None:
    """PyTorch's counter counts every matrix product; unfused attention computes the masked half too."""
    shape, model = built({**change, "attn_implementation": "eager"})
    tokens = batch(shape.vocabulary)
    with FlopCounterMode(display=False) as forward:
        logits = model(tokens, use_cache=False).logits
    assert forward.get_total_flops() == tokens.numel() * forward_flops(shape, keys=TOKENS)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    there_and_back = forward.get_total_flops() + backward.get_total_flops()
    assert there_and_back == tokens.numel() * training_flops(shape, keys=TOKENS)


def test_operations_with_checkpoints() -> None:
    shape, model = built({"attn_implementation": "eager"})
    checkpoint(model)
    tokens = batch(shape.vocabulary)
    with FlopCounterMode(display=False) as counted:
        model(tokens, use_cache=False).logits.sum().backward()
    expected = tokens.numel() * checkpointed_training_flops(shape, keys=TOKENS)
    assert counted.get_total_flops() == expected
    assert 1.2 < expected / (tokens.numel() * training_flops(shape, keys=TOKENS)) < 4 / 3


def test_operations_through_frozen_matrices() -> None:
    shape, model = built({"attn_implementation": "eager"})
    model.requires_grad_(False)
    embedded = model.get_input_embeddings()(batch(shape.vocabulary)).requires_grad_()
    with FlopCounterMode(display=False) as counted:
        model(inputs_embeds=embedded, use_cache=False).logits.sum().backward()
    expected = SEQUENCES * TOKENS * frozen_training_flops(shape, keys=TOKENS)
    assert counted.get_total_flops() == expected


def test_six_operations_a_parameter_and_what_the_context_adds() -> None:
    """The rule of thumb 6 N a token, at 4,096 tokens: attention adds a sixth to Llama 2 7B."""
    shape = Shape.of(LlamaConfig(**PUBLISHED["Llama 2 7B"][1]))
    rule = 6 * shape.parameters
    assert training_flops(shape, keys=0) / rule == pytest.approx(
        0.980, abs=0.001
    )  # the embedding is looked up
    assert training_flops(shape, keys=4096) / rule == pytest.approx(1.140, abs=0.001)
    assert training_flops(shape, keys=mean_keys(4096)) / rule == pytest.approx(1.060, abs=0.001)


# -------------------------------------------------------------------------------------------------- bad input


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="of llama and mistral models, not of 'gpt_neox'"):
        Shape.of(GPTNeoXConfig())
    with pytest.raises(ValueError, match="the model has biases"):
        Shape.of(LlamaConfig(**SMALL, attention_bias=True))
    with pytest.raises(ValueError, match=r"heads a multiple of key_value_heads, got .*'key_value_heads': 3"):
        Shape.of(LlamaConfig(**{**SMALL, "num_key_value_heads": 3}))
