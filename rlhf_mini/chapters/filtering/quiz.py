"""The five questions of chapter 09."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask="A policy is filtered at a threshold that keeps an eighth of its samples. How far does the filtered policy lie from it?",
        options=(
            (
                "It depends on the rewards of what is kept.",
                "It depends on the kept share alone: every kept text has become 1/s times as likely, whatever its reward.",
            ),
            (
                "log 8 nats.",
                "Yes: −log of the kept share, 2.1 nats, if what was kept is learned exactly.",
            ),
            (
                "log 8 − 7/8 nats.",
                "That is the best of eight, which also prefers the better ones of what is good enough, and pays less for it.",
            ),
            (
                "Infinitely far, since most texts have become impossible.",
                "KL(old ‖ new) is infinite. What RLHF counts is KL(new ‖ old), over the texts that the new policy writes.",
            ),
        ),
        right=1,
    ),
    Question(
        ask="Without an error of sampling and of training, what do several Improves of one Grow add to the last of them alone?",
        options=(
            (
                "Nothing: each leads to the filter at its own threshold, whatever came before.",
                "Yes. If they help in practice, it is because the limit is not reached: samples are few, and a training of some steps ends on its way.",
            ),
            (
                "They multiply: the kept shares of all thresholds do.",
                "So it would be with fresh samples. A Grow's samples are the same for all its Improves, and an answer above the highest threshold is above the others, too.",
            ),
            (
                "A smaller KL, because each step is small.",
                "The way does not matter to where it ends, in the limit.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="Which of these is right about ReST?",
        options=(
            (
                "It selects representative samples from the original data set.",
                "It draws new samples from the policy, and selects by reward. The original data may join them, and are filtered like the rest.",
            ),
            (
                "It refines its reward function from round to round.",
                "The reward model is trained once and stays as it is. In the paper people ranked the variants otherwise than it did.",
            ),
            (
                "Unlike PPO it does without live human feedback.",
                "PPO asks a reward model as well, and no people. What ReST saves is sampling: a Grow's answers are used for several Improves.",
            ),
            (
                "It fine-tunes on the policy's own samples above a threshold that rises, and draws anew now and then.",
                "Yes: Improves within Grows.",
            ),
        ),
        right=3,
    ),
    Question(
        ask="A policy is fine-tuned, round after round, on as many of its own samples as before, chosen at random. What happens?",
        options=(
            (
                "Nothing: at its own samples the mean gradient of the likelihood is 0.",
                "On average over draws nothing is preferred. But every single draw has more of some texts and less of others, and what was not drawn is forgotten.",
            ),
            (
                "It grows more varied, because it has seen more data.",
                "It has seen nothing that it did not write itself.",
            ),
            (
                "It loses variety: each round of k samples leaves about 1 − 1/k of the chance that two draws differ.",
                "Yes, and no reward is needed for it. A model's ties between texts may slow it down; a filter speeds it up.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="Advantage-weighted regression has no KL term in its loss. Why does it stay near the policy that drew?",
        options=(
            (
                "Because it learns from that policy's samples: its optimum is π(y) exp(A(y)/β)/Z, which is the optimum of the reward less β KL.",
                "Yes. β is in the weights. Draw anew and weight again, and the leash grows longer: after two rounds it is the optimum for half the β.",
            ),
            (
                "It does not: only a penalty can hold a policy.",
                "A likelihood of samples holds it to what was sampled. One can see it in the optimum.",
            ),
            (
                "Because advantages are 0 on average.",
                "That fixes the scale of the weights. It is exp, at a β that is not too small, that keeps all weights within reach of each other.",
            ),
        ),
        right=0,
    ),
)
