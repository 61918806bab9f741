"""Chapter 02's room: what is written by hand equals the libraries; holes and drawings do what they say."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb

from rlhf_mini.batch import Sequences, pack_rows
from rlhf_mini.chapters.pretraining import (
    bpe,
    continuing,
    copying,
    examples,
    exercises,
    figures,
    heads,
    holes,
    jumps,
    ladder,
    slots,
)
from rlhf_mini.chapters.pretraining.block import (
    attention,
    llama_layer,
    llama_logits,
    rms_norm,
    rotate_by_position,
    swiglu,
)
from rlhf_mini.chapters.pretraining.claims import CLAIMS
from rlhf_mini.chapters.pretraining.decoding import without_title
from rlhf_mini.chapters.pretraining.embeddings import found, mean_cosine, word_overlap
from rlhf_mini.chapters.pretraining.too_good import colleagues_loss, repaired_loss
from rlhf_mini.data.corruption import corrupt_spans
from rlhf_mini.data.text import bits_per_byte, byte_count
from rlhf_mini.models import new_llama
from rlhf_mini.models.masks import bidirectional_attention_mask, causal_attention_mask, logits_under_mask
from rlhf_mini.models.sampler import truncate


@pytest.fixture(scope="module")
def model():
    made = new_llama(
        vocab_size=40, width=32, layers=2, heads=4, context=32, pad_token=0, eos_token=2, bos_token=1, seed=0
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5 if parameter.ndim == 2 else 1.5)  # so that every part of the layer matters
    return made


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(3, 40, (2, 9), generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------------------- by hand


def test_norm_equals_transformers():
    module = LlamaRMSNorm(8, eps=1e-5)
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.weight.copy_(torch.arange(8.0))
        torch.testing.assert_close(rms_norm(x, module.weight, epsilon=1e-5), module(x))
    assert rms_norm(torch.tensor([3.0, 4.0]), torch.ones(2), epsilon=0.0).square().mean() == pytest.approx(
        1.0
    )


def test_rotation_equals_transformers_and_depends_on_distance_only(model):
    heads = torch.randn(1, 4, 9, 8, generator=torch.Generator().manual_seed(0))
    cos, sin = model.model.rotary_emb(heads, torch.arange(9)[None])
    expected, _ = apply_rotary_pos_emb(heads, heads, cos, sin)
    turned = rotate_by_position(heads, base=model.config.rope_parameters["rope_theta"])
    torch.testing.assert_close(turned, expected)
    same = rotate_by_position(torch.ones(1, 1, 6, 8), base=100.0)[0, 0]
    products = same @ same.T
    torch.testing.assert_close(products[0, 2], products[3, 5])
    assert not torch.allclose(products[0, 2], products[0, 3])


def test_attention_equals_pytorch_and_its_weights_sum_to_one():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 5, 4, generator=generator) for _ in range(3))
    look = causal_attention_mask(torch.ones(2, 5, dtype=torch.bool))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(attention(query, key, value, look), expected)
    weights = attention(query, key, torch.eye(5).expand(2, 5, 5), look)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5))
    assert (weights.triu(1) == 0).all()


def test_mlp_and_layer_equal_transformers(model, tokens):
    layer = model.model.layers[0]
    x = model.model.embed_tokens(tokens)
    position = model.model.rotary_emb(x, torch.arange(9)[None])
    with torch.no_grad():
        mlp = layer.mlp
        torch.testing.assert_close(
            swiglu(x, mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight),
            mlp(x),
            rtol=1e-4,
            atol=1e-5,
        )
        look = causal_attention_mask(torch.ones_like(tokens, dtype=torch.bool))
        ours = llama_layer(x, layer, heads=4, base=model.config.rope_parameters["rope_theta"], look=look)
        theirs = layer(
            x, position_embeddings=position, attention_mask=None, position_ids=torch.arange(9)[None]
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [causal_attention_mask, bidirectional_attention_mask])
def test_the_whole_model_equals_transformers_under_either_mask(model, tokens, make):
    look = make(torch.ones_like(tokens, dtype=torch.bool))
    with torch.no_grad():
        expected = logits_under_mask(model, tokens, look)
        torch.testing.assert_close(llama_logits(model, tokens, look), expected, rtol=1e-4, atol=1e-4)
        if make is causal_attention_mask:
            torch.testing.assert_close(model(input_ids=tokens).logits, expected, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------------------------------------ tokenizer

TEXTS = ["the cat sat on the mat, the hat and the bat", "a rat that sat", "Grüße: aaaa aaa"] * 3


def test_merges_are_those_of_tokenizers():
    words = bpe.count_words(TEXTS)
    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    count = 25
    trainer = trainers.BpeTrainer(vocab_size=len(set("".join(words))) + count, show_progress=False)
    library.train_from_iterator(TEXTS, trainer)
    theirs = [tuple(pair) for pair in json.loads(library.to_str())["model"]["merges"]]
    merges = bpe.learn_merges(words, count)
    assert merges == theirs
    for word in words:
        surface = library.pre_tokenizer  # the pieces of a word, by the library
        assert surface is not None
        assert bpe.split_word(word, merges) == _pieces(library, word)


def _pieces(library, word):
    bare = Tokenizer(library.model)  # no cutting into words: the word comes as it is
    return bare.encode(word).tokens


def test_merging_by_hand():
    assert bpe.merge(list("aaab"), ("a", "a")) == ["aa", "a", "b"]
    assert bpe.merge(list("abcab"), ("a", "b")) == ["ab", "c", "ab"]
    assert bpe.learn_merges({"ab": 3, "bc": 3}, 1) == [("a", "b")]  # of equals, the older symbols


# ------------------------------------------------------------------------------------------------ exercises


def test_solutions_equal_the_library():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(6, 4, generator=generator) for _ in range(3))
    look = causal_attention_mask(torch.ones(1, 6, dtype=torch.bool))[0]
    torch.testing.assert_close(
        exercises.causal_attention(query, key, value), attention(query, key, value, look)
    )
    symbols = list("banana band")
    assert exercises.join_pair(symbols, ("a", "n")) == bpe.merge(symbols, ("a", "n"))
    losses, text = [0.5, 1.5, 0.25], "Grüße 🐈"
    assert exercises.bits_for_each_byte(losses, text) == pytest.approx(
        bits_per_byte(sum(losses), byte_count([text]))
    )
    logits = torch.randn(12, generator=generator)
    expected = truncate(logits[None], top_k=None, top_p=0.8)[0].softmax(0)
    torch.testing.assert_close(exercises.nucleus(logits.softmax(0), 0.8), expected)
    source, target = corrupt_spans(range(8), [(1, 3), (5, 6)], sentinels=[100, 101, 102])
    words = {**{i: str(i) for i in range(8)}, 100: "X0", 101: "X1", 102: "X2"}
    assert exercises.span_target([str(i) for i in range(8)], [(1, 3), (5, 6)]) == (
        [words[i] for i in source],
        [words[i] for i in target],
    )


# --------------------------------------------------------------------------------------------------- bug hunt


@pytest.mark.usefixtures("unchecked")
def test_the_colleagues_loss_is_minimal_for_a_model_that_copies():
    """Logits that shout each position's own token: the colleague sees 0, the truth is bad."""

    class Copier(torch.nn.Module):
        device = torch.device("cpu")

    tokens = torch.tensor([[1, 5, 7, 9]])
    counted = torch.tensor([[False, True, True, True]])
    batch = Sequences(tokens, torch.ones_like(counted), counted)
    logits = 50.0 * torch.nn.functional.one_hot(tokens, 16).float()

    import rlhf_mini.chapters.pretraining.too_good as module

    original = module.token_logits
    module.token_logits = lambda *_: logits
    try:
        assert colleagues_loss(Copier(), batch) == pytest.approx(0.0, abs=1e-6)
        assert repaired_loss(Copier(), batch) > math.log(16)
    finally:
        module.token_logits = original


