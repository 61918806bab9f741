"""Chapter 09: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_IDENTITIES = {
    "conditional": 6e-17, "price": 4e-16, "last_threshold": 0.0, "grow_again": 6e-17, "rounds_of_two": 6e-17,
    "advantage": 6e-17, "advantage_twice": 3e-17, "capped": 0.53,
}  # fmt: skip
_EQUAL_KL = {"filter_most": 0.36, "filter_least": 0.23, "best_of_n_most": 0.11, "best_of_n_least": 0.0}
_GROWS = {"gold SFT": 1.9, "gold ReST": 3.1, "gold filtered once": 2.9}
_BY_PROMPT = {
    "gold SFT": 1.9, "gold ReST": 3.1, "gold ReST, by prompt": 2.8, "gold PPO": 3.3, "gold all answers": 1.9,
    "kl_k1 ReST": 4.5, "kl_k1 ReST, by prompt": 3.1, "kl_k1 PPO": 7.1, "kept kind": 0.19,
    "kind_declined SFT": 0.15, "kind_declined ReST": 0.0, "kind_declined ReST, by prompt": 0.01,
}  # fmt: skip
_TOO_FAST = {"gold RAFT": 2.9, "gold RAFT, too fast": 2.7, "proxy RAFT": 1.2, "proxy RAFT, too fast": 1.6}
_FORGOTTEN = {
    "unkind_declined SFT": 0.55, "unkind_declined RRHF, weight 1": 0.79,
    "unkind_declined RRHF, weight 100": 0.0,
}  # fmt: skip
_VARIED = {
    "entropy SFT": 28.6, "entropy ReST": 25.5, "entropy PPO": 16.5,
    "overlap SFT": 0.075, "overlap ReST": 0.18, "overlap PPO": 0.37,
}  # fmt: skip
_SUMS = {
    "pass_1 start": 0.26, "pass_1 from base each round": 0.86, "pass_1 from the last policy": 0.92,
    "pass_1 without the checker": 0.21, "pass_1 one round, as many samples": 0.7,
    "differ from base each round": 0.17, "differ from the last policy": 0.21,
    "differ without the checker": 0.64,
}  # fmt: skip

GOOD = {
    "a filter": _IDENTITIES,
    "advantage weights": _IDENTITIES,
    "equal KL": _EQUAL_KL,
    "drift": {"off": 0.003, "start": 0.92, "random": 0.81, "best": 0.04, "texts_random": 9.7},
    "landing": {"start": 0.68, "end": 2e-5, "per_token": 0.095},
    "one scale": _BY_PROMPT,
    "what is kept matters": _BY_PROMPT,
    "drawn once": _GROWS,
    "prompts compete": {"gold ReST": 3.1, "gold the highest threshold alone": 2.8},
    "by prompt": _BY_PROMPT,
    "over-optimisation": _TOO_FAST,
    "PPO for the same samples": _BY_PROMPT,
    "best of eight": {"gold ReST": 3.1, "gold best of 8": 3.2, "kl best of 8": 1.2, "kl_k1 ReST": 4.5},
    "RRHF's two weights": _FORGOTTEN,
    "variety is lost": _VARIED,
    "sums": _SUMS,
    "rounds of sums": _SUMS,
    "ways are lost": _SUMS,
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
    ("one scale", {"gold ReST": 2.3}),
    ("one scale", {"kept kind": 0.001}),
    ("what is kept matters", {"gold all answers": 2.2}),
    ("what is kept matters", {"gold ReST, by prompt": 2.3}),
    ("drawn once", {"gold filtered once": 2.7}),
    ("drawn once", {"gold ReST": 1.8}),
    ("prompts compete", {"gold the highest threshold alone": 3.0}),
    ("by prompt", {"gold ReST, by prompt": 2.3}),
    ("by prompt", {"kind_declined ReST, by prompt": 0.2}),
    ("over-optimisation", {"gold RAFT, too fast": 2.85}),
    ("over-optimisation", {"proxy RAFT, too fast": 1.2}),
    ("PPO for the same samples", {"gold PPO": 3.1}),
    ("PPO for the same samples", {"gold ReST, by prompt": 3.25}),
    ("PPO for the same samples", {"kl_k1 PPO": 5.0}),
    ("best of eight", {"gold best of 8": 3.0}),
    ("best of eight", {"kl_k1 ReST": 3.5}),
    ("RRHF's two weights", {"unkind_declined RRHF, weight 1": 0.5}),
    ("RRHF's two weights", {"unkind_declined RRHF, weight 100": 0.2}),
    ("variety is lost", {"overlap ReST": 0.1}),
    ("variety is lost", {"overlap PPO": 0.17}),
    ("variety is lost", {"entropy PPO": 24.0}),
    ("sums", {"pass_1 from base each round": 0.5}),
    ("sums", {"pass_1 from the last policy": 0.5}),
    ("sums", {"pass_1 without the checker": 0.3}),
    ("rounds of sums", {"pass_1 from the last policy": 0.87}),
    ("rounds of sums", {"pass_1 one round, as many samples": 0.85}),
    ("ways are lost", {"differ from base each round": 0.6}),
    ("ways are lost", {"differ from the last policy": 0.6}),
    ("ways are lost", {"differ without the checker": 0.5}),
]
