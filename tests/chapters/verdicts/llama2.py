"""Chapter 06: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_MARGINS = {
    "gap none": [0.0, 0.2, 0.5, 1.3], "gap small": [-0.1, 0.3, 0.7, 1.9], "gap large": [-0.1, 0.55, 1.4, 3.6],
    "extreme none": 0.03, "extreme small": 0.14, "extreme large": 0.31,
    "valley none": 0.43, "valley small": 0.38, "valley large": 0.48,
    "low_declined none": 0.86, "low_declined small": 0.91, "low_declined large": 0.95,
    "high_declined none": 0.01, "high_declined small": 0.01, "high_declined large": 0.01,
    "accuracies none": [0.70, 0.715, 0.73],
    "accuracy none": [0.52, 0.60, 0.73, 0.86, 0.715], "accuracy small": [0.52, 0.60, 0.74, 0.87, 0.720],
    "accuracy large": [0.52, 0.60, 0.74, 0.88, 0.725],
}  # fmt: skip
_CROSSED = {
    "helpfulness on helpfulness": 0.74, "safety on safety": 0.82,
    "helpfulness on safety": 0.22, "safety on helpfulness": 0.35,
}  # fmt: skip
_COMBINED = {
    "unkind_politely_any": 0.59, "unkind_told_any": 0.095, "kind_declined_any": 0.125,
    "unkind_politely_piecewise": 0.93, "kind_declined_piecewise": 0.0, "unkind_told_piecewise": 0.0,
    "unkind_politely_linear": [0.0, 0.0, 0.0, 0.0, 0.06, 0.40, 0.75, 0.84, 0.90, 0.92, 0.93],
    "kind_declined_linear": [0.0, 0.0, 0.0, 0.0, 0.0, 0.10, 0.58, 0.76, 0.82, 0.84, 0.86],
    "unkind_told_linear": [0.25, 0.20, 0.15, 0.08, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
}  # fmt: skip
_BEST = {
    "gold_one_kind": 1.83, "gold_best_kind": 2.99, "gold_one_unkind": 2.60, "gold_best_unkind": 3.79,
    "bound": 1.204, "kl_kind": 1.194, "kl_unkind": 1.056,
}  # fmt: skip
_VERSIONS = {
    "gold, best of all rounds": [1.95, 2.7, 2.9, 3.0, 3.1],
    "gold, random, all rounds": [1.95, 1.7, 1.5, 1.3, 1.5],
    "politely_declined, best of all rounds": [0.65, 0.75, 0.8, 0.8, 0.8],
    "politely_declined, best of the last round": [0.65, 0.75, 0.8, 0.5, 0.3],
    "kl_k3, best of all rounds": [0.0, 2.9, 3.1, 3.9, 4.1],
    "kl_k3, best of the last round": [0.0, 2.9, 4.1, 7.0, 9.7],
}

_WORN = {"ordered": [0.78, 0.61, 0.63, 0.60, 0.60], "lead": [1.0, 0.41, 0.36, 0.34, 0.31]}
_ON_TOP = {
    "gold before": 3.09, "gold light": 2.67, "gold heavy": 3.11, "KL light": 8.1, "KL heavy": 2.4,
    "reward first light": 1.4, "reward last light": 1.7, "reward first heavy": 1.4, "reward last heavy": 1.3,
}  # fmt: skip

_OWN = {
    "gold_safe_prompts, similar": [1.8, 1.4, 1.2, 1.0, 1.2],
    "gold_safe_prompts, mixed": [1.8, 1.8, 1.9, 1.8, 1.75],
    "kind_declined, similar": [0.16, 0.35, 0.34, 0.48, 0.38],
    "kind_declined, mixed": [0.16, 0.16, 0.12, 0.16, 0.13],
}  # fmt: skip

GOOD = {
    "margins stretch": _MARGINS,
    "ratings": _MARGINS,
    "one factor": _MARGINS,
    "two humps": _MARGINS,
    "extreme scores": _MARGINS,
    "margins and accuracy": _MARGINS,
    "two sides": _CROSSED,
    "mix": {**_CROSSED, "helpfulness on safety, mixed": 0.62},
    "piecewise": _COMBINED,
    "linear": _COMBINED,
    "best of K": _BEST,
    "ties": _BEST,
    "temperature": {
        "gold of 1": [2.9, 2.5, 1.9, 1.0, 0.2], "gold of 2": [3.4, 3.1, 2.4, 1.3, 0.3],
        "gold of 4": [3.6, 3.4, 2.9, 1.6, 0.4], "gold of 8": [3.6, 3.5, 3.0, 1.8, 0.5],
        "gold of 16": [3.7, 3.6, 3.1, 2.0, 0.6], "gold of 32": [3.7, 3.6, 3.2, 2.0, 0.9],
    },
    "best or random": _VERSIONS,
    "batches by length": _OWN,
    "forgetting": _VERSIONS,
    "drift": _VERSIONS,
    "worn out": _WORN,
    "PPO on top": _ON_TOP,
    "bug hunt": {
        "loss_of_1_wrong": 1.31, "loss_of_32_wrong": 1.46, "loss_of_1_right": 1.30, "loss_of_32_right": 1.30,
    },
    "ghost attention": {
        "hero_ghost": [0.91, 0.86, 0.83, 0.67, 0.59], "hero_plain": [0.80, 0.03, 0.08, 0.03, 0.05],
    },
}  # fmt: skip

SPOILED = [
    ("margins stretch", {"gap large": [0.0, 0.5, 1.4, 2.5]}),
    ("margins stretch", {"gap small": [0.0, 0.2, 0.5, 1.4]}),
    ("ratings", {"accuracy none": [0.52, 0.60, 0.59, 0.86, 0.715]}),
    ("ratings", {"accuracy large": [0.56, 0.60, 0.74, 0.88, 0.725]}),
    ("ratings", {"accuracy small": [0.52, 0.60, 0.74, 0.79, 0.720]}),
    ("one factor", {"gap large": [-0.1, 0.7, 1.4, 3.6]}),
    ("one factor", {"gap large": [-0.1, 0.39, 0.98, 2.5]}),
    ("one factor", {"gap large": [-0.1, 0.72, 1.8, 4.7]}),
    ("two humps", {"valley small": 0.74}),
    ("two humps", {"valley large": 0.12}),
    ("two humps", {"valley none": 0.80}),
    ("two humps", {"low_declined none": 0.5}),
    ("two humps", {"high_declined large": 0.07}),
    ("extreme scores", {"extreme small": 0.02}),
    ("extreme scores", {"extreme small": 0.32}),
    ("extreme scores", {"extreme large": 0.17}),
    ("margins and accuracy", {"accuracy large": [0.5, 0.6, 0.7, 0.9, 0.745]}),
    ("margins and accuracy", {"accuracy small": [0.5, 0.6, 0.7, 0.8, 0.685]}),
    ("margins and accuracy", {"accuracies none": [0.71, 0.715, 0.719]}),
    ("two sides", {"helpfulness on helpfulness": 0.64}),
    ("two sides", {"safety on safety": 0.64}),
    ("two sides", {"helpfulness on safety": 0.46}),
    ("two sides", {"safety on helpfulness": 0.46}),
    ("mix", {"helpfulness on safety, mixed": 0.49}),
    ("mix", {"helpfulness on safety": 0.43}),
    ("piecewise", {"unkind_politely_piecewise": 0.79}),
    ("piecewise", {"kind_declined_piecewise": 0.06}),
    ("linear", {"unkind_told_any": 0.17}),
    ("linear", {"unkind_politely_any": 0.05}),
    ("linear", {"unkind_politely_linear": [0.0] * 4 + [0.21] + [0.5] * 6}),
    ("linear", {"kind_declined_linear": [0.0] * 5 + [0.1, 0.2, 0.3, 0.4, 0.6, 0.7]}),
    (
        "linear",
        {"unkind_politely_linear": [0.0] * 5 + [0.95] * 6, "kind_declined_linear": [0.0] * 6 + [0.6] * 5},
    ),
    ("best of K", {"gold_best_kind": 2.5}),
    ("best of K", {"gold_best_unkind": 3.2}),
    ("ties", {"kl_kind": 1.17}),
    ("ties", {"kl_unkind": 1.13}),
    ("temperature", {"gold of 4": [3.4, 3.5, 2.9, 1.6, 0.4]}),
    ("temperature", {"gold of 32": [3.5, 3.6, 3.2, 2.0, 0.9]}),
    ("best or random", {"gold, best of all rounds": [1.95, 2.5]}),
    ("best or random", {"gold, random, all rounds": [1.95, 2.06]}),
    ("batches by length", {"gold_safe_prompts, similar": [1.8, 1.51]}),
    ("batches by length", {"gold_safe_prompts, mixed": [1.8, 1.42]}),
    ("batches by length", {"kind_declined, similar": [0.16, 0.25]}),
    ("batches by length", {"kind_declined, mixed": [0.16, 0.27]}),
    ("batches by length", {"kind_declined, mixed": [0.16, 0.05]}),
    ("forgetting", {"politely_declined, best of the last round": [0.65, 0.75, 0.95, 0.8, 0.76]}),
    ("forgetting", {"politely_declined, best of the last round": [0.65, 0.6, 0.6, 0.6, 0.56]}),
    ("drift", {"kl_k3, best of the last round": [0.0, 2.9, 4.1, 5.0, 6.0]}),
    ("worn out", {"ordered": [0.69, 0.61, 0.63, 0.60, 0.60]}),
    ("worn out", {"ordered": [0.78, 0.61, 0.63, 0.60, 0.68]}),
    ("worn out", {"lead": [1.0, 0.41, 0.36, 0.34, 0.51]}),
    ("PPO on top", {"reward last light": 1.2}),
    ("PPO on top", {"KL light": 2.3}),
    ("PPO on top", {"gold light": 3.2}),
    ("bug hunt", {"loss_of_32_wrong": 1.35}),
    ("bug hunt", {"loss_of_32_right": 1.31}),
    ("ghost attention", {"hero_ghost": [0.9, 0.8, 0.44, 0.5, 0.45]}),
    ("ghost attention", {"hero_ghost": [0.9, 0.8, 0.7, 0.5, 0.35]}),
    ("ghost attention", {"hero_plain": [0.8, 0.1, 0.1, 0.17, 0.1]}),
]
