"""The practical guide's advice on judging: checkpoints, reward models and their folds, labels, and how methods are compared.

Each piece leans on runs on record or on numbers that are computed here; see `evidence`.
"""

from collections.abc import Mapping
from functools import lru_cache
from statistics import mean

from rlhf_mini.chapters.scoreboard import bug_hunt, folds
from rlhf_mini.chapters.scoreboard.evidence import Advice, Computed, Run, Shown, table_of
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.profiles import QUICK

WORLDS = 8  # made-up worlds of pairs that folds are dealt out in
_end, _curve = table_of("05", "details"), table_of("05", "curves")
_row, _story, _board_6 = table_of("00", "scoreboard"), table_of("00", "claims"), table_of("06", "scoreboard")
_models, _about_models = table_of("04", "scoreboard"), table_of("04", "claims")
_direct, _filter, _written = table_of("07", "runs"), table_of("09", "runs"), table_of("03", "quality")
_wear, _rounds, _mix = (
    table_of("06", "wear"),
    table_of("10", "self-rewarding"),
    table_of("10", "constitution"),
)


# ------------------------------------------------------------------------------------------- what is computed


def golds_of_details(*, without: tuple[str, ...] = ("temperature",)) -> dict[str, dict[int, float]]:
    """Gold by seed of every setting of chapter 05's table of details, but for groups that answer at another temperature."""
    found: dict[str, dict[int, float]] = {}
    for record in read_records("chapter_05", experiment="details", profile="quick"):
        if record.metrics["group"] not in without:
            found.setdefault(record.method, {})[record.seed] = record.metrics["gold"]
    return found


def best_of_many(golds: Mapping[str, Mapping[int, float]], *, ours: str) -> tuple[float, float]:
    """The lead over `ours` of the best setting of a seed, on this seed and on the others; means over the seed that chose."""
    seeds = [*golds[ours]]
    chosen = {seed: max((by_seed[seed], name) for name, by_seed in golds.items())[1] for seed in seeds}
    lead = {
        (seed, other): golds[best][other] - golds[ours][other]
        for seed, best in chosen.items()
        for other in seeds
    }
    return (
        mean(lead[seed, seed] for seed in seeds),
        mean(lead[seed, other] for seed in seeds for other in seeds if other != seed),
    )


def largest_luck() -> float:
    """By how much gold differs at most, on one seed, between PPO and the same with a learning rate off by a ten-thousandth."""
    golds = golds_of_details()
    return max(
        abs(golds[f"learning rate × {factor}"][seed] - gold)
        for factor in ("1.0001", "0.9999")
        for seed, gold in golds["ours"].items()
    )


def spread_of_seeds() -> float:
    """How far gold lies apart at most between two seeds of PPO on record in chapter 00."""
    golds = _row("PPO", "gold").by_seed().values()
    return max(golds) - min(golds)


@lru_cache(maxsize=1)
def folds_told() -> dict[str, float]:
    """`folds.accuracies`, the mean over some worlds."""
    found = [folds.accuracies(seed) for seed in range(WORLDS)]
    return {name: mean(one[name] for one in found) for name in found[0]}


def width_of_the_bag() -> float:
    """How wide the bug hunt's interval is, of what it should be, exactly."""
    by_prompt, by_answer = bug_hunt.BY_PROMPT**2, bug_hunt.BY_ANSWER**2
    right = by_prompt / bug_hunt.PROMPTS + by_answer / (bug_hunt.PROMPTS * bug_hunt.ANSWERS)
    return ((by_prompt + by_answer) / (bug_hunt.PROMPTS * bug_hunt.ANSWERS) / right) ** 0.5


# ------------------------------------------------------------------------------------------------ the advice

