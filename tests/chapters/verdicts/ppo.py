"""Chapter 05: numbers that show each claim, and changes of one or two of them that do not."""

GOOD = {
    "the optimum": {"to_optimum": [0.4, 0.1, 0.019]},
    "KL in the reward": {
        "gap_reward_k1": 1e-15,
        "gap_loss_k2": 1e-15,
        "size_loss_k1": 1e-15,
        "gap_other_loss_k3": 1e-15,
        "distance_reward_k1": 0.01,
        "distance_loss_k2": 0.01,
        "distance_loss_k1": 1.0,
        "distance_loss_k3": 0.11,
    },
    "bug hunt": {
        "distance wrong": 0.21,
        "distance right": 0.1,
        "first_ratio wrong": 1e-6,
        "explained wrong": 0.6,
        "explained right": 0.3,
    },
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
    ("KL in the reward", {"gap_reward_k1": 1e-3}),
    ("KL in the reward", {"gap_loss_k2": 1e-3}),
    ("KL in the reward", {"size_loss_k1": 1e-3}),
    ("KL in the reward", {"gap_other_loss_k3": 1e-3}),
    ("KL in the reward", {"distance_loss_k3": 0.09}),
    ("KL in the reward", {"distance_loss_k1": 0.09}),
    ("KL in the reward", {"distance_loss_k2": 0.012}),
    ("bug hunt", {"distance wrong": 0.19}),
    ("bug hunt", {"first_ratio wrong": 0.01}),
    ("bug hunt", {"explained wrong": 0.2}),
    ("hacking", {"proxy ppo_without_kl": 1.4}),
    ("hacking", {"proxy ppo": 0.2}),
    ("hacking", {"gold ppo_without_kl": 2.1}),
    ("hacking", {"distinct_2 ppo_without_kl": 0.13}),
    ("hacking", {"distinct_2 ppo": 0.26}),
]
