"""The five questions of chapter 00."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="Why can SFT not teach the model to avoid what careless writers do?",
        options=(
            (
                "There are too few demonstrations.",
                "With more of them the model imitates the mixture of its writers more exactly, the careless "
                "ones included.",
            ),
            (
                "Its loss only raises the probability of demonstrations; nothing in it says which are bad.",
                "Every demonstration is a target. No term lowers the probability of one, and no mark says "
                "which deserve it.",
            ),
            (
                "A causal model sees only what stands before a token.",
                "Reinforcement learning trains the same causal model, and it does learn to avoid them.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Why is the reward model trained on pairs and not on marks from 1 to 10?",
        options=(
            (
                "No loss can be computed from marks.",
                "Regression on marks is possible; chapter 04 trains it.",
            ),
            (
                "A pair carries more bits than a mark.",
                "It carries fewer: one bit at most. It is worth more because it is more reliable.",
            ),
            (
                "People agree more on which of two answers is better, and what is common to both cancels.",
                "The difficulty of the prompt and the leniency of the annotator are common to both answers "
                "of a pair, so that they do not enter the difference.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="What is the accuracy of the best possible reward model on our held-out comparisons?",
        options=(
            (
                "100%, since a perfect model makes no mistakes.",
                "The annotators' choices are noisy: no prediction from two answers can foresee the noise.",
            ),
            (
                "The Bayes ceiling.",
                "It is the accuracy of the best prediction from prompt and answers alone. The gold reward "
                "itself would stay a little below it, for the best prediction also counts on the annotators' "
                "liking for longer answers.",
            ),
            (
                "50%, since the annotators disagree.",
                "They disagree on some pairs only. 50% is the accuracy of guessing.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Which of the four models of PPO learn?",
        options=(
            (
                "The policy and the value model.",
                "The reference and the reward model are frozen: the one is what the KL is measured from, the "
                "other gives the scores.",
            ),
            (
                "The policy alone.",
                "The value model learns beside it, for what is still to come changes as the policy does.",
            ),
            (
                "The policy and the reward model.",
                "The reward model is frozen. If it learned from its own scores, nothing would tie them to "
                "the comparisons.",
            ),
            (
                "All but the reference.",
                "The reward model does not learn during PPO; its comparisons are used up before.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="The proxy reward rises during training. What do you know about the answers?",
        options=(
            (
                "They are getting better.",
                "In the run without the KL penalty the proxy rose to the end, and gold fell.",
            ),
            (
                "They are getting longer.",
                "That may be so, if the reward model likes length, but the proxy does not say it.",
            ),
            (
                "The reward model likes them better.",
                "Whether they are better, only a judge can say that was not optimised.",
            ),
        ),
        right=2,
    ),
)
