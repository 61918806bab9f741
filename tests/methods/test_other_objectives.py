"""Masked, denoising and contrastive training: what the losses look at, and that each learns a toy problem."""

import pytest
import torch

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.data.corruption import Masked
from rlhf_mini.loop import OptimizerConfig
from rlhf_mini.methods.denoising import denoise, new_t5, noisy_batches, pack_source_target, target_logits
from rlhf_mini.methods.dense_retrieval import dense_retrieval
from rlhf_mini.methods.masked_lm import masked_batches, masked_lm
from rlhf_mini.methods.simcse import simcse
from rlhf_mini.models import copy_of, new_llama
from rlhf_mini.models.embedding import text_vectors
from rlhf_mini.models.masks import bidirectional_attention_mask, hidden_under_mask, logits_under_mask

ADAMW = OptimizerConfig(learning_rate=1e-2, warmup_steps=5)
MASK = 11


def llama():
    return new_llama(
        vocab_size=12, width=32, layers=1, heads=2, context=32, pad_token=0, eos_token=2, bos_token=1, seed=0
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def mirrored(count, seed=0):
    """Rows `begin w w w`: whoever sees one of the words knows the others."""
    words = torch.randint(3, 10, (count, 1), generator=generator(seed)).tolist()
    return pack_rows([[1]] * count, [[w, w, w] for (w,) in words], pad_token=0)


def forever(batch):
    while True:
        yield batch


def test_masked_batches_hide_only_what_counts():
    rows = mirrored(16)
    batches = masked_batches(forever(rows), rate=0.3, mask_token=MASK, words=10, generator=generator())
    first, second = next(batches), next(batches)
    for original, holes in (first, second):
        assert torch.equal(original.tokens, rows.tokens)
        assert not holes.targets[:, 0].any()
        assert holes.targets.any(1).all()
    assert not torch.equal(first[1].targets, second[1].targets)


def test_masked_lm_learns_to_fill_a_hole_from_the_right():
    rows = mirrored(64)
    holes = rows.tokens.clone()
    holes[:, 1] = MASK
    targets = torch.zeros_like(rows.mask)
    targets[:, 1] = True
    model = llama()
    history = masked_lm(model, forever((rows, Masked(holes, targets))), steps=60, optimizer=ADAMW)
    assert history[-1]["loss"] < 0.1 < history[0]["loss"]
    logits = logits_under_mask(model, holes, bidirectional_attention_mask(rows.mask))
    assert torch.equal(logits[:, 1].argmax(-1), rows.tokens[:, 1])


def test_the_masked_loss_counts_targets_only():
    rows = mirrored(8)
    targets = torch.zeros_like(rows.mask)
    targets[:, 2] = True
    losses = []
    for junk in (3, 9):
        tokens = rows.tokens.clone()
        other = Sequences(tokens, rows.mask, rows.response)
        holes = tokens.clone()
        holes[:, 2] = MASK
        tokens[:, 3] = junk  # what the original holds outside the targets does not matter
        history = masked_lm(llama(), forever((other, Masked(holes, targets))), steps=1, optimizer=ADAMW)
        losses.append(history[0]["loss"])
    assert losses[0] == losses[1]


def test_noisy_batches_leave_one_mask_for_a_span_and_the_whole_text_as_target():
    rows = pack_rows([[1]] * 4, [[3, 4, 5, 6, 7, 8, 9, 3, 4, 2]] * 4, pad_token=0)
    batch = next(noisy_batches(forever(rows), rate=0.3, mask_token=MASK, pad_token=0, generator=generator()))
    assert torch.equal(batch.target[:, 1:], rows.tokens[:, 1:])
    assert (batch.target[:, 0] == 0).all()
    for source, mask in zip(batch.source, batch.source_mask, strict=True):
        shown = source[mask].tolist()
        assert shown[0] == 1
        masks = shown.count(MASK)
        assert 1 <= masks <= 3
        assert len(shown) - masks == 1 + 10 - 3  # the begin token and all but the three hidden tokens


def test_pack_source_target_pads_and_starts():
    batch = pack_source_target([[5, 6], [7]], [[8], [9, 10]], pad_token=0)
    assert batch.source.tolist() == [[5, 6], [7, 0]]
    assert batch.source_mask.tolist() == [[True, True], [True, False]]
    assert batch.target.tolist() == [[0, 8, 0], [0, 9, 10]]
    assert batch.target_mask.tolist() == [[True, True, False], [True, True, True]]


def test_denoising_learns_to_read_its_source():
    """The target is the source's only word, which the decoder cannot know but from the encoder."""
    words = list(range(3, 10)) * 8
    batch = pack_source_target([[1, w] for w in words], [[w, 2] for w in words], pad_token=0)
    model = new_t5(vocab_size=12, width=32, layers=1, heads=2, feed_forward=32, pad_token=0, seed=0)
    history = denoise(model, forever(batch), steps=80, optimizer=ADAMW)
    assert history[-1]["loss"] < 0.1
    assert torch.equal(target_logits(model, batch)[:, 0].argmax(-1), torch.tensor(words))


def test_padding_does_not_change_the_decoder():
    model = new_t5(vocab_size=12, width=32, layers=1, heads=2, feed_forward=32, pad_token=0, seed=0)
    alone = pack_source_target([[1, 5]], [[6, 2]], pad_token=0)
    padded = pack_source_target([[1, 5], [1, 3, 4, 5, 6]], [[6, 2], [3, 4, 5, 2]], pad_token=0)
    with torch.no_grad():
        torch.testing.assert_close(target_logits(model, padded)[:1, :3], target_logits(model, alone))


def test_the_same_seed_gives_the_same_t5_and_leaves_the_global_state():
    state = torch.random.get_rng_state()
    options = {"vocab_size": 12, "width": 16, "layers": 1, "heads": 2, "feed_forward": 16, "pad_token": 0}
    first, second = (new_t5(**options, seed=3) for _ in range(2))
    assert torch.equal(first.shared.weight, second.shared.weight)
    assert torch.equal(state, torch.random.get_rng_state())


def test_simcse_spreads_different_texts_apart():
    rows = pack_rows([[1]] * 7, [[word, word, 2] for word in range(3, 10)], pad_token=0)
    model = llama()

    def mean_cosine():
        with torch.no_grad():
            vectors = torch.nn.functional.normalize(text_vectors(model, rows.tokens, rows.mask), dim=-1)
        return float((vectors @ vectors.T)[~torch.eye(7, dtype=torch.bool)].mean())

    before = mean_cosine()
    simcse(model, forever(rows), steps=30, optimizer=ADAMW, generator=generator())
    assert mean_cosine() < before - 0.2


def test_simcse_starts_at_log_b_where_all_texts_are_one():
    rows = pack_rows([[1]] * 4, [[5, 6]] * 4, pad_token=0)
    history = simcse(llama(), forever(rows), steps=1, optimizer=ADAMW, generator=generator(), dropout=0.0)
    assert history[0]["loss"] == pytest.approx(torch.log(torch.tensor(4.0)).item(), rel=1e-4)


def test_dense_retrieval_matches_questions_with_passages():
    """Question w belongs to passage 12 − w: nothing that the two share tells."""
    words = list(range(3, 10))
    questions = pack_rows([[1]] * 7, [[w, 2] for w in words], pad_token=0)
    passages = pack_rows([[1]] * 7, [[12 - w, 10, 2] for w in words], pad_token=0)
    asking = llama()
    answering = copy_of(asking)
    dense_retrieval(asking, answering, forever((questions, passages)), steps=60, optimizer=ADAMW)
    with torch.no_grad():
        q = text_vectors(asking, questions.tokens, questions.mask)
        p = text_vectors(answering, passages.tokens, passages.mask)
    assert torch.equal((q @ p.T).argmax(1), torch.arange(7))


# ------------------------------------------------------------------------------------------------ by hand


T5 = {"vocab_size": 12, "width": 32, "layers": 2, "heads": 4, "feed_forward": 24, "pad_token": 0}


def test_the_t5_is_what_was_asked_for():
    model = new_t5(**(T5 | {"pad_token": 3}), seed=0)
    config = model.config
    assert (config.d_model, config.d_kv, config.d_ff) == (32, 8, 24)
    assert (config.num_layers, config.num_decoder_layers, config.num_heads) == (2, 2, 4)
    assert (config.pad_token_id, config.decoder_start_token_id) == (3, 3)
    assert config.feed_forward_proj == "gated-silu"
    assert config.tie_word_embeddings
    assert config.dropout_rate == 0
    assert model.training
    assert model.lm_head.weight is model.shared.weight


def test_the_t5_starts_with_small_embeddings_of_its_seed():
    """T5 draws them with a standard deviation of 1; here a tenth of it."""
    first, second = (new_t5(**(T5 | {"vocab_size": 400}), seed=seed).shared.weight for seed in (0, 1))
    assert float(first.detach().std()) == pytest.approx(0.1, rel=0.05)
    assert not torch.equal(first, second)


def test_spans_of_noise_are_two_tokens_long():
    rows = pack_rows([[1]] * 50, [[*range(3, 10)] * 5 + [2]] * 50, pad_token=0)
    batch = next(noisy_batches(forever(rows), rate=0.3, mask_token=MASK, pad_token=0, generator=generator()))
    hidden = (batch.target_mask.sum(1) - 1) - ((batch.source_mask & (batch.source != MASK)).sum(1) - 1)
    spans = (batch.source == MASK).sum(1)
    assert (hidden == 11).all()
    assert (spans == 6).all()  # 11 tokens in spans of two: 5.5, rounded to the even number


def test_the_denoising_loss_by_hand():
    model = new_t5(**T5, seed=0)
    batch = pack_source_target([[1, 5, 6], [1, 7]], [[5, 6, 2], [7, 2]], pad_token=0)
    logp = target_logits(model, batch).log_softmax(-1).detach()
    terms = [logp[0, 0, 5], logp[0, 1, 6], logp[0, 2, 2], logp[1, 0, 7], logp[1, 1, 2]]
    before = batch.target_mask.clone()
    (entry,) = denoise(model.eval(), forever(batch), steps=1, optimizer=ADAMW)
    assert entry["loss"] == pytest.approx(-float(torch.stack(terms).mean()), rel=1e-5)
    assert torch.equal(batch.target_mask, before)
    assert model.training


def test_the_simcse_loss_by_hand():
    """Without dropout both views are one; with τ = 1/2 the similarities are twice the cosines."""
    rows = pack_rows([[1]] * 3, [[w, 11 - w, 2] for w in (3, 4, 5)], pad_token=0)
    model = llama()
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(text_vectors(model, rows.tokens, rows.mask), dim=-1)
    similarity = 2.0 * vectors @ vectors.T
    expected = float((similarity.logsumexp(1) - similarity.diagonal()).mean())
    options = {"steps": 1, "optimizer": ADAMW, "generator": generator(), "dropout": 0.0}
    (entry,) = simcse(model.eval(), forever(rows), temperature=0.5, **options)
    assert entry["loss"] == pytest.approx(expected, rel=1e-5)
    assert model.training
    (default,) = simcse(llama(), forever(rows), **options)
    (paper,) = simcse(llama(), forever(rows), temperature=0.05, **options)
    assert default["loss"] == paper["loss"]


def test_a_text_is_the_mean_of_what_its_real_tokens_hold():
    rows = pack_rows([[1], [1]], [[5, 6, 2], [7]], pad_token=0)
    model = llama()
    with torch.no_grad():
        found = text_vectors(model, rows.tokens, rows.mask)
        for row, tokens in enumerate([[1, 5, 6, 2], [1, 7]]):
            text = torch.tensor([tokens])
            look = bidirectional_attention_mask(torch.ones_like(text, dtype=torch.bool))
            expected = hidden_under_mask(model, text, look)[0].mean(0)
            torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_dropout_zeroes_some_and_enlarges_the_rest():
    rows = mirrored(3)
    model = llama()
    seen = []
    hook = model.model.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True,
    )
    with torch.no_grad():
        text_vectors(model, rows.tokens, rows.mask, dropout=0.25, generator=generator(4))
        plain = generator(4)
        state = plain.get_state()
        text_vectors(model, rows.tokens, rows.mask, generator=plain)
        assert torch.equal(plain.get_state(), state)  # without dropout nothing is drawn
        embedded = model.model.embed_tokens(rows.tokens)
    hook.remove()
    kept = torch.rand(embedded.shape, generator=generator(4)) >= 0.25
    torch.testing.assert_close(seen[0], embedded * kept / 0.75)
    torch.testing.assert_close(seen[1], embedded)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5])
