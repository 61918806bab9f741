"""A hash of the code that a result depends on, so that no cached result outlives the code that made it."""

import ast
import hashlib
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).parent

# What can change how a result is presented or how fast it comes, but not the result: never followed.
PRESENTATION = ("cli", "code_version", "parallel", "profiles", "progress", "reader")
LISTS = ("rlhf_mini", "rlhf_mini.chapters")  # packages that only name their parts; the parts are followed


@lru_cache(maxsize=64)
def code_version(*modules: str) -> str:
    """Twelve hexadecimal digits that change with the code of these modules and of all that they import.

    Only the library's own modules count, and of these not the ones that merely present (`PRESENTATION`);
    comments and docstrings do not count. Profiles are left out, because a result's own numbers are a part of
    its key.

    Raises:
        ValueError: on a module that the library does not have.
    """
    digest = hashlib.sha256()
    for module, path in sorted(imported_modules(*modules).items()):
        digest.update(module.encode())
        digest.update(ast.dump(_without_docstrings(path.read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:12]


def source_version(source: str) -> str:
    """The code version of all that some Python source imports from the library: of a notebook, say.

    Twelve hexadecimal digits, also where it imports nothing.
    """
    return code_version(*sorted({name for name in names_imported(source) if _file_of(name)}))


def imported_modules(*modules: str) -> dict[str, Path]:
    """These modules and every module of the library that they import, however far down: name → file.

    A package whose `__init__` only lists names of its own modules is not followed as a whole where names are
    imported from it: what counts is the module that each name comes from. So a new loss changes no result
    that does not use it.

    >>> sorted(imported_modules("rlhf_mini.estimators.returns"))
    ['rlhf_mini.estimators.returns', 'rlhf_mini.shapes', 'rlhf_mini.tensors']
    """
    _listed.cache_clear()
    found: dict[str, Path] = {}
    waiting = list(modules)
    for module in modules:
        if _file_of(module) is None:
            raise ValueError(f"the library has no module {module!r}")
    while waiting:
        module = waiting.pop()
        path = _file_of(module)
        if path is None or module in found or _is_ignored(module):
            continue
        found[module] = path
        waiting += names_imported(path.read_text(encoding="utf-8"))
        parent = module.rpartition(".")[0]
        waiting += [parent] if parent and _listed(parent) is None else []
    return found


def names_imported(source: str) -> list[str]:
    """Every dotted name of the library that some Python source imports; the last part may be no module.

    A name that a package merely lists is given as the module that it comes from.
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            listed = _listed(node.module)
            names += [node.module, *inside] if listed is None else [listed.get(n, n) for n in inside]
    return [name for name in names if name.split(".")[0] == "rlhf_mini"]


@cache
def _listed(package: str) -> dict[str, str] | None:
    """Dotted name → the module it comes from, for a package that does nothing but list its modules' names."""
    path = _file_of(package)
    if path is None or path.name != "__init__.py":
        return None
    listed: dict[str, str] = {}
    for node in _without_docstrings(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{package}."):
            listed |= {f"{package}.{alias.asname or alias.name}": node.module for alias in node.names}
        elif not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"):
            return None
    return listed


def _is_ignored(module: str) -> bool:
    return module in LISTS or module.split(".")[1] in PRESENTATION


def _file_of(module: str) -> Path | None:
    parts = module.split(".")
    if parts[0] != "rlhf_mini":
        return None
    place = ROOT.joinpath(*parts[1:])
    candidates = (place / "__init__.py", place.with_suffix(".py")) if parts[1:] else (place / "__init__.py",)
    return next((path for path in candidates if path.is_file()), None)


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree
