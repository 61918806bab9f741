"""Four ways in which a measure stops being good once it is a target, each exact on a toy language.

Paper: Manheim and Garrabrant 2018, arXiv 1803.04585 (the four kinds). Gao et al. 2022 read α as regressional and β as
extremal. All 85 texts of the language are listed, the reference draws tokens independently, and what best-of-n does to it is
a sum over texts. Gold and proxy are in the same unit throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf_mini.exact import ToyLanguage, best_of_n, expectation, kl_divergence

LANGUAGE = ToyLanguage(vocabulary=5, steps=3)  # token 0 ends a text
TOKENS = (0.25, 0.35, 0.2, 0.15, 0.05)  # chance of each token at every step
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


def reference() -> Tensor:
    """The log-probability of every text under the reference, (B,) float64."""
    logits = torch.tensor(TOKENS, dtype=torch.float64).log()
    return LANGUAGE.sequence_logp(lambda tokens: logits.expand(*tokens.shape, -1))


@dataclass(frozen=True, eq=False)
class Case:
    """Gold and a proxy for every text, (B,) float64 each."""

    gold: Tensor
    proxy: Tensor

    def optimised(self, sizes: Sequence[int] = SIZES) -> dict[str, list[float]]:
        """Best-of-n by the proxy, exactly: `kl` to the reference (nats), expected `gold` and `proxy`, a number for each n."""
        start = reference()
        rows = [best_of_n(start, self.proxy, n=n) for n in sizes]
        return {
            "kl": [float(kl_divergence(row, start)) for row in rows],
            "gold": [float(expectation(row, self.gold)) for row in rows],
            "proxy": [float(expectation(row, self.proxy)) for row in rows],
        }


def worth(seed: int) -> Tensor:
    """A gold for every text, (B,), of mean 0 and deviation 1 under the reference."""
    drawn = torch.randn(len(LANGUAGE.texts), generator=_seeded(seed), dtype=torch.float64)
    chances = reference().exp()
    centred = drawn - (chances * drawn).sum()
    return centred / (chances * centred.square()).sum().sqrt()


def regressional(*, seed: int, noise: float) -> Case:
    """The proxy is gold and an error that has nothing to do with it, of deviation `noise`.

    What scores high was partly lucky: of a normal gold and error, gold rises by 1 / (1 + noise²) of what the proxy does. It
    keeps rising, only less than it seems.

    Raises ValueError for a noise below 0.
    """
    if not noise >= 0:
        raise ValueError(f"noise is a deviation, 0 or above; got {noise}")
    gold = worth(seed)
    error = torch.randn(len(gold), generator=_seeded(seed + 1), dtype=torch.float64)
    return Case(gold, gold + noise * error)


def extremal(*, seed: int, rare: float) -> Case:
    """The proxy is gold on all texts but the rarest, of together at most probability `rare`; there they part.

    In the ordinary run of texts, nobody could tell. The rare ones are the worst by gold and the best by the proxy, so that
    gold rises as long as samples are ordinary, and falls as soon as n is large enough to find the others.

    Raises ValueError if `rare` is not between 0 and 1, or less than the rarest text.
    """
    gold, chances = worth(seed), reference().exp()
    order = chances.argsort(stable=True)
    tail = order[chances[order].cumsum(0) <= rare]
    if not 0 < rare < 1 or not len(tail):
        raise ValueError(f"rare must be between 0 and 1 and at least {float(chances.min()):.2g}; got {rare}")
    gold[tail] = gold.min()
    proxy = gold.clone()
    proxy[tail] = gold.max() + 1
    return Case(gold, proxy)


def causal() -> dict[str, float]:
    """Gold counts a word, the proxy counts all words: they go together, because longer texts have room for more of it.

    Choosing long texts among those that the reference writes brings gold along, since it is only chosen from. Making texts
    long is something else: a policy that pads each of the reference's texts with another word has the proxy's highest score
    and exactly the gold of the start. No pair of numbers from the reference tells the two apart.

    Returns expected gold and proxy of the `start`, of the `chosen` (those of full length) and of the `padded`; and the
    `correlation` of the two under the reference.
    """
    word, filler = 1, 4
    chances = reference().exp()
    gold = LANGUAGE.score(lambda text: text.count(word))
    proxy = LANGUAGE.score(lambda text: sum(token != LANGUAGE.end_token for token in text))
    longest = proxy == proxy.max()
    chosen = torch.where(longest, chances, 0.0)
    chosen = chosen / chosen.sum()
    padded = [_padded(text, filler) for text in LANGUAGE.texts]
    mean = {"gold": (chances * gold).sum(), "proxy": (chances * proxy).sum()}
    apart = {"gold": gold - mean["gold"], "proxy": proxy - mean["proxy"]}
    spread = (chances * apart["gold"].square()).sum() * (chances * apart["proxy"].square()).sum()
    return {
        "gold start": float(mean["gold"]),
        "proxy start": float(mean["proxy"]),
        "gold chosen": float((chosen * gold).sum()),
        "proxy chosen": float((chosen * proxy).sum()),
        "gold padded": float(sum(p * text.count(word) for p, text in zip(chances, padded, strict=True))),
        "proxy padded": float(sum(p * len(text) for p, text in zip(chances, padded, strict=True))),
        "correlation": float((chances * apart["gold"] * apart["proxy"]).sum() / spread.sqrt()),
    }


def _padded(text: tuple[int, ...], filler: int) -> tuple[int, ...]:
    words = tuple(token for token in text if token != LANGUAGE.end_token)
    return words + (filler,) * (LANGUAGE.steps - len(words))


def adversarial(*, seed: int, n: int, bribed: bool) -> Case:
    """One text's score is wrong, as high as can be. Whether by chance or on purpose is the whole difference.

    - by chance, it is any text, drawn as the reference draws;
    - `bribed`, somebody who wants gold low, and knows that the best of `n` will be taken, chose it: the text that costs the
      most gold, which has to be bad and yet not so rare that it is never drawn.

    In both the proxy is wrong about a single text.
    """
    gold = worth(seed)
    drawn = torch.multinomial(reference().exp(), 1, generator=_seeded(seed + 2))
    if not bribed:
        return _with_one_wrong(gold, int(drawn))
    cases = [_with_one_wrong(gold, text) for text in range(len(gold))]
    return min(cases, key=lambda case: case.optimised([n])["gold"][0])


def _with_one_wrong(gold: Tensor, text: int) -> Case:
    proxy = gold.clone()
    proxy[text] = gold.max() + 1
    return Case(gold, proxy)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
