"""The five questions of chapter 15."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="A model of 7·10⁹ parameters is fine-tuned with AdamW in mixed precision, all of its weights. What must stay in memory between two steps?",
        options=(
            (
                "About 14 GB: two bytes a parameter.",
                "That is the weights alone, which is what running the model takes.",
            ),
            (
                "About 28 GB: two bytes for each weight, and two for its gradient.",
                "The optimizer's state is missing: two moments in float32, and a float32 copy of the weights. It is three quarters of the whole.",
            ),
            (
                "About 112 GB: sixteen bytes a parameter.",
                "Yes. 2 for the weight, 2 for its gradient, 4 for the float32 copy and 8 for AdamW's moments. Activations come on top.",
            ),
            (
                "That depends on the batch.",
                "Activations do. Weights, gradients and the optimizer's state are the same for every batch.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="On what does the loss of one step depend, if a batch is divided among four processes and each takes the mean over its own answer tokens?",
        options=(
            (
                "On the batch and the weights, as on one process.",
                "That holds only where all four have as many tokens that count.",
            ),
            (
                "Also on which rows went to which process.",
                "Yes. A mean of means weighs a token by how few others its process has. The denominator has to be that of all processes.",
            ),
            (
                "Also on the learning rate.",
                "The loss is computed before the step. The rate has no say in it.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="A tokenizer without a pad token is given the end token as one. What happens to a reward model that is read at the last token that is not padding?",
        options=(
            (
                "Nothing, as long as padding is on the right.",
                "The side does not matter: the end token of the text itself looks like padding.",
            ),
            (
                "It raises an error as soon as a batch has two rows.",
                "That is what happens without any pad token. Here nothing is said at all.",
            ),
            (
                "It learns to end its answers early.",
                "A reward model writes nothing. It is a policy trained with such padding masked from its loss that never learns to end.",
            ),
            (
                "Its score is read one token too early, before the text has ended.",
                "Yes, and without a word. Whether the text ends at all is then not seen by the score.",
            ),
        ),
        right=3,
    ),
    Question(
        ask="You compare two implementations of DPO. From one model and on the same pairs their first losses are both log 2 to six digits. What follows?",
        options=(
            (
                "Hardly anything: where policy and reference are one, every pair costs log 2.",
                "Yes. Whatever the labels, lengths, masks or β are, the first loss is log 2. Gradient norms, the second step and the weights at the end tell more.",
            ),
            (
                "The losses are implemented alike.",
                "Any function of the difference of two log-ratios that is log 2 at 0 begins there, with the answers exchanged, too.",
            ),
            (
                "The optimizers are set alike.",
                "The first loss is computed before the optimizer has done anything.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="TRL's GRPO and ours, told the same, draw their own answers. Their curves lie near each other and are not the same. How do you find out whether the two compute the same?",
        options=(
            (
                "Give both the same seed.",
                "A seed fixes a sequence of random numbers, not what they are used for. The two samplers use theirs in another order.",
            ),
            (
                "Run both with many seeds, and compare the means.",
                "That finds large differences at a large price. A wrong average over tokens, or KL term, can hide within the spread.",
            ),
            (
                "Set the temperature to 0.",
                "Then all answers to a prompt are the same, no group has any spread, and nothing is learned on either side.",
            ),
            (
                "Let one learn from the other's answers, and compare step by step.",
                "Yes. As long as the two policies are one, the answers are both's own; then losses, gradient norms and weights must agree up to rounding.",
            ),
        ),
        right=3,
    ),
)
