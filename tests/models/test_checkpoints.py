"""Checkpoints: the same output and gradient, in train and eval mode; layers run twice; less is held."""

import pytest
import torch

from rlhf_mini.models import copy_of, response_logp
from rlhf_mini.models.checkpoints import checkpoint_activations, decoder_layers, is_checkpointed
from rlhf_mini.models.counted import Holding
from rlhf_mini.models.llama import is_plain_llama
from tests.models.tiny import llama, other

KINDS = {
    "llama": llama,
    "grouped": lambda: other("grouped"),
    "neox": lambda: other("neox"),
    "qwen2": lambda: other("qwen2"),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def gradients(model, batch):
    model.zero_grad()
    loss = response_logp(model, *batch).sum()
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


@every_kind
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_the_gradient_is_the_same_in_both_modes(make, training, batch):
    model = make()
    again = copy_of(model)
    checkpoint_activations(again)
    (loss, plain), (loss_again, recomputed) = (
        gradients(each.train(training), batch) for each in (model, again)
    )
    torch.testing.assert_close(loss_again, loss)
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


@every_kind
def test_every_layer_runs_a_second_time_in_eval_mode_too(make, batch):
    model, calls = make().eval(), []
    checkpoint_activations(model)
    for layer in decoder_layers(model):
        part = next(child for child in layer.children() if "orm" in type(child).__name__)
        part.register_forward_hook(lambda *_: calls.append(1))
    gradients(model, batch)
    assert len(calls) == 2 * len(decoder_layers(model))
    calls.clear()
    with torch.no_grad():
        response_logp(model, *batch)
    assert len(calls) == len(decoder_layers(model))


@every_kind
def test_less_is_held(make):
    model, tokens = make().train(), torch.ones(2, 16, dtype=torch.int64)
    held = []
    for _ in range(2):
        with Holding(model) as holding:
            model.base_model(input_ids=tokens, use_cache=False)
        held.append(holding.total)
        checkpoint_activations(model)
    assert held[1] < held[0] / 2


def test_a_copy_recomputes_with_its_own_weights(batch):
    model = other("neox")
    checkpoint_activations(model)
    copied = copy_of(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert not torch.equal(response_logp(copied, *batch), response_logp(model, *batch))
    assert all(is_checkpointed(layer) for layer in decoder_layers(copied))


def test_the_lean_forward_steps_back_and_twice_is_once():
    model = llama()
    assert is_plain_llama(model)
    for _ in range(2):
        checkpoint_activations(model)
        assert not is_plain_llama(model)
    layer = decoder_layers(model)[0]
    assert vars(layer)["forward"].args[0].__self__ is layer


def test_a_model_without_a_list_of_layers_is_refused():
    model = llama()
    model.config.num_hidden_layers = 5
    with pytest.raises(ValueError, match="LlamaForCausalLM has no list of 5 layers"):
        checkpoint_activations(model)
