"""What a training pass of any architecture holds and computes, counted without its weights and in no time.

`footprint` has the formulas of Llama-shaped models, which a reader can follow. Here the model is built of
tensors that have a shape and a type but no memory (PyTorch's fake tensors), run forwards and backwards, and
what autograd holds and the kernels would compute is added up. So it works for every architecture that
`transformers` knows, with LoRA, checkpoints and autocast as they are set. The two agree on a Llama; a test
holds them together.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from rlhf_mini.models.checkpoints import decoder_layers, is_checkpointed


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One model, and one pass of a batch of sequences forwards and backwards through it.

    Attributes:
        trained, frozen: numbers that learn, and numbers that do not.
        weight_bytes, trained_bytes: bytes of all weights, and of those that learn.
        activations: bytes held for the backward pass at its fullest, the vocabulary's left out; with
            checkpoints, the inputs of all layers and one layer computed again.
        forward_flops: operations of the forward pass, the output projection or head included.
        training_flops: those of both passes; with checkpoints, of the second forward pass too.
    """

    trained: int
    frozen: int
    weight_bytes: int
    trained_bytes: int
    activations: int
    forward_flops: int
    training_flops: int


def counted(
    build: Callable[[], PreTrainedModel], *, sequences: int, tokens: int, bfloat16: bool = False
) -> Counted:
    """Count the model that `build` makes, and a pass of `sequences` sequences of `tokens` tokens each.

    `build` is called with fake tensors: it must make the model from its configuration, as
    ``AutoModelForCausalLM.from_config`` does, and may freeze, adapt and checkpoint it. `bfloat16` counts
    under autocast in bfloat16, whose copies of the weights are held too. Attention is fused and masked.
    Raises ValueError for less than one sequence or token, and for an architecture that does not run without
    its numbers.
    """
    if min(sequences, tokens) < 1:
        raise ValueError(f"sequences and tokens must be at least 1, got {sequences} and {tokens}")
    with FakeTensorMode(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        model = build()
        batch = torch.zeros(sequences, tokens, dtype=torch.int64)
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if bfloat16 else nullcontext()
        try:
            activations = _held(model, batch, cast)
            with FlopCounterMode(display=False) as forward, torch.no_grad(), cast:
                model(input_ids=batch, use_cache=False)
            with FlopCounterMode(display=False) as both, cast:
                model(input_ids=batch, use_cache=False).logits.sum().backward()
        except (RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{type(model).__name__} cannot be counted without its weights: {reason}"
            ) from error
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    everything = list(model.parameters())
    return Counted(
        trained=_numbers(learning),
        frozen=_numbers(everything) - _numbers(learning),
        weight_bytes=_bytes(everything),
        trained_bytes=_bytes(learning),
        activations=activations,
        forward_flops=forward.get_total_flops(),
        training_flops=both.get_total_flops(),
    )


class Holding:
    """Adds up the storages that autograd keeps while the context is open, the model's own weights left out.

    `total` is what is held in the end; `largest` the most that a single one of `layers` keeps beyond what
    was held before it.
    """

    def __init__(self, model: nn.Module, layers: Iterable[nn.Module] = ()) -> None:
        self.weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self.storages: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice
        self.largest = 0
        self.layers = list(layers)

    @property
    def total(self) -> int:
        """Bytes of all storages so far."""
        return sum(storage.nbytes() for storage in self.storages.values())

    def __enter__(self) -> "Holding":
        """Begin to watch."""
        before: list[int] = []

        def enter(*_: object) -> None:
            before.append(self.total)

        def leave(*_: object) -> None:
            self.largest = max(self.largest, self.total - before.pop())

        self.hooks = [layer.register_forward_pre_hook(enter) for layer in self.layers]
        self.hooks += [layer.register_forward_hook(leave) for layer in self.layers]
        self.watching = torch.autograd.graph.saved_tensors_hooks(self._hold, lambda tensor: tensor)
        self.watching.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop watching."""
        self.watching.__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def _hold(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights:
            self.storages[storage._cdata] = storage
        return tensor


def _held(model: PreTrainedModel, batch: Tensor, cast: AbstractContextManager) -> int:
    """Bytes held after the backbone's forward pass, and with checkpoints one layer's in full beside them."""
    layers = decoder_layers(model)
    recomputed = [layer for layer in layers if is_checkpointed(layer)]
    with Holding(model) as kept, cast:
        model.base_model(input_ids=batch, use_cache=False)
    if not recomputed:
        return kept.total
    forwards = [vars(layer).pop("forward") for layer in recomputed]
    with Holding(model, recomputed) as whole, cast:
        model.base_model(input_ids=batch, use_cache=False)
    for layer, forward in zip(recomputed, forwards, strict=True):
        layer.forward = forward
    return kept.total + whole.largest


def _numbers(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _bytes(parameters: Iterable[Tensor]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)
