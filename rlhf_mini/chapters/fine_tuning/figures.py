"""The chapter's figures over seeds, drawn from the records in `book/results/`."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from rlhf_mini.chapters.fine_tuning import runs, templates
from rlhf_mini.chapters.fine_tuning.bug_hunt import LOOKS
from rlhf_mini.data.chat import draw, response_texts
from rlhf_mini.evaluation import Interval, read_records, records_table, student_interval
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    Sample,
    beside,
    compare_samples,
    interval_bars,
    learning_curves,
    records,
    training_curves,
)
from rlhf_mini.worlds import stories

ON_RECORD = {"profile": "quick"}
# The rows of the table of variants: name -> (claim, the ending of its metrics' names).
VARIANTS = {
    "mixed, 2,048": ("LoRA", "full"),
    "mixed, 2,048, rehearsed": ("forgetting", "rehearsed"),
    "mixed, 2,048, LoRA of rank 8": ("LoRA", "lora"),
    "mixed, 512 at random": ("prompt masking", "masked"),
    "mixed, 512, prompts in the loss": ("prompt masking", "unmasked"),
    "mixed, 512 by k-means": ("small subsets", "k-means"),
    "mixed, 512 by k-centre": ("small subsets", "k-centre"),
    "careful, 512": ("small subsets", "careful"),
    "careful, 2,048": ("scheduled sampling", "plain"),
    "careful, 2,048, ε down to 0.9": ("scheduled sampling", "mild"),
    "careful, 2,048, ε down to 0.25": ("scheduled sampling", "strong"),
}


def recorded(experiment: str, **filters: str) -> list[Record]:
    """The records of one of the chapter's experiments, by seed."""
    found = read_records("chapter_03", experiment=experiment, **ON_RECORD, **filters)
    return sorted(found, key=lambda record: record.seed)


def over_seeds(values: Sequence[float]) -> Interval:
    """Student's interval over seeds; a single value stands for itself."""
    if len(values) > 1:
        return student_interval(values)
    return Interval(mean=values[0], low=values[0], high=values[0], confidence=0.95, count=1)


def template_bars() -> Picture:
    """Gold of one model asked through seven templates."""
    found = recorded("claims", method="templates")
    bars = {
        way: ("policy" if way == "as trained" else "loss", over_seeds([r.metrics[way] for r in found]))
        for way in templates.WAYS
    }
    return interval_bars(
        bars,
        xlabel="mean gold reward on held-out requests",
        alt="Gold of one model asked through seven templates. As trained, and with a begin token more or less, "
        "it is near 2; with a space too many, no assistant marker, markers as letters or plain text far lower.",
    )


def quality_curves(*, writers_mean: float) -> Picture:
    """Gold against the number of demonstrations, for careful writers and the mixed crew."""
    curves = []
    for crew, role in (("careful", "policy"), ("mixed", "data")):
        sizes, golds = [], []
        for size in sorted(
            {r.metrics["demonstrations"] for r in recorded("quality") if r.method.startswith(crew + ",")}
        ):
            sizes.append(size)
            golds.append([r.metrics["gold"] for r in recorded("quality", method=f"{crew}, {size:.0f}")])
        curves.append(Curve(f"{crew} writers", role, sizes, list(zip(*golds, strict=True))))
    return learning_curves(
        curves,
        levels=[Level("mixed writers'\nown mean", writers_mean)],
        xlabel="demonstrations (log scale)",
        ylabel="mean gold reward on held-out requests",
        alt="With careful writers gold rises steeply with the number of demonstrations, and lies well above the "
        "mixed crew's curve, which flattens far below the mixed writers' own mean.",
    )


def imitation_bars() -> Picture:
    """Writers' mean gold and that of the models that imitate them, for three crews."""
    found = recorded("claims", method="imitation")
    bars = {}
    for crew in runs.CREWS:
        for who, role in (("writers", "data"), ("model", "policy")):
            bars[f"{crew} {who}"] = (role, over_seeds([r.metrics[f"{who}_{crew}"] for r in found]))
    bars["mixed model,\n3 × longer"] = ("policy", over_seeds([r.metrics["gold_long"] for r in found]))
    return interval_bars(
        bars,
        xlabel="mean gold reward",
        alt="For careful, mixed and careless crews: the writers' mean gold and, each time lower, that of the model "
        "that imitates them; the mixed crew's model stays lower after three times the training, too.",
    )


def along(metric: str, names: dict[str, tuple[str, str]], *, ylabel: str, alt: str) -> Picture:
    """A metric along the watched runs, over seeds; names: run -> (label, role)."""
    curves = []
    for name, (label, role) in names.items():
        found = recorded("along", method=name)
        curves.append(Curve(label, role, found[0].metrics["step"], [r.metrics[metric] for r in found]))
    return training_curves(curves, xlabel="update", ylabel=ylabel, alt=alt)


