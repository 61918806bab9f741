"""The ladder of chapter 12: what to test, from the exact to the real, when GRPO does not improve a policy.

All rungs but the last two run here, on sums of one digit each and a model that was taught them half wrongly: some
seconds of training. The last two belong to the chapter's own runs, whose outcome the notebook hands in (`rungs`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.chapters.band import in_the_band
from rlhf_mini.chapters.verifiable import toy
from rlhf_mini.data.chat import pack_texts
from rlhf_mini.data.digits import character_tokenizer
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.loop import OptimizerConfig, Training
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.group_methods import grpo_method
from rlhf_mini.methods.groups import Groups, prompts_in_turn
from rlhf_mini.methods.grpo import GRPOConfig, collect, grpo, update
from rlhf_mini.methods.reward_parts import Part
from rlhf_mini.methods.sft import SFTConfig, sft
from rlhf_mini.models import copy_of, new_llama
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.worlds.sums import ALPHABET, Level, Sum, demonstrate, draw_sums
from rlhf_mini.worlds.sums_verifier import GAPS, all_right, answer_right, steps_written

Seen = tuple[bool, str]
Outcome = Callable[[], Mapping[str, float]]
EXPERIMENT, METHOD, BAND = (
    "runs",
    "GRPO",
    ("answer_right", "length"),
)  # of the records, as the chapter's runs name them
PROBLEMS, LESSONS, EPOCHS, LONGEST = 8, 96, 100, 12


@dataclass(frozen=True)
class SmallSums:
    """Sums of two digits each, and a model that has read solutions of which half hold a slip; by one seed."""

    seed: int

    @cached_property
    def words(self) -> PreTrainedTokenizerBase:
        """One token a character."""
        return character_tokenizer(ALPHABET)

    @cached_property
    def problems(self) -> list[Sum]:
        """The sums that are asked."""
        return draw_sums(PROBLEMS, Level(numbers=2, digits=1), seed=self.seed)

    @cached_property
    def prompts(self) -> list[list[int]]:
        """The same as tokens."""
        return [encode_prompt(self.words, problem.text) for problem in self.problems]

    @cached_property
    def start(self) -> LlamaForCausalLM:
        """The model before any reward; take copies of it."""
        words = self.words
        model = new_llama(
            vocab_size=len(words), width=32, layers=2, heads=2, context=32, pad_token=words.pad_token_id,
            eos_token=words.eos_token_id, bos_token=words.bos_token_id, seed=self.seed,
        )  # fmt: skip
        shown = self.problems * (LESSONS // PROBLEMS)
        texts = demonstrate(shown, error_rate=0.5, seed=self.seed + 1)
        optimizer = OptimizerConfig(learning_rate=5e-3, final_fraction=0.1)
        sft(
            model,
            pack_texts(words, [problem.text for problem in shown], texts),
            config=SFTConfig(epochs=EPOCHS, batch=32, optimizer=optimizer),
            generator=self.generator(),
        )
        return model.eval()

    def parts(self) -> dict[str, Part]:
        """The reward: a right answer, and a fifth of a point for the form."""
        return {
            "answer": Part(text_score(self.words, answer_right)),
            "form": Part(text_score(self.words, steps_written), weight=0.2),
        }

    def generator(self) -> torch.Generator:
        """The same every time."""
        return torch.Generator().manual_seed(self.seed)


def settings(**changes: Any) -> GRPOConfig:
    """One epoch on 64 answers an iteration, in one step, unless told otherwise."""
    config = GRPOConfig(
        iterations=24,
        prompts=PROBLEMS,
        drawing=Drawing(samples=8, temperature=1.0, max_new_tokens=LONGEST),
        minibatch=8 * PROBLEMS,
        epochs=1,
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )
    return replace(config, **changes)


def drawn(sums: SmallSums, parts: Mapping[str, Part] | None = None) -> Groups:
    """One draw of the start, with its advantages."""
    turn = prompts_in_turn(sums.prompts, generator=sums.generator())
    return collect(
        sums.start, None, sums.words, turn, sums.parts() if parts is None else parts, grpo_method(),
        config=settings(), generator=sums.generator(),
    )  # fmt: skip


def trained(
    sums: SmallSums, prompts: Sequence[Sequence[int]], *, iterations: int
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    """A copy of the start after so many iterations of GRPO on these prompts, and the log."""
    policy = copy_of(sums.start)
    config = settings(iterations=iterations)
    log = grpo(
        policy,
        None,
        sums.words,
        prompts,
        sums.parts(),
        grpo_method(),
        config=config,
        generator=sums.generator(),
    )
    return policy, log


# ---- the rungs


def exact() -> Seen:
    """Which of the eight methods are one on the first step, and which follows the gradient of the pass rate."""
    worst = max(toy.identities(seed=0).values())
    along = toy.first_step(seed=0)["cosine GRPO"]
    return worst < 1e-12 and along < 0.99, f"errors of at most {worst:.0e}; GRPO's cosine with it {along:.2f}"


def verifier() -> Seen:
    """Worked solutions earn everything, slips nothing, and what exploits a gap nothing once the gap is closed."""
    problems = draw_sums(40, Level(numbers=2, digits=2), seed=0)
    slips = demonstrate(problems, error_rate=1.0, seed=0)
    right = sum(all_right(one.text, one.solution) * answer_right(one.text, one.solution) for one in problems)
    fooled = sum(answer_right(one.text, text) for one, text in zip(problems, slips, strict=True))
    paid = max(gap.closed(one.text, gap.exploit(one)) for one in problems[:5] for gap in GAPS.values())
    held = right == len(problems) and fooled == 0 == paid
    return (
        held,
        f"{right:.0f} of {len(problems)} solutions right, {fooled:.0f} slips paid, exploits earn {paid:.0f}",
    )


def groups_fit(sums: SmallSums) -> Seen:
    """The answers of a group are to one prompt, advantages add up to 0 in it, and equal rewards have none."""
    groups = drawn(sums)
    rewards, advantages = groups.by_prompt(groups.rewards), groups.by_prompt(groups.answers.advantages)
    total = float(advantages.sum(1).abs().max())
    flat = rewards.amax(1) == rewards.amin(1)
    quiet = bool((advantages[flat] == 0).all()) and bool((advantages[~flat] != 0).any(1).all())
    best = advantages.gather(1, rewards.argmax(1, keepdim=True))
    held = total < 1e-4 and quiet and bool((best >= 0).all())
    return held, f"{int(flat.sum())} of {len(flat)} groups without spread; sums of at most {total:.0e}"


def first_step(sums: SmallSums) -> Seen:
    """On a fresh draw the ratio is 1, the loss 0 and its gradient not; on the second pass the ratio is no longer 1."""
    policy, groups = copy_of(sums.start), drawn(sums)
    config = settings(epochs=2)
    with Training(policy, optimizer=config.optimizer, steps=config.steps) as training:
        first, second = update(
            training, policy, groups, grpo_method(), config=config, generator=sums.generator(),
            ratio_tolerance=math.inf,
        )  # fmt: skip
    off, loss, slope = first["ratio_deviation"], abs(first["policy_loss"]), first["grad_norm"]
    held = off < 1e-4 and loss < 1e-4 and slope > 1e-3 and second["ratio_deviation"] > 10 * off + 1e-4
    seen = f"|ρ − 1| {off:.0e}, then {second['ratio_deviation']:.0e}; loss {loss:.0e}, gradient {slope:.2f}"
    return held, seen.replace("e-", "e−")


def nothing_to_learn(sums: SmallSums) -> Seen:
    """If all answers are paid alike, no weight moves, by not a single bit."""
    policy = copy_of(sums.start)
    alike = {"alike": Part(lambda sequences: torch.ones(len(sequences)))}
    config = settings(iterations=2)
    grpo(
        policy,
        None,
        sums.words,
        sums.prompts,
        alike,
        grpo_method(),
        config=config,
        generator=sums.generator(),
    )
    pairs = zip(policy.parameters(), sums.start.parameters(), strict=True)
    moved = max(float((new - old).detach().abs().max()) for new, old in pairs)
    return moved == 0, f"weights moved by {moved:.0e}"


def one_sum(sums: SmallSums) -> Seen:
    """One sum, asked again and again: nearly all of its answers come out right."""
    middle = drawn(sums)
    rates = middle.by_prompt(middle.scores["answer"]).mean(1)
    asked = middle.answers.sequences.tokens[:: middle.group][int((rates - 0.5).abs().argmin())]
    prompt = next(one for one in sums.prompts if asked[: len(one)].tolist() == list(one))
    _, log = trained(sums, [prompt], iterations=12)
    before, after = log[0]["pass_rate"], log[-1]["pass_rate"]
    return after > 0.9, f"{before:.0%} right at first, {after:.0%} after 12 iterations"


def small_run(sums: SmallSums) -> Seen:
    """All eight sums: more of their answers are right, and more groups without spread, as there is less to learn."""
    _, log = trained(sums, sums.prompts, iterations=24)
    before, after = (sum(entry["pass_rate"] for entry in part) / 4 for part in (log[:4], log[-4:]))
    idle = [sum(entry["without_spread"] for entry in part) / 4 for part in (log[:4], log[-4:])]
    seen = f"right {before:.0%}, then {after:.0%}; groups without spread {idle[0]:.0%}, then {idle[1]:.0%}"
    return after > before + 0.2 and idle[1] > idle[0], seen


def band(pipeline: Pipeline, here: Mapping[str, float]) -> Seen:
    """The chapter's run, against where one more good seed should fall."""
    return in_the_band(
        here, BAND, chapter="12", experiment=EXPERIMENT, method=METHOD, profile=pipeline.profile.name
    )


