"""Five questions on pretraining, every option explained."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="Model A has perplexity 8 with a vocabulary of 400 tokens, model B perplexity 12 with 50,000, both on the same text. Which predicts the text better?",
        options=(
            (
                "A, since 8 is less than 12.",
                "The two numbers are means over different tokens: A's are shorter, and so each is easier.",
            ),
            (
                "B, since it has the larger vocabulary.",
                "A large vocabulary makes tokens longer; whether the whole text becomes likelier is another question.",
            ),
            (
                "One cannot say without the bits per byte.",
                "The total surprise of the text decides. Divided by its bytes, which both share, it can be compared.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="What makes a Llama an encoder?",
        options=(
            (
                "Another attention mask, and training under it.",
                "The layers are the same. The mask says who sees whom, and the weights must be trained under it, with hidden tokens as targets: under a mask that shows everything, next-token training would only copy.",
            ),
            (
                "A pooling layer that returns one vector.",
                "An encoder gives one vector for each token; pooling them is a choice made afterwards.",
            ),
            ("Bidirectional weights in place of causal ones.", "Weights have no direction. The mask has."),
        ),
        right=0,
    ),
    Question(
        ask="A causal model's loss on thousands of new texts is 0.1 nats per token below the entropy of the grammar. What has happened?",
        options=(
            (
                "It has generalised unusually well.",
                "No model can be below the entropy on average: it is the least possible mean surprise.",
            ),
            (
                "It has seen something of what it is to predict.",
                "A missing shift, a mask that leaks, test texts in the training set: each gives a loss that no honest model can reach.",
            ),
            ("The learning rate is too small.", "That would leave the loss too high."),
        ),
        right=1,
    ),
    Question(
        ask="Why does masked language modelling learn less per update than causal modelling on the same batch?",
        options=(
            (
                "Because attention in both directions costs more.",
                "It costs at most twice the attention, which is a small part of the work; the number of predictions is what differs.",
            ),
            ("Because encoders have a fixed output length.", "They have one output for each token."),
            (
                "Because only the hidden tokens give a loss.",
                "With 15% of the tokens hidden, a batch teaches 15% of the predictions that it would teach a causal model.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="At temperature 0.5, compared with 1, a language model's samples are …",
        options=(
            (
                "drawn from another distribution, sharper than the model's own.",
                "Dividing logits by 0.5 squares the probabilities and renormalises. Log-probabilities of such samples must be computed in the same way.",
            ),
            ("the same on average, with less noise.", "Rare words become rarer, on average too."),
            (
                "always better.",
                "They are more often grammatical and less varied; which is better depends on the use.",
            ),
        ),
        right=0,
    ),
)
