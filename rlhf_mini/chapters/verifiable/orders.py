"""Where a solution writes the carry: after the column's digits, as the lessons do, or in front of them, as people like it."""

from rlhf_mini.worlds.sums import Step, read_solution, read_sum

Carried = tuple[Step, list[int], int]  # a step, the digits of its column, and the carry that came into it


def carried_steps(prompt: str, text: str) -> list[Carried]:
    """The steps of a solution that a carry comes into, as it was written, with the column's own digits.

    >>> carried_steps("27+58", "7+8=15 2+5+1=8 =85")
    [(Step(terms=(2, 5, 1), total=8), [2, 5], 1)]
    """
    steps, columns = read_solution(text).steps, read_sum(prompt).columns
    carries = [0, *(step.total // 10 for step in steps)]
    return [
        (step, column, carry)
        for step, column, carry in zip(steps, columns, carries[: len(steps)], strict=False)
        if carry
    ]


def carry_in_front(prompt: str, solution: str) -> str:
    """A worked solution with every carry moved in front of its column's digits.

    >>> carry_in_front("27+58", "7+8=15 2+5+1=8 =85")
    '7+8=15 1+2+5=8 =85'
    """
    written = solution
    for step, column, carry in carried_steps(prompt, solution):
        if len(step.terms) == len(column) + 1 and step.terms[-1] == carry:
            turned = (carry, *step.terms[:-1])
            written = written.replace(_sum_of(step.terms), _sum_of(turned), 1)
    return written


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
            for step, column, carry in steps
        )
    )


def has_carry(prompt: str) -> bool:
    """Whether a column but the last adds up to more than nine, so that a carry comes into the next one.

    >>> has_carry("27+58"), has_carry("21+53"), has_carry("81+53")
    (True, False, False)
    """
    carry = 0
    for column in read_sum(prompt).columns[:-1]:
        carry = (sum(column) + carry) // 10
        if carry:
            return True
    return False


def _sum_of(terms: tuple[int, ...]) -> str:
    return " " + "+".join(map(str, terms)) + "="