# ----------------------------------------------------------------------------------------------- experiments


def test_places_end_with_the_hero_and_hold_it_back(built):
    places = copying.draw_places(built, 6, titled=True)
    tokenizer = built.tokenizer()
    known = set(copying.known_heroes(built))
    for tokens, mask in zip(places.tokens, places.mask, strict=True):
        text = tokenizer.decode(tokens[mask], skip_special_tokens=True)
        hero = text.split(" ")[-1]
        assert hero in known
        assert f"story of the {hero} and the" in text
    plain = copying.draw_places(built, 6, titled=False)
    assert torch.equal(plain.tokens[plain.response], places.tokens[places.response])
    assert all("story of" not in tokenizer.decode(row) for row in plain.tokens)


@pytest.mark.usefixtures("unchecked")
def test_a_look_by_hand(built, monkeypatch):
    places = copying.draw_places(built, 4, titled=True)
    right = places.tokens[places.response]
    logp = torch.full((4, 600), -20.0)
    logp[torch.arange(4), right] = math.log(0.5)
    logp[0, right[0]], logp[0, 0] = math.log(0.25), math.log(0.75)
    monkeypatch.setattr(copying, "at_the_hero", lambda *_: logp)
    seen = copying.look_at(None, places)
    assert seen["probability"] == pytest.approx(0.4375)
    assert seen["first_choice"] == pytest.approx(0.75)
    assert seen["surprise"] == pytest.approx((3 * math.log(2) + math.log(4)) / 4)


