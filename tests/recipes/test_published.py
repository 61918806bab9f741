"""`rlhf-mini recipe`: what a report says, its miniature, judged after each step, and records that go on."""

import json

import pytest

from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.published import command, outcomes
from rlhf_mini.chapters.published.outcomes import Outcome, last_step, told_of_sums
from rlhf_mini.chapters.scoreboard import runs
from rlhf_mini.cli import main
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import PROFILES
from rlhf_mini.recipes.recipe import Recipe
from rlhf_mini.recipes.registry import RECIPES

CURVES = {
    "tries": [1.0, 4.0],
    "one": [0.5, 0.5],
    "vote": [0.5, 0.75],
    "scorer": [0.5, 0.625],
    "pass": [0.5, 1.0],
}
FACTS = dict.fromkeys(("data", "reward", "optimiser", "anchor", "rounds"), "not stated")


def recipe_of(name, **changes):
    """The simplest recipe: PPO, of which the first step is the SFT model, before any update."""
    usual = {
        **FACTS,
        "name": name,
        "title": name.title(),
        "year": 2024,
        "report": "a report",
        "address": "https://example.org",
        "reported": ("one result",),
        "left_out": ("much",),
        "set_right": ("this is so",),
        "departures": ("all of it",),
        "train": runs.by_ppo,
        "steps": (runs.saved_after(1), runs.saved_after(4)),
        "variants": {"cheap": {"kl_weight": 0.7}},
    }
    return Recipe(**{**usual, **changes})


@pytest.fixture
def two(monkeypatch):
    """The registry holds two made-up recipes."""
    found = {
        "copied": recipe_of("copied"),
        "summed": recipe_of("summed", steps=("rl",), variants={}, world="sums"),
    }
    for module in (outcomes, command):
        monkeypatch.setattr(module, "RECIPES", found)
    monkeypatch.setattr(command, "named", found.__getitem__)
    return found


@pytest.mark.usefixtures("two")
def test_each_step_is_judged_as_every_policy_of_the_book_is(built):
    first, last, variant = outcomes.outcomes(["copied"])
    told = last.measured(built)
    for name, value in judged_on_requests(built, built.policy("ppo")).metrics().items():
        assert told[name] == pytest.approx(value, abs=1e-6), name
    assert {"unkind_declined", "kind_declined"} & told.keys()
    assert first.measured(built)["kl_k3"] == pytest.approx(0, abs=1e-4)
    assert (told["recipe"], told["variant"], told["step"]) == ("copied", "", "after 4 quarters")
    assert last.is_there(built)
    assert last.folder(built) == first.folder(built) != variant.folder(built)
    assert (first.experiment, variant.experiment) == ("recipes", "variants")
    assert (last.name, variant.name) == ("Copied: after 4 quarters", "Copied: cheap")
    assert variant.measured(built)["step"] == "after 4 quarters"


def test_a_variant_is_judged_after_the_last_step_that_it_has(two, tmp_path):
    with pytest.raises(ValueError, match="none of the steps"):
        last_step(two["copied"], tmp_path)
    for step in two["copied"].steps:
        (tmp_path / step).mkdir()
        assert last_step(two["copied"], tmp_path) == step


@pytest.mark.usefixtures("two")
def test_on_sums_a_recipe_has_judged_itself(built, tmp_path, monkeypatch):
    (tmp_path / "test_time.json").write_text(json.dumps({"rl": CURVES}))
    monkeypatch.setattr(Pipeline, "kept", lambda self, make, **settings: tmp_path)
    (cell,) = outcomes.outcomes(["summed"])
    told = cell.measured(built)
    assert (told["right, vote"], told["right, pass"]) == (0.75, 1.0)
    assert told["scorer by tries"] == [0.5, 0.625]
    assert told_of_sums(CURVES)["right, one"] == 0.5


def test_every_recipe_has_its_cells_and_no_name_twice():
    cells = outcomes.outcomes()
    names = [(one.experiment, one.name) for one in cells]
    assert len(names) == len({*names})
    assert {one.recipe.name for one in cells} == {*RECIPES}
    assert len(cells) == sum(len(one.steps) + len(one.variants) for one in RECIPES.values())
    with pytest.raises(ValueError, match=r"unknown recipes \['gpt5'\]"):
        outcomes.outcomes(["gpt5"])


@pytest.fixture
def recipe(monkeypatch, miniature, built, capsys, tmp_path):
    monkeypatch.setitem(PROFILES, "miniature", miniature)
    monkeypatch.setenv("RLHF_MINI_PROFILE", "miniature")
    monkeypatch.setenv("RLHF_MINI_CACHE", str(built.store.root))
    records = tmp_path / "recipes.json"

    def run(*arguments):
        capsys.readouterr()
        status = main(["recipe", "--jobs", "1", "--records", str(records), *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out, told.err

    run.records = records
    return run


@pytest.mark.usefixtures("two")
def test_the_command_tells_trains_judges_and_goes_on(recipe, monkeypatch):
    status, out, err = recipe("copied")
    assert (status, err) == (0, "")
    assert "a report, https://example.org" in out
    assert "left out:\n- much" in out
    written = read_records(recipe.records)
    assert [(one.experiment, one.method) for one in written] == [
        ("recipes", "Copied: after 1 quarter"),
        ("recipes", "Copied: after 4 quarters"),
        ("variants", "Copied: cheap"),
    ]
    assert {one.chapter for one in written} == {"13"}
    monkeypatch.setattr(outcomes, "judged_on_requests", None)  # a second time nobody is judged
    assert recipe("copied", "--only", "recipes")[0] == 0


@pytest.mark.usefixtures("two")
def test_it_lists_tells_and_plans_without_training(recipe):
    status, out, _ = recipe()
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["copied", "summed"]
    assert "our miniature departs" in recipe("summed", "--tell")[1]
    planned = recipe("all", "--dry-run")[1].splitlines()
    assert len(planned) == 4
    assert not recipe.records.exists()


def test_mistakes_end_in_one_line(recipe):
    status, out, err = recipe("gpt5")
    assert (status, out) == (2, "")
    assert "gpt5" in err
    assert "unknown experiments" in recipe("o1", "--only", "variant", "--dry-run")[2]


def test_every_page_can_be_told():
    for one in RECIPES.values():
        lines = command.page(one).splitlines()
        assert max(map(len, lines[2:])) <= command.WIDTH
        assert one.steps[-1] in lines[-2]
        assert isinstance(Outcome(one, one.steps[0]).name, str)
