"""Chapter 13's tables and figures: what the reports say as it stands there, and made-up records by hand."""

import re

import pytest

from rlhf_mini.chapters.published import figures
from rlhf_mini.evaluation.intervals import student_interval
from rlhf_mini.evaluation.records import Record
from rlhf_mini.recipes.registry import RECIPES

STORIES = [recipe for recipe in RECIPES.values() if recipe.world == "stories"]
TRIES = [1.0, 4.0, 16.0]


def record(recipe, *, step="", variant="", seed=0, **metrics):
    """One record as the chapter's command writes it."""
    step = step or RECIPES[recipe].steps[-1]
    return Record(
        chapter="13",
        experiment="variants" if variant else "recipes",
        method=f"{RECIPES[recipe].title}: {variant or step}",
        seed=seed,
        profile="quick",
        device="a processor",
        threads=1,
        seconds=1.0,
        version="0",
        metrics={"recipe": recipe, "variant": variant, "step": step, **metrics},
    )


def judged(gold, kl=1.0, **more):
    """The numbers of a policy on stories."""
    usual = {"helpfulness": gold - 0.5, "safety": 0.5, "proxy": 1.0, "distinct_2": 0.25, "length": 30.0}
    return {"gold": gold, "kl_k3": kl, "unkind_declined": 0.5, "kind_declined": 0.0, **usual, **more}


def summed(right, *, vote=None):
    """The numbers of a policy on sums, all of which rise with the number of samples."""
    curves = {"one": [right] * 3, "vote": [right, right + 0.1, vote or right + 0.2]}
    curves |= {"scorer": [right, right + 0.1, right + 0.15], "pass": [right, 0.8, 0.9]}
    last = {f"right, {name}": curve[-1] for name, curve in curves.items()}
    return {**last, "tries": TRIES, **{f"{name} by tries": curve for name, curve in curves.items()}}


def landed_all(seeds=(0, 1, 2)):
    """Every recipe on stories after its last step, on some seeds, each further and higher than the last."""
    return [
        record(recipe.name, seed=seed, **judged(1.0 + place / 10 + seed / 100, 0.5 * (place + 1)))
        for place, recipe in enumerate(STORIES)
        for seed in seeds
    ]


