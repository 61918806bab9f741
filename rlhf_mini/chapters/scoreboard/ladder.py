"""The ladder of chapter 14: what to test, from the exact to the real, when a comparison looks wrong."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rlhf_mini.chapters.band import in_the_band
from rlhf_mini.chapters.judging import held_out_requests
from rlhf_mini.chapters.scoreboard import samplers
from rlhf_mini.chapters.scoreboard.entries import entry
from rlhf_mini.chapters.scoreboard.policies import Policy, Sampled, Staged
from rlhf_mini.chapters.scoreboard.ranking_exercises import strengths
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.evaluation.bradley_terry_ranking import ELO_PER_NAT, TIE, bradley_terry, elo_table
from rlhf_mini.evaluation.policy import judge_policy
from rlhf_mini.evaluation.win_rate import win_rate
from rlhf_mini.pipeline import Pipeline, prompts_for_ppo
from rlhf_mini.reader import Rung
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.demonstrators import CAREFUL, demonstrate

Seen = tuple[bool, str]
TRUTH = (0.9, 0.3, 0.0, -1.2)  # strengths of four made-up players, in nats; the third is the anchor
GAMES, REQUESTS, BOARDS = 40.0, 120, 150
SURE = 0.999  # two draws of one policy may differ by chance once in a thousand times
START, COLDER = Staged("sft"), Sampled(samplers.colder, {"temperature": 0.5})
FIRST = "PPO"  # the row whose numbers are compared with seeds on record
BAND = ("gold", "length", "distinct_2")


def exact() -> Seen:
    """From exact chances to win, Bradley–Terry finds the strengths again, by Newton's steps and by Hunter's."""
    truth = np.array(TRUTH) - np.mean(TRUTH)
    wins = GAMES / (1 + np.exp(truth - truth[:, None]))
    np.fill_diagonal(wins, 0.0)
    off = [float(np.abs(found - truth).max()) for found in (bradley_terry(wins), strengths(wins, 400))]
    return max(off) < 1e-6, _plain(f"strengths off by {off[0]:.0e}, and by Hunter's steps {off[1]:.0e}")


def coverage(*, seeds: int = 1, by_seed: float = 0.0) -> tuple[float, int]:
    """Of many made-up boards whose true Elo is known, the share of intervals that hold it, and how many there are.

    - `seeds`: of each board; `by_seed`: the deviation, in nats, of what a seed adds to a player's strength.
    """
    rng, held = np.random.default_rng(0), []
    names, place = [f"player {i}" for i in range(len(TRUTH))], 2
    for board in range(BOARDS):
        strengths = np.array(TRUTH)[:, None, None] + by_seed * rng.normal(size=(len(TRUTH), seeds, 1))
        golds = strengths + rng.gumbel(size=(len(TRUTH), seeds, REQUESTS))  # P(i above j) is σ(θ_i − θ_j)
        table = elo_table(
            dict(zip(names, golds, strict=True)), anchor=names[place], resamples=200, seed=board
        )
        for name, strength in zip(names, TRUTH, strict=True):
            if name != names[place]:
                lead = ELO_PER_NAT * (strength - TRUTH[place])
                held.append(table.elo[name].low <= lead <= table.elo[name].high)
    return sum(held) / len(held), len(held)


def covers() -> Seen:
    """Over the requests of one seed the intervals hold the true Elo about as often as they say."""
    share, count = coverage()
    return 0.9 < share < 0.975, f"{share:.0%} of {count} intervals hold the true Elo; 95% should"


def first_rung() -> Seen:
    """`exact`, and then `covers`."""
    (found, told), (held, seen) = exact(), covers()
    return found and held, f"{told}; {seen}"


def drawn_twice(pipeline: Pipeline) -> dict[str, Any]:
    """The golds of two draws of the SFT model's answers to the held-out requests, and how many answers are the same text."""
    requests, golds, texts = held_out_requests(pipeline), [], []
    for purpose in ("judge", "chapter 14 judged again"):
        judged = judge_policy(
            pipeline.policy("sft"),
            pipeline.tokenizer(),
            requests,
            max_new_tokens=pipeline.profile.max_new_tokens,
            generator=pipeline.generator(purpose),
        )
        golds.append([gold.total for gold in judged.golds])
        texts.append(judged.answers)
    same = sum(one == other for one, other in zip(*texts, strict=True))
    return {"golds": golds[0], "again": golds[1], "same": same / len(requests)}


def twice(pipeline: Pipeline) -> Seen:
    """A method against itself, on the same requests and with other random numbers, is a tie within its interval."""
    found = pipeline.measured(drawn_twice)
    won = win_rate(found["golds"], found["again"], tie_margin=TIE, confidence=SURE)
    held = won.rate.low <= 0.5 <= won.rate.high and found["same"] < 0.5
    ends = f"{won.rate.low:.0%} to {won.rate.high:.0%}"
    return (
        held,
        f"wins {won.rate.mean:.0%} of {len(found['golds'])}, {ends} at {SURE:.1%}; {found['same']:.0%} of the answers alike",
    )


