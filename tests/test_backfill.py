"""Past months as samples with timestamps: the page's own series, on the days of the month and nowhere else."""

from __future__ import annotations

import calendar
import struct
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from breakdowns import LAB, against_others, build, cell, many
from click.testing import CliRunner
from histories import published, write_history
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from exporters.history import SERIES_A_REQUEST
from exporters.prometheus import Prometheus
from rdspend.backfill import Wish, backfill
from rdspend.cli import main
from rdspend.config import Config, load
from rdspend.errors import ConfigError, ConservationError, RdspendError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.reading import Reader
from rdspend.schema import Breakdown

MONTHS = ("2025-01", "2025-02", "2025-03")
APRIL = datetime(2025, 4, 3, tzinfo=UTC).timestamp()

Series = tuple[str, tuple[tuple[str, str], ...]]


def samples(text: str) -> dict[Series, dict[float, float]]:
    """Values by time of every series. A strict parser refuses what OpenMetrics does not allow, interleaved series too."""
    found: dict[Series, dict[float, float]] = defaultdict(dict)
    for family in openmetrics(text):
        for s in family.samples:
            assert s.timestamp is not None
            found[s.name, tuple(sorted(s.labels.items()))][float(s.timestamp)] = s.value
    return found


def page(*breakdowns: Breakdown, **options: Any) -> dict[Series, float]:
    """Series of the live page."""
    text = Prometheus(**options).render(breakdowns, None).decode()
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in prometheus_text(text) for s in f.samples}


def past(*breakdowns: Breakdown, months_shown: int = 1, target: Mapping[str, str] | None = None, **options: Any) -> str:
    return "".join(Prometheus(**options).past(breakdowns, months_shown, target or {}).open_metrics())


