"""A ranking of many players from comparisons of two at a time: Bradley–Terry strengths, told as Elo, with
intervals.

Here a player is a method, a game one held-out request, and who wins is decided by gold, never by the model
that was optimised. Everybody meets everybody on every request. The rewards' Bradley–Terry model (chapter 04)
is this one with a neural network in the place of a table of strengths.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlhf_mini.evaluation.intervals import Interval, Number, as_values

ELO_PER_NAT = 400 / math.log(10)  # Elo's scale: 400 points are odds of ten to one
Scores = Sequence[Sequence[Number]] | np.ndarray  # (S, R), a row a seed and a column a request
TIE = 1e-9  # scores that differ by no more are the same, added up in another order
_STEPS, _CLOSE, _LONGEST_STEP = 200, 1e-9, 1.0


def bradley_terry(wins: np.ndarray) -> np.ndarray:
    """The strengths that make a table of wins likeliest, in nats, with mean 0.

    P(i beats j) = σ(θ_i − θ_j). The likelihood Σ_ij w_ij log σ(θ_i − θ_j) is concave; Newton's steps, none
    longer than one nat in any strength, find its only maximum.

    Papers: Zermelo 1929; Bradley and Terry 1952; Hunter 2004 (when there is a maximum).

    Args:
        wins: (M, M) or (B, M, M), a table each: how often i beat j, a tie counting one half of a win to both.
        The diagonal
            is not looked at. M ≥ 2.

    Returns:
        (M,) or (B, M), float64.

    Raises:
        ValueError: on another shape, a negative or broken number, or players that fall into two sets of which
        one never
            won against the other: then no finite strengths are the likeliest.

    Example:
        >>> np.diff(bradley_terry(np.array([[0, 1], [3, 0]]))).round(4)  # odds of three to one: log 3
        array([1.0986])
    """
    tables = np.asarray(wins, dtype=np.float64)
    if tables.ndim not in (2, 3) or tables.shape[-1] != tables.shape[-2] or tables.shape[-1] < 2:
        raise ValueError(f"wins must be (M, M) or (B, M, M) with M of at least 2, got shape {tables.shape}")
    if not np.isfinite(tables).all() or (tables < 0).any():
        raise ValueError("wins must be finite and not negative")
    single, tables = tables.ndim == 2, tables.reshape(-1, *tables.shape[-2:])
    if not _all_reach_all(tables):
        raise ValueError(
            "some players never won against any of the others, or never lost: their strengths have no finite "
            "estimate. Add more games, or a tie with everybody (`ties`)"
        )
    found = _newton(tables)
    return found[0] if single else found


def _all_reach_all(tables: np.ndarray) -> bool:
    """Whether from every player a chain of wins leads to every other, in every table (Ford's condition)."""
    players = tables.shape[-1]
    reached = (tables > 0) | np.eye(players, dtype=bool)
    for _ in range(max(1, math.ceil(math.log2(players)))):
        reached = np.matmul(reached.astype(np.float32), reached.astype(np.float32)) > 0
    return bool(reached.all())


def _newton(tables: np.ndarray) -> np.ndarray:
    """(B, M) maxima of the likelihoods of tables that have one."""
    players = tables.shape[-1]
    games = tables + tables.transpose(0, 2, 1)
    strengths = np.zeros(tables.shape[:2])
    for _ in range(_STEPS):
        lead = strengths[:, :, None] - strengths[:, None, :]
        beats = 1 / (1 + np.exp(-lead))
        slope = (tables - games * beats).sum(2)
        if (np.abs(slope).max(1) <= _CLOSE * games.sum((1, 2))).all():
            return strengths
        weight = games * beats * (1 - beats)
        # The likelihood does not change with a constant added to all: 1/M in every place keeps their mean
        # at 0.
        curvature = np.eye(players) * weight.sum(2)[:, :, None] - weight + 1 / players
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        longest = np.abs(step).max(1, keepdims=True)
        strengths = strengths + step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, 1e-300))
    raise ArithmeticError(f"no maximum found in {_STEPS} steps")


def wins_by_score(scores: np.ndarray) -> np.ndarray:
    """(…, M, M): by row i and column j 1 where i's score is above j's, ½ where they tie, 0 where it is below.

    Args:
        scores: (…, M).

    Example:
        >>> wins_by_score(np.array([2.0, 1.0, 2.0]))
        array([[0.5, 1. , 0.5],
               [0. , 0.5, 0. ],
               [0.5, 1. , 0.5]])
    """
    lead = scores[..., :, None] - scores[..., None, :]
    return 0.5 + 0.5 * np.where(np.abs(lead) <= TIE, 0.0, np.sign(lead))


