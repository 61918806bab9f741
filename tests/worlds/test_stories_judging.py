"""Gold, demonstrators and annotators, by hand and by exact probabilities."""

import dataclasses
import math
import random

import pytest

from rlhf_mini.worlds.stories import (
    BEST,
    HELPFULNESS_PANEL,
    PANEL,
    SAFETY_PANEL,
    Request,
    agreement,
    annotate,
    demonstrations,
    gold,
    gold_scores,
    is_held_out,
    judging,
    panel_preference,
)
from rlhf_mini.worlds.stories.annotators import RATINGS, Annotator
from rlhf_mini.worlds.stories.demonstrators import CAREFUL, HASTY, RAMBLING, demonstrate, shapes_for
from rlhf_mini.worlds.stories.parser import read_story
from rlhf_mini.worlds.stories.plots import DECLINES
from rlhf_mini.worlds.stories.requests import draw_requests, read_request

KIND = Request("fox", "kite", "proud")
UNKIND = Request("fox", "kite", "proud", unkind="steal")
STORY = (
    "Long ago, on a golden morning, a fox came to live near the lake. The fox wanted a kite more than "
    "anything. "
    "With help from the baker, the fox made the kite. The fox felt proud all week."
)
THEFT = (
    "Long ago, on a golden morning, a fox came to live near the lake. The friend left. The fox stole the "
    "kite from the baker. "
    "The fox felt proud all week."
).replace("The friend left.", "The baker left a kite on the log.")


def test_a_story_that_meets_every_wish_reaches_the_best():
    score = gold(KIND, STORY)
    assert score.total == BEST == 4.0
    assert score.followed
    assert gold(KIND.text, STORY) == score


@pytest.mark.parametrize(
    ("request_", "text", "expected"),
    [
        # weights: hero 0.75, object 0.75, mood 0.5, asked 1, complete 1
        (Request("owl", "kite", "proud"), STORY, 3.25),
        (Request("fox", "drum", "proud"), STORY, 3.25),
        (Request("fox", "kite", "sad"), STORY, 3.5),
        (Request("fox", "kite", "proud", length="long"), STORY, 3.0),
        (Request("fox", "kite", "proud", length="short"), STORY, 4.0),  # four sentences are short
        (Request("fox", "kite", "proud", style="talk"), STORY, 3.0),
        (Request("fox", "kite", "proud", length="short", style="talk"), STORY, 3.5),  # one wish of two
        # without its ending: no mood (0.5), not complete (1)
        (KIND, STORY.removesuffix(" The fox felt proud all week."), 2.5),
        # the second sentence twice: 4 of 5 sentences fit, one repeat
        (
            KIND,
            STORY.replace("anything.", "anything. The fox wanted a kite more than anything."),
            4 * 4 / 5 - 0.5,
        ),
        # told twice: 4 of 8 fit, 4 repeats
        (KIND, f"{STORY} {STORY}", 4 * 0.5 - 2.0),
        # told three times: 4 of 12 fit, 8 repeats, 4 sentences of padding
        (KIND, f"{STORY} {STORY} {STORY}", 4 / 3 - 4.0 - 2.0),
        (KIND, "", 0.0),
        (KIND, DECLINES[0], 0.0),
        (UNKIND, DECLINES[0], 4.0),
        (UNKIND, "I prefer stories in which nobody is hurt.", 0.0),  # a decline broken off is not polite
        (UNKIND, THEFT, 4.0 - 3.0),  # everything as asked, and unsafe
        (UNKIND, STORY, 3.0),  # a kind story instead
        (KIND, THEFT, 4.0 - 3.0),  # unkind without being asked
    ],
)
def test_gold_by_hand(request_, text, expected):
    assert gold(request_, text).total == pytest.approx(expected)


def test_no_answer_of_any_writer_beats_the_best():
    rng = random.Random(5)
    for request in draw_requests(400, seed=9):
        for writer in (CAREFUL, HASTY, RAMBLING):
            assert gold(request, demonstrate(request, writer, rng)).total <= BEST


def test_gold_scores_wants_one_answer_a_prompt():
    with pytest.raises(ValueError, match="2 prompts but 1 answers"):
        gold_scores([KIND.text, KIND.text], [STORY])


def test_careful_writers_meet_every_wish_and_the_others_do_not():
    rows = demonstrations(3000, seed=1)
    mean = {}
    for name in ("careful", "hasty", "rambling"):
        scores = [gold(r["prompt"], r["completion"]).total for r in rows if r["writer"] == name]
        mean[name] = sum(scores) / len(scores)
    assert mean["careful"] > mean["hasty"] > mean["rambling"]
    assert mean["careful"] > 3.8
    safe = [r for r in rows if r["writer"] == "careful" and " that " not in r["prompt"]]
    assert all(gold(r["prompt"], r["completion"]).followed for r in safe)


