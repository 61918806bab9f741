"""What chapter 01 claims, and the measurements behind its figures, each kept in the cache once it was made."""

from importlib.util import find_spec
from typing import Any

import numpy as np

from rlhf_mini.chapters.claims import Claim, record_of
from rlhf_mini.chapters.grid_world import bug_hunt, clipping, estimates, gradients, tabular, token_walk
from rlhf_mini.chapters.grid_world.reference import stable_baselines3_ppo
from rlhf_mini.evaluation.records import Record
from rlhf_mini.exact import optimal_values, policy_iteration, value_iteration
from rlhf_mini.methods.tabular import ControlConfig, PredictionConfig
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds.gridworld import RIGHT, TWO_DOORS, grid_mdp

CONTROL = ControlConfig(episodes=2000, discount=0.99, step_size=0.2, epsilon=0.1)
PREDICTION = {
    "TD(0)": PredictionConfig(episodes=300, discount=0.99, step_size=0.5),
    "Monte Carlo": PredictionConfig(episodes=300, discount=0.99, step_size=1.0, step_size_decay=1.0),
}
SLIPS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)
STAGES_OF_TRAINING = (1, 15, 40)  # iterations of the actor–critic whose policy is examined
METHODS = (*gradients.LEARNERS, "PPO (stable-baselines3)")
RUNS = 20  # of each policy loss, since one run is a matter of luck
BUDGET = 20_000  # steps in the world, the same for every method of the scoreboard


def planning(pipeline: Pipeline) -> dict[str, float]:
    """Where the first choice flips, how far two exact methods differ, and the way that slip makes best."""
    mdp = grid_mdp(TWO_DOORS, slip=0.1, discount=0.99)
    by_sweeps = value_iteration(mdp, tolerance=1e-10).values
    by_policies = policy_iteration(mdp).values[-1]
    dry, wet = tabular.route_against_slip([0.0, 0.1])
    return {
        "flip": tabular.discount_of_the_flip(),
        "largest_difference": float((by_sweeps - by_policies).abs().max()),
        "ledge_dry": dry["ledge"],
        "ledge_slip": wet["ledge"],
    }


def control(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """SARSA and Q-learning on the room with pits: returns while learning, and what each has learned."""
    rows = {}
    for method in ("SARSA", "Q-learning"):
        learned = tabular.learn_control(method, pipeline.seed, config=CONTROL)
        rows[method] = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in learned.items()
        }
    return rows


def control_numbers(pipeline: Pipeline) -> dict[str, float]:
    """The two methods' last 500 returns while exploring, and their greedy policies' exact worth and way."""
    rows = pipeline.measured(control)
    numbers = {"best": rows["SARSA"]["best"]}
    for method, key in (("SARSA", "sarsa"), ("Q-learning", "q_learning")):
        row = rows[method]
        numbers |= {
            f"online_{key}": float(np.mean(row["returns"][-500:])),
            f"greedy_{key}": row["value"],
            f"ledge_{key}": row["ledge"],
        }
    return numbers


def prediction(pipeline: Pipeline) -> dict[str, list[float]]:
    """Error of TD(0) and of Monte Carlo before the first and after every episode."""
    return {
        method: tabular.prediction_errors(method, pipeline.seed, config=config).tolist()
        for method, config in PREDICTION.items()
    }


def prediction_numbers(pipeline: Pipeline) -> dict[str, float]:
    """The two errors at the start, after 30 and after 300 episodes."""
    errors = pipeline.measured(prediction)
    return {
        f"{key}_{episodes}": errors[method][episodes]
        for method, key in (("TD(0)", "td"), ("Monte Carlo", "monte_carlo"))
        for episodes in (0, 30, 300)
    }


def baselines(pipeline: Pipeline) -> list[dict[str, dict[str, float]]]:
    """Variance and bias of one episode's gradient, by baseline, early, midway and late in training."""
    return [estimates.baseline_variance(pipeline.seed, iterations=stage) for stage in STAGES_OF_TRAINING]


def baseline_numbers(pipeline: Pipeline) -> dict[str, float]:
    """The variances, and the largest bias in units of what chance alone must be expected to make."""
    numbers: dict[str, float] = {}
    for stage, rows in zip(STAGES_OF_TRAINING, pipeline.measured(baselines), strict=True):
        numbers |= {f"{name.replace(' ', '_')}_{stage}": row["variance"] for name, row in rows.items()}
        worst = max(row["bias"] / row["standard_error"] for row in rows.values())
        numbers["largest_bias"] = max(worst, numbers.get("largest_bias", 0.0))
    return numbers


