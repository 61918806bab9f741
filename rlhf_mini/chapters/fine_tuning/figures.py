"""The chapter's figures over seeds, drawn from the records in `book/results/`."""

from collections.abc import Sequence

from rlhf_mini.chapters.fine_tuning import runs, templates
from rlhf_mini.chapters.fine_tuning.bug_hunt import LOOKS
from rlhf_mini.evaluation import Interval, read_records, records_table, student_interval
from rlhf_mini.evaluation.records import Record
from rlhf_mini.reader import (
    Curve,
    Level,
    Picture,
    beside,
    interval_bars,
    learning_curves,
    records,
    training_curves,
)

ON_RECORD = {"profile": "quick"}
TABLES = {
    "small subsets": {
        "gold_mixed": "gold, random 512",
        "gold_k-means": "k-means",
        "gold_k-centre": "k-centre",
        "gold_careful": "careful 512",
    },
    "forgetting": {
        "document_nats_base": "plain stories (nats per token), base",
        "document_nats_mixed": "SFT",
        "document_nats_rehearsed": "rehearsed",
    },
    "exposure bias": {
        "after_gold": "slips after a writer's",
        "after_clean": "after own, clean",
        "after_slipped": "after own, slipped",
    },
    "scheduled sampling": {
        "gold_plain": "gold, ε = 1",
        "gold_mild": "ε down to 0.9",
        "gold_strong": "ε down to 0.25",
    },
    "LoRA": {
        "gold_full": "gold, full",
        "gold_lora": "gold, LoRA",
        "document_nats_full": "plain stories, full",
        "document_nats_lora": "plain stories, LoRA",
    },
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
            "rises less and comes back.",
        ),
        along("gold", names, ylabel="mean gold reward", alt="Gold rises alike with and without rehearsal."),
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
        alt="Both curves rise steeply: careless answers, which are never shown, gain about as many nats as the "
        "careful ones.",
    )


def hunt_curves() -> Picture:
    """Loss and gold of the bug hunt's versions."""
    kinds = {
        "right": ("ours", "policy"),
        "wrong": ("his", "loss"),
        "without end": ("no end\ntoken", "reference"),
    }

    def panel(metric: str, ylabel: str, alt: str, *, first: int) -> Picture:
        return learning_curves(
            [
                Curve(
                    label,
                    role,
                    LOOKS[first:],
                    [r.metrics[metric][first:] for r in recorded("bug hunt", method=way)],
                )
                for way, (label, role) in kinds.items()
            ],
            xlabel="update (log scale)",
            ylabel=ylabel,
            alt=alt,
        )

    return beside(
        panel(
            "loss",
            "training loss (nats per token)",
            "The three losses fall together; his ends lowest.",
            first=1,
        ),
        panel(
            "gold", "mean gold reward", "Ours and the one without end token rise; his stays below.", first=0
        ),
    )


def claim_tables() -> Picture:
    """The claims' numbers over seeds."""
    return beside(
        *(
            records(
                records_table(
                    recorded("claims", method=name),
                    metrics=columns,
                    decimals=2 if "gold_plain" in columns or "gold_mixed" in columns else 3,
                )
            )
            for name, columns in TABLES.items()
        )
    )


def scoreboard() -> Picture:
    """The chapter's rows of the book's scoreboard."""
    columns = {
        "gold": "gold",
        "followed": "followed",
        "writers_gold": "writers' gold",
        "distinct_2": "distinct-2",
        "length": "tokens",
    }
    return records(records_table(recorded("scoreboard"), metrics=columns))
