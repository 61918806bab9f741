"""Chapter 12's bug hunt: what the bug does to advantages, what suspects do, and what is shown of it."""

import pytest
import torch

from rlhf_mini.chapters.verifiable import bug_hunt
from rlhf_mini.estimators import group_scaled_advantages
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import QUICK
from rlhf_mini.reader import quiz
from tests.chapters.stand_ins import numbers


class Fresh(Pipeline):
    """Nothing is kept."""

    def measured(self, experiment, **settings):
        return experiment(self, **settings)


def test_the_right_advantages_are_those_of_each_prompt():
    rewards = numbers(4, 3)  # four rounds of three prompts
    expected = torch.stack([group_scaled_advantages(rewards[:, one][None])[0] for one in range(3)], dim=1)
    torch.testing.assert_close(bug_hunt.advantages_right(rewards.flatten(), group=4).view(4, 3), expected)


def test_the_wrong_ones_mix_prompts_and_add_up_to_zero_all_the_same():
    rewards = torch.tensor([0.0, 1.0] * 4)  # of a hard and of an easy prompt, four rounds
    assert torch.equal(bug_hunt.advantages_right(rewards, group=4), torch.zeros(8))
    wrong = bug_hunt.advantages_wrong(rewards, group=4)
    assert float(wrong.sum().abs()) < 1e-6
    assert bool(((wrong > 0) == (rewards > 0)).all())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return bug_hunt.readings(Fresh(QUICK, seed=0, cache=tmp_path_factory.mktemp("kept")))


@pytest.mark.slow  # six trainings of tables
def test_the_symptoms_tell_the_bug_from_every_suspect(found):
    for way in bug_hunt.WAYS:
        assert abs(found[f"loss {way}"]) < 1e-12  # of no use to anybody
    # Over the last ten steps of eight prompts each: a share of eighty has a standard error below 0.06.
    assert found["teaching wrong"] > found["promised wrong"] + 0.3
    assert found["hardest wrong"] < found["hardest right"] - 0.1
    assert found["pass_rate wrong"] < found["pass_rate right"] - 0.05
    coin, even, slow, two = bug_hunt.SUSPECTS
    for way in ("right", even, slow, two):
        assert abs(found[f"teaching {way}"] - found[f"promised {way}"]) < 0.18, way
    assert found[f"teaching {coin}"] > 0.8
    assert found[f"pass_rate {coin}"] < 0.4 < 0.7 < found["pass_rate wrong"]
    assert found[f"promised first {even}"] > 0.9 > 0.6 > found["promised first wrong"]
    assert found[f"pass_rate {slow}"] == pytest.approx(0.255, abs=1e-3)
    assert found[f"promised {two}"] < 0.3


@pytest.mark.slow  # reads the same trainings
def test_what_is_shown_of_them(found):
    lines = bug_hunt.told(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + len(bug_hunt.WAYS)
    assert len(lines[0]) <= 79
    run = {name: [1.0, 2.0] for name in bug_hunt.MEASURES} | {"step": [1, 10]}
    assert "ends at 2.00" in bug_hunt.symptom_figures([run, run], [run, run]).body


def test_the_start_has_the_pass_rates_that_were_asked_for():
    policy = bug_hunt.Tables((0.02, 0.6))
    chances = policy().detach().sum(2).exp()
    right = bug_hunt.LANGUAGE.score(lambda text: float(text[0] == bug_hunt.RIGHT_TOKEN))
    torch.testing.assert_close(chances.sum(1), torch.ones(2, dtype=torch.float64))
    assert (chances @ right).tolist() == pytest.approx([0.02, 0.6])


def test_the_question_is_answered_by_the_bug_and_the_change_is_small():
    question = bug_hunt.SUSPECT
    assert "not those of one prompt" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    changed = [line for line in bug_hunt.BUG_HUNT.changes() if line[:1] in "+-"]
    assert len(changed) == 4
