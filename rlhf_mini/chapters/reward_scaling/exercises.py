"""The exercises of chapter 11: curves and forms, what can be done against over-optimisation, and an experiment of one's own."""

from rlhf_mini.chapters.reward_scaling.choice_exercises import ENSEMBLE, REGRET, ROUNDS
from rlhf_mini.chapters.reward_scaling.curve_exercises import DISTANCE, FIT, HELD_OUT, PEAKS, POOL
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="An experiment of your own",
    level="hard",
    minutes=60,
    hints=(
        "Change one thing only. A cell of the grid is plan.Cell(experiment, name, outcomes.best_of_n, settings): settings say which "
        "pool (plan.pool_settings), which proxies (plan.proxy_settings, with labels=, flip=, order=) and which rule puts several "
        "together. cell.measured(pipeline) returns the curve, the fit and its rivals, and keeps them; outcomes.ppo does the same "
        "for a run of PPO.",
        "Write down, before you run anything: the question, the number that would answer it, how large a difference would count, "
        "and what you expect. Pools and proxies are kept, so that another way to look at them costs a moment; a new proxy of few "
        "labels costs seconds, a run of PPO minutes.",
    ),
    good_answer=(
        "It asks something that can come out either way, for instance: of a fixed number of labels, are four members of a quarter "
        "each better than one of all? Does a proxy that has seen each label four times turn later than one that has seen it once? "
        "Does the worst case still help where all members share their backbone's errors? Does a form fitted to one seed's run "
        "choose the checkpoint of another's? It judges by gold and never by the proxy, counts gold from the start and in one "
        "unit, and shows the whole curve, not one n. It has at least three seeds, with their spread beside the mean, and resamples "
        "whole prompts where it gives an interval, because the points of one curve err together. It says what the distance means "
        "for both ways of optimising, or compares only runs of the same way. It tells held-out points before it calls a form good, "
        "and names the rival that told them as well. It says how many cells were measured in all, also those that failed, and ends "
        "with what the experiment does not show: gold is here a program, and where gold is a model it has errors of its own."
    ),
)

EXERCISES = (DISTANCE, POOL, PEAKS, FIT, HELD_OUT, ENSEMBLE, ROUNDS, REGRET, OWN)
