"""What a result is worth: intervals, KL, win rates, diversity, lengths, and the records they are kept in."""

from rlhf_mini.evaluation.best_of_n import best_of_n_expectation, best_of_n_kl, best_of_n_kl_bound
from rlhf_mini.evaluation.diversity import distinct_n, diversity, pairwise_overlap, unique_fraction
from rlhf_mini.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    crossed_interval,
    student_interval,
    wilson_interval,
)
from rlhf_mini.evaluation.kl import SampledKL, sampled_kl
from rlhf_mini.evaluation.lengths import length_summary
from rlhf_mini.evaluation.pass_at_k import Vote, majority_at_k, majority_vote, mean_pass_at_k, pass_at_k
from rlhf_mini.evaluation.record_tables import RecordTable, records_table, summarise
from rlhf_mini.evaluation.records import Record, read_records, results_folder, write_records
from rlhf_mini.evaluation.win_rate import WinRate, win_rate

__all__ = [
    "Interval",
    "Record",
    "RecordTable",
    "SampledKL",
    "Vote",
    "WinRate",
    "best_of_n_expectation",
    "best_of_n_kl",
    "best_of_n_kl_bound",
    "bootstrap_interval",
    "crossed_interval",
    "distinct_n",
    "diversity",
    "length_summary",
    "majority_at_k",
    "majority_vote",
    "mean_pass_at_k",
    "pairwise_overlap",
    "pass_at_k",
    "read_records",
    "records_table",
    "results_folder",
    "sampled_kl",
    "student_interval",
    "summarise",
    "unique_fraction",
    "wilson_interval",
    "win_rate",
    "write_records",
]
