"""The exercises of chapter 06: solutions, and the wrong programs that readers write."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.reader import Exercise, Mistake, OpenExercise

# ------------------------------------------------------------------------------------- 1 · the margin loss


def margin_loss(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    """−log σ(chosen − rejected − margin), one number a pair: (B,), (B,), (B,) -> (B,)."""
    return -logsigmoid(chosen - rejected - margin)


def _margin_added(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    return margin_loss(chosen, rejected, -margin)


def _margin_outside(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    return -(logsigmoid(chosen - rejected) - margin)


def _margin_as_weight(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    return -margin * logsigmoid(chosen - rejected)


def _hinge(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    return torch.relu(margin - (chosen - rejected))


def _naive(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    return -torch.log(torch.sigmoid(chosen - rejected - margin))


def _averaged(chosen: Tensor, rejected: Tensor, margin: Tensor) -> Tensor:
    return margin_loss(chosen, rejected, margin).mean()


def _scored_pairs() -> list[tuple]:
    chosen, rejected = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([0.0, 1.0, -1.0])
    return [
        (chosen, rejected, torch.tensor([3.0, 1.0, 0.0])),
        (chosen, rejected, torch.tensor([1.0, 1 / 3, 2 / 3])),
        (torch.tensor([-60.0]), torch.tensor([40.0]), torch.tensor([2.0])),
    ]


MARGIN = Exercise(
    title="The loss with a margin",
    level="easy",
    minutes=5,
    hints=(
        "Without a margin it is a loss that you know: minus the logarithm of the probability that the chosen answer wins, which is σ of the difference.",
        "The margin is taken off the difference before the sigmoid: the chosen answer must be ahead by that much to cost log 2.",
    ),
    solution=margin_loss,
    cases=_scored_pairs,
    mistakes=(
        Mistake(_margin_added, "You add the margin to the difference, and so a clear pair costs less. It should cost more until its scores lie far enough apart."),
        Mistake(_margin_outside, "Your margin stands outside the sigmoid: a constant, whose gradient is 0. It changes the loss that you see and nothing that is learned."),
        Mistake(_margin_as_weight, "You weigh the pairs by their margins. Pairs with margin 0 would then teach nothing at all."),
        Mistake(_hinge, "That is the hinge loss of a support vector machine. The margin of Llama 2 stands inside −log σ, which never becomes 0."),
        Mistake(_naive, "Far on the wrong side the sigmoid is 0 and its logarithm −∞. Use logsigmoid."),
        Mistake(_averaged, "You return the mean. Return one loss a pair."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 2 · which reward counts


def chosen_reward(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    """Llama 2's R_c with its threshold 0.15: (B,), (B,), (B,) bool -> (B,)."""
    return torch.where(about_safety | (safety < 0.15), safety, helpfulness)


