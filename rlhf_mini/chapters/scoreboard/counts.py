"""How much work each method does: from the profile, and the log of its run where that knows more, to counts.

Counted is what the library's code does, from the SFT model on: a run's own work from its first step to its last, and what
must be there before it, pairs, a reward model, a judge.
"""

import json
from collections.abc import Callable
from pathlib import Path

from rlhf_mini.chapters.hindsight.story_runs import ROUNDS as HIR_ROUNDS
from rlhf_mini.chapters.llama2 import rounds as llama2
from rlhf_mini.chapters.rlaif import judges, phase_one, phase_two, self_rewarded
from rlhf_mini.chapters.scoreboard.work import Work
from rlhf_mini.evaluation.intervals import Number
from rlhf_mini.profiles import Profile

# From the profile, and the run's folder if it is kept, to what was done.
Count = Callable[[Profile, Path | None], Work]


def nothing(profile: Profile, folder: Path | None = None) -> Work:
    """Of a policy that is not trained."""
    return Work()


def episodes(profile: Profile) -> int:
    """The answers that PPO draws, and every method that draws has for a budget."""
    return profile.ppo.iterations * profile.ppo.episodes


# ------------------------------------------------------------------------------------------------------ before


def pairs(count: int | None = None) -> Count:
    """Annotated pairs of the SFT model's answers, all of the profile's if None."""

    def work(profile: Profile, folder: Path | None = None) -> Work:
        number = profile.pairs if count is None else min(count, profile.pairs)
        return Work(drawn=2 * number, labels=number)

    return work


def reward_model(profile: Profile, folder: Path | None = None) -> Work:
    """The pipeline's pairs and the reward model on them; its scale is read off the rejected answers."""
    count = profile.pairs
    return pairs()(profile, None) + Work(learned=2 * count * profile.reward_model.epochs, read=count)


def judge(profile: Profile, folder: Path | None = None) -> Work:
    """A judge taught from lessons, each counted as one answer though they are longer."""
    return Work(learned=judges.EXAMPLES)


def judged_reward_model(profile: Profile, folder: Path | None = None) -> Work:
    """The same pairs without annotators: a judge reads each in both orders, and a reward model learns its labels."""
    count = profile.pairs
    labelled = Work(drawn=2 * count, read=2 * count, judge_labels=count)
    return judge(profile) + labelled + Work(learned=2 * count * profile.reward_model.epochs, read=count)


def revisions(profile: Profile, folder: Path | None = None) -> Work:
    """Of constitutional AI's first phase: the helper's lessons; a first answer, and a critique and an answer each time."""
    texts = phase_one.RED_TEAM * (1 + 2 * phase_one.REVISIONS) + phase_one.KIND
    return Work(learned=judges.EXAMPLES, drawn=texts)


def preference_model(profile: Profile, folder: Path | None = None) -> Work:
    """Of its second: both phases' pairs, a judge's labels on one half, people's on the other, and the model on both."""
    count = phase_two.PAIRS
    found = Work(drawn=2 * count, read=2 * count, judge_labels=count / 2, labels=count / 2)
    learned = Work(learned=2 * count * profile.reward_model.epochs, read=count)
    return revisions(profile) + constitutional(profile) + judge(profile) + found + learned


# --------------------------------------------------------------------------------------------------------- own


def by_ppo(share: Number = 1, *, scored: bool = True) -> Count:
    """Each answer is drawn, read by the reference, the value model and, if `scored`, the reward model, and learned from by two.

    `share`: of the stage's iterations.
    """

    def work(profile: Profile, folder: Path | None = None) -> Work:
        each = Work(drawn=1, read=2 + scored, learned=2 * profile.ppo.epochs)
        return each.times(share * episodes(profile))

    return work


def by_groups(share: Number = 1) -> Count:
    """Each answer is drawn, read by the reference and the reward model, and learned from."""

    def work(profile: Profile, folder: Path | None = None) -> Work:
        return Work(drawn=1, read=2, learned=profile.ppo.epochs).times(share * episodes(profile))

    return work


