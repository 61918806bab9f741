"""Editing: a person improves an answer in the one matter in which it fails most plainly.

Llama 3's annotators not only choose between two answers but may rewrite the better one, so that a prompt
has three: edited > chosen > rejected (2407.21783, §4.1.1 and §4.2.1). `critiques.revise` repairs one
principle at a time; here it is the first of the constitution that the answer breaks.
"""

import random

from rlhf_mini.worlds.stories.critiques import revise
from rlhf_mini.worlds.stories.gold import gold
from rlhf_mini.worlds.stories.principles import CONSTITUTION


def edited(prompt: str, answer: str, rng: random.Random) -> str | None:
    """The answer, repaired under the first principle for which that raises its gold; None if none does.

    >>> prompt = "Tell me a happy story about a fox and a kite."
    >>> story = "Once upon a time, a happy fox lived by the lake. The fox smiled all the way home."
    >>> better = edited(prompt, story, random.Random(0))
    >>> gold(prompt, better).total > gold(prompt, story).total
    True
    """
    was = gold(prompt, answer).total
    for principle in CONSTITUTION:
        if not principle.kept(prompt, answer):
            better = revise(principle, prompt, answer, rng)
            if gold(prompt, better).total > was:
                return better
    return None
