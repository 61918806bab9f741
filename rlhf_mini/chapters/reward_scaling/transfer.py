"""What a formula that was fitted to one run says of another: where "gold = α · score + β · KL" is put to the test.

The formula circulates as the finding of Gao et al. 2022, and as a way to read gold off any run. It is neither. Fitted to one
run after the fact it may fit; what matters is another run, whose gold nobody knows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlhf_mini.chapters.reward_scaling.curves import LEAST_DISTANCE
from rlhf_mini.evaluation.overoptimisation import fit_reinforcement, r_squared
from rlhf_mini.evaluation.rival_forms import fit_naive

Curves = Mapping[
    str, Mapping[str, Any]
]  # run → `kl`, `gold`, `proxy`, lists of one length, as `curves.of_ppo` has them


def transferred(runs: Curves) -> dict[str, float]:
    """How well each run's fit tells the gold of the others, of every ordered pair of at least two runs.

    Points nearer to the start than `LEAST_DISTANCE` are left out. Numbers:

    - `own naive`, `own form`: the median R² of the circulating formula, and of Gao's form, on the run that each was fitted to;
    - `other naive`, `other form`: the median R² on another run;
    - `worse than the mean naive`, `… form`: the share of pairs in which the other run's mean gold is a better guess (R² < 0);
    - `apart`: the largest difference that two fits of the circulating formula make at one score and KL, in deviations of gold.

    Raises ValueError for fewer than two runs.
    """
    if len(runs) < 2:
        raise ValueError(f"to carry a fit from one run to another takes two; got {len(runs)}")
    points = {name: _far(run) for name, run in runs.items()}
    naive = {name: fit_naive(score, kl, gold) for name, (score, kl, gold) in points.items()}
    forms = {name: fit_reinforcement(np.sqrt(kl), gold) for name, (_, kl, gold) in points.items()}
    told: dict[str, list[float]] = {}
    for fitted in points:
        for asked, (score, kl, gold) in points.items():
            where = "own" if fitted == asked else "other"
            told.setdefault(f"{where} naive", []).append(r_squared(gold, naive[fitted].at(score, kl)))
            told.setdefault(f"{where} form", []).append(r_squared(gold, forms[fitted].at(np.sqrt(kl))))
    return {
        **{name: float(np.median(values)) for name, values in told.items()},
        **{
            f"worse than the mean {name}": float(np.mean(np.array(told[f"other {name}"]) < 0))
            for name in ("naive", "form")
        },
        "apart": _apart(points, naive),
    }


def _far(run: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kl, gold, score = (np.array(run[name], dtype=np.float64) for name in ("kl", "gold", "proxy"))
    far = kl >= LEAST_DISTANCE**2
    if far.sum() < 3:
        raise ValueError(f"a run needs three points at {LEAST_DISTANCE} √nats or more; this has {far.sum()}")
    return score[far], kl[far], gold[far]


def _apart(points: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], fits: Mapping[str, Any]) -> float:
    score = float(np.median(np.concatenate([told[0] for told in points.values()])))
    kl = float(np.median(np.concatenate([told[1] for told in points.values()])))
    guesses = [float(fit.at([score], [kl])[0]) for fit in fits.values()]
    return max(guesses) - min(guesses)
