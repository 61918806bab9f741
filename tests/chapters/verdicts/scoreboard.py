"""Chapter 14: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_OFFLINE = ("DPO", "cDPO", "IPO", "RPO, backward", "SimPO", "ORPO")
_COLDER = {
    **{f"warm {name}": 2.9 for name in ("RLOO", "ReST, by prompt", "best of 4, learned")},
    **{f"cold {name}": 3.5 for name in ("RLOO", "ReST, by prompt", "best of 4, learned")},
    "warm PPO": 3.3,
    "cold PPO": 3.7,
    "warm DPO": 2.6,
    "cold DPO": 3.5,
}
GOOD = {
    "the proxy is no judge": {
        "proxy PPO": 1.7,
        "proxy PPO without KL": 2.2,
        "gold SFT": 1.9,
        "gold PPO without KL": 0.8,
    },
    "one β, two prices": {
        "kl_k3 RLOO": 10.0,
        "kl_k3 GRPO": 20.0,
        "proxy RLOO": 1.6,
        "proxy GRPO": 1.8,
        "gold RLOO": 3.1,
        "gold GRPO": 2.6,
    },
    "a colder start": {
        "gold SFT": 1.9,
        "gold SFT, colder": 2.9,
        "gold DPO": 2.6,
    },
    "all gain by cooling": _COLDER,
    "a lead that cools": _COLDER,
    "KTO": {"gold KTO": 3.0, **{f"gold {name}": 2.6 for name in _OFFLINE}},
    "right feedback": {
        "gold HIR": 3.4,
        "gold filtered by the script": 3.5,
        "gold PPO, script as reward": 3.3,
        "gold best of 16": 3.2,
    },
    "a sum of two": {
        "gold SFT": 1.9,
        "gold SimPO": 2.4,
        "unkind_declined SFT": 0.5,
        "unkind_declined SimPO": 0.0,
    },
    "requests won": {"PPO against SFT": 0.78, "DPO against SFT": 0.64, "PPO against DPO": 0.65},
    "best of 16": {"gold PPO": 3.3, "gold best of 16": 3.2, "kl_bound best of 16": 1.8351},
    "variety": {
        "distinct_2 SFT": 0.25,
        "distinct_2 PPO": 0.13,
        "distinct_2 DPO": 0.24,
        "distinct_2 best of 4, learned": 0.24,
    },
    "what is forgotten": {"story_nats SFT": 0.59, "story_nats PPO": 0.8, "story_nats DPO": 0.6},
}
SPOILED = [
    ("the proxy is no judge", {"proxy PPO without KL": 1.6}),
    ("the proxy is no judge", {"gold PPO without KL": 1.5}),
    ("one β, two prices", {"kl_k3 GRPO": 9.0}),
    ("one β, two prices", {"proxy GRPO": 1.5}),
    ("one β, two prices", {"gold GRPO": 3.0}),
    ("a colder start", {"gold SFT": 2.4}),
    ("a colder start", {"gold DPO": 2.95}),
    *(
        ("all gain by cooling", {f"cold {name}": 2.9})
        for name in ("RLOO", "ReST, by prompt", "best of 4, learned")
    ),
    ("all gain by cooling", {"cold PPO": 3.5}),
    ("all gain by cooling", {"cold DPO": 2.8}),
    ("a lead that cools", {"warm DPO": 3.1}),
    ("a lead that cools", {"warm DPO": 3.1, "cold DPO": 3.65}),
    ("a lead that cools", {"cold DPO": 3.2}),
    *(("KTO", {f"gold {name}": 3.1}) for name in _OFFLINE),
    ("right feedback", {"gold HIR": 3.05}),
    ("right feedback", {"gold filtered by the script": 3.8}),
    ("right feedback", {"gold best of 16": 3.35}),
    ("a sum of two", {"gold SimPO": 1.8}),
    ("a sum of two", {"unkind_declined SimPO": 0.3}),
    ("requests won", {"PPO against SFT": 0.6}),
    ("requests won", {"DPO against SFT": 0.5}),
    ("requests won", {"PPO against DPO": 0.5}),
    ("best of 16", {"gold best of 16": 2.9}),
    ("best of 16", {"kl_bound best of 16": 1.9}),
    ("variety", {"distinct_2 PPO": 0.2}),
    ("variety", {"distinct_2 DPO": 0.2}),
    ("variety", {"distinct_2 best of 4, learned": 0.2}),
    ("what is forgotten", {"story_nats PPO": 0.65}),
    ("what is forgotten", {"story_nats DPO": 0.65}),
]
