"""Every chapter's claims: each verdict is what its sentence says.

`verdicts/<room>.py` holds numbers that show each claim of the room (`GOOD`), and changes of them that must
spoil it (`SPOILED`).
"""

from importlib import import_module

import pytest

from rlhf_mini.chapters import ROOMS, part

CLAIMS = {(chapter, claim.name): claim for chapter in ROOMS for claim in part(chapter, "claims").CLAIMS}
EXAMPLES = {chapter: import_module(f"tests.chapters.verdicts.{room}") for chapter, room in ROOMS.items()}


@pytest.mark.parametrize("chapter", ROOMS)
def test_every_claim_has_a_name_of_its_own_a_sentence_and_examples(chapter):
    claims, examples = part(chapter, "claims").CLAIMS, EXAMPLES[chapter]
    names = [claim.name for claim in claims]
    assert len(set(names)) == len(names)
    assert all(claim.sentence.endswith(".") for claim in claims)
    assert examples.GOOD.keys() == set(names) == {name for name, _ in examples.SPOILED}


@pytest.mark.parametrize(("chapter", "name"), CLAIMS)
def test_numbers_that_show_it_are_seen(chapter, name):
    assert CLAIMS[chapter, name].holds(EXAMPLES[chapter].GOOD[name])


@pytest.mark.parametrize(
    ("chapter", "name", "change"),
    [(chapter, name, change) for chapter in ROOMS for name, change in EXAMPLES[chapter].SPOILED],
)
def test_numbers_that_do_not_show_it_spoil_the_claim(chapter, name, change):
    assert not CLAIMS[chapter, name].holds({**EXAMPLES[chapter].GOOD[name], **change})