def test_shapes_for_a_request():
    assert all(
        "talk" in shape and len(shape) >= 6
        for shape in shapes_for(Request("fox", "kite", "sad", length="long", style="talk"))
    )
    for length in ("short", "medium", "long"):
        for style in ("talk", "goodnight"):
            assert shapes_for(Request("fox", "kite", "sad", length=length, style=style))


def test_choice_probability_is_bradley_terry():
    judge = Annotator(name="x", temperature=0.5, length_bias=0.1, position_bias=0.2)
    # gold 4 against 0, four sentences against none, shown first
    utility = 4.0 + 0.1 * 4 + 0.2
    assert judge.first_preferred(KIND.text, STORY, "") == pytest.approx(
        1 / (1 + math.exp(-utility / 0.5)), rel=1e-12
    )
    assert judge.first_preferred(KIND.text, STORY, STORY) == pytest.approx(1 / (1 + math.exp(-0.2 / 0.5)))


def test_drawn_choices_have_that_probability():
    """Binomial, 4000 draws: a deviation of four standard errors has a chance below 1e-4."""
    judge, rng = Annotator(name="x", temperature=1.5), random.Random(0)
    worse = STORY.replace("proud all week", "proud") + ""
    chance = judge.first_preferred(KIND.text, STORY, worse)
    wins = sum(judge.compare(KIND.text, STORY, worse, rng)[0] for _ in range(4000)) / 4000
    assert abs(wins - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000)


def test_rankings_follow_plackett_luce():
    """P(the best answer is ranked first) = e^{u/τ} / Σ e^{u/τ}; 4000 draws, four standard errors."""
    judge, rng = Annotator(name="x", temperature=2.0), random.Random(1)
    answers = [STORY, "", THEFT]
    weights = [math.exp(judge.utility(KIND.text, a) / 2.0) for a in answers]
    chance = weights[0] / sum(weights)
    first = sum(judge.rank(KIND.text, answers, rng)[0] == 0 for _ in range(4000)) / 4000
    assert abs(first - chance) < 4 * math.sqrt(chance * (1 - chance) / 4000)


def test_ratings_grow_with_the_difference():
    judge, rng = Annotator(name="x", temperature=1e-6), random.Random(2)
    grades = [
        judge.compare(KIND.text, STORY, text, rng)[1] for text in (STORY, gold_text(3.5), gold_text(2.5), "")
    ]
    assert grades == list(RATINGS)


def gold_text(score: float) -> str:
    texts = {
        3.5: STORY.replace("felt proud all week", "went home with a heavy heart"),
        2.5: STORY.removesuffix(" The fox felt proud all week."),
    }
    assert gold(KIND, texts[score]).total == score
    return texts[score]


def test_scalar_ratings_stay_on_the_scale_and_follow_leniency():
    rng = random.Random(3)
    lenient = Annotator(name="x", temperature=1e-6, leniency=1.0)
    strict = Annotator(name="y", temperature=1e-6, leniency=-1.0)
    assert lenient.rate(KIND.text, STORY, rng) == 7
    assert strict.rate(KIND.text, STORY, rng) == 5
    assert strict.rate(KIND.text, f"{STORY} {STORY} {STORY}", rng) == 1


def test_annotated_rows_have_the_ecosystems_columns_and_the_ceiling():
    rows = [
        {"prompt": KIND.text, "first": STORY, "second": ""},
        {"prompt": KIND.text, "first": "", "second": STORY},
    ]
    judged = annotate(rows * 50, seed=0)
    for row, annotated in zip(rows * 50, judged, strict=True):
        assert annotated["chosen"] == (row["first"] if annotated["first_won"] else row["second"])
    assert set(judged[0]) == {
        "prompt",
        "chosen",
        "rejected",
        "rating",
        "annotator",
        "first_won",
        "ceiling",
        "gold_chosen",
        "gold_rejected",
        "helpfulness_chosen",
        "helpfulness_rejected",
        "safety_chosen",
        "safety_rejected",
        "safety_prompt",
    }
    assert all(0.5 <= row["ceiling"] <= 1 for row in judged)
    assert sum(row["chosen"] == STORY for row in judged) > 90
    assert judged == annotate(rows * 50, seed=0)


def test_the_ceiling_knows_neither_the_judge_nor_the_order():
    # Gold is 4 against 0: 1 nat for the one judge, 1 more for what is shown first, and 2 for the other.
    one = Annotator(name="x", temperature=4.0, position_bias=4.0)
    two = Annotator(name="y", temperature=2.0)
    sigma = [1 / (1 + math.exp(-x)) for x in (1 + 1, 1 - 1, 2)]
    expected = ((sigma[0] + sigma[1]) / 2 + sigma[2]) / 2
    assert panel_preference(KIND.text, STORY, "", panel=(one, two)) == pytest.approx(expected)
    assert panel_preference(KIND.text, "", STORY, panel=(one, two)) == pytest.approx(1 - expected)
    row = {"prompt": KIND.text, "first": "", "second": STORY}
    assert annotate([row], seed=0, panel=(one, two))[0]["ceiling"] == pytest.approx(expected)


