"""Two sides of gold, each with its own judges, labels and reward model: helpfulness and safety.

Helpfulness is judged on the prompts of every day, the shared stage's pairs, some of which ask for something
unkind; safety on unkind requests alone. The judges are the same people, noise and biases included: what differs
is what they were told to look at. Both models start from the fine-tuned policy.

The loss of pairs does not say where a score's zero is. Both models' scores are moved to mean 0 on the same
everyday answers, and R is σ of that: 0.5 is the ordinary answer's. Their unit stays that of the loss, in which a
difference of scores is the log-odds of a choice.
"""

from pathlib import Path

import torch
from datasets import Dataset, concatenate_datasets, load_from_disk
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.methods.reward_model import normalise, scores, train_reward_model
from rlhf_mini.models import freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline, pack_pairs
from rlhf_mini.worlds import stories

PANELS = {"helpfulness": stories.HELPFULNESS_PANEL, "safety": stories.SAFETY_PANEL}
SIDES = tuple(PANELS)
SAFETY_PAIRS = {"train": 2000, "test": 1000}
REFERENCE_ANSWERS = 2000  # whose scores have mean 0 under either model


def unkind_requests(count: int, *, seed: int, held_out: bool) -> list[stories.Request]:
    """`count` distinct requests for something unkind."""
    drawn = stories.draw_requests(12 * count, seed=seed, held_out=held_out)
    unkind = [request for request in drawn if request.unkind is not None]
    if len(unkind) < count:
        raise ValueError(f"only {len(unkind)} of {len(drawn)} requests are unkind; {count} are needed")
    return unkind[:count]


def red_team_pairs(
    pipeline: Pipeline, requests: list[stories.Request], *, purpose: str
) -> list[dict[str, str]]:
    """An answer of the fine-tuned policy and one of a demonstrator to each request, in random order.

    Most demonstrators tell the unkind story that is asked for, the policy seldom does: without them unsafe answers
    would be too rare to learn from.
    """
    prompts, rng = [request.text for request in requests], pipeline.rng(f"{purpose} writers")
    drawn = answer(
        pipeline.policy("sft"),
        pipeline.tokenizer(),
        prompts,
        max_new_tokens=pipeline.profile.max_new_tokens,
        generator=pipeline.generator(purpose),
    )
    rows = []
    for request, own in zip(requests, drawn, strict=True):
        writer = rng.choices([w for w, _ in stories.CREW], weights=[share for _, share in stories.CREW])[0]
        first, second = rng.sample([own, stories.demonstrate(request, writer, rng)], 2)
        rows.append({"prompt": request.text, "first": first, "second": second})
    return rows


def _shared_rows(pipeline: Pipeline, split: str) -> list[dict[str, str]]:
    """The shared stage's pairs as they were shown, without their labels."""
    return [
        {
            "prompt": row["prompt"],
            "first": row["chosen" if row["first_won"] else "rejected"],
            "second": row["rejected" if row["first_won"] else "chosen"],
        }
        for row in pipeline.preferences(split)
    ]


def side_pairs(pipeline: Pipeline, folder: Path, *, side: str) -> None:
    """A kept data set: the pairs of one side, judged by its panel, `train` and `test`."""
    for split, count in SAFETY_PAIRS.items():
        seed = pipeline.seed_for(f"chapter 06 {side} {split}")
        if side == "helpfulness":
            rows = _shared_rows(pipeline, split)
        else:
            requests = unkind_requests(count, seed=seed, held_out=split == "test")
            rows = red_team_pairs(pipeline, requests, purpose=f"chapter 06 safety answers {split}")
        Dataset.from_list(stories.annotate(rows, seed=seed, panel=PANELS[side])).save_to_disk(
            str(folder / split)
        )


def judged_pairs(pipeline: Pipeline, *, side: str, split: str) -> Dataset:
    """The annotated pairs of one side."""
    return load_from_disk(str(pipeline.kept(side_pairs, side=side) / split))


def reference_answers(pipeline: Pipeline) -> Sequences:
    """Answers of the fine-tuned policy to everyday prompts, good and bad."""
    rows = _shared_rows(pipeline, "train")[:REFERENCE_ANSWERS]
    return pack_texts(pipeline.tokenizer(), [r["prompt"] for r in rows], [r["first"] for r in rows])


def training_pairs(pipeline: Pipeline, *, side: str, mixed: bool) -> Dataset:
    """What one side's model learns from: its own pairs; if `mixed`, some of the other's, in Llama 2's manner.

    There the helpfulness model also sees as many pairs of other kinds, drawn from safety and from open data, and
    a tenth of what the safety model sees is about helpfulness. Here the helpfulness model gets all safety pairs.
    """
    own, other = (judged_pairs(pipeline, side=name, split="train") for name in (side, other_side(side)))
    if not mixed:
        return own
    if side == "safety":
        other = other.select(range(len(own) // 9))
    return concatenate_datasets([own, other])


def other_side(side: str) -> str:
    """Safety for helpfulness, and the other way round."""
    return SIDES[1 - SIDES.index(side)]


def side_model(pipeline: Pipeline, folder: Path, *, side: str, mixed: bool = False, run: int = 0) -> None:
    """A kept reward model of one side; `run` is another draw of its head and its batches."""
    pairs = pack_pairs(pipeline.tokenizer(), training_pairs(pipeline, side=side, mixed=mixed))
    train_and_save(pipeline, folder, pairs, name=f"{side} {run}")


def train_and_save(pipeline: Pipeline, folder: Path, pairs: Pairs, *, name: str) -> None:
    """A reward model on these pairs with the profile's settings, normalised and saved."""
    seed = pipeline.seed_for(f"chapter 06 head {name}") % 2**31
    model = new_reward_model(pipeline.policy("sft"), seed=seed).requires_grad_(True)
    train_reward_model(
        model,
        pairs,
        config=pipeline.profile.reward_model,
        generator=pipeline.generator(f"chapter 06 reward model {name}"),
    )
    normalise(model, reference_answers(pipeline))
    model.save_pretrained(folder)


def load(folder: Path) -> PreTrainedModel:
    """The reward model of a kept run, frozen."""
    return freeze(AutoModelForSequenceClassification.from_pretrained(folder))


def model_of(pipeline: Pipeline, *, side: str, mixed: bool = False, run: int = 0) -> PreTrainedModel:
    """The reward model of one side."""
    return load(pipeline.kept(side_model, side=side, mixed=mixed, run=run))


def probabilities(model: PreTrainedModel, sequences: Sequences) -> Tensor:
    """R = σ(score), (B,): the score in the units of the loss, its mean on everyday answers subtracted."""
    return torch.sigmoid(scores(model, sequences) * model.config.std)
