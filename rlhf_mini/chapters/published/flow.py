"""One answer through ChatGLM-RLHF's recipe on three tokens, in the book's grammar of diagrams.

The policy writes "a fox" with its end, whose tokens it gave the probabilities 0.4, 0.6 and 0.5. The frozen
reference has once answered the same prompt with "a cat", and what the reward model gave to that, 0.7, is the
prompt's baseline for ever. So 0.8 of the answer's 1.5 are paid; what follows is PPO, nothing whitened. Beside
its loss stands that of a demonstration, whose three tokens the policy gives 0.4, 0.1 and 0.5.
"""

from torch import Tensor

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.estimators import gae, token_rewards
from rlhf_mini.losses import next_token_loss, ppo_policy_loss
from rlhf_mini.methods.reference_baseline import over_reference, prompts_of
from rlhf_mini.reader import Arrow, Box, Flow
from rlhf_mini.reader.three_tokens import (
    AFTER_A_STEP,
    CLIP_RANGE,
    GAE_LAMBDA,
    GAP,
    KL_WEIGHT,
    LOWER_SCORE,
    PROBABILITIES,
    REFERENCE,
    REJECTED,
    RESPONSE,
    SCORE,
    TOKENS,
    VALUES,
)
from rlhf_mini.recipes.chatglm import RECIPE
from rlhf_mini.tensors import masked_mean

WEIGHT = float(RECIPE.settings["demonstration_weight"])
DEMONSTRATION = ("a", "cat", "●")


def an_answer() -> Sequences:
    """The prompt, one token, and the answer's three, the last of them the end."""
    return pack_rows([[1]], [[3, 4, 2]], pad_token=0)


def numbers() -> dict[str, Tensor]:
    """What the recipe computes on one answer.

    `paid` (1,): the score over the reference's; `rewards`, `advantages` and `losses`, each (1, 3), of the
    answer's tokens, the losses after a step; `practised` (1, 3): −log π of the demonstration's. `total`: the
    mean of the one, plus the weighted mean of the other. Nats, and units of the score.
    """
    answer = an_answer()
    baselines = {prompt: float(LOWER_SCORE) for prompt in prompts_of(answer)}
    paid = over_reference(lambda answers: SCORE, baselines)(answer)
    rewards = token_rewards(paid, PROBABILITIES.log(), REFERENCE.log(), RESPONSE, kl_weight=KL_WEIGHT)
    advantages, _ = gae(rewards, VALUES, RESPONSE, discount=1.0, gae_lambda=GAE_LAMBDA)
    losses = ppo_policy_loss(AFTER_A_STEP.log(), PROBABILITIES.log(), advantages, clip_range=CLIP_RANGE)
    practised = next_token_loss(REJECTED.log())
    total = masked_mean(losses, RESPONSE) + WEIGHT * masked_mean(practised, RESPONSE)
    return {
        "paid": paid,
        "rewards": rewards,
        "advantages": advantages,
        "losses": losses,
        "practised": practised,
        "total": total,
    }


def _row(values: Tensor, *, decimals: int = 2) -> str:
    texts = [f"{round(value, decimals) + 0.0:.{decimals}f}" for value in values.flatten().tolist()]
    return GAP.join(texts).replace("-", "−")


def chatglm_example() -> Flow:
    """The policy's answer against the reference's own, PPO on what is left, and a demonstration beside it."""
    told = numbers()
    return Flow(
        boxes=(
            Box(
                key="policy", title="policy", kind="model", role="policy", row=0, column=0.5,
                detail=f"writes y:{GAP}{GAP.join(TOKENS)}\nπ_old{GAP}{_row(PROBABILITIES)}",
            ),
            Box(
                key="reference", title="reference", kind="model", role="reference", row=1, column=0, frozen=True,
                detail=f"π_ref(y){GAP}{_row(REFERENCE)}\nits own: {GAP.join(DEMONSTRATION)}",
            ),
            Box(
                key="reward", title="reward model", kind="model", role="reward", row=1, column=1, frozen=True,
                detail=f"r(y){GAP}{_row(SCORE, decimals=1)}\nr(its own){GAP}{_row(LOWER_SCORE, decimals=1)}",
            ),
            Box(
                key="paid", title="over the reference", kind="loss", role="reward", row=2, column=1,
                detail=f"r(y) − r(its own){GAP}{_row(told['paid'])}",
            ),
            Box(
                key="rewards", title="rewards", kind="data", role="reward", row=3, column=0,
                detail=f"−β KL, + paid last\n{_row(told['rewards'])}",
            ),
            Box(
                key="value", title="value model", kind="model", role="value", row=3, column=1,
                detail=f"V{GAP}{_row(VALUES)}",
            ),
            Box(
                key="gae", title="GAE", kind="loss", role="value", row=4, column=0,
                detail=f"not whitened\nÂ{GAP}{_row(told['advantages'])}",
            ),
            Box(
                key="demonstration", title="demonstration", kind="data", role="data", row=4, column=1,
                detail=f"{GAP.join(DEMONSTRATION)}\nπ{GAP}{_row(REJECTED)}",
            ),
            Box(
                key="loss", title="clipped loss", kind="loss", role="loss", row=5, column=0,
                detail=f"after a step:\n{_row(told['losses'])}",
            ),
            Box(
                key="practice", title="next token", kind="loss", role="loss", row=5, column=1,
                detail=f"−log π{GAP}{_row(told['practised'])}",
            ),
            Box(
                key="total", title="one loss", kind="loss", role="loss", row=6, column=0.5,
                detail=f"mean + {WEIGHT:g} × mean{GAP}{_row(told['total'])}",
            ),
        ),
        arrows=(
            Arrow(source="policy", target="reference", label="y (1, T)"),
            Arrow(source="policy", target="reward", label="y (1, T)"),
            Arrow(source="reference", target="reward"),
            Arrow(source="reward", target="paid", label="2 (1,)"),
            Arrow(source="reference", target="rewards", label="(1, T)"),
            Arrow(source="paid", target="rewards", label="(1,)"),
            Arrow(source="rewards", target="gae", label="(1, T)"),
            Arrow(source="value", target="gae", label="V (1, T)"),
            Arrow(source="gae", target="loss", label="Â (1, T)"),
            Arrow(source="demonstration", target="practice", label="(1, T)"),
            Arrow(source="loss", target="total", label="(1, T)"),
            Arrow(source="practice", target="total", label="(1, T)"),
            Arrow(source="total", target="policy", kind="gradient"),
        ),
        columns=2,
    )  # fmt: skip
