"""Chapter 15: numbers that show each claim (`GOOD`), and changes of them that must spoil it (`SPOILED`)."""

from rlhf_mini.chapters.real.beside_records import SETTINGS
from rlhf_mini.chapters.real.beside_trl import METHODS, TRAINERS
from rlhf_mini.chapters.real.measures import KINDS

_ROWS = {
    "rows token mean": 3e-7,
    "rows batch baseline": 3e-7,
    "micro token mean": 0.3,
    "micro batch baseline": 0.45,
    "kept": 0.18,
}
_PAIR = {
    f"{way} {method}": [0.7, 0.6]
    for way in ("one", "two")
    for method in ("sft", "reward", "dpo", "kto")
} | {f"ends {method}": 1e-5 for method in ("sft", "reward", "dpo", "kto")}  # fmt: skip
_WAYS = ("float32", "bfloat16", "LoRA")
_MODES = {
    **{f"ours {mode} {kind}": 0.09 for mode in ("train", "eval") for kind in KINDS},
    **{f"theirs train {kind}": 0.09 for kind in KINDS},
    **{f"theirs eval {kind}": 1.0 for kind in KINDS},
}
_TRL = {
    **{f"loss {method}": 2e-6 for method in TRAINERS},
    **{f"norm {method}": 1e-5 for method in TRAINERS},
    **{f"ends {method}": 1e-4 for method in TRAINERS},
    **{f"falls {method}": 0.1 for method in METHODS},
}
_APART = {
    **{f"ends, {method} alike": 5e-5 for method in TRAINERS},
    **{f"ends {name}": 1e-2 for name in SETTINGS},
    **{f"loss {name}": 1e-2 for name in SETTINGS},
    "loss AdamW's β₂ is 0.999": 4e-4,
    "ends AdamW's β₂ is 0.999": 4e-3,
}
GOOD = {
    "rows at once": _ROWS,
    "micro-batches": _ROWS,
    "a mean of means": {"sorted": 0.2, "shuffled": 0.05},
    "two processes": _PAIR,
    "counted": {
        **{f"apart {kind} {way}": 0.0 for kind in KINDS for way in _WAYS},
        **{f"held {kind} {way}": 1e6 for kind in KINDS for way in _WAYS},
        "operations": 1.0,
    },
    "checkpoints": _MODES,
    "LoRA": {"kept": 0.31, "activations": 0.91},
    "rounded away": {"float32": 1.0, "bfloat16": 0.003},
    "beside TRL": _TRL,
    "a wrong setting": _APART,
    "hidden in the loss": _APART,
}
SPOILED = [
    ("rows at once", {"rows token mean": 1e-3}),
    ("rows at once", {"rows batch baseline": 1e-3}),
    ("rows at once", {"kept": 0.3}),
    ("micro-batches", {"micro token mean": 0.01}),
    ("micro-batches", {"micro batch baseline": 0.1}),
    ("a mean of means", {"sorted": 0.05}),
    ("a mean of means", {"shuffled": 0.15}),
    ("two processes", {"two sft": [0.7, 0.6001]}),
    ("two processes", {"one kto": [0.7, 0.7], "two kto": [0.7, 0.7]}),
    ("two processes", {"ends dpo": 0.1}),
    *(("counted", {f"apart {kind} {way}": sign}) for kind in KINDS for way in _WAYS for sign in (4.0, -4.0)),
    ("counted", {"held Llama LoRA": 0.0}),
    ("counted", {"operations": 1.07}),
    *(("checkpoints", {f"ours {mode} {kind}": 0.5}) for mode in ("train", "eval") for kind in KINDS),
    *(("checkpoints", {f"theirs train {kind}": 1.0}) for kind in KINDS),
    *(("checkpoints", {f"theirs eval {kind}": 0.09}) for kind in KINDS),
    ("LoRA", {"kept": 0.5}),
    ("LoRA", {"activations": 0.5}),
    ("rounded away", {"float32": 0.5}),
    ("rounded away", {"bfloat16": 0.5}),
    *(("beside TRL", {f"loss {method}": 1e-3}) for method in TRAINERS),
    *(("beside TRL", {f"norm {method}": 1e-2}) for method in TRAINERS),
    *(("beside TRL", {f"ends {method}": 1e-2}) for method in TRAINERS),
    ("beside TRL", {"falls kto": 0.0}),
    *(("a wrong setting", {f"ends {name}": 1e-4}) for name in SETTINGS),
    ("hidden in the loss", {"loss AdamW's β₂ is 0.999": 1e-2}),
    ("hidden in the loss", {"ends AdamW's β₂ is 0.999": 1e-3}),
]
