"""Chapter 10: numbers that show its claims, and changes of them that must spoil them."""

from rlhf_mini.worlds.stories.principles import CONSTITUTION

_JUDGES = {
    "right width 16": 0.55,
    "right 3,000 lessons": 0.6, "right 6,000 lessons": 0.7, "right 12,000 lessons": 0.8,
    "gold_right width 16": 0.51, "gold_same_place width 16": 0.53, "gold_same_place 12,000 lessons": 0.25,
}  # fmt: skip
_LABELS = {"gold_right 12,000 lessons": 0.78, "annotator_right 12,000 lessons": 0.86}
_MATCHES = {
    "win_rate RLAIF, distilled – SFT": 0.7, "win_rate RLAIF, direct – SFT": 0.72,
    "low RLAIF, distilled – SFT": 0.65, "low RLAIF, direct – SFT": 0.68,
    "lead_low RLAIF, distilled – SFT": 0.5, "lead_low RLAIF, direct – SFT": 0.6,
    "win_rate RLAIF, distilled – RLHF": 0.46,
}  # fmt: skip
_CONSTITUTION = {
    "red_team_declined helpful only": 0.01, "red_team_declined CAI, first phase": 0.9,
    "red_team_declined CAI, both phases": 0.96, "kind_declined CAI, first phase": 0.02,
    "kind_declined CAI, both phases": 0.05,
}  # fmt: skip
_FRONTIER = {
    "kind_declined CAI, 0% people's labels": 0.9, "red_team_declined CAI, 100% people's labels": 0.0,
    "red_team_declined CAI, both phases": 0.9, "kind_declined CAI, both phases": 0.01,
}  # fmt: skip
_CLAMP = {
    "gold_safe_prompts CAI, thoughts, clamped": 2.9,
    "gold_safe_prompts CAI, thoughts": 2.5,
    "red_team_declined CAI, thoughts, clamped": 0.9,
}
_RUBRIC = {
    "red_team_declined CAI, 100% people's labels": 0.0,
    "red_team_declined helpfulness, rubric worth 1": 0.02,
    "red_team_declined helpfulness, rubric worth 4": 0.9,
}

_FEW = {
    "worth": 6.3,
    "distance soft 500": 0.07, "distance soft 2000": 0.03, "distance soft 8000": 0.01,
    "distance drawn 500": 0.11, "distance drawn 2000": 0.04, "distance drawn 8000": 0.02,
    "distance likelier 500": 0.1, "distance likelier 8000": 0.12,
}  # fmt: skip
_CHOICES = {
    **{f"value expected {nats}": 1.5 for nats in (1, 2)},
    **{f"value {count} {nats}": 1.4 for count in (250, 1000, 4000) for nats in (1, 2)},
}