def scraped(series: dict[Series, dict[float, float]]) -> dict[Series, float]:
    """The one value of each series that is not a recorded sum."""
    assert all(len(set(values.values())) == 1 for values in series.values())
    return {key: next(iter(values.values())) for key, values in series.items() if ":" not in key[0]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Three published months."""
    return published(write_history(tmp_path_factory.mktemp("lab"), MONTHS), MONTHS)


def texts(config: Config, out: Path, first: str = MONTHS[0], **wish: Any) -> dict[str, str]:
    written = backfill(config, Wish(first, wish.pop("last", None), "openmetrics", str(out), **wish), APRIL)
    assert [path.name for path in sorted(out.iterdir())] == [name for each in written for name in each.names]
    return {each.month: (out / each.names[0]).read_text() for each in written}


# --- what is written ----------------------------------------------------------------------------------------------------


def test_every_series_has_a_sample_at_midnight_of_each_day_of_its_month_and_no_other(lab: Config, tmp_path: Path) -> None:
    for month, text in texts(lab, tmp_path).items():
        year, number = int(month[:4]), int(month[5:])
        days = range(1, calendar.monthrange(year, number)[1] + 1)
        midnights = {datetime(year, number, day, tzinfo=UTC).timestamp() for day in days}
        found = samples(text)
        assert len(found) > 40
        assert all(set(values) == midnights for values in found.values())


def test_series_and_values_are_those_of_the_page(lab: Config, tmp_path: Path) -> None:
    for month, text in texts(lab, tmp_path).items():
        assert scraped(samples(text)) == page(*Reader(lab).breakdowns(parse_period(month), None))


def test_the_sum_of_a_month_is_the_total_of_its_report_to_the_cent(lab: Config, tmp_path: Path) -> None:
    totals = set()
    for month, text in texts(lab, tmp_path).items():
        (report,) = Reader(lab).breakdowns(parse_period(month), None)
        cost = sum(value for (name, _), value in scraped(samples(text)).items() if name == "rdspend_cost_usd")
        assert f"{cost:.2f}" == f"{report.total:.2f}"
        totals.add(f"{cost:.2f}")
    assert len(totals) == 3


def test_recorded_sums_are_those_of_the_scraped_series(lab: Config, tmp_path: Path) -> None:
    found = samples(texts(lab, tmp_path)["2025-02"])
    recorded = {key: next(iter(values.values())) for key, values in found.items() if ":" in key[0]}
    assert len({name for name, _ in recorded}) == 3
    for (name, labels), value in recorded.items():
        _, family, _ = name.split(":")
        parts = [v for (n, of), v in scraped(found).items() if n == family and set(labels) <= set(of)]
        assert value == pytest.approx(sum(parts), rel=1e-12)


def test_the_last_month_is_the_newest_that_is_over(lab: Config, tmp_path: Path) -> None:
    written = backfill(lab, Wish("2025-02", None, "openmetrics", str(tmp_path)), datetime(2025, 3, 31, tzinfo=UTC).timestamp())
    assert [each.month for each in written] == ["2025-02"]


def test_writing_it_again_gives_the_same_bytes(lab: Config, tmp_path: Path) -> None:
    assert texts(lab, tmp_path / "one") == texts(lab, tmp_path / "other")


def test_labels_of_the_target_are_on_every_series_but_the_recorded_sums(lab: Config, tmp_path: Path) -> None:
    plain = samples(texts(lab, tmp_path / "plain")["2025-01"])
    labelled = samples(texts(lab, tmp_path / "labelled", labels=("job=rdspend", 'instance=a"\\=1'))["2025-01"])
    more = (("job", "rdspend"), ("instance", 'a"\\=1'))
    assert labelled == {
        (name, labels if ":" in name else tuple(sorted((*labels, *more)))): values for (name, labels), values in plain.items()
    }


def test_the_same_teams_are_folded_as_on_a_page_of_several_months() -> None:
    one, other = build(many(900)), build(many(900, seed=8), period="2026-11", months=("2026-11",))
    shown = {key: v for key, v in page(one, other, max_series=200).items() if ("billing_period", "2026-10") in key[1]}
    assert scraped(samples(past(one, months_shown=2, max_series=200))) == shown


def test_a_month_in_two_currencies_has_both_and_never_adds_them() -> None:
    euro = build([cell("exploration", "7", "2")], currency="EUR")
    found = scraped(samples(past(build(), euro)))
    assert found == page(build(), euro)
    sums = {name for name, _ in samples(past(build(), euro)) if name.startswith("billing_period_category:")}
    assert sums == {"billing_period_category:rdspend_cost_usd:sum", "billing_period_category:rdspend_cost_eur:sum"}


def test_only_series_of_the_month_itself_are_written() -> None:
    made = against_others()
    found = scraped(samples(past(made)))
    assert {dict(labels)["billing_period"] for _, labels in found} == {"2026-10"}
    assert {key for key in page(made) if key not in found} == {
        key for key in page(made) if key[0] == "rdspend_estimate_error_ratio" and ("billing_period", "2026-09") in key[1]
    }


def test_a_month_with_nothing_in_it_has_no_cost_and_is_text_all_the_same() -> None:
    found = samples(past(build((), closings=())))
    assert not [name for name, _ in found if "cost" in name and "folded" not in name]
    assert "rdspend_denominator_usd" in {name for name, _ in found}


def test_negative_months_are_written_as_they_are() -> None:
    made = build([cell("shared", "-12.5")])
    assert [v for (name, _), v in scraped(samples(past(made))).items() if name == "rdspend_cost_usd"] == [-12.5]


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).filter(lambda name: "@" not in name))
def test_any_team_name_comes_back_as_it_went_in(team: str) -> None:
    found = samples(past(build([cell("exploration", "1.5", team=team)])))
    assert [dict(labels)["team"] for name, labels in found if name == "rdspend_cost_usd"] == [team]


def test_a_breakdown_that_does_not_close_is_refused() -> None:
    with pytest.raises(ConservationError):
        past(replace(build(LAB), charges=Decimal(1)))


# --- remote write ---------------------------------------------------------------------------------------------------------


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and contents of a protobuf message's fields; of a double its eight bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte, at = message[at], at + 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        length = 8 if kind == 1 else varint()
        yield number, message[at : at + length]
        at += length


def sent(request: bytes) -> Iterator[tuple[list[tuple[str, str]], dict[float, float]]]:
    """Labels as they are sent, and values by time, of each series of a WriteRequest."""
    for _, series in fields(request):
        parts = list(fields(series))  # type: ignore[arg-type]
        labels = [tuple(t.decode() for _, t in fields(part)) for number, part in parts if number == 1]  # type: ignore
        pairs = [dict(fields(part)) for number, part in parts if number == 2]  # type: ignore
        yield labels, {pair[2] / 1000: struct.unpack("<d", pair[1])[0] for pair in pairs}  # type: ignore


def test_what_is_sent_is_what_the_text_says_with_labels_by_name_and_no_empty_one() -> None:
    made = build((*LAB, *many(2500), cell("evaluation", "-1.5", team="équipe 数据")))
    past_month = Prometheus().past((made,), 1, {"job": "rdspend", "Zone": "a"})
    requests = [list(sent(request)) for request in past_month.write_requests()]
    assert [len(request) for request in requests[:-1]] == [SERIES_A_REQUEST] * (len(requests) - 1)
    found = [series for request in requests for series in request]
    assert len(found) == past_month.series > 2 * SERIES_A_REQUEST
    assert all(labels == sorted(labels) and all(text for _, text in labels) for labels, _ in found)
    assert {tuple(labels): values for labels, values in found} == {
        tuple(sorted((("__name__", name), *(pair for pair in labels if pair[1])))): values
        for (name, labels), values in samples("".join(past_month.open_metrics())).items()
    }


# --- what is refused ----------------------------------------------------------------------------------------------------

REFUSED = [
    (Wish("2024-12", None, "openmetrics", ""), "2024-12: never published .* 2025-01 to 2025-03"),
    (Wish("2025-01", "2025-04", "openmetrics", ""), "2025-04 still runs"),
    (Wish("2025-03", "2025-01", "openmetrics", ""), "a month before --from 2025-03"),
    (Wish("2025-Q1", None, "openmetrics", ""), "--from '2025-Q1': expected a month"),
    (Wish("2025-01", "2025", "openmetrics", ""), "--to '2025': expected a month"),
    (Wish("2025", None, "openmetrics", ""), "--from '2025': expected a month"),
    (Wish("January", None, "openmetrics", ""), "expected a month"),
    (Wish("2025-01", None, "blocks", "", promtool="promtool-that-is-not-there"), "package prometheus"),
    (Wish("2025-01", None, "openmetrics", "", labels=("team=a",)), "--label team: rdspend_cost_usd has a label"),
    (Wish("2025-01", None, "openmetrics", "", labels=("job",)), "--label 'job'"),
    (Wish("2025-01", None, "openmetrics", "", labels=("job=a", "job=b")), "--label 'job=b'"),
    (Wish("2025-01", None, "openmetrics", "", labels=("__name__=a",)), "--label '__name__=a'"),
    (Wish("2025-01", None, "remote-write", ""), "expected a receiver's address"),
]


@pytest.mark.parametrize(("wish", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_can_not_be_written_is_refused_and_nothing_is_left(lab: Config, tmp_path: Path, wish: Wish, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        backfill(lab, replace(wish, out=str(tmp_path / "out")), APRIL)
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "out"])


def test_a_gap_between_published_months_is_named(tmp_path: Path) -> None:
    config = published(write_history(tmp_path / "lab", ("2025-01", "2025-03")), ("2025-01", "2025-03"))
    with pytest.raises(ConfigError, match="2025-02: never published"):
        backfill(config, Wish("2025-01", "2025-03", "openmetrics", str(tmp_path / "out")), APRIL)


def test_an_empty_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"2025-01: never published .*there is none"):
        backfill(load(write_history(tmp_path, MONTHS)), Wish("2025-01", None, "openmetrics", str(tmp_path / "out")), APRIL)


def test_a_place_that_can_not_be_written_is_named(lab: Config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceUnavailable, match=r"--out .*file"):
        backfill(lab, Wish("2025-01", None, "openmetrics", str(tmp_path / "file")), APRIL)


BREAKS = """#!{python} -P
import pathlib, sys
folder = pathlib.Path(sys.argv[-1]) / ("block-of-" + pathlib.Path(sys.argv[-2]).stem)
folder.mkdir(parents=True)
if "2025-02" in sys.argv[-2]:
    sys.exit("the disk is full, says the tool")
"""


def test_when_promtool_breaks_in_the_middle_no_block_is_moved_and_its_words_are_told(lab: Config, tmp_path: Path) -> None:
    tool = tmp_path / "promtool"
    tool.write_text(BREAKS.format(python=sys.executable))
    tool.chmod(0o755)
    with pytest.raises(RdspendError, match=r"rdspend-2025-02\.om: the disk is full, says the tool"):
        backfill(lab, Wish("2025-01", None, "blocks", str(tmp_path / "out"), promtool=str(tool)), APRIL)
    assert list((tmp_path / "out").iterdir()) == []


# --- the command --------------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote(lab: Config, tmp_path: Path) -> None:
    words = ["--config", str(lab.file), "backfill", "--from", "2025-02", "--to", "2025-03", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    assert [(month, name) for month, _, name in lines] == [
        ("2025-02", "rdspend-2025-02.om"),
        ("2025-03", "rdspend-2025-03.om"),
    ]
    counts = [f"{len(samples((tmp_path / name).read_text()))} series" for _, _, name in lines]
    assert [count for _, count, _ in lines] == counts


def test_the_command_ends_with_2_for_a_month_that_is_not_there(lab: Config, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--config", str(lab.file), "backfill", "--from", "2020-01", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "never published" in done.stderr
