"""Shows the library's own source in a chapter, so that what is read is what runs."""

import html
import inspect
from collections.abc import Callable
from types import ModuleType

from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token

from rlhf_mini.reader.picture import Picture

_LONG = 25
# From the general to the particular: the last kind that a token belongs to decides.
_CLASSES = (
    (Keyword, "k"),
    (Operator.Word, "k"),
    (String, "s"),
    (Number, "n"),
    (Comment, "c"),
    (Name.Decorator, "d"),
    (Name.Function, "f"),
    (Name.Class, "f"),
)


def _highlighted(source: str) -> str:
    """The source as HTML whose colours come from the stylesheet, and so follow the page's theme."""
    parts = []
    for token, text in PythonLexer().get_tokens(source):
        kinds = [name for kind, name in _CLASSES if token in kind]
        escaped = html.escape(text, quote=False)
        parts.append(
            f'<span class="rm-{kinds[-1]}">{escaped}</span>' if kinds and token is not Token.Text else escaped
        )
    return "".join(parts).rstrip("\n")


Shown = Callable | type | ModuleType


def _where(shown: Shown) -> str:
    """The object's file as it stands in the repository, and its name. No line numbers: they would rot."""
    module = inspect.getmodule(shown)
    if module is None:
        raise ValueError(f"{shown!r} belongs to no module, so its source has no home to name")
    path = module.__name__.replace(".", "/") + ("/__init__.py" if hasattr(module, "__path__") else ".py")
    return path if isinstance(shown, ModuleType) else f"{path} · {shown.__qualname__}"


def _source(shown: Shown) -> str:
    try:
        return inspect.cleandoc("\n" + inspect.getsource(shown)).rstrip()
    except (TypeError, OSError) as error:
        raise ValueError(
            f"no Python source for {shown!r}. Pass a function, class or module, not a value or a builtin."
        ) from error


def show_source(*shown: Shown) -> Picture:
    """The source of functions, classes or modules, highlighted; sources of more than 25 lines can be folded
    away.

    Where HTML is not shown, the plain source stands in its place.

    Raises:
        ValueError: on something without Python source.
    """
    if not shown:
        raise ValueError("show_source needs a function, class or module")
    bodies, texts = [], []
    for one in shown:
        source, where = _source(one), _where(one)
        code = f'<pre tabindex="0"><code>{_highlighted(source)}</code></pre>'
        lines = source.count("\n") + 1
        if lines > _LONG:
            bodies.append(
                f"<details open><summary><code>{html.escape(where)}</code> · {lines} lines</summary>"
                f"{code}</details>"
            )
        else:
            bodies.append(f'<div class="rm-where"><code>{html.escape(where)}</code></div>{code}')
        texts.append(f"# {where}\n{source}")
    return Picture("".join(bodies), "\n\n".join(texts))
