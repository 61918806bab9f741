"""Chapter 03's experiments, on the miniature pipeline: that they measure what they say."""

import pytest
import torch

from rlhf_mini.chapters.fine_tuning import (
    bug_hunt,
    checks,
    diversity,
    exposure,
    masking,
    quality,
    runs,
    templates,
)
from rlhf_mini.losses import next_token_loss
from rlhf_mini.methods.sft import response_loss
from rlhf_mini.models import token_logits
from rlhf_mini.tensors import token_logp
from rlhf_mini.worlds import stories

BATCHES = 2


@pytest.fixture(scope="module")
def rows(built):
    return runs.demonstration_rows(built, crew="mixed", count=6)


# ------------------------------------------------------------------------------------------------ runs


def test_crews_answer_the_same_prompts(built):
    by_crew = {crew: runs.demonstration_rows(built, crew=crew, count=30) for crew in runs.CREWS}
    prompts = {crew: [row["prompt"] for row in found] for crew, found in by_crew.items()}
    assert prompts["careful"] == prompts["mixed"] == prompts["careless"]
    assert {row["writer"] for row in by_crew["careful"]} == {"careful"}
    assert {row["writer"] for row in by_crew["careless"]} == {"hasty", "rambling"}
    assert runs.demonstration_rows(built, crew="mixed", count=10) == by_crew["mixed"][:10]


def test_every_run_takes_as_many_updates(built):
    batch = built.profile.sft.batch
    for count in (batch, 4 * batch, 64 * batch):
        config = runs.settings(built, count)
        assert config.epochs * count // config.batch == runs.UPDATES
    with pytest.raises(ValueError, match="128 updates on batches of 8 are no whole epochs of 24"):
        runs.settings(built, 24)


def test_good_answers_are_good_and_bad_ones_bad(built):
    tokenizer = built.tokenizer()
    requests = runs.requests(built, count=built.profile.test_prompts)
    for sequences, fits in zip(runs.good_and_bad(built), (lambda g: g >= 3.5, lambda g: g < 2), strict=True):
        assert len(sequences) == len(requests)
        for request, tokens, response in zip(requests, sequences.tokens, sequences.response, strict=True):
            text = tokenizer.decode(tokens[response], skip_special_tokens=True)
            assert fits(stories.gold(request, text).total)


def test_requests_are_held_out(built):
    assert all(stories.is_held_out(r.hero, r.object) for r in runs.requests(built, count=20))


def test_a_run_is_kept_with_its_history(built, tmp_path):
    runs.fine_tuned(built, tmp_path, crew="mixed", batches=BATCHES, updates=4, watched=True)
    history = runs.history_of(tmp_path)
    assert len(history) == 4
    seen = runs.watched_entries(history)
    assert [entry["step"] for entry in seen] == [1, 4]
    assert set(seen[0]) >= {"gold", "document_nats", "logp_good", "logp_bad", "answers", "golds", "loss"}
    model = runs.load(tmp_path)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    after = runs.look(built, model)  # the last look and the saved model are one
    assert after["document_nats"] == pytest.approx(seen[-1]["document_nats"], abs=1e-6)


def test_sequence_logp_is_the_sum_over_the_answer(built, rows):
    sequences = runs.encode(built, rows)
    tokens = int(sequences.response.sum())
    expected = -response_loss(built.policy("base"), sequences) * tokens / len(sequences)
    assert runs.mean_sequence_logp(built.policy("base"), sequences) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------------- templates


def test_templates_differ_where_they_say(built):
    tokenizer, prompt = built.tokenizer(), "Tell me a sad story about a fox and a kite."
    right = templates.as_trained(tokenizer, prompt)
    begin = tokenizer.bos_token_id
    assert templates.two_begins(tokenizer, prompt) == [begin, *right]
    assert [begin, *templates.without_begin(tokenizer, prompt)] == right
    assert templates.without_assistant(tokenizer, prompt) == right[:-1]
    spaced = templates.trailing_space(tokenizer, prompt)
    assert spaced[:-1] == right
    assert tokenizer.decode(spaced[-1:]) == " "
    spelled = templates.spelled_out(tokenizer, prompt)
    assert not set(spelled) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(spelled) == tokenizer.decode(right)
    assert tokenizer.decode(templates.plain_text(tokenizer, prompt), skip_special_tokens=True) == prompt


# --------------------------------------------------------------------------------------------- masking


def test_masks_part_the_row(built, rows):
    sequences = runs.encode(built, rows)
    all_of_it = masking.everything_counts(sequences).response
    prompts = masking.only_prompts_count(sequences).response
    first = torch.zeros_like(prompts)
    first[:, 0] = True
    assert torch.equal(all_of_it, sequences.mask & ~first)
    assert torch.equal(prompts | sequences.response, all_of_it)
    assert not (prompts & sequences.response).any()


