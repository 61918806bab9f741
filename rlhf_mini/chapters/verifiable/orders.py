"""Where a solution writes the carry: after the column's digits, as the lessons do, or in front of them, as people like it."""

from rlhf_mini.worlds.sums import Step, read_solution, read_sum

Carried = tuple[
    int, Step, list[int], int
]  # where a step stands, the step, its column's digits, the carry into it


def carried_steps(prompt: str, text: str) -> list[Carried]:
    """The steps of a solution that a carry comes into, as it was written.

    >>> carried_steps("27+58", "7+8=15 2+5+1=8 =85")
    [(1, Step(terms=(2, 5, 1), total=8), [2, 5], 1)]
    """
    steps, columns = read_solution(text).steps, read_sum(prompt).columns
    carries = [0, *(step.total // 10 for step in steps)]
    seen = zip(range(len(steps)), steps, columns, carries, strict=False)
    return [(place, step, column, carry) for place, step, column, carry in seen if carry]


def carry_in_front(prompt: str, solution: str) -> str:
    """A worked solution with every carry moved in front of its column's digits.

    >>> carry_in_front("27+58", "7+8=15 2+5+1=8 =85")
    '7+8=15 1+2+5=8 =85'
    """
    parts = solution.split(" ")
    for place, step, column, carry in carried_steps(prompt, solution):
        if len(step.terms) == len(column) + 1 and step.terms[-1] == carry:
            parts[place] = "+".join(map(str, (carry, *step.terms[:-1]))) + f"={step.total}"
    return " ".join(parts)


def carries_first(prompt: str, text: str) -> float:
    """1 if a carry is written and each stands in front of its column's digits, else 0. The sum is not checked.

    A carry is read as one that stands in front unless the step begins with the digits of its column.

    >>> [carries_first("27+58", text) for text in ("7+8=15 1+2+5=8 =85", "7+8=15 2+5+1=8 =85", "=85")]
    [1.0, 0.0, 0.0]
    """
    steps = carried_steps(prompt, text)
    return float(
        bool(steps)
        and all(
            step.terms[0] == carry and list(step.terms[: len(column)]) != column
            for _, step, column, carry in steps
        )
    )


def has_carry(prompt: str) -> bool:
    """Whether a column but the last adds up to more than nine, so that a carry comes into the next one.

    >>> has_carry("27+58"), has_carry("21+53"), has_carry("81+53")
    (True, False, False)
    """
    return any(sum(column) > 9 for column in read_sum(prompt).columns[:-1])
