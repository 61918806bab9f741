"""The chapter's own drawings: the three objectives as a flow, the masks, and copying as it is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlhf_mini.losses import masked_token_loss, next_token_loss
from rlhf_mini.models.masks import (
    bidirectional_attention_mask,
    causal_attention_mask,
    cross_attention_mask,
    prefix_attention_mask,
)
from rlhf_mini.reader import Arrow, Box, Flow, Picture, frames, new_figure, picture
from rlhf_mini.reader.masks import MaskPanel, mask_panels
from rlhf_mini.reader.plots import finish, in_style
from rlhf_mini.reader.style import INK, role_colour
from rlhf_mini.tensors import token_logp

WORDS = ("a", "fox", "ran")
# What a toy model gives to each right word, by what it has read: from the left, and from both sides.
FROM_THE_LEFT, FROM_BOTH_SIDES, WITH_ENCODER = (0.5, 0.1, 0.4), 0.8, (0.9, 0.8, 0.9)


def toy_losses() -> dict[str, list[float]]:
    """The losses of the drawn example in nats, by the library: three tokens, one masked token, three tokens again."""
    tokens = torch.tensor([[0, 1, 2, 3]])  # begin, a, fox, ran

    def logits(probabilities: Sequence[float], targets: Sequence[int]) -> Tensor:
        """Rows in which each target has its probability and the other three words share the rest."""
        rows = [
            [p if word == target else (1 - p) / 3 for word in range(4)]
            for p, target in zip(probabilities, targets, strict=True)
        ]
        return torch.tensor([rows]).log()

    left = logits([*FROM_THE_LEFT, 0.25], [1, 2, 3, 0])
    hole = logits([0.25, 0.25, FROM_BOTH_SIDES, 0.25], [0, 1, 2, 3])
    aided = logits([*WITH_ENCODER, 0.25], [1, 2, 3, 0])
    return {
        "causal": next_token_loss(token_logp(left, tokens))[0, 1:].tolist(),
        "seq2seq": next_token_loss(token_logp(aided, tokens))[0, 1:].tolist(),
        "masked": [float(masked_token_loss(hole, tokens)[0, 2])],
    }


def objectives_flow() -> Flow:
    """One row an objective: what the model reads, under which mask, and what its loss is made of."""
    losses = toy_losses()
    causal, aided = (" ".join(f"{v:.2f}" for v in losses[name]) for name in ("causal", "seq2seq"))
    hole = f"{losses['masked'][0]:.2f}"
    rows = (
        ("causal", "begin a fox", "looks left", "a fox ran", f"−log p:\n{causal}"),
        ("masked", "begin a ▢ ran", "looks both ways", "▢ = fox", f"−log p:\n{hole}"),
        ("seq2seq", "begin a ▢ ran", "encoder both ways\ndecoder left", "a fox ran", f"−log p:\n{aided}"),
    )
    boxes, arrows = [], []
    for row, (name, read, mask, said, loss) in enumerate(rows):
        boxes += [
            Box(key=f"{name} text", title="reads", kind="data", role="data", row=row, column=0, detail=read),
            Box(key=name, title=name, kind="model", role="policy", row=row, column=1, detail=mask),
            Box(key=f"{name} loss", title=said, kind="loss", role="loss", row=row, column=2, detail=loss),
        ]
        arrows += [
            Arrow(source=f"{name} text", target=name),
            Arrow(source=name, target=f"{name} loss"),
        ]
    return Flow(boxes=tuple(boxes), arrows=tuple(arrows))


def four_masks(words: Sequence[str], *, given: int) -> Picture:
    """The masks of four architectures over one sentence, of which the first `given` words are the prefix."""
    real = torch.ones(1, len(words), dtype=torch.bool)
    prefix = (torch.arange(len(words)) < given)[None]
    source, target = words[:given], words[given:]
    cross = cross_attention_mask(real[:, given:], real[:, :given])[0]
    decoder = torch.cat([cross, causal_attention_mask(real[:, given:])[0]], dim=1)
    return mask_panels(
        [
            MaskPanel("causal decoder", causal_attention_mask(real)[0], words, words),
            MaskPanel("prefix decoder", prefix_attention_mask(real, prefix)[0], words, words),
            MaskPanel("encoder", bidirectional_attention_mask(real)[0], words, words),
            MaskPanel("decoder of an encoder–decoder", decoder, target, [*source, *target]),
        ],
        alt="Four grids. Causal: a lower triangle. Prefix decoder: the same with a full square over the prefix. "
        "Encoder: all filled. Decoder of an encoder–decoder: the source columns full, the rest a triangle.",
        caption="A filled cell: the word of its row sees the word of its column. In the fourth panel the columns "
        f"are first the {given} words that the encoder has read, then the decoder's own.",
    )


def copying_frames(
    looks: Sequence[Mapping[str, Any]], heroes: Sequence[str], tokens: Sequence[str], *, hero: str, head: int
) -> Picture:
    """A slider over training: p of every hero where the story names one, and where one head looks there.

    `looks` are entries of `copying.seen`, `tokens` the words of its scene; heads are numbered through the
    layers.
    """
    attention = [torch.tensor(look["attention"]).view(-1, len(tokens)) for look in looks]
    pictures = [
        _copying_frame(look["heroes"], heroes, pattern[head].tolist(), tokens, hero=hero)
        for look, pattern in zip(looks, attention, strict=True)
    ]
    captions = [
        f"step {look['step']:.0f}: p({hero}) = {look['heroes'][heroes.index(hero)]:.2f}" for look in looks
    ]
    return frames(pictures, captions, label="training")


@in_style
def _copying_frame(
    probabilities: Sequence[float],
    heroes: Sequence[str],
    attention: Sequence[float],
    tokens: Sequence[str],
    *,
    hero: str,
) -> Picture:
    figure = new_figure(height=4.4)
    figure.axes[0].remove()
    top, bottom = figure.subplots(2, 1)
    own, other = role_colour("policy"), INK
    top.bar(range(len(heroes)), probabilities, color=[own if name == hero else other for name in heroes])
    top.annotate(
        hero,
        (heroes.index(hero), probabilities[heroes.index(hero)]),
        xytext=(4, 3),
        textcoords="offset points",
        color=own,
        fontweight="bold",
    )
    top.set_ylim(0, 1.08)
    finish(top, xlabel=f"the {len(heroes)} heroes", ylabel="probability of being named next")
    top.set_xticks([])
    bottom.bar(
        range(len(tokens)),
        attention,
        color=[own if token == hero else other for token in tokens],
    )
    bottom.set_ylim(0, 1.08)
    finish(bottom, xlabel="", ylabel="attention of one head, from the last word")
    bottom.set_xticks(range(len(tokens)), tokens, rotation=70, fontsize=8.5)
    share = probabilities[heroes.index(hero)]
    return picture(
        figure,
        alt=f"Above, the probabilities of the heroes, {share:.2f} for the {hero}; below, the attention of one head "
        "over the words of the title and the story's beginning.",
    )
