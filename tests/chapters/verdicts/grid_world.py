"""Chapter 01: numbers that show each claim, and changes of one or two of them that do not."""

GOOD = {
    "planning": {"largest_difference": 1e-12, "flip": 0.9113, "ledge_dry": 4.0, "ledge_slip": 0.3},
    "SARSA, Q-learning": {
        "online_sarsa": 12.0, "online_q_learning": 10.0, "greedy_sarsa": 11.5, "greedy_q_learning": 12.8,
        "ledge_sarsa": 0.0, "ledge_q_learning": 4.0,
    },
    "TD(0), Monte Carlo": {
        "td_0": 13.8, "td_30": 6.0, "td_300": 1.0,
        "monte_carlo_0": 13.8, "monte_carlo_30": 1.0, "monte_carlo_300": 0.3,
    },
    "baseline": {
        "none_1": 4000.0, "exact_value_1": 1400.0, "none_15": 400.0, "exact_value_15": 390.0,
        "none_40": 60.0, "exact_value_40": 40.0, "largest_bias": 1.2,
    },
    "GAE": {"best_lambda": 0.25, "squared_bias": [3.0, 1.0, 0.1], "variance": [1.0, 5.0, 70.0]},
    "clipping": {
        "first_kl_clipped": 0.04, "first_kl_not_clipped": 0.4,
        "found_clipped": 17.0, "found_not_clipped": 9.0,
    },
    "bait": {"baseline": 12.0, "ppo": 10.0, "bait": 5.2, "actor_critic": 4.8},
    "token world": {"kl_before": 0.57, "kl_after": 0.001, "objective_missing": 0.0005},
}  # fmt: skip

SPOILED = [
    ("planning", {"flip": 0.92}),
    ("planning", {"largest_difference": 1e-6}),
    ("planning", {"ledge_slip": 2.0}),
    ("SARSA, Q-learning", {"online_sarsa": 9.9}),
    ("SARSA, Q-learning", {"greedy_sarsa": 12.9}),
    ("SARSA, Q-learning", {"ledge_q_learning": 0.5}),
    ("TD(0), Monte Carlo", {"td_30": 1.5}),
    ("TD(0), Monte Carlo", {"td_300": 1.5}),
    ("TD(0), Monte Carlo", {"monte_carlo_300": 1.5}),
    ("baseline", {"exact_value_1": 2001.0}),
    ("baseline", {"exact_value_40": 61.0}),
    ("baseline", {"exact_value_15": 200.0}),
    ("baseline", {"largest_bias": 3.0}),
    ("GAE", {"best_lambda": 0.0}),
    ("GAE", {"best_lambda": 1.0}),
    ("GAE", {"squared_bias": [3.0, 1.0, 0.5]}),
    ("GAE", {"variance": [10.0, 20.0, 70.0]}),
    ("clipping", {"first_kl_clipped": 0.2}),
    ("clipping", {"found_clipped": 9.0}),
    ("bait", {"ppo": 7.0}),
    ("bait", {"actor_critic": 12.0}),
    ("token world", {"kl_after": 0.01}),
    ("token world", {"objective_missing": -0.1}),
]
