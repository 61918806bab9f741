"""Writing a text as a walk: tokens as a Markov decision process, registered with gymnasium when imported.

The bridge from the grid to language. A state is the beginning written so far, an action is the next token,
and a move appends it, without any chance. Nothing is paid until the text is finished; then the whole text is
scored. γ is 1.

    >>> import gymnasium
    >>> env = gymnasium.make("rlhf_mini/TokenWorld-v0", render_mode="ansi")
    >>> state, info = env.reset(seed=0)
    >>> [env.step(token)[1:3] for token in (1, 3, 0)]  # reward, terminated
    [(0.0, False), (0.0, False), (1.0, True)]
    >>> env.render()
    '1 3 0'

Three decisions. A text that reaches the length limit has *ended*: the limit is part of the language, its
texts include those that are cut off, and so this is termination and not truncation. The observation is the
number of the beginning in `language.states`, with one more number for "ended", so that a table over states
can learn it. And there is no KL penalty here: it depends on the policy, which a world does not know; the
method subtracts it from the reward (`methods.episodes.with_kl_penalty`).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from rlhf_mini.exact import ToyLanguage

TOKEN_WORLD = "rlhf_mini/TokenWorld-v0"


def rising_steps(text: tuple[int, ...]) -> float:
    """A reward for toy texts: 1 for each token larger than the one before, less 1 if the text has no end.

    The end token is 0, so that ending is no rise.

    >>> rising_steps((1, 2, 4, 0)), rising_steps((1, 2, 4, 3)), rising_steps((0,))
    (2.0, 1.0, 0.0)
    """
    rises = sum(after > before for before, after in pairwise(text))
    return float(rises - (text[-1] != 0))


class TokenWorld(gymnasium.Env):
    """Write a text of a toy language, token by token.

    - `language`: which tokens there are, and how long a text may be.
    - `reward`: text (a tuple of tokens, the end token included) → what it is worth.
    - `render_mode`: ``"ansi"`` for the tokens so far, or None.

    `step` raises ValueError for an action that is no token, and for a move after the end.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"], "render_fps": 4}

    def __init__(
        self,
        language: ToyLanguage | None = None,
        *,
        reward: Callable[[tuple[int, ...]], float] = rising_steps,
        render_mode: str | None = None,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be 'ansi' or None, got {render_mode!r}")
        self.language = language or ToyLanguage()
        self.reward, self.render_mode = reward, render_mode
        self.observation_space = spaces.Discrete(len(self.language.states) + 1)
        self.action_space = spaces.Discrete(self.language.vocabulary)
        self._next_state: list[list[int]] = self.language.next_state.tolist()
        self._ended = len(self.language.states)
        self._state = 0
        self._text: tuple[int, ...] = ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin with nothing written. Nothing here is random, so the seed has no effect."""
        super().reset(seed=seed)
        self._state, self._text = 0, ()
        return self._state, {"text": self._text}

    def step(self, action: int | np.integer) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Append a token: the new state, the reward (0 until the text ends), and whether it ended."""
        if not self.action_space.contains(action):
            raise ValueError(f"an action is a token from 0 to {self.language.vocabulary - 1}, got {action!r}")
        if self._state == self._ended:
            raise ValueError(f"the text {self._text} has ended; call reset before another step")
        self._state = self._next_state[self._state][int(action)]
        self._text = (*self._text, int(action))
        ended = self._state == self._ended
        reward = float(self.reward(self._text)) if ended else 0.0
        return self._state, reward, ended, False, {"text": self._text}

    def render(self) -> str | None:
        """The tokens so far."""
        return " ".join(map(str, self._text)) if self.render_mode == "ansi" else None


if TOKEN_WORLD not in gymnasium.registry:
    gymnasium.register(id=TOKEN_WORLD, entry_point="rlhf_mini.worlds.token_world:TokenWorld")