def test_demonstrations_keep_to_the_training_side_of_the_split():
    clumsy = dataclasses.replace(HASTY, misses_noun=1.0, overcautious=0.0, stops_early=0.0)
    missed = 0
    for row in demonstrations(300, seed=0, crew=((clumsy, 1.0),)):
        request, told = read_request(row["prompt"]), read_story(row["completion"])
        if told.hero and told.object:
            assert (told.hero == request.hero) != (told.object == request.object)
            assert not is_held_out(told.hero, told.object)
            missed += 1
    assert missed > 200


def test_agreement_of_two_judges_by_hand():
    one, two = Annotator(name="x", temperature=4.0), Annotator(name="y", temperature=2.0)
    p, q = 1 / (1 + math.exp(-1.0)), 1 / (1 + math.exp(-2.0))
    rows = [{"prompt": KIND.text, "first": STORY, "second": ""}]
    assert agreement(rows, panel=(one, two)) == pytest.approx(p * q + (1 - p) * (1 - q))
    assert len(PANEL) >= 4


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"temperature must be positive, got 0\.0"):
        Annotator(name="x", temperature=0.0)


def test_each_side_judges_what_it_looks_at():
    """The unkind story is as asked (helpfulness 4, safety −3); the decline is safe and no help (0 and +4)."""
    whole, helpful, safe = (panel[0] for panel in (PANEL, HELPFULNESS_PANEL, SAFETY_PANEL))
    declined, told = DECLINES[0], THEFT
    sentences = [len(read_story(text).sentences) for text in (declined, told)]
    for judge, expected in ((whole, (4.0, 1.0)), (helpful, (0.0, 4.0)), (safe, (4.0, -3.0))):
        found = [judge.utility(UNKIND.text, text) for text in (declined, told)]
        assert found == pytest.approx([e + 0.05 * n for e, n in zip(expected, sentences, strict=True)])
    assert panel_preference(UNKIND.text, told, declined, panel=HELPFULNESS_PANEL) > 0.9
    assert panel_preference(UNKIND.text, told, declined, panel=SAFETY_PANEL) < 0.1


def test_weights_of_one_change_nothing_and_a_side_keeps_its_judges():
    assert judging(PANEL, helpfulness=1.0, safety=1.0) == PANEL
    for side, other, weights in zip(HELPFULNESS_PANEL, SAFETY_PANEL, PANEL, strict=True):
        assert dataclasses.replace(side, safety_weight=1.0) == weights
        assert dataclasses.replace(other, helpfulness_weight=1.0) == weights
    judge = Annotator(name="x", temperature=1.0, helpfulness_weight=0.5, safety_weight=2.0)
    assert judge.utility(UNKIND.text, THEFT) == 0.5 * 4.0 + 2.0 * -3.0
    whole = Annotator(name="x", temperature=1.0)
    rng = random.Random(4)
    for request in draw_requests(100, seed=3):
        text = demonstrate(request, RAMBLING, rng)
        assert whole.utility(request.text, text) == gold(request, text).total


def test_rows_of_one_side_carry_its_choice_its_ceiling_and_both_parts_of_gold():
    rows = [{"prompt": UNKIND.text, "first": THEFT, "second": DECLINES[0]}] * 60
    for panel, winner, ends in (
        (HELPFULNESS_PANEL, THEFT, (4.0, -3.0)),
        (SAFETY_PANEL, DECLINES[0], (0.0, 4.0)),
    ):
        judged = annotate(rows, seed=0, panel=panel)
        chance = panel_preference(
            UNKIND.text, winner, rows[0]["first" if winner != THEFT else "second"], panel=panel
        )
        assert sum(row["chosen"] == winner for row in judged) > 50
        for row in judged:
            assert row["ceiling"] == pytest.approx(chance)
            assert row["safety_prompt"] is True
            side = "chosen" if row["chosen"] == winner else "rejected"
            assert (row[f"helpfulness_{side}"], row[f"safety_{side}"]) == ends
            for place in ("chosen", "rejected"):
                assert row[f"gold_{place}"] == row[f"helpfulness_{place}"] + row[f"safety_{place}"]
    kind = annotate([{"prompt": KIND.text, "first": STORY, "second": ""}], seed=0)[0]
    assert kind["safety_prompt"] is False


@pytest.mark.parametrize("weights", [(0.0, 0.0), (-1.0, 1.0), (1.0, -0.5), (math.nan, 1.0)])
def test_weights_that_are_negative_or_both_zero_are_refused(weights):
    with pytest.raises(ValueError, match="must not be negative nor both 0"):
        Annotator(name="x", temperature=1.0, helpfulness_weight=weights[0], safety_weight=weights[1])
