"""choix: the scores of Bradley and Terry that make a table of wins likeliest, centred."""

import sys

import torch


def main(questions: str, answers: str) -> None:
    """By Newton's method, and by the iterative spectral ranking that choix is known for."""
    import choix

    wins = torch.load(questions, weights_only=True)["wins"].long().tolist()
    pairs = [(i, j) for i, row in enumerate(wins) for j, count in enumerate(row) for _ in range(count)]
    found = {
        "newton": choix.opt_pairwise(len(wins), pairs, alpha=1e-9, tol=1e-10),
        "spectral": choix.ilsr_pairwise(len(wins), pairs, alpha=0.0, tol=1e-12),
    }
    centred = {
        name: torch.tensor(scores - scores.mean(), dtype=torch.float64) for name, scores in found.items()
    }
    torch.save(centred, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
