"""The exercises of chapter 08: hindsight in the grid, the terms of the loss, and an experiment of one's own."""

from rlhf_mini.chapters.hindsight.sample_exercises import NOTHING, SMOOTHED_AWAY, WALK
from rlhf_mini.chapters.hindsight.term_exercises import CONTRAST, IN_BATCH, RESTS, SMOOTHED
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="An experiment of your own",
    level="hard",
    minutes=60,
    hints=(
        "Change one thing only. sum_runs.relabelled(pipeline, script='problem', terms={'contrast_weight': 1.0}) draws, relabels and "
        "learns in rounds and returns shares of right answers; script='right only' is filtered behaviour cloning, 'right steps' "
        "relabels steps too, and family.SUMS lists the chapter's own runs.",
        "Write down, before you run anything: the question, the number that would answer it, how large a difference would "
        "count, and what you expect. Choose settings with rehearsal=True and on other seeds than those you report; "
        "pipeline.measured keeps every run, so that none is paid for twice.",
    ),
    good_answer=(
        "It asks something that can come out either way, for instance: from how rare a success on is hindsight ahead of "
        "filtering? How many of the script's verdicts may be wrong before relabelling harms? Does it help to ask for wrong "
        "solutions in some of the prompts? Both methods draw as many samples and make about as many steps, and each has as "
        "many tries at its learning rate: failures are rows too, and a method that learns from all of them takes more steps a "
        "round. It has at least three seeds, with their spread beside the mean, and the start as a baseline. It judges by held-out "
        "problems at a stated temperature, says how many runs were made in all, also those that failed, and ends with what "
        "the experiment does not show."
    ),
)

EXERCISES = (WALK, NOTHING, SMOOTHED_AWAY, SMOOTHED, CONTRAST, IN_BATCH, RESTS, OWN)
