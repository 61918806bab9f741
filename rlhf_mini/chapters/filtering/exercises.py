"""The exercises of chapter 09: filtering, its relatives, and an experiment of one's own."""

from rlhf_mini.chapters.filtering.family_exercises import PASS, RRHF, WEIGHTS
from rlhf_mini.chapters.filtering.filter_exercises import FILTERED, HALF, KEPT, TIMETABLE
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="An experiment of your own",
    level="hard",
    minutes=60,
    hints=(
        "Change one thing only. runs.outcome(pipeline, method='ReST', grows=2, thresholds=[0.5, 0.7], rate=1e-3, decay=0.5) "
        "trains a policy and returns gold, KL, the reward model's opinion and how varied its answers are; family.ALL lists the "
        "chapter's own runs. On sums, arithmetic.history_of(pipeline, again_from_base=True, rounds=5, samples=8, most=1) does.",
        "Write down, before you run anything: the question, the number that would answer it, how large a difference would count, "
        "and what you expect. Choose settings on other requests (rehearsal=True) and on other seeds than those you report; "
        "pipeline.measured keeps every run, so that none is paid for twice.",
    ),
    good_answer=(
        "It asks something that can come out either way, for instance: are four answers to 1,280 prompts worth more than sixteen "
        "to 320? Does joining the demonstrations to every Grow keep the policy more varied, and what does it cost in gold? Is a "
        "threshold on each prompt's own scale better than an absolute one, of which the highest keeps little but declines? On sums: does "
        "a cap of one right solution a problem keep more ways of writing it than a cap of four? It gives every method the same "
        "number of samples, because these are what such methods pay with, and the same number of tries at its learning rate. It "
        "compares at a matched KL or shows the curve of gold against KL. It has at least three seeds, with their spread beside "
        "the mean, and two baselines: the SFT model, and as many samples kept at random. It reports gold and never the reward "
        "model's own opinion as success, reads ten answers, says how many runs were made in all, also those that failed, and ends "
        "with what the experiment does not show."
    ),
)

EXERCISES = (KEPT, FILTERED, TIMETABLE, HALF, RRHF, PASS, WEIGHTS, OWN)
