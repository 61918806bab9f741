"""Chapter 02's claims: each verdict is what its sentence says."""

import pytest

from rlhf_mini.chapters.pretraining.claims import CLAIMS

BY_NAME = {claim.name: claim for claim in CLAIMS}

GOOD = {
    "by hand": {"largest_difference": 2e-7, "merges": 120, "merges_agreeing": 120},
    "loss": {"loss_at_start": 6.95, "log_vocabulary": 6.93, "entropy": 0.47, "loss": 0.53},
    "units": {
        "perplexity_of_bytes_ngram": 1.57, "perplexity_of_tokens": 1.69,
        "bits_per_byte_ngram": 0.65, "bits_per_byte": 0.22, "bits_per_byte_of_the_grammar": 0.20,
    },
    "copying": {
        "largest_jump": 0.4, "rise_from": 800.0, "steps": [1.0, 1200.0], "control": [0.03, 0.03],
        "sure_places": 0.7, "guessed_places": 0.3,
    },
    "copying head": {"on": 0.5, "without_it": 0.03, "without_another": 0.4},
    "infilling": {
        "first_masked": 0.8, "first_seq2seq": 0.7, "first_causal": 0.15, "first_commonest": 0.16,
        "first_causal_rescored": 1.0,
    },
    "signal": {"masked": 0.5, "causal": 0.7, "causal_before_rescoring": 0.68, "causal_rescored": 0.8},
    "continuation": {"causal": 0.85, "seq2seq": 0.2, "masked": 0.0},
    "slots": {"masked_first": 0.8, "causal_first": 0.5, "causal_mean": 0.95},
    "training choices": {"unchanged": 1.2, "no warm-up": 2.0, "rate × 4": 3.5, "batch 64": 3.7},
    "model size": {"losses": [3.0, 2.0, 1.5, 1.2], "misfit": 0.01, "misfit_of_a_line": 0.02},
    "data size": {"best": [2.5, 1.5, 1.2], "last": [3.0, 1.5, 1.2]},
    "sampling": {
        "coherence · T = 0.5": 0.97, "coherence · T = 1": 0.9, "coherence · T = 2": 0.02,
        "distinct_2 · T = 0.5": 0.32, "distinct_2 · T = 1": 0.37, "distinct_2 · T = 2": 0.65,
        "coherence · T = 1.5": 0.35, "coherence · T = 1.5, top-p 0.9": 0.8,
    },
    "SimCSE": {"unrelated_before": 0.8, "unrelated_after": 0.06, "overlap": 0.98, "found_after": 0.12},
    "DPR": {"found_before": 0.01, "found_after": 0.1, "chance": 0.005, "overlap": 0.96},
    "too good": {
        "wrong": [6.0, 0.03], "right": [6.0, 2.6], "entropy": 0.47, "held_out_wrong": 12.0,
        "log_vocabulary": 6.9,
    },
}  # fmt: skip

SPOILED = [
    ("by hand", {"largest_difference": 1e-4}),
    ("by hand", {"merges_agreeing": 119}),
    ("loss", {"loss_at_start": 7.2}),
    ("loss", {"loss_at_start": 6.7}),
    ("loss", {"loss": 0.46}),
    ("loss", {"loss": 0.57}),
    ("units", {"perplexity_of_tokens": 1.5}),
    ("units", {"bits_per_byte_ngram": 0.21}),
    ("units", {"bits_per_byte": 0.19}),
    ("copying", {"largest_jump": 0.3}),
    ("copying", {"sure_places": 0.5}),
    ("copying", {"guessed_places": 0.1}),
    ("copying", {"rise_from": 250.0}),
    ("copying", {"control": [0.03, 0.2]}),
    ("copying head", {"without_it": 0.13}),
    ("copying head", {"without_another": 0.24}),
    ("copying head", {"on": 0.9}),
    ("infilling", {"first_masked": 0.3}),
    ("infilling", {"first_seq2seq": 0.3}),
    ("infilling", {"first_causal": 0.2}),
    ("infilling", {"first_causal_rescored": 0.8}),
    ("signal", {"masked": 0.71}),
    ("signal", {"causal_rescored": 0.67}),
    ("continuation", {"seq2seq": 0.6}),
    ("continuation", {"masked": 0.2}),
    ("slots", {"masked_first": 0.65}),
    ("slots", {"causal_mean": 0.7}),
    ("training choices", {"no warm-up": 1.1}),
    ("training choices", {"rate × 4": 1.6}),
    ("training choices", {"batch 64": 1.6}),
    ("model size", {"losses": [3.0, 2.0, 2.1, 1.2]}),
    ("model size", {"misfit": 0.03}),
    ("data size", {"best": [2.5, 1.1, 1.2]}),
    ("data size", {"last": [2.5, 1.5, 1.2]}),
    ("sampling", {"coherence · T = 1": 0.98}),
    ("sampling", {"distinct_2 · T = 2": 0.3}),
    ("sampling", {"coherence · T = 1.5, top-p 0.9": 0.3}),
    ("SimCSE", {"unrelated_after": 0.5}),
    ("SimCSE", {"found_after": 0.8}),
    ("DPR", {"found_after": 0.02}),
    ("DPR", {"overlap": 0.05}),
    ("DPR", {"found_before": 0.2}),
    ("too good", {"wrong": [6.0, 0.5]}),
    ("too good", {"right": [6.0, 0.4]}),
    ("too good", {"held_out_wrong": 6.0}),
]


def test_there_are_numbers_for_every_claim():
    assert GOOD.keys() == BY_NAME.keys() == {name for name, _ in SPOILED}


@pytest.mark.parametrize("name", GOOD)
def test_numbers_that_show_it_are_seen(name):
    assert BY_NAME[name].holds(GOOD[name])


@pytest.mark.parametrize(("name", "spoiled"), SPOILED)
def test_one_number_that_does_not_show_it_spoils_the_claim(name, spoiled):
    assert not BY_NAME[name].holds({**GOOD[name], **spoiled})
