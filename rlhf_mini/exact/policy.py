"""Policies with a logit for every state and token, and what every state is worth under one."""

import torch

from rlhf_mini.exact.distributions import require_distribution
from rlhf_mini.exact.language import ToyLanguage
from rlhf_mini.shapes import Float, Int, Tensor


class TablePolicy(torch.nn.Module):
    """A policy with its own logits for every state: it can be any policy at all.

    Called like a causal language model, on ``tokens (B, T)`` with the begin in column 0, it gives logits
    ``(B, T, V)``, at each position those of the token to come.

    Attributes:
        logits: ``(S, V)`` float64, the only parameter. 0 everywhere, the uniform policy, if not given.

    Raises:
        ValueError: on logits of another shape.

    Example:
        >>> language = ToyLanguage(vocabulary=2, steps=2)
        >>> language.sequence_logp(TablePolicy(language)).exp()  # texts 0, 10, 11
        tensor([0.5000, 0.2500, 0.2500], dtype=torch.float64, grad_fn=<ExpBackward0>)
    """

    def __init__(self, language: ToyLanguage, logits: Float[Tensor, "S V"] | None = None) -> None:
        """Take a copy of the logits."""
        super().__init__()
        shape = (len(language.states), language.vocabulary)
        if logits is not None and tuple(logits.shape) != shape:
            raise ValueError(f"logits must be {shape}, states by tokens; received {tuple(logits.shape)}.")
        self.language = language
        start = torch.zeros(shape) if logits is None else logits.clone()
        self.logits = torch.nn.Parameter(start.double())

    @classmethod
    def random(cls, language: ToyLanguage, *, generator: torch.Generator) -> "TablePolicy":
        """A policy with independent standard normal logits."""
        shape = (len(language.states), language.vocabulary)
        return cls(language, torch.randn(shape, generator=generator, dtype=torch.float64))

    @classmethod
    def of_distribution(cls, language: ToyLanguage, logp: Float[Tensor, " B"]) -> "TablePolicy":
        """The policy that writes each text with the given log-probability; uniform in states never reached.

        ``π(a | s)`` is the share of the probability of the texts beginning with ``s`` that goes on with
        ``a``.
        """
        require_distribution(logp=logp)
        pairs = len(language.states) * language.vocabulary
        through = (language.state_before * language.vocabulary + language.tokens)[language.response]
        mass = logp.double().exp()[:, None].expand_as(language.response)[language.response]
        logits = torch.zeros(pairs, dtype=torch.float64).index_add(0, through, mass).log()
        logits = logits.view(len(language.states), language.vocabulary)
        never_reached = (logits == -torch.inf).all(1, keepdim=True)
        return cls(language, logits.masked_fill(never_reached, 0.0))

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token to come, at each position; 0 after the end."""
        table = torch.cat([self.logits, self.logits.new_zeros(1, self.language.vocabulary)])
        state = torch.zeros(len(tokens), dtype=torch.int64)
        visited = [state]
        for column in tokens[:, 1:].unbind(1):
            state = self.language.next_state[state, column]
            visited.append(state)
        return table[torch.stack(visited, dim=1)]


def values_and_advantages(
    language: ToyLanguage,
    token_logp: Float[Tensor, "B T"],
    token_rewards: Float[Tensor, "B T"],
    *,
    discount: float = 1.0,
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """The exact value of the state before every token, and the exact advantage of the token.

    ``V(s) = Σ_a π(a|s) Q(s, a)``, ``Q(s, a) = r(s, a) + γ V(s')``, ``A = Q − V``; ``V = 0`` after the end.
    The equation is applied as often as there are steps, after which every state has its value.

    Args:
        language: the language.
        token_logp: ``(B, T)``, from ``language.token_logp``.
        token_rewards: ``(B, T)``, the reward of each token, which must depend on the tokens up to it only.
            ``language.at_last_token`` makes it from rewards of texts.
        discount: γ.

    Returns:
        Values and advantages, each ``(B, T)``, 0 off the response. Gradients flow to both inputs.

    Raises:
        ValueError: if a token's reward depends on later tokens.

    Example:
        >>> language = ToyLanguage(vocabulary=2, steps=1)  # one token, 0 or 1; each with probability 1/2
        >>> rewards = language.at_last_token(torch.tensor([2.0, 6.0]))
        >>> values_and_advantages(language, language.from_table(torch.tensor([[0.5, 0.5]]).log()), rewards)
        (tensor([[0., 4.],
                [0., 4.]]), tensor([[ 0., -2.],
                [ 0.,  2.]]))
    """
    policy, reward = language.to_table(token_logp).exp(), language.to_table(token_rewards)
    after = language.next_state[:-1]
    values = reward.new_zeros(len(language.states) + 1)
    for _ in range(language.steps):
        action_values = reward + discount * values[after]
        values = torch.cat([(policy * action_values).sum(1), values.new_zeros(1)])
    values = values[:-1]
    return language.from_states(values), language.from_table(action_values - values[:, None])
