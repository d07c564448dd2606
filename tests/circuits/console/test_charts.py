"""The charts: bars and bands have the right place and height, and their texts say the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

import circuits
from circuits.console.charts import (
    Limit,
    countdown_ring,
    latency_chart,
    outcome_chart,
    refused_chart,
    sparkline,
    timeline_chart,
)
from circuits.core.latency import EMPTY, histogram
from circuits.core.status import Mode, State
from circuits.reports.statistics import Calls
from circuits.reports.timeline import Span
from tests.factories import CircuitFactory

#: Midnight UTC at the beginning of 15 January 2027, and the end of that day.
START: Final = 1_799_971_200.0
DAY: Final = 86_400
END: Final = START + DAY
HOUR: Final = 3_600

CSS: Final = Path(circuits.__file__).parent / "static" / "circuits"


# What is drawn, read back ------------------------------------------------------------------------


class Box(NamedTuple):
    """A bar or a block: its left and upper edges, its size, and the text of its tooltip."""

    x: float
    y: float
    width: float
    height: float
    title: str = ""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def floor(self) -> float:
        return self.y + self.height


def parse(chart: str) -> ET.Element:
    return ET.fromstring(chart)


def by_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in root.iter() if each.get("class") == name]


def drawn(root: ET.Element) -> ET.Element:
    """Return the chart without its legend."""
    (found,) = [each for each in root if each.tag == "svg"] or [root]
    return found


def words(root: ET.Element) -> str:
    """Return a chart's accessible name."""
    return drawn(root).get("aria-label") or ""


def legend(root: ET.Element) -> list[str]:
    return ["".join(each.itertext()).strip() for each in root.findall("figcaption/span")]


def plot(root: ET.Element) -> ET.Element:
    """Return the part of a chart that stretches to the width of the page."""
    (found,) = drawn(root).findall("svg")
    return found


def view_box(element: ET.Element) -> Box:
    x, y, width, height = map(float, element.attrib["viewBox"].split())
    return Box(x, y, width, height)


def bars(element: ET.Element, kind: str) -> dict[float, Box]:
    """Return the bars of a kind, by the position of their middle."""
    found: dict[float, Box] = {}
    for path in by_class(element, f"circuits-{kind}"):
        for x, y, height in re.findall(r"M(\S+) (\d+)v-(\d+)", path.attrib["d"]):
            assert float(x) not in found
            found[float(x)] = Box(float(x), float(y) - float(height), 0, float(height))
    return found


def piles(element: ET.Element) -> dict[float, list[Box]]:
    """Return the bars on top of each other, from below, by the position of their middle."""
    found: dict[float, list[Box]] = {}
    for kind in Calls._fields:
        for x, bar in bars(element, kind).items():
            found.setdefault(x, []).append(bar)
    return found


def check_piles(element: ET.Element, slots: Sequence[Calls], step: float, floor: float) -> None:
    """Check that all calls are drawn in their slots, on top of each other, within the chart."""
    drawn = piles(element)
    assert sorted(drawn) == [
        (index + 0.5) * step for index, calls in enumerate(slots) if any(calls)
    ]
    for x, pile in drawn.items():
        calls = slots[int(x / step)]
        assert len(pile) == sum(number > 0 for number in calls)
        assert all(bar.height >= 2 for bar in pile)
        assert pile[0].floor == floor
        assert all(below.y == above.floor for below, above in pairwise(pile))
        assert pile[-1].y >= 0


def blocks(root: ET.Element, values: Sequence[str]) -> dict[str, list[Box]]:
    """Return the blocks of each state or mode, from left to right."""
    return {
        value: [_box(rect) for rect in by_class(plot(root), f"circuits-was-{value}")]
        for value in values
        if by_class(plot(root), f"circuits-was-{value}")
    }


def _box(rect: ET.Element) -> Box:
    x, y, width, height = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
    return Box(x, y, width, height, rect.findtext("title") or "")


def marks(root: ET.Element) -> list[tuple[float, str]]:
    """Return the position of each label of the time axis in percent of the width, and its text."""
    (axis,) = by_class(root, "circuits-axis")
    labels = axis.findall("text")
    places = [float(label.attrib["x"].rstrip("%")) for label in labels]
    assert [line.attrib["x1"] for line in axis.findall("line")] == [
        each.get("x") for each in labels
    ]
    return [(place, label.text or "") for place, label in zip(places, labels, strict=True)]