@pytest.mark.usefixtures("unchecked")
def test_when_copying_rises_and_how_far_it_jumps(monkeypatch):
    """Within a twentieth of the training it gains 0.4, of 0.8 at the end."""
    log = [
        {"step": s, "probability": p, "control": 0.02, "nats_per_document": 40.0}
        for s, p in [(1.0, 0.0), (1880.0, 0.05), (1940.0, 0.09), (2000.0, 0.45)]
    ]
    log += [{"step": 4000.0, "probability": 0.8, "control": 0.03, "nats_per_document": 39.0}]
    monkeypatch.setattr(jumps, "seen", lambda pipeline: log)
    pipeline = SimpleNamespace(measured=lambda experiment: {"sure_places": 0.6, "guessed_places": 0.3})
    found = jumps.jumps(pipeline)
    assert found["rise_from"] == 1940
    assert found["largest_jump"] == pytest.approx(0.5)  # within 200 steps: 0.45 − 0.05, of 0.8
    assert (found["copied_at_end"], found["control_at_end"], found["sure_places"]) == (0.8, 0.03, 0.6)


@pytest.mark.usefixtures("unchecked")
def test_places_by_the_token_before_the_hero(built, monkeypatch):
    tokenizer = built.tokenizer()
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in ("a", "b", "c", "d")}
    rows = [("a", 0.9), ("a", 0.85), ("b", 0.1), ("b", 0.05), ("c", 0.5), ("c", 0.7), ("d", 0.95)]
    drawn = pack_rows([[1, 5, ids[word]] for word, _ in rows], [[7]] * len(rows), pad_token=0)
    logp = torch.full((len(rows), 600), -20.0)
    logp[:, 7] = torch.tensor([p for _, p in rows]).log()
    monkeypatch.setattr(jumps, "at_the_hero", lambda *_: logp)
    monkeypatch.setattr(jumps, "draw_places", lambda *_, **__: drawn)
    monkeypatch.setattr(jumps, "watched_model", lambda _: SimpleNamespace(device=torch.device("cpu")))
    found = jumps.places(built)
    assert found["sure_places"] == pytest.approx(3 / 7)
    assert found["guessed_places"] == pytest.approx(2 / 7)
    assert (found["sure_after"], found["guessed_after"]) == ("a", "b")  # "d" was met once


def test_holes_hold_whole_words(built):
    tokenizer = built.tokenizer()
    text = "One sunny day, the fox found a kite."
    cut = holes.cut_words(tokenizer, text)
    assert cut
    for hole in cut:
        whole = [*hole.before[1:], hole.word, *hole.after[:-1]]
        assert tokenizer.decode(whole) == text
        assert tokenizer.decode(hole.word).strip().isalpha()
    for hole in holes.draw_first_words(built, 4):
        assert len(hole.before) == 1


