"""The exercises of chapter 15: real data, what training takes, several processes, and a training of one's own."""

from rlhf_mini.chapters.real.data_exercises import FAULT, PARTED, STATED
from rlhf_mini.chapters.real.machine_exercises import HOURS, KEPT, OWN_LOSSES, ROWS, WEIGHTS
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="A training of your own",
    level="hard",
    minutes=90,
    hints=(
        "Begin with the smallest thing that can fail: a saved model of a few million parameters, a hundred rows, ten "
        "steps, and the plan (`rlhf-mini train METHOD … --dry-run`), which says what it would take. Only then a larger "
        "model, more rows, a machine by the hour.",
        "Write down, before you train: what the model is to do that it does not, how that will be measured on rows that "
        "nothing was trained on, the number without training, and how much the training may cost. Look at twenty rows of "
        "the data as the model gets them, template and end token included.",
    ),
    good_answer=(
        "It says which model and which data, with their licences, and why these. It has a baseline: the model as it was "
        "loaded, on the same held-out rows, by the same measure; and where a preference method was used, SFT on the chosen "
        "answers beside it. The bill was estimated before the training, memory by its parts and hours by operations, and is "
        "compared with what was paid. The rows were checked: none empty, none cut off by the context, none held out and "
        "trained on; how many were left out is said. One run was repeated with another seed, and differences smaller than "
        "those of seeds are not reported as findings. The answers were read, at least twenty of them, the worst included. "
        "The card says what the numbers do not show. What was tried and did not work is told too."
    ),
)

EXERCISES = (STATED, PARTED, FAULT, KEPT, HOURS, OWN_LOSSES, WEIGHTS, ROWS, OWN)
