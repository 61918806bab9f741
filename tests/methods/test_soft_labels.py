"""Labels from a judge and from people, mixed, and the reward model that learns them."""

import math
import random

import pytest
import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.reward_model import RewardModelConfig, raw_scores, train_reward_model
from rlhf_mini.methods.soft_labels import (
    Labelled,
    SoftPairs,
    from_people,
    label,
    mixed,
    pack_soft_pairs,
    train_on_soft_labels,
)
from rlhf_mini.models import copy_of, new_llama, new_reward_model
from tests.methods.toy_words import word_tokenizer


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reward_model():
    policy = new_llama(
        vocab_size=8, width=16, layers=1, heads=2, context=8, pad_token=0, eos_token=2, bos_token=1, seed=0
    )
    return new_reward_model(policy, seed=0)


def rows_of(*answers: list[int]):
    return pack_rows([[1, 3]] * len(answers), list(answers), pad_token=0)


def config(epochs: int, batch: int) -> RewardModelConfig:
    optimizer = OptimizerConfig(learning_rate=5e-3, final_fraction=0.0)
    return RewardModelConfig(epochs=epochs, batch=batch, optimizer=optimizer)


# -------------------------------------------------------------------------------------------------- labels


def test_a_label_averages_both_orders_under_a_drawn_principle():
    seen = []

    def ask(comparisons):
        seen.append(comparisons)
        return torch.tensor([0.9 if one.first == "good" else 0.7 for one in comparisons])

    prompts, first, second = ["p"] * 40, ["good"] * 20 + ["bad"] * 20, ["bad"] * 20 + ["good"] * 20
    labels = label(ask, prompts, first, second, principles=("one", "two"), rng=random.Random(0))
    # ½ (0.9 + 1 − 0.7) = 0.6 where the good one is first, ½ (0.7 + 1 − 0.9) = 0.4 where it is not
    assert [round(one.preference, 6) for one in labels] == [0.6] * 20 + [0.4] * 20
    assert [(one.first, one.second) for one in labels] == list(zip(first, second, strict=True))
    given, swapped = seen
    assert {one.principle for one in given} == {"one", "two"}
    assert [one.swapped() for one in given] == list(swapped)  # under the same principle both times


def test_labels_need_principles_and_are_probabilities():
    with pytest.raises(ValueError, match="at least one principle"):
        label(lambda comparisons: torch.zeros(0), ["p"], ["a"], ["b"], principles=(), rng=random.Random(0))
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.1"):
        Labelled("p", "a", "b", 1.1)
    with pytest.raises(ValueError, match=r"from 0 to 1, got -0\.1"):
        Labelled("p", "a", "b", -0.1)
    assert Labelled("p", "a", "b", 0.0).preference == 0.0
    with pytest.raises(ValueError, match="shorter"):
        label(
            lambda c: torch.zeros(len(c)), ["p", "q"], ["a", "c"], ["b"], principles="x", rng=random.Random(0)
        )


def labels_of(count: int, preference: float) -> list[Labelled]:
    return [Labelled(f"{number}", "a", "b", preference) for number in range(count)]


@pytest.mark.parametrize(
    ("share", "judged", "asked"),
    [
        (0.5, 30, 30),  # the 30 of the judge allow 60 in all
        (0.8, 20, 80),  # the 80 of people allow 100
        (0.75, 26, 80),  # they allow 106, of which a quarter is 26.5, and halves go to the even number
        (0.0, 30, 0),
        (1.0, 0, 80),
    ],
)
def test_both_kinds_are_mixed_in_the_share_asked_for(share, judged, asked):
    kept = mixed(labels_of(30, 0.4), labels_of(80, 1.0), people_share=share, rng=random.Random(0))
    assert sum(one.preference == 0.4 for one in kept) == judged
    assert sum(one.preference == 1.0 for one in kept) == asked
    assert len({(one.prompt, one.preference) for one in kept}) == len(kept)  # none twice
    if judged and asked:
        assert sum(one.preference == 1.0 for one in kept[:judged]) not in (0, judged)  # shuffled


