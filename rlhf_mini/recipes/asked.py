"""Requests as the prompts of reinforcement learning, with the truth about the answers in the log."""

from collections.abc import Sequence

from rlhf_mini.batch import Rollout
from rlhf_mini.data.chat import response_texts
from rlhf_mini.data.tokenizer import encode_prompt
from rlhf_mini.methods.ppo import OnRollout
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.worlds import stories


def usual_requests(pipeline: Pipeline) -> list[stories.Request]:
    """The requests of the stage `ppo`, in its order."""
    return stories.draw_requests(4000, seed=pipeline.seed_for("PPO prompts"))


def asked(pipeline: Pipeline, prompts: Sequence[str]) -> tuple[list[tuple[int, ...]], OnRollout]:
    """Prompts encoded, each once, and what adds `gold` to a rollout's metrics; as `pipeline.prompts_for_ppo`.

    Gold is logged and never trained on.
    """
    tokenizer = pipeline.tokenizer()
    words = {tuple(encode_prompt(tokenizer, prompt)): prompt for prompt in prompts}

    def add_gold(iteration: int, rollout: Rollout, metrics: dict[str, float]) -> None:
        given = rollout.sequences.mask & ~rollout.sequences.response
        rows = zip(rollout.sequences.tokens.cpu(), given.cpu(), strict=True)
        told = [words[tuple(tokens[prompt].tolist())] for tokens, prompt in rows]
        golds = stories.gold_scores(told, response_texts(tokenizer, rollout.sequences))
        metrics["gold"] = sum(golds) / len(golds)

    return [*words], add_gold
