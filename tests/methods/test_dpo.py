"""DPO's three steps by hand and by plain loops, and what must hold in every run."""

import copy
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from rlhf_mini.batch import Pairs, Sequences, pack_rows
from rlhf_mini.exact import kl_divergence, kl_optimum
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import (
    Compared,
    DPOConfig,
    KeptReference,
    answer_logps,
    compare,
    dpo,
    kept_reference,
    require_apart,
    train_on_pairs,
    without_last_token,
)
from rlhf_mini.models import copy_of, freeze, new_llama

PROMPTS = [[1, 5, 6], [1, 7], [1, 8, 9, 10], [1, 6], [1, 5, 5], [1, 9]]
BETTER = [[11, 2], [3, 4, 5, 6, 2], [7, 2], [12, 13, 2], [2], [14, 15, 3, 2]]
WORSE = [[3, 8, 9, 2], [11, 2], [12, 5, 2], [4, 2], [6, 7, 2], [15, 2]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def settings(*, epochs=1, batch=6, learning_rate=3e-3):
    return DPOConfig(epochs=epochs, batch=batch, optimizer=OptimizerConfig(learning_rate=learning_rate))


def objective(pair: Compared):
    return dpo_loss(*pair.log_ratios, kl_weight=0.5)


def rows_logp(model, sequences):
    """log π of each row's answer by the model's own forward pass, one row at a time and without padding."""
    found = []
    for tokens, mask, response in zip(sequences.tokens, sequences.mask, sequences.response, strict=True):
        text = tokens[mask]
        logp = model(input_ids=text[None]).logits[0].log_softmax(-1)
        places = range(1, len(text))
        found.append(sum(logp[t - 1, text[t]] for t in places if response[t]))
    return torch.stack(found)


def with_dropout(rate):
    torch.manual_seed(0)
    rates = {"resid_pdrop": rate, "embd_pdrop": rate, "attn_pdrop": rate}
    return GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=16, n_embd=16, n_layer=1, n_head=2, **rates))


@pytest.fixture
def pairs():
    return Pairs(pack_rows(PROMPTS, BETTER, pad_token=0), pack_rows(PROMPTS, WORSE, pad_token=0))


@pytest.fixture
def reference(model):
    """Not the policy's start, so that what belongs to which of the two shows."""
    other = new_llama(
        vocab_size=16, width=32, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=9
    )
    with torch.no_grad():
        for weight in [*other.parameters(), *model.parameters()]:
            weight.mul_(3)
    return freeze(other)


# ------------------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("batch", [1, 4, 256])
def test_the_reference_is_kept_row_by_row(reference, pairs, batch):
    with torch.no_grad():
        chosen, rejected = rows_logp(reference, pairs.chosen), rows_logp(reference, pairs.rejected)
    kept = kept_reference(reference, pairs)
    torch.testing.assert_close(kept.chosen, chosen, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept.rejected, rejected, rtol=1e-5, atol=1e-5)
    in_batches = answer_logps(reference, pairs.chosen, batch=batch)
    torch.testing.assert_close(in_batches, chosen, rtol=1e-5, atol=1e-5)
    assert chosen.max() - chosen.min() > 1  # so that another order would show
    assert not kept.chosen.requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_the_reference_is_asked_without_dropout_and_left_as_it_was(pairs, training):
    reference = with_dropout(0.5).train(training)
    kept = answer_logps(reference, pairs.chosen)
    assert reference.training is training
    assert torch.equal(kept, answer_logps(reference, pairs.chosen))


def test_what_an_objective_is_told(model, reference, pairs):
    """Of rows 4, 0 and 3, by the models' own forward passes."""
    rows = torch.tensor([4, 0, 3])
    told = compare(model, rows, pairs.rows(rows), kept_reference(reference, pairs))
    with torch.no_grad():
        better, worse = rows_logp(model, pairs.chosen)[rows], rows_logp(model, pairs.rejected)[rows]
        better_ref = rows_logp(reference, pairs.chosen)[rows]
        worse_ref = rows_logp(reference, pairs.rejected)[rows]
    lengths, others = torch.tensor([1, 2, 3]), torch.tensor([3, 4, 2])
    assert torch.equal(told.place, rows)
    assert torch.equal(told.chosen_length, lengths)
    assert torch.equal(told.rejected_length, others)
    expected = {
        "logps": (better, worse),
        "mean_logps": (better / lengths, worse / others),
        "log_ratios": (better - better_ref, worse - worse_ref),
        "mean_log_ratios": ((better - better_ref) / lengths, (worse - worse_ref) / others),
    }
    for name, numbers in expected.items():
        for found, number in zip(getattr(told, name), numbers, strict=True):
            torch.testing.assert_close(found.detach(), number, rtol=1e-5, atol=2e-5)
    assert told.chosen.requires_grad
    assert not told.chosen_ref.requires_grad


