"""What chapter 03 claims, measured on one pipeline: `rlhf-mini claims 03` prints it and writes the records."""

from functools import lru_cache
from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.fine_tuning import (
    adapters,
    bug_hunt,
    diversity,
    exposure,
    forgetting,
    limits,
    masking,
    quality,
    templates,
)
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "03"
REHEARSED = 16  # documents a step
STRONG, MILD = 0.25, 0.9  # the least share of kept tokens in scheduled sampling
RANK = 8
FEW = 16  # batches of demonstrations; 512 on the quick profile


def asked_otherwise(pipeline: Pipeline) -> dict[str, float]:
    """Gold of the SFT model through every template."""
    return {name: pipeline.measured(templates.asked_through, way=name)["gold"] for name in templates.WAYS}


def prompts_in_the_loss(pipeline: Pipeline) -> dict[str, float]:
    """Prompt masking, with and without."""
    return pipeline.measured(masking.prompt_masking, batches=FEW)


def packed_rows(pipeline: Pipeline) -> dict[str, float]:
    """Packing, with its losses and seconds."""
    return pipeline.measured(masking.packing)


def few_good(pipeline: Pipeline) -> dict[str, float]:
    """Gold against the number of demonstrations, for careful writers and for the mixed crew."""
    return {
        f"gold_{crew}_{size}": pipeline.measured(quality.gold_of_run, crew=crew, batches=size)["gold"]
        for crew in ("careful", "mixed")
        for size in quality.SIZES
    }


def chosen_by_embedding(pipeline: Pipeline) -> dict[str, float]:
    """Gold of models trained on a quarter of the mixed pool, chosen in three ways, and on careful writers."""
    numbers = {f"gold_{crew}": few_good(pipeline)[f"gold_{crew}_{FEW}"] for crew in ("mixed", "careful")}
    for choice in ("k-centre", "k-means"):
        run = pipeline.measured(quality.selection, choice=choice)
        numbers |= {f"gold_{choice}": run["gold"], f"careful_share_{choice}": run["careful_share"]}
    return numbers


@lru_cache(maxsize=4)
def along_the_way(pipeline: Pipeline) -> dict[str, Any]:
    """The watched runs."""
    return pipeline.measured(forgetting.trajectories, documents=REHEARSED)


def forgotten(pipeline: Pipeline) -> dict[str, float]:
    """Loss on plain stories before and after, with and without rehearsal; gold; seconds."""
    run = along_the_way(pipeline)
    return {
        "document_nats_base": run["document_nats_mixed"][0],
        **{f"document_nats_{name}": run[f"document_nats_{name}"][-1] for name in ("mixed", "rehearsed")},
        **{f"gold_{name}": run[f"gold_{name}"][-1] for name in ("mixed", "rehearsed")},
        **{f"seconds_{name}": run[f"seconds_{name}"] for name in ("mixed", "rehearsed")},
    }


def own_prefixes(pipeline: Pipeline) -> dict[str, float]:
    """Slips and losses after own and after a writer's sentences."""
    return pipeline.measured(exposure.exposure, least=1.0)


def sampled_on_schedule(pipeline: Pipeline) -> dict[str, float]:
    """Gold, loss on writers' text and slips of plain SFT and of two schedules."""
    numbers: dict[str, float] = {}
    for name, least in (("plain", 1.0), ("mild", MILD), ("strong", STRONG)):
        run = pipeline.measured(exposure.exposure, least=least)
        slips = (
            ("after_gold", "after_clean", "after_slipped") if name != "strong" else ()
        )  # it has no clean ones
        for key in ("gold", "answer_nats", *slips):
            numbers[f"{key}_{name}"] = run[key]
    return numbers


def varied(pipeline: Pipeline) -> dict[str, float]:
    """Distinct 2-grams and different texts among 32 answers to one prompt."""
    numbers: dict[str, float] = {}
    for who in diversity.WHO:
        run = pipeline.measured(diversity.diversity_of, who=who)
        numbers |= {f"{key} {who}": value for key, value in run.items()}
    return numbers


