"""The five questions of chapter 08."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="What does hindsight instruction relabelling need that DPO does without?",
        options=(
            (
                "A reward model.",
                "It needs none: nothing is scored.",
            ),
            (
                "A script that says which instruction any output has fulfilled.",
                "Yes. In the paper it compares an answer with the right one. Where no program can say what an output really is, the method has nothing to relabel with.",
            ),
            (
                "A frozen reference model.",
                "It has none, and nothing but its own samples keeps it near where it began. It is DPO that needs one.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="With the instructions right and wrong only, and endlessly many samples: where does the likelihood on relabelled outputs lead, if a right one is asked for?",
        options=(
            (
                "To the same policy as filtering: the start's right outputs, in their old proportions.",
                "Yes. What is learned as wrong stands under another instruction. In a table it does not touch what is said when a right one is asked for; in a network it touches it through shared weights, for better or worse.",
            ),
            (
                "To a better policy than filtering, because failures teach as well.",
                "What they teach under wrong is how to be wrong. Of what is right they tell only through the contrast, or through shared weights.",
            ),
            (
                "To the optimum of PPO with the same verdicts as reward.",
                "PPO's optimum multiplies the probability of each right output by exp(1/β), and leaves wrong ones a share. The likelihood conditions: it is PPO's limit for β towards 0.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="In a table, in a round of which not one sample is right, which term says anything about what to do when a right one is asked for?",
        options=(
            (
                "The likelihood.",
                "All its rows stand under wrong.",
            ),
            (
                "The entropy.",
                "It is an average over the learned tokens, and these, too, stand under wrong.",
            ),
            (
                "The contrast: what has failed becomes less likely under right.",
                "Yes. It does not say what to do instead: the probability goes to what is likely already, be it right or not.",
            ),
            (
                "None of them.",
                "One of the three compares instructions, and so reads the output under right as well.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="The paper's program uses label smoothing of 0.2 and samples at temperature 1. What follows for a policy that learns its smoothed targets perfectly?",
        options=(
            (
                "Nothing: smoothing is a regulariser and acts in training only.",
                "It acts on the probabilities, and at temperature 1 these are what is drawn from.",
            ),
            (
                "It writes the right token in about four places of five, and an answer of twelve tokens comes out whole in seven of a hundred.",
                "Yes. A greedy decoder does not see it, since the likeliest token is still the right one. But the next round's samples do.",
            ),
            (
                "It explores better, which is what the entropy term is for.",
                "It draws arbitrary tokens, whatever stands before. That is noise, of which a round of relabelling makes nothing.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="HIR is said to beat RLHF on twelve tasks. What did the paper compare?",
        options=(
            (
                "HIR with PPO on human preferences.",
                "There were no preferences in it. PPO's reward was whether the answer is right.",
            ),
            (
                "HIR with PPO and with filtering and fine-tuning, all of them told whether answers to BIG-bench tasks are right.",
                "Yes: a comparison of ways to use an answer key. It says nothing of preferences, for which there is no script.",
            ),
            (
                "HIR with DPO on the same pairs.",
                "DPO came out later in the same year, and the paper has no pairs.",
            ),
            (
                "HIR and RLHF by the rating of people.",
                "Nobody rated anything: the tasks have right answers, and accuracy on them is what is reported.",
            ),
        ),
        right=1,
    ),
)