def trade_off(pipeline: Pipeline) -> dict[str, list[float]]:
    """Squared bias, variance and their sum for every λ, with a critic in the middle of its training."""
    rows = estimates.gae_trade_off(pipeline.seed)
    names = ("squared_bias", "variance", "mse", "gradient_squared_bias", "gradient_variance")
    return {"lambda": [*rows], **{name: [row[name] for row in rows.values()] for name in names}}


def best_lambda(curves: dict[str, list[float]], episodes: int) -> float:
    """The λ at which squared bias and variance of the policy gradient of so many episodes are smallest."""
    errors = [
        bias + variance / episodes
        for bias, variance in zip(curves["gradient_squared_bias"], curves["gradient_variance"], strict=True)
    ]
    return curves["lambda"][int(np.argmin(errors))]


def trade_off_numbers(pipeline: Pipeline) -> dict[str, Any]:
    """The curves, and the λ at which bias and variance together are smallest."""
    curves = pipeline.measured(trade_off)
    return {**curves, "best_lambda": curves["lambda"][int(np.argmin(curves["mse"]))]}


def clipped_and_not(pipeline: Pipeline) -> dict[str, dict[str, list[float]]]:
    """PPO with its clipping, without it, and with clipping but without the minimum."""
    return clipping.clipping(pipeline.seed, learning_rate=0.1)


def clipping_runs(pipeline: Pipeline) -> dict[str, dict[str, list[float]]]:
    """`RUNS` runs of each of the three: the divergence of each one's first update, and its return at the end."""
    numbers: dict[str, dict[str, list[float]]] = {}
    for run in range(RUNS):
        for name, curves in clipping.clipping(RUNS * pipeline.seed + run, learning_rate=0.1).items():
            row = numbers.setdefault(name, {"first_kl": [], "last_return": []})
            row["first_kl"].append(curves["kl"][0])
            row["last_return"].append(curves["returns"][-1])
    return numbers


def clipping_numbers(pipeline: Pipeline) -> dict[str, float]:
    """The mean divergence of the first update, and how many runs end within a tenth of the best return."""
    rows = pipeline.measured(clipping_runs)
    keys = {"clipped": "clipped", "not clipped": "not_clipped", "clip without min": "without_min"}
    mdp = gradients.grid_envs(count=1, prizes=gradients.NO_BAIT)[0].unwrapped.model
    best = gradients.best_return(mdp)
    return {
        "best": best,
        "runs": float(RUNS),
        **{f"first_kl_{key}": float(np.mean(rows[name]["first_kl"])) for name, key in keys.items()},
        **{
            f"found_{key}": float(sum(last > 0.9 * best for last in rows[name]["last_return"]))
            for name, key in keys.items()
        },
    }


def methods(pipeline: Pipeline) -> dict[str, dict[str, float]]:
    """Every method of the scoreboard after the same number of steps."""
    rows = gradients.scoreboard(pipeline.seed, steps=BUDGET)
    if find_spec("stable_baselines3") is not None:
        rows["PPO (stable-baselines3)"] = stable_baselines3_ppo(pipeline.seed, steps=BUDGET)
    return rows


def methods_numbers(pipeline: Pipeline) -> dict[str, float]:
    """The exact returns of what four of the methods learned, the best, and what the bait is worth."""
    rows = pipeline.measured(methods)
    names = {
        "REINFORCE, baseline": "baseline",
        "actor–critic": "actor_critic",
        "actor–critic, GAE": "actor_critic_gae",
        "PPO": "ppo",
    }
    mdp = gradients.grid_envs(count=1)[0].unwrapped.model
    bait = float(optimal_values(mdp)[int(mdp.start.argmax()), RIGHT])
    return {
        **{key: rows[name]["return"] for name, key in names.items()},
        "best": rows["PPO"]["best"],
        "bait": bait,
    }


def token_walk_curves(pipeline: Pipeline) -> dict[str, list[float]]:
    """REINFORCE on the token world."""
    return token_walk.approach(pipeline.seed)


def token_numbers(pipeline: Pipeline) -> dict[str, float]:
    """KL(π ‖ π*) before and after, and what the objective still lacks."""
    curves = pipeline.measured(token_walk_curves)
    return {
        "kl_before": curves["kl_to_optimum"][0],
        "kl_after": curves["kl_to_optimum"][-1],
        "objective_missing": float(token_walk.optimum().value) - curves["objective"][-1],
    }


