"""Exercises of chapter 13 on pairs: ChatGLM-RLHF's balance of lengths, and Llama 3's masked DPO."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf_mini.reader import Exercise, Mistake

Lengths = list[int]
Both = tuple[Tensor, Tensor]  # something of the preferred answer, and the same of the other one

# ------------------------------------------------------------------------------- 3 · pairs balanced by length


def length_balanced(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    """Which pairs are kept so that the longer answer wins as often as the shorter one, in ascending order.

    `chosen[i]` and `rejected[i]` are the lengths in tokens of the preferred and of the other answer of pair
    i. The pairs of unequal length are sorted by the difference of the two lengths without its sign, those of
    the same difference by their number i. They are then cut into parts of equal size, as many as `buckets`
    says; where the division leaves a rest, the first parts are one pair larger, as numpy.array_split has it.
    In each part there are pairs that the longer answer won and pairs that the shorter one won. Of either kind
    as many are kept as there are of the rarer kind: those with the smallest numbers i. Pairs of equal length
    are in no part, and are all kept.
    """
    longer_by = np.array(chosen) - np.array(rejected)
    order = np.argsort(abs(longer_by), kind="stable")
    kept = [*np.flatnonzero(longer_by == 0)]
    for bucket in np.array_split(order[longer_by[order] != 0], buckets):
        won, lost = (np.sort(bucket[sign * longer_by[bucket] > 0]) for sign in (1, -1))
        count = min(len(won), len(lost))
        kept += [*won[:count], *lost[:count]]
    return sorted(int(pair) for pair in kept)


def _balanced(parts: list[np.ndarray], longer_by: np.ndarray) -> list[int]:
    """The pairs kept of these parts, without those of equal length."""
    kept: list[int] = []
    for part in parts:
        won, lost = (np.sort(part[sign * longer_by[part] > 0]) for sign in (1, -1))
        count = min(len(won), len(lost))
        kept += [*won[:count].tolist(), *lost[:count].tolist()]
    return kept


def _differences(chosen: Lengths, rejected: Lengths) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """By how much the preferred answer is the longer; the unequal pairs in order; and the equal ones."""
    longer_by = np.array(chosen) - np.array(rejected)
    order = np.argsort(abs(longer_by), kind="stable")
    return longer_by, order[longer_by[order] != 0], np.flatnonzero(longer_by == 0).tolist()


def _in_one_bucket(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    return length_balanced(chosen, rejected, 1)


def _by_signed_difference(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, _, equal = _differences(chosen, rejected)
    order = np.argsort(longer_by, kind="stable")
    parts = np.array_split(order[longer_by[order] != 0], buckets)
    return sorted(equal + _balanced(parts, longer_by))


def _equal_ones_dropped(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, _ = _differences(chosen, rejected)
    return sorted(_balanced(np.array_split(order, buckets), longer_by))


def _equal_ones_in_buckets(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, _, equal = _differences(chosen, rejected)
    parts = np.array_split(np.argsort(abs(longer_by), kind="stable"), buckets)
    return sorted(equal + _balanced(parts, longer_by))


def _of_equal_width(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, equal = _differences(chosen, rejected)
    edges = np.linspace(1, abs(longer_by).max() + 1e-9, buckets + 1)[1:-1]
    bucket = np.digitize(abs(longer_by[order]), edges)
    return sorted(equal + _balanced([order[bucket == one] for one in range(buckets)], longer_by))


def _by_chosen_length(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, _, equal = _differences(chosen, rejected)
    order = np.argsort(chosen, kind="stable")
    parts = np.array_split(order[longer_by[order] != 0], buckets)
    return sorted(equal + _balanced(parts, longer_by))


def _repeated(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, kept = _differences(chosen, rejected)
    for bucket in np.array_split(order, buckets):
        won, lost = (np.sort(bucket[sign * longer_by[bucket] > 0]) for sign in (1, -1))
        count = max(len(won), len(lost)) if len(won) and len(lost) else 0
        kept += [*np.resize(won, count).tolist(), *np.resize(lost, count).tolist()]
    return sorted(kept)


def _longer_ones_alone(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, kept = _differences(chosen, rejected)
    for bucket in np.array_split(order, buckets):
        won, lost = (np.sort(bucket[sign * longer_by[bucket] > 0]) for sign in (1, -1))
        kept += [*won[: len(lost)].tolist(), *lost.tolist()]
    return sorted(kept)


def _shorter_ones_alone(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, kept = _differences(chosen, rejected)
    kept += order[longer_by[order] < 0].tolist()
    return sorted(kept)


def _smallest_differences(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, kept = _differences(chosen, rejected)
    for bucket in np.array_split(order, buckets):
        won, lost = (bucket[sign * longer_by[bucket] > 0] for sign in (1, -1))
        count = min(len(won), len(lost))
        kept += [*won[:count].tolist(), *lost[:count].tolist()]
    return sorted(kept)


def _by_bucket(chosen: Lengths, rejected: Lengths, buckets: int) -> list[int]:
    longer_by, order, equal = _differences(chosen, rejected)
    return equal + _balanced(np.array_split(order, buckets), longer_by)


LENGTHS = (
    [30, 12, 25, 18, 40, 22, 9, 27, 33, 15, 21, 36, 14, 11, 17, 5, 24],
    [10, 20, 21, 18, 12, 20, 12, 21, 30, 25, 14, 30, 2, 11, 17, 19, 30],
)

BALANCED = Exercise(
    title="Pairs balanced by length (ChatGLM-RLHF)",
    level="hard",
    minutes=25,
    hints=(
        "Sort by abs(chosen − rejected), stably, leave out the pairs with a difference of 0, and hand the "
        "rest to numpy.array_split. A bucket must hold both kinds, so the sign may not sort.",
        "In a bucket: the numbers of the pairs that the longer answer won, ascending, and those that the "
        "shorter one won; keep the first min(len, len) of either. At the end add the equal pairs and sort.",
    ),
    solution=length_balanced,
    cases=lambda: [
        (*LENGTHS, 3),
        (*LENGTHS, 1),
        (*LENGTHS, 4),
        ([5, 9, 3, 8, 7], [9, 5, 9, 2, 7], 2),
        ([3, 1, 8], [1, 4, 7], 1),
    ],
    mistakes=(
        Mistake(
            _in_one_bucket,
            "You balance all pairs at once. The longer answer can then still win nearly always where the "
            "difference is large, and lose where it is small: a reward model learns that.",
        ),
        Mistake(
            _by_signed_difference,
            "You sort by the difference with its sign. A bucket then holds pairs that the longer answer won, "
            "or pairs that it lost, and nearly nothing is left of either.",
        ),
        Mistake(
            _equal_ones_dropped,
            "You drop the pairs of equal length. They say nothing about length, so that they may stay, all.",
        ),
        Mistake(
            _equal_ones_in_buckets,
            "You cut before you take out the pairs of equal length, so that the buckets end elsewhere. Take "
            "them out first.",
        ),
        Mistake(
            _of_equal_width,
            "Your buckets are equally wide. They should hold equally many pairs: large differences are rare, "
            "and a bucket of two pairs can hardly be balanced.",
        ),
        Mistake(
            _by_chosen_length,
            "You sort by the length of the preferred answer. What the balance is about is the difference of "
            "the two lengths.",
        ),
        Mistake(
            _repeated,
            "You repeat pairs of the rarer kind. Here the surplus of the commoner kind is dropped; which of "
            "the two the paper does was not found.",
        ),
        Mistake(
            _longer_ones_alone,
            "You only thin out the pairs that the longer answer won. In a bucket in which the shorter one "
            "won more often, there is a surplus of that kind.",
        ),
        Mistake(
            _shorter_ones_alone,
            "You keep all pairs that the shorter answer won and none that the longer one won. “Shorter is "
            "better” is learned just as easily.",
        ),
        Mistake(
            _smallest_differences,
            "Within a bucket you keep the smallest differences of the commoner kind. That tilts the bucket "
            "again; keep those with the smallest numbers i, which know nothing of length.",
        ),
        Mistake(_by_bucket, "Your pairs are the right ones. Return their numbers in ascending order."),
    ),
)


# ---------------------------------------------------------------------- 5 · DPO without the formatting tokens


def masked_dpo_loss(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    """Llama 3's loss of one pair: DPO without formatting tokens, and the likelihood of the preferred answer.

    Each of the first three arguments is a pair, of which the first is about the preferred answer y_w and the
    second about the other one, y_l, a number for each token of the answer: `logps` are the log-probabilities
    log π of the tokens under the policy in training, `logps_ref` those log π_ref under the reference, and
    `contrasted` is false at tokens that format an answer, such as its end token, and true at all others.

    With h, the sum of log π − log π_ref over the contrasted tokens of y_w less the same sum for y_l, with β =
    `beta`, w = `weight` and the logistic function σ, the loss is −log σ(β h) − w · m, where m is the mean of
    log π over all tokens of y_w, formatting tokens included.
    """
    ratios = [
        ((ours - reference) * counts).sum()
        for ours, reference, counts in zip(logps, logps_ref, contrasted, strict=True)
    ]
    return -logsigmoid(beta * (ratios[0] - ratios[1])) - weight * logps[0].mean()


def _dpo(logps: Both, logps_ref: Both, contrasted: Both, beta: float) -> Tensor:
    """The first term of `masked_dpo_loss`."""
    return masked_dpo_loss(logps, logps_ref, contrasted, beta, 0.0)


def _everywhere(contrasted: Both) -> Both:
    return torch.ones_like(contrasted[0]), torch.ones_like(contrasted[1])


def _nothing_masked(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return masked_dpo_loss(logps, logps_ref, _everywhere(contrasted), beta, weight)


def _formatting_alone(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return masked_dpo_loss(logps, logps_ref, (~contrasted[0], ~contrasted[1]), beta, weight)


def _masked_in_one(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    counts = (contrasted[0], _everywhere(contrasted)[1])
    return masked_dpo_loss(logps, logps_ref, counts, beta, weight)


def _reference_whole(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    sums = [(logps[i] * contrasted[i]).sum() - logps_ref[i].sum() for i in (0, 1)]
    return -logsigmoid(beta * (sums[0] - sums[1])) - weight * logps[0].mean()


def _mean_masked(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta) - weight * logps[0][contrasted[0]].mean()


def _zeros_in_the_mean(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta) - weight * (logps[0] * contrasted[0]).mean()


def _likelihood_summed(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta) - weight * logps[0].sum()


def _ratios_averaged(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    means = [(logps[i] - logps_ref[i])[contrasted[i]].mean() for i in (0, 1)]
    return -logsigmoid(beta * (means[0] - means[1])) - weight * logps[0].mean()


def _ratio_kept(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta) - weight * (logps[0] - logps_ref[0]).mean()


def _both_kept(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta) - weight * (logps[0].mean() + logps[1].mean())


def _unlearned(logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta) + weight * logps[0].mean()


def _likelihood_left_out(
    logps: Both, logps_ref: Both, contrasted: Both, beta: float, weight: float
) -> Tensor:
    return _dpo(logps, logps_ref, contrasted, beta)


def _answers() -> list[tuple]:
    chosen, chosen_ref = torch.tensor([[-1.0, -0.5, -2.0, -0.3], [-1.2, -0.9, -1.5, -1.0]]).double()
    rejected, rejected_ref = torch.tensor([[-2.5, -0.2, -1.4], [-2.0, -0.8, -0.6]]).double()
    ends = torch.tensor([True, True, True, False]), torch.tensor([True, True, False])
    heads = torch.tensor([False, True, True, False]), torch.tensor([False, True, True])
    return [
        ((chosen, rejected), (chosen_ref, rejected_ref), ends, 0.5, 0.2),
        ((chosen, rejected), (chosen_ref, rejected_ref), heads, 1.0, 0.5),
        ((rejected, chosen), (rejected_ref, chosen_ref), (ends[1], ends[0]), 0.1, 0.2),
    ]


MASKED = Exercise(
    title="DPO without the formatting tokens (Llama 3)",
    level="medium",
    minutes=20,
    hints=(
        "Both answers end with the same token. Where it counts in the contrast, the loss makes it likelier "
        "in the one and less likely in the other. The mask takes it out of both sums, log π and log π_ref "
        "alike.",
        "((logps[i] − logps_ref[i]) * contrasted[i]).sum() for i = 0 and 1 gives h; then "
        "−logsigmoid(beta * h) − weight * logps[0].mean().",
    ),
    solution=masked_dpo_loss,
    cases=_answers,
    mistakes=(
        Mistake(
            _nothing_masked,
            "You leave the mask out of the contrast: the formatting tokens are pushed up in one answer and "
            "down in the other.",
        ),
        Mistake(
            _formatting_alone,
            "You have the mask the wrong way round: true means that a token counts. Yours contrasts the "
            "formatting tokens and nothing else.",
        ),
        Mistake(
            _masked_in_one,
            "You mask the preferred answer alone. The formatting tokens of the other one must leave the "
            "contrast as well, or they are pushed down and nothing pushes back.",
        ),
        Mistake(
            _reference_whole,
            "You mask log π and not log π_ref. A token that leaves the contrast takes its whole ratio along; "
            "as it is, h is not 0 where the policy is the reference.",
        ),
        Mistake(
            _mean_masked,
            "You mask the second term too. It is there to keep the formatting that the first one no longer "
            "teaches, so it reads all tokens of the preferred answer.",
        ),
        Mistake(
            _zeros_in_the_mean,
            "You put zeros in the place of formatting tokens and take the mean of them too. The second term "
            "is the mean of log π over all tokens, as they are.",
        ),
        Mistake(
            _likelihood_summed,
            "You sum log π in the second term. Here it is a mean over tokens; the report does not say which.",
        ),
        Mistake(
            _ratios_averaged,
            "You average the log-ratios. DPO's are sums over the tokens of an answer.",
        ),
        Mistake(
            _ratio_kept,
            "Your second term has log π − log π_ref. It is the plain likelihood of the preferred answer, "
            "without a reference.",
        ),
        Mistake(
            _both_kept,
            "You keep both answers likely. The second term is about the preferred answer alone.",
        ),
        Mistake(
            _unlearned,
            "Your second term has the wrong sign: the loss must fall where the preferred answer gets "
            "likelier.",
        ),
        Mistake(_likelihood_left_out, "The second term is missing: −w times the mean of log π over y_w."),
    ),
    tolerance=1e-6,
)
