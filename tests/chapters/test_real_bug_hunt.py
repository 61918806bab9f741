"""Chapter 15's bug hunt: what the bug does to gradients and lengths, what suspects do, and what is shown."""

import pytest
import torch

from rlhf_mini.chapters.real import bug_hunt
from rlhf_mini.exact import TablePolicy, expectation
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import quiz
from rlhf_mini.tensors import masked_mean


class Fresh(Pipeline):
    """Of a pipeline its seed, and nothing is kept."""

    def __init__(self, seed):
        self.seed = seed

    def measured(self, experiment, **settings):
        return experiment(self, **settings)


def test_the_right_loss_is_the_mean_over_all_tokens_and_the_wrong_one_is_not():
    """By hand, of 6 and of 3, 3: all tokens (6 + 3 + 3)/3 = 4, but the mean of means (6 + 3)/2."""
    yes, no = True, False
    shares = [
        (torch.tensor([[6.0, 99.0]]), torch.tensor([[yes, no]])),
        (torch.tensor([[3.0, 3.0]]), torch.tensor([[yes, yes]])),
    ]
    assert float(bug_hunt.step_loss_right(shares)) == pytest.approx(4.0)
    assert float(bug_hunt.step_loss_wrong(shares)) == pytest.approx(4.5)
    losses, masks = (torch.cat(parts) for parts in zip(*shares, strict=True))
    assert float(bug_hunt.step_loss_right(shares)) == pytest.approx(float(masked_mean(losses, masks)))


def test_they_are_the_same_alone_and_where_all_have_as_many_tokens():
    losses = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(3) < torch.tensor([[1], [3], [3], [1]])
    for shares in ([(losses, mask)], [(losses[:2], mask[:2]), (losses[2:], mask[2:])]):
        torch.testing.assert_close(bug_hunt.step_loss_wrong(shares), bug_hunt.step_loss_right(shares))


@pytest.fixture(scope="module", params=[0, 1])  # seven short trainings of a table each
def found(request):
    return bug_hunt.readings(Fresh(request.param))


@pytest.mark.slow
def test_the_bug_shortens_what_is_written_and_no_suspect_does(found):
    """A shortfall of 0.15 tokens is several times what 200 noisy steps leave the others with."""
    assert found["length wrong"] < -0.15
    assert found["distance wrong"] > 3 * found["distance right"]
    alone, added, padded, repeated, slow = tuple(bug_hunt.WAYS)[2:]
    for way in ("right", alone, added, padded, repeated):
        assert abs(found[f"length {way}"]) < 0.1, way
    assert found[f"distance {slow}"] > 1.2 * found["distance wrong"]


@pytest.mark.slow
def test_the_gradient_tells_them_apart(found):
    alone, added, padded, repeated, _ = tuple(bug_hunt.WAYS)[2:]
    assert found["apart right"] < 1e-6
    assert found[f"apart {alone}"] < 1e-6
    assert found[f"apart {added}"] == pytest.approx(1.0, abs=1e-6)
    assert found[f"cosine {added}"] == pytest.approx(1.0, abs=1e-6)
    assert found["cosine wrong"] < 0.97
    assert found[f"cosine {repeated}"] < 0.97
    assert found[f"cosine {padded}"] > 0.999
    assert found[f"apart {padded}"] > 0.3
    assert found[f"loss {added}"] == pytest.approx(2 * found["loss right"], rel=0.02)
    assert found[f"loss {padded}"] < 0.9 * found["loss right"]
    assert found["loss wrong"] == pytest.approx(found["loss right"], rel=0.15)  # nothing is to be seen in it


def test_lengths_are_those_of_the_data():
    """A uniform policy over three words ends with chance 1/3: 1 + 2/3 + … + (2/3)^5 tokens on average."""
    policy = TablePolicy(bug_hunt.LANGUAGE)
    lengths = bug_hunt.LANGUAGE.response.sum(1).double()
    logp = bug_hunt.LANGUAGE.sequence_logp(policy).detach()
    assert float(expectation(logp, lengths)) == pytest.approx(sum((2 / 3) ** n for n in range(6)))
    assert bug_hunt.texts_to_learn(0).exp().sum() == pytest.approx(1.0)


@pytest.mark.slow
def test_what_is_shown_of_them(found):
    lines = bug_hunt.told(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 1 + len(bug_hunt.WAYS)
    assert len(lines[0]) <= 79
    run = {name: [1.0, 2.0] for name in bug_hunt.MEASURES} | {"step": [1, 20]}
    assert "ends at 2.00" in bug_hunt.symptom_figures([run, run], [run, run]).body


def test_the_question_is_answered_by_the_bug_and_the_change_is_small():
    question = bug_hunt.SUSPECT
    assert "its process's own number of tokens" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    changed = [line for line in bug_hunt.BUG_HUNT.changes() if line[:1] in "+-"]
    assert len(changed) == 3
    assert bug_hunt.BUG_HUNT.answer().body
