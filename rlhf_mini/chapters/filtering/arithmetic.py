"""Sums: expert iteration, where a checker says what is right and a right answer can be written in many ways.

The start is a small model that has read faulty solutions. A demonstration may take the two numbers in either order,
and a policy may do so column by column, so that two digits each can be added up in four ways, all of them right: what
a checker of answers cannot tell apart, a policy may forget. Every method then draws as many solutions from it, and
learns from what came out right.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from rlhf_mini.chapters.small_sums import LEVEL, MAX_NEW_TOKENS, fine_tuned_start, held_out_sums, tokenizer
from rlhf_mini.data.chat import answer
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.answers import Drawing, text_score
from rlhf_mini.methods.expert_iteration import ExpertIterationConfig, expert_iteration
from rlhf_mini.methods.rejection_sampling import Score
from rlhf_mini.methods.sft import SFTConfig
from rlhf_mini.models import freeze
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import sums
from rlhf_mini.worlds.sums import RIGHT, Sum

DEMONSTRATIONS, ERROR_RATE = 2500, 0.5
START_EPOCHS = 16
PROBLEMS, HELD_OUT = (
    560,
    140,
)  # of those demonstrated, asked for in every round; held out, half of them for rehearsal
ROUNDS, SAMPLES, MOST = 5, 8, 4  # of expert iteration: solutions a problem and round, and how many are kept
BATCH = 32
# One round, unless a run says otherwise; a threshold below 0 keeps what is wrong, too.
ROUND: Mapping[str, Any] = {"samples": SAMPLES, "most": MOST, "epochs": 6, "threshold": 0.5, "rate": 1e-3}
LOOKS = 32  # solutions to each held-out problem, when a policy is judged
PASSES = (1, 4, 16)


def problems(pipeline: Pipeline, *, held_out: bool = False, rehearsal: bool = False) -> list[Sum]:
    """The sums that are trained on, or those that nobody was shown; for `rehearsal` the first half of the latter."""
    if not held_out:
        return _demonstrated(pipeline)[:PROBLEMS]
    return held_out_sums(HELD_OUT, rehearsal=rehearsal)


def _demonstrated(pipeline: Pipeline) -> list[Sum]:
    return sums.draw_sums(DEMONSTRATIONS, LEVEL, seed=pipeline.seed_for("chapter 09 sums"))


def demonstrations(pipeline: Pipeline) -> tuple[list[str], list[str]]:
    """Prompts and worked solutions, one a problem, the numbers taken in either order; a share of them goes wrong."""
    rng, shown = pipeline.rng("chapter 09 orders"), _demonstrated(pipeline)
    turned = [Sum(tuple(rng.sample(problem.numbers, len(problem.numbers)))) for problem in shown]
    seed = pipeline.seed_for("chapter 09 demonstrations")
    return [problem.text for problem in shown], sums.demonstrate(turned, error_rate=ERROR_RATE, seed=seed)


def weak_start(pipeline: Pipeline, folder: Path, *, epochs: int) -> None:
    """A kept model: a small Llama after some epochs of the demonstrations."""
    shown = demonstrations(pipeline)
    model = fine_tuned_start(pipeline, *shown, context=64, epochs=epochs, purpose="chapter 09 start")
    model.save_pretrained(folder)


def start_of(pipeline: Pipeline) -> PreTrainedModel:
    """The weak start, frozen."""
    folder = pipeline.kept(weak_start, epochs=START_EPOCHS)
    return freeze(AutoModelForCausalLM.from_pretrained(folder)).to(pipeline.device)


# ---- what is said of a policy


def pass_at(right: Tensor, k: int) -> float:
    """pass@k, without bias: the chance that at least one of k solutions is right, from n of them a problem.

    1 − C(n − c, k)/C(n, k) for c right ones, averaged over problems; `right` is (N, n), boolean.

    >>> pass_at(torch.tensor([[True, False], [False, False]]), 1), pass_at(torch.tensor([[True, False]]), 2)
    (0.25, 1.0)
    """
    drawn, counts = right.shape[1], right.sum(1).tolist()
    if not 1 <= k <= drawn:
        raise ValueError(f"k must be from 1 to the {drawn} solutions of a problem, got {k}")
    return sum(1 - math.comb(drawn - count, k) / math.comb(drawn, k) for count in counts) / len(counts)


def differ(texts: list[list[str]], right: Tensor) -> float:
    """The chance that two right solutions to one problem are written differently, averaged over problems.

    Without bias from n right ones, n_w of each way: 1 − Σ_w n_w (n_w − 1)/(n (n − 1)). Problems with fewer than two right
    solutions are left out; 0 if all are.

    >>> differ([["a", "b", "a", "b"], ["a", "a", "a", "c"]], torch.tensor([[True] * 4, [True, True, True, False]]))
    0.33...
    """
    found = []
    for row, good in zip(texts, right.tolist(), strict=True):
        ways = [text for text, is_right in zip(row, good, strict=True) if is_right]
        if len(ways) > 1:
            alike = sum(ways.count(way) * (ways.count(way) - 1) for way in set(ways))
            found.append(1 - alike / (len(ways) * (len(ways) - 1)))
    return sum(found) / len(found) if found else 0.0


@torch.no_grad()
def look(pipeline: Pipeline, policy: PreTrainedModel, *, rehearsal: bool = False) -> dict[str, float]:
    """pass@k on held-out problems, accuracy on training ones, and how differently right solutions are written."""
    words, training = tokenizer(), policy.training
    policy.eval()
    asked = problems(pipeline, held_out=True, rehearsal=rehearsal)
    texts, right = _solved(pipeline, policy, asked, LOOKS)
    _, seen = _solved(pipeline, policy, problems(pipeline)[: HELD_OUT // 2], max(1, LOOKS // 4))
    policy.train(training)
    whole = [len(words.encode(text)) for row in texts for text in row]
    return {
        **{f"pass_{k}": pass_at(right, k) for k in PASSES},
        "train": float(seen.float().mean()),
        "differ": differ(texts, right),
        "length": sum(whole) / len(whole),
    }


def _solved(
    pipeline: Pipeline, policy: PreTrainedModel, asked: list[Sum], samples: int
) -> tuple[list[list[str]], Tensor]:
    """Several solutions to each problem, and which have the right answer, (N, samples)."""
    flat = answer(
        policy,
        tokenizer(),
        [problem.text for problem in asked for _ in range(samples)],
        max_new_tokens=MAX_NEW_TOKENS,
        generator=pipeline.generator("chapter 09 sums judge"),
    )
    texts = [flat[start : start + samples] for start in range(0, len(flat), samples)]
    right = [
        [sums.relabel(problem, text) == RIGHT for text in row]
        for problem, row in zip(asked, texts, strict=True)
    ]
    return texts, torch.tensor(right)


# ---- the methods


def checker() -> Score:
    """1 for a solution with the right answer, whatever the way to it, else 0."""
    return text_score(tokenizer(), lambda prompt, text: float(sums.relabel(prompt, text) == RIGHT))


def settings(*, samples: int, most: int, epochs: int, threshold: float, rate: float) -> ExpertIterationConfig:
    """One round: draw, keep what lies above the threshold, fine-tune."""
    optimizer = OptimizerConfig(learning_rate=rate, warmup_steps=4, final_fraction=0.1)
    return ExpertIterationConfig(
        rounds=1,
        drawing=Drawing(samples=samples, temperature=1.0, max_new_tokens=MAX_NEW_TOKENS),
        sft=SFTConfig(epochs=epochs, batch=BATCH, optimizer=optimizer),
        threshold=threshold,
        most=most,
    )


def improved(
    pipeline: Pipeline,
    folder: Path,
    *,
    again_from_base: bool,
    rounds: int = ROUNDS,
    rehearsal: bool = False,
    **changes: Any,
) -> None:
    """A kept policy after rounds of learning from its own solutions, and what was seen of it after each.

    - `again_from_base`: every round fine-tunes the start (ReST-EM); otherwise the policy that drew.
    - `rehearsal`: which of the held-out problems are looked at.
    - `changes`: what of `ROUND` is otherwise.
    """
    start, asked = start_of(pipeline), [problem.text for problem in problems(pipeline)]
    generator = pipeline.generator("chapter 09 rounds")
    policy, history = start, [look(pipeline, start, rehearsal=rehearsal)]
    for _ in range(rounds):
        policy, (entry,) = expert_iteration(
            start if again_from_base else policy,
            policy,
            tokenizer(),
            lambda number: asked,
            checker(),
            config=settings(**{**ROUND, **changes}),
            generator=generator,
        )
        history.append({**entry, **look(pipeline, policy, rehearsal=rehearsal)})
    policy.save_pretrained(folder)
    (folder / "history.json").write_text(json.dumps(history))


def history_of(pipeline: Pipeline, **run: Any) -> list[dict[str, float]]:
    """What was seen of the start and after each round of a kept run."""
    return json.loads((pipeline.kept(improved, **run) / "history.json").read_text())


METHODS: Mapping[str, dict[str, Any]] = {
    "from base each round": {"again_from_base": True},
    "from the last policy": {"again_from_base": False},
    "one round, as many samples": {
        "again_from_base": True,
        "rounds": 1,
        "samples": ROUNDS * SAMPLES,
        "most": ROUNDS * MOST,
    },
    "without the checker": {"again_from_base": False, "threshold": -1.0},
}


def runs(pipeline: Pipeline) -> dict[str, list[dict[str, float]]]:
    """Every method's history."""
    return {name: history_of(pipeline, **run) for name, run in METHODS.items()}
