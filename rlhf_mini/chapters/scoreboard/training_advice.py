"""The practical guide's advice on training: what to watch, learning rates, batch sizes, and what KL to allow.

Each piece leans on runs on record or on numbers that are computed here; see `evidence`.
"""

from rlhf_mini.chapters.scoreboard.evidence import Advice, Computed, Number, Run, Shown, table_of
from rlhf_mini.evaluation.best_of_n import best_of_n_kl_bound
from rlhf_mini.profiles import QUICK

_end, _ppo_claim = table_of("05", "details"), table_of("05", "claims")
_row, _direct, _sums = table_of("00", "scoreboard"), table_of("07", "runs"), table_of("12", "runs")
_filter, _short = table_of("09", "runs"), table_of("02", "training choices")


def _rate(stage: str) -> Number:
    return Computed(lambda: getattr(QUICK, stage).optimizer.learning_rate, 3)


MONITOR = (
    Advice(
        topic="what to watch",
        do="Judge samples of every run by something that nobody optimises, beside the proxy; and read ten of them.",
        chapter="00",
        record=Shown(
            says="PPO without a price of KL has the higher proxy, {proxy} against {proxy_ppo}, and gold {gold} against {gold_ppo}.",
            numbers={
                "proxy": _row("PPO without KL", "proxy"),
                "proxy_ppo": _row("PPO", "proxy"),
                "gold": _row("PPO without KL", "gold"),
                "gold_ppo": _row("PPO", "gold"),
            },
            holds=lambda n: n["proxy"] > n["proxy_ppo"] and n["gold"] < n["gold_ppo"] - 1,
            runs=(Run("05", "texts", "β = 0"),),
        ),
    ),
    Advice(
        topic="what to watch",
        do="Log the mean of |ρ − 1| on the first minibatch of every draw, and stop the run where it is not rounding.",
        chapter="05",
        record=Shown(
            says="It is {dropout} with dropout and {cooled} with a cooled sampler; gold, {dropout_gold} and {cooled_gold}, would not have told.",
            numbers={
                "dropout": _ppo_claim("ratio check", "ratio 0.1 while learning", 3),
                "cooled": _ppo_claim("ratio check", "ratio sampled at 0.7, scored at 1", 3),
                "dropout_gold": _ppo_claim("ratio check", "gold 0.1 while learning"),
                "cooled_gold": _ppo_claim("ratio check", "gold sampled at 0.7, scored at 1"),
                "gold": _ppo_claim("ratio check", "gold ours"),
            },
            holds=lambda n: min(n["dropout"], n["cooled"]) > 0.01 and min(n["dropout_gold"], n["cooled_gold"]) > n["gold"] - 0.5,
        ),
    ),
    Advice(
        topic="what to watch",
        do="Watch variety and the loss on plain text beside gold: they are what a rising reward is paid with.",
        chapter="05",
        record=Shown(
            says="With gold {gold} instead of {sft_gold}, PPO has {distinct} distinct pairs of words instead of {sft_distinct}, and a plain story costs {nats} nats instead of {sft_nats}.",
            numbers={
                "gold": _row("PPO", "gold"),
                "sft_gold": _row("SFT", "gold"),
                "distinct": _row("PPO", "distinct_2", 0, percent=True),
                "sft_distinct": _row("SFT", "distinct_2", 0, percent=True),
                "nats": _ppo_claim("alignment tax", "document_nats ours", 0),
                "sft_nats": _ppo_claim("alignment tax", "document_nats sft", 0),
            },
            holds=lambda n: n["gold"] > n["sft_gold"] and n["distinct"] < n["sft_distinct"] and n["nats"] > n["sft_nats"] + 5,
        ),
    ),
    Advice(
        topic="what to watch",
        do="Report what must not be lost by itself: unkind and kind requests apart, and the share of answers that end.",
        chapter="07",
        record=Shown(
            says="SimPO has more gold than the SFT model, {gold} against {sft_gold}, and declines {declined} of the unkind requests instead of {sft_declined}.",
            numbers={
                "gold": _direct("SimPO", "gold"),
                "sft_gold": _direct("SFT", "gold"),
                "declined": _direct("SimPO", "unkind_declined", 0, percent=True),
                "sft_declined": _direct("SFT", "unkind_declined", 0, percent=True),
            },
            holds=lambda n: n["gold"] > n["sft_gold"] + 0.2 and n["declined"] < n["sft_declined"] - 0.3,
        ),
    ),
)  # fmt: skip

