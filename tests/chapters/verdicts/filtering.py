"""Chapter 09: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_IDENTITIES = {
    "conditional": 6e-17, "price": 4e-16, "last_threshold": 0.0, "grow_again": 6e-17, "rounds_of_two": 6e-17,
    "advantage": 6e-17, "advantage_twice": 3e-17, "capped": 0.53,
}  # fmt: skip
_EQUAL_KL = {"filter_most": 0.36, "filter_least": 0.23, "best_of_n_most": 0.11, "best_of_n_least": 0.0}

GOOD = {
    "a filter": _IDENTITIES,
    "advantage weights": _IDENTITIES,
    "equal KL": _EQUAL_KL,
    "drift": {"off": 0.003, "start": 0.92, "random": 0.81, "best": 0.04, "texts_random": 9.7},
    "landing": {"start": 0.68, "end": 2e-4, "per_token": 0.095},
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
]
