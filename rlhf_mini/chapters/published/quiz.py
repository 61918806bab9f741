"""The five questions of chapter 13: what the reports say, and what they do not."""

from rlhf_mini.reader import Question

QUIZ = (
    Question(
        ask=(
            "You read in four places: DeepSeek-V2 draws 64 answers a prompt and weighs KL by 0.04; Qwen2 "
            "trains on 150,000 pairs at a rate of 7e-7; Claude 3 has 182,831 red-team prompts; Gemma 2 was "
            "trained with REINFORCE. What do the four have in common?"
        ),
        options=(
            (
                "They stand in the appendices of these reports, where few people look.",
                "They stand in none of the four reports. Each of the four recipe files sets one of them "
                "right.",
            ),
            (
                "The reports print other values than these.",
                "They print none. What has no value in a report is easily filled with that of a relative.",
            ),
            (
                "Each comes from another paper, and the system's own report is silent.",
                "Yes: they are DeepSeekMath's, Qwen2.5's, those of the paper on constitutional AI, and what "
                "an early wording of the report on Gemma 1 says of Gemma 1.0. Each may be near the truth or "
                "far from it, and none is a fact about the system.",
            ),
            (
                "They were found by people who trained these systems again.",
                "None of the four systems can be repeated from its report: sizes or settings are missing in "
                "each.",
            ),
        ),
        right=2,
    ),
    Question(
        ask="Which of these sentences does its report bear out?",
        options=(
            (
                "Rubric-based rewards cut GPT-4's answers to requests for disallowed content by 82% against "
                "GPT-3.5.",
                "The 82% are there, and are credited to all measures together. What each did alone is not "
                "stated.",
            ),
            (
                "ORPO beats DPO at every size that was compared.",
                "In the paper's Table 2 its wins over DPO are 41.7, 49.4 and 70.9% at 125M, 350M and 1.3B: "
                "at the smallest size it loses.",
            ),
            (
                "The last model of Llama 3 is the average of those of all six rounds.",
                "Averages are of siblings within one stage, and not of rounds.",
            ),
            (
                "In each round Llama 3 is fine-tuned from the pre-trained model once more.",
                "Yes. What goes from round to round is data: the reward model sees all pairs so far, and "
                "DPO the latest ones.",
            ),
        ),
        right=3,
    ),
    Question(
        ask=(
            "As a secondary source gives its Table 6, Nemotron-4 has 7.90 on MT-Bench after DPO, and 8.21, "
            "8.31 and 8.22 after three rounds of RPO. Somebody concludes that RPO is the better method. "
            "What is wrong with that?"
        ),
        options=(
            (
                "The rounds came after DPO, and on other pairs: more DPO on these is not in the table.",
                "Yes. The rows follow one another, and the two methods' pairs differ, in number too. Our "
                "variant “DPO in every round” is the comparison that the table is not.",
            ),
            (
                "Nothing: one model, one benchmark, and a gain in the first of three rounds.",
                "One model with more training. Between the two rows there are a new reference, other pairs "
                "and a loss that reads scores, and any of them may have done it.",
            ),
            (
                "RPO has no reward model, so that its score cannot be trusted.",
                "RPO needs a score for each answer, and MT-Bench is not that score.",
            ),
            (
                "The third round fell back, so that RPO has over-optimised.",
                "Whether that fall is more than chance the table does not say; IFEval stayed at 79.9.",
            ),
        ),
        right=0,
    ),
    Question(
        ask="What do the reports on InternLM2, DeepSeek-V2 and Starling have in common?",
        options=(
            (
                "They state the weight of the KL to the start.",
                "InternLM2 does, 0.01. DeepSeek-V2 does not print its β, and Starling's beta has a weight "
                "that is not stated.",
            ),
            (
                "They print a benchmark that was lower after learning from rewards than before.",
                "Yes: IFEval of InternLM2-20B went from 48.7 to 42.2, DeepSeek-V2's BBH from 81.3 to 79.7, "
                "and Starling-alpha's MMLU from 64.3 to 63.9, while MT-Bench rose in all three.",
            ),
            (
                "They say what each part of the recipe contributes, in a table of ablations.",
                "DeepSeek-V2 leaves out what each stage contributes, and InternLM2 what either of its two "
                "paths contributes.",
            ),
            (
                "They renew the reward model from round to round.",
                "InternLM2 does, with patches and new labels. Within a release of Starling neither answers "
                "nor rankings nor reward model are renewed.",
            ),
        ),
        right=1,
    ),
    Question(
        ask=(
            "A slide says: “o1 solves 83% of AIME 2024, GPT-4o 13%, thanks to verifiable rewards, a process "
            "reward model and tree search.” How should it be mended?"
        ),
        options=(
            (
                "83% should be 93%, which is o1's result.",
                "93% is one choice among 1000 samples, made by a learned scoring function. It answers "
                "another question than 83%.",
            ),
            (
                "The two numbers are of 64 samples, and what follows “thanks to” must go.",
                "Yes. Of one sample the numbers are 74.4 and 9.3. Of training it is said that a large-scale "
                "algorithm of reinforcement learning was used; which one, with what reward, and whether "
                "there is a search is not. Our recipe is a conjecture, and says so.",
            ),
            (
                "Only tree search must go: the other two follow from the learned scoring function.",
                "The scoring function is named at test time only. What it is remains unsaid.",
            ),
            (
                "83% is o1-preview's, and o1 has 74%.",
                "o1-preview has 44.6. Both 83 and 74.4 are o1's: the consensus of 64 samples, and one "
                "sample.",
            ),
        ),
        right=1,
    ),
)
