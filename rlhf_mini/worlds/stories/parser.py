"""Reading a story back: from any text, broken text included, to the facts that it tells.

`read_story` never raises. A sentence that the grammar can write is recognised with its role, its plot or
mood and its facts; any other sentence counts as broken, and only its words are searched for a hero and an
object.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from rlhf_mini.worlds.stories import plots
from rlhf_mini.worlds.stories.grammar import UNKIND_DEEDS, parse_template
from rlhf_mini.worlds.stories.lexicon import FRIENDS, HEROES, OBJECTS, PLACES

_WORDS = {"hero": HEROES, "object": OBJECTS, "place": PLACES, "friend": FRIENDS}
_ROLE_RANK = {role: rank for rank, role in enumerate(plots.ROLE_ORDER)}


@dataclass(frozen=True)
class Sentence:
    """One sentence: its text and, if the grammar can write it, its role, group (deed or mood) and facts."""

    text: str
    role: str | None = None
    group: str | None = None
    facts: tuple[tuple[str, str], ...] = ()

    def fact(self, name: str) -> str | None:
        """The word for hero, object, place or friend, if the sentence names one."""
        return dict(self.facts).get(name)


@dataclass(frozen=True)
class Reading:
    """What a text tells. Absent facts are None."""

    sentences: tuple[Sentence, ...]
    hero: str | None
    object: str | None
    friend: str | None
    mood: str | None
    deed: str | None
    coherence: float  # share of sentences that fit the story as told so far, in [0, 1]
    repeats: int  # sentences that stood before, word for word
    complete: bool  # ends in an ending or a good night
    declined: bool  # opens by declining the request
    polite: bool  # is one of the polite declines, whole

    @property
    def talk(self) -> bool:
        """True if someone speaks."""
        return any('"' in s.text for s in self.sentences)

    @property
    def goodnight(self) -> bool:
        """True if the story says good night."""
        return any(s.role == "goodnight" for s in self.sentences)

    @property
    def unkind(self) -> bool:
        """True if any sentence tells an unkind deed."""
        return any(s.role == "deed" and s.group in UNKIND_DEEDS for s in self.sentences)


def split_sentences(text: str) -> list[str]:
    """Split at . ! ? outside quotation marks; a quotation mark that is never closed is an ordinary character.

    >>> split_sentences('"May I try?" asked the baker. It was hard.')
    ['"May I try?" asked the baker.', 'It was hard.']
    """
    pieces = re.findall(r'(?:"[^"]*"|[^.!?])+[.!?]*|[.!?]+', text)
    return [piece.strip() for piece in pieces if piece.strip()]


def _all_patterns() -> list[tuple[str, str | None, str]]:
    rows: list[tuple[str, str | None, str]] = []
    rows += [("opening", None, p) for p in plots.OPENING]
    rows += [("detail", None, p) for p in plots.DETAIL]
    rows += [("goodnight", None, p) for p in plots.GOODNIGHT]
    rows += [
        (role, deed, p) for deed, roles in plots.PLOTS.items() for role, group in roles.items() for p in group
    ]
    rows += [(role, "unkind", p) for role, group in plots.UNKIND.items() for p in group]
    rows += [("deed", deed, p) for deed, group in plots.UNKIND_DEEDS.items() for p in group]
    rows += [("twist", mood, p) for mood, group in plots.TWIST.items() for p in group]
    rows += [("ending", mood, p) for mood, group in plots.ENDING.items() for p in group]
    return rows


def _regex_of(pattern: str, index: int) -> str:
    pieces, seen = [], set()
    for kind, value in parse_template(pattern).parts:
        if kind == "text":
            pieces.append(re.escape(str(value)))
        elif kind == "choice":
            pieces.append("(?:" + "|".join(map(re.escape, value)) + ")")
        elif kind == "coloured":
            words = "|".join(map(re.escape, sorted({word for group in value.values() for word in group})))
            pieces.append(f"(?:{words})")
        else:
            slot = str(value)
            name = f"t{index}_{slot.removeprefix('a_')}"
            article = "an? " if slot.startswith("a_") else ""
            words = "|".join(_WORDS[slot.removeprefix("a_")])
            pieces.append(f"(?P={name})" if name in seen else f"{article}(?P<{name}>{words})")
            seen.add(name)
    return f"(?P<t{index}>{''.join(pieces)})"


_PATTERNS = _all_patterns()
_MATCHERS = [re.compile(_regex_of(pattern, i)) for i, (_, _, pattern) in enumerate(_PATTERNS)]
_ANY = re.compile("|".join(m.pattern for m in _MATCHERS))


@lru_cache(maxsize=1 << 16)
def read_sentence(text: str) -> Sentence:
    """Recognise one sentence; an unknown one has no role."""
    match = _ANY.fullmatch(text)
    if match is None:
        return Sentence(text)
    named = {name: word for name, word in match.groupdict().items() if word is not None}
    index = next(int(name[1:]) for name in named if "_" not in name)
    role, group, _ = _PATTERNS[index]
    facts = tuple((name.split("_")[1], word) for name, word in named.items() if "_" in name)
    return Sentence(text, role, group, facts)


def _first_fact(sentences: list[Sentence], name: str) -> str | None:
    for sentence in sentences:
        if (word := sentence.fact(name)) is not None:
            return word
    if name in ("hero", "object"):
        known = set(_WORDS[name])
        return next((w for s in sentences for w in re.findall(r"[a-z]+", s.text.lower()) if w in known), None)
    return None


def _deed(sentences: list[Sentence]) -> str | None:
    """The deed told, else the plot that most sentences belong to."""
    told = [s.group for s in sentences if s.role == "deed"]
    if told:
        return told[0]
    plot = Counter(s.group for s in sentences if s.role in ("start", "problem", "talk", "middle"))
    return plot.most_common(1)[0][0] if plot else None


def _coherence(sentences: list[Sentence], facts: dict[str, str | None], deed: str | None) -> float:
    """Share of sentences that are recognised, keep hero, object and plot, and come in the roles' order.

    The friend may change: a story may have several.
    """
    if not sentences:
        return 0.0
    plot = "unkind" if deed in UNKIND_DEEDS else deed
    fits, rank = 0, -1
    for sentence in sentences:
        if sentence.role is None:
            continue
        agrees = all(facts[name] == word for name, word in sentence.facts if name in ("hero", "object"))
        if sentence.role in ("start", "problem", "talk", "middle"):
            agrees = agrees and sentence.group == plot
        elif sentence.role == "deed":
            agrees = agrees and sentence.group == deed
        # `start` already tells hero, place and problem: an opening and a start exclude each other
        later = _ROLE_RANK[sentence.role] > rank and not (sentence.role == "start" and rank >= 0)
        if agrees and later:
            fits += 1
            rank = _ROLE_RANK[sentence.role]
    opened = sentences[0].role in ("opening", "start")
    return (fits if opened else max(fits - 1, 0)) / len(sentences)


_DECLINE_OPENINGS = {split_sentences(decline)[0] for decline in plots.DECLINES}


@lru_cache(maxsize=1 << 14)
def read_story(text: str) -> Reading:
    """Recover the facts of any text. Never raises.

    >>> read_story("Long ago, on a golden morning, a fox came to live near the lake. Blah blah kite.").hero
    'fox'
    """
    text = " ".join(text.split())
    sentences = [read_sentence(piece) for piece in split_sentences(text)]
    facts = {name: _first_fact(sentences, name) for name in ("hero", "object", "friend")}
    deed = _deed(sentences)
    told = [s.group for s in sentences if s.role == "ending"] + [
        s.group for s in sentences if s.role == "twist"
    ]
    texts = [s.text for s in sentences]
    return Reading(
        sentences=tuple(sentences),
        **facts,
        mood=told[0] if told else None,
        deed=deed,
        coherence=_coherence(sentences, facts, deed),
        repeats=len(texts) - len(set(texts)),
        complete=bool(sentences) and sentences[-1].role in ("ending", "goodnight"),
        declined=bool(texts) and texts[0] in _DECLINE_OPENINGS,
        polite=text in plots.DECLINES,
    )
