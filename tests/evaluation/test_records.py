"""Records: merging, atomic replacement, concurrent writers, damaged files, and the tables made of them."""

import json
import math
import multiprocessing
import os
from dataclasses import replace

import pytest

from rlhf_mini.evaluation.intervals import student_interval
from rlhf_mini.evaluation.record_tables import records_table, summarise
from rlhf_mini.evaluation.records import Record, read_records, results_folder, write_records


def _record(method="ppo", seed=0, gold=1.0, **changes):
    fields = {
        "chapter": "00", "experiment": "phenomena", "method": method, "seed": seed, "profile": "quick",
        "device": "CPU", "threads": 2, "seconds": 1.5, "version": "0.1.0", "metrics": {"gold": gold},
    }  # fmt: skip
    return Record(**{**fields, **changes})


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "results" / "phenomena.json"
    records = [
        _record(metrics={"gold": -0.125, "hacked": True, "curve": [1.0, 2.0], "note": "Größe"}),
        _record(seed=1),
    ]
    assert write_records(path, records) == path
    assert read_records(path) == records
    assert isinstance(json.loads(path.read_text(encoding="utf-8")), list)
    assert os.listdir(path.parent) == ["phenomena.json"]  # nothing temporary is left


def test_merge_replaces_in_place_and_appends(tmp_path):
    path = tmp_path / "r.json"
    write_records(path, [_record("sft"), _record("ppo"), _record("ppo", seed=1)])
    write_records(path, [_record("best of n"), _record("ppo", gold=9.0), _record("ppo", profile="full")])
    kept = [
        (record.method, record.seed, record.profile, record.metrics["gold"]) for record in read_records(path)
    ]
    assert kept == [
        ("ppo", 0, "quick", 9.0), ("ppo", 1, "quick", 1.0), ("sft", 0, "quick", 1.0),
        ("best of n", 0, "quick", 1.0), ("ppo", 0, "full", 1.0),
    ]  # fmt: skip


def test_writing_twice_gives_the_same_bytes(tmp_path):
    path = tmp_path / "r.json"
    write_records(path, [_record(seed=seed) for seed in range(3)])
    before = path.read_bytes()
    write_records(path, [_record(seed=1)])
    assert path.read_bytes() == before


def test_two_new_records_with_one_key_are_refused(tmp_path):
    with pytest.raises(ValueError, match="same key"):
        write_records(tmp_path / "r.json", [_record(gold=1.0), _record(gold=2.0)])


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    write_records(path, [_record()])
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_records(path, [_record(seed=1)])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["r.json"]


def _write_ten(path, method):
    for seed in range(10):
        write_records(path, [_record(method, seed)])


@pytest.mark.skipif(
    os.name == "nt", reason="without fcntl, merging from two processes at once is not promised"
)
def test_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "r.json"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_ten, args=(path, f"method {i}")) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({record.key for record in read_records(path)}) == 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {"gold": math.nan}}, "'gold' must be a finite number"),
        ({"metrics": {"gold": [1.0, math.inf]}}, "'gold'"),
        ({"metrics": {"gold": {"nested": 1}}}, "'gold'"),
        ({"metrics": {}}, "non-empty mapping"),
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"seconds": -1.0}, "seconds"),
        ({"chapter": ""}, "chapter"),
    ],
)
def test_bad_records_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _record(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "not valid JSON"),
        ("{}", "must hold a list"),
        ('[{"chapter": "00"}]', "record 0: fields missing"),
    ],
)
def test_a_damaged_file_is_named_and_left_alone(tmp_path, text, message):
    path = tmp_path / "r.json"
    path.write_text(text)
    for act in (lambda: read_records(path), lambda: write_records(path, [_record()])):
        with pytest.raises(ValueError, match=message):
            act()
    assert path.read_text() == text


def test_filters(tmp_path):
    path = tmp_path / "r.json"
    write_records(path, [_record(method, seed) for method in ("sft", "ppo") for seed in range(3)])
    assert len(read_records(path, method="ppo")) == 3
    assert [record.seed for record in read_records(path, method=["ppo"], seed=range(2))] == [0, 1]
    with pytest.raises(ValueError, match=r"method in \['dpo'\]; there: \['ppo', 'sft'\]"):
        read_records(path, method="dpo")
    with pytest.raises(ValueError, match="unknown filter"):
        read_records(path, color="red")
    with pytest.raises(FileNotFoundError, match="Records there: r"):
        read_records(tmp_path / "other.json")


def test_results_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "book" / "results").mkdir(parents=True)
    (tmp_path / "chapters").mkdir()
    monkeypatch.delenv("RLHF_MINI_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path / "chapters")
    assert results_folder() == tmp_path / "book" / "results"
    monkeypatch.setenv("RLHF_MINI_RESULTS", str(tmp_path / "elsewhere"))
    assert write_records("mine", [_record()]) == tmp_path / "elsewhere" / "mine.json"
    with pytest.raises(ValueError, match="must end in"):
        read_records("folder/mine")


def test_table_by_hand():
    records = [_record("sft", seed, 1.0 + seed) for seed in range(3)] + [
        _record("ppo", 0, -2.0, metrics={"gold": -2.0, "kl": 3.5})
    ]
    table = records_table(records, metrics={"gold": "gold", "kl": "KL | nats"}, decimals=1)
    half = student_interval([1.0, 2.0, 3.0]).half_width
    assert table.to_markdown().splitlines() == [
        "| method | gold | KL \\| nats |",
        "| --- | ---: | ---: |",
        f"| sft | 2.0 ± {half:.1f} | – |",
        "| ppo | −2.0 | 3.5 |",
        "",
        "mean over 1 to 3 seeds ± 95% interval; profile quick",
    ]
    assert table._repr_html_().count("<tr>") == 3
    assert summarise(records[:3], "gold") == student_interval([1.0, 2.0, 3.0])


def test_table_escapes_and_has_no_minus_nought():
    table = records_table([_record("<b>", gold=-0.001)], metrics={"gold": "gold"})
    assert "&lt;b&gt;" in table.to_html()
    assert "| 0.00 |" in table.to_markdown()


def test_tables_refuse_what_must_not_be_averaged():
    with pytest.raises(ValueError, match="one profile"):
        records_table([_record(), _record(profile="full")], metrics={"gold": "gold"})
    with pytest.raises(ValueError, match="seed appears twice"):
        records_table([_record(), _record(experiment="other")], metrics={"gold": "gold"})
    with pytest.raises(ValueError, match=r"no record has the metric\(s\) \['glod'\]; there: \['gold'\]"):
        records_table([_record()], metrics={"glod": "gold"})
    with pytest.raises(ValueError, match="not a number"):
        records_table([replace(_record(), metrics={"gold": "high"})], metrics={"gold": "gold"})
    with pytest.raises(ValueError, match="no records"):
        records_table([], metrics={"gold": "gold"})