GOOD = {
    "both orders, exactly": {
        "wrong place listed": 0.4,
        "wrong place both": 0.0,
        "distance place logits": 1e-12,
    },
    "soft labels": _FEW,
    "mean rating": _CHOICES,
    "judge size": _JUDGES,
    "judge's lessons": _JUDGES,
    "principles": {one.name: 0.8 for one in CONSTITUTION},
    "both orders": {
        "same_place 12,000 lessons": 0.25,
        "right 12,000 lessons": 0.8,
        "right_one_order 12,000 lessons": 0.76,
    },
    "thoughts": {
        "right_if_told thinking": 0.97,
        "thought_rightly thinking": 0.5,
        "right_one_order with thoughts": 0.76,
        "right_one_order without thoughts": 0.8,
        "calibration_one_order with thoughts": 0.2,
        "calibration_one_order without thoughts": 0.05,
    },
    "judge and annotator": _LABELS,
    "RLAIF beats SFT": _MATCHES,
    "RLAIF against RLHF": _MATCHES,
    "whose labels": {"gold a less taught judge": 2.2, "gold RLAIF, distilled": 2.7},
    "revisions": {"unkind": [0.6, 0.3, 0.2, 0.1, 0.05], "declined": [0.0, 0.5, 0.7, 0.8, 0.9]},
    "constitution": _CONSTITUTION,
    "frontier": _FRONTIER,
    "clamp": _CLAMP,
    "rubric": _RUBRIC,
    "self-rewarding": {"gold itself": [2.0, 2.2, 2.4, 2.5]},
    "self-synthesis": {"gold rated best": 2.5, "gold its dialogues": 2.0},
}
SPOILED = [
    ("both orders, exactly", {"wrong place listed": 0.05}),
    ("both orders, exactly", {"wrong place both": 0.01}),
    ("both orders, exactly", {"distance place logits": -0.01}),
    ("soft labels", {"worth": 2.0}),
    ("soft labels", {"distance soft 2000": 0.05}),
    ("soft labels", {"distance likelier 8000": 0.09}),
    ("mean rating", {"value 4000 2": 1.6}),
    ("mean rating", {"value 250 1": 1.6}),
    ("judge size", {"right width 16": 0.65}),
    ("judge size", {"gold_right width 16": 0.57}),
    ("judge size", {"gold_same_place width 16": 0.29}),
    ("judge's lessons", {"right 3,000 lessons": 0.76}),
    ("principles", {"coherence": 0.59}),
    ("principles", {one.name: 0.74 for one in CONSTITUTION}),
    ("both orders", {"same_place 12,000 lessons": 0.04}),
    ("both orders", {"right_one_order 12,000 lessons": 0.8}),
    ("thoughts", {"right_if_told thinking": 0.8}),
    ("thoughts", {"thought_rightly thinking": 0.8}),
    ("thoughts", {"right_one_order with thoughts": 0.84}),
    ("thoughts", {"calibration_one_order with thoughts": 0.09}),
    ("judge and annotator", {"gold_right 12,000 lessons": 0.69}),
    ("judge and annotator", {"gold_right 12,000 lessons": 0.87}),
    ("RLAIF beats SFT", {"win_rate RLAIF, distilled – SFT": 0.58}),
    ("RLAIF beats SFT", {"low RLAIF, direct – SFT": 0.49}),
    ("RLAIF beats SFT", {"lead_low RLAIF, distilled – SFT": -0.1}),
    ("RLAIF against RLHF", {"win_rate RLAIF, distilled – RLHF": 0.38}),
    ("RLAIF against RLHF", {"win_rate RLAIF, distilled – RLHF": 0.62}),
    ("whose labels", {"gold a less taught judge": 2.6}),
    ("revisions", {"unkind": [0.4, 0.05]}),
    ("revisions", {"unkind": [0.6, 0.2]}),
    ("revisions", {"declined": [0.0, 0.7]}),
    ("constitution", {"red_team_declined helpful only": 0.45}),
    ("constitution", {"red_team_declined CAI, both phases": 0.87}),
    ("constitution", {"kind_declined CAI, both phases": 0.08}),
    ("frontier", {"kind_declined CAI, 0% people's labels": 0.4}),
    ("frontier", {"red_team_declined CAI, 100% people's labels": 0.2}),
    ("frontier", {"red_team_declined CAI, both phases": 0.7}),
    ("frontier", {"kind_declined CAI, both phases": 0.1}),
    ("clamp", {"gold_safe_prompts CAI, thoughts": 2.85}),
    ("clamp", {"red_team_declined CAI, thoughts, clamped": 0.7}),
    ("rubric", {"red_team_declined CAI, 100% people's labels": 0.2}),
    ("rubric", {"red_team_declined helpfulness, rubric worth 1": 0.2}),
    ("rubric", {"red_team_declined helpfulness, rubric worth 4": 0.5}),
    ("self-rewarding", {"gold itself": [2.0, 2.05, 2.1, 2.15]}),
    ("self-rewarding", {"gold itself": [2.0, 2.6, 2.5, 2.4]}),
    ("self-synthesis", {"gold rated best": 2.1}),
]
