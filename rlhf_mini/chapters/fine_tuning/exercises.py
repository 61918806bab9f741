"""The exercises of chapter 03: solutions, and the wrong programs that readers write."""

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake, OpenExercise

# ------------------------------------------------------------------------------------- 1 · which tokens count


def answer_mask(tokens: Tensor, prompt_lengths: Tensor, pad_token: int) -> Tensor:
    """True on the answer's tokens, its end token included: (B, T), (B,) -> (B, T) bool."""
    column = torch.arange(tokens.shape[1])
    return (column >= prompt_lengths[:, None]) & (tokens != pad_token)


def _one_too_early(tokens: Tensor, prompt_lengths: Tensor, pad_token: int) -> Tensor:
    return answer_mask(tokens, prompt_lengths - 1, pad_token)


def _one_too_late(tokens: Tensor, prompt_lengths: Tensor, pad_token: int) -> Tensor:
    return answer_mask(tokens, prompt_lengths + 1, pad_token)


def _pads_too(tokens: Tensor, prompt_lengths: Tensor, pad_token: int) -> Tensor:
    return torch.arange(tokens.shape[1]) >= prompt_lengths[:, None]


def _prompts_too(tokens: Tensor, prompt_lengths: Tensor, pad_token: int) -> Tensor:
    return tokens != pad_token


def _without_the_end(tokens: Tensor, prompt_lengths: Tensor, pad_token: int) -> Tensor:
    mask = answer_mask(tokens, prompt_lengths, pad_token)
    last = mask.cumsum(1) == mask.sum(1, keepdim=True)
    return mask & ~last


def _batches() -> list[tuple]:
    first = torch.tensor([[1, 5, 6, 7, 2, 0], [1, 8, 9, 2, 0, 0]])
    second = torch.tensor([[1, 5, 2]])
    return [
        (first, torch.tensor([3, 2]), 0),
        (second, torch.tensor([2]), 9),
        (first, torch.tensor([1, 3]), 0),
    ]


