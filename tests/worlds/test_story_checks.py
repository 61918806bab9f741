"""What a program can check of a story, by hand on one story and its spoilt versions."""

import pytest

from rlhf_mini.worlds import stories
from rlhf_mini.worlds.stories.checks import checks, share_passed

REQUEST = stories.Request("fox", "kite", "proud")
STORY = (
    "Long ago, on a golden morning, a fox came to live near the lake. The fox wanted a kite more than "
    "anything. With help from the baker, the fox made the kite. The fox felt proud all week."
)


def test_a_right_story_passes_all():
    assert checks(REQUEST.text, STORY) == dict.fromkeys(
        ("hero", "object", "mood", "whole", "in order", "once"), True
    )
    assert share_passed(REQUEST.text, STORY) == 1


@pytest.mark.parametrize(
    ("request_", "text", "failed"),
    [
        (stories.Request("owl", "kite", "proud"), STORY, {"hero"}),
        (stories.Request("fox", "boat", "proud"), STORY, {"object"}),
        (stories.Request("fox", "kite", "happy"), STORY, {"mood"}),
        (stories.Request("fox", "kite", "proud", style="talk"), STORY, {"style"}),
        (REQUEST, STORY.replace(" The fox felt proud all week.", ""), {"mood", "whole"}),
        (REQUEST, STORY.replace("With help", "Blah. With help"), {"in order"}),
        (REQUEST, STORY + " The fox felt proud all week.", {"in order", "once"}),
    ],
)
def test_each_fault_fails_its_test(request_, text, failed):
    found = checks(request_.text, text)
    assert {name for name, passed in found.items() if not passed} == failed
    assert share_passed(request_.text, text) == pytest.approx(1 - len(failed) / len(found))


def test_wishes_are_tested_where_there_are_any():
    asked = checks(stories.Request("fox", "kite", "proud", length="short", style="goodnight").text, STORY)
    assert {"length", "style"} <= asked.keys()
    assert not {"length", "style"} & checks(REQUEST.text, STORY).keys()


def test_unkind_requests_are_not_checked():
    with pytest.raises(ValueError, match="only kind requests"):
        checks(stories.Request("fox", "kite", "proud", unkind="steal").text, STORY)