def test_what_fits_exactly_is_kept_whole():
    """3 of the judge are 0.3 of 10, though 3/(1 − 0.7) is a little less than 10 in floating point."""
    assert 3 / (1 - 0.7) < 10
    kept = mixed(labels_of(3, 0.4), labels_of(7, 1.0), people_share=0.7, rng=random.Random(0))
    assert len(kept) == 10


@pytest.mark.parametrize(("share", "judge", "people"), [(0.0, 3, 0), (1.0, 0, 3)])
def test_a_kind_that_is_not_asked_for_may_be_missing(share, judge, people):
    kept = mixed(labels_of(judge, 0.4), labels_of(people, 1.0), people_share=share, rng=random.Random(0))
    assert len(kept) == 3


def test_a_share_of_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="there are 3 from the judge and 0 from people"):
        mixed(labels_of(3, 0.4), [], people_share=0.5, rng=random.Random(0))
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        mixed(labels_of(3, 0.4), labels_of(3, 1.0), people_share=2.0, rng=random.Random(0))
    with pytest.raises(ValueError, match=r"from 0 to 1, got -0\.5"):
        mixed(labels_of(3, 0.4), labels_of(3, 1.0), people_share=-0.5, rng=random.Random(0))


def test_people_put_the_chosen_first():
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b", "annotator": "Ada"}]
    assert from_people(rows) == [Labelled("p", "a", "b", 1.0)]


def test_packing_keeps_the_order():
    pairs = pack_soft_pairs(word_tokenizer(), [Labelled("a", "b", "c c", 0.25), Labelled("d", "c", "b", 1.0)])
    assert pairs.first.tokens.tolist() == [[1, 2, 0], [4, 3, 0]]
    assert pairs.second.tokens.tolist() == [[1, 3, 3, 0], [4, 2, 0, 0]]
    assert pairs.preference.tolist() == [0.25, 1.0]
    assert pairs.lengths.tolist() == [7, 6]
    assert pairs.rows([1]).preference.tolist() == [1.0]
    assert pairs.to("cpu").first.tokens.tolist() == pairs.first.tokens.tolist()


@pytest.mark.parametrize("preference", [torch.ones(1), torch.ones(2, 1)])
def test_preferences_that_do_not_fit_are_refused(preference):
    with pytest.raises(ValueError, match="as many preferences as pairs"):
        SoftPairs(rows_of([4], [5]), rows_of([5], [4]), preference)


def test_answers_that_do_not_fit_are_refused():
    for first, second in ((rows_of([4]), rows_of([5], [4])), (rows_of([4], [5]), rows_of([5]))):
        with pytest.raises(ValueError, match="as many preferences as pairs"):
            SoftPairs(first, second, torch.ones(2))


def test_preferences_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"from 0\.5 to 1\.5"):
        SoftPairs(rows_of([4], [5]), rows_of([5], [4]), torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match=r"from -0\.5 to 1"):
        SoftPairs(rows_of([4], [5]), rows_of([5], [4]), torch.tensor([-0.5, 1.0]))


# ------------------------------------------------------------------------------------------------ training


def test_the_scores_come_to_differ_by_the_log_odds_of_the_labels():
    # three answers; 4 beats 5 with 0.8 and 5 beats 6 with 0.6: log 4 and log 1.5 apart
    first, second = rows_of([4, 2], [5, 2]), rows_of([5, 2], [6, 2])
    model = reward_model()
    history = train_on_soft_labels(
        model,
        SoftPairs(first, second, torch.tensor([0.8, 0.6])),
        config=config(epochs=400, batch=2),
        generator=seeded(),
    )
    scores = raw_scores(model, rows_of([4, 2], [5, 2], [6, 2])).detach()
    torch.testing.assert_close(
        scores[:2] - scores[1:], torch.tensor([math.log(4), math.log(1.5)]), atol=0.02, rtol=0
    )
    entropy = sum(-p * math.log(p) - (1 - p) * math.log(1 - p) for p in (0.8, 0.6)) / 2
    assert math.isclose(history[-1]["loss"], entropy, abs_tol=1e-3)
    assert math.isclose(history[-1]["accuracy"], 0.7, abs_tol=1e-6)  # right with 0.8 and with 0.6
    assert not model.training


