"""The same three tokens through every method: drawings whose numbers the library computes.

A prompt and an answer of three tokens, the last of them the end. The policy gave the tokens the probabilities
0.4, 0.6 and 0.5 and the frozen reference 0.5, 0.6 and 0.25; the reward model scores the answer 1.5, and two
others 0.7 and −0.5; the value model expects 0.5, 0.8 and 1.0. What differs between two methods is what
differs between their drawings.
"""

from dataclasses import replace

import torch

from rlhf_mini.estimators import discounted_returns, gae, piecewise_reward, token_rewards
from rlhf_mini.losses import (
    all_pairs_loss,
    dpo_loss,
    next_token_loss,
    pairwise_loss,
    plackett_luce_loss,
    ppo_policy_loss,
)
from rlhf_mini.reader.diagrams import Arrow, Box, Flow
from rlhf_mini.shapes import Tensor

GAP = "\u2002"  # a space that svg does not swallow
TOKENS = ("a", "fox", "●")
RESPONSE = torch.ones(1, 3, dtype=torch.bool)
PROBABILITIES = torch.tensor([[0.4, 0.6, 0.5]])
REFERENCE = torch.tensor([[0.5, 0.6, 0.25]])
AFTER_A_STEP = torch.tensor([[0.6, 0.6, 0.45]])  # the policy's probabilities once it has moved
REJECTED, REJECTED_REFERENCE = torch.tensor([[0.4, 0.1, 0.5]]), torch.tensor([[0.5, 0.2, 0.25]])  # a cat ●
VALUES = torch.tensor([[0.5, 0.8, 1.0]])
SCORE, LOWER_SCORE, LOWEST_SCORE = torch.tensor([1.5]), torch.tensor([0.7]), torch.tensor([-0.5])
KL_WEIGHT, CLIP_RANGE, GAE_LAMBDA = 0.5, 0.2, 0.5
HELPFULNESS, SAFETY = torch.tensor([0.75, 0.60, 0.90]), torch.tensor([0.60, 0.50, 0.10])  # of three answers
SAFETY_THRESHOLD = 0.15


def _row(values: Tensor, *, decimals: int = 2) -> str:
    """Three numbers in a line, apart, with true minus signs and no minus at zero."""
    texts = [f"{round(value, decimals) + 0.0:.{decimals}f}" for value in values.flatten().tolist()]
    return GAP.join(texts).replace("-", "−")


def _mean(values: Tensor) -> str:
    return f"mean {values.mean():.2f}".replace("-", "−")


_ANSWER = Box(
    key="answer", title="prompt and answer", kind="data", role="data", row=0, column=0,
    detail=f"x, {GAP.join(TOKENS)}",
)  # fmt: skip
_POLICY = Box(
    key="policy", title="policy", kind="model", role="policy", row=1, column=0,
    detail=f"π{GAP}{_row(PROBABILITIES)}",
)  # fmt: skip
_LOSS = Box(key="loss", title="loss", kind="loss", role="loss", row=2, column=0)


