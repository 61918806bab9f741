"""Mask panels: a filled cell for each position that is seen, and errors that say what does not fit."""

import pytest
import torch

from rlhf_mini.reader.masks import MaskPanel, mask_panels
from rlhf_mini.reader.style import css_colour

ALT = "A lower triangle of three words."
WORDS = ["a", "fox", "ran"]


def test_as_many_filled_cells_as_the_mask_has():
    look = torch.ones(3, 3, dtype=torch.bool).tril()
    drawn = mask_panels([MaskPanel("causal", look, WORDS, WORDS)], alt=ALT)
    assert drawn.body.count(f"fill: {css_colour('policy')}") == 6
    assert "causal" in drawn.body
    assert drawn.text == f"[figure] {ALT}"


def test_the_same_masks_give_the_same_bytes_and_others_do_not():
    look = torch.ones(3, 3, dtype=torch.bool)
    panels = [MaskPanel("m", mask, WORDS, WORDS) for mask in (look, look.clone(), look.tril())]
    first, second, third = (mask_panels([panel], alt=ALT).body for panel in panels)
    assert first == second != third


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: MaskPanel("m", torch.ones(3, 2, dtype=torch.bool), WORDS, WORDS),
        lambda: MaskPanel("m", torch.ones(3, 3), WORDS, WORDS),
        lambda: MaskPanel("m", torch.ones(3, 3, dtype=torch.bool), WORDS, WORDS, role="nobody"),
        lambda: mask_panels([], alt=ALT),
        lambda: mask_panels([MaskPanel("m", torch.ones(3, 3, dtype=torch.bool), WORDS, WORDS)], alt="short"),
    ],
)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError):
        wrong()
