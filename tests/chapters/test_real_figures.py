"""The figures of chapter 15 show the numbers that they are given, and those of the formulas."""

import re

import pytest

from rlhf_mini.chapters.real import figures, sizes
from rlhf_mini.evaluation.training_cost import GIB, H100, MIXED, bill
from rlhf_mini.models.footprint import training_flops

COST = {"method": "sft", "side": "ours", "seconds": 0.125, "setup": 2.0, "imported": 300.0, "peak": 50.25}


def test_the_sizes_are_the_published_ones():
    """Llama 3.2 1B has 1,235,814,400 parameters; Llama 2 7B 6,738,415,616 and 70B 68,976,648,192."""
    counts = [shape.parameters for shape in sizes.SHAPES.values()]
    assert counts == [1_235_814_400, 6_738_415_616, 68_976_648_192]


@pytest.mark.parametrize("size", sizes.SHAPES)
def test_parts_by_hand(size):
    """2, 2 and 12 bytes a trained parameter; with LoRA 2 a frozen one, and 16 an adapter's."""
    parameters = sizes.SHAPES[size].parameters
    full, lora = sizes.parts_in_gib(size, "full"), sizes.parts_in_gib(size, "LoRA")
    assert full["weights"] == pytest.approx(2 * parameters / GIB)
    assert full["optimizer"] == pytest.approx(12 * parameters / GIB)
    assert full["frozen"] == 0
    adapters = sizes.SHAPES[size].lora_parameters(sizes.RANK)
    assert lora["frozen"] == pytest.approx(2 * parameters / GIB)
    kept = lora["weights"] + lora["gradients"] + lora["optimizer"]
    assert kept == pytest.approx(MIXED.trained * adapters / GIB)
    assert lora["activations"] == full["activations"] > 0
    assert sum(full.values()) == pytest.approx(sizes.memory(size, "full").total / GIB)


def test_the_bill_of_sft_is_the_rule_of_thumb_and_ppo_s_eleven_thirds_of_it():
    shape, told = sizes.SHAPES["7B"], {"tokens": 1e9, "length": 2048, "devices": 8, "utilisation": 0.4}
    sft = sizes.training_bill(shape, method="SFT", price=3, **told)
    ppo = sizes.training_bill(shape, method="PPO", price=3, **told)
    assert ppo.device_hours / sft.device_hours == pytest.approx(11 / 3)
    flops = 1e9 * training_flops(shape, keys=1024.5)
    assert sft == bill(flops, H100, devices=8, utilisation=0.4, price=3)
    thumb = 6 * shape.parameters * 1e9 / (H100.flops * 0.4) / 3600
    assert sft.device_hours == pytest.approx(thumb, rel=0.05)  # attention against the embedding
    assert sft.money == pytest.approx(3 * sft.device_hours)


def test_curves_lie_on_each_other_and_are_said_to():
    ours = [1.0 - 0.02 * step for step in range(30)]
    shown = figures.overlaid(
        [
            figures.TwoCurves(method="dpo", ours=ours, trl=[y + 2e-6 for y in ours]),
            figures.TwoCurves(method="grpo", ours=ours, trl=ours),
        ]
    )
    assert "from 1.000 to 0.420" in shown.text
    assert "nowhere farther than 2e−06" in shown.text.replace("e−6", "e−06")
    assert "gradient norm" in shown.text
    assert shown.body.count("<svg") == 2
    assert "rlhf_mini" in shown.body
    assert "TRL" in shown.body


def test_the_farthest_step_is_told():
    curves = figures.TwoCurves(method="sft", ours=[3.0, 2.0, 1.0], trl=[3.0, 2.5, 0.9])
    assert curves.apart == pytest.approx(0.5)


@pytest.mark.parametrize("change", [{"method": "ppo"}, {"trl": [1.0]}])
def test_curves_that_do_not_fit_are_refused(change):
    given = {"method": "sft", "ours": [1.0, 2.0], "trl": [1.0, 2.0], **change}
    with pytest.raises(ValueError, match="as many steps on either side"):
        figures.TwoCurves(**given)


def test_the_table_has_both_sides_with_their_units():
    shown = figures.costs_table([COST, COST | {"side": "TRL", "seconds": 0.25}], where="on a made-up machine")
    assert "| SFT, ours | 125.0 | 2.0 | 50.2 |" in shown.text
    assert "| SFT, TRL | 250.0 |" in shown.text
    assert "a step (ms)" in shown.text
    assert shown.text.endswith("on a made-up machine")


def test_memory_is_drawn_at_three_sizes_with_its_parts():
    shown = figures.memory_figure()
    assert shown.body.count("<svg") == 1
    for size in sizes.SHAPES:
        total = sum(sizes.parts_in_gib(size, "full").values())
        assert f"{size} parameters: full {total:.0f} GiB" in shown.text
    for part in sizes.PARTS:
        assert part in shown.body
    assert len({*figures.PART_ROLES.values()}) == len(sizes.PARTS)  # no two parts share a colour


def test_hours_are_drawn_for_three_methods():
    shown = figures.hours_figure(tokens=1e9)
    told = re.search(r"SFT ([\d., ]+); DPO ([\d., ]+); PPO ([\d., ]+)\.", shown.text)
    assert told
    sft, dpo, ppo = ([float(one) for one in hours.split(", ")] for hours in told.groups())
    assert all(a < b < c for a, b, c in zip(sft, dpo, ppo, strict=True))
    assert sft == sorted(sft)
    assert "1,000,000,000 tokens" in shown.body
    assert "40% of the peak" in shown.text
