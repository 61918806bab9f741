"""The five questions of chapter 10."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="A judge says A with probability 0.06, B with 0.02, and something else with 0.92. What is its label for the first answer?",
        options=(
            (
                "0.06: what it said.",
                "Then no judge that likes to begin with another word would ever prefer anything.",
            ),
            (
                "0.75: its share of the two, with a warning.",
                "Yes. The label is the share among the choices. That the two together have a mass of 0.08 says that the judge has hardly understood what it is to say, and is worth a look at the question.",
            ),
            (
                "1: A is the likelier letter.",
                "That is its verdict. It throws away how sure the judge was.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="A judge likes the first place: its logit for whatever is shown there is too large by the same amount, always. Every pair is asked in both orders and the probabilities are averaged. What is left of the fault?",
        options=(
            (
                "Nothing.",
                "That would be so had the logits been averaged. Probabilities bend, and the bias does not cancel in them.",
            ),
            (
                "Pairs that are nearly tied still come out wrong.",
                "They do in one order. The mean of the two is above ½ if and only if the first answer is better, however large the bias.",
            ),
            (
                "Labels are on the right side and nearer to ½ than they should be.",
                "Yes: two orders that contradict each other average to doubt. The reward learned from them is too flat, which a smaller β makes up for in good part.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="Why are labels clamped to 40 … 60 percent after a chain of thought, and only then?",
        options=(
            (
                "After thoughts the probability of a letter is nearly 0 or 1 whatever the doubt was, and labels that are always sure ask for rewards without bound.",
                "Yes. The doubt has gone into which thoughts were drawn. Without thoughts the probabilities are of use as they are.",
            ),
            (
                "Because thoughts make the judge worse.",
                "They are there because they make it better, in agreement with people. It is its confidence that is no longer worth anything.",
            ),
            (
                "So that a tie is never broken.",
                "A clamp leaves 0.45 on its side of ½, and 0 too: it moves it to 0.4.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="In the summaries of the RLAIF paper, people prefer its policy to the SFT model in 71% of comparisons, and that of RLHF in 73%. What of the two policies side by side?",
        options=(
            (
                "RLAIF is chosen half the time: 50%.",
                "Yes, and that is a number of another kind. It says that people do not tell the two apart by preference; the 71% says that both have left the start well behind.",
            ),
            (
                "RLAIF wins 71 of 144, which is 49%.",
                "Win rates against a third policy do not divide like that. The head-to-head has to be asked, and was: 50%.",
            ),
            (
                "RLHF is better, by two points.",
                "Two points between win rates against a third, each with its own interval of some points, are no difference that was shown.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="What is the constitution in constitutional AI?",
        options=(
            (
                "A reward function with rules in it, written as a program.",
                "So it is often told. Nothing of it is coded: the principles are sentences, and a model reads them.",
            ),
            (
                "A set of sentences, one of which is drawn for each critique, each revision and each label.",
                "Yes. The first phase fine-tunes on answers that the model has rewritten under them; the second learns a preference model from its choices under them, mixed with people's labels on helpfulness, and then does RL as usual.",
            ),
            (
                "The text that stands before every prompt of the trained model.",
                "The trained model sees none of it. The principles are used to make data, and are learned only through it.",
            ),
        ),
        right=1,
    ),
)
