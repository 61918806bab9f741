"""Chapter 10's bug hunt: what the bug does to labels, what suspects do, and what the notebook shows of it."""

import pytest
import torch

from rlhf_mini.chapters.rlaif import bug_hunt
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import quiz

PIPELINE = Pipeline("quick", seed=0)


class Asked:
    """A judge that prefers the text of the higher number, and remembers what it was shown."""

    def __call__(self, shown):
        self.shown = shown
        return torch.where(shown[:, 0] > shown[:, 1], 0.9, 0.1)


def labelled(labels):
    pairs = torch.tensor([[place, place + 1] for place in range(200)])
    ask = Asked()
    kept, found = labels(ask, pairs, generator=torch.Generator().manual_seed(0))
    return pairs, ask, kept, found


def test_the_right_labels_belong_to_the_pairs_as_they_are_listed():
    pairs, ask, kept, found = labelled(bug_hunt.labels_right)
    assert torch.equal(kept, pairs)
    torch.testing.assert_close(found, torch.full((200,), 0.1))  # the second is always the higher
    assert 60 < int((ask.shown != pairs).any(1).sum()) < 140  # a coin: outside with a chance below 1e-8


def test_the_wrong_ones_belong_to_the_letters():
    pairs, ask, kept, found = labelled(bug_hunt.labels_wrong)
    assert torch.equal(kept, pairs)
    turned = (ask.shown != pairs).any(1)
    torch.testing.assert_close(found, torch.where(turned, 0.9, 0.1))


@pytest.fixture(scope="module")
def found():
    return {way: bug_hunt.symptoms(PIPELINE, way=way) for way in bug_hunt.WAYS}


def test_the_symptoms_are_those_of_the_question(found):
    """The judge is right and sure, the loss stays, the model ranks its own pairs as a coin would."""
    wrong, right = found["wrong"], found["right"]
    assert 0.8 < wrong["verdicts"] == right["verdicts"] < 0.95
    assert wrong["sure"] == pytest.approx(right["sure"], abs=1e-9)
    assert wrong["loss"] > right["loss"] + 0.1
    assert abs(wrong["accuracy"] - 0.5) < 0.1 < right["accuracy"] - 0.7
    assert wrong["moved"] < 0.1 * right["moved"]
    assert right["value"] > wrong["value"] + 0.5


def test_every_suspect_has_a_symptom_that_rules_it_out(found):
    wrong = found["wrong"]
    guesses, places, clamped, slow = (found[name] for name in bug_hunt.SUSPECTS)
    assert guesses["verdicts"] < 0.6 < wrong["verdicts"]
    assert guesses["moved"] < 0.1
    assert places["verdicts"] < wrong["verdicts"] - 0.1
    assert places["accuracy"] > wrong["accuracy"] + 0.1
    assert places["moved"] > 5 * wrong["moved"]
    assert clamped["sure"] < wrong["sure"] / 2
    assert clamped["accuracy"] > 0.8
    assert slow["accuracy"] > wrong["accuracy"] + 0.15
    assert slow["loss"] == pytest.approx(wrong["loss"], abs=0.02)


def test_what_the_notebook_shows_of_them():
    numbers = {f"{name} {way}": 0.25 for way in bug_hunt.WAYS for name in bug_hunt.MEASURES}
    lines = bug_hunt.told(numbers).splitlines()
    assert len(lines) == 1 + len(bug_hunt.WAYS)
    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) <= 79


def test_the_question_is_answered_by_the_bug_and_the_change_is_small():
    question = bug_hunt.SUSPECT
    assert "belong to the other text" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    changed = [line for line in bug_hunt.BUG_HUNT.changes() if line[:1] in "+-"]
    assert len(changed) == 2
