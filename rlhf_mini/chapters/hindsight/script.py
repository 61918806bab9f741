"""What a run of hindsight relabelling is told besides its numbers: what a script makes of an output, and how it is asked."""

from collections.abc import Callable
from dataclasses import dataclass

from rlhf_mini.methods.hir import Ask, Relabel, Task


@dataclass(frozen=True)
class Script:
    """A relabelling with what goes with it: the tasks that requests become, and how a task is put in words.

    As it stands, the request itself is the instruction, and there is no query.
    """

    relabel: Relabel
    task: Callable[[str], Task] = lambda request: (request, "")
    ask: Ask = lambda instruction, query: instruction

    def prompt(self, request: str) -> str:
        """What the policy is asked for the best answer to a request."""
        return self.ask(*self.task(request))
