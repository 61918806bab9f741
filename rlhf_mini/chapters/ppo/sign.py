"""The bug of 2019, and half of it: what PPO makes of a reward whose sign is wrong."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from rlhf_mini.batch import Sequences
from rlhf_mini.chapters.ppo.runs import Ingredients, usual, watched_run
from rlhf_mini.methods.ppo import whitened_gae
from rlhf_mini.methods.rollouts import unfinished
from rlhf_mini.pipeline import Pipeline


def score_negated(pipeline: Pipeline) -> Ingredients:
    """−r − β KL: the score's sign is wrong, and distance from the reference costs as it should.

    So it was in 2019: one change turned the reward's sign and the penalty's, and the penalty's twice.
    """
    parts = usual(pipeline)
    score = parts.score
    return replace(parts, score=lambda sequences: -score(sequences))


def reward_negated(pipeline: Pipeline) -> Ingredients:
    """−(r − β KL): everything turned, so that distance from the reference is paid for.

    Only an answer that does not end costs as it should, so that the two mistakes differ in the KL alone.
    """
    parts = usual(pipeline)
    score, penalty = parts.score, parts.config.missing_eos_penalty
    end_token = pipeline.tokenizer().eos_token_id

    def score_(sequences: Sequences) -> Tensor:  # its penalty is turned back and taken off
        return score(sequences) + 2 * penalty * unfinished(sequences, end_token=end_token).cpu()

    def estimate(rewards: Tensor, values: Tensor, response: Tensor) -> tuple[Tensor, Tensor]:
        return whitened_gae(-rewards, values, response, gae_lambda=parts.config.gae_lambda)

    return replace(parts, score=score_, estimate=estimate)


WAYS = {"score": score_negated, "score and KL": reward_negated}


def wrong_sign(pipeline: Pipeline, *, way: str) -> dict[str, Any]:
    """A watched run with one of the two mistakes; see `runs.outcome`."""
    return watched_run(pipeline, WAYS[way](pipeline))
