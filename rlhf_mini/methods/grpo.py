"""Policy optimisation without a critic: several answers to a prompt are one another's baseline.

Paper: Shao et al. 2024 (GRPO), arXiv 2402.03300; for its relatives `methods.group_methods`.

One method with three places to choose at, held by a `GroupMethod`: policy term × advantage × regulariser. An
iteration has four steps, each a function that can be called alone:

1. draw: `groups.draw_groups` samples G answers to each prompt and stores their log-probabilities;
2. score: `reward_parts.score_parts` asks each part of the reward, which may be a verifier, a format, a model;
3. advantages: `groups.estimated` compares the answers of each group;
4. update: `update` takes `epochs` passes over the answers in minibatches.

Then the draw is forgotten. `collect` is the first three in a row, `grpo` all of it.

What to look at: not the loss. At ratio one GRPO's reads 0 whatever is learned, because ``Σ A = 0`` in each
group; its gradient is not 0. The reward and the pass rate say how it goes, `without_spread` how many groups
teach nothing, `clip_fraction` and `ratio_deviation` how far the steps on one draw have gone, `entropy`
whether there is still something to choose from.

Simplifications: the reference stays the one that was given (DeepSeekMath renews it between rounds); a token
loss that is averaged over all tokens is averaged within each minibatch.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf_mini.data.pretrained import check_lengths
from rlhf_mini.loop import Hook, OptimizerConfig, Training
from rlhf_mini.methods.answers import Drawing
from rlhf_mini.methods.dpo import require_apart
from rlhf_mini.methods.group_methods import GroupMethod
from rlhf_mini.methods.groups import (
    Graded,
    Groups,
    Prompts,
    draw_scored,
    estimated,
    prompts_in_turn,
)
from rlhf_mini.methods.reward_parts import Part
from rlhf_mini.models import response_logp_and_entropy
from rlhf_mini.tensors import masked_mean

OnGroups = Callable[[int, Groups, dict[str, float]], None]  # iteration, the draw, its metrics


@dataclass(frozen=True, kw_only=True)
class GRPOConfig:
    """Settings that all group methods share; what they differ in is a `GroupMethod`.

    - `iterations`: of drawing and learning; `prompts`: asked in each; `drawing.samples`: answers a prompt, G.
    - `minibatch`: answers a step; `epochs`: passes over a draw. One epoch in one minibatch is on-policy.
    - `kl_weight`: β, what one nat costs, in units of the reward if the method pays in the reward, and of the
      loss if there. At 0 no reference is asked.
    - `redraws`: how often at most groups without spread are replaced by others, as in DAPO.
    """

    iterations: int
    prompts: int
    drawing: Drawing
    minibatch: int
    epochs: int
    optimizer: OptimizerConfig
    kl_weight: float = 0.0
    redraws: int = 0

    def __post_init__(self) -> None:
        if min(self.iterations, self.prompts, self.minibatch, self.epochs) < 1 or self.redraws < 0:
            raise ValueError(
                f"iterations, prompts, minibatch, epochs must be at least 1, redraws at least 0, got {self}"
            )
        if self.drawing.samples < 2:
            raise ValueError(f"a group needs at least 2 answers a prompt, got {self.drawing.samples}")
        if self.answers % self.minibatch:
            raise ValueError(
                f"prompts · samples ({self.answers}) must be a multiple of minibatch ({self.minibatch})"
            )
        if not 0 <= self.kl_weight < math.inf:
            raise ValueError(f"kl_weight must be finite and not negative, got {self.kl_weight}")

    @property
    def answers(self) -> int:
        """Answers that an iteration learns from."""
        return self.prompts * self.drawing.samples

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.iterations * self.epochs * (self.answers // self.minibatch)


def collect(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    turn: Prompts,
    parts: Mapping[str, Part],
    method: GroupMethod,
    *,
    config: GRPOConfig,
    generator: torch.Generator,
) -> Groups:
    """Draw, score and compare: everything that one iteration learns from. `turn` gives the prompts.

    Raises ValueError if a part of the reward does not return one finite number for each answer.
    """
    scored = draw_scored(
        policy,
        tokenizer,
        turn,
        parts,
        prompts=config.prompts,
        drawing=config.drawing,
        generator=generator,
        redraws=config.redraws,
    )
    return estimated(scored, reference, method, drawing=config.drawing, kl_weight=config.kl_weight)


def group_loss(
    policy: PreTrainedModel, batch: Graded, method: GroupMethod, *, config: GRPOConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The method's policy term, with KL if the method pays for it in the loss; averaged as the method says.

    The metrics: `policy_loss` and `kl_loss` are the two parts, the latter before its weight. Of the tokens,
    `entropy` in nats, `ratio_deviation` the mean of |ρ − 1|, and `clip_fraction` the share that have an
    advantage and on which the policy term has no gradient.
    """
    response = batch.sequences.response
    logp, entropy = response_logp_and_entropy(
        policy,
        batch.sequences.tokens,
        batch.sequences.mask,
        response,
        temperature=config.drawing.temperature,
    )
    losses = method.policy_term(logp, batch.logp_old, batch.advantages, response)
    loss = method.average(losses, response)
    metrics = {
        "policy_loss": loss.detach(),
        "entropy": masked_mean(entropy.detach(), response),
        "ratio_deviation": masked_mean((logp.detach() - batch.logp_old).exp().sub(1).abs(), response),
        "clip_fraction": masked_mean(silenced(method, logp, batch), response),
    }
    if method.kl_in_loss is not None and config.kl_weight > 0:
        kl = method.average(method.kl_in_loss(logp, batch.logp_old, batch.logp_ref), response)
        loss, metrics = loss + config.kl_weight * kl, {**metrics, "kl_loss": kl.detach()}
    return loss, metrics


