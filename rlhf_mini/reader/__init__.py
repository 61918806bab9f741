"""What the reader sees: figures, diagrams, tables, source, and the chapter's first and last lines, in one
style.
"""

from rlhf_mini.reader.bars import interval_bars, score_histogram
from rlhf_mini.reader.bug_hunt import BugHunt
from rlhf_mini.reader.colab import first_cell, repository_address, setup
from rlhf_mini.reader.diagrams import Arrow, Box, Flow, flow_diagram
from rlhf_mini.reader.dots import seed_dots
from rlhf_mini.reader.exercises import Exercise, Mistake, OpenExercise
from rlhf_mini.reader.frames import frames
from rlhf_mini.reader.grids import grid_picture
from rlhf_mini.reader.ladder import Rung, ladder
from rlhf_mini.reader.picture import Picture, beside, new_figure, picture, show
from rlhf_mini.reader.plots import (
    Curve,
    Level,
    learning_curves,
    proxy_and_gold,
    training_curves,
)
from rlhf_mini.reader.provenance import provenance
from rlhf_mini.reader.quiz import Question, quiz
from rlhf_mini.reader.source import show_source
from rlhf_mini.reader.tables import Sample, compare_samples, records, samples_table

__all__ = [
    "Arrow",
    "Box",
    "BugHunt",
    "Curve",
    "Exercise",
    "Flow",
    "Level",
    "Mistake",
    "OpenExercise",
    "Picture",
    "Question",
    "Rung",
    "Sample",
    "beside",
    "compare_samples",
    "first_cell",
    "flow_diagram",
    "frames",
    "grid_picture",
    "interval_bars",
    "ladder",
    "learning_curves",
    "new_figure",
    "picture",
    "provenance",
    "proxy_and_gold",
    "quiz",
    "records",
    "repository_address",
    "samples_table",
    "score_histogram",
    "seed_dots",
    "setup",
    "show",
    "show_source",
    "training_curves",
]
