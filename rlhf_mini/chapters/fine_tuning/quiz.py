"""The five questions of chapter 03."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="A fine-tuned model answers well in your test script and badly in the product. What do you look at first?",
        options=(
            (
                "The learning rate of the fine-tuning.",
                "The model is good: your script shows it. Something differs between the two uses.",
            ),
            (
                "The token numbers that each of the two feeds to the model.",
                "Most often the template differs: a marker spelled as letters, a space too many, no generation prompt. Compare numbers, not the text on the screen, for the two can look alike.",
            ),
            (
                "The sampling temperature, which should be 0.",
                "It can differ, too, but it does not turn answers into continuations of the question.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="What causes exposure bias?",
        options=(
            (
                "Sampling at temperature 1.",
                "Greedy answers also read their own words, which training never showed.",
            ),
            (
                "Too small a model.",
                "A perfect model would not slip, and so would not suffer; but the mismatch is the training's, whatever the size.",
            ),
            (
                "Teacher forcing: in training every prefix is the demonstrator's, in use the model's own.",
                "Yes. Teacher forcing is sometimes named as the remedy. It is the cause.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="Two answers of a batch have 10 and 90 tokens. By how much does a token of the short one weigh more in the mean of means than in the mean over tokens?",
        options=(
            ("Not at all: both are means.", "They weigh tokens differently whenever lengths differ."),
            (
                "Five times: 1/20 against 1/100.",
                "In the mean over tokens each of the 100 tokens weighs 1/100. In the mean of means, half the weight is shared among 10 tokens.",
            ),
            (
                "Nine times: 90/10.",
                "That is how much more a short answer's token weighs than a long one's, within the mean of means.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Why does SFT on careful demonstrations only raise the probability of careless answers as well?",
        options=(
            (
                "Because of a bug in the mask.",
                "It happens with the right mask: in every network that generalises.",
            ),
            (
                "The loss raises what was shown, answers are made of shared parts, and nothing pushes bad answers down.",
                "A careless answer to a request is much more like the careful one than like a plain document. Only a loss with a term that goes down, chapter 07's for example, can tell the two apart on purpose.",
            ),
            (
                "Because probabilities sum to 1.",
                "That would lower them. Both rise at the cost of everything that is no answer at all.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="You may have 500 demonstrations by careful writers or 4,000 by a mixed crew. Which do you take, for the world of this chapter?",
        options=(
            (
                "The 500 careful ones.",
                "Imitation converges to the writers' own quality. More of the same mixture only copies the mixture more exactly.",
            ),
            (
                "The 4,000: more data is always better.",
                "More data helps to imitate. It does not help to imitate something else.",
            ),
            ("The 4,000, and train longer.", "Training longer fits the mixture better, its faults included."),
        ),
        right=0,
    ),
)
