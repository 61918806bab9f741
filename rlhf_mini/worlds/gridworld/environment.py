"""The robot in the grid as a gymnasium environment."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces

from rlhf_mini.worlds.gridworld.layout import ACTIONS, TWO_DOORS, Layout, parse_layout
from rlhf_mini.worlds.gridworld.model import Prizes, grid_mdp
from rlhf_mini.worlds.gridworld.render import draw_grid


class RobotGrid(gymnasium.Env):
    """A robot walks a grid, and pays for its steps until it comes to a goal, a pit or an exit.

    The observation is the number of the robot's cell; the actions are 0 up, 1 right, 2 down, 3 left. Every
    step is sampled from the tables in ``model``. ``info["probability"]`` is the chance that this step had.
    The environment never truncates: made with ``gymnasium.make``, it is wrapped in gymnasium's own time
    limit.

    Args:
        layout: the map, as a ``Layout`` or as text.
        slip: probability of moving at a right angle to the action.
        step_cost: what an ordinary move costs.
        discount: γ. The environment pays undiscounted rewards; γ belongs to the model that it is solved by.
        prizes: what goals, pits, exits and the first move pay.
        render_mode: ``"rgb_array"`` for a picture ``(H, W, 3)`` uint8, ``"ansi"`` for text, or None.

    Raises:
        ValueError: as ``Layout`` and ``grid_mdp``; on an unknown render mode, and on an action that is none.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "ansi"], "render_fps": 4}

    def __init__(
        self,
        layout: Layout | str = TWO_DOORS,
        *,
        slip: float = 0.0,
        step_cost: float = 0.5,
        discount: float = 0.99,
        prizes: Prizes | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Build the tables; the robot is placed by ``reset``."""
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ValueError(
                f"render_mode must be one of {self.metadata['render_modes']} or None; "
                f"received {render_mode!r}."
            )
        self.layout = parse_layout(layout) if isinstance(layout, str) else layout
        self.prizes = prizes or Prizes()
        self.model = grid_mdp(
            self.layout, slip=slip, step_cost=step_cost, discount=discount, prizes=self.prizes
        )
        self.render_mode = render_mode
        self.observation_space = spaces.Discrete(self.model.states)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.state = self.layout.start
        # What can follow each state and action, so that a step needs one random number and a short sum.
        self._next = [
            [(row.nonzero()[0].tolist(), row[row > 0].tolist(), row[row > 0].cumsum()) for row in rows]
            for rows in self.model.transitions.numpy()
        ]
        self._paid = self.model.rewards.tolist()
        self._ends = self.model.terminal.tolist()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, float]]:
        """Put the robot on the start. A seed, once given, settles all that follows."""
        super().reset(seed=seed)
        self.state = self.layout.start
        return self.state, {"probability": 1.0}

    def step(self, action: int | np.integer) -> tuple[int, float, bool, bool, dict[str, float]]:
        """Move. After the end of an episode the robot stays where it is, and is paid nothing."""
        if not self.action_space.contains(action):
            raise ValueError(f"An action is 0, 1, 2 or 3 ({', '.join(ACTIONS)}); received {action!r}.")
        cells, chances, cumulative = self._next[self.state][action]
        # The sum may end in 0.9999…: the last cell takes what rounding left over.
        drawn = min(int(cumulative.searchsorted(self.np_random.random(), side="right")), len(cells) - 1)
        before, self.state = self.state, cells[drawn]
        reward = self._paid[before][action][self.state]
        return self.state, reward, self._ends[self.state], False, {"probability": chances[drawn]}

    def render(self) -> np.ndarray | str | None:
        """The grid as it stands: an array of pixels, or text with the robot as ``R``."""
        if self.render_mode == "rgb_array":
            return draw_grid(self.layout, robot=self.state, prizes=self.prizes)
        if self.render_mode == "ansi":
            marks = list(self.layout.marks)
            marks[self.state] = "R"
            width = self.layout.width
            return "\n".join("".join(marks[row : row + width]) for row in range(0, len(marks), width))
        return None