counts = st.integers(0, 3) | st.integers(0, 10**6) | st.integers(0, 10**18)
some_slots = st.lists(st.builds(Calls, counts, counts, counts), max_size=120)


# Sparklines --------------------------------------------------------------------------------------


def test_a_sparkline_has_a_bar_for_each_way_calls_went() -> None:
    spark = parse(sparkline([Calls(10, 5, 5), Calls(), Calls(10)]))
    assert (spark.get("width"), spark.get("height")) == ("12", "20")
    # Rounded, but no higher than all of it.
    assert [bar.height for bar in piles(spark)[2]] == [9, 5, 5]
    assert [bar.height for bar in piles(spark)[10]] == [10]


def test_one_failure_among_ten_thousand_calls_is_seen() -> None:
    spark = parse(sparkline([Calls(9_999, 1)]))
    assert bars(spark, "failures")[2].height == 2
    chart = plot(parse(outcome_chart([Calls(9_999, 1, 1)], START, 900)))
    assert bars(chart, "failures")[0.5].height == bars(chart, "refusals")[0.5].height == 2


def test_a_sparkline_is_said_in_words() -> None:
    spark = parse(sparkline([Calls(1_234, 1), Calls(0, 0, 2)]))
    assert words(spark) == "1,234 successes, 1 failure and 2 refusals in the last hour."
    assert spark.findtext("title") == words(spark)
    assert spark.get("role") == "img"


@pytest.mark.parametrize("slots", [[], [Calls()] * 30])
def test_without_calls_there_is_a_base_line_and_the_word_for_it(slots: list[Calls]) -> None:
    spark = parse(sparkline(slots))
    assert words(spark) == "No calls in the last hour."
    assert not piles(spark)
    assert len(by_class(spark, "circuits-base")) == 1


@given(some_slots)
def test_every_sparkline_stays_within_its_frame(slots: list[Calls]) -> None:
    spark = parse(sparkline(slots))
    check_piles(spark, slots, step=4, floor=19)
    busiest = max(map(sum, slots), default=0)
    tops = [pile[-1].y for x, pile in piles(spark).items() if sum(slots[int(x / 4)]) == busiest]
    assert all(top <= 2 for top in tops)
    assert all(x + 1.5 <= float(spark.attrib["width"]) for x in piles(spark))


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=30))
def test_more_calls_are_never_a_lower_bar(numbers: list[int]) -> None:
    spark = parse(sparkline([Calls(number) for number in numbers]))
    heights = [
        bars(spark, "successes").get(index * 4 + 2, Box(0, 0, 0, 0)).height
        for index in range(len(numbers))
    ]
    in_order = sorted(zip(numbers, heights, strict=True))
    assert all(one[1] <= other[1] for one, other in pairwise(in_order))


# Calls over time ---------------------------------------------------------------------------------


@given(some_slots, st.sampled_from([60, 900, HOUR, DAY]))
def test_every_chart_of_calls_stays_within_its_frame(slots: list[Calls], seconds: int) -> None:
    chart = parse(outcome_chart(slots, START, seconds))
    frame = view_box(plot(chart))
    has_shares = any(calls.failures for calls in slots)
    height = 130 if has_shares else 80
    assert (frame.x, frame.y, frame.height) == (0, 0, height)
    assert frame.width == max(1, len(slots))
    assert all(2 <= bar.height <= 32 for bar in bars(plot(chart), "share").values())
    assert sorted(bars(plot(chart), "share")) == [
        index + 0.5 for index, calls in enumerate(slots) if calls.failures
    ]
    check_piles(plot(chart), slots, step=1, floor=80)
    (group,) = by_class(plot(chart), "circuits-slots")
    pointed = [_box(rect) for rect in group]
    assert [(box.x, box.width, box.height) for box in pointed] == [
        (index, 1, height) for index in range(len(slots))
    ]
    assert all(0 <= place <= 100 for place, _label in marks(chart))


def test_the_room_between_axis_and_maximum_is_all_of_it() -> None:
    chart = parse(outcome_chart([Calls(1_200), Calls(600, 200), Calls(2_000)], START, 900))
    assert drawn(chart).findtext("text") == "2,000 calls"
    assert [bar.height for (bar, *_rest) in piles(plot(chart)).values()] == [48, 24, 80]
    assert plot(chart).get("y") == "16"
    lines = {name: by_class(chart, f"circuits-{name}")[0].get("y1") for name in ("grid", "base")}
    assert lines == {"grid": "16.5", "base": "96.5"}


