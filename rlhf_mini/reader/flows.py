"""The drawings of chapter 00, as data for `diagrams.flow_diagram`. Later methods add theirs here, in the same
layout.
"""

from rlhf_mini.reader.diagrams import Arrow, Box, Flow

# One row a stage: what goes in, which model learns, which loss teaches it.
WHOLE_STORY = Flow(
    boxes=(
        Box(key="corpus", title="stories", kind="data", role="data", row=0, column=0, detail="plain text"),
        Box(
            key="base",
            title="base model",
            kind="model",
            role="policy",
            row=0,
            column=1,
            detail="1 · pretrain",
        ),
        Box(
            key="lm_loss", title="next token", kind="loss", role="loss", row=0, column=2, detail="every token"
        ),
        Box(
            key="demos",
            title="demonstrations",
            kind="data",
            role="data",
            row=1,
            column=0,
            detail="prompt, answer",
        ),
        Box(
            key="sft", title="SFT model", kind="model", role="policy", row=1, column=1, detail="2 · fine-tune"
        ),
        Box(
            key="sft_loss",
            title="next token",
            kind="loss",
            role="loss",
            row=1,
            column=2,
            detail="answers only",
        ),
        Box(
            key="pairs",
            title="comparisons",
            kind="data",
            role="data",
            row=2,
            column=0,
            detail="better, worse",
        ),
        Box(
            key="reward",
            title="reward model",
            kind="model",
            role="reward",
            row=2,
            column=1,
            detail="3 · judge",
        ),
        Box(
            key="pair_loss",
            title="pairwise",
            kind="loss",
            role="loss",
            row=2,
            column=2,
            detail="−log σ(r⁺ − r⁻)",
        ),
        Box(
            key="prompts",
            title="prompts",
            kind="data",
            role="data",
            row=3,
            column=0,
            detail="no answers\ngiven",
        ),
        Box(
            key="policy",
            title="policy",
            kind="model",
            role="policy",
            row=3,
            column=1,
            detail="4 · optimise\nstarts as SFT",
        ),
        Box(
            key="ppo_loss",
            title="PPO",
            kind="loss",
            role="loss",
            row=3,
            column=2,
            detail="score − β KL\nagainst SFT",
        ),
    ),
    arrows=(
        Arrow(source="corpus", target="base", label="(B, T)"),
        Arrow(source="base", target="lm_loss", label="(B, T, V)"),
        Arrow(source="base", target="sft", label="weights", kind="copy"),
        Arrow(source="demos", target="sft", label="(B, T)"),
        Arrow(source="sft", target="sft_loss", label="(B, T, V)"),
        Arrow(source="sft", target="reward", label="weights", kind="copy"),
        Arrow(source="pairs", target="reward", label="2 (B, T)"),
        Arrow(source="reward", target="pair_loss", label="2 (B,)"),
        Arrow(source="prompts", target="policy", label="(B, T)"),
        Arrow(source="policy", target="ppo_loss", label="(B, T)"),
        Arrow(source="reward", target="ppo_loss", label="scores (B,)"),
    ),
)

# Reward modelling on rankings: K answers to each prompt go through the model together, as InstructGPT has it.
RANKED_REWARD_MODEL = Flow(
    boxes=(
        Box(key="prompts", title="prompts", kind="data", role="data", row=0, column=1),
        Box(
            key="sft", title="SFT model", kind="model", role="policy", row=1, column=0,
            detail="K answers\nto each", frozen=True,
        ),
        Box(key="answers", title="answers", kind="data", role="data", row=1, column=1),
        Box(key="judges", title="annotators", kind="data", role="data", row=1, column=2, detail="rank them"),
        Box(
            key="reward", title="reward model", kind="model", role="reward", row=2, column=0,
            detail="no unembedding\nscalar head",
        ),
        Box(
            key="loss", title="ranking", kind="loss", role="loss", row=3, column=1,
            detail="all pairs of\na prompt: mean",
        ),
        Box(
            key="unit", title="zero and unit", kind="loss", role="reference", row=4, column=0,
            detail="afterwards, on\nreferences",
        ),
    ),
    arrows=(
        Arrow(source="prompts", target="sft", label="(B, T)"),
        Arrow(source="sft", target="answers"),
        Arrow(source="answers", target="judges"),
        Arrow(source="sft", target="reward", label="weights", kind="copy"),
        Arrow(source="answers", target="reward", label="(B·K, T)", label_side="right"),
        Arrow(source="judges", target="loss", label="best first", label_side="left"),
        Arrow(source="reward", target="loss", label="scores (B, K)"),
        Arrow(source="loss", target="reward", kind="gradient"),
        Arrow(source="reward", target="unit", label="scores (N,)", label_side="right"),
    ),
)  # fmt: skip

# One iteration of PPO and its four models.
PPO_ITERATION = Flow(
    boxes=(
        Box(key="prompts", title="prompts", kind="data", role="data", row=0, column=1),
        Box(key="policy", title="policy π", kind="model", role="policy", row=1, column=0, detail="writes"),
        Box(
            key="answers", title="answers", kind="data", role="data", row=1, column=1, detail="and log π_old"
        ),
        Box(
            key="reference",
            title="reference",
            kind="model",
            role="reference",
            row=2,
            column=0,
            detail="the SFT model",
            frozen=True,
        ),
        Box(
            key="reward",
            title="reward model",
            kind="model",
            role="reward",
            row=2,
            column=1,
            detail="reads it all",
            frozen=True,
        ),
        Box(
            key="value",
            title="value model",
            kind="model",
            role="value",
            row=2,
            column=2,
            detail="every prefix",
        ),
        Box(
            key="rewards",
            title="rewards",
            kind="data",
            role="reward",
            row=3,
            column=0.5,
            detail="−β KL, each\n+ score, last",
        ),
        Box(
            key="gae",
            title="GAE",
            kind="loss",
            role="value",
            row=4,
            column=1,
            detail="advantages\nand returns",
        ),
        Box(
            key="policy_loss",
            title="policy loss",
            kind="loss",
            role="loss",
            row=5,
            column=0,
            detail="clipped ratio",
        ),
        Box(
            key="value_loss",
            title="value loss",
            kind="loss",
            role="loss",
            row=5,
            column=2,
            detail="clipped square",
        ),
    ),
    arrows=(
        Arrow(source="prompts", target="policy", label="(B, T)"),
        Arrow(source="policy", target="answers", label="(B, T)"),
        Arrow(source="answers", target="reference"),
        Arrow(source="answers", target="reward", label="(B, T)"),
        Arrow(source="answers", target="value"),
        Arrow(source="reference", target="rewards", label="log π_ref (B, T)", label_side="left"),
        Arrow(source="reward", target="rewards", label="score (B,)", label_side="right"),
        Arrow(source="value", target="gae", label="V (B, T)", label_side="right"),
        Arrow(source="rewards", target="gae", label="r (B, T)", label_side="left"),
        Arrow(source="gae", target="policy_loss", label="Â (B, T)"),
        Arrow(source="gae", target="value_loss", label="R (B, T)"),
        Arrow(source="policy_loss", target="policy", kind="gradient"),
        Arrow(source="value_loss", target="value", kind="gradient"),
    ),
)