def silenced(method: GroupMethod, logp: Tensor, batch: Graded) -> Tensor:
    """1 on the tokens with an advantage on which the policy term has no gradient, 0 elsewhere; (B, T).

    It asks the term itself, so that it is right for every method: for one that never clips it is 0.
    """
    with torch.enable_grad():
        leaf = logp.detach().requires_grad_()
        losses = method.policy_term(leaf, batch.logp_old, batch.advantages, batch.sequences.response)
        (slope,) = torch.autograd.grad(losses.sum(), leaf)
    return ((slope == 0) & (batch.advantages != 0)[:, None]).to(logp.dtype)


def update(
    training: Training,
    policy: PreTrainedModel,
    groups: Groups,
    method: GroupMethod,
    *,
    config: GRPOConfig,
    generator: torch.Generator,
    ratio_tolerance: float | None = None,
) -> list[dict[str, float]]:
    """`epochs` passes of minibatch steps over one draw; returns one entry a step.

    A minibatch takes answers wherever they stand: a group's comparison is in the advantages already.

    - `training`: the policy's optimizer, which outlives the draw.
    - `ratio_tolerance`: how far π/π_old may lie from 1 on the first minibatch, on average, where nothing has
      been learned from the draw yet. More means that the distribution which was sampled is not the one that
      is scored, and raises AssertionError. None allows for rounding, `math.inf` switches the check off.
    """
    entries: list[dict[str, float]] = []

    def loss_fn(batch: Graded) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = group_loss(policy, batch, method, config=config)
        if not entries:
            _assert_ratio_is_one(float(metrics["ratio_deviation"]), policy, ratio_tolerance)
        return loss, metrics

    for rows in _minibatches(len(groups), config=config, generator=generator):
        entries.append(training.step(groups.answers.rows(rows.to(groups.rewards.device)), loss_fn))
    return entries


def grpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    parts: Mapping[str, Part],
    method: GroupMethod,
    *,
    config: GRPOConfig,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
    on_groups: OnGroups = lambda iteration, groups, metrics: None,
    ratio_tolerance: float | None = None,
    description: str = "GRPO",
) -> list[dict[str, float]]:
    """Train `policy` in place; returns one entry an iteration.

    - `reference`: the frozen policy that KL is measured from; None if nobody pays for KL and nobody asks.
    - `prompts`: encoded; used in random order, all of them before any comes again.
    - `parts`: the reward, by name. The first should be the verifier: its passes are counted.
    - `method`: one of `group_methods`, or one's own.
    - `on_groups(iteration, groups, metrics)`: called on every fresh draw; the first iteration is 0.

    An entry holds the draw's metrics (`Groups.metrics`) and what the training steps on it logged
    (`group_loss`), averaged over them; `seconds` is the whole iteration's. The policy is left in eval mode.

    Raises ValueError, before anything is trained, if KL is to be paid for and there is no reference or the
    method has no place for it, for a reference that shares its weights with the policy, or for a prompt that
    with `max_new_tokens` exceeds the context; and for scores that are not finite.
    """
    _check_kl(policy, reference, method, config)
    check_lengths(
        prompts,
        context=policy.config.max_position_embeddings,
        new_tokens=config.drawing.max_new_tokens,
    )
    turn, log = prompts_in_turn(prompts, generator=generator), []
    policy.eval()  # no dropout, as in sampling: the distribution that is scored must be the one sampled
    with Training(
        policy, optimizer=config.optimizer, steps=config.steps, hooks=hooks, description=description
    ) as training:
        for iteration in range(config.iterations):
            groups = collect(
                policy, reference, tokenizer, turn, parts, method, config=config, generator=generator
            )
            metrics = groups.metrics(end_token=tokenizer.eos_token_id)
            on_groups(iteration, groups, metrics)
            entries = update(
                training,
                policy,
                groups,
                method,
                config=config,
                generator=generator,
                ratio_tolerance=ratio_tolerance,
            )
            log.append({**_mean_of(entries), **metrics})
    return log


def _minibatches(answers: int, *, config: GRPOConfig, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(config.epochs):
        yield from torch.randperm(answers, generator=generator).split(config.minibatch)


def _check_kl(
    policy: PreTrainedModel, reference: PreTrainedModel | None, method: GroupMethod, config: GRPOConfig
) -> None:
    if config.kl_weight > 0 and not method.can_pay_for_kl:
        raise ValueError(
            f"kl_weight is {config.kl_weight}, and the method pays for KL neither in the loss nor in the "
            "reward: set one of the two (dataclasses.replace), or kl_weight=0"
        )
    if config.kl_weight > 0 and reference is None:
        raise ValueError(f"kl_weight is {config.kl_weight}, and there is no reference to measure KL from")
    if reference is not None:
        require_apart(policy, reference)


def _mean_of(entries: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every number over an iteration's training steps, but their seconds in all."""
    means = {name: sum(entry[name] for entry in entries) / len(entries) for name in entries[0]}
    return {**means, "seconds": sum(entry["seconds"] for entry in entries)}


def _assert_ratio_is_one(deviation: float, policy: PreTrainedModel, tolerance: float | None) -> None:
    if tolerance is None:  # bfloat16 sampling and scoring differ by more
        tolerance = 1e-3 if policy.device.type == "cpu" else 0.05
    assert deviation < tolerance, (
        f"mean |ratio − 1| is {deviation:.2g} on the first minibatch of a draw: the distribution that was "
        "sampled is not the one that is scored (temperature, truncation, dropout or a stale model)"
    )