CHECKPOINTS = (
    Advice(
        topic="checkpoints",
        do="Keep several policies of a run. The last one is near the best only if something holds it.",
        chapter="05",
        record=Shown(
            says="Along PPO without a price of KL gold is at most {highest}, and {last} in the last of {iterations} iterations; with β = 0.05 it is at most {ours_highest}, and {ours_last} in the last.",
            numbers={
                "highest": _curve("β = 0", "gold", of="highest"),
                "last": _curve("β = 0", "gold"),
                "iterations": Computed(lambda: QUICK.ppo.iterations, 0),
                "ours_highest": _curve("ours", "gold", of="highest"),
                "ours_last": _curve("ours", "gold"),
            },
            holds=lambda n: n["highest"] - n["last"] > 1 and n["ours_highest"] - n["ours_last"] < 0.3,
        ),
    ),
    Advice(
        topic="checkpoints",
        do="Do not choose a checkpoint by the proxy.",
        chapter="00",
        record=Shown(
            says="Gold is highest in iteration {place} on average, where the proxy stands at {there}; at the end the proxy has risen to {proxy}, and gold has fallen from {peak} to {gold}.",
            numbers={
                "place": _story("PPO without KL", "iteration_of_peak", 1),
                "there": _story("PPO without KL", "proxy_at_gold_peak"),
                "proxy": _story("PPO without KL", "proxy_end"),
                "peak": _story("PPO without KL", "gold_peak"),
                "gold": _story("PPO without KL", "gold_end"),
            },
            holds=lambda n: n["proxy"] > n["there"] + 0.3 and n["gold"] < n["peak"] - 0.5,
        ),
    ),
    Advice(
        topic="checkpoints",
        do="A method in rounds learns from what all of its rounds have kept.",
        chapter="06",
        record=Shown(
            says="Learning from the last round alone ends at {last_kl} nats with {last} of the unkind requests politely declined, from all rounds at {all_kl} with {all}.",
            numbers={
                "last_kl": _board_6("V4, best of the last round", "kl_k3", 1),
                "all_kl": _board_6("V4, best of all rounds", "kl_k3", 1),
                "last": _board_6("V4, best of the last round", "politely_declined", 0, percent=True),
                "all": _board_6("V4, best of all rounds", "politely_declined", 0, percent=True),
            },
            holds=lambda n: n["last_kl"] > 1.5 * n["all_kl"] and n["last"] < n["all"] - 0.1,
        ),
    ),
    Advice(
        topic="checkpoints",
        do="Judge every round, and stop where gold does.",
        chapter="10",
        record=Shown(
            says="By its own ratings a model goes from gold {first} in the first round to {second}; the third ends at {third} and adds KL, {kl} nats after {kl_before}.",
            numbers={
                "first": _rounds("round 1", "gold"),
                "second": _rounds("round 2", "gold"),
                "third": _rounds("round 3", "gold"),
                "kl": _rounds("round 3", "kl_k1", 1),
                "kl_before": _rounds("round 2", "kl_k1", 1),
            },
            holds=lambda n: n["first"] < n["second"] - 0.1 and n["third"] < n["second"] + 0.05 and n["kl"] > n["kl_before"] + 1,
        ),
    ),
)  # fmt: skip

