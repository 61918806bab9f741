"""The command line as a user calls it: what it prints, what it returns, and one line for a mistake."""

import json
import re
import subprocess
import sys

import pytest

import rlhf_mini.chapters.whole_story.claims as room
from rlhf_mini import __version__
from rlhf_mini.chapters.claims import Claim, describe_numbers
from rlhf_mini.cli import PACKAGES, main
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import PROFILES


@pytest.fixture
def command(monkeypatch, miniature, built, capsys):
    """Runs a command on the miniature profile and the cache that is built; returns status, output, errors."""
    monkeypatch.setitem(PROFILES, "miniature", miniature)
    monkeypatch.setenv("RLHF_MINI_PROFILE", "miniature")
    monkeypatch.setenv("RLHF_MINI_CACHE", str(built.store.root))

    def command(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            status = stop.code
        told = capsys.readouterr()
        return status, told.out, told.err

    return command


def one_line(status, out, err):
    """The message of a mistake: one line, no traceback, status 2."""
    assert status == 2
    assert err.startswith("rlhf-mini: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    return err


# -------------------------------------------------------------------------------------------------------- run


def test_run_tells_every_stage_once(command, built):
    status, out, _ = command("run")
    assert status == 0
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == built.order("ppo")
    assert all("from the cache" in line for line in lines)
    assert all(line.endswith(str(built.get(line.split()[0]))) for line in lines)
    assert re.search(r"loss \d\.\d{3}, accuracy \d\.\d{3}", lines[4])
    assert re.search(r"score -?\d+\.\d{3}, gold -?\d+\.\d{3}, kl_k1 ", lines[5])


def test_run_builds_what_is_missing_and_finds_it_the_second_time(command, tmp_path):
    run = ("run", "--until", "base", "--seed", 1, "--cache", tmp_path)
    for how in (r"built in \d+\.\d s", "from the cache"):
        status, out, err = command(*run)
        assert (status, err) == (0, "")
        assert [bool(re.search(how, line)) for line in out.splitlines()] == [True, True]


def test_run_on_a_text_prints_the_baseline_beside_the_model(command, tmp_path):
    (tmp_path / "text.txt").write_text("a cat sat on a mat\n" * 80)
    status, out, _ = command("run", "--until", "base", "--text", tmp_path / "text.txt", "--cache", tmp_path)
    assert status == 0
    assert re.search(
        r"^  byte \d-gram, the best order +\d\.\d{3}\n  base model +\d\.\d{3}$", out, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until", "rlhf"], "unknown stage 'rlhf': choose one of tokenizer, base, sft"),
        (["--profile", "huge"], "unknown profile 'huge': choose one of quick, full"),
        (["--text", "/no/such/file.txt"], "/no/such/file.txt does not exist; give an existing text file"),
        (
            ["--base-model", "/no/such/model"],
            "folder /no/such/model does not exist; give an existing one, or a hub name",
        ),
        (["--text", "a.txt", "--base-model", "b"], "a text to pretrain on or a base model, not both"),
    ],
)
def test_a_mistake_ends_in_one_line(command, arguments, message):
    assert re.search(message, one_line(*command("run", *arguments)))


@pytest.mark.slow  # a new process loads torch and transformers first
def test_a_mistake_ends_in_one_line_in_a_real_process_too(tmp_path):
    arguments = ["run", "--profile", "huge", "--cache", str(tmp_path)]
    told = subprocess.run(
        [sys.executable, "-m", "rlhf_mini.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert told.stdout == ""
    assert "unknown profile 'huge'" in one_line(told.returncode, told.stdout, told.stderr)


def test_an_interruption_says_how_to_go_on(command, monkeypatch):
    def interrupted(self, stage):
        raise KeyboardInterrupt

    monkeypatch.setattr(Pipeline, "get", interrupted)
    status, _, err = command("run")
    assert status == 130
    assert err == "rlhf-mini: interrupted; finished stages are kept, run the same command to go on\n"


# -------------------------------------------------------------------------------------------------- claims


def test_claims_prints_verdicts_and_writes_records(command, tmp_path):
    records = tmp_path / "claims.json"
    status, out, _ = command("claims", "00", "--only", "SFT", "best-of-n", "--jobs", 1, "--records", records)
    written = read_records(records)
    assert [record.method for record in written] == ["SFT", "best-of-n"]
    verdicts = [bool(record.metrics["holds"]) for record in written]
    assert status == (0 if all(verdicts) else 1)
    headings = [line for line in out.splitlines() if line.startswith("seed 0  ")]
    assert ["NOT SEEN" not in line for line in headings] == verdicts
    for record in written:
        row = next(row for row in room.CLAIMS if row.name == record.method)
        assert row.sentence in out
        assert describe_numbers(record) in out
        assert (record.chapter, record.experiment, record.profile) == ("00", "claims", "miniature")
        assert (record.seed, record.version) == (0, __version__)


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_claims_fails_if_one_is_not_seen_on_one_seed(command, monkeypatch, tmp_path, holds, status):
    rows = [
        Claim("first", "seen", lambda pipeline: {"x": 1.0}, lambda numbers: True),
        Claim("second", "seen", lambda p: {"x": float(p.seed)}, lambda numbers: holds or numbers["x"] != 3),
    ]
    monkeypatch.setattr(room, "CLAIMS", rows)
    records = tmp_path / "records.json"
    only = ("--only", "first", "second")
    ended, out, _ = command("claims", "00", "--seeds", 2, 3, 4, *only, "--jobs", 1, "--records", records)
    assert ended == status
    assert out.count("NOT SEEN") == status
    stored = [(row["seed"], row["method"]) for row in json.loads(records.read_text())]
    assert stored == [(seed, name) for seed in (2, 3, 4) for name in ("first", "second")]


def test_claims_of_all_rows_writes_the_scoreboard_too(command, monkeypatch, tmp_path):
    monkeypatch.setattr(room, "CLAIMS", [])
    assert command("claims", "00", "--records", tmp_path / "records.json")[0] == 0
    written = read_records(tmp_path / "records.json", experiment="scoreboard")
    assert {record.method for record in written} >= {"base model", "SFT", "PPO", "PPO without KL"}


def test_an_unknown_row_is_refused_with_the_known_ones(command):
    err = one_line(*command("claims", "00", "--only", "PPO"))
    assert "unknown claims ['PPO']: choose from ['pretraining', 'SFT', 'reward model'" in err


# ----------------------------------------------------------------------------------------------------- others


def test_doctor_says_what_there_is(command, built):
    status, out, _ = command("doctor")
    assert status == 0
    assert out.startswith(f"rlhf-mini {__version__}, Python 3.")
    assert all(re.search(rf"^  {package} +\d", out, re.MULTILINE) for package in PACKAGES)
    assert re.search(r"^device .+, \d+ threads of \d+ processors$", out, re.MULTILINE)
    assert f"profile miniature, cache {built.store.root}" in out
    assert re.search(r"^\d+\.\d GB free for the cache", out, re.MULTILINE)


def test_doctor_names_a_missing_package_and_a_full_disk(command, monkeypatch):
    from importlib import metadata

    import rlhf_mini.cli as module

    def version(package):
        if package == "matplotlib":
            raise metadata.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(module.metadata, "version", version)
    usage = module.shutil.disk_usage("/")._replace(free=int(0.5e9))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    _, out, _ = command("doctor")
    assert "  matplotlib    missing: pip install matplotlib\n" in out
    assert "0.5 GB free for the cache: too little" in out


def test_doctor_refuses_an_unknown_device(command, monkeypatch):
    monkeypatch.setenv("RLHF_MINI_DEVICE", "abacus")
    assert "RLHF_MINI_DEVICE='abacus' names no device" in one_line(*command("doctor"))


def test_bench_outside_a_clone_says_where_to_run_it(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks.bench", None)
    assert "run `make bench` in a clone" in one_line(*command("bench"))


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["claims", "--help"], ["bench", "-h"]])
def test_help_is_there(command, arguments):
    status, out, _ = command(*arguments)
    assert status == 0
    assert out.startswith("usage: rlhf-mini")


def test_the_version_is_told(command):
    assert command("--version")[:2] == (0, f"{__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "--seed", "one"], ["run", "--seeds", "1"]])
def test_what_is_no_command_is_refused(command, arguments):
    status, out, err = command(*arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("usage: rlhf-mini")