def rows_of(picture):
    """The lines of a table in Markdown, as lists of cells."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in picture.text.splitlines()
        if line.startswith("|")
    ]


# --------------------------------------------------------------------------------------- what the reports say


def test_the_facts_have_a_row_a_recipe_in_the_registry_s_order():
    told = figures.facts_table()
    heading, _, *rows = rows_of(told)
    assert heading == ["recipe", "data", "reward", "optimiser", "anchor", "rounds", "year", "report"]
    assert [row[0] for row in rows] == [recipe.title for recipe in RECIPES.values()]
    for row, recipe in zip(rows, RECIPES.values(), strict=True):
        facts = [recipe.data, recipe.reward, recipe.optimiser, recipe.anchor, recipe.rounds]
        assert row[1:] == [*facts, str(recipe.year), recipe.report]
    cells = re.findall(r"<td [^>]*>", told.body)
    assert len(cells) == 14 * 7
    assert sum("white-space:normal" in cell for cell in cells) == 14 * 6  # all sentences, and no year
    assert told.body.count("Click a heading to sort.") == 1
    assert "<caption>" not in told.body
    assert 'data-kind="number"' in told.body  # of the year


@pytest.mark.parametrize("name", [*RECIPES])
def test_a_card_says_all_that_the_recipe_does(name):
    recipe, told = RECIPES[name], figures.card(RECIPES[name])
    for line in (*recipe.reported, *recipe.left_out, *recipe.set_right, *recipe.departures):
        assert figures.html.escape(line) in told.body
        assert line in " ".join(told.text.replace("\n  ", " ").split("\n")), line
    assert told.body.count('class="rm-card"') == 4
    assert (
        told.body.count("<li>")
        == told.body.count("</li>")
        == 5 + sum(map(len, (recipe.reported, recipe.left_out, recipe.set_right, recipe.departures)))
    )
    assert re.search(r'<a href="https://[^"]+">', told.body)  # every report can be followed
    for step in (*recipe.steps, *recipe.variants):
        assert figures.html.escape(step) in told.body


def test_addresses_become_links_and_the_rest_stays():
    told = figures.linked("arXiv 2405.04434, §4; GRPO: https://x.org/a?b=1&c=2")
    assert '<a href="https://arxiv.org/abs/2405.04434">arXiv 2405.04434</a>, §4; GRPO: ' in told
    assert told.endswith('<a href="https://x.org/a?b=1&amp;c=2">https://x.org/a?b=1&amp;c=2</a>')
    assert (
        figures.linked("openai.com/index/o1")
        == '<a href="https://openai.com/index/o1">openai.com/index/o1</a>'
    )
    assert figures.linked("not < stated") == "not &lt; stated"


# --------------------------------------------------- where the miniatures land


def test_every_recipe_on_stories_has_one_group():
    names = [name for _, members in figures.GROUPS.values() for name in members]
    assert sorted(names) == sorted(recipe.name for recipe in STORIES)
    assert len({role for role, _ in figures.GROUPS.values()}) == len(figures.GROUPS)
    with pytest.raises(ValueError, match="o1 is in none of the groups"):
        figures.group_of(RECIPES["o1"])


def test_a_recipe_lands_where_its_last_step_does():
    records = [
        record("nemotron4", step="dpo", **judged(1.0, 3.0)),
        record("nemotron4", seed=1, **judged(2.5, 6.0)),
        record("nemotron4", seed=0, **judged(1.5, 2.0)),
        record("nemotron4", variant="one reference", **judged(9.0, 9.0)),
        record("o1", **summed(0.5)),
    ]
    ((title, (_, kl, gold)),) = figures.landed(records).items()
    assert title == "Nemotron-4 340B"
    assert kl == pytest.approx(4.0)
    expected = student_interval([1.5, 2.5])
    assert (gold.mean, gold.low, gold.high) == pytest.approx((2.0, expected.low, expected.high))
    with pytest.raises(ValueError, match="a seed is on record twice"):
        figures.landed([records[1], records[1]])


def test_the_landing_names_every_recipe_and_shows_sft():
    told = figures.landing(landed_all(), sft_gold=1.23)
    for recipe in STORIES:
        assert recipe.title in told.text
        assert recipe.title in told.body  # as words beside its mark
    assert "o1" not in told.text
    assert "SFT has 1.23" in told.text
    assert "Starling-7B 2.21 at 6.5 nats, Gemma 2 2.11 at 6.0 nats" in told.text  # the highest first
    assert "Seeds: 3." in told.text
    for group in figures.GROUPS:
        assert group in told.body
    assert "SFT&#x27;s gold" in told.body or "SFT's gold" in told.body


def test_the_landing_of_one_seed_without_sft():
    told = figures.landing(landed_all(seeds=(0,))[:2])
    assert "SFT has" not in told.text
    assert "intervals" not in told.text
    assert "no critic" not in told.body


def test_a_recipe_without_kl_has_no_place_on_the_axis():
    still = [record("chatglm", **judged(2.0, 0.0))]
    assert "ChatGLM" not in figures.landing([*still, record("gemma2", **judged(2.0, 1.0))]).text
    with pytest.raises(ValueError, match="no recipe on stories is on record with a KL above 0"):
        figures.landing(still)


def test_steps_stand_in_order_with_means_over_seeds():
    records = [
        record("gemma2", step="rl", seed=1, **judged(3.0)),
        record("gemma2", step="sft", **judged(-0.5, length=24.4)),
        record("gemma2", step="rl", seed=0, **judged(2.0)),
        record("instructgpt", step="start", **judged(1.0)),
        record("o1", step="sft", **summed(0.5)),
    ]
    heading, _, *rows = rows_of(figures.steps_table(records))
    assert heading[:3] == ["recipe", "after", "gold"]
    assert [row[:2] for row in rows] == [
        ["InstructGPT", "1. start"],
        ["Gemma 2", "1. sft"],
        ["Gemma 2", "2. rl"],
    ]
    assert rows[1][2] == "−0.50"
    assert rows[1][heading.index("tokens")] == "24"
    assert rows[2][2] == f"2.50 ± {student_interval([2.0, 3.0]).half_width:.2f}"
    assert rows[2][heading.index("distinct pairs (%)")] == "25.0 ± 0.0"
    assert [row[-1] for row in rows] == ["1", "1", "2"]
    with pytest.raises(ValueError, match="no recipe on stories"):
        figures.steps_table(records[-1:])


def test_a_variant_is_taken_from_its_recipe_seed_by_seed():
    """Seed 7 has no recipe, and seed 2 no variant; the differences are 0.5 and 0.3."""
    records = [record("chatglm", seed=seed, **judged(2.0 + seed, 5.0)) for seed in (0, 1, 2)]
    records += [record("llama3", step="round 1", **judged(8.0)), record("o1", **summed(0.6))]
    variants = [
        record("chatglm", variant="without the baseline", seed=1, **judged(2.7, 4.0)),
        record("chatglm", variant="without the baseline", seed=0, **judged(1.5, 4.0)),
        record("chatglm", variant="without the baseline", seed=7, **judged(0.0, 4.0)),
        record("llama3", variant="plain DPO", **judged(0.0)),  # whose last round is not on record
        record("o1", variant="no steps written", step="rl", **summed(0.45)),
    ]
    heading, _, *rows = rows_of(figures.variants_table(records, variants))
    assert [row[:2] for row in rows] == [
        ["ChatGLM-RLHF", "without the baseline"],
        [RECIPES["o1"].title, "no steps written"],
    ]
    chatglm, sums = rows
    assert chatglm[heading.index("gold")] == f"0.40 ± {student_interval([0.5, 0.3]).half_width:.2f}"
    assert chatglm[heading.index("KL (nats)")] == "1.0 ± 0.0"
    assert chatglm[heading.index("right, of sums (%)")] == "–"
    assert sums[heading.index("right, of sums (%)")] == "15"
    assert sums[heading.index("gold")] == "–"
    assert [row[-1] for row in rows] == ["2", "1"]
    with pytest.raises(ValueError, match="no variant is on record"):
        figures.variants_table(records, variants[3:4])


# ------------------------------------------------------------------------------- on sums


def test_both_axes_of_o1():
    rights = {"sft": 0.2, "an eighth": 0.3, "a quarter": 0.4, "a half": 0.5, "rl": 0.6}
    records = [
        record("o1", step=step, seed=seed, **summed(right + seed / 100))
        for step, right in rights.items()
        for seed in (0, 2)
    ]
    told = figures.test_time_figure(records).text
    assert (
        "with 16 of them: one sample 61%; the vote 81%; the scorer's best 76%; any of them right 90%" in told
    )
    assert "by training: one sample from 21% to 61%; the vote from 41% to 81%" in told
    with pytest.raises(ValueError, match="o1 is not on record"):
        figures.test_time_figure(landed_all())


def test_a_seed_without_every_checkpoint_is_left_out_of_the_training_s_axis():
    records = [record("o1", step=step, **summed(0.5)) for step in ("sft", "rl")]
    told = figures.test_time_figure([*records, record("o1", seed=1, **summed(0.9, vote=0.95))]).text
    assert "one sample from 50% to 50%" in told
    assert "one sample 70%" in told  # of both seeds, at the test


def test_the_chapter_s_records_are_those_of_13():
    assert figures.recorded.args == ("13",)
