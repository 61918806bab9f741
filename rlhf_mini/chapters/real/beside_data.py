"""What both sides of the comparison begin with: a saved policy and reward model, and rows of the story world."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.data.handover import hand_over_model, hand_over_reward_model
from rlhf_mini.models import new_reward_model
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.comparisons import writer_pairs


@dataclass(frozen=True, kw_only=True)
class Start:
    """Two folders that both sides load from: the policy's, and a reward model's on its backbone."""

    policy: Path
    reward_model: Path

    def of(self, method: str) -> Path:
        """The folder that a method of `beside_trl` begins with.

        >>> Start(policy=Path("a"), reward_model=Path("b")).of("reward model").name
        'b'
        """
        return self.reward_model if method == "reward model" else self.policy


def save_start(
    policy: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, seed: int
) -> Start:
    """Save the policy, and a reward model with a fresh head on a copy of it, with the tokenizer beside each.

    Raises ValueError as `hand_over_model` does: for folders that are there already, for one.
    """
    reward_model = new_reward_model(policy, seed=seed)
    return Start(
        policy=hand_over_model(policy, tokenizer, folder / "policy"),
        reward_model=hand_over_reward_model(reward_model, tokenizer, folder / "reward-model"),
    )


def preference_rows(count: int, *, seed: int) -> list[dict[str, Any]]:
    """`prompt`, `chosen` and `rejected`: two demonstrators' answers to each request, judged by the panel."""
    judged = stories.annotate(writer_pairs(count, seed=seed), seed=seed)
    return [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in judged]


def verdict_rows(count: int, *, seed: int) -> list[dict[str, Any]]:
    """`prompt`, `completion` and `label`: the answers of `count` pairs, the chosen ones called good."""
    return [
        {"prompt": row["prompt"], "completion": row[side], "label": side == "chosen"}
        for row in preference_rows(count, seed=seed)
        for side in ("chosen", "rejected")
    ]


def demonstration_rows(count: int, *, seed: int) -> list[dict[str, Any]]:
    """`prompt` and `completion`: demonstrators' answers."""
    rows = stories.demonstrations(count, seed=seed)
    return [{name: row[name] for name in ("prompt", "completion")} for row in rows]


ROWS: Mapping[str, Callable[..., list[dict[str, Any]]]] = {
    "sft": demonstration_rows,
    "reward model": preference_rows,
    "dpo": preference_rows,
    "kto": verdict_rows,
}


def request_texts(count: int, *, seed: int) -> list[str]:
    """Requests in words, for GRPO to answer; no two alike."""
    texts = dict.fromkeys(request.text for request in stories.draw_requests(2 * count, seed=seed))
    return [*texts][:count]


def story_reward(prompt: str, answer: str) -> float:
    """The gold reward of an answer, so that a program is the judge, and the same one on both sides."""
    return stories.gold_scores([prompt], [answer])[0]