def imitated(pipeline: Pipeline) -> dict[str, float]:
    """Mean gold of three crews, of their models, and of the mixed crew's after three times the training."""
    return {**pipeline.measured(limits.imitation), **pipeline.measured(limits.longer)}


def never_pushed_down(pipeline: Pipeline) -> dict[str, float]:
    """log p of careful and of careless answers along a run that is shown careful ones only."""
    run = along_the_way(pipeline)
    good, bad = run["logp_good_careful"], run["logp_bad_careful"]
    return {
        "good_before": good[0],
        "good_after": good[-1],
        "bad_before": bad[0],
        "bad_highest": max(bad),
        "bad_after": bad[-1],
    }


def low_rank(pipeline: Pipeline) -> dict[str, float]:
    """Full fine-tuning and LoRA side by side."""
    runs = {
        name: pipeline.measured(adapters.full_or_lora, rank=rank)
        for name, rank in (("full", 0), ("lora", RANK))
    }
    return {f"{key}_{name}": value for name, run in runs.items() for key, value in run.items()}


def one_place_off(pipeline: Pipeline) -> dict[str, float]:
    """Loss, gold, and answers that open as they should, at the end of the bug hunt's runs."""
    numbers: dict[str, float] = {}
    for way in bug_hunt.WAYS:
        run = pipeline.measured(bug_hunt.symptoms, way=way)
        numbers |= {f"{key}_{way}": run[key][-1] for key in ("loss", "gold", "opened", "stopped")}
    return numbers


