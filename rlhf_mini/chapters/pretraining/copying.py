"""The base model's own training, watched: its loss, and when it learns that a story's hero is its title's.

The run is that of the pipeline's stage `base`. At
checkpoints the model is asked for the probability of the hero's name at its first place in a story, under a
title that names the hero, and without a title. Without one nothing better than guessing among the heroes is
possible, so that this number is the control.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.tokenizer import encode_text
from rlhf_mini.methods.pretrain import document_loss
from rlhf_mini.models import freeze, token_logits
from rlhf_mini.pipeline import Pipeline, pretrain_base, untrained_base
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.lexicon import HEROES

LOOKS, WATCHED, HELD_OUT = 40, 96, 64
SCENE_HERO = "fox"
SCENE = f"A short happy story of the {SCENE_HERO} and the kite: Once upon a time, a cheerful"


def known_heroes(pipeline: Pipeline) -> list[str]:
    """The heroes whose name is one token."""
    return [hero for hero in HEROES if len(encode_text(pipeline.tokenizer(), f" {hero}")) == 1]


def draw_places(pipeline: Pipeline, count: int, *, titled: bool) -> Sequences:
    """Texts cut just behind the first mention of the hero in the story; only that token counts.

    Their pairs of hero and object stand in no training text.
    """
    tokenizer, rng = pipeline.tokenizer(), pipeline.rng("chapter 02, copying")
    known = set(known_heroes(pipeline))
    before: list[list[int]] = []
    names: list[list[int]] = []
    while len(names) < count:
        facts = stories.draw_facts(rng, held_out=True)
        story = stories.write_story(facts, rng)
        start = story.find(f" {facts.hero}")
        if facts.hero not in known or start < 0:
            continue
        head = f"{stories.title_of(facts)} " if titled else ""
        before.append([tokenizer.bos_token_id, *encode_text(tokenizer, head + story[:start])])
        names.append(encode_text(tokenizer, f" {facts.hero}"))
    return pack_rows(before, names, pad_token=tokenizer.pad_token_id)


@torch.no_grad()
def at_the_hero(model: PreTrainedModel, places: Sequences) -> Tensor:
    """log p of every token of the vocabulary where the hero is to be named: (B, V)."""
    logits = token_logits(model, places.tokens, places.mask)
    return logits[torch.arange(len(places)), places.lengths - 2].log_softmax(-1)


def look_at(model: PreTrainedModel, places: Sequences) -> dict[str, float]:
    """Mean probability of the right hero, how often it is the first choice, and its surprise in nats."""
    logp, right = at_the_hero(model, places), places.tokens[places.response]
    own = logp.gather(1, right[:, None]).squeeze(1)
    return {
        "probability": float(own.exp().mean()),
        "first_choice": float((logp.argmax(1) == right).float().mean()),
        "surprise": float(-own.mean()),
    }


@torch.no_grad()
def look_at_scene(model: PreTrainedModel, tokens: Tensor, names: list[int]) -> dict[str, list[float]]:
    """What comes after `SCENE`: p of each known hero, and where each head looks from the last token.

    The attention is (layers · heads · tokens) numbers, flat.
    """
    model.set_attn_implementation("eager")
    output = model(input_ids=tokens, output_attentions=True, use_cache=False)
    model.set_attn_implementation("sdpa")
    heads = torch.stack([layer[0, :, -1] for layer in output.attentions])
    return {
        "heroes": output.logits[0, -1].softmax(-1)[names].tolist(),
        "attention": [round(value, 4) for value in heads.flatten().tolist()],
    }


def watch(pipeline: Pipeline, folder: Path) -> None:
    """Train the base model, and keep it with what was seen at each look."""
    model = untrained_base(pipeline)
    observer = Observer(pipeline, model)
    pretrain_base(pipeline, model, hooks=[observer])
    model.save_pretrained(folder)
    (folder / "seen.json").write_text(json.dumps(observer.seen))


class Observer:
    """A hook that looks at the model before the first step's end and then at `LOOKS` steps, evenly spread."""

    def __init__(self, pipeline: Pipeline, model: PreTrainedModel) -> None:
        tokenizer = pipeline.tokenizer()
        self.model, self.tokenizer = model, tokenizer
        self.every = max(1, pipeline.profile.pretrain.steps // LOOKS)
        self.titled = draw_places(pipeline, WATCHED, titled=True).to(model.device)
        self.untitled = draw_places(pipeline, WATCHED, titled=False).to(model.device)
        rng = pipeline.rng("chapter 02, watched documents")
        self.held_out = [stories.draw_document(rng) for _ in range(HELD_OUT)]
        scene = [tokenizer.bos_token_id, *encode_text(tokenizer, SCENE)]
        self.scene = torch.tensor([scene], device=model.device)
        self.names = [encode_text(tokenizer, f" {hero}")[0] for hero in known_heroes(pipeline)]
        self.seen: list[dict[str, Any]] = []

    def __call__(self, step: int, entry: dict[str, float]) -> None:
        """Look, if it is time."""
        if step > 1 and step % self.every:
            return
        control = look_at(self.model, self.untitled)
        self.seen.append(
            {
                "step": float(step),
                "nats_per_document": document_loss(self.model, self.tokenizer, self.held_out),
                **look_at(self.model, self.titled),
                "control": control["probability"],
                "control_surprise": control["surprise"],
                **look_at_scene(self.model, self.scene, self.names),
            }
        )


def watched_model(pipeline: Pipeline) -> PreTrainedModel:
    """The trained model, frozen."""
    model = AutoModelForCausalLM.from_pretrained(pipeline.kept(watch))
    return freeze(model).to(pipeline.device)


def seen(pipeline: Pipeline) -> list[dict[str, Any]]:
    """What was seen, one entry a look."""
    return json.loads((pipeline.kept(watch) / "seen.json").read_text())


def attention_on_the_hero(pipeline: Pipeline, look: dict[str, Any]) -> Tensor:
    """What each head gives to the title's hero from the scene's last token: (layers · heads,)."""
    tokens = scene_words(pipeline)
    return torch.tensor(look["attention"]).view(-1, len(tokens))[:, tokens.index(SCENE_HERO)]


def scene_words(pipeline: Pipeline) -> list[str]:
    """The tokens of `SCENE` as words, the begin token first."""
    return ["begin", *(token.lstrip("Ġ") for token in pipeline.tokenizer().tokenize(SCENE))]
