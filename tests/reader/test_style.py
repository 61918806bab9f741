"""The palette's promises, computed: contrast on every page, and roles apart under colour blindness."""

import itertools
import re

import numpy as np
import pytest

from rlhf_mini.reader.style import DARK, LIGHT, MIDDLE, ROLES, STYLESHEET, css_colour, role_colour

# The pages our figures stand on: the book, JupyterLab, Colab.
LIGHT_PAGES = ("#ffffff", "#f3f4f5")
DARK_PAGES = ("#121212", "#14181e", "#1e1e1e", "#111111")

# Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB.
DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
PROTANOPIA = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
NORMAL = np.eye(3)


def _linear(colour):
    channel = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)


def _contrast(one, other):
    """The contrast ratio of WCAG 2."""
    dark, light = sorted(float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _lab(linear):
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(matrix) @ np.clip(linear, 0, 1) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def _distance(one, other, vision):
    """ΔE of 1976 as a viewer with this vision sees it; 2.3 is just noticeable."""
    seen = [_lab(np.array(vision) @ _linear(colour)) for colour in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def test_contrast_is_measured_as_wcag_states():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("role", ROLES)
def test_text_in_a_roles_colour_is_readable(role):
    assert min(_contrast(LIGHT[role], page) for page in LIGHT_PAGES[:1]) >= 4.5
    assert min(_contrast(LIGHT[role], page) for page in LIGHT_PAGES) >= 4.2
    assert min(_contrast(DARK[role], page) for page in DARK_PAGES) >= 4.5


@pytest.mark.parametrize("role", ROLES)
def test_middle_tones_show_on_every_page(role):
    assert min(_contrast(MIDDLE[role], page) for page in (*LIGHT_PAGES[:1], *DARK_PAGES)) >= 3


@pytest.mark.parametrize(
    "vision", [NORMAL, DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"]
)
@pytest.mark.parametrize("tones", [LIGHT, DARK], ids=["light", "dark"])
def test_no_two_roles_meet(tones, vision):
    apart = {
        pair: _distance(tones[pair[0]], tones[pair[1]], vision) for pair in itertools.combinations(ROLES, 2)
    }
    assert min(apart.values()) >= 10, min(apart, key=apart.get)
    assert apart["reward", "gold"] >= 55  # proxy and gold stand in one plot and are the point of it


def test_every_role_has_its_tones_and_unknown_roles_are_refused():
    assert set(ROLES) == set(LIGHT) == set(DARK) == set(MIDDLE)
    assert len(set(MIDDLE.values())) == len(ROLES)
    assert css_colour("policy") == f"var(--rm-policy,{role_colour('policy')})"
    with pytest.raises(ValueError, match=r"'teacher'.*data, policy"):
        role_colour("teacher")


def test_stylesheet_reaches_our_outputs_only():
    """Every rule is about .rm or a class that begins with rm-, so that a page around it keeps its looks."""
    flat = re.sub(r"@media[^{]*\{(.*?\})\}", r"\1", STYLESHEET)
    for selectors, _ in re.findall(r"([^{}]+)\{([^{}]*)\}", flat):
        for selector in selectors.split(","):
            assert ".rm" in selector, selector
    assert STYLESHEET.count("{") == STYLESHEET.count("}")
    assert not re.search(r"url\(|@import", STYLESHEET)  # nothing is fetched
