"""Texts to read and tables to compare: samples beside each other with their scores, and tables of records."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rlhf_mini.evaluation.record_tables import RecordTable
from rlhf_mini.reader.picture import Picture, framed
from rlhf_mini.reader.style import css_colour, role_colour

Score = bool | int | float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One text with what it scored.

    Args:
        text: as written by the model.
        role: the colour of its card (`style.ROLES`).
        gold: the gold reward.
        proxy: the reward model's score; None where not measured.
        components: the parts of the gold reward, name → number; above zero they show in the colour of data,
            below zero in that of a loss, with their sign.
    """

    text: str
    role: str = "policy"
    gold: Score | None = None
    proxy: Score | None = None
    components: Mapping[str, Score] = field(default_factory=dict)

    def __post_init__(self) -> None:
        role_colour(self.role)


def _signed(value: Score) -> str:
    """A number with its sign: coloured parts must not be told apart by colour alone."""
    number = float(value)
    return "0" if round(number, 2) == 0 else f"{number:+.2f}".replace("-", "−").rstrip("0").rstrip(".")


def _chips(sample: Sample) -> str:
    chips = []
    for name, role in (("gold", "gold"), ("proxy", "reward")):
        score = getattr(sample, name)
        if score is not None:
            chips.append((role, f"{name} <b>{float(score):.2f}</b>".replace("-", "−")))
    for name, score in sample.components.items():
        sign = _signed(score)
        role = "reference" if sign == "0" else "data" if score > 0 else "loss"
        chips.append((role, f"{html.escape(name)} <b>{sign}</b>"))
    items = "".join(f'<span style="--rm-role:{css_colour(role)}">{text}</span>' for role, text in chips)
    return f'<div class="rm-scores">{items}</div>' if chips else ""


def _plain(prompt: str, samples: Mapping[str, Sample]) -> str:
    lines = [prompt]
    for name, sample in samples.items():
        scores = [
            f"{key} {float(s):.2f}"
            for key, s in (("gold", sample.gold), ("proxy", sample.proxy))
            if s is not None
        ]
        scores += [f"{key} {_signed(s)}" for key, s in sample.components.items()]
        lines += [f"[{name}] {sample.text}", *([f"    {' · '.join(scores)}"] if scores else [])]
    return "\n".join(lines)


def compare_samples(prompt: str, samples: Mapping[str, Sample], *, caption: str = "") -> Picture:
    """One prompt and what several models wrote for it, side by side on a wide page and stacked on a phone.

    Args:
        samples: name of the model or stage → its Sample, in reading order.

    Raises:
        ValueError: on no samples.
    """
    return samples_table([(prompt, samples)], caption=caption)


def samples_table(rows: Sequence[tuple[str, Mapping[str, Sample]]], *, caption: str = "") -> Picture:
    """Several prompts, each with its models' texts: `compare_samples`, once a prompt.

    Raises:
        ValueError: on no rows or a row without samples.
    """
    if not rows or not all(samples for _, samples in rows):
        raise ValueError("each row needs a prompt and at least one sample; got none")
    parts = []
    for prompt, samples in rows:
        cards = "".join(
            f'<div class="rm-card" style="--rm-role:{css_colour(sample.role)}"><h4>{html.escape(name)}</h4>'
            f"<p>{html.escape(sample.text)}</p>{_chips(sample)}</div>"
            for name, sample in samples.items()
        )
        parts.append(f'<div class="rm-prompt">{html.escape(prompt)}</div><div class="rm-cards">{cards}</div>')
    text = "\n\n".join(_plain(prompt, samples) for prompt, samples in rows)
    return Picture(
        framed("".join(parts), alt="", caption=caption).body, text + (f"\n{caption}" if caption else "")
    )


def records(table: RecordTable) -> Picture:
    """A table of records in the book's style; Markdown where HTML is not shown."""
    return Picture(table.to_html(), table.to_markdown())
