"""Chapter 05: numbers that show each claim, and changes of one or two of them that do not."""

GOOD = {
    "the optimum": {"to_optimum": [0.4, 0.1, 0.019]},
    "hacking": {
        "proxy sft": 0.25,
        "proxy ppo": 1.5,
        "proxy ppo_without_kl": 2.0,
        "gold ppo": 3.0,
        "gold ppo_without_kl": 1.9,
        "distinct_2 sft": 0.25,
        "distinct_2 ppo": 0.125,
        "distinct_2 ppo_without_kl": 0.0625,
    },
}

SPOILED = [
    ("the optimum", {"to_optimum": [0.4, 0.019, 0.021]}),
    ("hacking", {"proxy ppo_without_kl": 1.4}),
    ("hacking", {"proxy ppo": 0.2}),
    ("hacking", {"gold ppo_without_kl": 2.1}),
    ("hacking", {"distinct_2 ppo_without_kl": 0.13}),
    ("hacking", {"distinct_2 ppo": 0.26}),
]