@pytest.mark.usefixtures("unchecked")
def test_every_model_chooses_among_the_words_that_are_missing(monkeypatch):
    """Token 9 is the likeliest everywhere and missing nowhere; after it each model's order is its own."""
    asked = [holes.Hole([1], word, [2]) for word in (5, 5, 7, 5)]
    likes = {"causal": [5, 5, 5, 5], "masked": [5, 5, 7, 7], "seq2seq": [7, 7, 5, 7]}

    def logits(pipeline, objective, some):
        scores = torch.zeros(len(some), 12)
        scores[:, 9] = 5.0
        scores[torch.arange(len(some)), torch.tensor(likes[objective][: len(some)])] = 1.0
        return scores

    def whole_sentences(pipeline, some, *, among):
        assert sorted(among[0].tolist()) == [5, 7]
        return torch.tensor([5, 5, 7, 7])

    monkeypatch.setattr(holes, "hole_logits", logits)
    monkeypatch.setattr(holes, "rescored", whole_sentences)
    shares = holes._shares(None, asked)
    assert holes.words_asked(asked).tolist() == [5, 7]
    assert (shares["causal"], shares["masked"], shares["seq2seq"]) == (0.75, 0.75, 0.0)
    assert (shares["commonest"], shares["causal_before_rescoring"], shares["causal_rescored"]) == (
        0.75,
        0.75,
        0.75,
    )
    assert shares["words"] == 2


def test_the_table_of_abilities_puts_each_share_in_its_place():
    filled = {
        "causal": 0.11,
        "masked": 0.12,
        "seq2seq": 0.13,
        "commonest": 0.14,
        "causal_before_rescoring": 0.15,
    }
    filled |= {"causal_rescored": 0.16, "first_causal_rescored": 0.17, "first_commonest": 0.18}
    filled |= {"first_causal": 0.21, "first_masked": 0.22, "first_seq2seq": 0.23}
    continued = {"causal": 0.31, "masked": 0.32, "seq2seq": 0.33}
    told = {"causal_first": 0.41, "masked_first": 0.42, "seq2seq_first": 0.43}
    lines = examples.abilities(filled, continued, told).splitlines()
    assert lines[2].split() == ["masked", "0.12", "0.22", "0.32", "0.42"]
    assert lines[4] == "always the commonest word: 0.14 any word, 0.18 first word"
    assert lines[5] == "causal, on 150 holes: 0.15 any word;"
    assert lines[6] == "  whole sentences with 24 candidates: 0.16 any word, 0.17 first word"


def test_a_head_switched_off_says_nothing(model, tokens):
    """Against a hook that sets the head's channels to zero before the output map."""
    count, width = 4, 8
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        for number in (0, 3, 6):
            layer, head = divmod(number, count)

            def silence(module, inputs, head=head):
                mixed = inputs[0].clone()
                mixed[..., head * width : (head + 1) * width] = 0.0
                return (mixed,)

            hook = model.model.layers[layer].self_attn.o_proj.register_forward_pre_hook(silence)
            expected = model(input_ids=tokens).logits
            hook.remove()
            torch.testing.assert_close(heads.without_head(model, number)(input_ids=tokens).logits, expected)
            assert not torch.allclose(expected, before, atol=1e-3)
        torch.testing.assert_close(model(input_ids=tokens).logits, before)
    with pytest.raises(ValueError, match="no head 8 among 8"):
        heads.without_head(model, 8)


@pytest.mark.usefixtures("unchecked")
def test_the_copying_head_is_the_one_that_is_missed(built, monkeypatch):
    """Of four heads the third is missed most, the first after it; where each looks does not decide."""
    words = copying.scene_words(built)
    place = words.index("fox")
    attention = torch.full((4, len(words)), 0.01)
    attention[2, place], attention[1, place] = 0.6, 0.9
    monkeypatch.setattr(heads, "seen", lambda pipeline: [{"attention": attention.flatten().tolist()}])
    config = SimpleNamespace(num_attention_heads=2, num_hidden_layers=2)
    monkeypatch.setattr(
        heads, "watched_model", lambda _: SimpleNamespace(config=config, device=torch.device("cpu"))
    )
    monkeypatch.setattr(heads, "draw_places", lambda *_, **__: torch.zeros(1))
    monkeypatch.setattr(heads, "without_head", lambda model, number: number)
    left = {0: 0.7, 1: 0.9, 2: 0.1, 3: 0.95}
    monkeypatch.setattr(
        heads,
        "look_at",
        lambda model, _: {"probability": left.get(model, 0.96) if isinstance(model, int) else 0.96},
    )
    found = heads.silenced_heads(built)
    assert (found["head"], found["on"], found["without_it"], found["without_another"]) == (2, 0.96, 0.1, 0.7)
    assert found["off"] == [0.7, 0.9, 0.1, 0.95]
    assert found["attention"] == [pytest.approx(0.6)]
    assert words[0] == "begin"
    assert words.count("fox") == 1


