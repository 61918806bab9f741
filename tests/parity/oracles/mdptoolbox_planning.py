"""pymdptoolbox's policy iteration and value iteration. (Its PolicyIterationModified is wrong; not asked.)"""

import sys

import torch


def main(questions: str, answers: str) -> None:
    """The best values of every state, twice."""
    from mdptoolbox import mdp

    q = torch.load(questions, weights_only=True)
    transitions = q["transitions"].transpose(0, 1).contiguous().numpy()  # theirs are (A, S, S)
    rewards, discount = q["rewards"].numpy(), float(q["discount"])
    by_policy = mdp.PolicyIteration(transitions, rewards, discount, eval_type=0)
    # They stop when the span of a change is below ε (1 − γ)/γ.
    by_value = mdp.ValueIteration(transitions, rewards, discount, epsilon=1e-10, max_iter=100_000)
    found = {}
    for name, solver in (("policy_iteration", by_policy), ("value_iteration", by_value)):
        solver.run()
        found[name] = torch.tensor(solver.V, dtype=torch.float64)
    torch.save(found, answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
