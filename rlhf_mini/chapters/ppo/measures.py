"""What chapter 05 measures for its claims: flat numbers from the runs of the ablation and from toy languages."""

from collections.abc import Sequence
from typing import Any

from rlhf_mini.chapters.ppo import bug_hunt, exact_kl, hacking, tax
from rlhf_mini.chapters.ppo.optimum import between_optima, way_to_the_optimum
from rlhf_mini.chapters.ppo.serving import served
from rlhf_mini.chapters.ppo.variants import ALL, OURS, variant
from rlhf_mini.pipeline import Pipeline

CONTROLS = ("learning rate × 1.0001", "learning rate × 0.9999")
SAME = (
    "raw scores", "head of zeros", "from SFT, random head", "values not clipped", "no value model",
    "all at the last token", "not whitened", "mean only", "minibatch halved", "minibatch doubled", "decays to 0",
    "gradients not clipped",
)  # fmt: skip


def ends(pipeline: Pipeline, names: Sequence[str], *metrics: str) -> dict[str, float]:
    """Some numbers of the ends of some runs: metric and name → number."""
    return {
        f"{metric} {name}": variant(name).measured(pipeline)["end"][metric]
        for name in names
        for metric in metrics
    }


def kl_weights(pipeline: Pipeline) -> dict[str, float]:
    """Gold, proxy and KL against β."""
    return ends(pipeline, ("β = 0", "β = 0.01", OURS, "β = 0.2", "β = 1"), "gold", "proxy", "kl_k1")


def hacked(pipeline: Pipeline) -> dict[str, float]:
    """The pipeline's runs with and without a penalty, judged."""
    return pipeline.measured(hacking.with_and_without)


def controllers(pipeline: Pipeline) -> dict[str, float]:
    """Where adaptive weights end, from two starts, in the last rollouts."""
    return ends(pipeline, ("adaptive, from 0.05", "adaptive, from 0.5"), "last_kl_k1", "last_kl_weight")


def kl_losses(pipeline: Pipeline) -> dict[str, float]:
    """KL where it is in the loss, by estimator, beside no KL at all."""
    names = ("β = 0", "k1 in the loss", "k2 in the loss", "k3 in the loss", OURS)
    return ends(pipeline, names, "kl_k1", "gold")


def first_ratios(pipeline: Pipeline) -> dict[str, float]:
    """How far the ratio was from 1 on first minibatches, at least (of ours also at most), and gold."""
    names = (OURS, "0.1 while learning", "sampled at 0.7, scored at 1", "the same, ratio 1")
    runs = {name: variant(name).measured(pipeline) for name in names}
    numbers = {f"ratio {name}": min(run["curves"]["first_ratio_deviation"]) for name, run in runs.items()}
    numbers["largest ratio ours"] = max(runs[OURS]["curves"]["first_ratio_deviation"])
    return numbers | {f"gold {name}": run["end"]["gold"] for name, run in runs.items()}


def wrong_signs(pipeline: Pipeline) -> dict[str, float]:
    """Gold, coherence and surprise of the two wrong signs, beside the right one."""
    return ends(pipeline, (OURS, "−r − β KL", "−r + β KL"), "gold", "proxy", "coherence", "sft_nats", "kl_k1")


def alignment_tax(pipeline: Pipeline) -> dict[str, float]:
    """Loss on plain stories before PPO, after it, and with the pretraining mix; gold."""
    numbers = {f"document_nats {stage}": nats for stage, nats in pipeline.measured(tax.before).items()}
    names = (OURS, "β = 0", "β = 0.2", *(one.name for one in ALL if one.group == "PPO-ptx"))
    return numbers | ends(pipeline, names, "document_nats", "gold", "kl_k1")


def optimum(pipeline: Pipeline) -> dict[str, Any]:
    """The way to the optimum of the toy language, and how far off the optimum for half the KL weight is."""
    way = pipeline.measured(way_to_the_optimum, kl_weight=1.0, iterations=60)
    return {**way, "from half the weight": between_optima(pipeline, kl_weight=1.0, other=0.5)}


def kl_in_two_places(pipeline: Pipeline) -> dict[str, Any]:
    """Exact gradients of the estimators, and where they lead, on a toy language."""
    return pipeline.measured(exact_kl.kl_as_loss)


def values_one_place_off(pipeline: Pipeline) -> dict[str, float]:
    """Both versions of the bug hunt on a toy language: where they end, and what the critic foresaw at first."""
    runs = {way: pipeline.measured(bug_hunt.symptoms, way=way) for way in bug_hunt.WAYS}
    numbers = {f"{name} {way}": run[name][-1] for way, run in runs.items() for name in ("distance", "score")}
    numbers |= {f"explained {way}": run["explained"][0] for way, run in runs.items()}
    return numbers | {"first_ratio wrong": max(runs["wrong"]["first_ratio"])}


def details_that_matter(pipeline: Pipeline) -> dict[str, float]:
    """Gold of the runs that the chapter says are worse."""
    names = (OURS, "λ = 0", "4 epochs", "4 epochs, ratio not clipped", "× 3", "scores × 10")
    return ends(pipeline, names, "gold", "kl_k1")


def details_that_do_not(pipeline: Pipeline) -> dict[str, float]:
    """Gold of the runs that the chapter says are as good, and of the controls."""
    return ends(pipeline, (OURS, *CONTROLS, *SAME), "gold")


def temperatures(pipeline: Pipeline) -> dict[str, float]:
    """Gold by the temperature of training and of serving."""
    numbers = ends(pipeline, [one.name for one in ALL if one.group == "temperature"], "gold")
    for temperature in (1.0, 0.7):
        judged = pipeline.measured(served, stage="ppo", temperature=temperature)
        numbers[f"gold ours at {temperature:g}"] = judged["gold"]
    return numbers


def critic_first(pipeline: Pipeline) -> dict[str, float]:
    """What the critic foresaw of the first rollout, and gold at the end, by how the critic starts."""
    names = (OURS, "head of zeros", "critic first, λ = 1")
    first = {name: variant(name).measured(pipeline)["curves"]["explained_variance"][0] for name in names}
    return {f"explained {name}": value for name, value in first.items()} | ends(pipeline, names, "gold")
