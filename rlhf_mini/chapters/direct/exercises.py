"""The exercises of chapter 07: DPO from one pair on, its relatives, and an experiment of one's own."""

from rlhf_mini.chapters.direct.family_exercises import BASELINE, IPO, RESTS
from rlhf_mini.chapters.direct.length_exercises import LENGTHS, PROMPTS
from rlhf_mini.chapters.direct.pair_exercises import INVERTED, LOSS, PAIR, PULL
from rlhf_mini.reader import OpenExercise

OWN = OpenExercise(
    title="An experiment of your own",
    level="hard",
    minutes=60,
    hints=(
        "Change one thing only. runs.outcome(pipeline, method='cDPO', numbers={'kl_weight': 1.0, 'flip_rate': 0.1}, rate=3e-4, "
        "count=4000) trains a policy on 4,000 pairs and returns gold, KL, lengths and what became of held-out pairs. With "
        "labels='flipped' and flip=0.3 a share of the labels is turned round, and writers='demonstrators' gives pairs that the "
        "SFT model did not write; family.ALL lists the chapter's own runs.",
        "Write down, before you run anything: the question, the number that would answer it, how large a difference would "
        "count, and what you expect. Choose rate and β on other requests (rehearsal=True) and on other seeds than those you "
        "report; pipeline.measured keeps every run, so that none is paid for twice.",
    ),
    good_answer=(
        "It asks something that can come out either way, for instance: does cDPO or robust DPO win back what a fifth of "
        "turned labels cost? Is the best β larger with a tenth of the pairs? Does IPO keep the chosen answers likelier than "
        "DPO at the same KL? It gives every method the same pairs and the same number of tries at its learning rate, and "
        "compares at a matched KL or shows the whole curve of gold against KL, because a method that has only gone less far "
        "always looks safer. It has at least three seeds, with their spread beside the mean, and a baseline (the SFT model, "
        "and plain DPO). It reports gold and never the implied reward or the accuracy on training pairs as success, shows "
        "both log-probabilities and not their difference alone, and reads ten answers. It says how many runs were made in "
        "all, also those that failed, and ends with what the experiment does not show."
    ),
)

EXERCISES = (PAIR, LOSS, PULL, INVERTED, IPO, RESTS, BASELINE, PROMPTS, LENGTHS, OWN)
