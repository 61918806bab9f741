"""KTO: the baseline by hand and by a double loop, its steps by a plain loop, what must hold in every run."""

import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.dpo import DPOConfig, answer_logps, without_last_token
from rlhf_mini.methods.kto import Labelled, answers_begin, kto, mean_log_ratio, moved_on, taken_apart
from rlhf_mini.models import copy_of, freeze, new_llama

PROMPTS = [[1, 5, 6], [1, 7], [1, 8, 9, 10], [1, 6]]
ANSWERS = [[11, 2], [3, 4, 5, 6, 2], [7, 2], [12, 2]]  # with their prompts of four different lengths
GOOD = torch.tensor([True, False, True, True])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def settings(*, epochs=1, batch=4, learning_rate=3e-3):
    return DPOConfig(epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate))


def logp_of(model, prompt, answer):
    """log π(answer | prompt) by the model's own forward pass, without padding."""
    logp = model(input_ids=torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
    return sum(logp[len(prompt) + place - 1, token] for place, token in enumerate(answer))


def sharpened(seed):
    model = new_llama(
        vocab_size=16,
        width=32,
        layers=1,
        heads=2,
        context=12,
        pad_token=0,
        eos_token=2,
        bos_token=1,
        seed=seed,
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model


@pytest.fixture
def labelled():
    return Labelled(pack_rows(PROMPTS, ANSWERS, pad_token=0), GOOD)


# ------------------------------------------------------------------------------------------- moved answers


def test_answers_moved_on_by_hand():
    moved = moved_on(pack_rows([[1, 5], [1], [1, 6, 7]], [[8, 2], [9, 9, 2], [2]], pad_token=0))
    # The first prompt gets the last answer, [2]; the second the first; the third the second.
    assert moved.tokens.tolist() == [[1, 5, 2, 0, 0, 0], [1, 8, 2, 0, 0, 0], [1, 6, 7, 9, 9, 2]]
    assert moved.mask.sum(1).tolist() == [3, 3, 6]
    assert moved.response.int().tolist() == [[0, 0, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]


def test_answers_moved_on_as_often_as_there_are_rows_are_back(labelled):
    moved = labelled.answers
    for _ in range(4):
        assert moved.tokens.tolist()[0][:3] == [1, 5, 6]
        moved = moved_on(moved)
    for name in ("tokens", "mask", "response"):
        assert torch.equal(getattr(moved, name), getattr(labelled.answers, name))


def test_a_token_that_did_not_count_moves_along_and_does_not_count():
    """The end token stays with its answer, whose last counted token now stands before it."""
    moved = moved_on(without_last_token(pack_rows([[1, 5], [1]], [[8, 2], [9, 9, 2]], pad_token=0)))
    assert moved.tokens.tolist() == [[1, 5, 9, 9, 2], [1, 8, 2, 0, 0]]
    assert moved.response.int().tolist() == [[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]]


def test_one_answer_cannot_be_moved():
    with pytest.raises(ValueError, match="no other prompt to move it to"):
        moved_on(pack_rows([[1, 5]], [[8, 2]], pad_token=0))


def test_where_answers_begin(labelled):
    assert answers_begin(labelled.answers).tolist() == [3, 2, 4, 2]


# --------------------------------------------------------------------------------------------- the baseline


def test_the_baseline_is_that_of_a_double_loop(labelled):
    model, reference = sharpened(0), sharpened(9)
    with torch.no_grad():
        ratios = [[float(logp_of(model, x, y) - logp_of(reference, x, y)) for y in ANSWERS] for x in PROMPTS]
    moved = sum(ratios[row][(row - 1) % 4] for row in range(4)) / 4
    own = sum(ratios[row][row] for row in range(4)) / 4
    both = [
        float(mean_log_ratio(*models, labelled.answers))
        for models in ((model, reference), (reference, model))
    ]
    assert sorted(both) == pytest.approx([0.0, abs(moved)], abs=1e-4)
    assert both[0] == pytest.approx(max(moved, 0.0), abs=1e-4)
    assert abs(moved) > 0.5  # neither 0, nor what the answers' own prompts would give
    assert abs(moved - own) > 0.1


def test_no_gradient_flows_through_the_baseline(labelled):
    model = sharpened(0)
    found = mean_log_ratio(model, sharpened(9), labelled.answers)
    assert found.shape == ()
    assert not found.requires_grad


# ---------------------------------------------------------------------------------------------- taken apart


def test_pairs_taken_apart_by_hand():
    pairs = Pairs(
        pack_rows([[1, 5], [1]], [[8, 2], [9, 2]], pad_token=0),
        pack_rows([[1, 5], [1]], [[7, 7, 2], [2]], pad_token=0),
    )
    apart = taken_apart(pairs)
    assert apart.desirable.tolist() == [True, True, False, False]
    assert len(apart) == 4
    assert apart.answers.tokens.tolist() == [
        [1, 5, 8, 2, 0],
        [1, 9, 2, 0, 0],
        [1, 5, 7, 7, 2],
        [1, 2, 0, 0, 0],
    ]
    assert apart.answers.mask.sum(1).tolist() == [4, 3, 5, 2]
    counted = [[0, 0, 1, 1, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 0, 0, 0]]
    assert apart.answers.response.int().tolist() == counted


def test_taking_apart_leaves_every_token_where_it_was(model):
    """An end token that does not count is no part of the prompt, and the answers' probabilities stay."""
    chosen, rejected = (
        pack_rows([[1, 5]], [[8, 9, 2]], pad_token=0),
        pack_rows([[1, 5]], [[7, 2]], pad_token=0),
    )
    pairs = Pairs(without_last_token(chosen), without_last_token(rejected))
    apart = taken_apart(pairs).answers
    assert apart.tokens.tolist() == [[1, 5, 8, 9, 2], [1, 5, 7, 2, 0]]
    expected = torch.cat([answer_logps(model, side) for side in (pairs.chosen, pairs.rejected)])
    torch.testing.assert_close(answer_logps(model, apart), expected)


# ------------------------------------------------------------------------------------------------- training


def test_it_starts_from_one_half_with_baseline_0(model, labelled):
    """1 − σ(0) of three answers, and twice that of the undesirable one, λ_U being 2."""
    (entry,) = kto(
        model,
        copy_of(model),
        labelled,
        kl_weight=0.1,
        undesirable_weight=2.0,
        config=settings(),
        generator=seeded(),
    )
    assert entry["loss"] == pytest.approx((3 * 0.5 + 1) / 4, abs=1e-6)
    for name in ("baseline", "chosen", "rejected"):
        assert entry[name] == pytest.approx(0, abs=1e-5)


def test_one_step_moves_each_answer_as_it_was_called(model, labelled):
    for row in range(4):
        answers = Sequences(
            *(
                part[[row, row]]
                for part in (labelled.answers.tokens, labelled.answers.mask, labelled.answers.response)
            )
        )
        for good in (True, False):
            policy = copy_of(model)
            verdicts = Labelled(answers, torch.tensor([good, good]))
            kto(policy, model, verdicts, kl_weight=0.5, config=settings(batch=2), generator=seeded())
            change = answer_logps(policy, answers) - answer_logps(model, answers)
            assert (change > 0.01 if good else change < -0.01).all()


def test_three_steps_are_those_of_a_plain_loop(labelled):
    """Parameter by parameter: the loss written out, and AdamW as torch has it."""
    model, reference = sharpened(0), freeze(sharpened(9))
    beta, rate, weights = 0.3, 1e-3, torch.where(GOOD, 1.0, 1.5)
    twin, order = copy_of(model), labelled.answers.lengths.argsort()  # one batch, sorted by length
    log = kto(
        model,
        reference,
        labelled,
        kl_weight=beta,
        undesirable_weight=1.5,
        config=settings(epochs=3, learning_rate=rate),
        generator=seeded(),
    )

    adamw = torch.optim.AdamW(twin.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    rows, baselines, losses = [(PROMPTS[place], ANSWERS[place]) for place in order], [], []
    for _ in range(3):
        with torch.no_grad():
            moved = [
                logp_of(twin, x, rows[row - 1][1]) - logp_of(reference, x, rows[row - 1][1])
                for row, (x, _) in enumerate(rows)
            ]
        baselines.append(max(0.0, float(sum(moved)) / 4))
        ratios = torch.stack([logp_of(twin, x, y) - logp_of(reference, x, y).detach() for x, y in rows])
        sign = torch.where(GOOD[order], 1.0, -1.0)
        value = 1 / (1 + torch.exp(-beta * sign * (ratios - baselines[-1])))
        loss = (weights[order] * (1 - value)).mean()
        losses.append(float(loss.detach()))
        adamw.zero_grad()
        loss.backward()
        norm = sum(weight.grad.square().sum() for weight in twin.parameters()).sqrt()
        for weight in twin.parameters():
            weight.grad.mul_(min(1.0, 1.0 / float(norm)))
        adamw.step()
    assert [entry["baseline"] for entry in log] == pytest.approx(baselines, abs=1e-3)
    assert [entry["loss"] for entry in log] == pytest.approx(losses, abs=1e-4)
    assert max(baselines) > 0.1
    last = ratios.detach()  # of the third step, before it
    assert log[-1]["chosen"] == pytest.approx(float(last[GOOD[order]].mean()), abs=5e-3)
    assert log[-1]["rejected"] == pytest.approx(float(last[~GOOD[order]].mean()), abs=5e-3)
    moved_to = dict(model.named_parameters())
    for name, weight in twin.named_parameters():
        # Adam's first step is the sign of a gradient: where that is nearly 0, rounding decides it.
        torch.testing.assert_close(moved_to[name], weight, rtol=0, atol=rate / 20, msg=name)


def test_a_batch_without_bad_answers_has_none_to_report(model, labelled):
    good = Labelled(labelled.answers, torch.ones(4, dtype=torch.bool))
    log = kto(model, copy_of(model), good, kl_weight=0.1, config=settings(epochs=3), generator=seeded())
    assert [entry["rejected"] for entry in log] == [0, 0, 0]
    assert log[-1]["chosen"] > 0


def test_the_frozen_stays_frozen(model, labelled, weights_of, same_weights):
    reference = copy_of(model)
    before = weights_of(reference)
    kto(model, reference, labelled, kl_weight=0.1, config=settings(epochs=3), generator=seeded())
    assert same_weights(before, weights_of(reference))
    assert not same_weights(before, weights_of(model))


def test_what_stands_under_the_padding_changes_nothing(model, labelled, weights_of, same_weights):
    answers = labelled.answers
    junk = torch.randint(16, answers.tokens.shape, generator=seeded(5))
    marked = Sequences(torch.where(answers.mask, answers.tokens, junk), answers.mask, answers.response)
    results = []
    for rows in (answers, marked):
        policy = copy_of(model)
        data = Labelled(rows, GOOD)
        kto(policy, model, data, kl_weight=0.1, config=settings(epochs=2, batch=2), generator=seeded())
        results.append(weights_of(policy))
    assert same_weights(*results)


def test_dropout_is_off_in_both_models(labelled):
    torch.manual_seed(0)
    rates = {"resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}
    sizes = {"vocab_size": 16, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, **rates)).train()
    config = settings(epochs=8, learning_rate=1e-12)  # nothing moves, and noise would show in one step of two
    log = kto(model, copy_of(model), labelled, kl_weight=1.0, config=config, generator=seeded())
    for entry in log:
        assert entry["loss"] == pytest.approx(0.5, abs=1e-6)
        assert entry["baseline"] < 1e-5
    assert not model.training


# ------------------------------------------------------------------------------------------------- refusals


def test_batches_of_one_answer_are_refused(model, labelled):
    with pytest.raises(ValueError, match="batches of at least 2 answers, got batch=1"):
        kto(model, copy_of(model), labelled, kl_weight=0.1, config=settings(batch=1), generator=seeded())


def test_a_reference_that_would_move_along_is_refused(model, labelled):
    with pytest.raises(ValueError, match="shares its weights"):
        kto(model, model, labelled, kl_weight=0.1, config=settings(), generator=seeded())


def test_a_moved_answer_longer_than_the_context_is_refused_before_training(model, weights_of, same_weights):
    """Each row fits the 12 tokens; the long prompt with the long answer does not."""
    answers = pack_rows([[1] * 8, [1]], [[7, 2], [3, 4, 5, 6, 2]], pad_token=0)
    before, verdicts = weights_of(model), torch.tensor([True, False])
    with pytest.raises(
        ValueError, match=r"longest prompt has 8 tokens and the longest answer 5.*context of 12"
    ):
        kto(
            model,
            copy_of(model),
            Labelled(answers, verdicts),
            kl_weight=0.1,
            config=settings(batch=2),
            generator=seeded(),
        )
    assert same_weights(before, weights_of(model))
    fits = pack_rows([[1] * 7, [1]], [[7, 2], [3, 4, 5, 6, 2]], pad_token=0)
    kto(
        model,
        copy_of(model),
        Labelled(fits, verdicts),
        kl_weight=0.1,
        config=settings(batch=2),
        generator=seeded(),
    )


@pytest.mark.parametrize(
    "desirable", [torch.ones(3, dtype=torch.bool), torch.ones(4), torch.ones(4, 1, dtype=torch.bool)]
)
def test_verdicts_of_another_shape_or_kind_are_refused(labelled, desirable):
    with pytest.raises(ValueError, match=r"desirable must be \(4,\) and boolean"):
        Labelled(labelled.answers, desirable)


def test_the_loss_is_bounded_by_the_weights(labelled):
    """However far a policy has gone: between 0 and the larger λ."""
    model, reference = sharpened(0), freeze(sharpened(9))
    log = kto(
        model,
        reference,
        labelled,
        kl_weight=50.0,
        undesirable_weight=1.5,
        config=settings(epochs=2),
        generator=seeded(),
    )
    assert all(0 <= entry["loss"] <= (3 * 1 + 1.5) / 4 and math.isfinite(entry["grad_norm"]) for entry in log)
