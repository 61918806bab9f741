"""Chapter 07: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

_DERIVED = {"reward": 5e-16, "lead": 9e-16, "chance": 3e-16, "objective": 4e-16, "without_log_z": 0.86}
_LANDED = {
    "landed 0.25": 8e-15, "landed 0.5": 3e-15, "landed 1": 2e-15,
    "of_half_weight 0.25": 0.23, "of_half_weight 0.5": 0.56, "of_half_weight 1": 0.29,
}  # fmt: skip
_CERTAIN = {
    "kl_ref dpo 0.1": 74.6, "kl_ref dpo 1": 23.6, "kl_ref ipo 0.1": 2.7, "kl_ref ipo 1": 0.04,
    "ipo_gap": 9e-6,
}  # fmt: skip
_FEW = {
    "few": [0.77, 0.78, 0.81, 0.84, 0.52], "many": [2.31, 2.29, 1.92, 0.80, 0.28],
    "promised": [8.1, 5.0, 2.0, 1.0, 0.4], "gained": [0.77, 0.78, 0.81, 0.84, 0.52],
}  # fmt: skip
_LEARNED = {
    "gold SFT": 2.05, "gold DPO": 2.72, "gold PPO": 3.31, "kl_k1 DPO": 0.71, "pair_accuracy DPO": 0.71,
}  # fmt: skip
_STRENGTHS = {
    "kl_k1 β = 0.1": 4.9, "kl_k1 β = 0.3": 2.5, "kl_k1 DPO": 0.71, "kl_k1 β = 3": 0.53,
    "chosen_shift β = 0.1": -4.0, "rejected_shift β = 0.1": -10.2,
    "chosen_shift β = 0.3": -1.2, "rejected_shift β = 0.3": -3.7,
    "chosen_shift DPO": -0.3, "rejected_shift DPO": -1.3,
}  # fmt: skip
_DECLINES = {
    "unkind_declined SFT": 0.65, "unkind_declined β = 0.1": 0.01, "unkind_declined DPO": 0.67,
    "decline_shift β = 0.1": -4.9, "story_shift β = 0.1": -9.6,
}  # fmt: skip
_WRITERS = {"gold optimum": 2.17, "gold mixed": 2.17, "gold reference": 1.83, "gold best": 0.96}

GOOD = {
    "derivation": _DERIVED,
    "gradient": {"gap": 7e-18, "without_weight": 0.07},
    "landing": _LANDED,
    "two steps in one": {"exists": True, "gap": 2e-8, "gap_on_the_way": 1e-14},
    "certain labels": _CERTAIN,
    "never compared": {"indifference": 1e-16, "shown_gap": 5e-14},
    "few labels": _FEW,
    "whose texts": _WRITERS,
    "the optimum moves the chosen down": {
        "identity": 7e-15,
        "chosen": [-15.2, -2.6, 0.05],
        "rejected": [-20.4, -4.4, -0.1],
    },
    "DPO learns": _LEARNED,
    "strength": _STRENGTHS,
    "both fall": _STRENGTHS,
    "declines are lost": _DECLINES,
    "bug hunt": {"loss wrong": 0.693147, "distance wrong": 1.8, "distance right": 0.2, "start": 1.0},
}
SPOILED = [
    ("derivation", {"reward": 1e-3}),
    ("derivation", {"lead": 1e-3}),
    ("derivation", {"chance": 1e-3}),
    ("derivation", {"objective": 1e-3}),
    ("derivation", {"without_log_z": 0.0}),
    ("gradient", {"gap": 1e-3}),
    ("gradient", {"without_weight": 1e-15}),
    ("landing", {"landed 0.5": 1e-3}),
    ("landing", {"of_half_weight 1": 1e-9}),
    ("two steps in one", {"exists": False}),
    ("two steps in one", {"gap": 0.1}),
    ("two steps in one", {"gap_on_the_way": 1e-3}),
    ("certain labels", {"kl_ref dpo 1": 5.0}),
    ("certain labels", {"kl_ref ipo 0.1": 50.0}),
    ("certain labels", {"ipo_gap": 0.1}),
    ("never compared", {"indifference": 0.1}),
    ("never compared", {"shown_gap": 0.1}),
    ("few labels", {"promised": [0.8, 0.8, 0.8, 0.8, 0.5]}),
    ("few labels", {"few": [1.5, 1.2, 1.0, 0.84, 0.5]}),
    ("few labels", {"many": [0.9, 0.9, 0.9, 0.8, 0.3]}),
    ("whose texts", {"gold mixed": 1.9}),
    ("whose texts", {"gold reference": 2.1}),
    ("whose texts", {"gold best": 1.8}),
    ("the optimum moves the chosen down", {"identity": 0.1}),
    ("the optimum moves the chosen down", {"chosen": [0.2, 0.1, 0.1]}),
    ("the optimum moves the chosen down", {"rejected": [-15.0, -1.0, 0.0]}),
    ("DPO learns", {"gold DPO": 2.3}),
    ("DPO learns", {"kl_k1 DPO": 5.0}),
    ("DPO learns", {"pair_accuracy DPO": 0.6}),
    ("DPO learns", {"gold PPO": 2.8}),
    ("strength", {"kl_k1 DPO": 3.0}),
    ("both fall", {"chosen_shift DPO": 0.1}),
    ("both fall", {"rejected_shift β = 0.1": -3.0}),
    ("declines are lost", {"unkind_declined β = 0.1": 0.5}),
    ("declines are lost", {"decline_shift β = 0.1": 0.2}),
    ("declines are lost", {"story_shift β = 0.1": -1.0}),
    ("declines are lost", {"unkind_declined DPO": 0.3}),
    ("bug hunt", {"loss wrong": 0.6932}),
    ("bug hunt", {"distance wrong": 1.2}),
    ("bug hunt", {"distance right": 0.6}),
]