def start_is_at_zero(pipeline: Pipeline) -> Seen:
    """The SFT model is 0 nats from itself, by both estimates; cooled, it is not, and both say about as much."""
    here, cold = START.measured(pipeline), COLDER.measured(pipeline)
    tolerance = 1e-3 if pipeline.device.type == "cpu" else 0.2
    off = max(abs(here["kl_k1"]), abs(here["kl_k3"]))
    error = 4 * (cold["kl_k1_standard_error"] + cold["kl_k3_standard_error"])
    held = (
        off < tolerance < cold["kl_k3"] and cold["kl_k1"] > 0 and abs(cold["kl_k1"] - cold["kl_k3"]) < error
    )
    seen = f"the start {off:.0e} nats; at half the temperature k1 {cold['kl_k1']:.2f}, k3 {cold['kl_k3']:.2f}"
    return held, _plain(seen)


def same_prompts(pipeline: Pipeline, *others: Policy) -> Seen:
    """Everybody answers the same requests, as many as the profile says, and none of them was trained on."""
    requests = held_out_requests(pipeline)
    again = held_out_requests(pipeline) == requests
    policies: list[Policy] = [START, COLDER, *others]
    counts = {len(policy.measured(pipeline)["golds"]) for policy in policies}
    tokenizer = pipeline.tokenizer()
    asked = {tuple(encode_prompt(tokenizer, request.text)) for request in requests}
    seen_before = asked & {tuple(tokens) for tokens in prompts_for_ppo(pipeline)[0]}
    held = again and counts == {pipeline.profile.test_prompts} == {len(asked)} and not seen_before
    told = f"{len(asked)} requests, {', '.join(map(str, sorted(counts)))} golds a policy, {len(seen_before)} of them asked in training"
    return held, told


def reference_answers(pipeline: Pipeline) -> Seen:
    """A writer who meets every wish has the best gold on every request, and whoever says nothing has none."""
    requests, rng = held_out_requests(pipeline), random.Random(0)
    writer = replace(CAREFUL, declines=1.0)
    best = [stories.gold(request, demonstrate(request, writer, rng)).total for request in requests]
    silent = [stories.gold(request, "").total for request in requests]
    held = all(math.isclose(gold, stories.BEST) for gold in best) and max(silent) <= 0
    return (
        held,
        f"gold {min(best):.2f} to {max(best):.2f} of {stories.BEST:.2f}; of an empty answer {max(silent):.2f}",
    )


def seeds_differ(pipeline: Pipeline) -> Seen:
    """Another seed asks other requests, and draws other random numbers; the same seed the same."""
    here, next_one = (
        Pipeline(pipeline.profile, seed=pipeline.seed + step, cache=pipeline.store.root) for step in (0, 1)
    )
    asked = [{request.text for request in held_out_requests(one)} for one in (pipeline, here, next_one)]
    drawn = [one.generator("judge").initial_seed() for one in (pipeline, here, next_one)]
    shared = len(asked[0] & asked[2]) / len(asked[0])
    held = asked[0] == asked[1] and drawn[0] == drawn[1] != drawn[2] and shared < 0.5
    return held, f"seeds {here.seed} and {next_one.seed} share {shared:.0%} of their requests"


def band(pipeline: Pipeline) -> Seen:
    """The row of PPO, against where one more good seed should fall, by the seeds on record."""
    here, profile = entry(FIRST).main.policy.measured(pipeline), pipeline.profile.name
    return in_the_band(here, BAND, chapter="14", experiment="methods", method=FIRST, profile=profile)


def real(pipeline: Pipeline) -> Seen:
    """PPO's row against the SFT model's: more gold, on more than half of the requests, and at a KL that is not 0."""
    before, after = START.measured(pipeline), entry(FIRST).main.policy.measured(pipeline)
    won = win_rate(after["golds"], before["golds"], tie_margin=TIE)
    seen = f"gold {before['gold']:.2f}, then {after['gold']:.2f}; beats the start on {won.rate.mean:.0%}, {after['kl_k3']:.1f} nats away"
    return after["gold"] > before["gold"] and won.rate.low > 0.5 and after["kl_k3"] > 0.1, _plain(seen)


def rungs(pipeline: Pipeline, *, others: Sequence[Policy] = ()) -> list[Rung]:
    """The eight rungs for one pipeline. The last two read PPO's row, and train PPO if it is not kept.

    `others`: further policies that must have answered the same requests; they are measured if they are not yet.
    """
    return [
        Rung("exact test", "strengths are found again from exact chances; intervals hold the true Elo", first_rung),
        Rung("the same twice", "a method against itself is a tie within its interval", lambda: twice(pipeline)),
        Rung("start at 0", "the start is 0 nats from itself, and cooled it is not", lambda: start_is_at_zero(pipeline)),
        Rung("same prompts", "everybody answers the same requests, and none was trained on", lambda: same_prompts(pipeline, *others)),
        Rung("reference answers", "answers that meet every wish have the best gold", lambda: reference_answers(pipeline)),
        Rung("seeds differ", "another seed, other requests and random numbers", lambda: seeds_differ(pipeline)),
        Rung("band of good seeds", "PPO's row is where one more good seed should fall", lambda: band(pipeline)),
        Rung("real row", "PPO has more gold than the start, on more than half of the requests", lambda: real(pipeline)),
    ]  # fmt: skip


def _plain(text: str) -> str:
    return text.replace("-", "−")
