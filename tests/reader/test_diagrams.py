"""Diagrams: what is in the spec is in the drawing, nothing lies on anything else, bad specs are refused."""

import itertools
import re
from xml.etree import ElementTree

import pytest

from rlhf_mini.reader import Arrow, Box, Flow, flow_diagram
from rlhf_mini.reader.diagrams import _places
from rlhf_mini.reader.flows import PPO_ITERATION, RANKED_REWARD_MODEL, WHOLE_STORY
from rlhf_mini.reader.routes import WIDTH, Place, route
from rlhf_mini.reader.three_tokens import (
    ppo_example,
    ranking_example,
    reinforce_example,
    reward_model_example,
    sft_example,
)

ALT = "Data flows through models into losses."
FLOWS = pytest.mark.parametrize(
    "flow",
    [
        *(
            pytest.param(flow, id=name)
            for name, flow in (
                ("story", WHOLE_STORY),
                ("PPO", PPO_ITERATION),
                ("rankings", RANKED_REWARD_MODEL),
            )
        ),
        *(
            pytest.param(example(), id=example.__name__)
            for example in (
                sft_example,
                reward_model_example,
                ranking_example,
                reinforce_example,
                ppo_example,
            )
        ),
    ],
)


def _box(key, **changes):
    return Box(
        **{"key": key, "title": key, "kind": "model", "role": "policy", "row": 0, "column": 0, **changes}
    )


@FLOWS
def test_everything_in_the_spec_is_drawn_once(flow):
    drawn = flow_diagram(flow, alt=ALT)
    root = ElementTree.fromstring(drawn.body)[0]
    texts = [
        "".join(element.itertext()).replace("\u200b", "")
        for element in root.iter("{http://www.w3.org/2000/svg}text")
    ]
    wanted = [line for box in flow.boxes for line in (box.title, *box.detail.splitlines())]
    wanted += [arrow.label for arrow in flow.arrows if arrow.label]
    assert sorted(texts) == sorted(line.replace("_old", "old").replace("_ref", "ref") for line in wanted)
    assert drawn.body.count("marker-end") == len(flow.arrows)
    assert drawn.body.count("<title>frozen</title>") == sum(box.frozen for box in flow.boxes)
    assert root.get("aria-label") == ALT
    assert flow_diagram(flow, alt=ALT) == drawn


@FLOWS
def test_boxes_lie_apart_and_inside(flow):
    places, height = _places(flow)
    for place in places.values():
        assert place.x >= 0
        assert place.x + place.width <= WIDTH
        assert place.y >= 0
        assert place.y + place.height <= height
    for one, other in itertools.combinations(places.values(), 2):
        across = one.x + one.width <= other.x or other.x + other.width <= one.x
        down = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert across or down


@FLOWS
def test_no_arrow_crosses_a_box(flow):
    """Points along every arrow lie in no box (ends aside): the drawing can be followed by eye."""
    places, _ = _places(flow)
    for arrow in flow.arrows:
        path = route(places[arrow.source], places[arrow.target], label_side=arrow.label_side).path
        for x, y in _points(path)[1:-1]:
            for key, place in places.items():
                inside = (
                    place.x + 1 < x < place.x + place.width - 1
                    and place.y + 1 < y < place.y + place.height - 1
                )
                assert not inside, (arrow, key)


@FLOWS
def test_words_lie_in_their_boxes_and_labels_lie_clear(flow):
    """A box's words inside it; an arrow's label off every box, every other label and every arrow."""
    places, _ = _places(flow)
    boxes = [(place.x, place.y, place.x + place.width, place.y + place.height) for place in places.values()]
    root = ElementTree.fromstring(flow_diagram(flow, alt=ALT).body)[0]
    labels = []
    for element in root.iter("{http://www.w3.org/2000/svg}text"):
        left, top, right, foot = area = _area(element)
        if element.get("text-anchor") is None:  # a box's own words
            assert any(x0 <= left and y0 <= top and right <= x1 and foot <= y1 for x0, y0, x1, y1 in boxes)
        else:
            assert not any(_meet(area, other) for other in (*boxes, *labels)), "".join(element.itertext())
            labels.append(area)
    for arrow in flow.arrows:
        path = route(places[arrow.source], places[arrow.target], label_side=arrow.label_side).path
        for x, y in _points(path):
            assert not any(_meet((x, y, x, y), label) for label in labels), arrow


