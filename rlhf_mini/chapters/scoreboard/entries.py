"""The board as data: every method of the book, where its policy comes from, what it cost, and its other runs.

A method has one setting of its own, that of its chapter, which is a row of the board; further settings of its main
hyperparameter, its dial; and further budgets, runs stopped earlier or shorter. Where another chapter has trained a policy,
that very run is used.
"""

from rlhf_mini.chapters.direct import family as direct
from rlhf_mini.chapters.direct.online import ROUNDS as DPO_ROUNDS
from rlhf_mini.chapters.filtering import family as filtering
from rlhf_mini.chapters.hindsight import family as hindsight
from rlhf_mini.chapters.hindsight import story_runs
from rlhf_mini.chapters.llama2 import rounds as llama2
from rlhf_mini.chapters.rlaif import family as rlaif
from rlhf_mini.chapters.rlaif import self_rewarded
from rlhf_mini.chapters.scoreboard import counts, samplers
from rlhf_mini.chapters.scoreboard.methods import (
    PAIRS,
    Entry,
    Point,
    by_direct,
    by_filter,
    by_itself,
    by_llama,
    by_ppo,
    by_rlaif,
    critic_free,
    in_rounds,
    offline,
    on_stories,
)
from rlhf_mini.chapters.scoreboard.policies import Kept, Sampled, Staged

