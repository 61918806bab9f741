"""DPO with the end token kept out of the contrast, and the NLL of whole answers beside it."""

import pytest
import torch

from rlhf_mini.batch import Pairs, pack_rows
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.losses import dpo_loss
from rlhf_mini.methods.dpo import (
    DPOConfig,
    answer_logp,
    dpo,
    kept_reference,
    without_last_token,
)
from rlhf_mini.methods.masked_dpo import every_token, masked_dpo, masked_dpo_losses
from rlhf_mini.models import copy_of, freeze, new_llama, response_logp

END = 2
PROMPTS = [[1, 5, 6], [1, 7], [1, 8, 9, 10], [1, 6]]
BETTER = [[11, END], [3, 4, 5, 6, END], [7, END], [12, 13, END]]
WORSE = [[3, 8, 9, END], [11, END], [12, 5, END], [4, END]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def settings(**changes):
    return DPOConfig(**{"epochs": 1, "batch": 4, "optimizer": OptimizerConfig(learning_rate=3e-3), **changes})


@pytest.fixture
def pairs():
    return Pairs(pack_rows(PROMPTS, BETTER, pad_token=0), pack_rows(PROMPTS, WORSE, pad_token=0))


@pytest.fixture
def reference(model):
    other = new_llama(
        vocab_size=16, width=32, layers=1, heads=2, context=12, pad_token=0, eos_token=2, bos_token=1, seed=9
    )
    return freeze(other)


def reference_of(reference, pairs, contrasted):
    return kept_reference(reference, Pairs(contrasted(pairs.chosen), contrasted(pairs.rejected)))


class FreeLogits(torch.nn.Module):
    """Stands for a model whose every logit is a parameter of its own: `logits` (B, T, V) of one batch."""

    def __init__(self, shape):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.randn(*shape, generator=seeded(), dtype=torch.float64))


def gradients_of(monkeypatch, pairs, **options):
    """The loss's gradient on the logits that choose each token of the chosen and of the rejected answers."""
    tables = {id(part): FreeLogits((*part.tokens.shape, 16)) for part in (pairs.chosen, pairs.rejected)}

    def free_logp(model, tokens, mask, response):
        part = next(one for one in (pairs.chosen, pairs.rejected) if one.tokens is tokens)
        logp = tables[id(part)].logits.log_softmax(-1).gather(2, tokens[:, :, None]).squeeze(2)
        return torch.where(response, logp, 0.0)

    monkeypatch.setattr("rlhf_mini.methods.masked_dpo.response_logp", free_logp)
    zeros = torch.zeros(len(pairs), dtype=torch.float64)
    losses, _, _ = masked_dpo_losses(
        None, pairs, type("Kept", (), {"chosen": zeros, "rejected": zeros})(), **options
    )
    losses.sum().backward()
    return [tables[id(part)].logits.grad for part in (pairs.chosen, pairs.rejected)]


def last_counted(part):
    """True on each row's end token."""
    return part.response & ~without_last_token(part).response


def test_the_contrast_s_gradient_on_the_end_token_is_exactly_0_and_the_nll_s_is_not(
    monkeypatch, pairs, unchecked
):
    options = {"contrasted": without_last_token, "kl_weight": 0.5}
    chosen, rejected = gradients_of(monkeypatch, pairs, nll_weight=0.0, **options)
    for part, gradient in ((pairs.chosen, chosen), (pairs.rejected, rejected)):
        ends = last_counted(part)
        assert int(ends.sum()) == 4
        assert (part.tokens[ends] == END).all()
        assert (gradient[ends] == 0).all()
        assert (gradient[part.response & ~ends].abs().amax(1) > 1e-6).all()
    chosen, rejected = gradients_of(monkeypatch, pairs, nll_weight=0.2, **options)
    ends = last_counted(pairs.chosen)
    # d(0.2 · −1/n log p)/d logit of the token itself is −0.2/n (1 − p): the end becomes likelier
    assert (chosen[ends][:, END] < 0).all()
    assert (rejected[last_counted(pairs.rejected)] == 0).all()


def test_unmasked_the_end_is_pushed_up_after_one_answer_and_down_after_the_other(
    monkeypatch, pairs, unchecked
):
    options = {"contrasted": every_token, "kl_weight": 0.5, "nll_weight": 0.0}
    chosen, rejected = gradients_of(monkeypatch, pairs, **options)
    assert (chosen[last_counted(pairs.chosen)][:, END] < 0).all()
    assert (rejected[last_counted(pairs.rejected)][:, END] > 0).all()


