"""The five questions of chapter 12."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="GRPO has run for an hour. One step follows each draw, no KL is paid for, and the logged loss has read 0.0000 all the time. What is wrong?",
        options=(
            (
                "The reward is the same for all answers.",
                "Then the loss would read 0, too. It reads 0 in any case, and so it says nothing; the share of groups without spread would tell.",
            ),
            (
                "Nothing that the loss could show: it reads 0 whatever is learned.",
                "Yes. At ratio one each answer's loss is −A, and the advantages of a group add up to 0. The gradient is another matter. Look at the reward, the pass rate and the gradient's norm.",
            ),
            (
                "The learning rate is too small.",
                "The loss is taken before the step, on answers of the policy itself. No learning rate changes what it reads there.",
            ),
            (
                "The policy has stopped exploring.",
                "Then groups would be without spread. The loss would read 0, as it does when all is well.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="One prompt is passed with chance 0.5, another with chance 0.02. Groups hold 8 answers. Which of these is right about what they are worth to GRPO and to Dr. GRPO?",
        options=(
            (
                "Both count prompts alike, since advantages are normalised.",
                "Advantages of one group have a spread of 1. What a prompt's log-odds are pulled with still depends on how often its group has any spread.",
            ),
            (
                "GRPO gives the hard prompt more than Dr. GRPO does, in proportion to the even one, and both give it less than the even one.",
                "Yes. Dr. GRPO's pull is p (1 − p) times a constant. GRPO's tends to √(p (1 − p)) for large groups, and where nearly all groups are without spread it falls below.",
            ),
            (
                "GRPO pulls hardest at the hard prompt, because a lone right answer has the largest advantage.",
                "It has: about 2.5. But 85 groups in 100 hold no right answer, and the expected pull counts them.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Two wrong answers, one of 20 tokens and one of 200, in the same group. In GRPO's loss, averaged over each answer's tokens and then over answers:",
        options=(
            (
                "each token of the long one is pushed down a tenth as hard, so that wrong answers tend to grow.",
                "Yes, and right ones to shrink. In the toy language, where the reward does not see length, this is all that moves it; a sum over tokens, by a constant or not, leaves it alone.",
            ),
            (
                "the long one is pushed down ten times as hard, so that wrong answers shrink.",
                "So it would be if tokens were summed: then every token has the same push, and the long answer has more of them. The mean takes the length out again.",
            ),
            (
                "length makes no difference, since both have the same advantage.",
                "Both have the same share of the loss, 1/G. The long one divides it among ten times as many tokens.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="k3 is an unbiased and never negative estimate of KL(π ‖ π_ref). GRPO adds it to the loss, on fresh samples. What does its gradient do on average, taken of whole answers?",
        options=(
            (
                "What the gradient of KL(π ‖ π_ref) does.",
                "An unbiased number need not have an unbiased gradient: the samples follow the policy, and the loss does not differentiate them.",
            ),
            (
                "Nothing: it is 0.",
                "That is k1, whose gradient is ∇ log π.",
            ),
            (
                "What the gradient of KL(π_ref ‖ π) does.",
                "Yes: the other direction. k2 in the loss, or k1 in the reward, has the gradient of KL(π ‖ π_ref). Token by token both statements hold with the states held fixed.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="After training with a verifier pass@1 on held-out problems has risen from 0.3 to 0.6, and pass@64 has stayed at 0.9. What does that show?",
        options=(
            (
                "The model solves problems that it could not solve before.",
                "Problems that 64 tries did not solve before are hardly solved now, either.",
            ),
            (
                "What could be found in many tries is now mostly found in one.",
                "Yes, and no more than that. It says nothing against the gain: one try is what a user gets.",
            ),
            (
                "The verifier has been fooled.",
                "A verifier with a gap would show in what the answers look like, and pass@64 would have risen with pass@1.",
            ),
            (
                "pass@64 was estimated with a bias.",
                "It may have been, by the share of right tries put for their chance; then it would be too low in both cases, and still not change for that reason.",
            ),
        ),
        right=1,
    ),
)
