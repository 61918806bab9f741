"""choix: the likelihood of pairs, rankings and first choices, and the parameters that make them likeliest."""

import sys

import torch


def main(questions: str, answers: str) -> None:
    """The rankings as they are, as all their pairs, and as the choice of the first."""
    import choix

    q = torch.load(questions, weights_only=True)
    params, rankings = q["params"].numpy(), [tuple(row) for row in q["rankings"].tolist()]
    data = {
        "rankings": rankings,
        "pairs": [(a, b) for row in rankings for i, a in enumerate(row) for b in row[i + 1 :]],
        "top1": [(row[0], row[1:]) for row in rankings],
    }
    likelihoods = {
        "rankings": (choix.log_likelihood_rankings, choix.opt_rankings),
        "pairs": (choix.log_likelihood_pairwise, choix.opt_pairwise),
        "top1": (choix.log_likelihood_top1, choix.opt_top1),
    }
    found = {}
    for name, (likelihood, optimum) in likelihoods.items():
        found[f"{name}_likelihood"] = torch.tensor(likelihood(data[name], params), dtype=torch.float64)
        best = optimum(len(params), data[name], alpha=0.1, tol=1e-10)
        found[f"{name}_best"] = torch.tensor(best, dtype=torch.float64)
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