def real(before: Mapping[str, float], after: Mapping[str, float]) -> Seen:
    """pass@1 on held-out sums, which nothing was trained on, before and after."""
    seen = f"pass@1 {before['answer_right']:.2f} before, {after['answer_right']:.2f} after"
    return after["answer_right"] > before["answer_right"] + 0.1, seen


def rungs(pipeline: Pipeline, *, start: Outcome | None = None, end: Outcome | None = None) -> list[Rung]:
    """The seven rungs that run here; with the outcomes of the chapter's start and run, two more.

    An outcome is a function without arguments that gives at least what `BAND` names, called when its rung is reached.
    """
    sums = SmallSums(pipeline.seed)
    climbed = [
        Rung("exact test", "who is one on the first step, and who follows the pass rate", exact),
        Rung("verifier", "solutions earn everything, slips and exploits nothing", verifier),
        Rung("groups", "one prompt a group, advantages that add up to 0", lambda: groups_fit(sums)),
        Rung("first step", "ratio 1, loss 0, gradient not 0; then the ratio moves", lambda: first_step(sums)),
        Rung("nothing to learn", "equal rewards move no weight", lambda: nothing_to_learn(sums)),
        Rung(
            "one sum", "more than 90% of the answers to one sum are right in the end", lambda: one_sum(sums)
        ),
        Rung("small run", "a fifth more of the answers to eight sums are right", lambda: small_run(sums)),
    ]
    if start is not None and end is not None:
        climbed += [
            Rung(
                "band of good seeds",
                "the run is where one more good seed should fall",
                lambda: band(pipeline, end()),
            ),
            Rung("real run", "pass@1 on held-out sums rises by at least 0.1", lambda: real(start(), end())),
        ]
    return climbed
