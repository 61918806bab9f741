"""A hash of the code that results depend on, so that a cached result never outlives the code that made it."""

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

# what can change how a result is presented or measured, but not the result of a stage
IGNORED = (
    "__init__.py",
    "reader",
    "evaluation",
    "cli.py",
    "parallel.py",
    "phenomena.py",
    "profiles.py",
    "progress.py",
    "text_report.py",
)


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


@lru_cache(maxsize=1)
def code_version() -> str:
    """Twelve hexadecimal digits that change with the library's code, not with its comments and docstrings.

    Profiles are left out: a stage's own numbers are a part of its key.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in IGNORED:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(_without_docstrings(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:12]
