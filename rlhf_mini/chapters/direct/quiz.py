"""The five questions of chapter 07."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="DPO, it is said, does without a reward model. What is right about that?",
        options=(
            (
                "It does without any reward: only policies are compared.",
                "Its derivation begins with a reward, and β log(π/π_ref) is one, up to a term that is the same for all answers to a prompt. It ranks answers like any other.",
            ),
            (
                "There is no second network: the policy is the reward model, and the loss is that of a reward model.",
                "Yes. With a table for a policy, DPO even ends exactly where the likeliest reward, fitted first and optimised afterwards, would have led.",
            ),
            (
                "It trains a reward model on the pairs, and then minimises that model's cross-entropy.",
                "So it is often retold. No such model is ever built; the cross-entropy is that of the policy's own implicit reward.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Which of these learns without the scores of a reward model?",
        options=(
            (
                "RAFT.",
                "It draws several answers, keeps the one that a reward model scores highest, and fine-tunes on it.",
            ),
            (
                "Nemotron-4's RPO.",
                "It fits the implied lead to the difference of two scores, and the scores are a reward model's.",
            ),
            (
                "DPO on people's choices.",
                "Yes: all it reads of a pair is which answer was chosen.",
            ),
            (
                "The online stage of Qwen2.",
                "There a reward model chooses the best and the worst of the policy's own answers; DPO's loss then learns from them.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="The loss falls, the accuracy rises, and the chosen answers become less likely. What do you know?",
        options=(
            (
                "A sign is wrong.",
                "Then the rejected answers would gain on the chosen ones, and the accuracy would fall.",
            ),
            (
                "That the lead grows, and nothing yet about the policy: both answers may fall, even on the way to the optimum.",
                "The loss sees the difference only. With a small β even π* makes the chosen answers less likely on average, as probability goes to better answers that are in no pair. But it may also go to worse ones: ask gold.",
            ),
            (
                "That the policy has become worse than its reference.",
                "It may have become better. Log-probabilities of old answers do not tell; held-out requests and a judge that was not optimised do.",
            ),
            (
                "That β is too large.",
                "A large β keeps the policy near the reference, where nothing falls far. It is small ones with which everything falls.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="The better answer wins every comparison, without exception. What does DPO do if it is trained for ever?",
        options=(
            (
                "The lead grows without end, whatever β is.",
                "A pair that is always judged the same way has no best lead. β, the number of steps and the learning rate decide how far it gets.",
            ),
            (
                "It stops at the optimum of the reward less β KL.",
                "That is so where judges err as Bradley and Terry have it: then lost comparisons pull back. Here none does.",
            ),
            (
                "It stops when the log-ratios are 1/(2β) apart.",
                "That is IPO, which was made for this case.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="On the paper's TL;DR summaries DPO wins 61% against the reference ones and PPO 57%. What follows?",
        options=(
            (
                "DPO is the better method.",
                "One task, one pair of tuned runs. With a PPO that was tuned further, Xu et al. (2024) found it ahead on all their tasks, code among them.",
            ),
            (
                "DPO is faster and better.",
                "The numbers say nothing of speed. It does save the reward model, the value model and the sampling.",
            ),
            (
                "PPO needs no reward model either, if DPO does as well.",
                "PPO learns from scores of its own samples, and somebody has to give them.",
            ),
            (
                "That in this experiment, each at temperature 0, it was ahead; and that one should ask how the other side was tuned.",
                "Yes. Since then the answer has gone either way with data, tuning and whether the pairs are the policy's own.",
            ),
        ),
        right=3,
    ),
)