def _area(element):
    """About where a text stands: letters about half as wide as high, capitals 0.72 high."""
    size, x, y = (float(element.get(name)) for name in ("font-size", "x", "y"))
    width = 0.46 * size * len("".join(element.itertext()).replace("\u200b", ""))
    left = {"start": x, "end": x - width}.get(element.get("text-anchor"), x - width / 2)
    return left, y - 0.72 * size, left + width, y


def _meet(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _points(path):
    """Points along a path of the commands that `route` writes: M, H, V, c, q."""
    points, x, y = [], 0.0, 0.0
    for command, arguments in re.findall(r"([MHVcq])([^MHVcq]*)", path):
        v = [float(value) for value in re.findall(r"-?[\d.]+", arguments)]
        if command == "M":
            x, y = v
            points.append((x, y))
            continue
        if command in "HV":
            ends = ((x, y), (v[0], y) if command == "H" else (x, v[0]))
        elif command == "c":
            ends = ((x, y), (x + v[0], y + v[1]), (x + v[2], y + v[3]), (x + v[4], y + v[5]))
        else:
            ends = ((x, y), (x + v[0], y + v[1]), (x + v[2], y + v[3]))
        points += [_bezier(ends, step / 20) for step in range(1, 21)]
        x, y = ends[-1]
    return points


def _bezier(ends, t):
    while len(ends) > 1:
        ends = [
            tuple((1 - t) * a + t * b for a, b in zip(*pair, strict=True))
            for pair in itertools.pairwise(ends)
        ]
    return ends[0]


def test_arrows_start_and_end_at_their_boxes():
    source, below, beside = Place(10, 10, 100, 40), Place(10, 90, 100, 40), Place(154, 10, 100, 40)
    assert _points(route(source, below, label_side="").path)[0] == (60, 50)
    assert _points(route(source, below, label_side="").path)[-1] == pytest.approx((60, 85))
    assert route(source, beside, label_side="").path == "M110 30H149"
    assert route(beside, source, label_side="").path == "M154 30H115"
    assert _points(route(below, source, label_side="").path)[-1] == (
        5,
        30,
    )  # back in from the lane on the left


def test_frozen_models_of_ppo_are_the_reference_and_the_reward_model():
    assert {box.key for box in PPO_ITERATION.boxes if box.frozen} == {"reference", "reward"}
    trained = {arrow.target for arrow in PPO_ITERATION.arrows if arrow.kind == "gradient"}
    assert trained == {"policy", "value"}


def test_text_is_escaped_and_ids_differ_between_drawings():
    flow = Flow(
        boxes=(_box("a", title="x < y"), _box("b", column=1)), arrows=(Arrow(source="a", target="b"),)
    )
    assert "x &lt; y" in flow_diagram(flow, alt=ALT).body
    ids = [set(re.findall(r' id="([^"]+)"', flow_diagram(one, alt=ALT).body)) for one in (flow, WHOLE_STORY)]
    assert ids[0].isdisjoint(ids[1])


def test_bad_specs_are_refused():
    with pytest.raises(ValueError, match="kind must be data, model or loss"):
        _box("a", kind="thing")
    with pytest.raises(ValueError, match="unknown role"):
        _box("a", role="teacher")
    with pytest.raises(ValueError, match="share a key"):
        Flow(boxes=(_box("a"), _box("a", column=1)), arrows=())
    with pytest.raises(ValueError, match="share a place"):
        Flow(boxes=(_box("a"), _box("b")), arrows=())
    with pytest.raises(ValueError, match=r"\['c'\]"):
        Flow(boxes=(_box("a"),), arrows=(Arrow(source="a", target="c"),))
    with pytest.raises(ValueError, match="flow, copy or gradient"):
        Arrow(source="a", target="b", kind="wish")
    with pytest.raises(ValueError, match="left or right"):
        Arrow(source="a", target="b", label_side="up")
    with pytest.raises(ValueError, match="alt must say"):
        flow_diagram(WHOLE_STORY, alt="story")
