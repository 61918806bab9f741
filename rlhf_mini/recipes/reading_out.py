"""Three read-outs of a policy on sums, from one pool of samples: one, the vote, the best by a learned scorer.

The same weights and the same samples stand behind all three. The vote knows no scorer; the scorer has learned
from right and wrong solutions to training problems, and does not see whether those that it chooses among are
right.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs
from rlhf_mini.chapters.small_sums import held_out_sums, tokenizer
from rlhf_mini.chapters.verifiable import looks
from rlhf_mini.chapters.verifiable.choices import LONGEST
from rlhf_mini.chapters.verifiable.starts import problems
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.evaluation.best_of_n_curve import best_of_n_curve
from rlhf_mini.evaluation.pass_at_k import majority_at_k, mean_pass_at_k
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.reward_model import RewardModelConfig, normalise, scores, train_reward_model
from rlhf_mini.models import freeze, new_reward_model
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.sums import Sum, Verdict, verify

SCORED = 4  # solutions of a policy to each training problem, from which the scorer's pairs are made
PAIRS_A_PROBLEM = 4
LEARNING = RewardModelConfig(
    epochs=2, batch=32, optimizer=OptimizerConfig(learning_rate=1e-3, final_fraction=0.1)
)
Curves = dict[str, list[float]]


# ---------------------------------------------------------------------------------------- the learned scorer


def is_right(problem: Sum, text: str) -> bool:
    """Whether a solution's answer is the sum, whatever its steps."""
    return verify(problem, text).answer_right


def right_and_wrong(shown: Sequence[Sum], texts: Sequence[Sequence[str]]) -> list[tuple[str, str, str]]:
    """Of each problem's solutions, pairs of a right and a wrong one, none twice: (prompt, right, wrong).

    At most `PAIRS_A_PROBLEM` a problem; none of a problem that was always or never solved.
    """
    found = []
    for problem, row in zip(shown, texts, strict=True):
        different = dict.fromkeys(row)
        right = [text for text in different if is_right(problem, text)]
        wrong = [text for text in different if not is_right(problem, text)]
        pairs = list(zip(right, wrong, strict=False))[:PAIRS_A_PROBLEM]
        found += [(problem.text, one, other) for one, other in pairs]
    return found


def learned_scorer(pipeline: Pipeline, policies: Sequence[PreTrainedModel]) -> PreTrainedModel:
    """A reward model on right and wrong solutions of the policies to the training problems, frozen.

    It starts from the last of them. Raises ValueError if there are fewer pairs than one batch.
    """
    shown, words, generator = problems(pipeline, "asked"), tokenizer(), pipeline.generator("o1 scorer")
    prompts = [problem.text for problem in shown for _ in range(SCORED)]
    texts: list[list[str]] = [[] for _ in shown]
    for policy in policies:
        drawn = answer(policy, words, prompts, max_new_tokens=LONGEST, generator=generator)
        for place, row in enumerate(texts):
            row += drawn[SCORED * place : SCORED * (place + 1)]
    pairs = right_and_wrong(shown, texts)
    if len(pairs) < LEARNING.batch:
        raise ValueError(
            f"{len(pairs)} pairs of a right and a wrong solution are less than one batch of "
            f"{LEARNING.batch}: the policies solve nearly all of the problems, or nearly none"
        )
    asked, right, wrong = ([row[place] for row in pairs] for place in range(3))
    packed = Pairs(chosen=pack_texts(words, asked, right), rejected=pack_texts(words, asked, wrong))
    model = new_reward_model(policies[-1], seed=pipeline.seed).requires_grad_(True)
    train_reward_model(model, packed, config=LEARNING, generator=generator)
    normalise(model, packed.rejected)
    return freeze(model)


# ------------------------------------------------------------------------------------------- three read-outs


def read_out(
    asked: Sequence[Sum], verdicts: Sequence[Sequence[Verdict]], scored: Sequence[Sequence[float]]
) -> Curves:
    """Shares of right answers for each number of `looks.TRIES`, from one pool of samples to each problem.

    - `verdicts`: the checker's, by which the read-outs are judged and nothing is chosen, but for `pass`.
    - `scored`: the learned scorer's, which only `scorer` looks at.

    `one`, a single sample, the same for every number; `vote`, what most of so many answer; `scorer`, the one
    of so many that it likes best; `pass`, at least one of them is right: what a perfect scorer would choose.
    """
    right = [[one.answer_right for one in row] for row in verdicts]
    votes = [[one.answer for one in row] for row in verdicts]
    sizes, count = [*looks.TRIES], len(asked)
    golds = [[float(one) for one in row] for row in right]
    chosen = best_of_n_curve(golds, scored, sizes=sizes).gold.mean(0).tolist()
    single = mean_pass_at_k(right, k=1)
    return {
        "tries": [float(size) for size in sizes],
        "one": [single] * len(sizes),
        "vote": [
            sum(majority_at_k(row, problem.answer, k=k) for row, problem in zip(votes, asked, strict=True))
            / count
            for k in sizes
        ],
        "scorer": chosen,
        "pass": [mean_pass_at_k(right, k=k) for k in sizes],
    }


def right_on_wrong_steps(verdicts: Sequence[Sequence[Verdict]]) -> float:
    """The share of right answers that do not stand on right steps; 0 if no answer is right."""
    right = [one for row in verdicts for one in row if one.answer_right]
    return sum(not one.correct for one in right) / len(right) if right else 0.0


def read_outs(pipeline: Pipeline, policies: Mapping[str, PreTrainedModel]) -> dict[str, dict[str, Any]]:
    """`read_out` of each policy on held-out sums, by one scorer for all, and `right_on_wrong_steps`."""
    scorer, words = learned_scorer(pipeline, [*policies.values()]), tokenizer()
    asked = held_out_sums(looks.HELD_OUT, rehearsal=False)[: looks.CURVE_PROBLEMS]
    told: dict[str, dict[str, Any]] = {}
    for name, policy in policies.items():
        texts = looks.solutions(pipeline, policy, asked, samples=looks.CURVE_SAMPLES)
        prompts = [problem.text for problem, row in zip(asked, texts, strict=True) for _ in row]
        flat = scores(scorer, pack_texts(words, prompts, [text for row in texts for text in row]))
        said = looks.verdicts(asked, texts)
        told[name] = {
            **read_out(asked, said, flat.view(len(asked), -1).tolist()),
            "right_on_wrong_steps": right_on_wrong_steps(said),
        }
    return told
