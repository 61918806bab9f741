"""Task vectors and the arc between two of them: ends, limits, lengths, and what is refused."""

import math

import pytest
import torch

from rlhf_mini.models import copy_of, new_reward_model
from rlhf_mini.models.averaging import uniform_average
from rlhf_mini.models.task_vectors import spherical_interpolation, task_vector_angle
from tests.models.tiny import llama

NAME = "model.norm.weight"  # 32 numbers


def moved(start, vector, *, others=0.0):
    """A copy whose final norm is moved by a vector, and all other weights by a number."""
    model = copy_of(start)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.add_(torch.as_tensor(vector) if name == NAME else others)
    return model


def along(place, length=1.0):
    vector = torch.zeros(32)
    vector[place] = length
    return vector


def delta(model, start, name=NAME):
    return (model.state_dict()[name] - start.state_dict()[name]).double()


def noisy(start, seed):
    model, generator = copy_of(start), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def test_the_ends_of_the_arc_are_the_two_models():
    start = llama()
    first, second = noisy(start, 1), noisy(start, 2)
    for share, expected in ((0.0, first), (1.0, second)):
        merged = spherical_interpolation(start, first, second, share=share)
        for name, weight in merged.state_dict().items():
            torch.testing.assert_close(weight, expected.state_dict()[name], rtol=0, atol=1e-6)


def test_the_middle_of_two_orthogonal_vectors_keeps_their_length_and_the_average_shrinks_it():
    """Ω = 90°: both coefficients are sin 45° / sin 90° = 0.7071, where the average has ½ and ½."""
    start = llama()
    first, second = moved(start, along(3, 2.0)), moved(start, along(7, 2.0))
    merged = delta(spherical_interpolation(start, first, second), start)
    assert merged[3] == pytest.approx(2 * math.sqrt(0.5), abs=1e-6)
    assert merged[7] == pytest.approx(2 * math.sqrt(0.5), abs=1e-6)
    assert merged.norm() == pytest.approx(2.0, abs=1e-6)
    assert delta(uniform_average([first, second]), start).norm() == pytest.approx(math.sqrt(2), abs=1e-6)


def test_a_third_of_the_way_from_one_to_another_60_degrees_away():
    """Ω = 60°, λ = ⅓: sin 40°/sin 60° of the first and sin 20°/sin 60° of the second, 20° from the first."""
    start = llama()
    first = moved(start, along(0))
    second = moved(start, 0.5 * along(0) + math.sqrt(0.75) * along(1))
    merged = delta(spherical_interpolation(start, first, second, share=1 / 3), start)
    assert merged[0] == pytest.approx(math.cos(math.radians(20)), abs=1e-6)
    assert merged[1] == pytest.approx(math.sin(math.radians(20)), abs=1e-6)


def test_on_one_line_it_is_plain_interpolation():
    start = llama()
    for first, second, expected in (
        (along(0), along(0, 3.0), 2.0),  # the same way: the limit for Ω → 0
        (along(0), along(0, -3.0), -1.0),  # opposite ways
        (along(0, 0.0), along(0, 3.0), 1.5),  # one of them has not moved
    ):
        merged = delta(spherical_interpolation(start, moved(start, first), moved(start, second)), start)
        assert merged[0] == pytest.approx(expected, abs=1e-6)


def test_near_one_line_the_arc_and_the_line_meet():
    start = llama()
    first, second = moved(start, along(0)), moved(start, along(0) + along(1, 1e-3))
    merged = delta(spherical_interpolation(start, first, second), start)
    assert merged[1] == pytest.approx(5e-4, abs=1e-6)
    assert merged[0] == pytest.approx(1.0, abs=1e-6)


def test_every_tensor_has_an_arc_of_its_own():
    """The norm's vectors are orthogonal while all others point the same way: those are averaged."""
    start = llama()
    first, second = moved(start, along(0), others=0.2), moved(start, along(1), others=0.4)
    merged = spherical_interpolation(start, first, second)
    assert delta(merged, start).norm() == pytest.approx(1.0, abs=1e-6)
    other = delta(merged, start, "model.layers.0.mlp.up_proj.weight")
    torch.testing.assert_close(other, torch.full_like(other, 0.3), rtol=0, atol=1e-5)


def test_the_merged_model_is_new_and_frozen_and_a_reward_model_s_scale_is_reset():
    start = new_reward_model(llama(), seed=0)
    start.config.mean, start.config.std = 3.0, 2.0
    first, second = noisy(start, 1), noisy(start, 2)
    before = first.score.weight.clone()
    merged = spherical_interpolation(start, first, second)
    assert not merged.training
    assert not any(weight.requires_grad for weight in merged.parameters())
    assert (merged.config.mean, merged.config.std) == (0.0, 1.0)
    assert torch.equal(first.score.weight, before)


def test_angles_by_hand():
    start = llama()
    one, other = moved(start, along(0)), moved(start, along(1, 5.0))
    between = moved(start, along(0) + along(1))
    assert task_vector_angle(start, one, other) == pytest.approx(90, abs=1e-4)
    assert task_vector_angle(start, one, between) == pytest.approx(45, abs=1e-4)
    assert task_vector_angle(start, one, moved(start, along(0, -1.0))) == pytest.approx(180, abs=1e-4)
    assert task_vector_angle(start, one, start) == 0


def test_noise_is_orthogonal_and_whole_weights_are_not():
    """Two runs of noise have nothing in common; their weights, measured from 0, have the start in common."""
    start = llama()
    nothing = copy_of(start)
    with torch.no_grad():
        for weight in nothing.parameters():
            weight.zero_()
    first, second = noisy(start, 1), noisy(start, 2)
    assert 88 < task_vector_angle(start, first, second) < 92
    assert task_vector_angle(nothing, first, second) < 60


def test_what_is_refused():
    start = llama()
    with pytest.raises(ValueError, match=r"share must be from 0 to 1, got 1\.5"):
        spherical_interpolation(start, start, start, share=1.5)
    with pytest.raises(ValueError, match=r"model\.embed_tokens\.weight is \(48, 32\)"):
        spherical_interpolation(start, start, llama(vocab_size=32))
    with pytest.raises(ValueError, match="different names"):
        task_vector_angle(start, start, new_reward_model(start, seed=0))