@pytest.mark.usefixtures("unchecked")
def test_the_band_is_that_of_other_seeds(monkeypatch):
    losses = {0: 0.5, 1: 0.6, 2: 0.7}
    rows = [SimpleNamespace(seed=seed, metrics={"loss": loss}) for seed, loss in losses.items()]
    monkeypatch.setattr(ladder, "read_records", lambda *_, **__: rows)
    pipeline = SimpleNamespace(
        seed=0, profile=SimpleNamespace(name="quick"), measured=lambda _: {"loss": losses[0]}
    )
    assert ladder.band_of_seeds(pipeline) == (False, "0.500 nats; 2 others: 0.600 to 0.700")
    losses[0] = 0.55
    assert ladder.band_of_seeds(pipeline)[0]
    rows[:] = rows[:1]
    assert "nothing is compared" in ladder.band_of_seeds(pipeline)[1]


def test_beginnings_and_their_rest_make_sentences_of_the_grammar(built):
    beginnings = continuing.draw_beginnings(built, 8)
    assert all(len(start.split(" ")) == continuing.GIVEN for start, _ in beginnings)
    assert continuing.grammatical(beginnings, [rest for _, rest in beginnings]) == 1.0
    assert continuing.grammatical(beginnings, [" nonsense" for _ in beginnings]) == 0.0


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (400,), generator=generator)
    noise = torch.randn(400, 8, generator=generator)
    told = noise.clone()
    told[torch.arange(400), labels] += 6
    assert slots.probe(told, labels, trained_on=300, classes=3) > 0.95
    assert slots.probe(noise, labels, trained_on=300, classes=3) < 0.55


def test_similarity_by_hand():
    assert found(torch.tensor([[2.0, 1.0], [3.0, 1.0]])) == 0.5
    assert mean_cosine(torch.tensor([[9.0, 1.0], [3.0, 9.0]])) == 2.0
    overlap = word_overlap(["the fox ran", "a cat"], ["the red fox", "the cat sat"])
    assert overlap.argmax(1).tolist() == [0, 1]
    assert overlap[0, 1] == 0  # "the" stands in all passages and weighs nothing


def test_titles_are_taken_off():
    assert without_title("A short sad story of the fox and the kite: It rained.") == "It rained."
    assert without_title('"Stop: now!" cried the fox.') == '"Stop: now!" cried the fox.'


# --------------------------------------------------------------------------------------------------- drawings


def test_the_drawn_numbers_are_minus_log_p():
    losses = figures.toy_losses()
    for name, given in (("causal", figures.FROM_THE_LEFT), ("seq2seq", figures.WITH_ENCODER)):
        assert losses[name] == pytest.approx([-math.log(p) for p in given], rel=1e-4)
    assert losses["masked"] == pytest.approx([-math.log(figures.FROM_BOTH_SIDES)], rel=1e-4)
    details = [box.detail for box in figures.objectives_flow().boxes]
    assert "−log p:\n0.69 2.30 0.92" in details


def test_the_masks_drawing_shows_the_librarys_masks():
    drawn = figures.four_masks(["a", "b", "c"], given=2).body
    assert drawn.count("<svg") == 4


def test_frames_follow_the_head_that_copies():
    tokens = ["begin", "the", "fox", "a"]
    looks = [
        {"step": s, "heroes": [p, 1 - p], "attention": [0.25] * 4 + [0.1, 0.1, p, 0.2]}
        for s, p in ((1.0, 0.2), (2.0, 0.9))
    ]
    moving = figures.copying_frames(looks, ["fox", "owl"], tokens, hero="fox", head=1)
    assert "step 2: p(fox) = 0.90" in moving.body


def test_every_claim_has_a_sentence_and_a_name_of_its_own():
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.sentence.endswith(".") for claim in CLAIMS)
