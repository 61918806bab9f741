"""Chapter 15: its small models and files are read by the library, and its tables show their records."""

import pytest
import torch
from transformers import AutoConfig

from rlhf_mini.chapters.claims import record_of
from rlhf_mini.chapters.real import beside_records, claims, figures, measures, pair, sizes, small
from rlhf_mini.data.pretrained import load_causal_lm
from rlhf_mini.evaluation.records import write_records
from rlhf_mini.models import response_logp
from rlhf_mini.real.rows import LOADERS
from rlhf_mini.real.settings import METHODS
from tests.chapters.verdicts.real import GOOD


@pytest.mark.parametrize(("kind", "model_type"), [("GPT-NeoX", "gpt_neox"), ("Llama", "llama")])
def test_a_saved_base_is_loaded_as_a_model_of_the_hub_is(kind, model_type, tmp_path):
    folder = small.save_base(kind, tmp_path / "base", seed=0)
    model, tokenizer = load_causal_lm(folder)
    assert AutoConfig.from_pretrained(folder).model_type == model_type
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings == small.VOCABULARY
    assert model.config.num_hidden_layers == 2


def test_a_qwen2_with_our_tokenizer_is_refused(tmp_path):
    """`transformers` gives it a piece of Qwen2's own; if this fails, the page must change."""
    folder = small.save_base("Qwen2", tmp_path / "base", seed=0)
    with pytest.raises(ValueError, match="the tokenizer has 513 tokens and the model embeddings for 512"):
        load_causal_lm(folder)


def test_other_kinds_are_refused():
    with pytest.raises(ValueError, match="kind must be one of Qwen2, GPT-NeoX, Llama; got 'BERT'"):
        small.configuration("BERT", small.tokenizer_for(0, rows=20))


def test_every_file_is_read_by_the_loader_of_its_method(tmp_path):
    for method, file in small.story_files(tmp_path, count=12, seed=0).items():
        rows = LOADERS[METHODS[method].data](file)
        assert len(rows) == 1 if method == "pretrain" else len(rows) >= 8
    assert rows[0]["prompt"].startswith("What is")  # the last are GRPO's sums
    first = [int(word.strip("?")) for word in rows[0]["prompt"].split() if word.strip("?").isdigit()]
    assert int(rows[0]["answer"]) == sum(first)


def test_rows_of_one_length_have_one_mean_however_they_are_dealt_out():
    model, batch = measures.story_batch(0, rows=4)
    alike = batch.rows(torch.tensor([1, 1, 1, 1]))
    whole = measures.gradient(model, alike, measures.token_mean)
    half = measures.gradient(model, alike.rows(torch.arange(2)), measures.token_mean)
    torch.testing.assert_close(half, whole, rtol=1e-4, atol=1e-6)


def test_a_batch_s_baseline_is_of_the_batch():
    """By hand: with all answers alike each stands at its own mean, and the loss is log 2."""
    model, batch = measures.story_batch(0, rows=4)
    alike = batch.rows(torch.tensor([2, 2]))
    logp = response_logp(model, alike.tokens, alike.mask, alike.response)
    loss = measures.against_the_batch(logp, alike.response)
    assert float(loss.detach()) == pytest.approx(0.693147, abs=1e-5)


def test_without_trl_it_is_said_what_to_install(built, monkeypatch):
    def missing(name):
        raise ImportError(f"{name} is not installed; it comes with an extra: pip install 'rlhf-mini[bridge]'")

    monkeypatch.setattr(beside_records, "require_package", missing)
    for experiment in (beside_records.five, beside_records.costs):
        with pytest.raises(ValueError, match=r"pip install 'rlhf-mini\[bridge\]'.*can be read without it"):
            experiment(built)


@pytest.fixture
def recorded(built, monkeypatch, tmp_path):
    """Writes made-up records of one seed and returns how to write more of them."""
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))

    def write(experiment, method, metrics):
        row = record_of(
            chapter="15", experiment=experiment, method=method, pipeline=built, seconds=0.0, metrics=metrics
        )
        write_records("chapter_15", [row])

    return write


def test_without_records_the_tables_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path))
    for table in (figures.settings_table, figures.costs_on_record, figures.five_on_record):
        with pytest.raises(ValueError, match="on record: measure them by `rlhf-mini claims 15`"):
            table()


def test_the_table_of_settings_shows_its_records(recorded):
    numbers = {f"norm {name}": 0.02 for name in beside_records.SETTINGS}
    numbers |= {f"{what}, {method} alike": 4e-6 for what in ("loss", "norm") for method in figures.NAMES}
    recorded("claims", "a wrong setting", {**GOOD["a wrong setting"], **numbers})
    text = figures.settings_table().text
    assert "DPO: all alike" in text
    assert "4·10⁻⁶" in text
    assert "SFT: rows in random order" in text
    assert "GRPO: KL with its ratio" in text
    assert text.count("yes") == sum(one.default for one in beside_records.SETTINGS.values()) == 7


def test_the_table_of_costs_leaves_seconds_out_where_there_are_none(recorded):
    recorded("costs", "sft, ours", {"peak": 100.0})
    recorded("costs", "sft, TRL", {"peak": 200.0, "seconds": 0.5, "setup": 1.0})
    text = figures.costs_on_record().text
    assert "SFT, TRL" in text
    assert "a step" not in text
    assert "busy with other work" in text
    recorded("costs", "sft, ours", {"peak": 100.0, "seconds": 0.25, "setup": 1.0})
    assert "a step (ms)" in figures.costs_on_record().text


def test_curves_on_record_are_overlaid(recorded):
    curves = {f"{side} {method}": [1.0, 0.5] for side in ("ours", "trl") for method in figures.UNITS}
    recorded("claims", "beside TRL", {**GOOD["beside TRL"], **curves})
    assert [one.method for one in figures.five_on_record()] == list(figures.UNITS)


def test_devices_share_out_what_is_kept_and_nothing_else():
    alone, shared = (sizes.parts_in_gib("7B", "full", devices=count) for count in (1, 8))
    assert shared["optimizer"] == pytest.approx(alone["optimizer"] / 8)
    assert shared["activations"] == alone["activations"]
    shown = figures.memory_frames(devices=(1, 8))
    assert shown.body.count('class="rm-frame"') == 2
    assert "8 devices" in shown.text


def test_the_largest_difference_of_two_curves():
    told = {"one sft": [1.0, 0.5, 0.25], "two sft": [1.0, 0.75, 0.25]}
    assert claims.curves_apart(told, "sft") == 0.25
    assert set(pair.METHODS) == set(pair.FILES)