REWARD_MODELS = (
    Advice(
        topic="reward models",
        do="Cross-validate with whole prompts in a fold, never with single pairs.",
        chapter="14",
        record=Shown(
            says="In a made-up world a reward model that orders {fresh} of new prompts' pairs is told {pair} by folds of pairs, {prompt} by folds of prompts, and {training} by its own training pairs.",
            numbers={
                "fresh": Computed(lambda: folds_told()["fresh"], 0, percent=True),
                "pair": Computed(lambda: folds_told()["by pair"], 0, percent=True),
                "prompt": Computed(lambda: folds_told()["by prompt"], 0, percent=True),
                "training": Computed(lambda: folds_told()["training"], 0, percent=True),
            },
            holds=lambda n: n["training"] > n["pair"] > n["fresh"] + 0.05 and abs(n["prompt"] - n["fresh"]) < 0.03,
        ),
    ),
    Advice(
        topic="reward models",
        do="Compare accuracy with the ceiling that the labels' own noise sets, and not with 100%.",
        chapter="04",
        record=Shown(
            says="The chapter's model predicts {accuracy} of held-out labels; who knew the truth would predict {ceiling}.",
            numbers={
                "accuracy": _models("8,000 labels", "accuracy", 0, percent=True),
                "ceiling": _models("Bayes ceiling", "accuracy", 0, percent=True),
            },
            holds=lambda n: 0.65 < n["accuracy"] < n["ceiling"] < 0.9,
        ),
    ),
    Advice(
        topic="reward models",
        do="Get more labels first. The mean of several models helps as well; more passes spoil the calibration.",
        chapter="04",
        record=Shown(
            says="Held-out pairs ordered as gold does: {few} from 250 labels, {thousand} from 1,000, {three} by the mean of three such models, {many} from 8,000. After four passes over 250, {passes}, at a calibration error of {error} instead of {once}.",
            numbers={
                "few": _models("250 labels", "gold_accuracy", 0, percent=True),
                "passes": _models("250 labels, 4 passes", "gold_accuracy", 0, percent=True),
                "thousand": _models("1,000 labels", "gold_accuracy", 0, percent=True),
                "three": _models("1,000 labels, mean of 3 models", "gold_accuracy", 0, percent=True),
                "many": _models("8,000 labels", "gold_accuracy", 0, percent=True),
                "error": _models("250 labels, 4 passes", "calibration_error"),
                "once": _models("250 labels", "calibration_error"),
            },
            holds=lambda n: n["few"] < n["thousand"] < n["three"] < n["many"] and n["passes"] < n["many"] and n["error"] > 2 * n["once"],
        ),
    ),
    Advice(
        topic="reward models",
        do="Take no comfort from an ensemble that agrees.",
        chapter="04",
        record=Shown(
            says="On shuffled words the members disagree by {shuffled}, on answers of the SFT model by {usual}; gold is {poor} and {gold}.",
            numbers={
                "shuffled": _about_models("no alarm", "disagreement words shuffled"),
                "usual": _about_models("no alarm", "disagreement SFT model"),
                "poor": _about_models("no alarm", "gold words shuffled"),
                "gold": _about_models("no alarm", "gold SFT model"),
            },
            holds=lambda n: n["shuffled"] < 1.5 * n["usual"] and n["poor"] < n["gold"] - 0.5,
        ),
    ),
    Advice(
        topic="reward models",
        do="Measure what the model pays for a sentence, and take it out.",
        chapter="04",
        record=Shown(
            says="From 1,000 labels a sentence is worth {any}, to the judges {judges}; taken out of the chapter's model, {left}, and the model orders {after} of the pairs as gold does instead of {before}.",
            numbers={
                "any": _about_models("length bias", "price_any"),
                "judges": _about_models("length bias", "price_labels"),
                "left": _about_models("length bias", "price_corrected"),
                "after": _about_models("length bias", "gold_accuracy_corrected", 1, percent=True),
                "before": _about_models("length bias", "gold_accuracy_stage", 1, percent=True),
            },
            holds=lambda n: n["any"] > 2 * n["judges"] and abs(n["left"]) < n["judges"] and n["after"] > n["before"] - 0.01,
        ),
    ),
    Advice(
        topic="reward models",
        do="Where a prompt has many pairs, keep them in one batch: then the training loss tells something of the held-out one.",
        chapter="04",
        record=Shown(
            says="Shuffled apart, pairs end with {apart} nats between training and held-out loss, kept together with {together}; the held-out losses are {held_out} and {beside}.",
            numbers={
                "apart": _about_models("shuffled pairs", "gap_shuffled"),
                "together": _about_models("shuffled pairs", "gap_together"),
                "held_out": _about_models("shuffled pairs", "held_out_shuffled"),
                "beside": _about_models("shuffled pairs", "held_out_together"),
            },
            holds=lambda n: n["apart"] > n["together"] + 0.02 and abs(n["held_out"] - n["beside"]) < 0.05,
        ),
    ),
    Advice(
        topic="reward models",
        do="Measure a reward model on answers of the policy as it is now: it tells them apart less and less well.",
        chapter="06",
        record=Shown(
            says="Of two answers of the fine-tuned policy the last model of a campaign prefers the better in {first} of the pairs, of two of the last round's in {last}.",
            numbers={
                "first": _wear("last helpfulness model", "ordered", 0, percent=True, of="first"),
                "last": _wear("last helpfulness model", "ordered", 0, percent=True),
            },
            holds=lambda n: n["last"] < n["first"] - 0.05,
        ),
    ),
)  # fmt: skip