@pytest.mark.parametrize(
    ("busiest", "most"), [(1, "1 call"), (10, "10 calls"), (11, "20 calls"), (987, "1,000 calls")]
)
def test_the_maximum_is_easy_to_read(busiest: int, most: str) -> None:
    (top,) = drawn(parse(outcome_chart([Calls(busiest)], START, 900))).findall("text")
    assert top.text == most


def test_a_chart_of_calls_is_said_in_words() -> None:
    chart = parse(outcome_chart([Calls(3, 1), Calls(), Calls(0, 0, 1_000)], START, 900))
    assert words(chart) == (
        "3 successes, 1 failure and 1,000 refusals in the last day. "
        "The highest share of failures was 25 % of 4 calls, from 00:00 to 00:15."
    )
    assert legend(chart) == ["3 successes", "1 failure", "1,000 refusals"]
    (group,) = by_class(chart, "circuits-slots")
    assert [_box(rect).title for rect in group] == [
        "00:00 to 00:15: 3 successes, 1 failure (25 % of 4 calls)",
        "00:15 to 00:30: no calls",
        "00:30 to 00:45: 1,000 refusals",
    ]


@pytest.mark.parametrize("slots", [[], [Calls()] * 96])
def test_a_chart_without_calls_says_so_where_the_maximum_would_be(slots: list[Calls]) -> None:
    chart = parse(outcome_chart(slots, START, 900))
    (top,) = drawn(chart).findall("text")
    assert top.text == words(chart) == "No calls in the last day."
    assert not piles(plot(chart))


def test_slots_of_more_than_a_day_are_told_with_their_days() -> None:
    chart = parse(outcome_chart([Calls()] * 6, START + HOUR, DAY / 2))
    (group,) = by_class(chart, "circuits-slots")
    assert _box(group[1]).title == "15 Jan 13:00 to 16 Jan 01:00: no calls"


# The share of failures ---------------------------------------------------------------------------


def test_the_share_of_failures_is_seen_where_a_slot_has_few_calls_beside_a_busy_one() -> None:
    chart = parse(outcome_chart([Calls(35, 26, 9), Calls(10_000), Calls(9_999, 1)], START, 900))
    floor = view_box(plot(chart)).height
    shares = bars(plot(chart), "share")
    assert {x: (bar.height, bar.floor) for x, bar in shares.items()} == {
        0.5: (14, floor),  # of 32, which stands for all calls
        2.5: (2, floor),
    }
    assert bars(plot(chart), "failures")[0.5].height < 5
    (group,) = by_class(plot(chart), "circuits-slots")
    assert _box(group[0]).title.endswith("35 successes, 26 failures (43 % of 61 calls), 9 refusals")
    assert words(chart).endswith(" was 43 % of 61 calls, from 00:00 to 00:15.")


def test_of_equal_shares_of_failures_that_of_the_most_calls_is_told() -> None:
    chart = parse(outcome_chart([Calls(0, 1), Calls(0, 70), Calls(0, 2)], START, 900))
    assert words(chart).endswith(" was 100 % of 70 calls, from 00:15 to 00:30.")


def test_calls_that_were_not_made_have_no_share_of_failures() -> None:
    chart = parse(outcome_chart([Calls(0, 0, 9), Calls(3, 1)], START, 900))
    assert list(bars(plot(chart), "share")) == [1.5]


def test_without_failures_there_is_no_plot_of_their_share() -> None:
    chart = parse(outcome_chart([Calls(9)], START, 900, limit=Limit(0.5, "opens at 50 % failures")))
    assert view_box(plot(chart)).height == 80
    assert not by_class(chart, "circuits-limit")
    assert legend(chart) == ["9 successes", "0 failures", "0 refusals"]


@pytest.mark.parametrize(("limit", "y"), [(1.0, "114.5"), (0.5, "130.5"), (0.25, "138.5")])
def test_the_limit_of_a_policy_by_rate_is_a_line_through_the_shares(limit: float, y: str) -> None:
    chart = parse(outcome_chart([Calls(3, 1)], START, 900, limit=Limit(limit, "opens there")))
    drawn_line, swatch = by_class(chart, "circuits-limit")
    assert (drawn_line.get("y1"), drawn_line.get("y2"), swatch.tag) == (y, y, "path")
    assert legend(chart)[-1] == "opens there"


