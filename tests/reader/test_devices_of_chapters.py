"""Quiz, bug hunt and ladder: what they show, without a kernel too, and what they refuse."""

import html
import re
from xml.etree import ElementTree

import pytest

from rlhf_mini.reader import BugHunt, Question, Rung, ladder, quiz
from rlhf_mini.reader.style import STYLESHEET

OPTIONS = (("<weigh>", "It multiplies."), ("explore", "That is ε."), ("clip", "That is another ε."))


def parsed(body):
    """The fragment as a tree; a page that forgets to close a tag would swallow what follows."""
    closed = re.sub(r"<(input|br|img)\b([^>]*)>", r"<\1\2/>", body)
    return ElementTree.fromstring(f"<div>{closed}</div>")


# ------------------------------------------------------------------------------------------------------- quiz


def test_every_option_is_a_radio_button_followed_by_its_explanation():
    """The stylesheet shows the paragraph after a chosen button's label: the order is the mechanism."""
    shown = quiz([Question(ask="What is γ?", options=OPTIONS, right=1)])
    (fieldset,) = parsed(shown.body).iter("fieldset")
    tags = [child.tag for child in fieldset]
    assert tags == ["legend", *["input", "label", "p"] * 3]
    for index in range(3):
        button, label, why = fieldset[1 + 3 * index : 4 + 3 * index]
        assert button.get("type") == "radio"
        assert button.get("id") == label.get("for")
        assert label.text == OPTIONS[index][0]
        assert why.find("b").text == ("✓ Right." if index == 1 else "✗ No.")
        assert why.find("b").tail.strip() == OPTIONS[index][1]
    assert ".rm.rm fieldset p{display:none" in STYLESHEET
    assert ".rm.rm fieldset input:checked+label+p{display:block}" in STYLESHEET
    # the book's theme floats legends, which would make them cells of the grid of buttons and labels
    assert ".rm.rm legend{float:none;grid-column:1/-1;" in STYLESHEET


def test_questions_do_not_share_buttons_and_quizzes_do_not_share_ids():
    one, other = (Question(ask=f"What is {name}?", options=OPTIONS, right=0) for name in "ab")
    both, alone = quiz([one, other]), quiz([one])
    names = re.findall(r'name="([^"]+)"', both.body)
    assert len(set(names)) == 2
    ids = re.findall(r' id="([^"]+)"', both.body + alone.body)
    assert len(ids) == len(set(ids)) == 9


def test_all_answers_stand_below_for_print_and_the_text_gives_none_away():
    shown = quiz([Question(ask="What is γ?", options=OPTIONS, right=0)])
    folded = re.search(r"<details>.*</details>", shown.body)[0]
    assert html.escape(OPTIONS[0][0]) in folded
    assert "It multiplies." in folded
    assert "It multiplies." not in shown.text
    assert "1. What is γ?" in shown.text


@pytest.mark.parametrize(
    "changed", [{"options": OPTIONS[:2]}, {"right": 3}, {"right": -1}, {"options": (*OPTIONS, ("d", ""))}]
)
def test_a_careless_question_is_refused(changed):
    with pytest.raises(ValueError, match="What"):
        Question(**{"ask": "What?", "options": OPTIONS, "right": 0, **changed})
    with pytest.raises(ValueError, match="at least one"):
        quiz([])


# --------------------------------------------------------------------------------------------------- bug hunt


def total(values):
    """Adds."""
    result = 0
    for value in values:
        result -= value
    return result


def right_total(values):
    """Adds all of them up."""
    result = 0
    for value in values:
        result += value  # adds
    return result


def hunt(**changed):
    options = {
        "title": "The sum falls",
        "wrong": total,
        "right": right_total,
        "explanation": "It <subtracts>.",
        "source": "somebody",
        "link": "https://example.org/1",
    }
    return BugHunt(**{**options, **changed})


def test_the_answer_shows_the_lines_that_mend_it_and_nothing_else():
    assert [line for line in hunt().changes() if line[0] in "+-"] == [
        "-        result -= value",
        "+        result += value  # adds",
    ]
    answer = hunt().answer()
    parsed(answer.body)
    assert "It &lt;subtracts&gt;." in answer.body
    assert 'href="https://example.org/1"' in answer.body
    assert answer.body.startswith("<details ")
    assert "open" not in answer.body.split(">")[0]
    assert "result +=" not in answer.text


def test_the_code_is_the_wrong_functions_source():
    assert "result -= value" in hunt().code().text


def test_a_hunt_without_a_bug_or_a_source_is_refused():
    with pytest.raises(ValueError, match="do not differ"):
        hunt(right=total)
    with pytest.raises(ValueError, match="https"):
        hunt(link="somewhere")


# ----------------------------------------------------------------------------------------------------- ladder


def rungs(*held, climbed=None):
    def check(index, holds):
        if climbed is not None:
            climbed.append(index)
        return holds, f"saw {index}"

    return [
        Rung(f"rung {i}", "x < 1", lambda i=i, holds=holds: check(i, holds)) for i, holds in enumerate(held)
    ]


def test_a_ladder_is_climbed_to_the_first_rung_that_does_not_hold():
    climbed = []
    climb = ladder(rungs(True, False, True, climbed=climbed), caption="why")
    assert climbed == [0, 1]
    assert (climb.reached, climb.height, climb.holds) == (1, 3, False)
    assert climb.text.splitlines() == [
        "1. ✓ rung 0: x < 1 (saw 0)",
        "2. ✗ rung 1: x < 1 (saw 1)",
        "3. · rung 2: x < 1 (not climbed)",
        "why",
    ]
    assert len([*parsed(climb.body).iter("li")]) == 3
    assert "x &lt; 1" in climb.body


def test_a_ladder_that_holds_throughout():
    assert ladder(rungs(True, True)).holds
    with pytest.raises(ValueError, match="at least one"):
        ladder([])