@dataclass(frozen=True, kw_only=True)
class EloTable:
    """Everybody's Elo, the anchor at 0, with intervals; and who wins how often against whom.

    - `elo`: name → Interval, in points; a lead of d points wins 1 / (1 + 10^(−d/400)) of the games.
    - `rates`: (M, M), the share of requests, over all seeds, on which the row beats the column, ties counting
      half.
    """

    anchor: str
    elo: dict[str, Interval]
    rates: np.ndarray

    def rate(self, name: str, other: str) -> float:
        """The share of requests on which `name` beats `other`. Raises ValueError on an unknown name."""
        names = [*self.elo]
        for one in (name, other):
            if one not in names:
                raise ValueError(f"nobody is called {one!r}; there are {names}")
        return float(self.rates[names.index(name), names.index(other)])


def elo_table(
    scores: Mapping[str, Scores],
    *,
    anchor: str,
    ties: Number = 0.0,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> EloTable:
    """Elo of all players from their scores on the same requests, with bootstrap intervals over seeds and
    requests.

    All pairs are compared on every request of every seed, and one Bradley–Terry model is fitted to the
    counts. Each resample draws seeds with replacement and, within each drawn seed, requests with replacement,
    for all players alike, and fits again; the interval holds the middle `confidence` of the resamples. The
    anchor's is a point.

    Paper: Bradley and Terry 1952; Davison and Hinkley 1997, section 3.8 (resampling by levels).

    Args:
        scores: name → S rows of R scores, row by row of the same seed and column by column of the same
        request. anchor: who stands at 0. ties: of how many ties with everybody else each player is given
        beforehand, so that one who won always keeps a
            finite strength; of S·R games. 0 is none.

    Returns:
        An EloTable. The noise of requests is counted in both draws, so that where seeds differ in nothing
        else the intervals err to the wide side (a third too wide); where seeds are what differs they are as
        narrow as any bootstrap of that many values (see `intervals`). With one seed they are over requests
        alone and know nothing of other seeds.

    Raises:
        ValueError: on fewer than two players, an unknown anchor, scores of different shapes or not finite,
        fewer than two
            requests, or strengths without a finite estimate.

    Example:
        >>> scores = {"one": [[0, 0, 0, 1]], "two": [[1, 1, 1, 0]]}
        >>> table = elo_table(scores, anchor="one", ties=1, resamples=100)
        >>> round(table.elo["two"].mean)  # 3 of 4 and one tie more: odds of 3.5 to 1.5
        147
        >>> table.rate("two", "one")
        0.75
    """
    games = _games(scores, anchor)
    if not 0 <= ties < math.inf:
        raise ValueError(f"ties must be finite and not negative, got {ties}")
    if resamples < 100 or not 0 < confidence < 1:
        raise ValueError(
            f"need at least 100 resamples and a confidence in (0, 1), got {resamples} and {confidence}"
        )
    seeds, requests, players = games.shape[:3]
    weights = _resampled(seeds, requests, resamples=resamples, seed=seed)
    flat = games.reshape(seeds * requests, players * players)
    tables = np.concatenate([flat.sum(0, keepdims=True), weights @ flat]).reshape(-1, players, players)
    place = [*scores].index(anchor)
    strengths = bradley_terry(tables + ties / 2)
    points = ELO_PER_NAT * (strengths - strengths[:, place : place + 1])
    tail = (1 - confidence) / 2
    low, high = np.quantile(points[1:], [tail, 1 - tail], axis=0)
    elo = {
        name: Interval(
            mean=float(points[0, i]),
            low=float(low[i]),
            high=float(high[i]),
            confidence=confidence,
            count=seeds,
        )
        for i, name in enumerate(scores)
    }
    return EloTable(anchor=anchor, elo=elo, rates=tables[0] / (seeds * requests))


def _games(scores: Mapping[str, Scores], anchor: str) -> np.ndarray:
    """(S, R, M, M): what each player got against each other."""
    if len(scores) < 2 or anchor not in scores:
        raise ValueError(f"need at least two players and among them the anchor {anchor!r}, got {[*scores]}")
    arrays = {name: as_values(np.asarray(rows), at_least=1, dimensions=2) for name, rows in scores.items()}
    if len(shapes := {array.shape for array in arrays.values()}) > 1:
        told = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"all players must answer the same requests of the same seeds, got {told}")
    if next(iter(shapes))[1] < 2:
        raise ValueError("an interval over requests needs at least two")
    return wins_by_score(np.stack([*arrays.values()], axis=2))


def _resampled(seeds: int, requests: int, *, resamples: int, seed: int) -> np.ndarray:
    """(resamples, S·R): how often each request of each seed is drawn."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(seeds, size=(resamples, seeds))
    counts = generator.multinomial(requests, np.full(requests, 1 / requests), size=(resamples, seeds))
    weights = np.zeros((resamples, seeds, requests))
    for turn in range(seeds):
        weights[np.arange(resamples), drawn[:, turn]] += counts[:, turn]
    return weights.reshape(resamples, seeds * requests)