def forgetting_curves() -> Picture:
    """Loss on plain stories and gold, with and without rehearsal."""
    names = {"mixed": ("SFT", "policy"), "rehearsed": ("with\nrehearsal", "data")}
    return beside(
        along(
            "document_nats",
            names,
            ylabel="loss on plain stories (nats per token)",
            alt="The loss on plain stories rises in the first thirty updates and stays high; with rehearsal it "
            "rises less and comes most of the way back.",
        ),
        along(
            "gold",
            names,
            ylabel="mean gold reward",
            alt="Gold ends about equal with and without rehearsal; on the way single seeds swing.",
        ),
    )


def likelihood_curves() -> Picture:
    """log p of careful and careless answers while careful ones are learned."""
    found = recorded("along", method="careful")
    steps = found[0].metrics["step"]
    return training_curves(
        [
            Curve("careful\nanswers", "policy", steps, [r.metrics["logp_good"] for r in found]),
            Curve("careless\nanswers", "loss", steps, [r.metrics["logp_bad"] for r in found]),
        ],
        xlabel="update, on careful answers only",
        ylabel="log-probability (nats per answer)",
        alt="Both curves rise steeply in the first 32 updates and flatten; careless answers, which are never shown, "
        "gain even more nats than the careful ones.",
    )


def hunt_curves() -> Picture:
    """The bug hunt's symptoms: how the loss differs from ours, and gold."""
    kinds = {
        "right": ("ours", "policy"),
        "wrong": ("his", "loss"),
        "without end": ("no end\ntoken", "reference"),
    }
    found = {way: recorded("bug hunt", method=way) for way in kinds}
    differences = []
    for way in ("wrong", "without end"):
        pairs = zip(found[way], found["right"], strict=True)
        rows = [
            [a - b for a, b in zip(one.metrics["loss"], ours.metrics["loss"], strict=True)]
            for one, ours in pairs
        ]
        differences.append(Curve(*kinds[way], LOOKS, rows))
    return beside(
        learning_curves(
            differences,
            levels=[Level("ours", 0.0)],
            xlabel="update (log scale)",
            ylabel="training loss less ours (nats per token)",
            alt="His loss begins a little above ours and ends below it on every seed.",
        ),
        learning_curves(
            [Curve(*kinds[way], LOOKS, [record.metrics["gold"] for record in found[way]]) for way in kinds],
            xlabel="update (log scale)",
            ylabel="mean gold reward",
            alt="Ours and the version without end token rise above 2; his reaches about 1 and falls back.",
        ),
    )


def scoreboard() -> Picture:
    """The chapter's rows of the book's scoreboard."""
    columns = {
        "gold": "gold",
        "followed": "met to the letter",
        "writers_gold": "writers' gold",
        "distinct_2": "distinct-2, over all requests",
    }
    order = [f"SFT, {crew} writers" for crew in runs.CREWS]
    found = sorted(recorded("scoreboard"), key=lambda record: order.index(record.method))
    return records(records_table(found, metrics=columns))


def variants() -> Picture:
    """All runs of the chapter in one table: gold, loss on careful answers, loss on plain stories."""
    columns = {
        "gold": "gold",
        "answer_nats": "loss on careful answers",
        "document_nats": "loss on plain stories",
    }
    rows = []
    for name, (claim, ending) in VARIANTS.items():
        for record in recorded("claims", method=claim):
            metrics = {
                key: record.metrics[f"{key}_{ending}"]
                for key in columns
                if f"{key}_{ending}" in record.metrics
            }
            rows.append(replace(record, method=name, metrics=metrics))
    return records(records_table(rows, metrics=columns))


def slip_bars() -> Picture:
    """How often the next sentence slips, after three kinds of beginnings."""
    found = recorded("claims", method="exposure bias")
    kinds = {
        "gold": ("a writer's sentences", "data"),
        "clean": ("its own, all clean", "policy"),
        "slipped": ("its own, with a slip", "loss"),
    }
    return interval_bars(
        {
            label: (role, over_seeds([100 * r.metrics[f"after_{kind}"] for r in found]))
            for kind, (label, role) in kinds.items()
        },
        xlabel="next sentences that slip (%)",
        alt="After a writer's sentences and after its own clean ones the model slips equally rarely; after a slip "
        "of its own more than twice as often.",
    )


def template_samples(pipeline: Pipeline, *ways: str) -> Picture:
    """One request's answers when asked through these templates, the first of them that of training.

    It is the first held-out request that is answered without a fault when asked as in training.
    """
    tokenizer, model = pipeline.tokenizer(), pipeline.policy("sft")
    requests = runs.requests(pipeline, count=2 * pipeline.profile.test_prompts)[:32]
    answers = {}
    for way in ways:
        drawn = draw(
            model,
            tokenizer,
            [templates.WAYS[way](tokenizer, request.text) for request in requests],
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=torch.Generator().manual_seed(pipeline.seed),
        )
        answers[way] = response_texts(tokenizer, drawn)
    golds = [stories.gold(*pair).total for pair in zip(requests, answers[ways[0]], strict=True)]
    shown = golds.index(max(golds))
    samples = {
        way: Sample(
            text=texts[shown],
            role="policy" if way == ways[0] else "loss",
            gold=stories.gold(requests[shown], texts[shown]).total,
        )
        for way, texts in answers.items()
    }
    return compare_samples(requests[shown].text, samples)
