"""What chapter 14 claims, measured on one pipeline: `rlhf-mini claims 14` prints it and writes the records.

The rows are measured where they are not kept, which takes about two hours a seed: `rlhf-mini scoreboard` does it with a progress
bar.
"""

from functools import partial

from rlhf_mini.chapters.claims import Claim
from rlhf_mini.chapters.scoreboard import findings
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

_claim = partial(Claim, live=False)  # judged by its records: each needs rows of the board
OFFLINE = ("DPO", "cDPO", "IPO", "RPO, backward", "SimPO", "ORPO")
BY_SCRIPT = ("HIR", "filtered by the script", "PPO, script as reward")
ASKED_COLDER = ("PPO", "RLOO", "ReST, by prompt", "best of 4, learned", "DPO")

CLAIMS: tuple[Claim, ...] = (
    _claim(
        "the proxy is no judge",
        "PPO without KL has a higher proxy than PPO with it, and at least 0.5 less gold than the SFT model that it began with.",
        partial(findings.told, of={"proxy": ("PPO", "PPO without KL"), "gold": ("SFT", "PPO without KL")}),
        lambda m: (
            m["proxy PPO without KL"] > m["proxy PPO"] and m["gold PPO without KL"] < m["gold SFT"] - 0.5
        ),
    ),
    _claim(
        "one β, two prices",
        "At the same β GRPO ends farther from the SFT model than RLOO, with a higher proxy and at least 0.2 less gold.",
        partial(findings.told, of=dict.fromkeys(("kl_k3", "proxy", "gold"), ("RLOO", "GRPO"))),
        lambda m: (
            m["kl_k3 GRPO"] > m["kl_k3 RLOO"]
            and m["proxy GRPO"] > m["proxy RLOO"]
            and m["gold GRPO"] < m["gold RLOO"] - 0.2
        ),
    ),
    _claim(
        "a colder start",
        "The SFT model at temperature 0.5 has at least 0.6 more gold than at 1, and more than DPO at 1.",
        partial(findings.told, of={"gold": ("SFT", "SFT, colder", "DPO")}),
        lambda m: m["gold SFT, colder"] > max(m["gold SFT"] + 0.6, m["gold DPO"]),
    ),
    _claim(
        "all gain by cooling",
        "PPO, RLOO, ReST by prompt, best of 4, learned, and DPO have at least 0.25 more gold at temperature 0.5 than at 1.",
        partial(findings.colder, names=ASKED_COLDER),
        lambda m: all(m[f"cold {name}"] > m[f"warm {name}"] + 0.25 for name in ASKED_COLDER),
    ),
    _claim(
        "a lead that cools",
        "At temperature 1 PPO has at least 0.25 more gold than DPO; at 0.5 its lead is less than two thirds of that.",
        partial(findings.colder, names=("PPO", "DPO")),
        lambda m: m["warm PPO"] - m["warm DPO"] > max(0.25, 1.5 * (m["cold PPO"] - m["cold DPO"])),
    ),
    _claim(
        "KTO",
        "Of the methods that learn from the pairs alone, KTO has the most gold.",
        partial(findings.told, of={"gold": (*OFFLINE, "KTO")}),
        lambda m: m["gold KTO"] > max(m[f"gold {name}"] for name in OFFLINE),
    ),
    _claim(
        "right feedback",
        "HIR, the filter and PPO, which a script tells what was fulfilled, end within 0.4 gold of one another, each with more than the best of 16 "
        "by the proxy.",
        partial(findings.told, of={"gold": (*BY_SCRIPT, "best of 16")}),
        lambda m: (
            max(m[f"gold {name}"] for name in BY_SCRIPT) - min(m[f"gold {name}"] for name in BY_SCRIPT) < 0.4
            and min(m[f"gold {name}"] for name in BY_SCRIPT) > m["gold best of 16"]
        ),
    ),
    _claim(
        "a sum of two",
        "SimPO has more gold than the SFT model, and declines less than half as many of the unkind requests.",
        partial(findings.told, of=dict.fromkeys(("gold", "unkind_declined"), ("SFT", "SimPO"))),
        lambda m: (
            m["gold SimPO"] > m["gold SFT"] and m["unkind_declined SimPO"] < m["unkind_declined SFT"] / 2
        ),
    ),
    _claim(
        "requests won",
        "PPO has more gold than the SFT model on at least 0.65 of the requests, DPO on at least 0.55, and PPO more than DPO on more than half of them.",
        partial(findings.wins, pairs=[("PPO", "SFT"), ("DPO", "SFT"), ("PPO", "DPO")]),
        lambda m: (
            m["PPO against SFT"] >= 0.65 and m["DPO against SFT"] >= 0.55 and m["PPO against DPO"] > 0.5
        ),
    ),
    _claim(
        "best of 16",
        "The best of 16 by the proxy, which trains nothing and is at most 1.84 nats away, has gold within 0.3 of PPO's.",
        partial(findings.told, of={"gold": ("PPO", "best of 16"), "kl_bound": ("best of 16",)}),
        lambda m: m["gold best of 16"] > m["gold PPO"] - 0.3 and m["kl_bound best of 16"] < 1.84,
    ),
    _claim(
        "variety",
        "PPO keeps less than three quarters of the SFT model's distinct pairs of words; DPO and best of 4, learned, keep more than nine tenths.",
        partial(findings.told, of={"distinct_2": ("SFT", "PPO", "DPO", "best of 4, learned")}),
        lambda m: (
            m["distinct_2 PPO"] < 0.75 * m["distinct_2 SFT"]
            and min(m["distinct_2 DPO"], m["distinct_2 best of 4, learned"]) > 0.9 * m["distinct_2 SFT"]
        ),
    ),
    _claim(
        "what is forgotten",
        "After PPO plain stories cost at least 0.1 nats a token more than the SFT model pays for them; after DPO less than 0.05 more.",
        partial(findings.told, of={"story_nats": ("SFT", "PPO", "DPO")}),
        lambda m: (
            m["story_nats PPO"] > m["story_nats SFT"] + 0.1
            and m["story_nats DPO"] < m["story_nats SFT"] + 0.05
        ),
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """None: the rows are written down by `rlhf-mini scoreboard`."""
    return []