TRAINING = (
    Advice(
        topic="learning rates",
        do="Run a third of your rate beside it. If gold hardly changes, keep the smaller one.",
        chapter="05",
        record=Shown(
            says="PPO at {rate} ends with gold {gold} at {kl} nats, at a third of it with {low} at {low_kl}, and at three times with {high} at {high_kl}.",
            numbers={
                "rate": _rate("ppo"),
                "gold": _end("ours", "gold"),
                "kl": _end("ours", "kl_k1", 1),
                "low": _end("÷ 3", "gold"),
                "low_kl": _end("÷ 3", "kl_k1", 1),
                "high": _end("× 3", "gold"),
                "high_kl": _end("× 3", "kl_k1", 1),
            },
            holds=lambda n: n["gold"] - n["high"] > 0.3 > n["gold"] - n["low"] and n["low_kl"] < n["kl"] < n["high_kl"],
        ),
    ),
    Advice(
        topic="learning rates",
        do="For models of this book's size, begin with the rates of its quick profile; find your own for others.",
        chapter="00",
        record=Shown(
            says="Pretraining {pretrain}, fine-tuning {sft}, the reward model {reward}, PPO {ppo}: with these the SFT model has gold {gold_sft}, and PPO {gold}.",
            numbers={
                "pretrain": _rate("pretrain"),
                "sft": _rate("sft"),
                "reward": _rate("reward_model"),
                "ppo": _rate("ppo"),
                "gold_sft": _row("SFT", "gold"),
                "gold": _row("PPO", "gold"),
            },
            holds=lambda n: n["ppo"] < min(n["pretrain"], n["sft"], n["reward"]) and n["gold"] > n["gold_sft"] + 0.5,
        ),
    ),
    Advice(
        topic="learning rates",
        do="Warm up when training from nothing.",
        chapter="02",
        record=Shown(
            says="A short pretraining ends at {cold} nats a token without warm-up, at {usual} with it, and at {fast} with four times the rate.",
            numbers={
                "cold": _short("no warm-up", "held_out"),
                "usual": _short("unchanged", "held_out"),
                "fast": _short("rate × 4", "held_out"),
            },
            holds=lambda n: n["usual"] < n["cold"] - 0.3 and n["usual"] < n["fast"] - 0.5,
        ),
    ),
    Advice(
        topic="learning rates",
        do="A method that learns from its own filtered answers has its rate, too: more than twice the best is over-optimisation.",
        chapter="09",
        record=Shown(
            says="RAFT too fast ends with gold {gold} instead of {usual}, which the reward model scores {proxy} instead of {usual_proxy}.",
            numbers={
                "gold": _filter("RAFT, too fast", "gold"),
                "usual": _filter("RAFT", "gold"),
                "proxy": _filter("RAFT, too fast", "proxy"),
                "usual_proxy": _filter("RAFT", "proxy"),
            },
            holds=lambda n: n["gold"] < n["usual"] - 0.1 and n["proxy"] > n["usual_proxy"] + 0.1,
        ),
    ),
    Advice(
        topic="batch sizes",
        do="Choose PPO's minibatch by memory and speed; gold hardly depends on it.",
        chapter="05",
        record=Shown(
            says="With half the minibatch of {minibatch} gold is {half}, with twice {double}, with ours {gold}.",
            numbers={
                "minibatch": Computed(lambda: QUICK.ppo.minibatch, 0),
                "half": _end("minibatch halved", "gold"),
                "double": _end("minibatch doubled", "gold"),
                "gold": _end("ours", "gold"),
            },
            holds=lambda n: max(abs(n["half"] - n["gold"]), abs(n["double"] - n["gold"])) < 0.2,
        ),
    ),
    Advice(
        topic="batch sizes",
        do="When pretraining must be short, take more steps on smaller batches.",
        chapter="02",
        record=Shown(
            says="A short pretraining in a quarter of the steps with four times the batch ends at {large} nats a token instead of {usual}.",
            numbers={
                "large": _short("batch 64", "held_out"),
                "usual": _short("unchanged", "held_out"),
            },
            holds=lambda n: n["large"] > n["usual"] + 0.5,
        ),
    ),
    Advice(
        topic="batch sizes",
        do="Take groups large enough that few of them are without spread; beyond that, more prompts are worth more than larger groups.",
        chapter="12",
        record=Shown(
            says="At equally many answers, of groups of 2 {idle_2} are without spread at first, of groups of 8 {idle_8}; right in the end are {right_2}, {right_8}, and with groups of 32 {right_32}.",
            numbers={
                "idle_2": _sums("G = 2", "without_spread_first", 0, percent=True),
                "idle_8": _sums("GRPO", "without_spread_first", 0, percent=True),
                "right_2": _sums("G = 2", "answer_right", 0, percent=True),
                "right_8": _sums("GRPO", "answer_right", 0, percent=True),
                "right_32": _sums("G = 32", "answer_right", 0, percent=True),
            },
            holds=lambda n: n["idle_2"] > 0.3 > 0.05 > n["idle_8"] and n["right_8"] > n["right_32"],
        ),
    ),
    Advice(
        topic="batch sizes",
        do="Reuse a draw only with a clip that holds it, and see first that it pays: it did on sums and did not on stories.",
        chapter="12",
        record=Shown(
            says="With eight steps on every draw GRPO ends with {reused} right instead of {once}, REINFORCE, which nothing holds, with {free}; PPO on stories has gold {four} after four epochs on a draw and {one} after one.",
            numbers={
                "reused": _sums("GRPO, reused", "answer_right", 0, percent=True),
                "once": _sums("GRPO", "answer_right", 0, percent=True),
                "free": _sums("REINFORCE, reused", "answer_right", 0, percent=True),
                "four": _end("4 epochs", "gold"),
                "one": _end("ours", "gold"),
            },
            holds=lambda n: n["reused"] > n["once"] + 0.02 and n["free"] < 0.05 and n["four"] < n["one"] - 0.2,
        ),
    ),
)  # fmt: skip

