"""The five questions of chapter 01."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="The robot takes the right-hand door for γ = 0.5 and the upper one for γ = 0.99. What has changed?",
        options=(
            ("The rewards of the grid", "They are the same; only the weight of later ones differs."),
            (
                "How much the reward of the twelfth move counts",
                "γ¹¹ is 0.0005 for γ = 0.5 and 0.90 for γ = 0.99.",
            ),
            ("The probability of slipping", "γ is no property of how the robot moves."),
        ),
        right=1,
    ),
    Question(
        ask="A state-dependent baseline is subtracted from the returns in REINFORCE. What happens to the expected gradient?",
        options=(
            (
                "Nothing",
                "The expectation of ∇ log π over actions is 0, so whatever does not depend on the action drops out.",
            ),
            ("It becomes smaller", "Its variance often does, though not always; the expectation stays."),
            (
                "It becomes biased towards safe actions",
                "No action is favoured: in each state the same number is subtracted for all.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="With λ = 0, generalised advantage estimation with a wrong value function is …",
        options=(
            ("unbiased and noisy", "That is λ = 1, which sums the rewards that really came."),
            ("exact", "Only if the value function is exact."),
            (
                "biased, with little variance",
                "It looks one step ahead and believes the value function about everything after.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="On the first minibatch after a rollout, before any step, PPO's ratio is 0.97 on average. What do you conclude?",
        options=(
            ("The clip range is too small", "Clipping changes the loss, not the ratio."),
            (
                "Two different distributions are compared",
                "It is the same policy, so every ratio must be 1. Sampling and scoring differ: in temperature, masks, dropout or precision.",
            ),
            ("The advantages are not normalised", "The ratio does not contain the advantages."),
        ),
        right=1,
    ),
    Question(
        ask="An episode is cut off by the time limit. What should the learner assume about what follows?",
        options=(
            (
                "Nothing follows: the value is 0",
                "That is right for a terminal state; here the world would have gone on, and the learner would be taught that late states are worthless.",
            ),
            (
                "What its value function says about the state it was cut off in",
                "Truncation is not termination: bootstrap from V(s_T).",
            ),
            ("The last reward goes on for ever", "Nothing suggests that."),
        ),
        right=1,
    ),
)