CLAIMS = (
    Claim(
        "templates",
        "Asked with a space too many, without the assistant marker, with the markers spelled as letters, or as plain text, "
        "the same model loses more than half of its gold; a begin token too many or too few costs less than half as much.",
        asked_otherwise,
        lambda m: (
            max(m[n] for n in ("a space too many", "no assistant marker", "markers as letters", "plain text"))
            < 0.5 * m["as trained"]
            and max(m["as trained"] - m[n] for n in ("two begin tokens", "no begin token"))
            < 0.5
            * min(
                m["as trained"] - m[n]
                for n in ("a space too many", "no assistant marker", "markers as letters", "plain text")
            )
        ),
        ("sft",),
    ),
    Claim(
        "prompt masking",
        "Leaving the prompts in the loss teaches the prompts, and changes gold by less than 0.3 in this world.",
        prompts_in_the_loss,
        lambda m: (
            abs(m["gold_masked"] - m["gold_unmasked"]) < 0.3
            and m["prompt_nats_unmasked"] < m["prompt_nats_masked"] - 1
        ),
        live=False,
    ),
    Claim(
        "packing",
        "Packed with walls, a batch has the loss and the gradient of rows of its own; without walls it has another loss.",
        packed_rows,
        lambda m: (
            abs(m["loss_packed"] - m["loss_padded"]) < 1e-5
            and m["gradient_difference"] < 1e-4
            and abs(m["loss_leaking"] - m["loss_padded"]) > 0.1
        ),
    ),
    Claim(
        "few good demonstrations",
        "A quarter of the demonstrations, all by careful writers, makes a better model than all of the mixed "
        "crew's, by at least 0.5 gold.",
        few_good,
        lambda m: m[f"gold_careful_{FEW}"] > m[f"gold_mixed_{quality.SIZES[-1]}"] + 0.5,
        live=False,
    ),
    Claim(
        "small subsets",
        "Choosing a quarter of the mixed demonstrations by embeddings changes gold, against a random quarter, by less than half "
        "of what careful writers add.",
        chosen_by_embedding,
        lambda m: all(
            abs(m[f"gold_{choice}"] - m["gold_mixed"]) < 0.5 * (m["gold_careful"] - m["gold_mixed"])
            for choice in ("k-centre", "k-means")
        ),
        live=False,
    ),
    Claim(
        "forgetting",
        "Fine-tuning raises the loss on plain stories, and rehearsing some takes back at least half of the rise, "
        "at no cost in gold (within 0.3).",
        forgotten,
        lambda m: (
            m["document_nats_mixed"] > m["document_nats_base"] + 0.02
            and m["document_nats_rehearsed"] - m["document_nats_base"]
            < 0.5 * (m["document_nats_mixed"] - m["document_nats_base"])
            and m["gold_rehearsed"] > m["gold_mixed"] - 0.3
        ),
    ),
    Claim(
        "exposure bias",
        "After a slip of its own the model slips at least half as often again as after clean sentences of its own, "
        "and an ideal ending surprises it more than after a writer's sentences.",
        own_prefixes,
        lambda m: (
            m["after_slipped"] > 1.5 * m["after_clean"] and m["nats_own_slipped"] > m["nats_gold_slipped"]
        ),
    ),
    Claim(
        "scheduled sampling",
        "Scheduled sampling lowers gold, the more the more tokens are replaced, by at least 1 when three in four "
        "are; and it raises the loss on writers' answers.",
        sampled_on_schedule,
        lambda m: (
            m["gold_plain"] > m["gold_mild"] > m["gold_strong"]
            and m["gold_strong"] < m["gold_plain"] - 1
            and m["answer_nats_plain"] < m["answer_nats_mild"] < m["answer_nats_strong"]
        ),
        live=False,
    ),
    Claim(
        "diversity",
        "Answers to one prompt are as varied after fine-tuning as those of the writers.",
        varied,
        lambda m: all(
            m[f"{key} {crew} 64"] > m[f"{key} {crew} writers"] - 0.05
            for key in ("distinct_2", "unique")
            for crew in ("careful", "mixed")
        ),
        live=False,
    ),
    Claim(
        "imitation",
        "Every crew's model stays below its crew's mean gold, and better writers make better models; three times "
        "the training does not bring the mixed crew's model up to its writers.",
        imitated,
        lambda m: (
            all(m[f"model_{crew}"] < m[f"writers_{crew}"] for crew in ("careful", "mixed", "careless"))
            and m["model_careful"] > m["model_mixed"] > m["model_careless"]
            and m["gold_long"] < m["writers_mixed"]
        ),
        live=False,
    ),
    Claim(
        "no negative signal",
        "Shown careful answers only, the model also finds careless ones likelier, by more than 50 nats.",
        never_pushed_down,
        lambda m: m["bad_after"] > m["bad_before"] + 50 and m["good_after"] > m["good_before"],
    ),
    Claim(
        "LoRA",
        "LoRA of rank 8 trains less than a tenth of the numbers; in as many updates it learns less, by at least "
        "0.2 gold.",
        low_rank,
        lambda m: m["trainable_lora"] < 0.1 * m["trainable_full"] and m["gold_lora"] < m["gold_full"] - 0.2,
        live=False,
    ),
    Claim(
        "bug hunt",
        "A mask that is one place off does not show in the loss, which ends at most 0.05 nats per token above the right one's, "
        "and costs at least 0.5 gold.",
        one_place_off,
        lambda m: m["loss_wrong"] < m["loss_right"] + 0.05 and m["gold_wrong"] < m["gold_right"] - 0.5,
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's rows of the scoreboard, and its curves."""
    metrics: dict[tuple[str, str], dict[str, Any]] = {}
    for crew in ("careful", "mixed", "careless"):
        sizes = quality.SIZES if crew != "careless" else quality.SIZES[-1:]
        for size in sizes:
            run = pipeline.measured(quality.gold_of_run, crew=crew, batches=size)
            metrics["quality", f"{crew}, {run['demonstrations']:.0f}"] = run
            if size == quality.SIZES[-1]:
                metrics["scoreboard", f"SFT, {crew} writers"] = run
    for way in bug_hunt.WAYS:
        metrics["bug hunt", way] = pipeline.measured(bug_hunt.symptoms, way=way)
    run = along_the_way(pipeline)
    for name in ("mixed", "rehearsed", "careful"):
        keys = ("gold", "document_nats", "logp_good", "logp_bad")
        metrics["along", name] = {"step": run["step"], **{key: run[f"{key}_{name}"] for key in keys}}
    return records_of(CHAPTER, pipeline, metrics)
