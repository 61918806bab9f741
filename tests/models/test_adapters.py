"""Adapters in a folder: what was trained comes back on a fresh base; what does not fit is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlhf_mini.models import copy_of
from rlhf_mini.models.adapters import CONFIG, WEIGHTS, load_adapters, save_adapters
from rlhf_mini.models.lora import LowRank, add_lora, merge_lora
from tests.models.tiny import llama, other

TOKENS = torch.arange(3, 13)[None]


def logits_of(model):
    with torch.no_grad():
        return model.eval()(TOKENS).logits


def adapted(model, *, rank=2, targets=None):
    """The model with low-rank changes that say something."""
    generator = torch.Generator().manual_seed(1)
    add_lora(model, rank=rank, alpha=4, targets=targets, generator=generator)
    for module in model.modules():
        if isinstance(module, LowRank):
            module.b.data = 0.3 * torch.randn(module.b.shape, generator=generator)
    return model


@pytest.mark.parametrize("make", [llama, lambda: other("neox"), lambda: other("qwen2")])
@pytest.mark.parametrize("targets", [None, 1])
def test_adapters_come_back_on_a_fresh_base(make, targets, tmp_path):
    base = make()
    if targets is not None:
        linear = [name for name, part in base.base_model.named_modules() if type(part) is torch.nn.Linear]
        targets = [linear[0].rsplit(".", 1)[-1]]
    model = adapted(copy_of(base), targets=targets)
    save_adapters(model, tmp_path, base_model="someone/base")
    names = load_adapters(base, tmp_path)
    assert torch.equal(logits_of(base), logits_of(model))
    assert len(load_file(tmp_path / WEIGHTS)) == 2 * len(names)
    merge_lora(base)
    torch.testing.assert_close(logits_of(base), logits_of(model), atol=1e-5, rtol=1e-5)


def test_the_layout_is_peft_s(tmp_path):
    """Names and fields by hand: base_model.model.<layer>.lora_A.weight (r, in), lora_B.weight (out, r)."""
    save_adapters(adapted(llama(), targets=["q_proj"]), tmp_path, base_model="someone/base")
    tensors = load_file(tmp_path / WEIGHTS)
    place = "base_model.model.model.layers.0.self_attn.q_proj"
    assert sorted(tensors)[:2] == [f"{place}.lora_A.weight", f"{place}.lora_B.weight"]
    assert tensors[f"{place}.lora_A.weight"].shape == (2, 32)
    assert tensors[f"{place}.lora_B.weight"].shape == (32, 2)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["target_modules"] == ["q_proj"]
    assert (config["peft_type"], config["task_type"], config["r"], config["lora_alpha"]) == (
        "LORA", "CAUSAL_LM", 2, 4,
    )  # fmt: skip


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the model has no low-rank changes to save"):
        save_adapters(llama(), tmp_path, base_model="b")
    with pytest.raises(ValueError, match="holds no adapters"):
        load_adapters(llama(), tmp_path)
    save_adapters(adapted(other("neox")), tmp_path, base_model="b")
    with pytest.raises(ValueError, match="no linear layer of LlamaForCausalLM is called"):
        load_adapters(llama(), tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    first = sorted(tensors)[0]
    save_file({name: x for name, x in tensors.items() if name != first}, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=r"do not fit GPTNeoXForCausalLM: .*lora_A.weight stand on one side"):
        load_adapters(other("neox"), tmp_path)
    save_file({**tensors, first: torch.zeros(2, 5)}, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=r"has shape \(2, 5\), and the model's \(2, 32\)"):
        load_adapters(other("neox"), tmp_path)
