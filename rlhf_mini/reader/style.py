"""One look for everything the book shows: a colour for each role, and the small stylesheet that outputs
carry.

Every role has three tones: one for light pages, one for dark pages (both at least 4.5:1 against their page,
so that coloured text is readable) and a middle one that shows at 3:1 on either, for a viewer that drops
stylesheets. Neutral ink is the page's own text colour (`currentColor`). So no figure needs to know which
theme it is on.

The tones descend from the palette of Okabe and Ito (2008), with lightness spread so that no two roles meet
under deuteranopia or protanopia; the tests simulate both.
"""

from types import MappingProxyType

# What a colour means, in every figure of the book.
ROLES = MappingProxyType(
    {
        "data": "data: prompts, texts, demonstrations, comparisons",
        "policy": "the model that is trained to write",
        "reference": "the frozen model that the policy is held near",
        "reward": "the reward model, and the proxy score that it gives",
        "gold": "the gold reward: the truth of the story world",
        "value": "the value model, and what it expects",
        "loss": "a loss, and the gradient that comes from it",
    }
)

LIGHT = MappingProxyType(
    {
        "data": "#007a5a",
        "policy": "#0067b0",
        "reference": "#3a434d",
        "reward": "#a8407c",
        "gold": "#8f6500",
        "value": "#007e98",
        "loss": "#932300",
    }
)
DARK = MappingProxyType(
    {
        "data": "#2fbf93",
        "policy": "#5ba6ee",
        "reference": "#cdd4dc",
        "reward": "#e07db6",
        "gold": "#edb733",
        "value": "#6fd3ec",
        "loss": "#ff7a45",
    }
)
MIDDLE = MappingProxyType(
    {
        "data": "#009e73",
        "policy": "#2c86c8",
        "reference": "#7b838d",
        "reward": "#c25a98",
        "gold": "#a97b0c",
        "value": "#1f93ad",
        "loss": "#d55e00",
    }
)
INK = "#757779"  # stands for the page's text colour until a figure's svg is themed

# Pages that the outputs appear on: the book, JupyterLab, Colab, VS Code.
_DARK_PAGES = (
    'html[data-theme="dark"]',
    'body[data-jp-theme-light="false"]',
    'html[theme="dark"]',
    "body.vscode-dark",
)


def role_colour(role: str) -> str:
    """The middle tone of a role, for use in matplotlib; `picture` replaces it by the tone of the reader's
    page.

    Raises:
        ValueError: on an unknown role, listing those there are.

    Example:
        >>> role_colour("gold")
        '#a97b0c'
    """
    if role not in MIDDLE:
        raise ValueError(f"unknown role {role!r}; a colour means one of {', '.join(MIDDLE)}")
    return MIDDLE[role]


def css_colour(role: str) -> str:
    """The role's colour as CSS: a variable that follows the page's theme, with the middle tone as its
    fallback.

    Example:
        >>> css_colour("gold")
        'var(--rm-gold,#a97b0c)'
    """
    return f"var(--rm-{role},{role_colour(role)})"


# What matplotlib draws with. Text stays text (selectable, small); widths are those of DejaVu Sans, which
# comes with matplotlib, so the layout is the same on every machine.
MATPLOTLIB = MappingProxyType(
    {
        "svg.hashsalt": "rlhf-mini",
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans"],
        "font.size": 10.5,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.labelsize": 10.5,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": INK,
        "grid.alpha": 0.18,
        "grid.linewidth": 0.7,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "figure.dpi": 72,
        "lines.linewidth": 2.0,
        "lines.solid_capstyle": "round",
        "patch.linewidth": 1.2,
        "legend.frameon": False,
    }
)


def _variables(tones: MappingProxyType) -> str:
    return "".join(f"--rm-{role}:{tone};" for role, tone in tones.items())


