"""The one progress bar, for whatever may take longer than two seconds."""

import os

from tqdm.auto import tqdm

from rlhf_mini.split import main_process

_state = {"hidden": False}


def hide_bars() -> None:
    """Show no more bars in this process: another one reports for it."""
    _state["hidden"] = True


def hide_foreign_bars() -> None:
    """Hide the bars that `transformers` and `datasets` show for every file they touch; ours stay."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()


def progress_bar(*, total: int, description: str) -> tqdm:
    """A bar of `total` steps that appears after two seconds and vanishes when it is done.

    Of several processes that do the same work only the first shows it.

    It is redrawn at most twice a second: every redraw in a notebook is several messages, and a program that
    reads them only after the cell, as nbval does, loses what does not fit its queue of a thousand. The
    environment variable TQDM_DISABLE=1 switches all bars off, which tqdm itself does not heed in notebooks.
    """
    hidden = _state["hidden"] or not main_process() or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    return tqdm(total=total, desc=description, delay=2, mininterval=0.5, leave=False, disable=hidden)