def test_certain_labels_train_as_pairs_do():
    soft, hard = reward_model(), reward_model()
    chosen, rejected = rows_of([4, 2], [5, 2], [6, 2], [7, 2]), rows_of([5, 2], [6, 2], [4, 4, 2], [3, 2])
    settings = config(epochs=3, batch=2)
    there = train_reward_model(hard, Pairs(chosen, rejected), config=settings, generator=seeded())
    here = train_on_soft_labels(
        soft, SoftPairs(chosen, rejected, torch.ones(4)), config=settings, generator=seeded()
    )
    assert [entry["loss"] for entry in here] == pytest.approx([entry["loss"] for entry in there], abs=1e-6)
    for one, other in zip(soft.parameters(), hard.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_a_label_of_zero_prefers_the_second():
    model = copy_of(reward_model())
    pairs = SoftPairs(rows_of([4, 2]), rows_of([5, 2]), torch.zeros(1))
    train_on_soft_labels(model, pairs, config=config(epochs=100, batch=1), generator=seeded())
    one, other = raw_scores(model, rows_of([4, 2], [5, 2])).tolist()
    assert other > one + 1


def test_accuracy_is_the_label_s_chance_of_the_order_of_the_scores():
    """The same two answers in both orders: 0.8 where the scores say so, and 1 − 0.8 where they do not."""
    model = reward_model()
    pairs = SoftPairs(rows_of([4, 2], [5, 2]), rows_of([5, 2], [4, 2]), torch.tensor([0.8, 0.8]))
    optimizer = OptimizerConfig(learning_rate=1e-12)
    still = RewardModelConfig(epochs=1, batch=2, optimizer=optimizer)
    (entry,) = train_on_soft_labels(model, pairs, config=still, generator=seeded())
    assert entry["accuracy"] == pytest.approx(0.5)
    one, other = raw_scores(model, rows_of([4, 2], [5, 2])).tolist()
    (entry,) = train_on_soft_labels(
        model,
        pairs.rows([0]),
        config=RewardModelConfig(epochs=1, batch=1, optimizer=optimizer),
        generator=seeded(),
    )
    assert entry["accuracy"] == pytest.approx(0.8 if one > other else 0.2)


def test_hooks_see_every_step_of_a_model_in_training_mode():
    model, seen = reward_model().eval(), []
    pairs = SoftPairs(rows_of([4, 2], [5, 2]), rows_of([5, 2], [6, 2]), torch.tensor([0.8, 0.6]))
    train_on_soft_labels(
        model,
        pairs,
        config=config(epochs=2, batch=1),
        generator=seeded(),
        hooks=[lambda step, entry: seen.append((step, model.training))],
    )
    assert seen == [(step, True) for step in (1, 2, 3, 4)]


def test_a_row_that_does_not_fit_is_refused_before_training():
    short, long = rows_of([4]), rows_of([4] * 9)
    for first, second in ((short, long), (long, short)):
        with pytest.raises(ValueError, match="exceeds the context of 8"):
            train_on_soft_labels(
                reward_model(),
                SoftPairs(first, second, torch.ones(1)),
                config=config(1, 1),
                generator=seeded(),
            )


def test_too_few_pairs_for_a_batch_are_refused():
    pairs = SoftPairs(rows_of([4]), rows_of([5]), torch.ones(1))
    with pytest.raises(ValueError, match="1 rows do not fill one batch of 2"):
        train_on_soft_labels(reward_model(), pairs, config=config(1, 2), generator=seeded())