# Doubled, `.rm.rm` outweighs what JupyterLab and the book's theme say about bare elements.
_LAYOUT = """
.rm{font-size:.95rem;line-height:1.45;max-width:100%;color:inherit;
--rm-page:var(--pst-color-background,var(--jp-layout-color0,transparent));
--rm-line:color-mix(in srgb,currentColor 25%,transparent);
--rm-tint:color-mix(in srgb,currentColor 5%,transparent)}
.rm.rm figure{margin:.25rem 0}
.rm.rm figcaption,.rm.rm caption{caption-side:bottom;text-align:left;font-size:.88em;
opacity:.85;padding-top:.35rem;color:inherit}
.rm.rm svg{display:block;width:100%;height:auto;overflow:visible}
.rm-panels{display:flex;flex-wrap:wrap;gap:.75rem 2rem}
.rm-panels>*{flex:1 1 18rem;min-width:0}
.rm.rm table{border-collapse:collapse;display:block;overflow-x:auto;max-width:100%;border:0;
background:none;color:inherit;margin:0}
.rm.rm th,.rm.rm td{padding:.3rem .7rem;text-align:right;border:0;
border-bottom:1px solid var(--rm-line);background:none;
color:inherit;font-variant-numeric:tabular-nums}
.rm.rm th{font-weight:600}
.rm.rm td{white-space:nowrap}
.rm.rm th:first-child{text-align:left;padding-left:0}
.rm.rm tr{background:none!important}
.rm-prompt{font-weight:600;margin:.6rem 0 .4rem}
.rm-cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,13rem),1fr));gap:.75rem}
.rm-card{border:1px solid var(--rm-line);border-top:3px solid var(--rm-role,currentColor);border-radius:4px;
padding:.5rem .7rem;background:var(--rm-tint);min-width:0}
.rm.rm h4{margin:0 0 .3rem;font-size:1em;font-weight:600;color:var(--rm-role,inherit)}
.rm.rm p{margin:0 0 .5rem;white-space:pre-wrap;overflow-wrap:anywhere}
.rm-scores{display:flex;flex-wrap:wrap;gap:.3rem;font-size:.85em}
.rm-scores span{padding:.05rem .45rem;border-radius:1em;border:1px solid var(--rm-role,var(--rm-line));
font-variant-numeric:tabular-nums}
.rm-scores b{font-weight:600;color:var(--rm-role,inherit)}
.rm.rm pre{margin:0;padding:.6rem .8rem;overflow-x:auto;font-size:.85rem;line-height:1.45;
border:1px solid var(--rm-line);
border-radius:4px;background:var(--rm-tint);color:inherit;white-space:pre;tab-size:4}
.rm.rm summary{cursor:pointer;font-size:.88rem}
.rm-where,.rm.rm details{font-size:.88rem;margin:.5rem 0 .2rem}
@media (max-width:480px){.rm.rm td,.rm.rm th{padding:.3rem .45rem;font-size:.9em}.rm.rm pre{font-size:.76rem}}
.rm.rm code{background:none!important;color:inherit;padding:0;border:0;font-size:inherit;
white-space:inherit!important}
.rm-k{color:var(--rm-policy)}.rm-s{color:var(--rm-data)}.rm-c{opacity:.75;font-style:italic}
.rm-n{color:var(--rm-reward)}.rm-d{color:var(--rm-loss)}.rm-f{font-weight:600}
.rm-slider{display:flex;align-items:center;gap:.75rem;margin:.3rem 0}
.rm-slider input{flex:1 1 auto;min-width:0;max-width:26rem;height:1.8rem;accent-color:var(--rm-policy)}
.rm-slider output{font-variant-numeric:tabular-nums;min-width:4rem}
.rm-meta{font-size:.85em;opacity:.85}
.rm-exercise h4{white-space:pre-wrap;overflow-wrap:anywhere}
.rm-exercise details{padding-left:.2rem}
.rm.rm fieldset{border:0;border-left:3px solid var(--rm-line);margin:0 0 1rem;padding:.1rem 0 .1rem .8rem;
min-width:0;display:grid;grid-template-columns:auto 1fr;gap:.25rem .5rem;align-items:start}
.rm.rm legend{float:none;grid-column:1/-1;font-weight:600;padding:0;
margin:0 0 .2rem;font-size:1em;border:0;width:auto;color:inherit}
.rm-quiz input{margin:.3em 0 0;accent-color:var(--rm-policy)}
.rm-quiz label{margin:0;cursor:pointer}
.rm.rm fieldset p{display:none;grid-column:2;margin:0 0 .4rem;font-size:.95em}
.rm.rm fieldset input:checked+label+p{display:block}
.rm-yes,p.rm-yes b{color:var(--rm-data)}.rm-no,p.rm-no b{color:var(--rm-loss)}
.rm.rm p.rm-yes,.rm.rm p.rm-no{color:inherit}
.rm.rm ol.rm-ladder{list-style:none;margin:0;padding:0}
.rm.rm .rm-ladder li{display:grid;grid-template-columns:minmax(9rem,1fr) 2fr 2fr;gap:.1rem 1rem;margin:0;
padding:.4rem .7rem;border-left:4px solid var(--rm-role);border-bottom:1px solid var(--rm-line)}
.rm-ladder b,.rm-claims b{color:var(--rm-role)}
.rm.rm ul.rm-claims{margin:0;padding-left:1.1rem}
.rm-claims li{margin:0 0 .5rem}.rm-claims b{display:block;font-weight:600;font-size:.88em}
@media (max-width:600px){.rm.rm .rm-ladder li{grid-template-columns:1fr}}
"""

# The book's theme lays every HTML output of a dark page on a light card, for outputs that cannot adapt.
_BOOK = (
    'html[data-theme="dark"] .bd-content div.cell_output .text_html:has(.rm)'
    "{background:none!important;color:inherit!important;padding:0!important}"
)

STYLESHEET = (
    f".rm{{{_variables(LIGHT)}}}"
    + ",".join(f"{page} .rm" for page in _DARK_PAGES)
    + f"{{{_variables(DARK)}}}"
    + _LAYOUT.replace("\n", "")
    + _BOOK
)
