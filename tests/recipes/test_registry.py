"""All recipes: in order, with all facts filled in short lines, and settings that their functions take."""

import dataclasses
import inspect
import json
import re

import pytest

from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.recipes.registry import ORDER, RECIPES, named

NAMES = """instructgpt gpt4 gemini internlm2 claude3 zephyr_orpo deepseek_v2 chatglm nemotron4 llama3 qwen2
    gemma2 starling o1""".split()
LINES = ("title", "report", "address", "data", "reward", "optimiser", "anchor", "rounds")
LISTS = ("reported", "left_out", "set_right", "departures")
LONGEST = {"departures": 280}  # characters of a line, which has a reason in it; of all others
USUAL = 125


@pytest.fixture(params=RECIPES.values(), ids=RECIPES.keys())
def recipe(request) -> Recipe:
    return request.param


def test_fourteen_recipes_in_the_order_of_the_table():
    assert [*RECIPES] == NAMES
    assert len(ORDER) == len(RECIPES) == 14
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert inspect.getmodule(recipe.train).__name__ == f"rlhf_mini.recipes.{name}"
        assert named(name) is recipe
    assert len({recipe.title for recipe in ORDER}) == 14


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown recipe 'gpt5': choose one of instructgpt, gpt4, gemini"):
        named("gpt5")


def test_every_fact_is_there_in_a_short_line(recipe):
    told = [(name, getattr(recipe, name)) for name in LINES]
    for name in LISTS:
        rows = getattr(recipe, name)
        assert isinstance(rows, tuple), name
        assert rows, name
        told += [(name, row) for row in rows]
    for name, line in told:
        assert line.strip() == line != "", name
        assert "\n" not in line, (name, line)
        assert len(line) <= LONGEST.get(name, USUAL), (name, len(line), line)
    assert len(recipe.reported) <= 3
    assert 2020 <= recipe.year <= 2026
    assert re.fullmatch(r"https://\S+", recipe.address), recipe.address


def test_o1_alone_is_about_sums():
    assert [recipe.name for recipe in ORDER if recipe.world == "sums"] == ["o1"]


def test_no_fact_is_told_twice(recipe):
    rows = [row for name in LISTS for row in getattr(recipe, name)]
    assert len(rows) == len({*rows})


def test_steps_are_names_of_folders(recipe):
    assert recipe.steps
    assert len(recipe.steps) == len({*recipe.steps})
    for step in recipe.steps:
        assert step.strip() == step != ""
        assert "/" not in step
        assert "\\" not in step
        assert not step.startswith(".")


def test_train_takes_the_settings_of_every_run_and_needs_no_others(recipe):
    signature = inspect.signature(recipe.train)
    assert [*signature.parameters][:2] == ["pipeline", "folder"]
    for variant in ("", *recipe.variants):
        settings = recipe.settings_of(variant)
        signature.bind(None, None, **settings)
        assert json.loads(json.dumps(settings)) == settings, variant
    with pytest.raises(ValueError, match="has no variant 'another'"):
        recipe.settings_of("another")


def test_variants_change_what_train_knows_and_change_something(recipe):
    known = inspect.signature(recipe.train).parameters
    assert recipe.variants
    for name, changes in recipe.variants.items():
        assert changes, name
        for setting, value in changes.items():
            assert setting in known, (name, setting)
            usual = recipe.settings.get(setting, known[setting].default)
            assert value != usual, (name, setting)


def test_a_recipe_without_steps_or_with_four_results_is_refused(recipe):
    for wrong in ({"steps": ()}, {"reported": ("a result",) * 4}):
        with pytest.raises(ValueError, match="needs at least one step, and at most three results"):
            dataclasses.replace(recipe, **wrong)