def hunted(pipeline: Pipeline) -> dict[str, dict[str, list[float]]]:
    """The two actor–critics of the bug hunt."""
    return bug_hunt.learning_curves(pipeline.seed)


def over_seeds(pipeline: Pipeline, experiment: Any, *, seeds: int) -> list[Any]:
    """One of these experiments on seeds 0 to `seeds` − 1, for a figure."""
    return [
        Pipeline(pipeline.profile, seed=seed, cache=pipeline.store.root).measured(experiment)
        for seed in range(seeds)
    ]


CLAIMS = (
    Claim(
        "planning",
        "Planning is exact: value iteration and policy iteration agree to nine digits. Without slipping, the best first move changes "
        "from right to up at γ = 0.911; and a robot that slips keeps away from the pits that a sure-footed one walks along.",
        planning,
        lambda m: (
            m["largest_difference"] < 1e-8
            and round(m["flip"], 3) == 0.911
            and m["ledge_dry"] >= 3
            and m["ledge_slip"] < 1
        ),
    ),
    Claim(
        "SARSA, Q-learning",
        "With exploration that never ends, SARSA learns the safe way and earns more while exploring goes on; "
        "Q-learning learns the best way and falls into the pits while it explores.",
        control_numbers,
        lambda m: (
            m["online_sarsa"] > m["online_q_learning"]
            and m["greedy_q_learning"] > m["greedy_sarsa"]
            and m["ledge_sarsa"] < 1 < m["ledge_q_learning"]
        ),
    ),
    Claim(
        "TD(0), Monte Carlo",
        "On a world whose prize comes at the end, Monte Carlo is ahead early, because TD(0) passes the prize back by one state "
        "in each episode; after 300 episodes both errors are below a tenth of what they were.",
        prediction_numbers,
        lambda m: (
            m["monte_carlo_30"] < 0.5 * m["td_30"]
            and m["monte_carlo_300"] < 0.1 * m["monte_carlo_0"]
            and m["td_300"] < 0.1 * m["td_0"]
        ),
    ),
    Claim(
        "baseline",
        "A baseline leaves the mean of the gradient's estimate where it is. The exact value of each state divides its variance by "
        "two or more at the beginning of training, when returns lie far below zero, and lowers it at the end; midway, when most of "
        "what is left is chance, it hardly changes it.",
        baseline_numbers,
        lambda m: (
            2 * m["exact_value_1"] < m["none_1"]
            and m["exact_value_40"] < m["none_40"]
            and 0.8 < m["exact_value_15"] / m["none_15"] < 1.25
            and m["largest_bias"] < 2.5
        ),
    ),
    Claim(
        "GAE",
        "With a critic in the middle of its training, bias falls and variance grows with λ, and their sum is smallest at a λ "
        "strictly between 0 and 1.",
        trade_off_numbers,
        lambda m: (
            0 < m["best_lambda"] < 1
            and m["squared_bias"][0] > 10 * abs(m["squared_bias"][-1])
            and m["variance"][-1] > 10 * m["variance"][0]
        ),
    ),
    Claim(
        "clipping",
        "With ten epochs on the same episodes, clipping keeps PPO's first update at least four times closer to the old policy in "
        "the mean of twenty runs, and more of the twenty end within a tenth of the best return than without it.",
        clipping_numbers,
        lambda m: (
            4 * m["first_kl_clipped"] < m["first_kl_not_clipped"]
            and m["found_clipped"] > m["found_not_clipped"]
        ),
        live=False,
    ),
    Claim(
        "bait",
        "On the small grid with its bait PPO has found the goal after 20,000 steps; the one-step actor–critic has stayed "
        "with the bait.",
        methods_numbers,
        lambda m: m["ppo"] > 1.5 * m["bait"] > 1.3 * m["actor_critic"],
    ),
    Claim(
        "token world",
        "On the token world REINFORCE with a learned baseline and a KL penalty reaches the optimum that algebra predicts: its divergence from π* "
        "falls to less than a hundredth of where it began.",
        token_numbers,
        lambda m: m["kl_after"] < 0.01 * m["kl_before"] and 0 <= m["objective_missing"] < 0.005,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's scoreboard: one record a method, its policy's exact return after the same steps."""
    return [
        record_of(
            chapter="01",
            experiment="scoreboard",
            method=method,
            pipeline=pipeline,
            seconds=row["seconds"],
            metrics={"return": row["return"], "share_of_best": row["return"] / row["best"]},
        )
        for method, row in pipeline.measured(methods).items()
    ]
