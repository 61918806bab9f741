"""Chapter 00: numbers that show each claim, and changes of one or two of them that do not."""

GOOD = {
    "pretraining": {"perplexity": 2.3, "perplexity_of_the_grammar": 2.0},
    "SFT": {"followed_base": 0.125, "followed_sft": 0.375, "gold_sft": 2.0, "best_gold": 4.0},
    "reward model": {
        "accuracy": 0.7,
        "bayes_ceiling": 0.8,
        "accuracy_tenth_of_labels": 0.6,
        "accuracy_small_model": 0.65,
    },
    "best-of-n": {"gold_1": 1.0, "gold_4": 2.0, "gold_16": 3.0, "kl_4": 0.5, "kl_bound_4": 0.63},
    "PPO with KL": {"gap_closed": 0.5},
    "PPO without KL": {
        "gold_start": 2.0,
        "gold_peak": 2.5,
        "gold_end": 1.9,
        "proxy_start": 0.0,
        "proxy_at_gold_peak": 1.0,
        "proxy_end": 2.0,
    },
}

SPOILED = [
    ("pretraining", {"perplexity": 2.41}),
    ("SFT", {"followed_sft": 0.374}),
    ("SFT", {"followed_base": 0.0, "followed_sft": 0.09}),
    ("SFT", {"gold_sft": 3.6}),
    ("reward model", {"accuracy": 0.64}),
    ("reward model", {"accuracy": 0.81}),
    ("reward model", {"accuracy_tenth_of_labels": 0.7}),
    ("reward model", {"accuracy_small_model": 0.7}),
    ("best-of-n", {"gold_4": 0.9}),
    ("best-of-n", {"gold_16": 1.9}),
    ("best-of-n", {"kl_4": 0.64}),
    ("PPO with KL", {"gap_closed": 0.49}),
    ("PPO without KL", {"gold_end": 2.1}),
    ("PPO without KL", {"gold_start": 2.5}),
    ("PPO without KL", {"proxy_end": 0.9}),
    ("PPO without KL", {"proxy_start": 1.1}),
]
