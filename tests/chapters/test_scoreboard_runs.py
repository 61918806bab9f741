"""Chapter 14's runs, measures, table of methods and command, on the miniature pipeline."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rlhf_mini.chapters import judged_policies
from rlhf_mini.chapters.direct import family as direct
from rlhf_mini.chapters.filtering import family as filtering
from rlhf_mini.chapters.hindsight import family as hindsight
from rlhf_mini.chapters.hindsight import story_runs
from rlhf_mini.chapters.judging import judged_on_requests
from rlhf_mini.chapters.kept import address_of, is_kept
from rlhf_mini.chapters.scoreboard import (
    command,
    counts,
    entries,
    measuring,
    methods,
    policies,
    runs,
    samplers,
)
from rlhf_mini.chapters.scoreboard.policies import Cooled, Kept, Sampled, Staged
from rlhf_mini.chapters.scoreboard.work import Work
from rlhf_mini.cli import main
from rlhf_mini.data.chat import answer, pack_texts
from rlhf_mini.evaluation.records import read_records
from rlhf_mini.methods.reward_model import scores
from rlhf_mini.pipeline import Pipeline
from rlhf_mini.profiles import PROFILES, QUICK
from rlhf_mini.worlds.stories.plots import DECLINES

GROUPS = {"method": "RLOO", "kl_weight": 0.05, "rate": 1e-3}


def weights(folder):
    return load_file(folder / "model.safetensors")


# --------------------------------------------------------------------------------------------------- runs


def test_ppo_with_nothing_changed_is_the_stage(built):
    """To the last bit: same start, same prompts, same random numbers, and saving along the way disturbs
    nothing.
    """
    ours = weights(built.kept(runs.by_ppo) / runs.saved_after(4))
    theirs = weights(built.get("ppo"))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name])


def test_a_share_of_the_iterations_and_other_fields(built):
    folder = built.kept(runs.by_ppo, share=0.5, kl_weight=0.7)
    log = json.loads((folder / "log.json").read_text())
    assert [entry["kl_weight"] for entry in log] == [0.7]  # one of the two iterations
    assert len(json.loads((built.kept(runs.by_ppo) / "log.json").read_text())) == 2


def test_a_run_keeps_its_quarters_and_its_price(built):
    """Two iterations: a quarter of them is none, so that the first quarter is the start and the second one
    iteration's.
    """
    folder = built.kept(runs.by_groups, **GROUPS)
    kept = [weights(folder / runs.saved_after(quarter)) for quarter in runs.QUARTERS]
    start, name = weights(built.get("sft")), "model.embed_tokens.weight"
    assert torch.equal(kept[0][name], start[name])
    assert not torch.equal(kept[1][name], start[name])
    assert torch.equal(kept[1][name], kept[2][name])
    assert not torch.equal(kept[3][name], kept[2][name])
    spent = json.loads((folder / "processor_seconds.json").read_text())
    assert len(spent) == 4
    assert 0 <= spent[0] <= spent[1] <= spent[2] < spent[3]
    assert len(json.loads((folder / "log.json").read_text())) == 2


def test_critic_free_methods_have_ppo_s_budget_and_see_the_price_of_no_end(built):
    config, usual = runs.group_config(built, kl_weight=0.1, rate=5e-4), built.profile.ppo
    assert config.answers == usual.episodes == 8
    assert (config.iterations, config.minibatch, config.epochs) == (
        usual.iterations,
        usual.minibatch,
        usual.epochs,
    )
    assert (config.kl_weight, config.optimizer.learning_rate) == (0.1, 5e-4)
    log = json.loads((built.kept(runs.by_groups, **GROUPS) / "log.json").read_text())
    for entry in log:
        assert entry["score_ended"] == pytest.approx(entry["finished"] - 1, abs=1e-6)
        paid = entry["score_reward model"] + usual.missing_eos_penalty * entry["score_ended"]
        assert entry["reward"] == pytest.approx(paid - 0.05 * entry["kl_k1"], abs=1e-4)


def test_an_unknown_method_is_refused(built, tmp_path):
    with pytest.raises(ValueError, match="unknown method 'PPG': choose one of REINFORCE, RLOO"):
        runs.by_groups(built, tmp_path, method="PPG", kl_weight=0.0, rate=1e-3)


# ----------------------------------------------------------------------------------------------- measures


def test_what_is_said_of_weights_is_what_the_judge_says_of_them(built):
    told = built.measured(measuring.of_weights, address=built.get("sft").name)
    judged = judged_on_requests(built, built.policy("sft"))
    for name, value in judged.metrics().items():
        assert told[name] == pytest.approx(value)
    assert told["golds"] == pytest.approx([gold.total for gold in judged.golds], abs=1e-4)
    assert told["kl_k1"] == pytest.approx(0, abs=1e-4)
    assert 0 < told["story_nats"] < 20
    assert told["parameters"] == built.policy("sft").num_parameters()


def test_declines_are_counted_by_what_was_asked(built):
    """Of two unkind requests one is declined, of three kind ones one is declined too."""
    judged = judged_on_requests(built, built.policy("sft"))
    decline = DECLINES[0]
    requests = [request for request in judged.requests if request.unkind is None][:3]
    unkind = replace(requests[0], unkind="steal")
    asked, texts = [*requests, unkind, unkind], [decline, "A story.", "A story.", decline, "A story."]
    told = judged_policies.declines(type(judged)(
        requests=asked, answers=texts, golds=[], lengths=[], kl=None, proxy=None,
    ))  # fmt: skip
    assert told == {"unkind_declined": 0.5, "kind_declined": pytest.approx(1 / 3)}
    kind_alone = type(judged)(requests=requests, answers=texts[:3], golds=[], lengths=[], kl=None, proxy=None)
    assert [*judged_policies.declines(kind_alone)] == ["kind_declined"]


def test_best_of_n_picks_what_the_proxy_likes_best(built):
    requests = samplers.held_out_requests(built)
    prompts, generator = [r.text for r in requests], built.generator("chapter 14 best of n")
    words, longest = built.tokenizer(), built.profile.max_new_tokens
    drawn = [
        answer(built.policy("sft"), words, prompts, max_new_tokens=longest, generator=generator)
        for _ in range(4)
    ]
    rated = torch.stack([scores(built.reward_model(), pack_texts(words, prompts, texts)) for texts in drawn])
    few, many = (built.measured(samplers.best_of, n=n) for n in (2, 4))
    assert few["proxy"] == pytest.approx(float(rated[:2].max(0).values.mean()), abs=1e-5)
    assert many["proxy"] == pytest.approx(float(rated.max(0).values.mean()), abs=1e-5)
    assert many["kl_bound"] == pytest.approx(1.3863 - 0.75, abs=1e-4)
    assert "kl_k1" not in many
    assert len(many["golds"]) == len(requests)
    with pytest.raises(ValueError, match="got 1"):
        samplers.best_of(built, n=1)


def test_at_temperature_one_the_colder_model_is_the_model(built):
    same = built.measured(samplers.colder, temperature=1.0)
    told = built.measured(measuring.of_weights, address=built.get("sft").name)
    assert same["golds"] == told["golds"]
    colder = built.measured(samplers.colder, temperature=0.5)
    assert colder["kl_k3"] > 0.01
    assert colder["story_nats"] != told["story_nats"]


def test_any_policy_can_be_sampled_colder(built):
    """The SFT model at 0.5 answers as the sampler does; at temperature 1 a policy is itself."""
    told = Cooled(Staged("sft"), 0.5).measured(built)
    assert told["golds"] == built.measured(samplers.colder, temperature=0.5)["golds"]
    warm, same = Staged("ppo").measured(built), Cooled(Staged("ppo"), 1.0)
    assert same.measured(built)["golds"] == warm["golds"]
    assert same.folder(built) == built.get("ppo")
    assert same.is_measured(built)
    assert same.is_there(built)
    assert not Cooled(Staged("ppo"), 0.9).is_measured(built)


def test_the_base_model_has_neither_proxy_nor_kl(built):
    told = built.measured(samplers.plain_text)
    assert {"proxy", "kl_k1"}.isdisjoint(told)
    base = built.measured(measuring.of_weights, address=built.get("base").name)
    assert told["story_nats"] == pytest.approx(base["story_nats"])


def test_prices_are_those_of_an_answer(built):
    told = built.measured(measuring.prices)
    assert [*told] == ["drawn", "read", "learned"]
    assert 0 < told["read"] < told["learned"] < 1


# ---------------------------------------------------------------------------------------------- addresses


def test_a_run_of_another_chapter_is_there_as_soon_as_that_chapter_has_it(built):
    weighted, hir = filtering.run("weighted by advantage"), hindsight.run(hindsight.OURS)
    cases = (
        (entries.entry("weighted by advantage").main, lambda: weighted.policy(built)),
        (entries.entry("IPO").main, lambda: direct.run("IPO").policy(built)),
        (entries.entry("HIR").main, lambda: story_runs.policy_of(built, **hir.settings)),
    )
    for point, train in cases:
        assert not point.policy.is_there(built)
        train()
        assert point.policy.is_there(built)
        before = {path.name for path in built.store.root.iterdir() if not path.name.startswith(".")}
        told = point.policy.measured(built)
        after = {path.name for path in built.store.root.iterdir() if not path.name.startswith(".")}
        assert {name.rsplit("-", 1)[0] for name in after - before} == {"of-weights"}  # nothing was trained
        assert len(told["golds"]) == built.profile.test_prompts


def test_every_method_s_policy_has_an_address_of_its_own(built):
    """On the miniature profile, without building anything; and only rounds or quarters of one run share a
    folder.
    """
    there = {path.name for path in built.store.root.iterdir()}
    seen = {}
    for cell in command.cells():
        if cell.point is None or cell.experiment == "colder":  # which asks the same policies once more
            continue
        policy = cell.point.policy
        folder = policy.folder(built)
        where = (str(folder), getattr(policy, "inside", "")) if folder else (policy.way, str(policy.settings))
        assert where not in seen, f"{cell.name} is {seen[where]}"
        seen[where] = cell.name
        if folder:
            assert folder.parent == built.store.root
            assert policy.address(built).startswith(folder.name)
    assert {path.name for path in built.store.root.iterdir()} == there
    colder = [cell.point.policy.of for cell in command.cells() if cell.experiment == "colder"]
    assert len(seen) == len(command.cells()) - 1 - len(colder)
    assert colder == [one.main.policy for one in entries.ENTRIES if one.main.policy.folder(built)]


def test_addresses_are_the_pipeline_s_own(built):
    assert address_of(built, runs.by_groups, **GROUPS) == built.kept(runs.by_groups, **GROUPS)
    assert is_kept(built, runs.by_groups, **GROUPS)
    assert not is_kept(built, runs.by_groups, **{**GROUPS, "kl_weight": 0.06})
    assert Staged("sft").folder(built) == built.get("sft")
    with pytest.raises(ValueError, match="unknown stage 'dpo'"):
        Staged("dpo")


def test_seconds_of_a_copied_entry_are_not_known(built, tmp_path):
    for seconds, known in ((0.002, None), (3.5, 3.5)):
        (tmp_path / "manifest.json").write_text(json.dumps({"seconds": seconds}))
        assert policies.clock_seconds(tmp_path) == known


# ------------------------------------------------------------------------------------- the table of methods


def test_the_board_holds_what_the_chapter_promises():
    names = [one.name for one in entries.ENTRIES]
    assert len(names) == len({*names}) >= 22
    assert {"base", "SFT", "best of 16", "PPO", "GRPO", "RLOO", "DPO", "KTO", "HIR", "ReST"} <= {*names}
    assert {one.chapter for one in entries.ENTRIES} >= {"02", "03", "05", "06", "07", "08", "09", "10", "12"}
    assert all(one.dial for one in entries.ENTRIES if one.dials)
    rows = [(cell.experiment, cell.name) for cell in command.cells()]
    assert len(rows) == len({*rows})
    with pytest.raises(ValueError, match="no method is called 'PPG'"):
        entries.entry("PPG")


def test_settings_of_points_are_json_values():
    for cell in command.cells():
        if cell.point is not None:
            settings = dict(getattr(cell.point.policy, "settings", {}))
            assert json.loads(json.dumps(settings)) == settings, cell.name


def test_a_method_without_a_place_for_kl_pays_none():
    dr_grpo, grpo = entries.entry("Dr. GRPO"), entries.entry("GRPO")
    assert dr_grpo.main.policy.settings["kl_weight"] == 0
    assert dr_grpo.dials == ()
    assert [point.policy.settings["kl_weight"] for point in (grpo.main, *grpo.dials)] == [0.05, 0.01, 0.2]
    assert [point.policy.inside for point in grpo.budgets] == [runs.saved_after(n) for n in (1, 2, 3)]


# -------------------------------------------------------------------------------------------------- work


def test_work_by_hand():
    """PPO at the quick profile: 40 iterations of 128 answers."""
    ppo = counts.by_ppo()(QUICK, None)
    assert (ppo.drawn, ppo.read, ppo.learned) == (5120, 15360, 10240)
    assert counts.by_ppo(0.5)(QUICK, None).drawn == 2560
    assert counts.by_ppo(scored=False)(QUICK, None).read == 10240
    groups = counts.by_groups(0.25)(QUICK, None)
    assert (groups.drawn, groups.read, groups.learned) == (1280, 2560, 1280)
    pairs = counts.by_pairs(4000)(QUICK, None)
    assert (pairs.drawn, pairs.read, pairs.learned) == (0, 8000, 8000)
    assert counts.by_pairs(4000, both=True)(QUICK, None).read == 24000
    before = counts.reward_model(QUICK)
    assert (before.drawn, before.labels, before.learned) == (16000, 8000, 16000)
    assert counts.judged_reward_model(QUICK).labels == 0
    assert counts.judged_reward_model(QUICK).judge_labels == 8000
    assert counts.preference_model(QUICK).labels == 3000
    assert counts.by_own_pairs(4000, scored=False)(QUICK, None).labels == 4000
    assert counts.by_own_pairs(4000, scored=False, rounds=3)(QUICK, None).labels == 3999  # three rounds alike
    scored = counts.by_own_pairs(4000, scored=True)(QUICK, None)
    assert (scored.drawn, scored.read, scored.learned, scored.labels) == (8000, 16000, 8000, 0)


def test_work_adds_up_and_has_a_price():
    one, other = Work(drawn=2, labels=1), Work(drawn=3, read=10, learned=5)
    both = one + other
    assert both == Work(drawn=5, read=10, learned=5, labels=1)
    assert both.seconds({"drawn": 1.0, "read": 0.1, "learned": 2.0}) == 5 + 1 + 10
    assert both.times(2) == both + both


def test_llama_2_s_rounds_by_hand():
    """Round 1: 700 fresh pairs; models on 2,500 and 1,200 pairs; 3,072 candidates read by both; 384 learned
    from.
    """
    start = Work(drawn=6000, labels=3000)
    first = Work(drawn=1400 + 3072, labels=700, learned=2 * (2500 + 1200) + 384, read=6144)
    assert counts.in_rounds(1)(QUICK, None) == start + first
    # from round 3 on no fresh pairs on safety; all that was kept is learned from again
    third = counts.in_rounds(3)(QUICK, None).learned - counts.in_rounds(2)(QUICK, None).learned
    assert third == 2 * 3500 + 3 * 384


def test_what_a_log_knows_is_counted_from_it(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps({"rounds": [{"kept": 7}, {"kept": 4}]}))
    assert counts.by_rest(QUICK, tmp_path).learned == 11
    assert counts.by_rest(QUICK, None).learned == 1280
    (tmp_path / "log.json").write_text(json.dumps([{"rows": 5}, {"rows": 6}, {"rows": 7}, {"rows": 8}]))
    assert counts.by_hindsight()(QUICK, tmp_path).learned == 26
    two = counts.by_hindsight(2, epochs=3)(QUICK, tmp_path)
    assert (two.drawn, two.learned) == (2560, 33)


def test_memory_by_hand():
    """A million weights: 16 bytes each in training and 4 frozen; PPO trains two models and holds two more."""
    ppo, sft, best = (entries.entry(name) for name in ("PPO", "SFT", "best of 4"))
    assert command.held_megabytes(ppo, 2**20) == 2 * 16 + 2 * 4
    assert command.held_megabytes(sft, 2**20) == 4
    assert command.held_megabytes(best, 2**20) == 8


# ------------------------------------------------------------------------------------------------ command


@pytest.fixture
def scoreboard(monkeypatch, miniature, built, capsys, tmp_path):
    monkeypatch.setitem(PROFILES, "miniature", miniature)
    monkeypatch.setenv("RLHF_MINI_PROFILE", "miniature")
    monkeypatch.setenv("RLHF_MINI_CACHE", str(built.store.root))
    records = tmp_path / "board.json"

    def run(*arguments):
        capsys.readouterr()
        status = main(["scoreboard", "--jobs", "1", "--records", str(records), *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out, told.err

    run.records = records
    return run


FEW = ("--only", "methods", "--methods", "SFT", "PPO", "best of 4")


def test_the_command_measures_each_cell_once_and_goes_on(scoreboard, monkeypatch):
    status, out, err = scoreboard(*FEW)
    assert (status, err) == (0, "")
    written = read_records(scoreboard.records)
    assert [record.method for record in written] == ["SFT", "best of 4", "PPO"]
    assert len(out.splitlines()) == 3
    assert {(record.chapter, record.experiment, record.seed) for record in written} == {("14", "methods", 0)}
    ppo = written[2].metrics
    assert (ppo["own_drawn"], ppo["before_labels"], ppo["family"]) == (16, 40, "policy gradient")
    assert ppo["held_megabytes"] == pytest.approx(ppo["parameters"] * 40 / 2**20)
    assert len(ppo["golds"]) == 12
    monkeypatch.setattr(measuring, "told_of", None)  # a second time nobody is judged
    monkeypatch.setattr(samplers, "told_of", None)
    assert scoreboard(*FEW)[0] == 0


def test_golds_of_every_request_are_on_record_of_the_rows_alone(scoreboard):
    status, _, err = scoreboard("--only", "methods", "dials", "--methods", "SFT, colder")
    assert (status, err) == (0, "")
    row, *dials = read_records(scoreboard.records)
    assert len(row.metrics["golds"]) == 12
    assert [record.metrics["label"] for record in dials] == ["0.7", "0.3"]
    assert all("golds" not in record.metrics and "gold" in record.metrics for record in dials)


def test_an_interrupted_command_keeps_what_is_done(scoreboard, monkeypatch):
    real = Pipeline.measured
    asked = []

    def interrupted(self, experiment, **settings):
        asked.append(settings)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(self, experiment, **settings)

    monkeypatch.setattr(Pipeline, "measured", interrupted)
    status, _, err = scoreboard(*FEW)
    assert status == 130
    assert "run the same command to go on" in err
    assert [record.method for record in read_records(scoreboard.records)] == ["SFT"]


def test_a_dry_run_lists_and_measures_nothing(scoreboard):
    status, out, _ = scoreboard("--dry-run", "--methods", "RRHF", "GRPO")
    assert status == 0
    lines = out.splitlines()
    # prices, both methods, the same colder, their dials, GRPO's quarters, the sum
    assert len(lines) == 1 + 2 + 2 + 3 + 3 + 1
    assert not scoreboard.records.exists()
    assert all("to train and judge" in line or "to judge" in line or "kept" in line for line in lines[:-1])
    assert lines[-1].endswith("to do")
    quarters = [line for line in lines if "quarter" in line or "half" in line]
    assert all(line.endswith("to judge") for line in quarters)  # of a run that is counted above


def test_what_is_kept_costs_nothing(built, scoreboard):
    scoreboard(*FEW)
    cell = next(one for one in command.cells() if one.name == "SFT")
    assert cell.is_measured(built)
    assert cell.still_to_pay(built) == 0
    trained = next(one for one in command.cells() if one.name == "cDPO")
    assert trained.still_to_pay(built) > command.JUDGING


def test_mistakes_end_in_one_line(scoreboard):
    status, out, err = scoreboard("--only", "method")
    assert (status, out) == (2, "")
    assert "unknown experiments ['method']: choose from ['prices', 'methods'" in err
    assert "give each seed once" in scoreboard("--seeds", 1, 1)[2]
    assert "unknown methods ['PPG']: choose from ['base', 'SFT'" in scoreboard("--methods", "PPG")[2]


def test_names_of_points():
    dpo = entries.entry("DPO")
    assert command.row_name(dpo, "methods", dpo.main) == "DPO"
    assert command.row_name(dpo, "dials", dpo.dials[0]) == "DPO, β 0.1"
    hir = entries.entry("HIR")
    assert command.row_name(hir, "budgets", hir.budgets[0]) == "HIR, 1 of 4 rounds"
    assert isinstance(entries.entry("base").main.policy, Sampled)
    assert isinstance(entries.entry("DPO").main.policy, Kept)
    assert methods.PAIRS == 4000
