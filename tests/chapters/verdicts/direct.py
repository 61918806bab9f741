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
_DECLINES |= {
    "unkind_declined NLL term": 0.48, "unkind_declined end token masked": 0.05, "gold NLL term": 2.82, "gold β = 0.1": 2.49,
}  # fmt: skip
_LENGTHS = {
    "length SFT": 60.0, "length DPO": 64.3, "length R-DPO": 61.0, "length gold's": 61.7, "gold gold's": 2.91, "gold DPO": 2.72,
}  # fmt: skip
_FAMILY = {
    "gold DPO": 2.72, "gold cDPO": 2.63, "gold robust DPO": 2.68, "gold IPO": 2.68, "gold RPO, backward": 2.65,
    "gold RPO, forward": 2.76, "gold RPO, squared": 2.57, "gold DPO per token": 2.74, "gold IPO per token": 2.81,
    "gold R-DPO": 2.85, "gold ORPO": 2.71, "gold KTO": 2.94, "gold SimPO": 2.55, "gold SLiC": 2.10, "gold CPL": 2.32,
    "unkind_declined SFT": 0.65, "unkind_declined ORPO": 0.79, "unkind_declined SimPO": 0.08, "unkind_declined SLiC": 0.0,
    "unkind_declined CPL": 0.18,
}  # fmt: skip
_STEPS = {
    "gold DPO": 2.72, "gold fading": 2.46, "gold apart, β = 0.3": 2.71, "gold both: KTO with z₀ = 0": 2.97, "gold KTO": 2.94,
    "unkind_declined SFT": 0.65, "unkind_declined fading": 0.08,
}  # fmt: skip
_TURNED = {
    "gold DPO": 2.72, "gold 30% turned": 2.24, "gold 30% turned, cDPO": 2.07, "gold 30% turned, robust": 2.24,
    "gold 30% turned, IPO": 2.21, "gold 30% turned, KTO": 2.25,
}  # fmt: skip
_OWN = {
    "gold DPO": 2.72, "gold PPO": 3.31, "gold iterated, 3 rounds": 2.99, "gold online, panel": 2.86,
    "gold online, reward model": 3.07, "kl_k1 iterated, 3 rounds": 1.46, "kl_k1 online, panel": 0.7,
    "kl_k1 online, reward model": 1.26,
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
    "cures": _DECLINES,
    "length": _LENGTHS,
    "family": _FAMILY,
    "no reference": _FAMILY,
    "from DPO to KTO": _STEPS,
    "turned labels": _TURNED,
    "own pairs": _OWN,
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
    ("cures", {"unkind_declined NLL term": 0.15}),
    ("cures", {"gold NLL term": 2.6}),
    ("cures", {"unkind_declined end token masked": 0.3}),
    ("length", {"length DPO": 61.0}),
    ("length", {"length R-DPO": 63.0}),
    ("length", {"length gold's": 63.0}),
    ("length", {"gold gold's": 2.75}),
    ("family", {"gold KTO": 2.8}),
    ("family", {"gold cDPO": 2.4}),
    ("family", {"gold ORPO": 3.0}),
    ("family", {"gold SimPO": 2.7}),
    ("no reference", {"unkind_declined CPL": 0.4}),
    ("no reference", {"unkind_declined ORPO": 0.5}),
    ("from DPO to KTO", {"gold fading": 2.8}),
    ("from DPO to KTO", {"unkind_declined fading": 0.5}),
    ("from DPO to KTO", {"gold apart, β = 0.3": 2.5}),
    ("from DPO to KTO", {"gold both: KTO with z₀ = 0": 2.8}),
    ("from DPO to KTO", {"gold both: KTO with z₀ = 0": 2.8, "gold KTO": 2.81}),
    ("turned labels", {"gold 30% turned": 2.6}),
    ("turned labels", {"gold 30% turned, KTO": 2.7}),
    ("turned labels", {"gold 30% turned, cDPO": 2.7}),
    ("own pairs", {"gold online, panel": 2.7}),
    ("own pairs", {"gold online, reward model": 3.3}),
    ("own pairs", {"kl_k1 iterated, 3 rounds": 4.0}),
    ("bug hunt", {"loss wrong": 0.6932}),
    ("bug hunt", {"distance wrong": 1.2}),
    ("bug hunt", {"distance right": 0.6}),
]