BASELINES = (
    Entry(name="base", family="start", chapter="02", main=Point("", Sampled(samplers.plain_text)), trained=0),
    Entry(name="SFT", family="start", chapter="03", main=Point("", Staged("sft")), trained=0),
    Entry(
        name="SFT, colder",
        family="sampling",
        chapter="03",
        main=Point("0.5", Sampled(samplers.colder, {"temperature": 0.5})),
        dial="temperature",
        dials=(Point("0.7", Sampled(samplers.colder, {"temperature": 0.7})),
               Point("0.3", Sampled(samplers.colder, {"temperature": 0.3}))),
        trained=0,
    ),
    *(
        Entry(
            name=f"best of {n}",
            family="sampling",
            chapter="00",
            main=Point("", Sampled(samplers.best_of, {"n": n})),
            before=counts.reward_model,
            trained=0,
            frozen=2,
        )
        for n in (4, 16)
    ),
)  # fmt: skip
POLICY_GRADIENT = (
    Entry(
        name="PPO",
        family="policy gradient",
        chapter="05",
        main=Point("0.05", Staged("ppo"), counts.by_ppo()),
        dial="β",
        dials=(by_ppo("0.01", kl_weight=0.01), by_ppo("0.2", kl_weight=0.2), by_ppo("1", kl_weight=1.0)),
        budgets=(by_ppo("a quarter", 0.25), by_ppo("a half", 0.5)),
        before=counts.reward_model,
        trained=2,
        frozen=2,
    ),
    Entry(
        name="PPO without KL",
        family="policy gradient",
        chapter="05",
        main=Point("", Staged("ppo_without_kl"), counts.by_ppo()),
        before=counts.reward_model,
        trained=2,
        frozen=2,
    ),
    *(critic_free(method) for method in ("REINFORCE", "RLOO", "GRPO", "Dr. GRPO")),
)
FILTERING = (
    Entry(
        name="best of 4, learned",
        family="filtering",
        chapter="09",
        main=by_filter("best of 4, once", "5e-4", counts.by_filter(learned=0.5)),
        dial="learning rate",
        dials=tuple(
            by_filter("best of 4, once", f"{rate:g}", counts.by_filter(learned=0.5), rate=rate)
            for rate in (2e-4, 2e-3)
        ),
        before=counts.reward_model,
        frozen=1,
    ),
    Entry(
        name="Llama 2's rounds",
        family="filtering",
        chapter="06",
        main=by_llama(llama2.ROUNDS, "all rounds"),
        dial="learned from",
        dials=(by_llama(llama2.ROUNDS, "the last round", memory="last"),),
        budgets=in_rounds(by_llama, llama2.ROUNDS),
        frozen=2,
    ),
    Entry(
        name="ReST",
        family="filtering",
        chapter="09",
        main=by_filter("ReST", "0.75 to 0.95"),
        dial="thresholds",
        dials=(
            by_filter("the lowest threshold alone", "0.75"),
            by_filter("the highest threshold alone", "0.95"),
        ),
        before=counts.reward_model,
        frozen=1,
    ),
    Entry(
        name="ReST, by prompt",
        family="filtering",
        chapter="09",
        main=by_filter(filtering.BY_PROMPT),
        before=counts.reward_model,
        frozen=1,
    ),
    Entry(
        name="RAFT",
        family="filtering",
        chapter="09",
        main=by_filter("RAFT", "2e-4", counts.by_filter(learned=0.25)),
        dial="learning rate",
        dials=(by_filter("RAFT, too fast", "5e-4", counts.by_filter(learned=0.25)),),
        before=counts.reward_model,
        frozen=1,
    ),
    Entry(
        name="weighted by advantage",
        family="filtering",
        chapter="09",
        main=by_filter("weighted by advantage", "0.5", counts.by_filter(learned=1)),
        dial="β",
        dials=(by_filter("all answers", "infinite", counts.by_filter(learned=1)),),
        before=counts.reward_model,
        frozen=1,
    ),
    Entry(
        name="RRHF",
        family="filtering",
        chapter="09",
        main=by_filter("RRHF, weight 1", "1", counts.by_filter(learned=1)),
        dial="ranking weight",
        dials=(by_filter("RRHF, weight 100", "100", counts.by_filter(learned=1)),),
        before=counts.reward_model,
        frozen=1,
    ),
    Entry(
        name="SLiC",
        family="filtering",
        chapter="09",
        main=by_filter("SLiC", "0.5", counts.by_filter(learned=0.75)),
        dial="target weight",
        dials=tuple(
            by_filter("SLiC", f"{weight:g}", counts.by_filter(learned=0.75), target_weight=weight)
            for weight in (0.1, 1.0)
        ),
        before=counts.reward_model,
        frozen=1,
    ),
)
PREFERENCES = (
    offline(
        direct.OURS,
        "β",
        by_direct("β = 0.1", "0.1"),
        by_direct("β = 0.3", "0.3"),
        by_direct("β = 3", "3"),
    ),
    offline("cDPO", "flip rate", by_direct("cDPO", "0.3", flip_rate=0.3)),
    offline("IPO", "τ", by_direct("IPO", "0.3", kl_weight=0.3)),
    offline("RPO, backward", "β", by_direct("RPO, backward", "0.3", kl_weight=0.3)),
    offline("SimPO", "margin", by_direct("SimPO", "1", margin=1.0)),
    offline("ORPO", "odds weight", by_direct("ORPO", "1", odds_weight=1.0)),
    offline("KTO", "β", by_direct("KTO", "0.3", kl_weight=0.3)),
    Entry(
        name="online DPO",
        family="preference loss",
        chapter="07",
        main=by_direct("online, reward model", "reward model", counts.by_own_pairs(PAIRS, scored=True)),
        dial="judge",
        dials=(by_direct("online, panel", "annotators", counts.by_own_pairs(PAIRS, scored=False)),),
        before=counts.reward_model,
        frozen=2,
    ),
    Entry(
        name="DPO in rounds",
        family="preference loss",
        chapter="07",
        main=by_direct("iterated, 3 rounds", "", counts.by_own_pairs(PAIRS, scored=False, rounds=DPO_ROUNDS)),
        frozen=1,
    ),
)
HINDSIGHT = (
    Entry(
        name="HIR",
        family="hindsight",
        chapter="08",
        main=on_stories(hindsight.OURS, "1"),
        dial="epochs",
        dials=(on_stories("relabelled, more epochs", "2"),),
        budgets=in_rounds(lambda after, label: on_stories(hindsight.OURS, label, after), story_runs.ROUNDS),
    ),
    Entry(
        name="filtered by the script",
        family="hindsight",
        chapter="08",
        main=on_stories(hindsight.FILTERED, "1"),
        dial="epochs",
        dials=(on_stories(hindsight.MORE_STEPS, "3"),),
        budgets=in_rounds(
            lambda after, label: on_stories(hindsight.FILTERED, label, after), story_runs.ROUNDS
        ),
    ),
    Entry(
        name="PPO, script as reward",
        family="hindsight",
        chapter="08",
        main=Point(
            "",
            Kept(story_runs.by_ppo, hindsight.run("PPO, script").settings, f"round {story_runs.ROUNDS}"),
            counts.by_ppo(scored=False),
        ),
        before=counts.reward_model,  # from which the value model starts
        trained=2,
        frozen=1,
    ),
)
AI_FEEDBACK = (
    Entry(
        name=rlaif.DISTILLED,
        family="AI feedback",
        chapter="10",
        main=by_rlaif(rlaif.DISTILLED, counts.by_ppo(), "12,000"),
        dial="the judge's lessons",
        dials=(by_rlaif("a less taught judge", counts.by_ppo(), "6,000"),),
        before=counts.judged_reward_model,
        trained=2,
        frozen=2,
    ),
    Entry(
        name=rlaif.DIRECT,
        family="AI feedback",
        chapter="10",
        main=by_rlaif(rlaif.DIRECT, counts.by_ppo()),
        before=counts.judge,
        trained=2,
        frozen=2,
    ),
    Entry(
        name=rlaif.FIRST,
        family="AI feedback",
        chapter="10",
        main=by_rlaif(rlaif.FIRST, counts.constitutional, "4"),
        dial="revisions",
        dials=tuple(
            by_rlaif(name, counts.constitutional, label)
            for name, label in (("no revision", "0"), ("one revision", "1"))
        ),
        before=counts.revisions,
    ),
    Entry(
        name=rlaif.SECOND,
        family="AI feedback",
        chapter="10",
        main=by_rlaif(rlaif.SECOND, counts.by_ppo(), "50%"),
        dial="people's labels",
        dials=tuple(
            by_rlaif(rlaif.mix_name(share), counts.by_ppo(), f"{share:.0%}") for share in (0.0, 1.0)
        ),
        before=counts.preference_model,
        trained=2,
        frozen=2,
    ),
    Entry(
        name="self-rewarding",
        family="AI feedback",
        chapter="10",
        main=by_itself(self_rewarded.ROUNDS),
        budgets=in_rounds(by_itself, self_rewarded.ROUNDS),
        before=counts.judge,
        frozen=1,
    ),
)  # fmt: skip
ENTRIES = (*BASELINES, *POLICY_GRADIENT, *FILTERING, *PREFERENCES, *HINDSIGHT, *AI_FEEDBACK)
ANCHOR = "SFT"


def entry(name: str) -> Entry:
    """The method of this name. Raises ValueError on an unknown one."""
    for one in ENTRIES:
        if one.name == name:
            return one
    raise ValueError(f"no method is called {name!r}; there are {[one.name for one in ENTRIES]}")
