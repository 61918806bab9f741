"""The practical guide as data, and how it is shown: symptoms of a run, a tree of questions, and advice.

What it says leans on runs on record and on exact results: `evidence` holds the forms, `symptoms` and the three modules of
advice the rows. The tree asks yes or no, and every way through it ends in something to do.
"""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlhf_mini.chapters.scoreboard.evidence import Advice, Shown, Symptom
from rlhf_mini.chapters.scoreboard.judging_advice import JUDGING_ADVICE
from rlhf_mini.chapters.scoreboard.scaling_advice import SCALING_ADVICE
from rlhf_mini.chapters.scoreboard.symptoms import SYMPTOMS, named
from rlhf_mini.chapters.scoreboard.training_advice import TRAINING_ADVICE
from rlhf_mini.reader import Picture
from rlhf_mini.reader.style import css_colour

ADVICE: tuple[Advice, ...] = (*TRAINING_ADVICE, *JUDGING_ADVICE, *SCALING_ADVICE)
TOPICS = tuple(dict.fromkeys(one.topic for one in ADVICE))


@dataclass(frozen=True, kw_only=True)
class End:
    """Where a way through the tree ends: what to do, in which chapter it stands, and which symptom it is, if one.

    Raises ValueError on an unknown symptom, or one of another chapter.
    """

    do: str
    chapter: str
    symptom: str = ""

    def __post_init__(self) -> None:
        if self.symptom and named(self.symptom).chapter != self.chapter:
            raise ValueError(f"{self.symptom!r} is a symptom of chapter {named(self.symptom).chapter}")


@dataclass(frozen=True, kw_only=True)
class Node:
    """A question that is answered by yes or no, and where each answer leads: the name of a node, or an end."""

    ask: str
    yes: str | End
    no: str | End


ROOT = "judge"
TREE: Mapping[str, Node] = {
    "judge": Node(
        ask="Do you have a sample of answers judged by something that shares nothing with what is optimised: a program, or people?",
        yes="exact",
        no=End(do="Get one before anything else. Without it a run that is over-optimised looks like the best of all.", chapter="05", symptom="over-optimised"),
    ),
    "exact": Node(
        ask="Do the lower rungs of the method's ladder hold: the exact test, one prompt overfitted?",
        yes="ratio",
        no=End(do="It is the code. The first rung that does not hold says where to look; compare with the chapter's bug hunt.", chapter="00"),
    ),
    "ratio": Node(
        ask="Is the ratio 1 on the first minibatch after every draw, or, of a loss on pairs, is the loss log 2 before the first step?",
        yes="rises",
        no=End(do="Sampled and scored distributions differ, or the reference is not the start: dropout, temperature, stale weights, another template.", chapter="05", symptom="another distribution"),
    ),
    "rises": Node(
        ask="Does what is optimised improve: the score rises, the loss on pairs falls?",
        yes="gold",
        no="pairs",
    ),
    "pairs": Node(
        ask="Is it a loss on pairs, and has it stayed at log 2?",
        yes=End(do="Nothing is learned, or the reference moves along. Compare both models' weights with what they were.", chapter="07", symptom="loss at log 2"),
        no="spread",
    ),
    "spread": Node(
        ask="Is there anything to learn from: groups with spread, pairs that are told apart, answers that some filter keeps?",
        yes="critic",
        no=End(do="Take a better start or easier problems. Look at the share of groups without spread, not at the loss, which reads 0 in any case.", chapter="12", symptom="groups without spread"),
    ),
    "critic": Node(
        ask="Do rewards reach the tokens that earned them: λ near 1, values at the place before their token, the price of KL not larger than the score?",
        yes=End(do="Try three times the learning rate, and see whether the policy moves at all.", chapter="05", symptom="not learning"),
        no=End(do="Mend that first; the toy language says at once whether it was this.", chapter="05", symptom="not learning"),
    ),
    "gold": Node(
        ask="Does gold rise with it?",
        yes="lost",
        no="far",
    ),
    "far": Node(
        ask="Does KL grow without bound?",
        yes="fell",
        no="ends",
    ),
    "fell": Node(
        ask="Does the score go on rising while gold falls?",
        yes=End(do="Go back to the checkpoint before gold turned, raise β, bring the scores to deviation 1, and pay KL in the reward.", chapter="05", symptom="over-optimised"),
        no=End(do="A third of the learning rate, one epoch on a draw, and a clip.", chapter="05", symptom="unstable"),
    ),
    "ends": Node(
        ask="Do the answers still end, at about the length that they had?",
        yes="declines",
        no=End(do="Charge for an answer without an end, and take out what the reward pays for length.", chapter="05", symptom="answers without an end"),
    ),
    "declines": Node(
        ask="Are kind requests declined more often than before?",
        yes=End(do="Report kind and unkind requests apart; mix in labels on helpfulness, or filter on each prompt's own scale.", chapter="10", symptom="everything is declined"),
        no=End(do="Read the ten answers of the highest reward. The reward pays for something else: measure it on these answers, and close the gap.", chapter="12", symptom="a gap in the verifier"),
    ),
    "lost": Node(
        ask="Is what must not be lost still there: variety, plain text, politeness to unkind requests?",
        yes="seeds",
        no=End(do="Take a larger β, mix in pretraining text or the likelihood of the chosen answer, and report the loss beside the gain.", chapter="05"),
    ),
    "seeds": Node(
        ask="Is the gain larger than its interval over seeds, compared seed by seed?",
        yes="matched",
        no=End(do="Run more seeds, not more prompts. What is left of the best of many settings is seen on seeds that it was not chosen by.", chapter="14"),
    ),
    "matched": Node(
        ask="Does it also lead at the same KL and after the same seconds, with labels counted?",
        yes=End(do="Report it, with what it does not show.", chapter="14"),
        no=End(do="Then the setting leads, and not the method. Say at what price it does.", chapter="14"),
    ),
}  # fmt: skip


