"""The ladder of chapter 13: what to test, from the exact to the real, when a recipe does not work.

A recipe is blocks, and most of its bugs lie where two blocks meet: a reference that is not the one that was
meant, a start that siblings do not share, a baseline of the wrong answers. The first six rungs test blocks
and seams on the toy language and on a Llama that speaks it, in seconds. The last two read one recipe's
outcome where it is kept, and train nothing.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.chapters.band import in_the_band
from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.published import bug_hunt
from rlhf_mini.chapters.published.outcomes import Outcome
from rlhf_mini.chapters.toy_language import LANGUAGE, TextWorld, small_llama
from rlhf_mini.exact import kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig, fit
from rlhf_mini.losses import dpo_loss, next_token_loss, rpo_backward_kl_loss
from rlhf_mini.losses.induced import apa_loss
from rlhf_mini.methods.dpo import DPOConfig, dpo, kept_reference, train_on_pairs
from rlhf_mini.methods.iterated_rpo import RPOConfig, ScoredPairs, iterated_rpo
from rlhf_mini.methods.masked_dpo import every_token, masked_dpo
from rlhf_mini.methods.moving_anchor import moving_anchor
from rlhf_mini.methods.online_merging import ondare
from rlhf_mini.methods.reference_baseline import over_reference, prompts_of
from rlhf_mini.methods.siblings import mean_of_siblings
from rlhf_mini.models import copy_of, freeze, response_logp
from rlhf_mini.models.averaging import uniform_average
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import Rung
from rlhf_mini.recipes.registry import named
from rlhf_mini.tensors import masked_mean

Seen = tuple[bool, str]
Block = Callable[[PreTrainedModel, PreTrainedModel, ScoredPairs, float], None]  # trains with so much of it
BETA, ETA = 2.0, 1.5
BAND = ("gold", "kl_k3", "length", "distinct_2")
TAUGHT, COUNT = 80, 12  # steps and texts of a sibling's lessons
SHIFT = 3.0  # what a prompt is worth whatever the answer says
RECIPE = "zephyr_orpo"  # the shortest; any other can be named


def _config(rate: float = 3e-3) -> DPOConfig:
    return DPOConfig(epochs=2, batch=8, optimizer=OptimizerConfig(learning_rate=rate))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _texts() -> Sequences:
    return Sequences(LANGUAGE.tokens, LANGUAGE.mask, LANGUAGE.response)


def toy_pairs(seed: int = 0) -> ScoredPairs:
    """Pairs of different texts of the toy language; the first of each has the higher score."""
    one, other = torch.randperm(len(LANGUAGE.texts), generator=_generator(seed))[:64].view(2, -1)
    rewards = TextWorld(seed).rewards.float()
    better = rewards[one] >= rewards[other]
    first, second = torch.where(better, one, other), torch.where(better, other, one)
    return ScoredPairs(Pairs(_texts().rows(first), _texts().rows(second)), rewards[first], rewards[second])


def _weights(model: PreTrainedModel) -> list[Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# ---- the rungs


def exact() -> Seen:
    """RPO's loss and APA's are 0, with no gradient, where the algebra says, and nowhere else on the way."""
    world = TextWorld(0)
    left, right = torch.triu_indices(len(LANGUAGE.texts), len(LANGUAGE.texts), offset=1)
    found: dict[str, list[float]] = {"RPO": [], "APA": []}
    for power in (1.0, 0.5):  # of the tilt: the optimum, and half of the way
        optimum = kl_optimum(world.logp_ref, ETA * power * world.rewards, kl_weight=BETA)
        ratios = (optimum.logp - world.logp_ref).requires_grad_()
        scores = world.rewards[left], world.rewards[right]
        rpo = rpo_backward_kl_loss(
            ratios[left], ratios[right], *scores, kl_weight=BETA, reward_scale=ETA
        ).mean()
        # as if a text were one token; its normalisation, which the loss takes to be 1, as a part of A
        advantages = (
            ETA * world.rewards
            - BETA * kl_optimum(world.logp_ref, ETA * world.rewards, kl_weight=BETA).log_partition
        )
        apa = apa_loss(
            (ratios + world.logp_ref)[None], world.logp_ref[None], advantages[None], kl_weight=BETA
        ).mean()
        for name, loss in (("RPO", rpo), ("APA", apa)):
            (slope,) = torch.autograd.grad(loss, [ratios], retain_graph=True)
            found[name] += [float(loss.detach()), float(slope.abs().max())]
    held = all(max(there[:2]) < 1e-9 < 1e-5 < min(there[2:]) for there in found.values())
    there = ", ".join(f"{name} {told[0]:.0e}" for name, told in found.items())
    before = ", ".join(f"{name} {told[2]:.1e}" for name, told in found.items())
    return held, _plain(f"loss at the optimum: {there}; half way: {before}")


def degenerate() -> Seen:
    """A block with nothing in it is the stage that it is built on, bit for bit; with something in it, it is not.

    DPO with every token and no NLL is DPO, one round of RPO's loop with DPO's objective too; DPO with a
    merging of α = 0 and p = 1 is DPO; the mean of one sibling is that sibling.
    """
    start, scored = small_llama(0), toy_pairs()

    def trained(block: Block, amount: float) -> list[Tensor]:
        policy = copy_of(start)
        block(policy, freeze(copy_of(start)), scored, amount)
        return _weights(policy)

    expected, failing = trained(_plain_dpo, 0.0), []
    for name, (block, nothing, something) in BLOCKS.items():
        if not _same(trained(block, nothing), expected) or _same(trained(block, something), expected):
            failing.append(name)
    told = "not so " + ", ".join(failing) if failing else f"{', '.join(BLOCKS)}: the same to the last bit"
    return not failing, told


def _plain_dpo(policy: PreTrainedModel, reference: PreTrainedModel, scored: ScoredPairs, seed: float) -> None:
    generator = _generator(int(seed))
    dpo(policy, reference, scored.pairs, kl_weight=BETA, config=_config(), generator=generator)


def _masked(
    policy: PreTrainedModel, reference: PreTrainedModel, scored: ScoredPairs, nll_weight: float
) -> None:
    masked_dpo(
        policy, reference, scored.pairs, contrasted=every_token, nll_weight=nll_weight, kl_weight=BETA,
        config=_config(), generator=_generator(),
    )  # fmt: skip


def _rounds(policy: PreTrainedModel, _: PreTrainedModel, scored: ScoredPairs, count: float) -> None:
    config = RPOConfig(rounds=int(count), training=_config(), kl_weight=BETA)
    iterated_rpo(
        policy, scored, config=config, generator=_generator(),
        objective=lambda pair: dpo_loss(*pair.log_ratios, kl_weight=BETA),
    )  # fmt: skip


def _merged(policy: PreTrainedModel, reference: PreTrainedModel, scored: ScoredPairs, rate: float) -> None:
    other = small_llama(1)
    hook = ondare(policy, reference, other, merge_rate=rate, keep=1.0, generator=_generator())
    dpo(
        policy, reference, scored.pairs, kl_weight=BETA, config=_config(), generator=_generator(), hooks=[hook]
    )  # fmt: skip


def _averaged(
    policy: PreTrainedModel, reference: PreTrainedModel, scored: ScoredPairs, members: float
) -> None:
    mean = mean_of_siblings(
        reference,
        lambda sibling, place: _plain_dpo(sibling, reference, scored, float(place)),
        members=int(members),
    )
    policy.load_state_dict(mean.state_dict())


# block → what trains a policy with so much of it, how much is nothing, and how much is something
BLOCKS: dict[str, tuple[Block, float, float]] = {
    "masked DPO": (_masked, 0.0, 0.2),
    "rounds": (_rounds, 1.0, 2.0),
    "merging": (_merged, 0.0, 0.1),
    "siblings": (_averaged, 1.0, 2.0),
}


def frozen() -> Seen:
    """References stay what they were, an anchor of rate μ goes μ of the way, and the policy moves."""
    start, scored = small_llama(0), toy_pairs()
    reference, policy, anchor = freeze(copy_of(start)), copy_of(start), freeze(copy_of(start))
    before = _weights(reference)
    ends: list[list[Tensor]] = []
    follow = moving_anchor(policy, anchor, rate=0.25)
    expected = _weights(anchor)

    def note(step: int, entry: dict[str, float]) -> None:
        ends.append(_weights(policy))

    train_on_pairs(
        policy, scored.pairs, kept_reference(reference, scored.pairs),
        lambda pair: dpo_loss(*pair.log_ratios, kl_weight=BETA),
        config=_config(), generator=_generator(), hooks=[note, follow],
    )  # fmt: skip
    for end in ends:
        expected = [0.75 * old + 0.25 * new for old, new in zip(expected, end, strict=True)]
    off = max(float((a - b).abs().max()) for a, b in zip(_weights(anchor), expected, strict=True))
    moved = max(float((a - b).abs().max()) for a, b in zip(_weights(policy), before, strict=True))
    still = _same(_weights(reference), before)
    told = f"reference {'as it was' if still else 'moved'}; policy by {moved:.0e}; anchor off by {off:.0e}"
    return still and moved > 1e-3 and off < 1e-6, _plain(told)


def baseline() -> Seen:
    """A worth of the prompt, whatever it is, drops out of what is paid; what an answer is worth does not."""
    answers = pack_rows([[1, 5], [1, 5], [1, 6], [1, 6]], [[7, 2], [8, 2], [7, 2], [9, 2]], pad_token=0)
    own = pack_rows([[1, 5], [1, 6]], [[8, 2], [9, 2]], pad_token=0)  # the reference's

    def score(sequences: Sequences, of_prompt: float = 0.0) -> Tensor:
        prompts = torch.tensor([float(prompt[1] == 6) for prompt in prompts_of(sequences)])
        return (sequences.tokens == 7).sum(1) + of_prompt * prompts

    paid = []
    for worth in (0.0, SHIFT):
        judge = partial(score, of_prompt=worth)
        baselines = dict(zip(prompts_of(own), judge(own).tolist(), strict=True))
        paid.append(over_reference(judge, baselines)(answers))
    try:
        over_reference(score, {(1, 5): 0.0})(answers)
        refused = False
    except ValueError:
        refused = True
    expected = torch.tensor([1.0, 0.0, 1.0, 0.0])  # 0 for what the reference says itself
    off = max(float((one - expected).abs().max()) for one in paid)
    told = f"paid off by {off:.0e}; a prompt without a baseline {'is refused' if refused else 'passes'}"
    return off < 1e-6 and refused, _plain(told)


def taught(model: PreTrainedModel, place: int) -> float:
    """Teach a model some texts in another order for each place; returns its −log π of them, nats per token."""
    rows = torch.randperm(len(LANGUAGE.texts), generator=_generator(7))[:COUNT]
    texts, generator = _texts().rows(rows), _generator(place)

    def loss_fn(batch: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
        logp = response_logp(model, batch.tokens, batch.mask, batch.response)
        return masked_mean(next_token_loss(logp), batch.response), {}

    batches = (texts.rows(torch.randperm(COUNT, generator=generator)[: COUNT // 2]) for _ in range(TAUGHT))
    if place >= 0:
        model.train()
        fit(model, batches, loss_fn, optimizer=OptimizerConfig(learning_rate=1e-2), steps=TAUGHT)
        model.eval()
    with torch.no_grad():
        return float(loss_fn(texts)[0])


def shared_start() -> Seen:
    """The mean of two that were taught apart is as good as they are if their start is one, and else is not."""
    start, losses = small_llama(0), {}
    members: list[float] = []
    mean = mean_of_siblings(start, lambda model, place: members.append(taught(model, place)), members=2)
    losses["untaught"], losses["siblings"] = taught(start, -1), taught(mean, -1)
    strangers = [copy_of(small_llama(seed)) for seed in (0, 1)]
    for place, stranger in enumerate(strangers):
        taught(stranger, place)
    losses["strangers"] = taught(uniform_average(strangers), -1)
    worst = max(members)
    held = losses["siblings"] < worst + 0.05 and losses["strangers"] > worst + 0.1 < losses["untaught"]
    told = ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items())
    return held, f"−log π: the taught {worst:.2f}; {told} nats a token"


def known_optimum(pipeline: Pipeline) -> Seen:
    """Three rounds of RPO on the toy language end where one round with a third of β would."""
    world, run = TextWorld(pipeline.seed), bug_hunt.symptoms(pipeline, way="right")
    power = bug_hunt.ROUNDS * bug_hunt.REWARD_SCALE / bug_hunt.KL_WEIGHT
    best = kl_optimum(world.logp_ref, world.rewards, kl_weight=1 / power).logp
    kl, gold = float(kl_divergence(best, world.logp_ref)), float((best.exp() * world.rewards).sum())
    held = math.isclose(run["kl"][-1], kl, abs_tol=0.03) and math.isclose(run["gold"][-1], gold, abs_tol=0.03)
    told = f"KL {run['kl'][-1]:.2f}, by the algebra {kl:.2f}; gold {run['gold'][-1]:.2f}, {gold:.2f}"
    return held, _plain(told)


def last(name: str) -> Outcome:
    """A recipe's outcome. Raises ValueError on an unknown name."""
    recipe = named(name)
    return Outcome(recipe, recipe.steps[-1])


