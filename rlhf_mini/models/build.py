"""Build small `transformers` models: a policy, a reward model on top of it, a value model on top of that.

All three are classes of the ecosystem (a causal LM, a sequence classifier with one label, a token
classifier with one label), so `save_pretrained`, `from_pretrained`, TRL and the hub understand them.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

Model = TypeVar("Model", bound=nn.Module)


def new_llama(
    *,
    vocab_size: int,
    width: int,
    layers: int,
    heads: int,
    context: int,
    pad_token: int,
    eos_token: int,
    bos_token: int,
    seed: int,
) -> LlamaForCausalLM:
    """A freshly initialised Llama, in training mode, in float32.

    The input embedding and the output projection share their weights; nothing is dropped out. The
    gated MLP is 8/3 of the width, rounded up to a multiple of 32, so that its three matrices cost what
    the two of a classical MLP of four times the width cost.

    `context` is the largest number of tokens (prompt and response together) in one sequence.
    `pad_token` must differ from `eos_token`: where they are one, nothing can tell a finished text
    from a padded one. The same `seed` gives the same weights; the global random state is not touched.

    Raises ValueError where `heads` does not divide `width` into parts of even size, where a special
    token lies outside the vocabulary, and where `pad_token == eos_token`.

    >>> new_llama(vocab_size=16, width=8, layers=1, heads=2, context=32,
    ...           pad_token=0, eos_token=2, bos_token=1, seed=0).config.intermediate_size
    32
    """
    if width % heads or (width // heads) % 2:
        raise ValueError(f"width {width} over {heads} heads: each head needs an even number of channels")
    special = {"pad_token": pad_token, "eos_token": eos_token, "bos_token": bos_token}
    for name, token in special.items():
        if not 0 <= token < vocab_size:
            raise ValueError(f"{name} is {token}, outside the vocabulary of {vocab_size} tokens")
    if pad_token == eos_token:
        raise ValueError(f"pad_token and eos_token are both {pad_token}; give padding a token of its own")
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=-(-8 * width // (3 * 32)) * 32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=context,
        pad_token_id=pad_token,
        eos_token_id=eos_token,
        bos_token_id=bos_token,
        tie_word_embeddings=True,
        attention_dropout=0.0,
    )
    with _seeded(seed):
        return LlamaForCausalLM(config).float().train()


def new_reward_model(causal_lm: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """A sequence classifier with one label whose backbone is a copy of `causal_lm`'s.

    It maps a sequence to one number read at the last token. The new head has no bias and is drawn
    from N(0, 1/(D+1)), D being the width: the backbone ends in a normalisation, so that first scores
    have a standard deviation near one (Stiennon et al., 2020; standard deviation 1/sqrt(D+1)).

    Works for every architecture that `AutoModelForSequenceClassification` knows.
    Raises ValueError where the model has no padding token of its own, because `transformers` looks
    for the last token that is not padding.
    """
    config = copy.deepcopy(causal_lm.config)
    if config.pad_token_id is None or config.pad_token_id == config.eos_token_id:
        raise ValueError(
            f"the model's pad_token_id is {config.pad_token_id} and its eos_token_id {config.eos_token_id}; "
            "a reward model needs a padding token that is not also the end of a text: "
            "set model.config.pad_token_id to an unused token"
        )
    config.num_labels = 1
    with _seeded(seed):
        reward_model = AutoModelForSequenceClassification.from_config(config)
        head = scalar_head(reward_model)
        nn.init.normal_(head.weight, std=(head.in_features + 1) ** -0.5)
    return _adopt_backbone(reward_model, causal_lm)


def new_value_model(reward_model: PreTrainedModel) -> PreTrainedModel:
    """A token classifier with one label that starts as a copy of `reward_model`, head included.

    At each position it then predicts what the reward model would say if the text ended there, which
    is a far better first guess of the final reward than zero. The token classifier's head has a bias,
    which starts at zero. Dropout is off. Nothing is random here.
    """
    config = copy.deepcopy(reward_model.config)
    config.classifier_dropout = 0.0
    with _seeded(0):  # every drawn weight is overwritten below; the global random state stays as it was
        value_model = AutoModelForTokenClassification.from_config(config)
    head = scalar_head(value_model)
    with torch.no_grad():
        head.weight.copy_(scalar_head(reward_model).weight)
        if head.bias is not None:
            head.bias.zero_()
    return _adopt_backbone(value_model, reward_model)


def copy_of(model: Model) -> Model:
    """An independent copy of a model that can be trained, even where the original is frozen."""
    return copy.deepcopy(model).requires_grad_(True)


def freeze(model: Model) -> Model:
    """Put the model in evaluation mode, stop gradients to its parameters, and return it (not a copy)."""
    return model.requires_grad_(False).eval()


def scalar_head(model: PreTrainedModel) -> nn.Linear:
    """The linear layer of a one-label classifier: `score` or `classifier`, as its architecture calls it."""
    heads = [module for module in model.children() if isinstance(module, nn.Linear)]
    if len(heads) != 1 or heads[0].out_features != 1:
        raise ValueError(
            f"{type(model).__name__} has heads {heads}; expected one linear layer with one output, "
            "as in a model from new_reward_model or new_value_model"
        )
    return heads[0]


def _adopt_backbone(model: PreTrainedModel, source: PreTrainedModel) -> PreTrainedModel:
    """Copy `source`'s backbone into `model`, and its device and number type with it."""
    model.base_model.load_state_dict(source.base_model.state_dict())
    return model.to(device=source.device, dtype=source.dtype).train()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed` without disturbing the program's own random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