LABELS = (
    Advice(
        topic="labels",
        do="A few careful demonstrations are worth more than many mixed ones.",
        chapter="03",
        record=Shown(
            says="512 of careful writers lead to gold {careful}, 2,048 of a mixed crew to {mixed}.",
            numbers={
                "careful": _written("careful, 512", "gold"),
                "mixed": _written("mixed, 2048", "gold"),
            },
            holds=lambda n: n["careful"] > n["mixed"] + 0.5,
        ),
    ),
    Advice(
        topic="labels",
        do="Know how many labels are wrong. A loss that doubts them need not help.",
        chapter="07",
        record=Shown(
            says="With three labels in ten turned round DPO falls from gold {gold} to {turned}; with cDPO on these labels it is {doubt}, with robust DPO {robust}, with KTO {kto}.",
            numbers={
                "gold": _direct("DPO", "gold"),
                "turned": _direct("30% turned", "gold"),
                "doubt": _direct("30% turned, cDPO", "gold"),
                "robust": _direct("30% turned, robust", "gold"),
                "kto": _direct("30% turned, KTO", "gold"),
            },
            holds=lambda n: n["turned"] < n["gold"] - 0.25 and n["doubt"] < n["turned"] < min(n["robust"], n["kto"]),
        ),
    ),
    Advice(
        topic="labels",
        do="Spend labels on answers of the policy itself.",
        chapter="07",
        record=Shown(
            says="From as many pairs, online DPO with the same annotators has gold {online}, in three rounds {rounds}, and offline {offline}.",
            numbers={
                "online": _direct("online, panel", "gold"),
                "rounds": _direct("iterated, 3 rounds", "gold"),
                "offline": _direct("DPO", "gold"),
            },
            holds=lambda n: min(n["online"], n["rounds"]) > n["offline"] + 0.05,
        ),
    ),
    Advice(
        topic="labels",
        do="Mix a judge's labels on harmlessness with people's on helpfulness.",
        chapter="10",
        record=Shown(
            says="With a judge's labels alone {judge} of the kind requests are declined, with people's alone {people} of the red-team ones; with half of each {kind} and {red}.",
            numbers={
                "judge": _mix("CAI, 0% people's labels", "kind_declined", 0, percent=True),
                "people": _mix("CAI, 100% people's labels", "red_team_declined", 0, percent=True),
                "kind": _mix("CAI, both phases", "kind_declined", 0, percent=True),
                "red": _mix("CAI, both phases", "red_team_declined", 0, percent=True),
            },
            holds=lambda n: n["judge"] > 0.5 > 0.1 > max(n["people"], n["kind"]) and n["red"] > 0.75,
        ),
    ),
)  # fmt: skip

COMPARING = (
    Advice(
        topic="comparing",
        do="Run at least three seeds, five if an interval is to mean something, and compare seed by seed.",
        chapter="14",
        record=Shown(
            says="Of {seeds} seeds, two of PPO's golds lie {spread} apart, and a learning rate that differs by a ten-thousandth moves gold by up to {luck} on one seed.",
            numbers={
                "seeds": Computed(lambda: len(_row("PPO", "gold").by_seed()), 0),
                "spread": Computed(spread_of_seeds),
                "luck": Computed(largest_luck),
            },
            holds=lambda n: n["spread"] > 0.2 > n["luck"] > 0.02,
            runs=(Run("00", "scoreboard", "PPO"), Run("05", "details", "learning rate × 1.0001")),
        ),
    ),
    Advice(
        topic="comparing",
        do="Choose among many settings on some seeds and report on others.",
        chapter="14",
        record=Shown(
            says="Of {count} settings of PPO, all asked at one temperature, the best on a seed leads ours by {there} on that seed and by {elsewhere} on the others.",
            numbers={
                "count": Computed(lambda: len(golds_of_details()), 0),
                "there": Computed(lambda: best_of_many(golds_of_details(), ours="ours")[0]),
                "elsewhere": Computed(lambda: best_of_many(golds_of_details(), ours="ours")[1]),
            },
            holds=lambda n: n["count"] > 20 and n["there"] > 0.05 > 0 > n["elsewhere"],
            runs=(Run("05", "details", "ours"),),
        ),
    ),
    Advice(
        topic="comparing",
        do="Resample what was drawn by itself: seeds first, then prompts, with all answers to a prompt.",
        chapter="14",
        record=Shown(
            says="An interval from resampled answers, {answers} to each of {prompts} prompts, is {width} of what it should be in the bug hunt's world.",
            numbers={
                "answers": Computed(lambda: bug_hunt.ANSWERS, 0),
                "prompts": Computed(lambda: bug_hunt.PROMPTS, 0),
                "width": Computed(width_of_the_bag, 0, percent=True),
            },
            holds=lambda n: n["width"] < 0.6,
        ),
    ),
    Advice(
        topic="comparing",
        do="Compare methods at one KL, and for that run each at several strengths.",
        chapter="14",
        record=Shown(
            says="On three seeds PPO leads ReST by {lead} gold where each was first run, at {kl} and {rest_kl} nats; PPO with β = 0.2 leads it by {near_lead}, at {near_kl} nats.",
            numbers={
                "lead": Computed(lambda: _end("ours", "gold").value() - _filter("ReST", "gold").value()),
                "kl": _end("ours", "kl_k1", 1),
                "rest_kl": _filter("ReST", "kl_k1", 1),
                "near_lead": Computed(lambda: _end("β = 0.2", "gold").value() - _filter("ReST", "gold").value()),
                "near_kl": _end("β = 0.2", "kl_k1", 1),
            },
            holds=lambda n: n["lead"] > 2 * n["near_lead"] and n["near_kl"] < n["rest_kl"] < n["kl"],
        ),
    ),
)  # fmt: skip

JUDGING_ADVICE = (*CHECKPOINTS, *REWARD_MODELS, *LABELS, *COMPARING)