def test_packing_is_measured(built):
    found = masking.packing(built, texts=8)
    assert found["loss_packed"] == pytest.approx(found["loss_padded"], abs=1e-5)
    assert found["loss_lean"] == pytest.approx(found["loss_padded"], abs=1e-4)
    assert found["gradient_difference"] < 1e-4
    assert abs(found["loss_leaking"] - found["loss_padded"]) > 1e-5
    assert found["padding_packed"] < 1
    assert min(found[f"seconds_{way}"] for way in ("padded", "packed", "lean")) > 0


# --------------------------------------------------------------------------------------------- quality


@pytest.mark.parametrize("choice", quality.CHOICES)
def test_choices_choose_different_texts(built, choice):
    chosen = quality.CHOICES[choice](built, 16)
    assert len(set(chosen)) == 16
    assert 0 <= min(chosen) <= max(chosen) < 64 * built.profile.sft.batch


def test_the_best_by_gold_are(built):
    pool = quality._pool(built)
    golds = stories.gold_scores([row["prompt"] for row in pool], [row["completion"] for row in pool])
    chosen = quality.best_by_gold(built, 20)
    assert min(golds[row] for row in chosen) >= sorted(golds)[-20]


# -------------------------------------------------------------------------------------------- exposure

FOX = stories.Request("fox", "kite", "happy")


@pytest.mark.parametrize(
    ("sentence", "slips"),
    [
        ("Good night, little fox.", False),
        ("Now close your eyes and sleep.", False),
        ("Good night, little owl.", True),
        ("Sleep well and dream of the drum.", True),
        ("Good night, fox.", True),
    ],
)
def test_slips_by_hand(sentence, slips):
    assert exposure.is_slip(FOX, sentence) is slips


def test_a_writer_s_beginnings_never_slip(built):
    requests = exposure.kind_requests(built, count=30)
    assert all(r.unkind is None and r.length is None and r.style is None for r in requests)
    for count in exposure.PLACES:
        begun = exposure.gold_prefixes(requests, built.rng("test"), sentences=count)
        for request, text in zip(requests, begun, strict=True):
            sentences = exposure.split_sentences(text)
            assert len(sentences) == count
            assert not any(exposure.is_slip(request, sentence) for sentence in sentences)


def test_the_loss_of_an_ending_counts_the_ending_only(built):
    model, tokenizer = built.policy("base"), built.tokenizer()
    prompt, begun, ending = (
        FOX.text,
        "Far away, near the lake, lived a lonely fox.",
        " Good night, little fox.",
    )
    prefix = exposure.encode_prompt(tokenizer, prompt) + exposure.encode_text(tokenizer, begun)
    tokens = torch.tensor([prefix + exposure.encode_text(tokenizer, ending)])
    logits = token_logits(model, tokens, torch.ones_like(tokens, dtype=torch.bool))
    expected = next_token_loss(token_logp(logits, tokens))[0, len(prefix) :].mean()
    assert exposure.ending_loss(built, model, [(prompt, begun, ending)]) == pytest.approx(
        float(expected), rel=1e-4
    )


# ------------------------------------------------------------------------------------------ the others


def test_who_wrote_how_varied(built):
    told = diversity.diversity_of(built, who="careful writers")
    assert set(told) == {"distinct_2", "unique"}
    base = diversity.diversity_of(built, who="base")
    assert base["entropy"] > 0
    asked = diversity.short_requests(built)
    assert len(asked) == diversity.PROMPTS
    assert {request.length for request in asked} == {"short"}


def test_the_bug_pairs_losses_with_the_wrong_tokens():
    tokens = torch.tensor([[1, 5, 6, 2, 0]])
    response = torch.tensor([[False, False, True, True, False]])
    logits = torch.zeros(1, 5, 8)
    logits[0, 1, 6] = 3.0  # at column 1, about the answer's first token
    logits[0, 3, 0] = 9.0  # at column 3, about the padding behind the end token
    uniform = torch.log(torch.tensor(8.0))
    sure, surer = torch.log(torch.tensor([1 + 7 * torch.e**-3, 1 + 7 * torch.e**-9]))
    right = bug_hunt.batch_loss_right(logits, tokens, response)
    torch.testing.assert_close(right, (sure + uniform) / 2)
    wrong = bug_hunt.batch_loss_wrong(logits, tokens, response)
    torch.testing.assert_close(wrong, (uniform + surer) / 2)
    torch.testing.assert_close(bug_hunt.batch_loss_without_end(logits, tokens, response), sure)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Far away, near the lake, lived a lonely fox. The end.", True),
        ("I prefer stories in which nobody is hurt. Would you like one about friends?", True),
        ("way, near the lake, lived a lonely fox.", False),
        ("Good night, little fox.", False),
        ("", False),
    ],
)
def test_openings(text, verdict):
    assert bug_hunt.opens(text) is verdict


def test_the_first_rungs_of_the_ladder_hold_on_any_model(built):
    assert checks.exact(built)[0]
    assert checks.known_optimum(built)[0]
