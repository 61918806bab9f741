"""The solutions of chapter 15 are what the library does, and every mistake gets its own hint."""

import pytest
import torch

from rlhf_mini.chapters.real import data_exercises, exercises, machine_exercises
from rlhf_mini.data.preferences import read_preference
from rlhf_mini.data.verifiable import plain_number, stated_answer
from rlhf_mini.evaluation.training_cost import (
    H100,
    MIXED,
    SFT_PASSES,
    MicroBatch,
    bill,
    full_memory,
    lora_memory,
    ppo_passes,
)
from rlhf_mini.models.footprint import Shape
from rlhf_mini.reader import Exercise
from rlhf_mini.tensors import masked_mean

CHECKED = [one for one in exercises.EXERCISES if isinstance(one, Exercise)]
WHICH = pytest.mark.parametrize("exercise", CHECKED, ids=lambda one: one.title)


def test_there_are_eight_with_a_check_and_an_open_one():
    assert len(CHECKED) == 8
    assert exercises.EXERCISES[-1] is exercises.OWN
    assert len({one.title for one in exercises.EXERCISES}) == 9


@WHICH
def test_the_solution_passes_and_every_mistake_gets_its_own_hint(exercise):
    assert exercise.judge(exercise.solution).state == "right"
    assert len(exercise.mistakes) >= 4
    for mistake in exercise.mistakes:
        verdict = exercise.judge(mistake.program)
        assert (verdict.state, verdict.words) == ("wrong", mistake.hint)


@pytest.mark.parametrize(
    "text", ["so\n#### 72", "#### 1\n#### $1,450.5 \nx", "72", "#### -3", "#### 7 or 8", "#### none", "####"]
)
def test_the_stated_answer_is_the_library_s(text):
    number = stated_answer(text)
    assert data_exercises.stated(text) == ("" if number is None else plain_number(number))


def test_the_parts_of_a_pair_are_the_library_s():
    """The library leaves white space out, and the speakers of a prompt of one turn."""
    for chosen, rejected in data_exercises._dialogues():
        _, one, other = data_exercises.parted(chosen, rejected)
        theirs = read_preference({"chosen": chosen, "rejected": rejected})
        assert (one.strip(), other.strip()) == (theirs.chosen, theirs.rejected)
        assert data_exercises.parted(chosen, rejected)[0] + one == chosen


SHAPE = Shape(
    vocabulary=100, width=32, intermediate=64, layers=2, heads=4, key_value_heads=2, head_width=8, tied=False
)


def test_what_is_kept_is_the_library_s():
    batch = MicroBatch(sequences=1, tokens=8)
    full = full_memory(SHAPE, batch, precision=MIXED).kept
    assert machine_exercises.kept_bytes(SHAPE.parameters, 0) == full
    lora = lora_memory(SHAPE, batch, precision=MIXED, rank=2).kept
    assert machine_exercises.kept_bytes(SHAPE.parameters, SHAPE.lora_parameters(2)) == lora


def test_hours_are_the_library_s():
    sft, ppo = machine_exercises.hours(7e9, 1e8, 2, H100.flops, 0.4)
    for found, passes in ((sft, SFT_PASSES), (ppo, ppo_passes(epochs=2))):
        expected = bill(passes * 2 * 7e9 * 1e8, H100, devices=1, utilisation=0.4, price=0).device_hours
        assert found == pytest.approx(expected)


def test_one_denominator_gives_the_gradient_of_the_whole():
    """The averaged gradients of two processes are that of all rows together; the mistake's are not."""
    weight = torch.tensor(0.5, requires_grad=True)
    masks = [torch.arange(6) < torch.tensor([[6], [5]]), torch.arange(6) < torch.tensor([[1], [2]])]
    inputs = torch.randn(2, 2, 6, generator=torch.Generator().manual_seed(0))

    def gradient(loss):
        return torch.autograd.grad(loss, weight)[0]

    whole = gradient(masked_mean((weight * inputs).exp().flatten(0, 1), torch.cat(masks)))
    for program, same in ((machine_exercises.own_losses, True), (machine_exercises._mean_of_means, False)):
        each = program([(weight * part).exp() for part in inputs], masks)
        assert torch.allclose(gradient(each.mean()), whole, rtol=1e-5) == same


def test_weights_of_micro_batches_give_the_mean_of_all():
    parts = [torch.tensor([1.0, 2.0, 6.0]), torch.tensor([9.0])]
    found = machine_exercises.weights([len(part) for part in parts])
    total = sum(weight * float(part.mean()) for weight, part in zip(found, parts, strict=True))
    assert total == pytest.approx(float(torch.cat(parts).mean()))


@pytest.mark.parametrize("rows", [1, 2, 5, 8, 15])
@pytest.mark.parametrize("processes", [1, 2, 3, 4, 8])
def test_shares_are_the_library_s(rows, processes):
    split = pytest.importorskip("rlhf_mini.split")
    shares = [machine_exercises.rows_of(rows, processes, rank) for rank in range(processes)]
    assert [row for share in shares for row in share] == [*range(rows)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares == [[*range(one.start, one.stop)] for one in split._shares(rows, processes)]
