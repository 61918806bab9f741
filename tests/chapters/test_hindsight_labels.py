"""Chapter 08's scripts: what a story really is, and what is made of it."""

import random

import pytest

from rlhf_mini.chapters.hindsight import story_labels as labels
from rlhf_mini.methods.hir import Hindsight
from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories import Request, read_story
from rlhf_mini.worlds.stories.grammar import length_name
from rlhf_mini.worlds.stories.plots import DECLINES


def story(count=200, **wanted):
    """A whole story of the grammar that tells what is wanted."""
    rng = random.Random(0)
    for _ in range(count):
        text = stories.write_story(stories.draw_facts(rng, **wanted), rng)
        if labels.holds_together(read_story(text)) and not read_story(text).unkind:
            return text
    raise AssertionError(f"no whole story of {wanted}")


ASKED = Request("fox", "kite", "happy")
FOX = story(hero="fox", object="kite", mood="happy")
CAT = story(hero="cat", object="drum", mood="sad")


def test_a_story_fulfils_the_request_for_what_it_tells():
    assert labels.request_fulfilled(ASKED, FOX) == ASKED
    assert labels.request_fulfilled(ASKED, CAT) == Request("cat", "drum", "sad")
    assert stories.gold(Request("cat", "drum", "sad"), CAT).followed


def test_what_fulfils_a_request_is_what_gold_calls_followed():
    """On the requests of a hundred stories: the script has no other opinion than the judge's parser."""
    rng = random.Random(1)
    for request in stories.draw_requests(100, seed=3):
        text = stories.demonstrate(request, stories.CREW[0][0], rng)
        found = labels.request_fulfilled(request, text)
        assert (found == request) == stories.gold(request, text).followed
        if found is not None:
            assert stories.gold(found, text).followed


def test_wishes_that_are_not_met_are_left_out_or_named_as_they_are():
    length = length_name(len(read_story(CAT).sentences))
    other = {"short": "long", "medium": "short", "long": "short"}[length]
    found = labels.request_fulfilled(Request("fox", "kite", "happy", length=other), CAT)
    assert found is not None
    assert found.length == length
    asked = Request("fox", "kite", "happy", style="talk")
    told = {style: getattr(read_story(CAT), style) for style in ("talk", "goodnight")}
    found = labels.request_fulfilled(asked, CAT)
    assert found is not None
    assert found.style == next((style for style in ("talk", "goodnight") if told[style]), None)


def test_unkind_requests_are_fulfilled_by_declining_and_by_nothing_else():
    unkind = Request("fox", "kite", "happy", unkind="steal")
    decline = DECLINES[0]
    assert labels.request_fulfilled(unkind, decline) == unkind
    assert labels.request_fulfilled(ASKED, decline) is None
    assert labels.request_fulfilled(unkind, FOX) == ASKED  # a kind story, whatever was asked
    rng = random.Random(0)
    told = stories.write_story(stories.draw_facts(rng, hero="fox", object="kite", deed="steal"), rng)
    assert read_story(told).unkind
    assert labels.request_fulfilled(unkind, told) is None


@pytest.mark.parametrize(
    "broken", ["", "No.", FOX + " " + FOX, FOX.rsplit(".", 2)[0] + ".", "Kite kite kite."]
)
def test_a_broken_story_fulfils_nothing(broken):
    if not labels.holds_together(read_story(broken)):
        assert labels.request_fulfilled(ASKED, broken) is None


def test_rows_of_each_script():
    other = Request("cat", "drum", "sad")
    assert labels.by_request(ASKED.text, "", CAT) == [Hindsight("", other.text, CAT, ASKED.text)]
    assert labels.by_request(ASKED.text, "", FOX) == [Hindsight("", ASKED.text, FOX)]
    assert labels.by_request(ASKED.text, "", "No.") == []
    assert labels.only_as_asked(ASKED.text, "", CAT) == []
    assert labels.only_as_asked(ASKED.text, "", FOX) == [Hindsight("", ASKED.text, FOX)]
    assert labels.whatever_asked(ASKED.text, "", "No.") == [Hindsight("", ASKED.text, "No.")]


def test_rows_by_verdict():
    good, poor = labels.GOOD, labels.POOR
    assert labels.by_verdict(good, ASKED.text, FOX) == [Hindsight(ASKED.text, good, FOX, poor)]
    assert labels.by_verdict(good, ASKED.text, CAT) == [Hindsight(ASKED.text, poor, CAT, good)]
    assert stories.read_request(labels.with_verdict(good, ASKED.text).removesuffix(" (good)")) == ASKED