KL = (
    Advice(
        topic="KL budgets",
        do="Run β at three values a factor of four or so apart, and look at gold, not at KL.",
        chapter="05",
        record=Shown(
            says="Gold is {zero} at β = 0, {little} at 0.01, {ours} at 0.05, {more} at 0.2 and {most} at 1, at {kl_zero}, {kl_little}, {kl}, {kl_more} and {kl_most} nats.",
            numbers={
                "zero": _end("β = 0", "gold"),
                "little": _end("β = 0.01", "gold"),
                "ours": _end("ours", "gold"),
                "more": _end("β = 0.2", "gold"),
                "most": _end("β = 1", "gold"),
                "kl_zero": _end("β = 0", "kl_k1", 0),
                "kl_little": _end("β = 0.01", "kl_k1", 0),
                "kl": _end("ours", "kl_k1", 0),
                "kl_more": _end("β = 0.2", "kl_k1", 0),
                "kl_most": _end("β = 1", "kl_k1", 0),
            },
            holds=lambda n: max(n["zero"], n["little"], n["most"]) < n["ours"] - 0.3 and n["kl_zero"] > n["kl_little"] > n["kl"] > n["kl_more"] > n["kl_most"],
        ),
    ),
    Advice(
        topic="KL budgets",
        do="If you know the KL that you want and not the β, let β adapt.",
        chapter="05",
        record=Shown(
            says="Started at 0.05 and at 0.5, β ends at {weight} and {other}, and the KL at {kl} and {other_kl} nats.",
            numbers={
                "weight": _ppo_claim("adaptive β", "last_kl_weight adaptive, from 0.05"),
                "other": _ppo_claim("adaptive β", "last_kl_weight adaptive, from 0.5"),
                "kl": _ppo_claim("adaptive β", "last_kl_k1 adaptive, from 0.05", 1),
                "other_kl": _ppo_claim("adaptive β", "last_kl_k1 adaptive, from 0.5", 1),
            },
            holds=lambda n: 1 / 3 < n["weight"] / n["other"] < 3 and 1 / 2 < n["kl"] / n["other_kl"] < 2,
        ),
    ),
    Advice(
        topic="KL budgets",
        do="Pay KL in the reward, or as k2 or k3 in the loss, where the same β is another price; never as k1 in the loss.",
        chapter="12",
        record=Shown(
            says="At one weight the policy ends at {reward} nats if KL is paid in the reward and at {k1} with k1 in the loss; on sums, at {sums_k3} with k3 and at {sums_k1} with k1.",
            numbers={
                "reward": _end("ours", "kl_k1", 0),
                "k1": _end("k1 in the loss", "kl_k1", 0),
                "sums_k3": _sums("KL k3 in the loss", "kl_k1", 1),
                "sums_k1": _sums("KL k1 in the loss", "kl_k1", 0),
            },
            holds=lambda n: n["k1"] > 4 * n["reward"] and n["sums_k1"] > 2 * n["sums_k3"],
        ),
    ),
    Advice(
        topic="KL budgets",
        do="Bring the reward's scores to deviation 1 before you choose β.",
        chapter="05",
        record=Shown(
            says="With scores ten times as large gold ends at {ten} instead of {gold}, at {kl} nats.",
            numbers={
                "ten": _end("scores × 10", "gold"),
                "gold": _end("ours", "gold"),
                "kl": _end("scores × 10", "kl_k1", 0),
            },
            holds=lambda n: n["ten"] < n["gold"] - 0.5,
        ),
    ),
    Advice(
        topic="KL budgets",
        do="Ask first what best of n gives: for the answers at hand it is the cheapest in KL, and needs no training.",
        chapter="00",
        record=Shown(
            says="The best of 16 has gold {best} at no more than {bound} nats, PPO {gold} at {kl}.",
            numbers={
                "best": _row("best of 16", "gold"),
                "bound": Computed(lambda: best_of_n_kl_bound(16)),
                "gold": _row("PPO", "gold"),
                "kl": _row("PPO", "kl_k3", 1),
            },
            holds=lambda n: n["best"] > n["gold"] - 0.2 and n["bound"] < n["kl"] / 2,
        ),
    ),
)  # fmt: skip

TRAINING_ADVICE = (*MONITOR, *TRAINING, *KL)