def test_the_tail_pathology_in_one_number(model):
    """The same words once and twice, once being preferred. DPO makes the end after the second time less
    likely, so that a text which has come there goes on; with the end masked it hardly does.
    """
    pairs = Pairs(
        pack_rows([[1, 5]] * 4, [[7, 8, END]] * 4, pad_token=0),
        pack_rows([[1, 5]] * 4, [[7, 8, 7, 8, END]] * 4, pad_token=0),
    )

    def end_logp(policy):
        part = pairs.rejected
        with torch.no_grad():
            return float(response_logp(policy, part.tokens, part.mask, part.response)[0, 6])

    gained = []
    for contrasted in (every_token, without_last_token):
        policy = copy_of(model)
        masked_dpo(
            policy,
            freeze(copy_of(model)),
            pairs,
            kl_weight=1.0,
            nll_weight=0.0,
            config=settings(epochs=12, optimizer=OptimizerConfig(learning_rate=1e-3)),
            generator=seeded(),
            contrasted=contrasted,
        )
        gained.append(end_logp(policy) - end_logp(model))
    assert gained[0] < -0.3  # nats
    assert abs(gained[1]) < abs(gained[0]) / 4


def test_the_loss_by_plain_sums(model, reference, pairs):
    kept = reference_of(reference, pairs, without_last_token)
    with torch.no_grad():
        losses, chosen, rejected = masked_dpo_losses(
            model, pairs, kept, contrasted=without_last_token, kl_weight=0.5, nll_weight=0.2
        )
    model.requires_grad_(False)
    for row in range(4):
        leads, nll = [], 0.0
        for part in (pairs.chosen, pairs.rejected):
            text, response = part.tokens[row][part.mask[row]], part.response[row]
            places = [t for t in range(len(text)) if response[t]]
            own, other = (one(input_ids=text[None]).logits[0].log_softmax(-1) for one in (model, reference))
            leads.append(sum(float(own[t - 1, text[t]] - other[t - 1, text[t]]) for t in places[:-1]))
            if part is pairs.chosen:
                nll = -sum(float(own[t - 1, text[t]]) for t in places) / len(places)
        assert float(chosen[row]) == pytest.approx(leads[0], abs=1e-5)
        assert float(rejected[row]) == pytest.approx(leads[1], abs=1e-5)
        contrast = torch.tensor(0.5 * (leads[1] - leads[0])).exp().log1p()
        assert float(losses[row]) == pytest.approx(float(contrast) + 0.2 * nll, abs=1e-5)


def test_with_every_token_and_no_nll_it_is_dpo_bit_for_bit(model, reference, pairs, weights_of, same_weights):
    ours, theirs = copy_of(model), copy_of(model)
    options = {"kl_weight": 0.5, "config": settings(epochs=3), "generator": seeded()}
    masked_dpo(ours, reference, pairs, nll_weight=0.0, contrasted=every_token, **options)
    dpo(theirs, reference, pairs, **{**options, "generator": seeded()})
    assert same_weights(weights_of(ours), weights_of(theirs))


def test_the_nll_term_keeps_the_chosen_answer_likely(model, pairs):
    """Twenty steps with and without: the term's weight buys log-probability of the chosen answers."""
    found = []
    for nll_weight in (0.0, 0.2):
        policy = copy_of(model)
        history = masked_dpo(
            policy,
            freeze(copy_of(model)),
            pairs,
            kl_weight=0.5,
            nll_weight=nll_weight,
            config=settings(epochs=20),
            generator=seeded(),
        )
        assert history[0]["chosen"] == history[0]["rejected"] == 0
        with torch.no_grad():
            found.append(float(answer_logp(policy, pairs.chosen).mean()))
    assert found[1] > found[0] + 0.1


def test_at_the_reference_a_pair_costs_log_2_and_its_nll(model, pairs):
    kept = reference_of(model, pairs, without_last_token)
    losses, _, _ = masked_dpo_losses(
        model, pairs, kept, contrasted=without_last_token, kl_weight=0.5, nll_weight=0.0
    )
    level = dpo_loss(torch.zeros(4), torch.zeros(4), kl_weight=0.5)
    torch.testing.assert_close(losses, level, rtol=0, atol=1e-5)


def test_what_is_refused(model, reference, pairs):
    options = {"kl_weight": 0.5, "config": settings(), "generator": seeded()}
    with pytest.raises(ValueError, match="nll_weight must be finite and not negative, got -1"):
        masked_dpo(model, reference, pairs, nll_weight=-1.0, **options)
    with pytest.raises(ValueError, match="shares its weights"):
        masked_dpo(model, model, pairs, nll_weight=0.0, **options)
    ended = Pairs(pack_rows(PROMPTS, [[END]] * 4, pad_token=0), pairs.rejected)
    with pytest.raises(ValueError, match="no response token"):
        masked_dpo(model, reference, ended, nll_weight=0.0, **options)
