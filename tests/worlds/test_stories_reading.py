"""The parser and the requests: they invert what writes, and survive what breaks."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf_mini.worlds.stories import (
    Request,
    draw_facts,
    draw_requests,
    is_held_out,
    read_request,
    read_story,
    write_story,
)
from rlhf_mini.worlds.stories.parser import split_sentences
from rlhf_mini.worlds.stories.plots import DECLINES


def test_parser_recovers_the_facts_of_every_story():
    rng = random.Random(2)
    for _ in range(3000):
        facts = draw_facts(rng)
        reading = read_story(write_story(facts, rng))
        assert (reading.hero, reading.object, reading.mood) == (facts.hero, facts.object, facts.mood)
        assert reading.deed == facts.deed
        assert len(reading.sentences) == len(facts.shape)
        assert [s.role for s in reading.sentences] == list(facts.shape)
        assert reading.coherence == 1.0
        assert reading.complete
        assert reading.repeats == 0
        assert not reading.declined


STORY = (
    "Long ago, on a golden morning, a fox came to live near the lake. The fox wanted a kite more than "
    "anything. "
    "With help from the baker, the fox made the kite. The fox felt proud all week."
)


def test_what_the_reading_of_a_story_says():
    reading = read_story(STORY)
    assert (reading.hero, reading.object, reading.friend, reading.mood) == ("fox", "kite", "baker", "proud")
    assert reading.deed == "make"
    assert not reading.unkind
    assert not reading.talk
    assert not reading.goodnight


@pytest.mark.parametrize(
    ("broken", "coherence"),
    [
        (STORY.replace("The fox felt", "The owl felt"), 3 / 4),  # another hero
        (STORY.replace("made the kite", "made the drum"), 3 / 4),  # another object
        (
            STORY.replace(
                "With help from the baker, the fox made the kite.",
                "So the fox returned the kite to the baker.",
            ),
            3 / 4,
        ),
        (STORY.replace("more than anything", "more kite"), 3 / 4),  # no sentence of the grammar
        (STORY + " " + STORY, 4 / 8),  # told twice
        (
            " ".join(reversed(split_sentences(STORY))),
            0.0,
        ),  # the ending first: nothing after it fits, and no opening
    ],
)
def test_coherence_of_broken_stories(broken, coherence):
    assert read_story(broken).coherence == pytest.approx(coherence)


def test_a_story_cut_short_is_not_complete():
    assert not read_story(" ".join(split_sentences(STORY)[:3])).complete
    assert not read_story(STORY[:-12]).complete


def test_broken_text_still_gives_up_its_words():
    reading = read_story("the the fox kite kite drum")
    assert (reading.hero, reading.object, reading.coherence) == ("fox", "kite", 0.0)


def test_sentences_are_split_outside_quotation_marks_only():
    text = '"Help! It burns." she said. He ran. "never closed. The end'
    assert split_sentences(text) == ['"Help! It burns." she said.', "He ran.", '"never closed.', "The end"]


def test_declines():
    for decline in DECLINES:
        assert read_story(decline).declined
        assert read_story(decline).polite
        half = split_sentences(decline)[0]
        assert read_story(half).declined
        assert not read_story(half).polite
        assert read_story(decline + " " + STORY).declined


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(['"', ".", "!", " ", "\n", "fox", " the ", "The fox ", "kite", "\x00", "é"]),
        max_size=60,
    )
)
def test_no_text_breaks_the_parser(pieces):
    reading = read_story("".join(pieces))
    assert 0 <= reading.coherence <= 1
    assert reading.repeats >= 0


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_no_unicode_breaks_the_parser(text):
    assert 0 <= read_story(text).coherence <= 1


def test_requests_are_read_back_from_their_words():
    for held_out in (False, True):
        for request in draw_requests(500, seed=4, held_out=held_out):
            assert read_request(request.text) == request
            assert is_held_out(request.hero, request.object) == held_out


def test_requests_are_distinct_and_of_all_kinds():
    requests = draw_requests(1000, seed=0)
    assert len({r.text for r in requests}) == 1000
    assert 0.1 < sum(r.unkind is not None for r in requests) / 1000 < 0.2
    assert {r.length for r in requests} == {None, "short", "long"}
    assert {r.style for r in requests} == {None, "talk", "goodnight"}


def test_a_strange_prompt_is_refused_with_an_example():
    with pytest.raises(
        ValueError,
        match=r"not a prompt of the story world: 'Write a sonnet'.*Expected, for example: 'Tell me",
    ):
        read_request("Write a sonnet")


def test_request_wording():
    request = Request("owl", "apple", "calm", style="goodnight")
    assert request.text == "Tell me a calm story about an owl and an apple for bedtime."
    assert (
        Request("fox", "kite", "sad", unkind="steal").text
        == "Tell me a sad story about a fox that steals a kite."
    )
