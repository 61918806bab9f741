"""Figures that move without a kernel: frames computed beforehand, and a slider that chooses one."""

import hashlib
import html
from collections.abc import Sequence

from rlhf_mini.reader.picture import Picture, own_ids

# The slider's whole behaviour. An inline handler, not a script: it also runs where outputs are inserted as
# text (JupyterLab), and where it does not run, the first frame stands there as a still picture.
_MOVE = (
    "var f=this.closest('.rm-frames'),i=+this.value;"
    "f.querySelectorAll('.rm-frame').forEach(function(e,j){e.hidden=j!==i});"
    "var t=f.querySelectorAll('.rm-frame')[i].dataset.caption;"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)


def frames(pictures: Sequence[Picture], captions: Sequence[str], *, label: str) -> Picture:
    """Pictures under one slider, one shown at a time; in the rendered book too, by mouse, touch or arrow
    keys.

    Args:
        pictures: at least two, best of one size.
        captions: what the slider reads at each ("step 40").
        label: what the slider moves through ("PPO iteration"). Every frame is part of the page: keep to about
            twenty.

    Raises:
        ValueError: on fewer than two pictures or a number of captions that differs.
    """
    if len(pictures) < 2 or len(pictures) != len(captions):
        raise ValueError(
            f"need two or more pictures and a caption for each, got {len(pictures)} and {len(captions)}"
        )
    shown = "".join(
        f'<div class="rm-frame" data-caption="{html.escape(caption)}"{" hidden" if i else ""}>'
        f"{_own(one.body, i)}</div>"
        for i, (one, caption) in enumerate(zip(pictures, captions, strict=True))
    )
    slider = (
        f'<label class="rm-slider"><span>{html.escape(label)}</span>'
        f'<input type="range" min="0" max="{len(pictures) - 1}" value="0" step="1" autocomplete="off" '
        f'aria-valuetext="{html.escape(captions[0])}" oninput="{html.escape(_MOVE)}">'
        f"<output>{html.escape(captions[0])}</output></label>"
    )
    text = "\n".join(f"({caption}) {one.text}" for one, caption in zip(pictures, captions, strict=True))
    return Picture(f'<div class="rm-frames">{slider}{shown}</div>', text)


def _own(body: str, index: int) -> str:
    """Gives equal frames different ids: a clip path inside a hidden twin would cut nothing."""
    salt = hashlib.sha256(str(index).encode()).hexdigest()[:4]
    return own_ids(f"<!--{salt}-->{body}").replace(f"<!--{salt}-->", "")