def _and_for_or(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    return torch.where(about_safety & (safety < 0.15), safety, helpfulness)


def _prompt_only(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    return torch.where(about_safety, safety, helpfulness)


def _threshold_only(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    return torch.where(safety < 0.15, safety, helpfulness)


def _mean_of_both(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    return (helpfulness + safety) / 2


def _swapped(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    return torch.where(about_safety | (safety < 0.15), helpfulness, safety)


def _smaller(helpfulness: Tensor, safety: Tensor, about_safety: Tensor) -> Tensor:
    return torch.minimum(helpfulness, safety)


def _answers_to_score() -> list[tuple]:
    helpful = torch.tensor([0.9, 0.9, 0.2, 0.9, 0.6])
    safe = torch.tensor([0.3, 0.4, 0.8, 0.1, 0.15])
    return [
        (helpful, safe, torch.tensor([True, False, True, False, False])),
        (torch.tensor([0.5, 0.7]), torch.tensor([0.05, 0.9]), torch.tensor([True, False])),
    ]


PIECEWISE = Exercise(
    title="Which reward counts",
    level="easy",
    minutes=5,
    hints=(
        "For every answer exactly one of the two scores is taken. There are two reasons to take the one for safety, and either is enough.",
        "torch.where(condition, safety, helpfulness); join the two reasons with |.",
    ),
    solution=chosen_reward,
    cases=_answers_to_score,
    mistakes=(
        Mistake(_and_for_or, "You want both reasons at once. Either is enough: a prompt about safety, or an answer that is unsafe whatever the prompt."),
        Mistake(_prompt_only, "You look at the prompt alone. An innocent prompt can get an unsafe answer."),
        Mistake(_threshold_only, "You look at the answer alone. On a prompt about safety the safety score counts, however high it is."),
        Mistake(_mean_of_both, "That is the linear combination: helpfulness makes up for a lack of safety. Llama 2 chooses and does not add."),
        Mistake(_swapped, "The two scores are exchanged: you take helpfulness exactly where safety is at stake."),
        Mistake(_smaller, "The smaller of the two is a sensible idea, and another rule: it takes the safety score for every answer that is more helpful than safe, however safe it is."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 3 · the best of K, exactly


def best_of_k(probabilities: Tensor, k: int) -> Tensor:
    """The distribution of the best of k draws; answers stand from worst to best, no ties: (V,) -> (V,)."""
    at_most = probabilities.cumsum(0)
    lower = at_most - probabilities
    return at_most**k - lower**k


def _cumulative(probabilities: Tensor, k: int) -> Tensor:
    return probabilities.cumsum(0) ** k


def _density(probabilities: Tensor, k: int) -> Tensor:
    return k * probabilities * probabilities.cumsum(0) ** (k - 1)


def _sharpened(probabilities: Tensor, k: int) -> Tensor:
    return probabilities**k / (probabilities**k).sum()


def _worst(probabilities: Tensor, k: int) -> Tensor:
    return best_of_k(probabilities.flip(0), k).flip(0)


def _one_more(probabilities: Tensor, k: int) -> Tensor:
    return best_of_k(probabilities, k + 1)


BEST_OF_K = Exercise(
    title="The best of K, exactly",
    level="medium",
    minutes=15,
    hints=(
        "When is the best of k draws no better than answer i? When all of them are no better. What is the chance of that?",
        "Let F be the chance that one draw is at most as good as i. F^k is the chance that the best is. Subtract the same for the answer before.",
    ),
    solution=best_of_k,
    cases=lambda: [
        (torch.tensor([0.7, 0.2, 0.1]), 4),
        (torch.tensor([0.25, 0.25, 0.25, 0.25]), 2),
        (torch.tensor([0.1, 0.6, 0.3]), 1),
    ],
    mistakes=(
        Mistake(_cumulative, "Those are the chances that the best is *at most* as good as each answer. They grow to 1; take differences."),
        Mistake(_density, "k p F^(k−1) is right for a continuous score. With a few answers, several of the k draws can be the same one, and your numbers add up to more than 1."),
        Mistake(_sharpened, "Raising probabilities to a power prefers what is likely, not what is good: the scores do not occur in it."),
        Mistake(_worst, "That is the worst of k. The last answer is the best one, and must gain most."),
        Mistake(_one_more, "That is the best of k + 1."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 4 · the best of each prompt


def keep_the_best(answers: list[str], scores: Tensor, k: int) -> list[str]:
    """The best answer of every prompt, from one flat list: first the k answers to prompt 0, then to prompt 1, …"""
    best = scores.view(-1, k).argmax(1)
    return [answers[prompt * k + int(place)] for prompt, place in enumerate(best)]


def _interleaved(answers: list[str], scores: Tensor, k: int) -> list[str]:
    best = scores.view(k, -1).argmax(0)
    prompts = len(answers) // k
    return [answers[int(place) * prompts + prompt] for prompt, place in enumerate(best)]


def _place_in_the_group(answers: list[str], scores: Tensor, k: int) -> list[str]:
    return [answers[int(place)] for place in scores.view(-1, k).argmax(1)]


def _best_of_all(answers: list[str], scores: Tensor, k: int) -> list[str]:
    best = scores.argsort(descending=True)[: len(answers) // k]
    return [answers[int(place)] for place in best]


def _lowest(answers: list[str], scores: Tensor, k: int) -> list[str]:
    return keep_the_best(answers, -scores, k)


KEEP = Exercise(
    title="The best of each prompt",
    level="medium",
    minutes=10,
    hints=(
        "View the scores as a table with one row a prompt. Which of the two numbers is its width?",
        "argmax along the rows gives a place from 0 to k − 1. In the flat list, prompt i begins at i · k.",
    ),
    solution=keep_the_best,
    cases=lambda: [
        (["a0", "a1", "a2", "b0", "b1", "b2"], torch.tensor([0.1, 0.9, 0.3, 0.2, 0.4, 0.8]), 3),
        (["a0", "a1", "b0", "b1", "c0", "c1"], torch.tensor([3.0, 1.0, 5.0, 2.0, -1.0, 0.5]), 2),
        (["a0", "b0"], torch.tensor([1.0, 0.0]), 1),
    ],
    mistakes=(
        Mistake(_interleaved, "Your table has one row for each *draw*, as if the prompts took turns in the list. Here each prompt's k answers stand together: you compare answers to different prompts."),
        Mistake(_place_in_the_group, "The place of the best within its group is not its place in the flat list: add where the group begins."),
        Mistake(_best_of_all, "You keep the best answers of all. An easy prompt would be kept several times and a hard one never."),
        Mistake(_lowest, "You keep the worst answer of each prompt."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 5 · the loss of GAtt


def last_answer(answered: Tensor) -> Tensor:
    """True on the last answer of each dialogue only: answered (B, T) is true on every answer's tokens.

    Questions and padding are false. Padding stands at the end.
    """
    starts = answered & ~torch.cat([torch.zeros_like(answered[:, :1]), answered[:, :-1]], dim=1)
    number = starts.cumsum(1)  # which answer a place belongs to, counted from 1
    return answered & (number == number[:, -1:])


def _all_answers(answered: Tensor) -> Tensor:
    return answered.clone()


def _first_answer(answered: Tensor) -> Tensor:
    starts = answered & ~torch.cat([torch.zeros_like(answered[:, :1]), answered[:, :-1]], dim=1)
    return answered & (starts.cumsum(1) == 1)


def _last_token(answered: Tensor) -> Tensor:
    return answered & (answered.cumsum(1) == answered.sum(1, keepdim=True))


def _with_its_question(answered: Tensor) -> Tensor:
    earlier = answered & ~last_answer(answered)
    last = (earlier.cumsum(1) == earlier.sum(1, keepdim=True)) & ~earlier
    return last & (answered.flip(1).cumsum(1).flip(1) > 0)


GHOST = Exercise(
    title="The loss of ghost attention",
    level="medium",
    minutes=15,
    hints=(
        "Where does an answer begin? Where `answered` is true and was false one place before.",
        "Number the answers with cumsum over these beginnings. In the last column stands the number of the last one.",
    ),
    solution=last_answer,
    cases=lambda: [
        (torch.tensor([[0, 0, 1, 1, 0, 0, 1, 1, 1], [0, 1, 1, 0, 1, 0, 0, 0, 0]]).bool(),),
        (torch.tensor([[0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]]).bool(),),
    ],
    mistakes=(
        Mistake(_all_answers, "All answers count in your mask. The method learns from the last one only: in the paper, the others were not written under the instruction."),
        Mistake(_first_answer, "You keep the first answer, whose question still carries the instruction. That teaches nothing new: keep the last."),
        Mistake(_last_token, "You keep one token, the end of the last answer. All its tokens count."),
        Mistake(_with_its_question, "The last question counts in your mask, too. Questions are read, not learned."),
    ),
)  # fmt: skip


OPEN = OpenExercise(
    title="A prompt that is not marked",
    level="hard",
    minutes=45,
    hints=(
        "`drawn = combining.pool(pipeline, unkind=True)`; then `combining.outcome(drawn, combining.combined(drawn, unkind=False, threshold=t))` pretends that no prompt is marked. (The notebook's `combined` is another function.)",
        "Only the threshold is then left to catch an unkind deed. Vary it, and watch the kind prompts, too.",
    ),
    good_answer=(
        "Llama 2 marked the prompts of its data set; a product's prompts come unmarked. A good answer measures, "
        "on the same pool, what the best of K tells when unkind prompts are not marked: how often an unkind deed, "
        "how often a polite decline, for several thresholds; how often the same threshold decides a kind "
        "prompt by the safety score; and says which errors of a prompt classifier would cost more, the missed "
        "prompts or the false alarms. It names what gold says and what only the reward models say, and it chooses "
        "the threshold on the first hundred prompts and reports it on the other hundred."
    ),
)

EXERCISES = (MARGIN, PIECEWISE, BEST_OF_K, KEEP, GHOST, OPEN)
