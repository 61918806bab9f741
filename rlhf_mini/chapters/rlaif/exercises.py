"""The exercises of chapter 10: what a label is made of, what is learned from it, and an experiment of one's own."""

from rlhf_mini.chapters.rlaif.data_exercises import HEAD_TO_HEAD, LEARNED, MIXED
from rlhf_mini.chapters.rlaif.label_exercises import AFTER_THOUGHTS, BOTH, LETTERS, RATING
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="An experiment of your own",
    level="hard",
    minutes=60,
    hints=(
        "Change one thing only. methods.soft_labels.label asks a judge for soft labels under principles, mixed puts people's "
        "beside them, and train_on_soft_labels learns from both; worlds.stories.principles has the constitution, and any "
        "causal model of the hub can be the judge (methods.judge.load_judge).",
        "Write down, before you run anything: the question, the number that would answer it, how large a difference would "
        "count, and what you expect. Measure the judge by itself first, on pairs whose truth is known "
        "(worlds.stories.judged_comparisons): agreement, the same place in both orders, and the mass on its letters.",
    ),
    good_answer=(
        "It asks something that can come out either way, for instance: how many labels of a judge make up for one of a "
        "person? Does a judge that was shown a principle for each label give a better policy than one that is asked what is "
        "good, all in all, at the same agreement? From what place bias on do two orders pay for twice the questions, "
        "compared with a coin and twice the pairs? It compares at one price, in questions to the judge or in labels, and "
        "says which. It keeps three things apart: agreement of the judge with the truth, accuracy of the reward model, "
        "and gold of the policy, for the first can rise while the last falls. Gold is judged by what nobody was trained on "
        "and never by the judge itself. It has at least three seeds, with their spread beside the mean, and a baseline "
        "with people's labels; it says how many runs were made in all, also those that failed, and ends with what it does "
        "not show."
    ),
)

EXERCISES = (LETTERS, BOTH, AFTER_THOUGHTS, RATING, MIXED, LEARNED, HEAD_TO_HEAD, OWN)