def test_failures_in_a_row_have_no_limit_as_a_share() -> None:
    chart = parse(outcome_chart([Calls(3, 1)], START, 900))
    assert not by_class(chart, "circuits-limit")


# The share of calls refused -----------------------------------------------------------------------


def test_a_throttled_slot_has_a_bar_as_high_as_its_share_of_refused_calls() -> None:
    slots = [Calls(5, 0, 5), Calls(9, 1), Calls(998, 1, 1), Calls(0, 0, 3)]
    chart = parse(refused_chart(slots, START, 900))
    floor = view_box(plot(chart)).height
    assert {x: (bar.height, bar.floor) for x, bar in bars(plot(chart), "refusals").items()} == {
        0.5: (24, floor),  # of 48, which stands for all calls
        2.5: (2, floor),
        3.5: (48, floor),
    }
    assert words(chart) == (
        "At most 100 % of 3 calls refused in the last day, from 00:45 to 01:00."
    )
    (group,) = by_class(plot(chart), "circuits-slots")
    assert _box(group[0]).title.endswith("50 % of 10 calls refused")


def test_of_equal_shares_of_refused_calls_that_of_the_most_calls_is_told() -> None:
    chart = parse(refused_chart([Calls(1, 0, 1), Calls(40, 0, 40)], START, 900))
    assert words(chart).startswith("At most 50 % of 80 calls refused")


def test_without_refusals_there_is_no_chart_of_their_share() -> None:
    assert refused_chart([Calls(9, 3), Calls()], START, 900) == ""


# The time axis -----------------------------------------------------------------------------------


def test_the_axis_has_even_hours_where_they_are() -> None:
    chart = parse(outcome_chart([Calls()] * 96, START + HOUR, 900))
    assert marks(chart)[:2] == [(8.333, "03:00"), (20.83, "06:00")]
    assert marks(chart)[-1] == (95.83, "00:00")


@given(
    st.integers(0, 10**7).map(lambda quarters: quarters * 900.0 + 60),
    st.floats(1, 400 * DAY).map(round),
)
def test_labels_are_few_and_far_enough_from_each_other(start: float, seconds: int) -> None:
    places = [place for place, _label in marks(parse(timeline_chart([], start, start + seconds)))]
    assert all(0 <= place <= 100 for place in places)
    assert all(other - one > 11 for one, other in pairwise(places))
    assert len(places) <= 9


def test_labels_at_an_end_do_not_go_beyond_it() -> None:
    (axis,) = by_class(parse(outcome_chart([Calls()] * 96, START, 900)), "circuits-axis")
    anchors = [label.get("text-anchor") for label in axis.findall("text")]
    assert anchors == ["start", *["middle"] * 7, "end"]


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/St_Johns"])
def test_the_axis_is_even_by_the_clock_of_whoever_looks(zone: str) -> None:
    with timezone.override(zone):
        labels = [label for _place, label in marks(parse(timeline_chart([], START, END)))]
    assert all(re.fullmatch(r"(00|03|06|09|12|15|18|21):00", label) for label in labels)
    assert len(labels) == 8