def walk(answers: Callable[[str], bool]) -> tuple[list[str], End]:
    """The nodes on one way through the tree, and its end; `answers` says yes or no to a node's name."""
    way, at = list[str](), ROOT
    while True:
        way.append(at)
        to = TREE[at].yes if answers(at) else TREE[at].no
        if isinstance(to, End):
            return way, to
        at = to


def ends() -> Iterator[End]:
    """All ends of the tree."""
    for node in TREE.values():
        yield from (to for to in (node.yes, node.no) if isinstance(to, End))


# ------------------------------------------------------------------------------------------------- how it is shown

_CELL = 'style="white-space:normal;text-align:left;vertical-align:top;min-width:{width}rem"'


def _cell(inner: str, width: int, tag: str = "td") -> str:
    return f"<{tag} {_CELL.format(width=width)}>{inner}</{tag}>"


def _where(chapter: str, record: Shown) -> str:
    """The chapter and the runs on record."""
    tables: dict[str, list[str]] = {}
    for run in record.on_record():
        tables.setdefault(f"chapter {run.chapter}, {run.experiment}", []).append(run.method)
    lines = [f"{table}: {'; '.join(rows)}" for table, rows in tables.items()]
    return " · ".join(lines) or f"chapter {chapter}, computed here"


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], caption: str
) -> Picture:
    """Rows of texts that wrap; the first of each is the row's name."""
    head = "".join(
        _cell(html.escape(text), width, "th") for text, width in zip(headings, widths, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            _cell(html.escape(text), width, "td" if place else "th")
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        + "</tr>"
        for row in rows
    )
    lines = [list(headings), ["---"] * len(headings), *rows]
    text = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    table = (
        f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>"
    )
    return Picture(table, f"{text}\n\n{caption}")


def symptoms_table(symptoms: Sequence[Symptom] = SYMPTOMS) -> Picture:
    """What a log shows, what it comes from, what to do, and what the book's runs show of it."""
    rows = [
        [
            one.name,
            one.shows,
            "; ".join(one.causes) + ".",
            one.do,
            f"{one.record.text()} [{_where(one.chapter, one.record)}]",
        ]
        for one in symptoms
    ]
    return _table(
        ["symptom", "the log shows", "likely causes", "what to check or do", "seen in this book"],
        rows,
        (7, 12, 12, 13, 16),
        "Numbers are read from the records, means over their seeds.",
    )


def advice_table(topic: str, advice: Sequence[Advice] = ADVICE) -> Picture:
    """The advice under one heading, with what bears it out. Raises ValueError on an unknown heading."""
    rows = [
        [one.do, one.record.text(), _where(one.chapter, one.record)] for one in advice if one.topic == topic
    ]
    if not rows:
        raise ValueError(f"no advice on {topic!r}; choose from {', '.join(TOPICS)}")
    caption = f"On {topic}. Numbers are read from the records, means over their seeds, or computed here."
    return _table(["what to do", "what bears it out", "where"], rows, (14, 18, 9), caption)


def _numbers() -> dict[str, int]:
    """The nodes' numbers, in the order in which the tree is walked, yes before no."""
    order: list[str] = []

    def visit(name: str) -> None:
        order.append(name)
        for to in (TREE[name].yes, TREE[name].no):
            if isinstance(to, str):
                visit(to)

    visit(ROOT)
    return {name: place for place, name in enumerate(order, 1)}


def tree_picture() -> Picture:
    """The tree as a numbered list of questions: each answer leads to another number, or to what is to be done.

    A list, because a drawing of a deep tree is too wide for a phone.
    """
    numbers, items, lines = _numbers(), [], []
    for name, place in numbers.items():
        node = TREE[name]
        told = [(word, *_answer(to, numbers)) for word, to in (("yes", node.yes), ("no", node.no))]
        answers = "".join(
            f'<li style="margin:.1rem 0;list-style:none"><b>{word}</b> → {inner}</li>'
            for word, inner, _ in told
        )
        items.append(
            f'<li id="rm-tree-{place}" style="margin:0 0 .7rem"><span>{html.escape(node.ask)}</span>'
            f'<ul style="margin:.15rem 0 0;padding-left:.3rem">{answers}</ul></li>'
        )
        lines.append(f"{place}. {node.ask}")
        lines += [f"   {word} → {plain}" for word, _, plain in told]
    body = f'<ol style="margin:0;padding-left:1.6rem">{"".join(items)}</ol>'
    return Picture(body, "\n".join(lines))


def _answer(to: str | End, numbers: Mapping[str, int]) -> tuple[str, str]:
    """Where an answer leads, as HTML and as text."""
    if isinstance(to, str):
        return f'<a href="#rm-tree-{numbers[to]}">question {numbers[to]}</a>', f"question {numbers[to]}"
    where = f"chapter {to.chapter}" + (f", “{to.symptom}”" if to.symptom else "")
    inner = f'<span style="color:{css_colour("data")}">■</span> {html.escape(to.do)} <i>({html.escape(where)})</i>'
    return inner, f"{to.do} ({where})"
