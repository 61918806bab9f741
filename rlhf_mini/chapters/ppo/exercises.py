"""The exercises of chapter 05: what is rewarded, what is learned from it, and a reward to be hacked."""

from rlhf_mini.chapters.ppo.loss_exercises import ESTIMATORS, MIXED, SIGNAL, WHITENED
from rlhf_mini.chapters.ppo.reward_exercises import CONTROLLER, ENDING, REWARDS
from rlhf_mini.reader import OpenExercise

HACKED = OpenExercise(
    title="A reward of your own, and how it is hacked",
    level="hard",
    minutes=45,
    hints=(
        "Any function from sequences to numbers is a score: count something that good stories have, with "
        "response_texts and the parser of the story world. Write down how a policy could please it without telling "
        "a better story before you train.",
        "Run PPO with it for 20 iterations with and without the KL penalty, read three answers of each, and look at "
        "gold. Then mend the score, and write down how the mended one will be hacked.",
    ),
    good_answer=(
        "It names the quantity that was wanted and the one that was written, predicts where the two part, and shows "
        "the prediction to be right or wrong by texts and by gold, on more than one seed. It reports the KL beside "
        "the score. It mends the score once and finds the next gap, and ends by saying which of the gaps a learned "
        "reward model would have had, too."
    ),
)

EXERCISES = (REWARDS, ENDING, CONTROLLER, SIGNAL, WHITENED, ESTIMATORS, MIXED, HACKED)