@pytest.mark.parametrize("use_tz", [True, False])
def test_days_begin_at_midnight_also_when_clocks_have_changed(
    settings: Settings, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, "Europe/Amsterdam"
    start = datetime(2027, 3, 20, 12, tzinfo=UTC).timestamp()
    found = marks(parse(timeline_chart([], start, start + 20 * DAY)))
    assert [label for _place, label in found] == [
        *("23 Mar", "26 Mar", "29 Mar", "1 Apr", "4 Apr", "7 Apr")
    ]
    for place, label in found:
        zone = ZoneInfo("Europe/Amsterdam")
        midnight = datetime.strptime(f"{label} 2027", "%d %b %Y").replace(tzinfo=zone)
        # As exactly as the position of a mark tells its time.
        assert place * 20 * DAY / 100 == pytest.approx(midnight.timestamp() - start, abs=600)


def test_states_and_calls_have_their_times_below_each_other() -> None:
    start = START + 5 * 900
    opened = [Span("closed", "automatic", start, START + 12 * HOUR)]
    opened.append(Span("open", "automatic", START + 12 * HOUR, START + 18 * HOUR))
    slots = [
        Calls(0, 0, START + 12 * HOUR <= start + i * 900 < START + 18 * HOUR) for i in range(96)
    ]
    band, calls = (
        parse(timeline_chart(opened, start, start + DAY)),
        parse(outcome_chart(slots, start, 900)),
    )
    assert marks(band) == marks(calls)
    (block,) = blocks(band, ["open"])["open"]
    shares = [x / 96 for x in bars(plot(calls), "refusals")]
    frame = view_box(plot(band))
    assert block.x / frame.width == pytest.approx(min(shares) - 0.5 / 96, abs=1 / frame.width)
    assert block.right / frame.width == pytest.approx(max(shares) + 0.5 / 96, abs=1 / frame.width)
    assert drawn(band).get("width") == drawn(calls).get("width") == "100%"
    assert plot(band).get("width") == plot(calls).get("width") == "100%"


# How long answers took ---------------------------------------------------------------------------

QUICK = histogram([0.015] * 100)
MIXED = histogram([0.015] * 90 + [0.4] * 10)


def test_how_long_answers_took_is_a_step_for_each_slot_with_timed_calls() -> None:
    chart = parse(latency_chart([QUICK, EMPTY, MIXED, MIXED], START, HOUR))
    (median,), (slow,) = (
        by_class(plot(chart), "circuits-p50"),
        by_class(plot(chart), "circuits-p95"),
    )
    assert re.fullmatch(r"M0 [\d.]+h1M2 [\d.]+h1V[\d.]+h1", median.get("d") or "")
    first, second = (float(y) for y in re.findall(r"M\d ([\d.]+)", slow.get("d") or ""))
    assert second < first, "slower is higher"
    assert max(first, second) <= 48


def test_how_long_answers_took_is_said_in_words() -> None:
    chart = parse(latency_chart([QUICK, EMPTY, MIXED], START, HOUR))
    said = "Half of the answers came within 15\xa0ms and 95 of 100 within "
    assert words(chart).replace(" ms", "\xa0ms").startswith(said)
    assert words(chart).endswith("in the last day.")
    assert [each.partition(":")[0] for each in legend(chart)] == [
        "p50",
        "p95",
        "of 200 timed calls",
    ]
    titles = ["".join(each.itertext()) for each in by_class(chart, "circuits-slots")[0]]
    assert titles[0].startswith("00:00 to 01:00: half within 15")
    assert titles[1].endswith("no timed calls")


def test_where_no_call_was_timed_there_is_no_chart_of_it() -> None:
    assert latency_chart([EMPTY] * 3, START, HOUR) == ""


# Timelines ---------------------------------------------------------------------------------------

STATES: Final = [state.value for state in State]
MODES: Final = [mode.value for mode in Mode]


def test_a_timeline_shows_each_state_for_as_long_as_it_lasted() -> None:
    spans = [
        Span("closed", "automatic", START, START + 6 * HOUR),
        Span("open", "automatic", START + 6 * HOUR, START + 12 * HOUR),
        Span("half_open", "automatic", START + 12 * HOUR, START + 18 * HOUR),
    ]
    found = blocks(parse(timeline_chart(spans, START, END)), STATES)
    assert {state: (box.x, box.width) for state, (box,) in found.items()} == {
        "closed": (0, 90),
        "open": (90, 90),
        "half_open": (180, 90),
    }
    heights = {state: box.height for state, (box,) in found.items()}
    assert heights["closed"] < heights["half_open"] < heights["open"]
    assert {box.floor for (box,) in found.values()} == {24}


def test_a_moment_in_which_it_was_open_is_seen() -> None:
    spans = [
        Span("closed", "automatic", START, START + HOUR),
        Span("open", "automatic", START + HOUR, START + HOUR + 0.1),
        Span("half_open", "automatic", START + HOUR + 0.1, START + HOUR + 0.2),
        Span("closed", "automatic", START + HOUR + 0.2, END),
    ]
    found = blocks(parse(timeline_chart(spans, START, END)), STATES)
    assert [box.width for box in found["open"]] == [1]
    assert "half_open" not in found  # a piece shows the worst state that it holds


def flaps(openings: int, seconds: float, *, since: float = START) -> list[Span]:
    """Return the states of a circuit that opens repeatedly, with a trial before each recovery."""
    spans = []
    for number in range(openings):
        at = since + number * seconds
        spans += [
            Span("open", "automatic", at, at + seconds / 4),
            Span("half_open", "automatic", at + seconds / 4, at + seconds / 2),
            Span("closed", "automatic", at + seconds / 2, at + seconds),
        ]
    return spans


def combs(chart: ET.Element) -> list[Box]:
    return blocks(chart, ["flapping"]).get("flapping", [])


@pytest.mark.parametrize("openings", [8, 10, 12, 15, 60, 720])
def test_an_hour_of_flapping_is_a_comb_with_its_count(openings: int) -> None:
    spans = [
        Span("closed", "automatic", START, START + 6 * HOUR),
        *flaps(openings, HOUR / openings, since=START + 6 * HOUR),
        Span("closed", "automatic", START + 7 * HOUR, END),
    ]
    chart = parse(timeline_chart(spans, START, END))
    assert "open" not in blocks(chart, STATES), "it looks like one long outage"
    (comb,) = combs(chart)
    assert 13 <= comb.width <= 15
    assert f"opened {openings} times from 06:00:00 to 06:" in comb.title
    assert [each.text for each in by_class(chart, "circuits-times")] == [f"{openings}\xd7"]
    assert f"Open {openings} times in the last day, 15\xa0minutes in all." in words(chart)
    assert f"Flapping: opened {openings} times from 06:00 to 06:" in words(chart)
    assert f"flapping: opened {openings} times" in legend(chart)


def test_the_teeth_of_a_comb_are_as_high_as_an_outage() -> None:
    chart = parse(timeline_chart(flaps(60, 60), START, END))
    (teeth, swatch) = by_class(chart, "circuits-teeth")
    assert (teeth.get("d"), teeth.get("stroke-width")) == ("M0 12.0h15", "24")
    assert swatch.get("stroke-width") == "12"


def test_an_outage_with_failed_trials_is_one_outage() -> None:
    spans = [Span("closed", "automatic", START, START + HOUR)]
    for second in range(0, HOUR, 20):
        at = START + HOUR + second
        spans.append(Span("open", "automatic", at, at + 19))
        spans.append(Span("half_open", "automatic", at + 19, at + 20))
    spans.append(Span("closed", "automatic", START + 2 * HOUR, END))
    chart = parse(timeline_chart(spans, START, END))
    (block,) = blocks(chart, ["open"])["open"]
    assert (block.x, block.width, combs(chart)) == (15, 15, [])
    assert block.title == "open from 01:00:00 to 01:59:59 (57\xa0minutes)"
    assert words(chart) == "Open once in the last day, for 57\xa0minutes."


def test_a_long_outage_is_no_part_of_the_flapping_before_it() -> None:
    spans = [*flaps(60, 60), Span("open", "automatic", START + HOUR, START + 5 * HOUR)]
    chart = parse(timeline_chart(spans, START, END))
    (comb,) = combs(chart)
    (block,) = blocks(chart, ["open"])["open"]
    assert (comb.right, block.x, block.right) == (15, 15, 75)
    assert "opened 60 times" in comb.title
    assert block.title == "open from 01:00:00 to 05:00:00 (4\xa0hours)"
    assert "Open 61 times" in words(chart)


def test_outages_with_a_moment_between_them_are_told_apart() -> None:
    one = Span("open", "automatic", START, START + 5 * HOUR + 60)
    moment = Span("closed", "automatic", one.until, one.until + 30)
    other = Span("open", "automatic", moment.until, END)
    chart = parse(timeline_chart([one, moment, other], START, END))
    assert [box.width for box in combs(chart)] == [1]
    assert [box.width for box in blocks(chart, ["open"])["open"]] == [75, 284]


def test_numbers_above_combs_keep_apart_and_the_greatest_is_shown() -> None:
    spans = [
        span
        for hour, openings in enumerate((30, 90, 60))
        for span in flaps(openings, 1_800 / openings, since=START + hour * HOUR)
    ]
    chart = parse(timeline_chart(spans, START, END))
    assert len(combs(chart)) == 3
    assert [each.text for each in by_class(chart, "circuits-times")] == ["90\xd7"]
    assert words(chart).count("Flapping: ") == 3


def test_a_mode_is_shown_beneath_unless_it_is_automatic() -> None:
    spans = [
        Span("closed", "automatic", START, START + 6 * HOUR),
        Span("open", "forced_open", START + 6 * HOUR, START + 12 * HOUR),
        Span("closed", "observe", START + 12 * HOUR, END),
    ]
    found = blocks(parse(timeline_chart(spans, START, END)), MODES)
    assert {mode: (box.x, box.width) for mode, (box,) in found.items()} == {
        "forced_open": (90, 90),
        "observe": (180, 180),
    }
    states = blocks(parse(timeline_chart(spans, START, END)), STATES)
    lowest = max(box.floor for boxes in states.values() for box in boxes)
    assert all(box.y >= lowest for (box,) in found.values())


def test_a_timeline_is_said_in_words() -> None:
    closed = Span("closed", "automatic", START, START + HOUR)
    opened = Span("open", "automatic", START + HOUR, START + 2 * HOUR)
    forced = Span("open", "forced_open", START + 3 * HOUR, START + 3 * HOUR + 60)
    assert words(parse(timeline_chart([closed], START, END))) == "Never open in the last day."
    once = parse(timeline_chart([closed, opened], START, END))
    assert words(once) == "Open once in the last day, for 1\xa0hour."
    twice = parse(timeline_chart([closed, opened, closed, forced], START, END, period="this time"))
    assert words(twice) == (
        "Open 2 times in this time, 1\xa0hour, 1\xa0minute in all. forced open: 1\xa0minute."
    )
    assert legend(twice) == [
        "open: 1\xa0hour, 1\xa0minute",
        "closed: 2\xa0hours",
        "forced open: 1\xa0minute",
    ]
    (block,) = blocks(once, ["open"])["open"]
    assert block.title == "open from 01:00:00 to 02:00:00 (1\xa0hour)"


def test_a_long_timeline_tells_the_days() -> None:
    opened = Span("open", "automatic", START + HOUR, START + 3 * DAY)
    (block,) = blocks(parse(timeline_chart([opened], START, START + 9 * DAY)), ["open"])["open"]
    assert block.title.startswith("open from 15 Jan 01:00:00 to 18 Jan 00:00:00 (")


lengths = st.floats(0, DAY)
pieces = st.lists(st.tuples(st.sampled_from(STATES), st.sampled_from(MODES), lengths), max_size=60)


@given(pieces, st.floats(-DAY, DAY), st.floats(1, 10 * DAY))
def test_every_timeline_stays_within_its_frame_and_nothing_overlaps(
    parts: list[tuple[str, str, float]], offset: float, seconds: float
) -> None:
    spans, since = [], START + offset
    for state, mode, lasted in parts:
        spans.append(Span(state, mode, since, since + lasted))
        since += lasted
    chart = parse(timeline_chart(spans, START, START + seconds))
    frame = view_box(plot(chart))
    for values in (STATES, MODES):
        shapes = [*values, "flapping"] if values is STATES else values
        row = sorted(box for boxes in blocks(chart, shapes).values() for box in boxes)
        assert all(one.right <= other.x for one, other in pairwise(row))
        assert all(frame.x <= box.x and box.right <= frame.width for box in row)
        assert all(frame.y <= box.y and box.floor <= frame.height for box in row)
        assert all(box.width >= 1 and box.height >= 2 and box.title for box in row)
    visible = [span for span in spans if span.until > START and span.since < START + seconds]
    if any(span.state == "open" for span in visible):
        assert blocks(chart, ["open", "flapping"])


def test_there_is_nothing_after_now() -> None:
    spans = [Span("open", "forced_open", START, START + 12 * HOUR)]
    chart = parse(timeline_chart(spans, START, END))
    boxes = [box for found in blocks(chart, STATES + MODES).values() for box in found]
    assert [box.right for box in boxes] == [180, 180]


# Rings -------------------------------------------------------------------------------------------


def ring(remaining: float, total: float) -> tuple[float, str, str]:
    """Return the share that is left, the text in the ring and its accessible name."""
    root = parse(countdown_ring(remaining, total))
    (left,) = by_class(root, "circuits-ring-left")
    share, whole = left.attrib["stroke-dasharray"].split()
    assert whole == left.get("pathLength") == "100"
    return float(share), root.findtext("text") or "", words(root)


@pytest.mark.parametrize(
    ("remaining", "total", "share", "text"),
    [
        (10, 10, 100, "10 s"),
        (2.5, 10, 25, "3 s"),
        (0, 10, 0, "0 s"),
        (-5, 10, 0, "0 s"),  # the time is up
        (15, 10, 100, "15 s"),  # the delay was made shorter meanwhile
        (0, 0, 0, "0 s"),
        (5, 0, 0, "5 s"),
        (99, 600, 16.5, "99 s"),
        (99.5, 597, 16.67, "2 min"),
        (5 * HOUR, 10 * HOUR, 50, "5 h"),
        (31_536_000, 31_536_000, 100, "365 d"),
    ],
)
def test_a_ring_shows_what_is_left(remaining: float, total: float, share: float, text: str) -> None:
    assert ring(remaining, total)[:2] == (share, text)


def test_a_ring_is_said_in_words() -> None:
    assert ring(2.5, 10)[2] == "The next call is let through to try in 3 seconds."
    assert ring(0, 10)[2] == "The next call is let through to try."


def test_a_script_finds_what_to_count_down() -> None:
    root = parse(countdown_ring(7.26, 10))
    assert root.get("data-circuits-countdown") == "7.3"
    assert root.get("data-circuits-total") == "10.0"


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_every_ring_is_between_empty_and_full(remaining: float, total: float) -> None:
    share, text, _words = ring(remaining, total)
    assert 0 <= share <= 100
    assert len(text) <= 7


# All of them -------------------------------------------------------------------------------------

FULL: Final = Calls(10**9, 10**8, 10**7)

#: The busiest charts: every slot has all three outcomes, and every state and mode occurs.
BUSY: Final = {
    "sparkline": sparkline([FULL] * 30),
    "outcomes": outcome_chart([FULL] * 96, START, 900),
    "timeline": timeline_chart(
        [
            Span(STATES[i % 3], MODES[i % 4], START + i * 300, START + (i + 1) * 300)
            for i in range(288)
        ],
        START,
        END,
    ),
    "flapping": timeline_chart(flaps(1_440, 60), START, END),
    "limit": outcome_chart([FULL] * 96, START, 900, limit=Limit(0.5, "opens at 50 % failures")),
    "ring": countdown_ring(5, 10),
}


def attack(period: str) -> list[str]:
    slots, spans = [FULL], [Span("open", "automatic", START, END)]
    return [
        sparkline(slots, period),
        sparkline([], period),
        outcome_chart(slots, START, 900, period),
        outcome_chart([], START, 900, period),
        refused_chart([FULL], START, 900, period),
        timeline_chart(spans, START, END, period),
        timeline_chart([], START, END, period),
    ]


def test_nothing_in_a_text_becomes_markup() -> None:
    for chart in attack("\"><script>'&%s"):
        assert "<script" not in chart
        assert "\"><script>'&%s" in words(parse(chart))


@pytest.mark.parametrize(
    ("name", "most"),
    [("sparkline", 1_500), ("outcomes", 25_000), ("timeline", 80_000), ("ring", 1_000)],
)
def test_no_chart_weighs_much(name: str, most: int) -> None:
    assert len(BUSY[name].encode()) < most


@pytest.mark.parametrize("chart", BUSY.values(), ids=BUSY.keys())
def test_a_chart_needs_nothing_that_a_policy_forbids_or_a_page_may_hold_once(chart: str) -> None:
    for element in parse(chart).iter():
        names = set(element.attrib)
        assert not names & {"style", "id", "href"}
        assert not [name for name in names if name.startswith("on")]
        assert element.tag not in ("style", "script", "image", "use")


@pytest.mark.usefixtures("committed")
def test_an_id_is_on_a_page_once(ann: Client) -> None:
    circuit = CircuitFactory.create(opened=True)
    html = ann.get(reverse("admin:circuits_circuit_change", args=[circuit.pk])).content.decode()
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert html.count("<svg") > 3
    assert sorted(ids) == sorted(set(ids))


def test_every_class_has_its_look() -> None:
    css = "".join(path.read_text() for path in CSS.glob("*.css"))
    used = {
        name
        for chart in BUSY.values()
        for each in parse(chart).iter()
        if (name := each.get("class"))
    }
    assert len(used) > 15
    assert not [name for name in used if not re.search(rf"\.{name}\b", css)]
