"""Win rates between two sets of responses to the same prompts."""

from dataclasses import dataclass

from rlhf_mini.evaluation.intervals import Interval, Values, as_values, wilson_interval


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Counts of wins, ties and losses, and the win rate (a tie counts half) with its interval."""

    wins: int
    ties: int
    losses: int
    rate: Interval

    def __str__(self) -> str:
        ends = f"[{self.rate.low:.1%}, {self.rate.high:.1%}]"
        return f"{self.rate.mean:.1%} {ends} ({self.wins} won, {self.ties} tied, {self.losses} lost)"


def win_rate(
    scores: Values, reference_scores: Values, *, tie_margin: float | int = 0.0, confidence: float = 0.95
) -> WinRate:
    """Share of prompts on which a response outscores the reference's response to the same prompt.

    rate = (wins + ties / 2) / N, with Wilson's interval over prompts. A difference of at most `tie_margin` is
    a tie.

    Args:
        scores, reference_scores: (N,), row i of both answering prompt i, judged by the same judge (the gold
            reward, never the model that was optimised). tie_margin ≥ 0, in the unit of the scores.

    Returns:
        A WinRate.

    Raises:
        ValueError: on unequal lengths, no rows, or NaN or infinity.

    Example:
        >>> print(win_rate([3.0, 1.0, 2.0, 5.0], [1.0, 1.0, 3.0, 2.0]))
        62.5% [21.9%, 90.8%] (2 won, 1 tied, 1 lost)
    """
    ours, theirs = as_values(scores, at_least=1), as_values(reference_scores, at_least=1)
    if ours.shape != theirs.shape:
        raise ValueError(
            f"a win rate compares responses to the same prompts, got {len(ours)} against {len(theirs)} scores"
        )
    if tie_margin < 0:
        raise ValueError(f"tie_margin must be at least 0, got {tie_margin}")
    difference = ours - theirs
    wins, losses = int((difference > tie_margin).sum()), int((difference < -tie_margin).sum())
    ties = len(ours) - wins - losses
    share = (wins + ties / 2) / len(ours)
    rate = wilson_interval(share, count=len(ours), confidence=confidence)
    return WinRate(wins=wins, ties=ties, losses=losses, rate=rate)