MASK = Exercise(
    title="Which tokens count",
    level="easy",
    minutes=5,
    hints=(
        "Compare the number of each column with the length of the row's prompt; prompt_lengths[:, None] has a "
        "shape that does so for all rows at once.",
        "Two conditions, joined by &: the column is at or behind the prompt's length, and the token is no pad.",
    ),
    solution=answer_mask,
    cases=_batches,
    mistakes=(
        Mistake(_one_too_early, "You count the prompt's last token, too. Columns start at 0: a prompt of 3 "
                "tokens fills columns 0, 1 and 2."),
        Mistake(_one_too_late, "You miss the answer's first token, which is the one that decides how the "
                "answer begins."),
        Mistake(_pads_too, "Padding counts in your mask. Nobody wrote it, and there is a lot of it."),
        Mistake(_prompts_too, "The prompts count in your mask. Here they are to be read, not learned."),
        Mistake(_without_the_end, "You leave out the end token. A model trained so never learns to stop."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 2 · two means


def two_means(losses: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over all counted tokens, and the mean over rows of each row's mean: (B, T), (B, T) bool."""
    kept = torch.where(counted, losses, 0.0)
    return kept.sum() / counted.sum(), (kept.sum(1) / counted.sum(1)).mean()


def _swapped(losses: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    over_tokens, over_rows = two_means(losses, counted)
    return over_rows, over_tokens


def _over_everything(losses: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    kept = torch.where(counted, losses, 0.0)
    return kept.mean(), kept.mean(1).mean()


def _uncounted_too(losses: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    return losses.sum() / counted.sum(), (losses.sum(1) / counted.sum(1)).mean()


def _losses() -> list[tuple]:
    first = torch.tensor([[9.0, 1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 3.0, 9.0, 9.0]])
    counted = torch.tensor([[False, True, True, True, True], [False, False, True, False, False]])
    return [(first, counted), (torch.tensor([[0.5, 2.0]]), torch.tensor([[True, True]]))]


MEANS = Exercise(
    title="Two means",
    level="easy",
    minutes=10,
    hints=(
        "Set the losses that do not count to 0 first; then only sums and numbers of tokens are needed.",
        "The first mean divides one sum by one count. The second divides row by row (dim 1), and then averages "
        "over the rows.",
    ),
    solution=two_means,
    cases=_losses,
    mistakes=(
        Mistake(_swapped, "You return the two in the other order: the mean over tokens comes first."),
        Mistake(_over_everything, "You divide by the number of all columns. Divide by how many count."),
        Mistake(_uncounted_too, "Losses that do not count are still in your sums."),
    ),
)


# ------------------------------------------------------------------------------------- 3 · walls


def walls(lengths: list[int]) -> Tensor:
    """Who may look at whom in a row that holds texts of these lengths: (T, T) bool, T their sum."""
    text = torch.cat([torch.full((length,), number) for number, length in enumerate(lengths)])
    place = torch.arange(len(text))
    return (text[:, None] == text[None, :]) & (place[:, None] >= place[None, :])


def _no_walls(lengths: list[int]) -> Tensor:
    total = sum(lengths)
    return torch.ones(total, total, dtype=torch.bool).tril()


def _looks_ahead(lengths: list[int]) -> Tensor:
    return walls(lengths) | walls(lengths).T


def _only_ahead(lengths: list[int]) -> Tensor:
    return walls(lengths).T


def _not_itself(lengths: list[int]) -> Tensor:
    return walls(lengths) & ~torch.eye(sum(lengths), dtype=torch.bool)


WALLS = Exercise(
    title="Walls in a packed row",
    level="medium",
    minutes=15,
    hints=(
        "First make a vector that says for each place of the row which text it belongs to: for lengths 2 and 3, "
        "it is 0, 0, 1, 1, 1.",
        "text[:, None] == text[None, :] says which places share a text. Let each also look only at itself and "
        "to the left.",
    ),
    solution=walls,
    cases=lambda: [([2, 3],), ([1, 1, 1],), ([4],), ([3, 1, 2],)],
    mistakes=(
        Mistake(_no_walls, "Your mask is causal, but it has no walls: the second text reads the first."),
        Mistake(_looks_ahead, "Within a text, your places also see what comes later. Keep the mask causal."),
        Mistake(_only_ahead, "Rows and columns are exchanged: entry [i, j] says whether i may look at j."),
        Mistake(_not_itself, "A place may look at itself. Without that, a text's first token sees nothing."),
    ),
)


# ------------------------------------------------------------------------------------- 4 · scheduled sampling


def scheduled_optimum(joint: Tensor, keep: float) -> Tensor:
    """What scheduled sampling teaches after each first token: joint (V, V) of two tokens -> (V, V).

    Row i of the result is the distribution of the second token after *reading* i, when the first token is
    kept with chance `keep` and else drawn afresh from its own distribution.
    """
    marginal = joint.sum(0, keepdim=True)
    conditional = joint / joint.sum(1, keepdim=True)
    return keep * conditional + (1 - keep) * marginal


def _consistent(joint: Tensor, keep: float) -> Tensor:
    return (joint / joint.sum(1, keepdim=True)).clone()


def _keep_reversed(joint: Tensor, keep: float) -> Tensor:
    return scheduled_optimum(joint, 1 - keep)


def _first_marginal(joint: Tensor, keep: float) -> Tensor:
    return keep * joint / joint.sum(1, keepdim=True) + (1 - keep) * joint.sum(1)[None, :]


def _not_conditional(joint: Tensor, keep: float) -> Tensor:
    return keep * joint + (1 - keep) * joint.sum(0, keepdim=True)


def _joints() -> list[tuple]:
    tied = torch.tensor([[0.6, 0.0], [0.0, 0.4]])
    loose = torch.tensor([[0.1, 0.2, 0.1], [0.05, 0.05, 0.1], [0.2, 0.1, 0.1]])
    return [(tied, 0.5), (tied, 1.0), (loose, 0.25), (loose, 0.0)]


SCHEDULED = Exercise(
    title="What scheduled sampling converges to",
    level="hard",
    minutes=20,
    hints=(
        "Two cases: the first token that is read is the demonstrator's, or it was drawn afresh. In the second, "
        "what does it say about the demonstrator's next token?",
        "Nothing: there the best prediction is the marginal of the second token, joint.sum(0). Both cases give "
        "a first token the same probability, so that their weights are keep and 1 − keep.",
    ),
    solution=scheduled_optimum,
    cases=_joints,
    mistakes=(
        Mistake(_consistent, "That is what the demonstrator does, p(x₂ | x₁). It would be right if no token "
                "were ever replaced."),
        Mistake(_keep_reversed, "The weights are exchanged: `keep` belongs to the demonstrator's conditional."),
        Mistake(_first_marginal, "That is the marginal of the *first* token; the second one is predicted."),
        Mistake(_not_conditional, "Divide the joint by the probability of the first token: you need p(x₂ | x₁)."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 5 · LoRA


def merged(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """The weight (out, in) with its low-rank change for good: a is (r, in), b is (out, r)."""
    return weight + alpha / a.shape[0] * (b @ a)


def _unscaled(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return weight + b @ a


def _alpha_only(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return weight + alpha * (b @ a)


def _by_width(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return weight + alpha / a.shape[1] * (b @ a)


def _change_only(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    return alpha / a.shape[0] * (b @ a)


def _weights() -> list[tuple]:
    draw = torch.Generator().manual_seed(0)
    cases = []
    for rows, columns, rank, alpha in ((3, 5, 2, 4.0), (4, 2, 1, 3.0)):
        shapes = ((rows, columns), (rank, columns), (rows, rank))
        cases.append((*(torch.randn(shape, generator=draw) for shape in shapes), alpha))
    return cases


LORA = Exercise(
    title="Merging a low-rank change",
    level="easy",
    minutes=5,
    hints=(
        "What has the shape (out, in): b @ a, or a @ b?",
        "The factor is alpha over the rank, a.shape[0].",
    ),
    solution=merged,
    cases=_weights,
    mistakes=(
        Mistake(
            _unscaled, "The change is scaled by α/r. Without it, a change of rank means another step size."
        ),
        Mistake(_alpha_only, "Divide α by the rank."),
        Mistake(_by_width, "You divide by the width; the rank is the other side of a."),
        Mistake(_change_only, "That is the change alone. Add the weight that it changes."),
    ),
)


# ------------------------------------------------------------------------------------- 6 · choosing


def farthest_text(points: Tensor, chosen: list[int]) -> int:
    """The point, (N, D), whose nearest chosen point is farthest away."""
    distances = torch.cdist(points, points[chosen])
    return int(distances.min(1).values.argmax())


def _far_from_the_last(points: Tensor, chosen: list[int]) -> int:
    return farthest_text(points, chosen[-1:])


def _far_on_average(points: Tensor, chosen: list[int]) -> int:
    return int(torch.cdist(points, points[chosen]).mean(1).argmax())


def _far_from_the_farthest(points: Tensor, chosen: list[int]) -> int:
    return int(torch.cdist(points, points[chosen]).max(1).values.argmax())


def _points() -> list[tuple]:
    line = torch.tensor([[0.0], [4.0], [10.0], [11.0]])
    plane = torch.tensor([[0.0, 0.0], [6.0, 0.0], [3.0, 4.5], [3.0, -1.0], [7.0, 1.0]])
    spread = torch.tensor([[0.0], [1.0], [5.0], [9.0], [20.0]])
    return [(line, [0, 2]), (line, [3]), (plane, [0, 1]), (spread, [4, 0])]


FARTHEST = Exercise(
    title="The next text to choose",
    level="medium",
    minutes=10,
    hints=(
        "torch.cdist(points, points[chosen]) has one row a point and one column a chosen point.",
        "Take the smallest distance in each row, then the row in which it is largest.",
    ),
    solution=farthest_text,
    cases=_points,
    mistakes=(
        Mistake(_far_from_the_last, "You look at the text chosen last only; the others count, too."),
        Mistake(_far_on_average, "You use the mean distance. A text right beside a chosen one can be far on average."),
        Mistake(_far_from_the_farthest, "You use the largest distance in each row; its *nearest* chosen text matters."),
    ),
)  # fmt: skip


# ------------------------------------------------------------------------------------- 7 · open

CLEANING = OpenExercise(
    title="A cleaning rule without the truth",
    level="hard",
    minutes=60,
    hints=(
        "What differs between a careful and a careless demonstration that a program without the grammar could "
        "notice: length, repetition, the loss that a model gives it, agreement with the prompt's words?",
        "Score all 2,048 demonstrations of the mixed crew by your rule, keep the best 512, train as "
        "quality.selected does, and compare with 512 at random and with 512 careful ones.",
    ),
    good_answer=(
        "A good answer states the rule before training, uses no gold and no writer's name, reports the careful "
        "share of what was kept beside the gold of the model trained on it, on at least three seeds, and says "
        "which kind of carelessness the rule cannot see. Loss under a model trained on all of it is a natural "
        "rule, and a double-edged one: asides are frequent, and so they are cheap."
    ),
)

EXERCISES = (MASK, MEANS, WALLS, SCHEDULED, LORA, FARTHEST, CLEANING)
