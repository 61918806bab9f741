"""What the chapter prints: two holes filled by each model, and the table of what each can do."""

from collections.abc import Mapping

from rlhf_mini.chapters.pretraining.holes import RESCORED, TRIED, draw_first_words, hole_logits, words_asked
from rlhf_mini.chapters.pretraining.objectives import OBJECTIVES
from rlhf_mini.pipeline import Pipeline

Shares = Mapping[str, float]


def first_words(pipeline: Pipeline, *, shown: int = 2, among: int = 100) -> str:
    """The first words that each model puts before some sentences, in brackets, a line each.

    The candidates are the first words of `among` sentences.
    """
    tokenizer, holes = pipeline.tokenizer(), draw_first_words(pipeline, among)
    words, lines = words_asked(holes), []
    for name in OBJECTIVES:
        guesses = words[hole_logits(pipeline, name, holes[:shown])[:, words].argmax(1)]
        for hole, guess in zip(holes[:shown], guesses.tolist(), strict=True):
            lines.append(f"{name:8} [{tokenizer.decode(guess)}]{tokenizer.decode(hole.after[:-1])}")
    return "\n".join(lines)


def abilities(filled: Shares, continued: Shares, told: Shares) -> str:
    """A table of shares, a line for each model, from the chapter's three experiments on objectives."""
    lines = ["          any word  first word  continued  role, first token"]
    for name in OBJECTIVES:
        row = (filled[name], filled[f"first_{name}"], continued[name], told[f"{name}_first"])
        lines.append(f"{name:8}" + "".join(f"{share:11.2f}" for share in row))
    constant = (filled["commonest"], filled["first_commonest"])
    lines.append("always the commonest word: {:.2f} any word, {:.2f} first word".format(*constant))
    lines.append(f"causal, on {RESCORED} holes: {filled['causal_before_rescoring']:.2f} any word;")
    rescored = (filled["causal_rescored"], filled["first_causal_rescored"])
    lines.append(
        f"  whole sentences with {TRIED} candidates: "
        + "{:.2f} any word, {:.2f} first word".format(*rescored)
    )
    return "\n".join(lines)
