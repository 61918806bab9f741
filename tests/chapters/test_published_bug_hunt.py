"""Chapter 13's bug hunt: where rounds must end by the algebra, what suspects do, and what is shown of it."""

import pytest
import torch

from rlhf_mini.chapters.published import bug_hunt
from rlhf_mini.chapters.toy_language import LANGUAGE, TextWorld
from rlhf_mini.exact import TablePolicy, expectation, kl_divergence, kl_optimum
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.reader import quiz


class Fresh(Pipeline):
    """Of a pipeline its seed, and nothing is kept."""

    def __init__(self, seed):
        self.seed = seed

    def measured(self, experiment, **settings):
        return experiment(self, **settings)


def tilted(logp, rewards, *, power):
    """π ∝ π_ref exp(power · r)."""
    return kl_optimum(logp, rewards, kl_weight=1 / power).logp


def rounds_of(rounds, references):
    """What a round of a perfect learner does, as a policy's exact log-probabilities; notes its references."""
    world = TextWorld(0)
    policy = TablePolicy.of_distribution(LANGUAGE, world.logp_ref)

    def learn(policy, kept, number):
        references.append((number, kept))
        end = tilted(kept, world.rewards, power=0.5)
        policy.load_state_dict(TablePolicy.of_distribution(LANGUAGE, end).state_dict())

    rounds(policy, bug_hunt.logps, learn, rounds=3)
    return world, bug_hunt.logps(policy)


def test_a_perfect_learner_s_rounds_multiply_and_with_the_bug_only_the_first_does():
    references = []
    world, end = rounds_of(bug_hunt.rounds_right, references)
    torch.testing.assert_close(end, tilted(world.logp_ref, world.rewards, power=1.5), rtol=0, atol=1e-9)
    assert [number for number, _ in references] == [1, 2, 3]
    for number, kept in references:
        power = 0.5 * (number - 1)
        expected = tilted(world.logp_ref, world.rewards, power=power) if power else world.logp_ref
        torch.testing.assert_close(kept, expected, rtol=0, atol=1e-9)
    references.clear()
    world, end = rounds_of(bug_hunt.rounds_wrong, references)
    torch.testing.assert_close(end, tilted(world.logp_ref, world.rewards, power=0.5), rtol=0, atol=1e-9)
    assert all(torch.equal(kept, references[0][1]) for _, kept in references)


def test_one_round_is_the_same_with_the_bug_and_without():
    ends = []
    for rounds in (bug_hunt.rounds_wrong, bug_hunt.rounds_right, bug_hunt.rounds_from_the_start):
        world = TextWorld(1)
        policy = TablePolicy.of_distribution(LANGUAGE, world.logp_ref)
        rounds(policy, bug_hunt.logps, lambda p, kept, number: ends.append((number, kept)), rounds=1)
    assert [number for number, _ in ends] == [1, 1, 1]
    assert all(torch.equal(kept, ends[0][1]) for _, kept in ends)


@pytest.fixture(scope="module")
def found():
    return bug_hunt.readings(Fresh(0))


@pytest.fixture(scope="module")
def runs():
    return {way: bug_hunt.symptoms(Fresh(1), way=way) for way in ("wrong", "right")}


def test_the_training_ends_where_the_algebra_says(runs):
    """η/β = ½ a round; at a loss of 1e-4 nats a pair the policy is within a hundredth of a nat."""
    world = TextWorld(1)
    for way, powers in (("right", (0.5, 1.0, 1.5)), ("wrong", (0.5, 0.5, 0.5))):
        exact = [tilted(world.logp_ref, world.rewards, power=power) for power in powers]
        kl = [float(kl_divergence(one, world.logp_ref)) for one in exact]
        gold = [float(expectation(one, world.rewards)) for one in exact]
        assert runs[way]["kl"] == pytest.approx(kl, abs=0.02), way
        assert runs[way]["gold"] == pytest.approx(gold, abs=0.02), way
    assert runs["right"]["start"] == pytest.approx(float(expectation(world.logp_ref, world.rewards)))


def test_every_round_of_ours_opens_with_the_first_round_s_loss(runs):
    """Its log-ratios are all 0 again, and pairs and scores are the same."""
    assert runs["right"]["opens"] == pytest.approx([runs["right"]["opens"][0]] * 3, abs=1e-12)
    assert runs["wrong"]["opens"][0] == runs["right"]["opens"][0]
    assert runs["wrong"]["closes"][0] == runs["right"]["closes"][0]
    assert max(runs["wrong"]["opens"][1:]) < 1e-3 * runs["wrong"]["opens"][0]
    assert max(runs["wrong"]["moved"][1:]) < 1e-3 < min(runs["right"]["moved"])


def test_every_suspect_has_a_symptom_that_rules_it_out(found):
    spent, restarted, alike, blind = bug_hunt.SUSPECTS
    opened = found["first wrong"]
    assert found["opens wrong"] < 1e-3 * opened
    for way in ("right", spent, restarted):
        assert found[f"opens {way}"] == pytest.approx(opened, rel=1e-6), way
    assert found[f"closes {spent}"] > 0.9 * opened
    assert found[f"moved {spent}"] < 1e-3
    assert found[f"moved {restarted}"] > 0.05 > 1e-3 > found["moved wrong"]
    for way in (spent, restarted):  # no other number tells these two from the bug
        assert found[f"gold {way}"] == pytest.approx(found["gold wrong"], abs=0.01), way
    assert found[f"first {alike}"] < 1e-3 * opened
    assert found[f"gold {alike}"] == pytest.approx(found["start"], abs=0.02)
    assert found[f"opens {blind}"] == pytest.approx(found[f"first {blind}"], rel=1e-6)
    gains = {way: found[f"gold {way}"] - found["start"] for way in ("right", "wrong", blind)}
    assert found[f"kl {blind}"] > found["kl right"]
    assert gains[blind] < gains["right"] / 3
    assert 0 < gains["wrong"] < gains["right"] / 2


def test_blind_scores_have_no_correlation_with_gold_under_the_start():
    world, generator = TextWorld(0), torch.Generator().manual_seed(0)
    one, other, scores = bug_hunt.scored_pairs(world, bug_hunt.Way(blind=True), generator)
    gold = world.rewards - expectation(world.logp_ref, world.rewards)
    assert float(expectation(world.logp_ref, scores * gold)) == pytest.approx(0, abs=1e-12)
    assert float(scores.std()) > 0.5
    assert not bool((one == other).any())


def test_what_is_shown_of_them(found, runs):
    lines = bug_hunt.told(found).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + len(bug_hunt.WAYS)
    assert len(lines[0]) <= 100
    drawn = bug_hunt.symptom_figure([runs["wrong"]] * 2, [runs["right"]] * 2)
    assert f"without it at {runs['right']['kl'][-1]:.2f}" in drawn.text
    assert "over 3 rounds of 60 steps of RPO" in drawn.text
    assert runs["right"]["step"][-1] == 180


def test_the_question_is_answered_by_the_bug_and_the_change_is_small():
    question = bug_hunt.SUSPECT
    assert "first round's thought" in question.options[question.right][0]
    assert len(question.options) == 1 + len(bug_hunt.SUSPECTS)
    assert quiz([question]).text
    changed = [line for line in bug_hunt.BUG_HUNT.changes() if line[:1] in "+-"]
    assert [line[:1] for line in changed] == ["-", "-", "+"]
