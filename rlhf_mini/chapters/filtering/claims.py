"""What chapter 09 claims, measured on one pipeline: `rlhf-mini claims 09` prints it and writes the records."""

from typing import Any

from rlhf_mini.chapters.claims import Claim, records_of
from rlhf_mini.chapters.filtering import arithmetic, choosing, measures, runs
from rlhf_mini.chapters.filtering.family import ALL, BY_PROMPT, LOOKED, OURS, run
from rlhf_mini.evaluation.records import Record
from rlhf_mini.pipeline import Pipeline

CHAPTER = "09"
# What a row of the chapter's tables holds of a run, and what is kept of its rounds.
TOLD = (
    "gold", "gold_safe_prompts", "gold_unkind_prompts", "unkind_declined", "kind_declined", "proxy", "kl_k1", "kl_k3",
    "length", "entropy", "unique", "overlap", "distinct_2", "followed",
)  # fmt: skip
OF_ROUNDS = (
    "gold",
    "proxy",
    "kl_k1",
    "entropy",
    "overlap",
    "unkind_declined",
    "kept_reward",
    "reward",
    "loss",
)
OF_SUMS = (*(f"pass_{k}" for k in arithmetic.PASSES), "differ", "train")

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "a filter",
        "On a toy language a filtered policy is the old one given that the reward is high enough, at a price of −log of the kept "
        "share; only a Grow's last threshold matters; a second Grow at it changes nothing; and two rounds of the best of two are the best of four: all to 12 digits.",
        measures.identities,
        lambda m: (
            max(m[name] for name in ("conditional", "price", "last_threshold", "grow_again", "rounds_of_two"))
            < 1e-12
        ),
    ),
    Claim(
        "advantage weights",
        "Without a cap, advantage weighting leads to the optimum under a KL penalty of its β, to 12 digits, and a second round to that of "
        "half the β; a cap of 2 leads more than 0.05 nats elsewhere.",
        measures.identities,
        lambda m: max(m["advantage"], m["advantage_twice"]) < 1e-12 and m["capped"] > 0.05,
    ),
    Claim(
        "equal KL",
        "At equal KL neither best-of-n nor a filter has more reward than the optimum; at its worst the filter misses at least 0.1 more of "
        "it than best-of-n does at its own worst.",
        measures.equal_kl,
        lambda m: (
            m["best_of_n_least"] > -1e-9
            and m["filter_least"] > -1e-9
            and m["filter_most"] > m["best_of_n_most"] + 0.1
        ),
    ),
    Claim(
        "drift",
        "A table that is fitted to k samples of itself loses variety without any reward: each round leaves 1 − 1/k of the chance that two "
        "draws differ, to 0.02. Keeping the best instead loses more than twice as much of it.",
        measures.drift,
        lambda m: m["off"] < 0.02 and m["start"] - m["best"] > 2 * (m["start"] - m["random"]) > 0,
    ),
    Claim(
        "landing",
        "A small Llama that learns from filtered texts ends within 0.001 nats of the exact filter; means over tokens would end five "
        "times as far at least.",
        measures.landed,
        lambda m: m["end"] < 0.001 and m["per_token"] > 0.005 and m["start"] > 0.1,
    ),
    Claim(
        "one scale",
        "On one scale for all prompts ReST either gains at least 0.5 gold over the SFT model or learns to decline more than half of the "
        "kind requests. The latter happens where its lowest threshold keeps fewer than one in a hundred of the answers to kind ones.",
        measures.by_prompt,
        lambda m: (
            m[f"gold {OURS}"] > m["gold SFT"] + 0.5
            if m["kept kind"] > 0.01
            else m[f"kind_declined {OURS}"] > 0.5
        ),
        live=False,
    ),
    Claim(
        "what is kept matters",
        "From as many samples without a filter the policy gains less than 0.2 gold, and ends at least 0.5 below ReST on each prompt's own "
        "scale.",
        measures.by_prompt,
        lambda m: (
            m["gold all answers"] < m["gold SFT"] + 0.2
            and m["gold all answers"] < m[f"gold {BY_PROMPT}"] - 0.5
        ),
        live=False,
    ),
    Claim(
        "drawn once",
        "Of the gold that ReST gains, more than three quarters are gained by filtering once from as many samples.",
        measures.grows,
        lambda m: m["gold filtered once"] - m["gold SFT"] > 0.75 * (m[f"gold {OURS}"] - m["gold SFT"]) > 0,
        live=False,
    ),
    Claim(
        "prompts compete",
        "With its highest threshold alone, on one scale for all prompts, ReST ends at least 0.2 gold below what rising "
        "thresholds lead to.",
        measures.thresholds,
        lambda m: m["gold the highest threshold alone"] < m[f"gold {OURS}"] - 0.2,
        live=False,
    ),
    Claim(
        "by prompt",
        "Filtered on each prompt's own scale ReST has at least 0.5 more gold than the SFT model, and declines no more of the kind requests.",
        measures.by_prompt,
        lambda m: (
            m[f"gold {BY_PROMPT}"] > m["gold SFT"] + 0.5
            and m[f"kind_declined {BY_PROMPT}"] <= m["kind_declined SFT"]
        ),
        live=False,
    ),
    Claim(
        "over-optimisation",
        "RAFT at more than twice its best learning rate ends with at least 0.1 less gold, which the reward model scores at least "
        "0.1 higher.",
        measures.too_fast,
        lambda m: (
            m["gold RAFT, too fast"] < m["gold RAFT"] - 0.1
            and m["proxy RAFT, too fast"] > m["proxy RAFT"] + 0.1
        ),
        live=False,
    ),
    Claim(
        "PPO for the same samples",
        "With as many samples PPO ends with at least 0.1 more gold than ReST on either scale, and at least a nat farther from the SFT model.",
        measures.by_prompt,
        lambda m: all(
            m["gold PPO"] > m[f"gold {name}"] + 0.1 and m["kl_k1 PPO"] > m[f"kl_k1 {name}"] + 1
            for name in (OURS, BY_PROMPT)
        ),
        live=False,
    ),
    Claim(
        "best of eight",
        "The best of eight of the SFT model's answers has as much gold as ReST, or at most 0.05 less, at less than a third of its KL (by an upper bound).",
        measures.beside_best_of_n,
        lambda m: (
            m["gold best of 8"] > m[f"gold {OURS}"] - 0.05 and m["kl best of 8"] < m[f"kl_k1 {OURS}"] / 3
        ),
        live=False,
    ),
    Claim(
        "RRHF's two weights",
        "With the paper's weight RRHF declines at least as many unkind requests as the SFT model; with the program's at least 40 "
        "points fewer.",
        measures.forgotten,
        lambda m: (
            m["unkind_declined RRHF, weight 1"] >= m["unkind_declined SFT"]
            and m["unkind_declined RRHF, weight 100"] < m["unkind_declined SFT"] - 0.4
        ),
        live=False,
    ),
    Claim(
        "variety is lost",
        "Two of ReST's answers to one request overlap at least half as much again as two of the SFT model's. PPO's overlap more, and have "
        "at least 5 nats less entropy than ReST's.",
        measures.varied,
        lambda m: (
            m[f"overlap {OURS}"] > 1.5 * m["overlap SFT"]
            and m["overlap PPO"] > m[f"overlap {OURS}"]
            and m["entropy PPO"] < m[f"entropy {OURS}"] - 5
        ),
        live=False,
    ),
    Claim(
        "sums",
        "On sums five rounds of expert iteration raise pass@1 on held-out problems by at least 0.3, from the start anew and from the last "
        "policy; as many rounds without the checker lower it.",
        measures.sums,
        lambda m: (
            min(m["pass_1 from base each round"], m["pass_1 from the last policy"]) > m["pass_1 start"] + 0.3
            and m["pass_1 without the checker"] < m["pass_1 start"]
        ),
        live=False,
    ),
    Claim(
        "rounds of sums",
        "To go on from the last policy ends with a higher pass@1 than to begin anew in each round, by at least 0.03, and this with a "
        "higher one than one round with as many samples.",
        measures.sums,
        lambda m: (
            m["pass_1 from the last policy"] > m["pass_1 from base each round"] + 0.03
            and m["pass_1 from base each round"] > m["pass_1 one round, as many samples"] + 0.03
        ),
        live=False,
    ),
    Claim(
        "ways are lost",
        "Two right solutions to a sum are written differently with a chance below 0.5 after five rounds, from base or from the last policy; "
        "without the checker, from as many samples, with one above 0.6.",
        measures.sums,
        lambda m: (
            max(m["differ from base each round"], m["differ from the last policy"]) < 0.5
            and m["differ without the checker"] > 0.6
        ),
        live=False,
    ),
)


def extra_records(pipeline: Pipeline) -> list[Record]:
    """The chapter's tables: runs, the rounds of those that looked, best-of-n, and the methods on sums."""
    tables: dict[tuple[str, str], dict[str, Any]] = {}
    for one in ALL:
        told = one.measured(pipeline)
        tables["runs", one.name] = {"group": one.group or OURS, **{name: told[name] for name in TOLD}}
    start = pipeline.measured(
        runs.stage_outcome, stage="sft", times=1
    )  # on the requests of the rounds' looks
    tables["rounds", "SFT"] = {metric: [start[metric]] for metric in OF_ROUNDS if metric in start}
    for name in LOOKED:
        seen = run(name).seen(pipeline)
        tables["rounds", name] = {metric: [entry[metric] for entry in seen] for metric in OF_ROUNDS}
    tables["best of n", "best of n"] = pipeline.measured(choosing.best_of_n)
    for name, history in pipeline.measured(arithmetic.runs).items():
        tables["sums", name] = {metric: [entry[metric] for entry in history] for metric in OF_SUMS}
    return records_of(CHAPTER, pipeline, tables)
