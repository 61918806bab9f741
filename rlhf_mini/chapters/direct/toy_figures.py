"""Figures of DPO on a toy language. Each takes what `toy` or `toy_data` found, one mapping a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

from rlhf_mini.reader.picture import Picture, beside
from rlhf_mini.reader.plots import Curve, Level, learning_curves, training_curves

Seeds = Sequence[Mapping[str, Any]]
BY_WEIGHT = (
    "loss",
    "reward",
    "policy",
    "data",
    "value",
)  # roles of curves that differ in β, the smallest first
BETA_AXIS = "β, reward per nat (log scale)"
PAIRS_AXIS = "labelled pairs (log scale)"


def landing_figure(by_weight: Mapping[float, Seeds]) -> Picture:
    """KL(π ‖ π*) along DPO's way with exact preferences, by β; of each the results of `exact_dpo`."""
    weights = sorted(by_weight)
    if len(weights) > len(BY_WEIGHT):
        raise ValueError(f"landing_figure draws at most {len(BY_WEIGHT)} values of β; received {weights}.")
    curves = [
        Curve(f"β = {weight:g}", role, by_weight[weight][0]["step"], _rows(by_weight[weight], "to_optimum"))
        for weight, role in zip(weights, BY_WEIGHT, strict=False)
    ]
    middle = weights[len(weights) // 2]
    off = _average([found["of_half_weight"] for found in by_weight[middle]])
    landed = max(found["landed"] for founds in by_weight.values() for found in founds)
    return training_curves(
        curves,
        levels=[Level(f"half of\nβ = {middle:g}", off)],
        xlabel="steps of Adam",
        ylabel="distance from the optimum, KL(π ‖ π*) (nats per text)",
        alt=f"KL from the optimum along DPO's training on exact preferences, for β = {', '.join(f'{w:g}' for w in weights)}. "
        f"All curves go to zero; L-BFGS ends at most {max(landed, 0.0):.0e} nats from it. Landing on the optimum "
        f"of half of β = {middle:g} would leave {off:.2f} nats.",
        caption=f"Dotted: how far the optimum of β = {middle / 2:g} is from that of β = {middle:g}.",
    )


def finite_figure(seeds: Seeds, *, kl_weights: Sequence[float] = (0.03, 0.3, 1.0, 3.0)) -> Picture:
    """Gold and what was promised against the number of labelled pairs, by β, after the most steps of `finite`."""
    counts, last = seeds[0]["counts"], len(seeds[0]["steps"]) - 1
    gold, short = [], []
    for kl_weight, role in zip(kl_weights, BY_WEIGHT, strict=False):
        place = seeds[0]["kl_weights"].index(kl_weight)
        rows = [[row[place] for row in found["gold"][last]] for found in seeds]
        gold.append(Curve(f"β = {kl_weight:g}", role, counts, rows))
        missing = [
            [p[place] - g[place] for p, g in zip(found["promised"][last], found["gained"][last], strict=True)]
            for found in seeds
        ]
        short.append(Curve(f"β = {kl_weight:g}", role, counts, missing))
    return beside(
        learning_curves(
            gold,
            xlabel=PAIRS_AXIS,
            ylabel=f"true reward, after {seeds[0]['steps'][last]:,} steps",
            alt="True reward against the number of labelled pairs, by β. " + _ends(gold),
        ),
        learning_curves(
            short,
            levels=[Level("kept", 0.0)],
            xlabel=PAIRS_AXIS,
            ylabel="gain promised by the implicit reward, less true gain",
            alt="By how much the implicit reward overstates the gain over the reference, against the number of "
            "labelled pairs, by β. " + _ends(short),
        ),
    )


def stopping_figure(seeds: Seeds, *, kl_weight: float = 0.03) -> Picture:
    """Gold against the number of labelled pairs, by the steps of training, at one β; from `finite`."""
    place = seeds[0]["kl_weights"].index(kl_weight)
    curves = [
        Curve(
            f"{steps:,} steps",
            role,
            seeds[0]["counts"],
            [[row[place] for row in f["gold"][i]] for f in seeds],
        )
        for i, (steps, role) in enumerate(zip(seeds[0]["steps"], ("data", "policy", "loss"), strict=False))
    ]
    best = _average([found["best_gold"][place] for found in seeds])
    return learning_curves(
        curves,
        levels=[Level("π*", best, "gold")],
        xlabel=PAIRS_AXIS,
        ylabel=f"true reward, β = {kl_weight:g}",
        alt=f"True reward against the number of labelled pairs for β = {kl_weight:g}, by the steps of training. "
        f"{_ends(curves)} The optimum has {best:.2f}.",
    )


def deterministic_figure(seeds: Seeds) -> Picture:
    """KL and the worst text along DPO and IPO where labels never err; from `deterministic`."""
    steps = seeds[0]["step"][1:]  # step 0 has no place on a logarithmic axis, and everything is 0 there
    names = {name: name.replace("dpo ", "DPO\nβ = ").replace("ipo ", "IPO\nτ = ") for name in seeds[0]["kl"]}
    panels = []
    for metric, ylabel, levels in (
        (
            "kl",
            "KL(π ‖ π_ref) (nats per text)",
            [Level("best text\nonly", _mean_of(seeds, "most_kl"), "gold")],
        ),
        ("worst", "log-ratio of the worst text (nats)", []),
    ):
        curves = [
            Curve(label, role, steps, [found[metric][name][1:] for found in seeds])
            for (name, label), role in zip(names.items(), ("loss", "reward", "policy", "data"), strict=False)
        ]
        panels.append(
            learning_curves(
                curves,
                levels=levels,
                xlabel="steps of Adam (log scale)",
                ylabel=ylabel,
                alt=f"{ylabel} along training on labels without noise. {_ends(curves)}",
            )
        )
    return beside(*panels)


def displacement_figure(seeds: Seeds) -> Picture:
    """Where π* has moved the chosen and the rejected, by β, and why; from `displacement`."""
    weights = seeds[0]["kl_weight"]
    moved = [Curve(name, role, weights, _rows(seeds, name)) for name, role in _SIDES.items()]
    crossing = _mean_of(seeds, "crossing")
    chosen, mean = _mean_of(seeds, "chosen_reward"), _mean_of(seeds, "mean_reward")
    return beside(
        learning_curves(
            moved,
            levels=[Level("as before", 0.0)],
            xlabel=BETA_AXIS,
            ylabel="mean log-ratio under π* (nats)",
            alt=f"Mean log-ratio of chosen and rejected texts at the optimum, by β. {_ends(moved)} The chosen fall "
            f"too, on average over seeds, below β = {crossing:.2f}.",
        ),
        learning_curves(
            [Curve("β log Z", "policy", weights, _rows(seeds, "value"))],
            levels=[Level("chosen", chosen, "data"), Level("rejected", 2 * mean - chosen, "loss")],
            xlabel=BETA_AXIS,
            ylabel="reward",
            alt="What the objective is worth at the optimum, by β, with the mean rewards of chosen and rejected "
            "texts as levels. It falls with β and crosses that of the chosen where their log-ratio changes sign.",
            caption="A text gains probability if its reward is above the line.",
        ),
    )


_SIDES = {"chosen": "data", "rejected": "loss"}


def _rows(seeds: Seeds, name: str) -> list[list[float]]:
    return [found[name] for found in seeds]


def _average(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _mean_of(seeds: Seeds, name: str) -> float:
    return _average([found[name] for found in seeds])


def _ends(curves: Sequence[Curve]) -> str:
    """Where curves begin and end, on average over seeds, in words."""
    told = []
    for curve in curves:
        first, last = curve.ys.mean(axis=0)[[0, -1]]
        told.append(f"{curve.label} from {first:.2f} to {last:.2f}".replace("\n", " ").replace("-", "−"))
    return "; ".join(told) + "."
