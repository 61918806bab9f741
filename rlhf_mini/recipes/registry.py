"""All recipes by name, in the order of the chapter's table."""

from collections.abc import Mapping

from rlhf_mini.recipes import (
    chatglm,
    claude3,
    deepseek_v2,
    gemini,
    gemma2,
    gpt4,
    instructgpt,
    internlm2,
    llama3,
    nemotron4,
    o1,
    qwen2,
    starling,
    zephyr_orpo,
)
from rlhf_mini.recipes.recipe import Recipe

ORDER = (
    instructgpt.RECIPE,
    gpt4.RECIPE,
    gemini.RECIPE,
    internlm2.RECIPE,
    claude3.RECIPE,
    zephyr_orpo.RECIPE,
    deepseek_v2.RECIPE,
    chatglm.RECIPE,
    nemotron4.RECIPE,
    llama3.RECIPE,
    qwen2.RECIPE,
    gemma2.RECIPE,
    starling.RECIPE,
    o1.RECIPE,
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in ORDER}


def named(name: str) -> Recipe:
    """The recipe of this name. Raises ValueError on an unknown one, listing the known ones.

    >>> named("gemma2").title
    'Gemma 2'
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]
