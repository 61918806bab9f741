"""The bug of chapter 02; its experiment is `too_good`."""

from rlhf_mini.chapters.pretraining.too_good import colleagues_loss, repaired_loss
from rlhf_mini.reader import BugHunt

BUG_HUNT = BugHunt(
    title="The loss goes nearly to zero within a hundred steps",
    wrong=colleagues_loss,
    right=repaired_loss,
    explanation=(
        "The logits at position t are about token t + 1, and this loss scores them on token t, which the model is "
        "reading at that very position. Copying one's input is easy to learn, and so the loss falls below the "
        "entropy of the text, where no honest model can be. Everything else looks healthy: the gradient is finite, "
        "the curve is smooth. What the model has learned shows as soon as it writes: it repeats its last token for "
        "ever. The repair is the shift, which the library makes in one function only."
    ),
    source=(
        "KempnerForge issue 154 (2026): labels aligned with the input, a loss that does not shift, a captioning loss "
        "that collapses to 0.0000"
    ),
    link="https://github.com/KempnerInstitute/KempnerForge/issues/154",
)