def start_gold(pipeline: Pipeline) -> dict[str, float]:
    """The SFT model on the held-out requests."""
    return judged_on_requests(pipeline, pipeline.policy("sft")).metrics()


NOT_KEPT = "not trained here: rlhf-mini recipe {name} does it"


def band(pipeline: Pipeline, name: str) -> Seen:
    """A recipe's outcome, where it is kept, against where one more good seed should fall."""
    outcome = last(name)
    if not outcome.is_there(pipeline):
        return True, NOT_KEPT.format(name=name)
    here, profile = outcome.measured(pipeline), pipeline.profile.name
    return in_the_band(here, BAND, chapter="13", experiment="recipes", method=outcome.name, profile=profile)


def real(pipeline: Pipeline, name: str) -> Seen:
    """A recipe's policy, where it is kept, has more gold than the SFT model, and is not 0 nats away from it."""
    outcome = last(name)
    if not outcome.is_there(pipeline):
        return True, NOT_KEPT.format(name=name)
    after, before = outcome.measured(pipeline), pipeline.measured(start_gold)
    told = f"gold {before['gold']:.2f}, then {after['gold']:.2f}; {after['kl_k3']:.1f} nats away"
    return after["gold"] > before["gold"] and after["kl_k3"] > 0.1, _plain(told)


def rungs(pipeline: Pipeline, *, name: str = RECIPE) -> list[Rung]:
    """The eight rungs. The last two read the recipe of this name, one on stories, if its run is kept.

    Raises ValueError on an unknown recipe, or one on sums, which has no gold.
    """
    if named(name).world != "stories":
        raise ValueError(f"{name} answers sums, and gold judges stories: choose another recipe")
    return [
        Rung("exact test", "RPO's and APA's losses are 0 where the algebra says", exact),
        Rung("nothing in it", "a block with nothing in it is the stage below, bit for bit", degenerate),
        Rung("frozen stays frozen", "references stay, an anchor goes its share of the way", frozen),
        Rung("baseline", "what the prompt is worth drops out of what is paid", baseline),
        Rung("one start", "a mean of siblings is as good as they are; of strangers it is not", shared_start),
        Rung("known optimum", "rounds end where the algebra says", lambda: known_optimum(pipeline)),
        Rung("band of good seeds", f"{name} is where one more good seed should fall", lambda: band(pipeline, name)),
        Rung("real run", f"{name} has more gold than the SFT model", lambda: real(pipeline, name)),
    ]  # fmt: skip


def _plain(text: str) -> str:
    return text.replace("-", "−")
