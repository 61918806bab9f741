"""The practical guide's advice from the scaling of reward models, chapter 11: labels, KL, checkpoints, rounds.

Each piece leans on the runs of that chapter's grid; see `evidence`. There gold is told in deviations of the start's answers.
"""

from rlhf_mini.chapters.scoreboard.evidence import Advice, Computed, Shown, table_of

_claim = table_of("11", "claims")
_peaks, _turns, _penalty, _rules = (
    "higher peaks, best of n",
    "higher peaks, PPO",
    "a KL penalty",
    "checkpoints",
)


def _all_turns(among: tuple[int, ...] = (500, 2000, 8000)) -> list[float]:
    """The KL, in nats, at which gold is highest in PPO without a penalty, by proxies of so many labels, seed by seed."""
    return [
        distance**2
        for labels in among
        for distance in _claim(_turns, f"turn labels {labels}").by_seed().values()
    ]


SCALING_ADVICE = (
    Advice(
        topic="reward models",
        do="If optimisation turns too early, get more labels for the reward model before anything else: that moves the peak up.",
        chapter="11",
        record=Shown(
            says="The highest gold by best of n is {few} deviations above the start with 31 labels, {some} with 500 and {many} with 8,000; with all labels, {small} by a reward model of width 8.",
            numbers={
                "few": _claim(_peaks, "gold labels 31"),
                "some": _claim(_peaks, "gold labels 500"),
                "many": _claim(_peaks, "gold labels 8000"),
                "small": _claim(_peaks, "gold width 8"),
            },
            holds=lambda n: n["few"] < n["some"] - 0.2 < n["many"] - 0.3 and n["small"] < n["many"] - 0.2,
        ),
    ),
    Advice(
        topic="reward models",
        do="Expect no rescue from members that share their backbone and their wrong labels.",
        chapter="11",
        record=Shown(
            says="With a quarter of the labels turned round, PPO by the mean of four models has gold {mean} at its highest, where one model has {one}, and it ends at {end}; by their worst case it ends at {worst}.",
            numbers={
                "mean": _claim("ensembles", "gold ppo, mean"),
                "one": _claim("ensembles", "gold ppo, one member"),
                "end": _claim("ensembles", "end ppo, mean"),
                "worst": _claim("ensembles", "end ppo, worst case"),
            },
            holds=lambda n: n["mean"] < n["one"] + 0.1 and max(n["end"], n["worst"]) < n["mean"] - 0.5,
        ),
    ),
    Advice(
        topic="KL budgets",
        do="Carry no KL budget over from another run: where gold turns differs from seed to seed.",
        chapter="11",
        record=Shown(
            says="In {count} runs of PPO without a price of KL, which differ in seed and labels alone, gold was highest at anything from {low} to {high} nats.",
            numbers={
                "count": Computed(lambda: len(_all_turns()), 0),
                "low": Computed(lambda: min(_all_turns()), 1),
                "high": Computed(lambda: max(_all_turns()), 1),
            },
            holds=lambda n: n["count"] > 8 and n["high"] > 2 * n["low"],
            runs=(_claim(_turns, "turn labels 500").run,),
        ),
    ),
    Advice(
        topic="KL budgets",
        do="Pay for KL while training, and do not only stop early: the price changes what is learned, and not only how far it goes.",
        chapter="11",
        record=Shown(
            says="By one reward model of 500 labels PPO reaches {free} deviations of gold without a price and has lost them at {free_kl} nats, where it stands at {free_end}; with β = 0.2 it reaches {held} and ends at {held_end}, {held_kl} nats away.",
            numbers={
                "free": _claim(_penalty, "gold 0"),
                "free_kl": _claim(_penalty, "end kl 0", 0),
                "free_end": _claim(_penalty, "end 0"),
                "held": _claim(_penalty, "gold 0.2"),
                "held_end": _claim(_penalty, "end 0.2"),
                "held_kl": _claim(_penalty, "end kl 0.2", 1),
            },
            holds=lambda n: n["held"] > n["free"] + 0.1 and n["held_end"] > n["held"] - 0.1 > n["free_end"] + 0.5,
        ),
    ),
    Advice(
        topic="checkpoints",
        do="Buy a few gold labels for each checkpoint's own answers. No score of a reward model chooses as well.",
        chapter="11",
        record=Shown(
            says="The last checkpoint gives away {last} deviations of gold against the best one, that of the highest score {proxy}, that of a second reward model's highest score {validator}; eight gold labels a checkpoint leave {eight}, and sequential halving, with {labels} labels in all, {halving}.",
            numbers={
                "last": _claim(_rules, "last"),
                "proxy": _claim(_rules, "proxy"),
                "validator": _claim(_rules, "validator"),
                "eight": _claim(_rules, "gold 8"),
                "labels": _claim(_rules, "labels halving", 0),
                "halving": _claim(_rules, "halving"),
            },
            holds=lambda n: min(n["last"], n["proxy"]) > n["validator"] > 0.5 > 0.15 > max(n["eight"], n["halving"]),
        ),
    ),
    Advice(
        topic="labels",
        do="Keep labels for a second reward model, made of the answers that the first one led to.",
        chapter="11",
        record=Shown(
            says="With the same labels and iterations in one round PPO ends at {one} deviations of gold, in two rounds at {two}; four rounds end at {four}.",
            numbers={
                "one": _claim("rounds", "end 1 round"),
                "two": _claim("rounds", "end 2 rounds"),
                "four": _claim("rounds", "end 4 rounds"),
            },
            holds=lambda n: n["two"] > n["one"] + 0.5 and n["four"] > n["one"] + 0.5,
        ),
    ),
)  # fmt: skip