def by_pairs(count: int, *, both: bool = False) -> Count:
    """Both answers of each pair are read once by the reference and learned from once.

    `both`: as KTO does, policy and reference also read each answer under another's prompt.
    """

    def work(profile: Profile, folder: Path | None = None) -> Work:
        return Work(read=6 if both else 2, learned=2).times(min(count, profile.pairs))

    return work


def by_own_pairs(count: int, *, scored: bool, rounds: int = 1) -> Count:
    """Both answers of each pair are drawn, read by the reference and, if `scored`, by the reward model, and learned from.

    In several `rounds` alike; what is left over of the pairs is not drawn. Pairs that no reward model scores are labelled.
    """

    def work(profile: Profile, folder: Path | None = None) -> Work:
        each = Work(drawn=2, read=4 if scored else 2, learned=2, labels=0 if scored else 1)
        return each.times(count // rounds * rounds)

    return work


def by_filter(*, learned: Number, read: Number = 1) -> Count:
    """The budget drawn, read by the reward model, and of it a part learned from, `learned` of each answer."""

    def work(profile: Profile, folder: Path | None = None) -> Work:
        return Work(drawn=1, read=read, learned=learned).times(episodes(profile))

    return work


def by_rest(profile: Profile, folder: Path | None = None) -> Work:
    """The budget drawn and read; learned is what each threshold kept, by the log, or a quarter of it each where there is none."""
    learned = 0.25 * episodes(profile)
    if folder is not None:
        rounds = json.loads((folder / "log.json").read_text())["rounds"]
        learned = sum(entry["kept"] for entry in rounds)
    return Work(drawn=episodes(profile), read=episodes(profile), learned=learned)


def by_hindsight(rounds: int = HIR_ROUNDS, *, epochs: int = 1) -> Count:
    """So many rounds' share of the budget drawn, and what the script made of it learned from, by the log."""

    def work(profile: Profile, folder: Path | None = None) -> Work:
        drawn = episodes(profile) * rounds / HIR_ROUNDS
        learned = drawn * epochs / 2
        if folder is not None:
            log = json.loads((folder / "log.json").read_text())
            learned = epochs * sum(entry["rows"] for entry in log[:rounds])
        return Work(drawn=drawn, learned=learned)

    return work


def constitutional(profile: Profile, folder: Path | None = None) -> Work:
    """Fine-tuning the base model on revisions and kind answers."""
    return Work(learned=(phase_one.RED_TEAM + phase_one.KIND) * profile.sft.epochs)


def in_rounds(rounds: int = llama2.ROUNDS) -> Count:
    """Llama 2's: fresh pairs and two reward models on all pairs so far, the best of K, and fine-tuning on all kept so far."""

    def work(profile: Profile, folder: Path | None = None) -> Work:
        total = Work()
        sides, kept = dict(llama2.START), 0
        total += Work(drawn=2 * sum(sides.values()), labels=sum(sides.values()))
        for number in range(1, rounds + 1):
            for side in sides if number < llama2.SHIFT else ("helpfulness",):
                fresh = llama2.PAIRS[side]
                sides[side] += fresh
                total += Work(drawn=2 * fresh, labels=fresh, learned=2 * sides[side])
            candidates = llama2.PROMPTS * llama2.SAMPLES
            kept += llama2.PROMPTS
            total += Work(drawn=candidates, read=2 * candidates, learned=kept)
        return total

    return work


def self_rewarding(rounds: int = self_rewarded.ROUNDS) -> Count:
    """So many rounds' share of the budget drawn and rated, the best and the worst of each prompt learned from by DPO."""

    def work(profile: Profile, folder: Path | None = None) -> Work:
        drawn = episodes(profile) * rounds / self_rewarded.ROUNDS
        ends = 2 * drawn / self_rewarded.SAMPLES
        return Work(drawn=drawn, read=drawn + ends, learned=ends, judge_labels=drawn)

    return work
