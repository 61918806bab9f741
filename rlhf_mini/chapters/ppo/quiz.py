"""The five questions of chapter 05."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="Is writing an answer a bandit with one action, or a decision process with one action a token?",
        options=(
            (
                "A bandit: the reward model scores the whole answer.",
                "That describes the score, and a method may stop there, as REINFORCE with one return an answer does. But nothing in the score forbids a closer look at the tokens.",
            ),
            (
                "A decision process: otherwise there would be no gradient for tokens.",
                "log π of an answer is a sum over its tokens, so that a bandit's gradient reaches every token, too.",
            ),
            (
                "Either: the gradient of the expected reward is the same, and only baseline and credit differ.",
                "With γ = 1 and the score at the end, both views have one objective. The token view lets a value model say how good the beginning was already, and lets every token pay for its own KL.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="The score is 2, the answer has ten tokens, and β is 0. With λ = 1 and values of 0, what is the advantage of the third token, before whitening?",
        options=(
            (
                "2: the return from there to the end.",
                "All that is still to come is the score, and it comes whole, whichever token one asks. Without values, every token of an answer gets the same.",
            ),
            (
                "0: the reward stands at the last token.",
                "Its own reward is 0. An advantage speaks of everything that follows.",
            ),
            (
                "0.2: the score is shared among the tokens.",
                "Nothing divides it. It stands at the last token, and γ = 1 brings it back undiminished.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="Why does PPO put log π − log π_ref into the reward, and not as a mean over the samples into the loss?",
        options=(
            (
                "Because the loss would be negative at times.",
                "The sign of a loss does not matter to its gradient.",
            ),
            (
                "Because as a loss its gradient is zero on average: the KL hides in how often tokens are drawn.",
                "The derivative of log π, averaged over π's own samples, is 0. In the reward the log-ratio is a number, and the policy gradient makes the expensive samples rarer. k2 as a loss on whole answers has the right gradient; k1 has none.",
            ),
            (
                "It makes no difference; both are estimates of the same KL.",
                "As numbers they are. The gradient of an estimate is not an estimate of the gradient.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="A colleague reports: the proxy reward rose from 0 to 4, and KL is 40 nats. What do you know?",
        options=(
            (
                "The policy has become better by 4 standard deviations of the reward model.",
                "By the opinion of the model that it was trained to please, on texts unlike those which that model learned from.",
            ),
            (
                "The policy pleases the reward model; whether it is better, only another judge can say.",
                "That far from the texts that were compared, proxy and truth can part, and the policy was pushed exactly there. Read ten answers, and ask gold, people, or a model that was not optimised.",
            ),
            (
                "PPO has a bug: KL cannot exceed a few nats.",
                "Nothing bounds it but β. Per token it may even look small.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="On the first minibatch of a fresh rollout, mean |ρ − 1| is 0.15. Which explanation is left?",
        options=(
            (
                "The learning rate is too high.",
                "No step has been taken on this rollout yet, so that no rate has had a say.",
            ),
            (
                "The reward model's scores are too large.",
                "The ratio holds two probabilities of the policy and nothing of the reward.",
            ),
            (
                "It is noise: with few tokens the ratio varies.",
                "Both probabilities are of the same token under the same weights. They agree to rounding, however few tokens there are.",
            ),
            (
                "What was sampled is not what is scored: temperature, truncation, dropout, padding, or an old copy of the weights.",
                "Yes. The clipping then works from a wrong centre, and the advantages belong to another policy. Assert it, as the library does.",
            ),
        ),
        right=3,
    ),
)
