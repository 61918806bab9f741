"""Chapter 09: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_IDENTITIES = {
    "conditional": 6e-17, "price": 4e-16, "last_threshold": 0.0, "grow_again": 6e-17, "rounds_of_two": 6e-17,
    "advantage": 6e-17, "advantage_twice": 3e-17, "capped": 0.53,
}  # fmt: skip
_EQUAL_KL = {"filter_most": 0.36, "filter_least": 0.23, "best_of_n_most": 0.11, "best_of_n_least": 0.0}
_LEARNED = {
    "gold SFT": 1.9, "gold ReST": 2.8, "gold PPO": 3.3, "gold all answers": 1.9, "kl_k1 ReST": 5.0, "kl_k1 PPO": 12.0,
}  # fmt: skip
_VARIED = {"entropy SFT": 27.0, "entropy ReST": 20.0, "overlap SFT": 0.09, "overlap ReST": 0.2}
_SUMS = {
    "pass_1 start": 0.3, "pass_1 from base each round": 0.45, "pass_1 from the last policy": 0.5,
    "pass_1 without the checker": 0.28,
}  # fmt: skip

GOOD = {
    "a filter": _IDENTITIES,
    "advantage weights": _IDENTITIES,
    "equal KL": _EQUAL_KL,
    "drift": {"off": 0.003, "start": 0.92, "random": 0.81, "best": 0.04, "texts_random": 9.7},
    "landing": {"start": 0.68, "end": 2e-4, "per_token": 0.095},
    "ReST learns": _LEARNED,
    "what is kept matters": _LEARNED,
    "PPO for the same samples": _LEARNED,
    "variety is lost": _VARIED,
    "sums": _SUMS,
}
SPOILED = [
    ("a filter", {"conditional": 1e-3}),
    ("a filter", {"price": 1e-3}),
    ("a filter", {"last_threshold": 1e-3}),
    ("a filter", {"grow_again": 1e-3}),
    ("a filter", {"rounds_of_two": 1e-3}),
    ("advantage weights", {"advantage": 1e-3}),
    ("advantage weights", {"advantage_twice": 1e-3}),
    ("advantage weights", {"capped": 1e-6}),
    ("equal KL", {"filter_least": -0.1}),
    ("equal KL", {"best_of_n_least": -0.1}),
    ("equal KL", {"filter_most": 0.15}),
    ("drift", {"off": 0.1}),
    ("drift", {"best": 0.75}),
    ("drift", {"random": 0.95}),
    ("landing", {"end": 0.05}),
    ("landing", {"per_token": 3e-4}),
    ("landing", {"start": 0.01}),
    ("ReST learns", {"gold ReST": 2.1}),
    ("what is kept matters", {"gold all answers": 2.2}),
    ("what is kept matters", {"gold ReST": 2.1}),
    ("PPO for the same samples", {"gold PPO": 2.7}),
    ("PPO for the same samples", {"kl_k1 PPO": 6.0}),
    ("variety is lost", {"entropy ReST": 26.0}),
    ("variety is lost", {"overlap ReST": 0.08}),
    ("sums", {"pass_1 from base each round": 0.33}),
    ("sums", {"pass_1 from the last policy": 0.33}),
    ("sums", {"pass_1 without the checker": 0.4}),
]
