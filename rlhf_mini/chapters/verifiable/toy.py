"""What the methods with groups climb on average, where every sum over texts and groups can be taken.

Two prompts, an easy one and a hard one, each with a table of logits of its own; three tokens, texts of at most
four. The first token decides: 1 is right, 2 is wrong, and so is to end at once. What follows changes nothing but
the length. So whoever is pulled towards longer or shorter texts after the first token is pulled by the method
and not by the reward.

A batch is one group of answers to each prompt. At any policy the *expected* loss of a method, over all batches
that the old policy may draw, is a sum over texts, because every method here weighs an answer with an advantage,
which depends on rewards, times its tokens' share in the average, which depends on lengths:
`expected_weights` is the mean of that product, and `expected_loss` puts it into the library's own policy terms.

`toy_moves` goes on from here to later steps on one draw, `toy_groups` has the size of groups, length and why the
loss reads 0, `toy_kl` the penalty, `toy_tries` several tries at one problem.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial

import torch
from torch import Tensor

from rlhf_mini.exact import ToyLanguage
from rlhf_mini.methods.group_methods import Average, GroupMethod, named_methods
from rlhf_mini.tensors import masked_sum

LANGUAGE = ToyLanguage(vocabulary=3, steps=4)
RIGHT_TOKEN = 1
PASS_RATES = (0.6, 0.1)  # of the easy prompt and of the hard one
GROUP = 4
AT_ONCE = 0.2  # of what is wrong ends at once
Pattern = tuple[tuple[int, int], tuple[int, ...]]  # right answers here and there; lengths of all, sorted
SAME = (("GRPO", "GSPO"), ("DAPO", "CISPO"))  # one direction and one length on the first step


@dataclass(frozen=True)
class World:
    """Two prompts' old policies, drawn with one seed: pass rates as given, all other logits standard normal."""

    seed: int
    language: ToyLanguage = LANGUAGE
    group: int = GROUP

    @cached_property
    def logits(self) -> Tensor:
        """(P, S, V) float64: a table for each prompt."""
        shape = (len(PASS_RATES), len(self.language.states), self.language.vocabulary)
        generator = torch.Generator().manual_seed(self.seed)
        tables = torch.randn(shape, generator=generator, dtype=torch.float64)
        for table, rate in zip(tables, PASS_RATES, strict=True):
            first = torch.full_like(table[0], (1 - rate) * (1 - AT_ONCE) / (len(table[0]) - 2))
            first[self.language.end_token], first[RIGHT_TOKEN] = (1 - rate) * AT_ONCE, rate
            table[0] = first.log()
        return tables

    @cached_property
    def right(self) -> Tensor:
        """(B,), 1 for a text that begins with the right token, else 0."""
        return self.language.score(lambda text: float(text[0] == RIGHT_TOKEN))

    @cached_property
    def lengths(self) -> Tensor:
        """(B,), tokens of each text, the end token included."""
        return self.language.response.sum(1).double()

    def token_logp(self, logits: Tensor) -> Tensor:
        """(P, B, T): the log-probability of every token of every text, prompt by prompt."""
        return torch.stack([self.language.from_table(table.log_softmax(1)) for table in logits])

    @cached_property
    def logp_old(self) -> Tensor:
        """(P, B, T): the same under the policy that draws."""
        return self.token_logp(self.logits)

    def pass_rate(self, logits: Tensor) -> Tensor:
        """The mean over prompts of the chance of a right answer: J, what the methods are to climb."""
        return (self.token_logp(logits).sum(2).exp() @ self.right).mean()

    def climb(self, logits: Tensor) -> Tensor:
        """(P, S, V), the exact gradient of J."""
        leaf = logits.clone().requires_grad_()
        (found,) = torch.autograd.grad(self.pass_rate(leaf), [leaf])
        return found


# ---- what a method makes of an answer, on average over all batches


def expected_weights(world: World, methods: Mapping[str, GroupMethod]) -> dict[str, Tensor]:
    """Of each method (P, B): the mean of advantage times share in the average, given that this text was drawn.

    The share is the derivative of the method's average by the loss of one of the text's tokens. Both are asked of
    the library's functions, once for each pattern of rewards or lengths that a batch can have.
    """
    kinds, kind = torch.stack([world.right, world.lengths], dim=1).unique(dim=0, return_inverse=True)
    told = [(int(right), int(length)) for right, length in kinds.tolist()]
    texts = world.logp_old.sum(2).exp()
    chances = torch.zeros(len(texts), len(kinds), dtype=torch.float64).index_add(1, kind, texts)
    beside = [_beside(told, chances, prompt=prompt, group=world.group) for prompt in range(len(chances))]
    shares: dict[Average, Callable[..., float]] = {}
    found = {}
    for name, method in methods.items():
        advantage = cache(partial(first_advantage, method, group=world.group))
        share = shares.setdefault(method.average, cache(partial(first_share, method.average)))
        weights = [
            [sum(p * advantage(right, *rights) * share(length, sizes) for (rights, sizes), p in others.items())
             for right, length in told]
            for others in beside
        ]  # fmt: skip
        found[name] = torch.tensor(weights, dtype=torch.float64)[:, kind]
    return found


def first_advantage(method: GroupMethod, own: int, beside: int, elsewhere: int, *, group: int) -> float:
    """The advantage of an answer with the reward `own`, if so many of the others in its group are right, and so
    many of the answers to the other prompt."""
    rewards = torch.zeros(2, group, dtype=torch.float64)
    rewards[0, 0], rewards[0, 1 : 1 + beside], rewards[1, :elsewhere] = own, 1.0, 1.0
    return float(method.advantage(rewards)[0, 0])


