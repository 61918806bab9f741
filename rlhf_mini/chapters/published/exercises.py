"""The exercises of chapter 13: what makes eight recipes the ones they are, and a recipe of one's own."""

from rlhf_mini.chapters.published.averaging_exercises import MERGED_STEP, ON_THE_ARC
from rlhf_mini.chapters.published.loss_exercises import APA, RPO
from rlhf_mini.chapters.published.pair_exercises import BALANCED, MASKED
from rlhf_mini.chapters.published.reward_exercises import FOCAL, RUBRIC_WEIGHT
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="A recipe of your own",
    level="hard",
    minutes=120,
    hints=(
        "Take a report that is not among the fourteen, or one of them in a later version. A recipe is one "
        "file: a function train(pipeline, folder, **settings), which saves a policy in a subfolder after "
        "each of its steps, and a Recipe with what the report says. Put it into ORDER in "
        "recipes/registry.py; then `rlhf-mini recipe NAME --tell` prints it, and `rlhf-mini recipe NAME` "
        "trains, judges and records it.",
        "First fill in data, reward, optimiser, anchor, rounds, reported, left_out and set_right from the "
        "report, with a table or a section for each number and “not stated” where it is silent. Only then "
        "write train, from the functions of rlhf_mini.methods. Whatever the report leaves open, you choose: "
        "each choice is a departure. Name the one thing that makes it this recipe, and write a variant "
        "without it.",
    ),
    good_answer=(
        "Every fact has its place in the report, and a number of another paper is never lent to it. What "
        "the report does not say stands in left_out, and what the miniature does in its stead in "
        "departures, each with its reason. train composes functions that are there, fits on a page, uses "
        "the random numbers and the cache of the pipeline, and saves each step under its name. Nothing in "
        "it sees gold: gold only judges. There is a variant for what makes the recipe this one, with the "
        "same budget of labels, answers drawn and steps, so that the two differ in one thing. Both were run "
        "on at least three seeds, and the difference is told seed by seed, beside KL, length and diversity. "
        "A test fails if that one thing is taken out: it does not only show that the recipe runs. Ten "
        "answers were read. The result is not compared with the report's own numbers, which come from "
        "models and judges of another size, and the text says what one small world cannot show about them."
    ),
)

EXERCISES = (RUBRIC_WEIGHT, FOCAL, BALANCED, RPO, MASKED, MERGED_STEP, ON_THE_ARC, APA, OWN)