def test_every_row_meets_its_own_reference(model, reference, pairs):
    """Whatever the order of the batches: the numbers kept for a pair are its own."""
    kept, seen = kept_reference(reference, pairs), []
    begin = kept_reference(model, pairs)

    def watching(pair):
        if not seen:
            torch.testing.assert_close(pair.chosen.detach(), begin.chosen[pair.place], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(pair.chosen_ref, kept.chosen[pair.place])
        torch.testing.assert_close(pair.rejected_ref, kept.rejected[pair.place])
        seen.append(pair.place)
        return objective(pair)

    train_on_pairs(
        model, pairs, kept, watching, config=settings(epochs=2, batch=2), generator=seeded(), hooks=()
    )
    assert [len(places) for places in seen] == [2] * 6
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == [*range(6)]
    assert first.tolist() != [*range(6)]


# ------------------------------------------------------------------------------------------------ training


def test_it_starts_at_log_2_with_every_lead_0(model, pairs):
    history = dpo(model, copy_of(model), pairs, kl_weight=0.1, config=settings(), generator=seeded())
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for name in ("chosen", "rejected", "lead"):
        assert history[0][name] == pytest.approx(0, abs=1e-5)


def test_it_starts_at_log_2_where_the_model_has_dropout(pairs):
    model = with_dropout(0.5).train()
    history = dpo(model, copy_of(model), pairs, kl_weight=1.0, config=settings(), generator=seeded())
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert not model.training


def test_a_pair_without_a_lead_counts_one_half(model, pairs):
    """Two pairs of one answer twice, and one whose chosen answer is ahead by construction."""
    rows = [0, 1, 2]
    same = Pairs(pairs.chosen.rows(rows), pairs.chosen.rows(rows))
    kept = kept_reference(model, same)
    ahead = KeptReference(kept.chosen - torch.tensor([0.0, 0.0, 3.0]), kept.rejected)
    (entry,) = train_on_pairs(model, same, ahead, objective, config=settings(batch=3), generator=seeded())
    assert entry["accuracy"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert entry["chosen"] == pytest.approx(1, abs=1e-5)
    assert entry["rejected"] == pytest.approx(0, abs=1e-5)
    assert entry["lead"] == pytest.approx(1, abs=1e-5)
    expected = (2 * math.log(2) + math.log(1 + math.exp(-0.5 * 3))) / 3
    assert entry["loss"] == pytest.approx(expected, abs=1e-5)


def test_one_step_puts_the_chosen_answer_further_ahead(model, pairs):
    for row in range(len(pairs)):
        policy, pair = copy_of(model), pairs.rows([row])
        dpo(policy, model, pair, kl_weight=0.1, config=settings(batch=1), generator=seeded())
        now, before = kept_reference(policy, pair), kept_reference(model, pair)
        assert now.chosen - now.rejected > before.chosen - before.rejected + 0.01


def test_exchanged_labels_teach_the_opposite(model, pairs):
    turned = Pairs(pairs.rejected, pairs.chosen)
    before = kept_reference(model, pairs)
    for data, sign in ((pairs, 1), (turned, -1)):
        policy = copy_of(model)
        dpo(policy, model, data, kl_weight=0.1, config=settings(epochs=20), generator=seeded())
        now = kept_reference(policy, pairs)
        lead = (now.chosen - now.rejected) - (before.chosen - before.rejected)
        assert (sign * lead > 3).all()


def test_three_steps_are_those_of_a_plain_loop(model, reference, pairs):
    """Parameter by parameter, against rows one at a time, the loss written out and AdamW as torch has it."""
    beta, rate = 0.3, 1e-3
    twin, frozen = copy_of(model), copy_of(reference)
    dpo(
        model,
        reference,
        pairs,
        kl_weight=beta,
        config=settings(epochs=3, learning_rate=rate),
        generator=seeded(),
    )

    adamw = torch.optim.AdamW(twin.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    for _ in range(3):
        with torch.no_grad():
            chosen_ref, rejected_ref = rows_logp(frozen, pairs.chosen), rows_logp(frozen, pairs.rejected)
        chosen, rejected = rows_logp(twin, pairs.chosen), rows_logp(twin, pairs.rejected)
        lead = beta * ((chosen - chosen_ref) - (rejected - rejected_ref))
        loss = torch.log(1 + torch.exp(-lead)).mean()
        adamw.zero_grad()
        loss.backward()
        norm = sum(weight.grad.square().sum() for weight in twin.parameters()).sqrt()
        for weight in twin.parameters():
            weight.grad.mul_(min(1.0, 1.0 / float(norm)))
        adamw.step()
    moved = dict(model.named_parameters())
    for name, weight in twin.named_parameters():
        # Adam's first step is the sign of a gradient: where that is nearly 0, rounding decides it.
        torch.testing.assert_close(moved[name], weight, rtol=0, atol=rate / 20, msg=name)
    assert float(norm) > 1  # so that clipping mattered


def test_what_stands_under_the_padding_changes_nothing(model, reference, pairs, weights_of, same_weights):
    generator = seeded(5)

    def with_junk(sequences):
        junk = torch.randint(16, sequences.tokens.shape, generator=generator)
        return Sequences(
            torch.where(sequences.mask, sequences.tokens, junk), sequences.mask, sequences.response
        )

    junk = Pairs(with_junk(pairs.chosen), with_junk(pairs.rejected))
    results = []
    for data in (pairs, junk):
        policy = copy_of(model)
        dpo(policy, reference, data, kl_weight=0.1, config=settings(epochs=2, batch=3), generator=seeded())
        results.append(weights_of(policy))
    assert not torch.equal(junk.chosen.tokens, pairs.chosen.tokens)
    assert same_weights(*results)


def test_the_frozen_stays_frozen(model, reference, pairs, weights_of, same_weights):
    before, start = weights_of(reference), weights_of(model)
    dpo(model, reference, pairs, kl_weight=0.1, config=settings(epochs=3), generator=seeded())
    assert same_weights(before, weights_of(reference))
    assert not same_weights(start, weights_of(model))
    assert all(weight.grad is None for weight in reference.parameters())


def test_dpo_asks_its_reference_before_the_first_step_only(model, pairs, weights_of, same_weights):
    """So that a model may even be its own reference: what counts is what it said at the start."""
    alone, apart = copy_of(model), copy_of(model)
    dpo(alone, alone, pairs, kl_weight=0.1, config=settings(epochs=3), generator=seeded())
    dpo(apart, model, pairs, kl_weight=0.1, config=settings(epochs=3), generator=seeded())
    assert same_weights(weights_of(alone), weights_of(apart))


def test_hooks_see_every_step(model, pairs):
    steps = []
    config = settings(epochs=2, batch=4)  # the last two pairs of each epoch do not fill a batch
    history = dpo(
        model,
        copy_of(model),
        pairs,
        kl_weight=0.1,
        config=config,
        generator=seeded(),
        hooks=[lambda step, entry: steps.append((step, entry["lead"]))],
    )
    assert steps == [(1, history[0]["lead"]), (2, history[1]["lead"])]


# -------------------------------------------------------------------------------------------- where it lands


@pytest.mark.slow  # 150 steps on 510 pairs each: some seconds
@pytest.mark.parametrize("sign", [1, -1])
def test_dpo_lands_on_the_optimum(language, toy_policy, text_rewards, exact_logp, sign):
    """With preferences by Bradley and Terry it is π* ∝ π_ref exp(r/β), all of it known.

    Every text is compared with three others, in both orders, and each comparison weighted with its
    probability: labels without noise, so that what is left is what training and model leave.
    """
    rewards, start = language.score(lambda text: sign * text_rewards[text]), exact_logp(toy_policy)
    places = torch.arange(len(language.texts))
    first, second = places.repeat(3), torch.cat([places.roll(-apart) for apart in (1, 7, 29)])
    chosen, rejected = torch.cat([first, second]), torch.cat([second, first])
    chances = (rewards[chosen] - rewards[rejected]).sigmoid().float()
    texts = Sequences(language.tokens, language.mask, language.response)
    pairs = Pairs(texts.rows(chosen), texts.rows(rejected))

    def weighted(pair):
        return 2 * chances[pair.place] * dpo_loss(*pair.log_ratios, kl_weight=1.0)

    policy = copy_of(toy_policy)
    train_on_pairs(
        policy,
        pairs,
        kept_reference(toy_policy, pairs),
        weighted,
        config=DPOConfig(
            epochs=150, batch=510, optimizer=OptimizerConfig(learning_rate=1e-2, final_fraction=0.0)
        ),
        generator=seeded(),
    )
    best, half = (kl_optimum(start, rewards, kl_weight=weight).logp for weight in (1.0, 0.5))
    # From 0.561 and 0.375 nats to 0.0001 and 0.063; the second is steeper, and 150 steps are few for it.
    assert kl_divergence(exact_logp(policy), best) < 0.25 * kl_divergence(start, best)
    assert kl_divergence(half, best) > 1.1 * 0.25 * kl_divergence(start, best)  # half the β does not pass


# ---------------------------------------------------------------------------------------- the end token


def test_without_the_last_token_by_hand():
    rows = pack_rows([[1, 5], [1]], [[7, 8, 2], [9, 2]], pad_token=0)
    shorter = without_last_token(rows)
    assert shorter.response.tolist() == [
        [False, False, True, True, False],
        [False, True, False, False, False],
    ]
    assert torch.equal(shorter.tokens, rows.tokens)
    assert torch.equal(shorter.mask, rows.mask)


def test_the_last_token_s_probability_is_what_is_left_out(model):
    rows = pack_rows([[1, 5], [1]], [[7, 8, 2], [9, 2]], pad_token=0)
    last = Sequences(rows.tokens, rows.mask, rows.response & ~without_last_token(rows).response)
    assert last.response.sum(1).tolist() == [1, 1]
    whole, most, end = (answer_logps(model, part) for part in (rows, without_last_token(rows), last))
    torch.testing.assert_close(most + end, whole)


def test_an_answer_of_one_token_has_none_to_spare():
    with pytest.raises(ValueError, match=r"Rows \[1\] have no response token"):
        without_last_token(pack_rows([[1], [1]], [[7, 2], [2]], pad_token=0))


# ------------------------------------------------------------------------------------------------ refusals


def test_a_pair_longer_than_the_context_is_refused_before_training(model, weights_of, same_weights):
    before = weights_of(model)
    short, long = pack_rows([[1]], [[7, 2]], pad_token=0), pack_rows([[1] * 9], [[7, 8, 9, 2]], pad_token=0)
    for pairs in (Pairs(short, long), Pairs(long, short)):
        with pytest.raises(ValueError, match=r"row 1 has 13 tokens.* context of 12"):
            train_on_pairs(
                model,
                pairs,
                KeptReference(torch.zeros(1), torch.zeros(1)),
                objective,
                config=settings(batch=1),
                generator=seeded(),
            )
    assert same_weights(before, weights_of(model))


def test_a_reference_of_other_pairs_is_refused(model, pairs):
    kept = kept_reference(model, pairs)
    for chosen, rejected, said in (
        (kept.chosen[:4], kept.rejected[:4], "4 chosen and 4 rejected answers, but there are 6 pairs"),
        (kept.chosen, kept.rejected[:5], "6 chosen and 5 rejected answers, but there are 6 pairs"),
    ):
        with pytest.raises(ValueError, match=said):
            train_on_pairs(
                model,
                pairs,
                KeptReference(chosen, rejected),
                objective,
                config=settings(),
                generator=seeded(),
            )


@pytest.mark.parametrize("numbers", ["margin", "weight"])
def test_margins_and_weights_are_not_ignored_in_silence(model, pairs, numbers):
    marked = Pairs(pairs.chosen, pairs.rejected, **{numbers: torch.ones(6)})
    with pytest.raises(ValueError, match="carry margins or weights, which would be ignored"):
        dpo(model, copy_of(model), marked, kl_weight=0.1, config=settings(), generator=seeded())


def test_fewer_pairs_than_a_batch_are_refused(model, pairs):
    with pytest.raises(ValueError, match="6 rows do not fill one batch of 7"):
        dpo(model, copy_of(model), pairs, kl_weight=0.1, config=settings(batch=7), generator=seeded())


def test_a_reference_that_would_move_along_is_noticed(model):
    require_apart(model, copy_of(model))
    with pytest.raises(ValueError, match=r"shares its weights .* train copy_of\(reference\)"):
        require_apart(model, model)
    partly = copy.copy(copy_of(model))
    partly.model = model.model
    with pytest.raises(ValueError, match="shares its weights"):
        require_apart(model, partly)


@pytest.mark.parametrize("changes", [{"epochs": 0}, {"batch": 0}])
def test_settings_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="epochs and batch must be at least 1"):
        settings(**changes)