def first_share(average: Average, own: int, others: tuple[int, ...]) -> float:
    """What each token of an answer of `own` tokens weighs in the average of a batch with others so long."""
    lengths = torch.tensor([own, *others])
    response = torch.arange(int(lengths.max())) < lengths[:, None]
    losses = torch.zeros(response.shape, dtype=torch.float64, requires_grad=True)
    (share,) = torch.autograd.grad(average(losses, response), [losses])
    return float(share[0, 0])


def _beside(
    told: Sequence[tuple[int, int]], chances: Tensor, *, prompt: int, group: int
) -> dict[Pattern, float]:
    """What can stand beside an answer to this prompt, and how likely it is: how many others in its group are right,
    how many answers to the other prompt, and how long all of them are."""
    found: dict[Pattern, float] = defaultdict(float)
    own, other = chances[prompt].tolist(), chances[1 - prompt].tolist()
    for (here, p), (there, q) in itertools.product(_draws(own, group - 1), _draws(other, group)):
        rights = (sum(told[one][0] for one in here), sum(told[one][0] for one in there))
        found[rights, tuple(sorted(told[one][1] for one in here + there))] += p * q
    return found


def _draws(chances: Sequence[float], members: int) -> list[tuple[tuple[int, ...], float]]:
    """All unordered draws of so many kinds, each with its multinomial probability."""
    found = []
    for row in itertools.combinations_with_replacement(range(len(chances)), members):
        orders = math.factorial(members) // math.prod(math.factorial(row.count(one)) for one in set(row))
        found.append((row, orders * math.prod(chances[one] for one in row)))
    return found


def expected_loss(world: World, method: GroupMethod, weights: Tensor, logits: Tensor) -> Tensor:
    """The mean of the method's loss over all batches of the old policy, at the policy with these logits.

    `weights` (P, B) are the method's of `expected_weights`. With rewards of 0 and 1 an advantage has the sign of
    its answer, whatever the batch; so its policy term, which grows in proportion with the size of the advantage, may
    be taken of the mean weight.
    """
    response, total = world.language.response, torch.zeros((), dtype=torch.float64)
    for logp, logp_old, weight in zip(world.token_logp(logits), world.logp_old, weights, strict=True):
        terms = method.policy_term(logp, logp_old, weight, response)
        total = total + world.group * (logp_old.sum(1).exp() * masked_sum(terms, response, dim=1)).sum()
    return total


def descent(world: World, method: GroupMethod, weights: Tensor, logits: Tensor) -> Tensor:
    """(P, S, V): minus the gradient of `expected_loss`, the way on which the method goes."""
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(expected_loss(world, method, weights, leaf), [leaf])
    return -slope


def cosine(one: Tensor, other: Tensor) -> float:
    """Of two gradients."""
    return float((one * other).sum() / (one.norm() * other.norm()))


# ---- the first step after a draw


def methods_of(world: World) -> dict[str, GroupMethod]:
    """The eight by name, at the library's settings; no answer is longer than the language's longest."""
    return named_methods(longest=world.language.steps)


@lru_cache(maxsize=8)
def weights_of(world: World) -> dict[str, Tensor]:
    """`expected_weights` of the eight, computed once for a world."""
    return expected_weights(world, methods_of(world))


def ways_of(world: World, logits: Tensor) -> dict[str, Tensor]:
    """On which way each of the eight goes at the policy with these logits, if the old policy drew; (P, S, V) each."""
    weights = weights_of(world)
    return {name: descent(world, method, weights[name], logits) for name, method in methods_of(world).items()}


def first_step(*, seed: int) -> dict[str, float]:
    """The expected gradient of all eight methods at ratio one.

    - `cosine {name}`: with the exact gradient of J. `size {name}`: its norm, in units of that gradient's.
    - `{name} · {name}`: the cosine of two methods.
    - `hard {name}`: the squared norm's share of the hard prompt; `hard J` that of the exact gradient.
    """
    world = World(seed)
    ways, exact = ways_of(world, world.logits), world.climb(world.logits)
    found = {f"cosine {name}": cosine(way, exact) for name, way in ways.items()}
    found |= {f"size {name}": float(way.norm() / exact.norm()) for name, way in ways.items()}
    found |= {f"hard {name}": _hard_share(way) for name, way in {**ways, "J": exact}.items()}
    return found | {
        f"{one} · {other}": cosine(ways[one], ways[other]) for one, other in itertools.combinations(ways, 2)
    }


def _hard_share(way: Tensor) -> float:
    return float(way[1].square().sum() / way.square().sum())


def identities(*, seed: int) -> dict[str, float]:
    """What is claimed of the first step, each as its largest error over all logits.

    - `RLOO`: it is the gradient of J. `REINFORCE`: it is that times 1 − 1/N, N being all answers of the batch.
    - `Dr. GRPO`: it is RLOO's times (G − 1)/(G L), L being the most tokens of an answer.
    - `GRPO GSPO`, `DAPO CISPO`: the two are one.
    """
    world = World(seed)
    ways, exact = ways_of(world, world.logits), world.climb(world.logits)
    answers = len(PASS_RATES) * world.group
    unit = (world.group - 1) / (world.group * world.language.steps)
    pairs = {
        "RLOO": (ways["RLOO"], exact),
        "REINFORCE": (ways["REINFORCE"], (1 - 1 / answers) * exact),
        "Dr. GRPO": (ways["Dr. GRPO"], unit * ways["RLOO"]),
        **{f"{one} {other}": (ways[one], ways[other]) for one, other in SAME},
    }
    return {name: float((one - other).abs().max()) for name, (one, other) in pairs.items()}
