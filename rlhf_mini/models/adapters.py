"""LoRA's matrices alone, as a folder: a hundredth of the model, in the layout that `peft` reads and writes.

`adapter_model.safetensors` holds A and B of each adapted layer under the names that `peft` gives them, and
any other parameter that was trained, such as a reward model's head. `adapter_config.json` says which model
they belong to. With `peft` installed, `AutoPeftModelForCausalLM.from_pretrained(folder)` finds both;
`load_adapters` needs nothing but the base model.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from rlhf_mini.models.build import scalar_head
from rlhf_mini.models.lora import LowRank, add_lora
from rlhf_mini.split import main_process

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft wraps a model twice


def save_adapters(model: PreTrainedModel, folder: str | os.PathLike[str], *, base_model: str) -> Path:
    """Write the low-rank changes of `model`, and whatever else in it is trained, into `folder`; returns it.

    `base_model` is the hub name or the folder that the frozen weights come from. Raises ValueError for a
    model without low-rank changes, or with several ranks or scales, which one configuration cannot state.
    """
    changes = _changes(model)
    if not changes:
        raise ValueError("the model has no low-rank changes to save; call add_lora before training it")
    kinds = {(change.a.shape[0], change.scale) for change in changes.values()}
    if len(kinds) != 1:
        raise ValueError(f"the changes have several ranks and scales, {sorted(kinds)}; one was expected")
    rank, scale = kinds.pop()
    target = Path(folder)
    if not main_process():
        return target
    target.mkdir(parents=True, exist_ok=True)
    others = _other_trained(model)
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if hasattr(model.config, "num_labels") and others else "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "r": rank,
        "lora_alpha": scale * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": sorted({name.rsplit(".", 1)[-1] for name in changes}),
        "modules_to_save": sorted({name.split(".")[0] for name in others}) or None,
    }
    tensors = {PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in others.items()}
    for name, change in changes.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = change.a.detach().cpu().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = change.b.detach().cpu().contiguous()
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})
    (target / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return target


def load_adapters(model: PreTrainedModel, folder: str | os.PathLike[str]) -> list[str]:
    """Give `model`, in place, the low-rank changes that `folder` holds; returns the adapted layers.

    The model is frozen but for the changes; `lora.merge_lora` makes it an ordinary one. Raises ValueError if
    the folder holds no adapters, or if they do not fit the model's layers.
    """
    path = Path(folder)
    config, tensors = _read(path)
    generator = torch.Generator().manual_seed(0)  # what it draws is overwritten below
    layers = add_lora(
        model,
        rank=config["r"],
        alpha=config["lora_alpha"],
        targets=config["target_modules"],
        generator=generator,
    )
    parameters = dict(model.named_parameters())
    expected = {
        f"{PREFIX}{name}.lora_{letter.upper()}.weight": parameters[
            f"{name}.parametrizations.weight.0.{letter}"
        ]
        for name in _changes(model)
        for letter in "ab"
    }
    others = set(tensors) - set(expected)
    unknown = {name for name in others if name.removeprefix(PREFIX) not in parameters}
    missing = set(expected) - set(tensors)
    if unknown or missing:
        raise ValueError(
            f"the adapters in {path} do not fit {type(model).__name__}: "
            f"{', '.join(sorted(unknown | missing)[:3])} stand on one side only"
        )
    expected |= {name: parameters[name.removeprefix(PREFIX)] for name in others}
    with torch.no_grad():
        for name, parameter in expected.items():
            if parameter.shape != tensors[name].shape:
                raise ValueError(
                    f"{name} in {path} has shape {tuple(tensors[name].shape)}, and the model's "
                    f"{tuple(parameter.shape)}"
                )
            parameter.copy_(tensors[name])
    return layers


def train_head_too(model: PreTrainedModel) -> None:
    """Let the head of a reward or value model learn beside the low-rank changes: it began at random."""
    scalar_head(model).requires_grad_(True)


def _changes(model: PreTrainedModel) -> dict[str, LowRank]:
    """The low-rank changes by the full name of their layer."""
    return {
        name: module.parametrizations.weight[0]
        for name, module in model.named_modules()
        if parametrize.is_parametrized(module, "weight")
        and isinstance(module.parametrizations.weight[0], LowRank)
    }


def _other_trained(model: PreTrainedModel) -> dict[str, Tensor]:
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".parametrizations." not in name
    }


def _read(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Tensor]]:
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        return config, load_file(path / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"{path} holds no adapters ({CONFIG} and {WEIGHTS}): {error}") from error
