"""The mean of siblings: copies of one start, each trained by itself."""

import pytest
import torch

from rlhf_mini.methods.siblings import mean_of_siblings


def test_each_sibling_begins_at_the_start_and_their_mean_comes_back(toy_policy, weights_of, same_weights):
    start, begun = weights_of(toy_policy), []

    def train(model, place):
        begun.append(weights_of(model))
        with torch.no_grad():
            for weight in model.parameters():
                weight += 1.0 + 2.0 * place  # 1 and 3: their mean is 2

    averaged = mean_of_siblings(toy_policy, train, members=2)
    assert all(same_weights(found, start) for found in begun)
    assert same_weights(weights_of(toy_policy), start)
    for name, weight in averaged.named_parameters():
        torch.testing.assert_close(weight, start[name] + 2)
        assert not weight.requires_grad


def test_one_member_is_that_member_and_none_is_refused(toy_policy, weights_of, same_weights):
    alone = mean_of_siblings(toy_policy, lambda model, place: None, members=1)
    assert same_weights(weights_of(alone), weights_of(toy_policy))
    with pytest.raises(ValueError, match="members must be at least 1, got 0"):
        mean_of_siblings(toy_policy, lambda model, place: None, members=0)