def sft_example() -> Flow:
    """Supervised fine-tuning (and pretraining, where every token counts): `−log π` of each answer token."""
    losses = next_token_loss(PROBABILITIES.log())
    return Flow(
        boxes=(
            replace(_ANSWER, column=0.5, detail=f"x is given; {GAP.join(TOKENS)} count"),
            replace(_POLICY, column=0.5, title="language model"),
            replace(
                _LOSS, column=0.5, title="next token", detail=f"−log π{GAP}{_row(losses)}\n{_mean(losses)}"
            ),
        ),
        arrows=(
            Arrow(source="answer", target="policy", label="(1, T)"),
            Arrow(source="policy", target="loss", label="(1, T, V)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )


def reward_model_example() -> Flow:
    """Reward modelling: two answers, two scores, one loss on their difference."""
    loss = pairwise_loss(SCORE, LOWER_SCORE)
    model = Box(
        key="reward", title="reward model", kind="model", role="reward", row=1, column=0.5,
        detail=f"r⁺ = {SCORE.item():.1f}, r⁻ = {LOWER_SCORE.item():.1f}",
    )  # fmt: skip
    return Flow(
        boxes=(
            replace(_ANSWER, key="chosen", title="chosen answer"),
            replace(_ANSWER, key="rejected", title="rejected answer", column=1, detail=f"x, a{GAP}cat{GAP}●"),
            model,
            replace(_LOSS, title="pairwise", column=0.5, detail=f"−log σ(r⁺ − r⁻) = {loss.item():.2f}"),
        ),
        arrows=(
            Arrow(source="chosen", target="reward", label="(1, T)"),
            Arrow(source="rejected", target="reward", label="(1, T)"),
            Arrow(source="reward", target="loss", label="2 (1,)"),
            Arrow(source="loss", target="reward", kind="gradient"),
        ),
        columns=2,
    )


def ranking_numbers() -> dict[str, Tensor]:
    """A ranking of three: its scores, its pairs' losses (3,), their mean, and the loss of its two choices."""
    ranked = torch.stack([SCORE, LOWER_SCORE, LOWEST_SCORE], dim=1)
    better, worse = torch.triu_indices(3, 3, offset=1)
    return {
        "scores": ranked,
        "pairs": pairwise_loss(ranked[0, better], ranked[0, worse]),
        "all_pairs": all_pairs_loss(ranked),
        "plackett_luce": plackett_luce_loss(ranked),
    }


def ranking_example() -> Flow:
    """Reward modelling on a ranking of three: one pass each, three pairs, one mean; or two choices."""
    numbers = ranking_numbers()
    answers = ((f"x, a{GAP}fox{GAP}●", 0), (f"x, a{GAP}cat{GAP}●", 1), (f"x, a{GAP}a{GAP}●", 2))
    names = ("best", "second", "last")
    pairs, choices = float(numbers["all_pairs"]), float(numbers["plackett_luce"])
    return Flow(
        boxes=(
            *(
                replace(_ANSWER, key=name, title=name, column=column, detail=detail)
                for name, (detail, column) in zip(names, answers, strict=True)
            ),
            Box(
                key="reward", title="reward model", kind="model", role="reward", row=1, column=1,
                detail=f"r{GAP}{_row(numbers['scores'], decimals=1)}",
            ),
            replace(
                _LOSS, title="all pairs", column=0.5,
                detail=f"{_row(numbers['pairs'])}\nmean {pairs:.2f}",
            ),
            replace(
                _LOSS, key="choices", title="Plackett–Luce", column=1.5,
                detail=f"best of 3,\nthen of 2: {choices:.2f}",
            ),
        ),
        arrows=(
            *(Arrow(source=name, target="reward") for name in names),
            Arrow(source="reward", target="loss", label="(1, 3)", label_side="left"),
            Arrow(source="reward", target="choices", label="(1, 3)", label_side="right"),
            Arrow(source="loss", target="reward", kind="gradient"),
        ),
        columns=3,
    )  # fmt: skip


def reinforce_example() -> Flow:
    """REINFORCE: the return that follows each token weighs its log-probability; nobody predicts anything."""
    rewards = torch.tensor([[0.0, 0.0, SCORE.item()]])
    returns = discounted_returns(rewards, RESPONSE, discount=1.0)
    losses = -returns * PROBABILITIES.log()
    return Flow(
        boxes=(
            replace(_POLICY, row=0, detail=f"writes{GAP}{GAP.join(TOKENS)}\nπ{GAP}{_row(PROBABILITIES)}"),
            Box(
                key="rewards", title="rewards", kind="data", role="reward", row=0, column=1,
                detail=f"{_row(rewards, decimals=1)}\nscore at the end",
            ),
            Box(
                key="returns", title="returns", kind="loss", role="value", row=1, column=1,
                detail=f"G{GAP}{_row(returns, decimals=1)}",
            ),
            replace(_LOSS, row=2, title="policy loss", detail=f"−G log π{GAP}{_row(losses)}"),
        ),
        arrows=(
            Arrow(source="policy", target="rewards"),
            Arrow(source="rewards", target="returns", label="r (1, T)"),
            Arrow(source="returns", target="loss", label="G (1, T)"),
            Arrow(source="policy", target="loss", label="log π (1, T)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip


def ppo_numbers() -> dict[str, Tensor]:
    """What PPO computes on the three tokens: rewards, advantages, returns, ratios, losses, each (1, 3)."""
    rewards = token_rewards(SCORE, PROBABILITIES.log(), REFERENCE.log(), RESPONSE, kl_weight=KL_WEIGHT)
    advantages, returns = gae(rewards, VALUES, RESPONSE, discount=1.0, gae_lambda=GAE_LAMBDA)
    ratio = AFTER_A_STEP / PROBABILITIES
    losses = ppo_policy_loss(AFTER_A_STEP.log(), PROBABILITIES.log(), advantages, clip_range=CLIP_RANGE)
    return {
        "rewards": rewards,
        "advantages": advantages,
        "returns": returns,
        "ratio": ratio,
        "losses": losses,
    }


def ppo_example() -> Flow:
    """PPO: per-token KL and the score make rewards, values make advantages, a clipped ratio the loss."""
    numbers = ppo_numbers()
    return Flow(
        boxes=(
            replace(_POLICY, row=0, detail=f"writes{GAP}{GAP.join(TOKENS)}\nπ_old{GAP}{_row(PROBABILITIES)}"),
            Box(
                key="reference", title="reference", kind="model", role="reference", row=1, column=0,
                detail=f"π_ref{GAP}{_row(REFERENCE)}", frozen=True,
            ),
            Box(
                key="reward", title="reward model", kind="model", role="reward", row=1, column=1,
                detail=f"score {SCORE.item():.1f}", frozen=True,
            ),
            Box(
                key="rewards", title="rewards", kind="data", role="reward", row=2, column=0,
                detail=f"−β KL, + score last\n{_row(numbers['rewards'])}",
            ),
            Box(
                key="value", title="value model", kind="model", role="value", row=2, column=1,
                detail=f"V{GAP}{_row(VALUES)}",
            ),
            Box(
                key="gae", title="GAE", kind="loss", role="value", row=3, column=0.5,
                detail=f"Â{GAP}{_row(numbers['advantages'])}\nV̂{GAP}{_row(numbers['returns'])}",
            ),
            replace(
                _LOSS, row=4, column=0, title="policy loss",
                detail=f"ρ{GAP}{_row(numbers['ratio'])}\nloss{GAP}{_row(numbers['losses'])}",
            ),
            replace(_LOSS, key="value_loss", row=4, column=1, title="value loss", detail="(V − V̂)², clipped"),
        ),
        arrows=(
            Arrow(source="policy", target="reference"),
            Arrow(source="policy", target="reward"),
            Arrow(source="reference", target="rewards", label="(1, T)"),
            Arrow(source="reward", target="rewards", label="(1,)"),
            Arrow(source="rewards", target="gae", label="r (1, T)"),
            Arrow(source="value", target="gae", label="V (1, T)"),
            Arrow(source="gae", target="loss", label="Â (1, T)"),
            Arrow(source="gae", target="value_loss", label="V̂ (1, T)"),
            Arrow(source="loss", target="policy", kind="gradient"),
            Arrow(source="value_loss", target="value", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip


def rejection_sampling_numbers() -> dict[str, Tensor]:
    """Three answers to a prompt that is not about safety: what each is worth, which is kept, and its loss."""
    combined = piecewise_reward(
        HELPFULNESS, SAFETY, torch.zeros(3, dtype=torch.bool), threshold=SAFETY_THRESHOLD
    )
    return {
        "combined": combined,
        "kept": combined.argmax(0, keepdim=True),
        "losses": next_token_loss(PROBABILITIES.log()),
    }


def rejection_sampling_example() -> Flow:
    """Rejection sampling: K answers, two scores each, one reward; the best answer is learned by SFT."""
    numbers = rejection_sampling_numbers()
    losses = numbers["losses"]
    return Flow(
        boxes=(
            replace(_POLICY, row=0, column=0.5, detail="writes K = 3 answers"),
            Box(
                key="helpfulness", title="helpfulness model", kind="model", role="reward", row=1, column=0,
                detail=f"R_h{GAP}{_row(HELPFULNESS)}", frozen=True,
            ),
            Box(
                key="safety", title="safety model", kind="model", role="reward", row=1, column=1,
                detail=f"R_s{GAP}{_row(SAFETY)}", frozen=True,
            ),
            Box(
                key="combined", title="combination", kind="loss", role="reward", row=2, column=0.5,
                detail=f"R_c{GAP}{_row(numbers['combined'])}",
            ),
            Box(
                key="kept", title="kept", kind="data", role="data", row=3, column=0.5,
                detail=f"answer {int(numbers['kept']) + 1}: {GAP.join(TOKENS)}",
            ),
            replace(
                _LOSS, row=4, column=0.5, title="next token",
                detail=f"−log π{GAP}{_row(losses)}\n{_mean(losses)}",
            ),
        ),
        arrows=(
            Arrow(source="policy", target="helpfulness", label="K (1, T)"),
            Arrow(source="policy", target="safety", label="K (1, T)"),
            Arrow(source="helpfulness", target="combined", label="(K,)"),
            Arrow(source="safety", target="combined", label="(K,)"),
            Arrow(source="combined", target="kept", label="argmax"),
            Arrow(source="kept", target="loss", label="(1, T)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip


def dpo_numbers() -> dict[str, Tensor]:
    """DPO on "a fox ●", preferred to "a cat ●": log-ratios (1, 3), their lead, the loss and the push.

    The lead is that of the sums, times β; the push, σ(−lead), is the weight of the gradient.
    """
    chosen, rejected = PROBABILITIES.log() - REFERENCE.log(), REJECTED.log() - REJECTED_REFERENCE.log()
    lead = KL_WEIGHT * (chosen.sum(1) - rejected.sum(1))
    return {
        "chosen": chosen,
        "rejected": rejected,
        "lead": lead,
        "loss": dpo_loss(chosen.sum(1), rejected.sum(1), kl_weight=KL_WEIGHT),
        "push": torch.sigmoid(-lead),
    }


def dpo_example() -> Flow:
    """DPO: two answers, read by the policy and by the frozen reference; a loss on two sums of log-ratios."""
    numbers = dpo_numbers()
    lead, loss = float(numbers["lead"]), float(numbers["loss"])
    signed = {name: f"{float(numbers[name].sum()):+.2f}".replace("-", "−") for name in ("chosen", "rejected")}
    return Flow(
        boxes=(
            replace(_ANSWER, key="chosen", title="chosen answer"),
            replace(_ANSWER, key="rejected", title="rejected answer", column=1, detail=f"x, a{GAP}cat{GAP}●"),
            replace(
                _POLICY,
                column=1, detail=f"π(y⁺){GAP}{_row(PROBABILITIES)}\nπ(y⁻){GAP}{_row(REJECTED)}"
            ),
            Box(
                key="reference", title="reference", kind="model", role="reference", row=1, column=0,
                detail=f"y⁺{GAP}{_row(REFERENCE)}\ny⁻{GAP}{_row(REJECTED_REFERENCE)}", frozen=True,
            ),
            Box(
                key="ratios", title="log-ratios, summed", kind="data", role="data", row=2, column=0.5,
                detail=f"y⁺ {signed['chosen']},{GAP}y⁻ {signed['rejected']}",
            ),
            replace(
                _LOSS, row=3, column=0.5, title="DPO",
                detail=f"lead{GAP}{lead:.2f}\n−log σ(lead){GAP}{loss:.2f}",
            ),
        ),
        arrows=(
            *(
                Arrow(source=answer, target=model)
                for answer in ("chosen", "rejected")
                for model in ("policy", "reference")
            ),
            Arrow(source="policy", target="ratios", label="2 (1, T)"),
            Arrow(source="reference", target="ratios", label="2 (1, T)"),
            Arrow(source="ratios", target="loss", label="2 (1,)"),
            Arrow(source="loss", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