def test_a_dropout_that_cannot_be_is_refused(dropout):
    rows = mirrored(2)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        text_vectors(llama(), rows.tokens, rows.mask, dropout=dropout)


def test_every_training_calls_its_hooks_and_trains():
    rows = mirrored(4)
    holes = next(masked_batches(forever(rows), rate=0.3, mask_token=MASK, words=10, generator=generator()))
    pairs = pack_source_target([[1, 5], [1, 6]], [[5, 2], [6, 2]], pad_token=0)
    seen: list[tuple[str, int]] = []

    def options(name):
        return {"steps": 2, "optimizer": ADAMW, "hooks": [lambda step, entry: seen.append((name, step))]}

    masked = llama().eval()
    masked_lm(masked, forever(holes), **options("masked"))
    denoise(new_t5(**T5, seed=0), forever(pairs), **options("denoising"))
    simcse(llama(), forever(rows), generator=generator(), **options("simcse"))
    asking, answering = llama().eval(), llama().eval()
    dense_retrieval(asking, answering, forever((rows, rows)), **options("retrieval"))
    names = ("masked", "denoising", "simcse", "retrieval")
    assert seen == [(name, step) for name in names for step in (1, 2)]
    assert masked.training
    assert asking.training
    assert answering.training


def test_simcse_s_dropout_is_drawn_by_its_generator():
    rows = mirrored(6)
    losses = []
    for state in (0, 1):
        torch.manual_seed(state)
        history = simcse(llama(), forever(rows), steps=2, optimizer=ADAMW, generator=generator(3))
        losses.append([entry["loss"] for entry in history])
    assert losses[0] == losses[1]
