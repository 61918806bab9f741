"""The five questions of chapter 04."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="You add 3 to every score that a reward model gives. What changes?",
        options=(
            (
                "The probability that one answer is preferred to another.",
                "It is a function of the difference of two scores, and the 3 cancels.",
            ),
            (
                "The pairwise loss, by 3 for each pair.",
                "The loss contains differences only. Its gradients with respect to the scores of a pair sum to 0 for the same reason.",
            ),
            (
                "Nothing that the comparisons could tell. That is why the zero is set afterwards, on reference answers.",
                "The data determine the scores up to a shift. InstructGPT sets the zero so that demonstrations score 0, Ziegler and others set the standard deviation, too.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="A prompt has nine ranked answers, which make 36 pairs. Why are they kept together in one batch, their loss divided by 36?",
        options=(
            (
                "The 36 pairs share nine answers. Scattered over an epoch, each answer is learned eight times over, and the model overfits; together, each goes through the model once.",
                "Both halves matter: the pairs of a ranking are not 36 independent examples, and nine passes through the model are cheaper than 72.",
            ),
            (
                "Because all pairs of a batch must have the same prompt, or their scores could not be compared.",
                "Only the two answers of a pair need to share a prompt. A batch holds many prompts.",
            ),
            (
                "So that the loss is the likelihood of the ranking.",
                "That is Plackett–Luce. The mean over all pairs treats every pair as if it had been judged alone.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="Held-out accuracy is 70% and the Bayes ceiling 74%. What would 80% mean?",
        options=(
            (
                "That the reward model has become better than the annotators.",
                "Better than one annotator is possible. But the ceiling is the best that any prediction of these labels can do.",
            ),
            (
                "That something is wrong: test pairs among the training pairs, say, or an input that tells who won.",
                "On many pairs, no prediction from prompt and answers can be right more often than the ceiling. What lies above it (beyond the noise of a finite test set) was not predicted but looked up.",
            ),
            (
                "That more labels would help further.",
                "No number of labels lifts accuracy over the ceiling: what is left is the annotators' own noise.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Two reward models have the same accuracy. One says 95% where it is right in three cases of four. Where does that hurt?",
        options=(
            (
                "Nowhere: PPO and best of n look at the order of scores only.",
                "Best of n does. PPO weighs differences of scores against the KL penalty, and so their size counts.",
            ),
            (
                "In best of n, which chooses other answers.",
                "Best of n keeps the highest score. Stretching all scores does not change which that is.",
            ),
            (
                "Wherever the size of a difference is used: against a KL penalty, beside a second reward model, as a soft label, or as a margin.",
                "A model that is too sure has scores that are too far apart. Normalisation hides it: it sets the unit, and not the odds.",
            ),
            (
                "In the accuracy on the next test set.",
                "Calibration and accuracy are two things. A model may have one without the other.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="Five reward models, trained on the same pairs with different seeds, disagree strongly on an answer. What do you know?",
        options=(
            (
                "The answer is bad.",
                "It may be good. Their disagreement says that the pairs do not settle it.",
            ),
            (
                "The answer is unlike what they were trained on, or a close call; their mean is little worth there.",
                "Where the data speak, the five agree. That is the use of an ensemble: a policy can be kept from where its members part ways.",
            ),
            (
                "At least one of them has a bug.",
                "Five good models part ways where nothing in the pairs holds them together.",
            ),
            (
                "Had they agreed, the score would be right.",
                "They share their pairs, and with them every bias of the annotators: all five like length. Agreement is no proof.",
            ),
        ),
        right=1,
    ),
)
