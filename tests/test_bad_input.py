"""What bad input gets: an error that says what was wrong, before any work is lost.

Most cases are tested where the code is; `TESTED_IN` says where, and is itself checked. Here stand a user's
mistakes at the command line, from the command to the one line that it ends in.
"""

import ast
import dataclasses
import errno
import re
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlhf_mini.cli import main
from rlhf_mini.pipeline import STAGES, Pipeline
from rlhf_mini.profiles import ENVIRONMENT_VARIABLE, PROFILES, pick_profile

TESTED_IN = {
    "wrong shapes": [
        "test_batch.py::test_sequences_refuse",
        "methods/test_ppo.py::test_a_reward_of_the_wrong_shape_is_refused",
    ],
    "wrong masks": ["test_batch.py::test_sequences_name_every_bad_row"],
    "an empty mask": ["test_batch.py::test_pack_rows_refuses"],
    "NaN or infinite rewards": [
        "methods/test_ppo.py::test_a_reward_that_is_not_finite_is_refused",
        "test_batch.py::test_rollout_refuses_nan_that_counts_and_ignores_the_rest",
    ],
    "a loss that is not finite": [
        "test_loop.py::test_a_loss_or_gradient_that_is_not_finite_stops_before_the_step"
    ],
    "a text longer than the context": [
        "methods/test_ppo.py::test_a_prompt_too_long_for_the_context_is_refused_before_training",
        "methods/test_sft.py::test_a_row_longer_than_the_context_is_refused_before_training",
        "methods/test_reward_model.py::test_a_text_longer_than_the_context_is_refused_before_training",
    ],
    "a tokenizer that does not match the model": [
        "data/test_pretrained.py::test_a_tokenizer_of_another_model"
    ],
    "a preference row without a loser": ["data/test_load.py::test_a_row_without_a_loser_is_named"],
    "a cache file cut short": [
        "test_cache.py::test_a_damaged_entry_is_built_again_with_a_warning",
        "test_pipeline.py::test_a_damaged_stage_is_built_again_and_equals_the_first",
    ],
    "an unknown profile": ["test_bad_input.py::test_an_unknown_profile_is_refused_with_the_known_ones"],
    "no disk space": [
        "test_cache.py::test_a_full_disk_is_named_as_such",
        "test_bad_input.py::test_a_full_disk_is_named_and_nothing_half_written_is_kept",
    ],
    "an interrupted run": [
        "test_cli.py::test_an_interruption_says_how_to_go_on",
        "test_pipeline.py::test_an_interrupted_stage_leaves_nothing_and_the_rest_is_kept",
        "test_pipeline.py::test_killed_twenty_times_at_random_moments_the_result_is_the_undisturbed_one",
    ],
    "weights that would be unpickled": ["data/test_pretrained.py::test_pickled_weights_are_not_opened"],
}


@pytest.mark.parametrize("case", TESTED_IN)
def test_every_case_has_its_test(case):
    for place in TESTED_IN[case]:
        file, name = place.split("::")
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, place


@pytest.fixture
def mistake(monkeypatch, miniature, tmp_path, capsys):
    """Runs `rlhf-mini run` on the miniature profile in a fresh cache; returns the line that it ends in."""
    monkeypatch.setitem(PROFILES, "miniature", miniature)

    def mistake(*arguments):
        capsys.readouterr()
        options = ["--profile", "miniature", "--cache", str(tmp_path / "cache"), *map(str, arguments)]
        status = main(["run", *options])
        told = capsys.readouterr().err
        lines = [line for line in told.splitlines() if line.startswith("rlhf-mini: ")]
        assert status == 2
        assert told.endswith(lines[0] + "\n")
        assert len(lines) == 1
        assert "Traceback" not in told
        return lines[0]

    return mistake


def save_model(folder, tokenizer, *, context=256, spare=1):
    config = Qwen2Config(
        vocab_size=len(tokenizer) + spare,  # transformers gives every Qwen2 tokenizer an <|endoftext|>
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def test_an_unknown_profile_is_refused_with_the_known_ones(monkeypatch):
    with pytest.raises(ValueError, match="unknown profile 'tiny': choose one of quick, full"):
        pick_profile("tiny")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "huge")
    with pytest.raises(ValueError, match="unknown profile 'huge': choose one of quick, full"):
        pick_profile()


def test_the_variable_chooses_the_profile_and_an_argument_overrides_it(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "full")
    assert pick_profile().name == "full"
    assert pick_profile("quick").name == "quick"
    monkeypatch.delenv(ENVIRONMENT_VARIABLE)
    assert pick_profile().name == ("full" if torch.cuda.is_available() else "quick")


def test_a_tokenizer_of_another_model_is_refused_before_anything_is_built(mistake, built, tmp_path):
    save_model(tmp_path / "mine", built.tokenizer(), spare=-50)
    assert "they do not belong together" in mistake("--base-model", tmp_path / "mine")
    assert not [*(tmp_path / "cache").glob("[a-z]*")]


def test_a_base_model_with_too_short_a_context_is_refused_before_training(mistake, built, tmp_path):
    save_model(tmp_path / "mine", built.tokenizer(), context=40)
    line = mistake("--base-model", tmp_path / "mine")
    assert re.search(r"row \d+ has \d+ tokens.* context of 40", line)
    assert "use a model with a longer context" in line


def test_a_base_model_with_nan_weights_stops_at_the_first_step(mistake, built, tmp_path):
    model = save_model(tmp_path / "mine", built.tokenizer())
    with torch.no_grad():
        model.lm_head.weight[3, 3] = torch.nan
    model.save_pretrained(tmp_path / "mine")
    assert "step 1 of 4: loss is nan" in mistake("--base-model", tmp_path / "mine", "--until", "sft")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text"),
        (b"a", "too few to hold some out"),
        (b"a few words\n", "give more text, or a smaller block"),
        (b"\xff\xfe broken", "is not UTF-8 text"),
    ],
)
def test_a_text_that_cannot_be_learned_from_is_refused(mistake, tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    assert message in mistake("--until", "base", "--text", tmp_path / "text.txt")


def test_a_full_disk_is_named_and_nothing_half_written_is_kept(mistake, monkeypatch, tmp_path):
    def full(pipeline: Pipeline, folder: Path) -> None:
        (folder / "half.json").write_text("{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(STAGES, "base", dataclasses.replace(STAGES["base"], build=full))
    line = mistake("--until", "base")
    assert "no space left to build 'base'" in line
    assert "put the cache on another disk" in line
    kept = [folder.name.split("-")[0] for folder in (tmp_path / "cache").iterdir() if folder.is_dir()]
    assert kept == ["tokenizer"]


def test_a_cache_that_cannot_be_written_is_named(mistake, tmp_path):
    (tmp_path / "cache").write_text("a file stands where the cache should be")
    assert str(tmp_path / "cache") in mistake("--until", "tokenizer")
