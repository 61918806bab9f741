"""The exercises of chapter 12: groups, verifiers, several tries, and an experiment of one's own."""

from rlhf_mini.chapters.verifiable.group_exercises import ADVANTAGES, FIRST_LOSSES, GROUP_NEEDED, SILENCED
from rlhf_mini.chapters.verifiable.tries_exercises import BENCHMARK, FORM_REWARD, VOTE
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="An experiment of your own",
    level="hard",
    minutes=60,
    hints=(
        "Change one thing only. methods.grpo.grpo takes a method of methods.group_methods, any GroupMethod of yours, and a "
        "reward of parts; dataclasses.replace(grpo_method(), average=token_mean) makes a method that differs in one place. "
        "worlds.sums_verifier has rewards with a gap, and what closes each.",
        "Write down, before you run anything: the question, the number that would answer it, how large a difference would "
        "count, and what you expect. The exact results on the toy language say what a method does on average; say first "
        "whether your question is about that, about noise, or about what a model shares among prompts.",
    ),
    good_answer=(
        "It asks something that can come out either way, for instance: do larger groups pay if there are fewer prompts for "
        "it? From which pass rate at the start on is there nothing to learn, and do easier sums, shown first, help? Does the "
        "reward for the form make the answers right, or only well formed? Does the mean over each answer's tokens make wrong "
        "answers longer in a run, as it does on average in the toy language? It compares at one price, in answers drawn, and "
        "says whether groups that were thrown away were paid for. It reports pass@1 and pass@k on held-out problems, with "
        "the unbiased estimate and from how many tries, beside the reward in training; whether what was learned is new or "
        "only likelier is seen in pass@k for a large k. It has at least three seeds, with their spread beside the mean, and a "
        "baseline that draws as much and learns nothing from the verifier, such as a reward by a coin. It reads ten answers "
        "of the highest reward. It says how many runs were made in all, also those that failed, and ends with what it does "
        "not show."
    ),
)

EXERCISES = (ADVANTAGES, FIRST_LOSSES, SILENCED, GROUP_NEEDED, FORM_REWARD, BENCHMARK, VOTE, OWN)
