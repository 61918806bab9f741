"""rlhf_mini.shapes without jaxtyping, which a notebook server need not have."""

import importlib.util
import sys

import jaxtyping

from rlhf_mini import shapes


def test_with_jaxtyping_the_words_are_its_own():
    assert (shapes.Float, shapes.Int, shapes.Bool) == (jaxtyping.Float, jaxtyping.Int, jaxtyping.Bool)


def test_without_jaxtyping_the_words_stand_for_a_plain_tensor(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxtyping", None)  # importing it now fails
    spec = importlib.util.spec_from_file_location("shapes_alone", shapes.__file__)
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    for word in (alone.Float, alone.Int, alone.Bool):
        assert word is not getattr(jaxtyping, word.__name__)
        assert word[alone.Tensor, "B T"] is alone.Tensor
