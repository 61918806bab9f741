"""The five questions of chapter 06."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="Llama 2 has two reward models. How do they become one reward?",
        options=(
            (
                "By a weighted sum, with the weight tuned on held-out prompts.",
                "So it is often told. In a sum, enough helpfulness makes up for any lack of safety, and one weight has to serve every prompt.",
            ),
            (
                "The smaller of the two scores counts.",
                "A sensible rule, but not theirs: here helpfulness alone counts where nothing is unsafe.",
            ),
            (
                "Safety's score counts on prompts about safety and for answers below a threshold; helpfulness's everywhere else.",
                "Yes, with the threshold 0.15. The result then goes through the logit and is whitened.",
            ),
            (
                "They train two policies, whose weights are averaged.",
                "Averaging weights comes with later models. Here there is one policy, and one reward at a time.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="What does the margin change in the loss of a pair that was rated as negligibly better?",
        options=(
            (
                "Nothing: its margin is 0.",
                "Yes, in either table. Its scores may still move, since one model scores all pairs.",
            ),
            (
                "It is left out of the training.",
                "Such pairs stay. Leaving them out is another idea, to be tested separately.",
            ),
            (
                "Its loss becomes smaller.",
                "With margin 0 the loss is the usual one.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="How far can the best of K be from the policy that drew it, in KL?",
        options=(
            (
                "Exactly log K − (K − 1)/K, whatever the task.",
                "Only if no two answers ever tie. Where a few answers are likely the KL is smaller, often much smaller.",
            ),
            (
                "At most log K − (K − 1)/K, whatever the scores.",
                "Yes. It is a bound, reached when no two draws can tie.",
            ),
            (
                "As far as the reward model wants: there is no bound.",
                "That is so for PPO without a KL term. The best of K is always one of K draws.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Why were the best samples of all rounds pooled, and not those of the last alone?",
        options=(
            (
                "More data is always better.",
                "The random choice learns from as many texts, and loses gold. What was lost was not quantity.",
            ),
            (
                "Old samples are better than new ones.",
                "Here they are about as good. They hold what the last round's prompts or answers happen not to show.",
            ),
            (
                "Because PPO needs off-policy data.",
                "PPO uses none. This is about supervised fine-tuning on kept answers.",
            ),
            (
                "A model that learns from the last round alone forgets what that round does not show.",
                "Yes. In the paper, a version trained so was worse at rhyming poems.",
            ),
        ),
        right=3,
    ),
    Question(
        ask="In ghost attention, why is the loss of the earlier turns set to 0?",
        options=(
            (
                "To save computation.",
                "The earlier turns are still read in full; next to nothing is saved.",
            ),
            (
                "In the paper they were not sampled under the instruction: learned from, they would teach the model to ignore it.",
                "Yes. Only the last answer was; the others are its context.",
            ),
            (
                "Because the answers of earlier turns are worse stories.",
                "Nobody compared them. What matters is whether they obey the instruction.",
            ),
        ),
        right=1,
    ),
)
