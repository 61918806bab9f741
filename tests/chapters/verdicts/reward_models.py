"""Chapter 04: numbers that show each claim, and changes of one or two of them that do not."""

_PANEL = {"Ada": (0.5, 0.05, 0.0), "Bo": (0.7, 0.15, 0.2), "Cleo": (0.7, 0.1, 0.0), "Dev": (1.0, 0.25, 0.3)}
_LENGTH = {
    "price_labels": 0.13, "price_stage": 0.3, "price_any": 0.6, "price_matched": 1.2,
    "price_corrected": -0.03,
    "gold_accuracy_stage": 0.77, "gold_accuracy_corrected": 0.80,
}  # fmt: skip

GOOD = {
    "accuracy": {
        "accuracy": 0.71, "ceiling_accuracy": 0.82, "gold_accuracy": 0.77, "ceiling_gold_accuracy": 0.97,
    },
    "ratings": {
        "accuracy significantly better": 0.87, "accuracy better": 0.67, "accuracy slightly better": 0.60,
        "accuracy negligibly better": 0.45, "pairs slightly better": 290, "pairs negligibly better": 80,
    },
    "labels": {"accuracy_250": 0.60, "accuracy_1000": 0.65, "accuracy_all": 0.71},
    "start": {"accuracy_sft": 0.65, "accuracy_scratch": 0.67},
    "passes": {
        "calibration_error_once": 0.03, "calibration_error_often": 0.22,
        "loss_once": 0.67, "loss_often": 0.98,
        "accuracy_once": 0.60, "accuracy_often": 0.63,
    },
    "judges": {
        f"{name}_{judge}": value
        for judge, found in _PANEL.items()
        for name, value in zip(("temperature", "length", "position"), found, strict=True)
    },
    "shuffled pairs": {"gap_shuffled": 0.23, "gap_together": 0.07},
    "ways to learn": {"gold_accuracy all pairs": 0.72, "gold_accuracy one pair": 0.66},
    "crowd": {
        **{f"scale {name}": 0.9 for name in _PANEL},
        **{f"scale {name}": 0.1 for name in ("Eve", "Finn", "Gus", "Hal")},
        "gold_accuracy_all": 0.70, "gold_accuracy_weighted": 0.74, "gold_accuracy_filtered": 0.73,
    },
    "length bias": _LENGTH,
    "few labels, more length": _LENGTH,
    "ensemble": {
        "gold_accuracy_mean": 0.72, "gold_accuracy_member": 0.70, "loss_mean": 0.61, "loss_member": 0.62,
    },
    "no alarm": {
        "gold SFT model": 1.9, "gold base model": 0.5, "gold words shuffled": 0.0, "gold other prompt": 0.5,
        "disagreement SFT model": 0.46, "disagreement base model": 0.46,
        "disagreement words shuffled": 0.45, "disagreement other prompt": 0.42,
    },
    "fooled": {
        "score_before": 1.0, "score_after": 2.4, "gold_before": 2.8, "gold_after": -0.2, "worse": 1.0,
        "others_before": 0.3, "others_after": 0.8,
    },
    "bug hunt": {
        "moved_wrong": 0.5, "moved_right": 0.0, "accuracy_of_1_wrong": 0.56, "accuracy_of_1_right": 0.64,
    },
}  # fmt: skip

SPOILED = [
    ("accuracy", {"accuracy": 0.64}),
    ("accuracy", {"accuracy": 0.83, "gold_accuracy": 0.9}),
    ("accuracy", {"gold_accuracy": 0.70}),
    ("accuracy", {"gold_accuracy": 0.98}),
    ("ratings", {"accuracy better": 0.88}),
    ("ratings", {"accuracy slightly better": 0.80}),
    ("ratings", {"accuracy significantly better": 0.70}),
    ("labels", {"accuracy_1000": 0.59}),
    ("labels", {"accuracy_1000": 0.72}),
    ("labels", {"accuracy_all": 0.64, "accuracy_1000": 0.62}),
    ("start", {"accuracy_scratch": 0.58}),
    ("start", {"accuracy_scratch": 0.72}),
    ("passes", {"calibration_error_often": 0.05}),
    ("passes", {"loss_often": 0.66}),
    ("passes", {"accuracy_often": 0.54}),
    ("judges", {"temperature_Bo": 0.9}),
    ("judges", {"temperature_Bo": 0.5}),
    ("judges", {"length_Dev": 0.16}),
    ("judges", {"position_Ada": -0.21}),
    ("shuffled pairs", {"gap_together": 0.22}),
    ("shuffled pairs", {"gap_shuffled": 0.06}),
    ("ways to learn", {"gold_accuracy one pair": 0.71}),
    ("crowd", {"scale Ada": 0.0, "scale Bo": 0.0, "scale Cleo": 0.4}),
    ("crowd", {"gold_accuracy_weighted": 0.70}),
    ("crowd", {"gold_accuracy_filtered": 0.69}),
    ("length bias", {"price_corrected": -0.31}),
    ("length bias", {"price_corrected": 0.31}),
    ("length bias", {"gold_accuracy_corrected": 0.75}),
    ("few labels, more length", {"price_any": 0.29}),
    ("few labels, more length", {"price_any": 0.12, "price_stage": 0.11}),
    ("few labels, more length", {"price_matched": 0.12}),
    ("few labels, more length", {"price_labels": -0.01}),
    ("ensemble", {"gold_accuracy_mean": 0.69}),
    ("ensemble", {"loss_mean": 0.63}),
    ("no alarm", {"gold base model": 1.5}),
    ("no alarm", {"gold other prompt": 1.5}),
    ("no alarm", {"disagreement words shuffled": 0.70}),
    ("fooled", {"score_after": 1.9}),
    ("fooled", {"gold_after": 1.9}),
    ("fooled", {"worse": 0.7}),
    ("fooled", {"others_after": 0.2}),
    ("bug hunt", {"moved_wrong": 0.05}),
    ("bug hunt", {"moved_right": 0.01}),
    ("bug hunt", {"accuracy_of_1_wrong": 0.65}),
]
