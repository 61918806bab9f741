"""Exercises of chapter 13 on weights: one step of OnDARE (Qwen2), and WARP's spherical interpolation."""

import math

import torch
from torch import Tensor

from rlhf_mini.reader import Exercise, Mistake

# ---------------------------------------------------------------------------------- 6 · a step that is merged


def merged_step(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    """The weights after one step of OnDARE, an online merging optimizer, of one tensor of any shape.

    `before` are the weights θ before the step, and `after` those to which AdamW has just led; Δ is `after`
    less `before`. `task` is the task vector τ, what supervised fine-tuning once added to the base model.
    `step_kept` and `task_kept` are drawn masks of the same shape, for Δ and for τ, true at entries that are
    kept. F puts 0 in the place of all other entries and leaves the kept ones as they are. With α = `rate`,

        θ + (1 − α) F(Δ) + α F(τ).
    """
    step = torch.where(step_kept, after - before, 0.0)
    return before + (1 - rate) * step + rate * torch.where(task_kept, task, 0.0)


def _scaled_up(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    step, old = (after - before) * step_kept, task * task_kept
    return before + (1 - rate) * step / step_kept.double().mean() + rate * old / task_kept.double().mean()


def _nothing_masked(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return before + (1 - rate) * (after - before) + rate * task


def _one_mask(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, task, step_kept, step_kept, rate)


def _task_whole(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, task, step_kept, torch.ones_like(task_kept), rate)


def _weights_masked(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return (1 - rate) * torch.where(step_kept, after, 0.0) + rate * torch.where(task_kept, task, 0.0)


def _step_twice(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, task, step_kept, task_kept, rate) + after - before


def _rates_exchanged(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, task, step_kept, task_kept, 1 - rate)


def _task_on_top(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return before + (after - before) * step_kept + rate * task * task_kept


def _pulled_back(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, -task, step_kept, task_kept, rate)


def _dropped_ones_kept(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, task, ~step_kept, ~task_kept, rate)


def _step_alone(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return merged_step(before, after, task, step_kept, task_kept, rate) - before


def _average_of_models(
    before: Tensor, after: Tensor, task: Tensor, step_kept: Tensor, task_kept: Tensor, rate: float
) -> Tensor:
    return (1 - rate) * after + rate * task


def _steps() -> list[tuple]:
    kept = torch.tensor([[True, False, True], [False, True, True]])
    old = torch.tensor([[False, True, True], [True, False, True]])
    numbers = torch.tensor(
        [
            [[1.0, -2.0, 0.5], [0.3, 1.5, -0.7]],
            [[1.2, -2.1, 0.1], [0.4, 1.0, -0.6]],
            [[0.5, 1.0, -2.0], [3.0, -0.4, 0.8]],
        ]
    ).double()
    line = torch.tensor([[0.0, 2.0], [1.0, 2.5], [4.0, -1.0]]).double()
    return [
        (*numbers.unbind(), kept, old, 0.1),
        (*numbers.unbind(), kept, old, 0.6),
        (*line.unbind(), torch.tensor([True, False]), torch.tensor([False, True]), 0.25),
    ]


MERGED_STEP = Exercise(
    title="A step that is merged (Qwen2)",
    level="easy",
    minutes=10,
    hints=(
        "Nothing of the weights themselves is masked: what is made sparse is the step, after − before, and "
        "the task vector.",
        "torch.where(step_kept, after − before, 0.0) is F(Δ); the same with task_kept and task is F(τ). Add "
        "(1 − rate) times the one and rate times the other to before.",
    ),
    solution=merged_step,
    cases=_steps,
    mistakes=(
        Mistake(
            _scaled_up,
            "You divide what is kept by the share that is kept, as DARE does when finished models are "
            "merged. The authors' code for the online optimizer does not: the steps get smaller.",
        ),
        Mistake(
            _nothing_masked, "You left both masks out. F keeps a part of the entries and drops the rest."
        ),
        Mistake(
            _one_mask,
            "You use the step's mask for the task vector too. Each has its own: that of τ is drawn once, "
            "that of Δ anew in every step.",
        ),
        Mistake(_task_whole, "You add the whole task vector. F is applied to τ as well, with `task_kept`."),
        Mistake(
            _weights_masked,
            "You put zeros in the place of weights. A dropped entry of Δ means that this weight stays where "
            "it was before the step.",
        ),
        Mistake(
            _step_twice,
            "You add to the weights after the step, so that the step is made twice. Begin at `before`.",
        ),
        Mistake(
            _rates_exchanged,
            "You have the two weights exchanged: α, small as a rule, belongs to τ, and 1 − α to the step.",
        ),
        Mistake(_task_on_top, "The step has the weight 1 − α: what τ gets is taken from it."),
        Mistake(
            _pulled_back,
            "You subtract τ. That leads back to the base model; merging goes on in the direction in which "
            "fine-tuning went.",
        ),
        Mistake(_dropped_ones_kept, "You have the masks the wrong way round: true entries are kept."),
        Mistake(
            _step_alone,
            "You return what is added to the weights. Asked for are the weights: before plus that.",
        ),
        Mistake(
            _average_of_models,
            "You average the new weights with τ. τ is a difference of two models and no model: averaged with "
            "one it would shrink every weight towards 0.",
        ),
    ),
    tolerance=1e-9,
)


# ----------------------------------------------------------------------------------- 7 · the middle of an arc


def on_the_arc(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    """Spherical interpolation of two models that were trained from one start, of one tensor of weights.

    `start` are the weights θ_0 from which both were trained, `first` and `second` those of the two models,
    all of one shape. Their task vectors are δ_1 = first − start and δ_2 = second − start, neither of them 0,
    and Ω is the angle between δ_1 and δ_2, in radians, with all entries of the tensor taken as one long
    vector. With λ = `share`, from 0, the first model, to 1, the second, the result is

        θ_0 + sin((1 − λ)Ω)/sin Ω · δ_1 + sin(λΩ)/sin Ω · δ_2,

    and θ_0 + (1 − λ) δ_1 + λ δ_2 where sin Ω is below 1e-4: there the two lie on one line and there is no
    arc.
    """
    one, other = first - start, second - start
    cosine = float((one * other).sum() / (one.norm() * other.norm()))
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < 1e-4:
        return start + (1 - share) * one + share * other
    turns = [math.sin(part * angle) / math.sin(angle) for part in (1 - share, share)]
    return start + turns[0] * one + turns[1] * other


def _arc(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Between two vectors, without a start."""
    return on_the_arc(torch.zeros_like(one), one, other, share)


def _turns(one: Tensor, other: Tensor) -> float:
    cosine = float((one * other).sum() / (one.norm() * other.norm()))
    return math.acos(max(-1.0, min(1.0, cosine)))


def _straight(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    return (1 - share) * first + share * second


def _of_weights(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    return _arc(first, second, share)


def _angle_of_weights(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    angle = _turns(first, second)
    ours, theirs = (math.sin(part * angle) / math.sin(angle) for part in (1 - share, share))
    return start + ours * (first - start) + theirs * (second - start)


def _ends_exchanged(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    return on_the_arc(start, first, second, 1 - share)


def _cosine_for_angle(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    angle = math.cos(_turns(first - start, second - start))
    if abs(math.sin(angle)) < 1e-4:
        return _straight(start, first, second, share)
    ours, theirs = (math.sin(part * angle) / math.sin(angle) for part in (1 - share, share))
    return start + ours * (first - start) + theirs * (second - start)


def _start_left_out(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    return _arc(first - start, second - start, share)


def _not_divided(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    angle = _turns(first - start, second - start)
    if math.sin(angle) < 1e-4:
        return _straight(start, first, second, share)
    return (
        start + math.sin((1 - share) * angle) * (first - start) + math.sin(share * angle) * (second - start)
    )


def _of_length_one(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    one, other = first - start, second - start
    return start + _arc(one / one.norm(), other / other.norm(), share)


def _row_by_row(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    if start.ndim == 1:
        return on_the_arc(start, first, second, share)
    rows = zip(start, first, second, strict=True)
    return torch.stack([on_the_arc(*row, share) for row in rows])


def _no_way_out(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    one, other = first - start, second - start
    angle = torch.acos(((one * other).sum() / (one.norm() * other.norm())).clamp(-1, 1))
    ours, theirs = (torch.sin(part * angle) / torch.sin(angle) for part in (1 - share, share))
    return start + ours * one + theirs * other


def _in_degrees(start: Tensor, first: Tensor, second: Tensor, share: float) -> Tensor:
    angle = math.degrees(_turns(first - start, second - start))
    if abs(math.sin(angle)) < 1e-4:
        return _straight(start, first, second, share)
    ours, theirs = (math.sin(part * angle) / math.sin(angle) for part in (1 - share, share))
    return start + ours * (first - start) + theirs * (second - start)


def _tuned() -> list[tuple]:
    start = torch.tensor([1.0, 2.0, -1.0, 0.5]).double()
    table = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]).double()
    moves = torch.tensor([[[1.0, 0.2, 0.0], [0.0, -0.5, 0.3]], [[0.1, -0.6, 0.4], [0.7, 0.2, 0.0]]]).double()
    three_four = torch.tensor([3.0, 0.0, 0.0, 4.0]).double()
    return [
        (start, start + torch.tensor([2.0, 0, 0, 0]), start + torch.tensor([0, 2.0, 0, 0]), 0.5),
        (table, table + moves[0], table + moves[1], 0.5),
        (table, table + moves[0], table + moves[1], 0.2),
        (torch.zeros_like(start), three_four, 2 * three_four, 0.25),
    ]


ON_THE_ARC = Exercise(
    title="The middle of an arc (WARP, cited for Gemma 2)",
    level="medium",
    minutes=15,
    hints=(
        "The mean of two perpendicular vectors of length 2 has the length √2; the middle of the arc between "
        "them keeps the length 2. Work with the task vectors, and add the start at the end.",
        "cos Ω = (δ_1 * δ_2).sum()/(|δ_1| |δ_2|), held between −1 and 1 before math.acos. Then the two sines "
        "over sin Ω; below 1e-4 the straight line.",
    ),
    solution=on_the_arc,
    cases=_tuned,
    mistakes=(
        Mistake(
            _straight,
            "You average the weights. Where two runs went in different directions, the mean of their task "
            "vectors is shorter than either, and the model goes back towards the start.",
        ),
        Mistake(
            _of_weights,
            "You interpolate whole weights. They are nearly parallel, because the start dominates them; the "
            "arc is between what training added, first − start and second − start.",
        ),
        Mistake(
            _angle_of_weights,
            "Your task vectors are right, but your angle is that of the whole weights, which is far smaller.",
        ),
        Mistake(_ends_exchanged, "At λ = 0 the result should be the first model; yours is the second."),
        Mistake(
            _cosine_for_angle,
            "You use cos Ω as if it were the angle Ω. Take its math.acos.",
        ),
        Mistake(_start_left_out, "You return the merged task vector. Add the start to have a model."),
        Mistake(
            _not_divided,
            "You do not divide by sin Ω. At λ = 0 the first model would then not come out, unless Ω is 90°.",
        ),
        Mistake(
            _of_length_one,
            "You divide the task vectors by their lengths. Only the angle is of directions; how far the runs "
            "went must stay.",
        ),
        Mistake(
            _row_by_row,
            "You take one angle for each row. All entries of the tensor together are one vector with one "
            "angle.",
        ),
        Mistake(
            _no_way_out,
            "Where both task vectors have one direction, Ω and sin Ω are 0, and 0/0 is NaN. Below 1e-4 take "
            "the straight line, which is the limit.",
        ),
        Mistake(_in_degrees, "Your angle is in degrees; math.sin takes radians."),
    ),
    tolerance=1e-6,
)
