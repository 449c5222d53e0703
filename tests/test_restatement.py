"""A month that is restated: its state, what closing it pins, and what the difference of two revisions says."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from organisations import JOBS, JOBS_HEADER, LABELS, NODES, NODES_HEADER, RULES

from exporters.report import Report
from rdspend.breakdown import encode
from rdspend.config import load
from rdspend.difference import Difference, Revision, compare
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.ledger import Writer
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Outcome, Pipeline
from rdspend.policy import load_policy
from rdspend.reading import Reader
from rdspend.schema import ATTRIBUTIONS, PUBLICATIONS, STATEMENTS, Breakdown, Location

OCTOBER = parse_period("2026-10")
FIRST, LAST = "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"
MONEY = ("before", "after", "difference", "billed_before", "billed_after", "billed_difference")

Line = Mapping[str, str]


def line(cost: str, resource: str = "", hour: int | None = None, **other: str) -> dict[str, str]:
    """One line of a FOCUS bill: of an hour of October's first two days, or of the whole month."""
    start, end = FIRST, LAST
    if hour is not None:
        start, end = (f"2026-10-{1 + h // 24:02d}T{h % 24:02d}:00:00Z" for h in (hour, hour + 1))
    return {
        "BilledCost": cost,
        "EffectiveCost": cost,
        "BillingCurrency": "USD",
        "BillingPeriodStart": FIRST,
        "BillingPeriodEnd": LAST,
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "ChargeCategory": "Usage",
        "ChargeDescription": "GPU hour" if resource else "storage",
        "ResourceId": resource,
        "ServiceName": "Compute" if resource else "Storage",
        "SubAccountId": "research",
        "SkuId": "p5" if resource else "",
        "InvoiceId": "INV-1",
        "BillingAccountId": "1",
        **other,
    }


def two_days(price: str = "98.32") -> list[dict[str, str]]:
    nodes = [line(price, node, hour) for hour in range(48) for node in ("i-1", "i-2")]
    return [*nodes, line("310.123456789"), line("-10", ServiceName="Credits", ChargeCategory="Credit", SubAccountId="")]


def write_rows(path: Path, rows: Sequence[Line]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())


CONFIG = """\
ledger = "ledger"
title = "A small lab"
[collectors.focus]
path = "bill.csv"
[collectors.job_log]
cluster = "c1"
path = "jobs.csv"
nodes = "nodes.csv"
[taggers.label]
path = "labels.csv"
[taggers.rule]
path = "rules.toml"
[collect]
retries = 0
"""


class Lab:
    """A small organisation in a folder, and its finance department."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.write("rdspend.toml", CONFIG)
        self.bill(two_days())
        self.write("jobs.csv", "\n".join([JOBS_HEADER, *JOBS]) + "\n")
        self.write("nodes.csv", "\n".join([NODES_HEADER, *NODES]) + "\n")
        self.write("labels.csv", "\n".join(LABELS) + "\n")
        self.write("rules.toml", RULES)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def bill(self, rows: Sequence[Line]) -> None:
        write_rows(self.folder / "bill.csv", rows)

    def pipeline(self, now: str) -> Pipeline:
        moment = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
        return Pipeline(load(self.folder / "rdspend.toml"), clock=lambda: moment, sleep=lambda _: None)

    def run(self, now: str, stages: Sequence[str] = STAGES) -> Breakdown:
        outcome = self.pipeline(now).run(OCTOBER, stages)
        assert outcome.failures == []
        return outcome.breakdowns[0] if outcome.breakdowns else self.report()

    def close(self, now: str, **options: Any) -> Outcome:
        return self.pipeline(now).close(OCTOBER, **options)

    @property
    def reader(self) -> Reader:
        return Reader(load(self.folder / "rdspend.toml"))

    def report(self, as_of: str | None = None) -> Breakdown:
        (found,) = self.reader.breakdowns(OCTOBER, None, as_of)
        return found

    def report_of(self, currency: str) -> Breakdown:
        (found,) = self.reader.breakdowns(OCTOBER, currency)
        return found

    def texts(self, as_of: str | None = None) -> tuple[str, ...]:
        """Every form of the report, and all that it is made of."""
        found = self.report(as_of)
        return (encode(found), *(form(found) for _, form in sorted(Report(Location(str(self.folder))).texts.items())))

    def diff(self, before: str | None = None, after: str | None = None, limit: int = 20) -> Difference:
        return self.reader.diff(OCTOBER, before, after, None, limit)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


# --- the state of a month ---------------------------------------------------------------------------------------------


def test_a_month_is_open_until_it_ends_and_preliminary_for_two_weeks_more(lab: Lab) -> None:
    lab.run("2026-10-20")
    states = {now: lab.run(now, ["publish"]).state for now in ("2026-10-31T23:59:59", "2026-11-01")}
    lab.run("2026-11-02", ["collect", "attribute"])
    states |= {now: lab.run(now, ["publish"]).state for now in ("2026-11-14T23:59:59", "2026-11-15")}
    assert list(states.values()) == ["open", "preliminary", "preliminary", "closed"]


def test_time_alone_makes_no_new_revision_and_yet_says_the_new_state(lab: Lab) -> None:
    first = lab.run("2026-11-02")
    later = lab.run("2026-11-20", ["publish"])
    assert (first.revision, first.state, later.revision, later.state) == (1, "preliminary", 1, "closed")
    assert lab.report() == later
    assert lab.report("1") == first


def test_figures_read_early_are_not_closed_by_time_alone(lab: Lab) -> None:
    """Nobody looked at the bill again, so what the report shows is still what an unfinished month looked like."""
    lab.run("2026-11-02")
    lab.pipeline("2026-12-05").run(parse_period("2026-11"))
    assert lab.report().state == "preliminary"


def test_money_without_an_invoice_keeps_a_month_preliminary(lab: Lab) -> None:
    lab.bill([*two_days(), line("0.01", InvoiceId="")])
    assert lab.run("2026-12-20").state == "preliminary"


def test_usage_that_is_billed_as_nothing_needs_no_invoice(lab: Lab) -> None:
    lab.bill([*two_days(), line("5", InvoiceId="", BilledCost="0")])
    assert lab.run("2026-12-20").state == "closed"


def test_an_estimate_keeps_a_month_preliminary(lab: Lab) -> None:
    lab.bill([each for each in two_days() if each["ResourceId"] != "i-2"])
    rates = '[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = "2.5"\ncurrency = "USD"\nfrom = "2026-01-01T00:00:00Z"\n'
    lab.write("rates.toml", rates)
    lab.write("rdspend.toml", CONFIG + '[collectors.rate_card]\npath = "rates.toml"\n')
    found = lab.run("2026-12-20")
    assert (found.basis, found.state) == ("mixed", "preliminary")


def test_a_month_that_a_source_did_not_show_is_not_closed_by_time(lab: Lab) -> None:
    lab.run("2026-11-02")
    (lab.folder / "jobs.csv").rename(lab.folder / "jobs.away")
    lab.pipeline("2026-11-20").run(OCTOBER)
    assert lab.report().state == "preliminary"


def test_a_restatement_after_a_month_closed_by_itself_is_a_correction(lab: Lab) -> None:
    first = lab.run("2026-11-20")
    lab.bill(two_days("99"))
    second = lab.run("2026-12-20")
    assert (first.state, second.state, second.revision) == ("closed", "corrected", 2)
    assert second.closed is not None
    assert second.closed == first.closed
    assert (second.closed.revision, second.closed.snapshot, second.closed.total) == (1, "run-1", first.total)
    assert lab.run("2026-12-21", ["publish"]).state == "corrected", "publishing again does not accept it"
    lab.bill(two_days())
    back = lab.run("2026-12-22")
    assert (back.state, back.total, back.closed) == ("closed", first.total, first.closed)


def test_figures_that_moved_and_were_not_published_are_a_correction_as_well(lab: Lab) -> None:
    lab.run("2026-11-20")
    lab.bill(two_days("99"))
    lab.run("2026-12-20", STAGES[:3])
    found = lab.report()
    assert (found.state, found.revision, found.closed.revision if found.closed else 0) == ("corrected", 2, 1)
    assert encode(found) == encode(lab.report())


def test_new_words_correct_nothing(lab: Lab) -> None:
    lab.run("2026-11-20")
    lab.write("rdspend.toml", CONFIG.replace("A small lab", "Another name"))
    found = lab.run("2026-12-20", ["publish"])
    assert (found.title, found.revision, found.state) == ("Another name", 1, "closed")


def as_of_before(lab: Lab) -> None:
    """The only publication as an rdspend wrote it that knew no states."""
    with lab.reader.ledger.writer() as writer, Engine() as engine:
        writer.snapshot().view(engine, "publications")
        ((*words, _, text),) = engine.rows("SELECT run, period, policy, currency, revision, digest, figures FROM publications")
        figures = json.loads(text)
        for name in ("state", "state_why", "closed", "bridge", "invoices", "checks", "estimate_errors", "conversions"):
            figures.pop(name, None)
        for closing in figures["closings"]:
            del closing["currency"]
        row = (*words, "of other words", json.dumps(figures), 0.0)
        writer.replace(PUBLICATIONS, engine.made("publication_row", [row]), {}, drop=lambda _: True)
        finish(writer, engine, "forget")


def test_a_month_that_an_earlier_rdspend_published_is_closed_and_not_corrected_by_publishing_it_again(lab: Lab) -> None:
    lab.run("2026-11-05")
    as_of_before(lab)
    assert lab.report().state == ""
    lab.close("2026-11-06")
    again = lab.run("2026-11-20", ["publish"])
    assert (lab.report().state, again.state) == ("closed", "closed")
    assert (again.closed.revision if again.closed else 0) == 1


def test_jobs_that_are_something_else_now_correct_a_closed_month_though_its_total_stays(lab: Lab) -> None:
    before = lab.run("2026-11-20")
    lab.write("labels.csv", LABELS[0] + "\n")
    after = lab.run("2026-12-20")
    assert (after.total, after.state) == (before.total, "corrected")


# --- closing ----------------------------------------------------------------------------------------------------------


def test_a_closed_month_says_so_and_a_later_restatement_is_a_correction_with_both_figures(lab: Lab) -> None:
    lab.bill([{**each, "InvoiceId": ""} for each in two_days()])
    published = lab.run("2026-11-05")
    outcome = lab.close("2026-11-06")
    assert [outcome.closed, outcome.run.stages if outcome.run else ""] == [
        ["closed 2026-10 USD with revision 1: 9,738.84 effective, 9,738.84 billed"],
        "close",
    ]
    found = lab.report()
    assert (published.state, found.state, found.snapshot, found.revision) == ("preliminary", "closed", "run-2", 1)
    assert outcome.breakdowns == [found]
    assert found.closed is not None
    assert (found.closed.revision, found.closed.snapshot, found.closed.total) == (1, "run-1", published.total)
    assert found.closed.closed_at == datetime(2026, 11, 6, tzinfo=UTC)
    lab.bill(two_days("99"))
    corrected = lab.run("2026-11-20")
    assert (corrected.state, corrected.closed) == ("corrected", found.closed)
    assert corrected.total - corrected.closed.total == 96 * (Decimal("99") - Decimal("98.32"))  # type: ignore[union-attr]


def test_closing_again_accepts_the_correction_and_says_so(lab: Lab) -> None:
    lab.run("2026-11-05")
    lab.close("2026-11-06")
    lab.bill(two_days("99"))
    lab.run("2026-11-20")
    outcome = lab.close("2026-11-21")
    assert outcome.closed == [
        "closed 2026-10 USD again with revision 2: 9,804.12 effective, 9,804.12 billed; the correction of revision 1 "
        "(9,738.84 effective, 9,738.84 billed) is accepted"
    ]
    assert lab.report().state == "closed"
    assert lab.report("3").state == "corrected"


def test_closing_twice_is_one_run(lab: Lab) -> None:
    lab.run("2026-11-05")
    lab.close("2026-11-06")
    again = lab.close("2026-11-07")
    assert again.run is None
    assert "already, since 2026-11-06" in again.closed[0]
    assert len(lab.reader.ledger.runs()) == 2


NOT_READY = {
    "has not ended yet; it can be closed from 2026-11-01": [("2026-10-20", STAGES)],
    "2026-10 was never published": [("2026-11-05", STAGES[:3])],
    "collected but not attributed": [("2026-11-05", STAGES), ("2026-11-06", ("collect",))],
    "tagged again since it was published": [("2026-11-05", STAGES), ("2026-11-06", ("tag",))],
    "focus did not show 2026-10-20T00:00Z to 2026-11-01T00:00Z": [("2026-10-20", STAGES)],
}


@pytest.mark.parametrize("says", NOT_READY)
def test_a_month_that_is_not_ready_is_not_closed(lab: Lab, says: str) -> None:
    for moment, stages in NOT_READY[says]:
        lab.pipeline(moment).run(OCTOBER, stages)
    runs = len(lab.reader.ledger.runs())
    with pytest.raises(ConfigError, match=says):
        lab.close("2026-10-31T23:59:59" if "ended" in says else "2026-11-07")
    assert len(lab.reader.ledger.runs()) == runs


def test_a_source_that_was_never_asked_keeps_a_month_from_being_closed(lab: Lab) -> None:
    lab.run("2026-11-05")
    lab.write("rdspend.toml", CONFIG.replace("[taggers.label]", '[collectors.focus.other]\npath = "b.csv"\n[taggers.label]'))
    with pytest.raises(ConfigError, match=r"focus\.other was never asked about it"):
        lab.close("2026-11-06")


def test_a_month_with_a_gap_can_be_closed_on_purpose(lab: Lab) -> None:
    lab.run("2026-10-20")
    lab.close("2026-11-07", even_if_incomplete=True)
    found = lab.report()
    assert (found.state, found.complete) == ("closed", False)


def test_a_currency_may_be_closed_alone(lab: Lab) -> None:
    lab.bill([*two_days(), line("7", BillingCurrency="EUR", ServiceName="Support")])
    lab.pipeline("2026-11-05").run(OCTOBER)
    with pytest.raises(ConfigError, match=r"'GBP'.*the period has EUR, USD"):
        lab.close("2026-11-06", currency="GBP")
    lab.close("2026-11-06", currency="EUR")
    assert [(b.currency, b.state) for b in lab.reader.breakdowns(OCTOBER, None)] == [("EUR", "closed"), ("USD", "preliminary")]
    assert [b.state for b in lab.close("2026-11-07").breakdowns] == ["closed", "closed"]


# --- show 5: three restatements ---------------------------------------------------------------------------------------


def test_a_month_restated_three_times_keeps_every_report_and_names_what_moved_it(lab: Lab) -> None:
    reports: dict[str, tuple[str, ...]] = {}

    def keep() -> Breakdown:
        found = lab.report()
        reports[found.snapshot] = lab.texts()
        return found

    lab.run("2026-11-03")
    first = keep()
    lab.close("2026-11-04")
    closed = keep()
    # The provider takes 1.32 off each hour of one node, then adds support, then credits a day: three later bills.
    bill = [{**each, "EffectiveCost": "97"} if each["ResourceId"] == "i-2" else each for each in two_days()]
    steps = []
    for now, change in (
        ("2026-11-18", []),
        ("2026-12-18", [line("250", ServiceName="Support", SubAccountId="platform", ChargeDescription="support plan")]),
        ("2026-12-28", [line("-98.32", "i-1", 3, ChargeCategory="Credit", ChargeDescription="outage")]),
    ):
        bill = [*bill, *change]
        lab.bill(bill)
        lab.run(now)
        steps.append(keep())
    assert [b.revision for b in steps] == [2, 3, 4]
    assert [b.state for b in (first, closed, *steps)] == ["preliminary", "closed", *["corrected"] * 3]
    moved = 48 * Decimal("-1.32")
    assert [b.total - first.total for b in steps] == [moved, moved + 250, moved + 250 - Decimal("98.32")]
    assert {b.closed.total for b in steps if b.closed} == {first.total}

    repriced, support, outage = (lab.diff(str(r), str(r + 1)) for r in (1, 2, 3))
    assert {row.resource for row in repriced.rows} == {"i-2"}
    assert [(m.difference, m.billed_difference) for m in repriced.sources] == [(moved, 0)]
    (row,) = support.rows
    assert (row.service, row.account, row.difference, row.before_origin) == ("Support", "platform", 250, "")
    assert row.after_origin.endswith("bill.csv:99")
    assert [(m.name, m.difference) for m in support.accounts if m.difference] == [("platform", 250)]
    assert [(m.name, m.difference) for m in support.activities if m.difference] == [("shared", 250)]
    (row,) = outage.rows
    assert (row.resource, row.start, row.description, row.difference) == (
        "i-1",
        "2026-10-01T03:00:00Z",
        "outage",
        Decimal("-98.32"),
    )
    assert [(m.name, m.difference) for m in outage.teams if m.difference] == [("pretrain", Decimal("-98.32"))]
    assert [{cause.kind for cause in each.causes} for each in (repriced, support, outage)] == [{"bill"}] * 3

    since_closed = lab.diff()
    assert (since_closed.before.revision, since_closed.after.revision) == (1, 4)
    assert since_closed.whole.difference == steps[-1].total - first.total

    assert {name: lab.texts(name) for name in reports} == reports
    assert len({texts[0] for texts in reports.values()}) == 5


# --- the difference ---------------------------------------------------------------------------------------------------


def added(moves: Iterable[Any]) -> tuple[Decimal, ...]:
    listed = list(moves)
    return tuple(sum((getattr(move, name) for move in listed), Decimal(0)) for name in MONEY)


def refuse_loss(found: Difference) -> None:
    whole = tuple(getattr(found.whole, name) for name in MONEY)
    for moves in (found.sources, found.accounts, found.services, found.teams, found.activities):
        assert added(moves) == whole
    for each in found.activities:
        assert each.difference == each.retagged + each.jobs + each.money
    assert added(found.rows)[2] + found.rest == found.whole.difference
    assert added(found.rows)[5] + found.billed_rest == found.whole.billed_difference


KEY = (
    *("BillingAccountId", "SubAccountId", "ServiceName", "ResourceId", "SkuId", "ChargeCategory", "ChargePeriodStart"),
    *("ChargePeriodEnd", "ChargeDescription"),
)


def by_content(rows: Sequence[Line]) -> dict[tuple[str, ...], tuple[Decimal, Decimal]]:
    """Money by the content of a line, added with a pencil."""
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    for row in rows:
        key = tuple(row[name] for name in KEY)
        effective, billed = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = (effective + Decimal(row["EffectiveCost"]), billed + Decimal(row["BilledCost"]))
    return sums


@pytest.mark.parametrize("seed", range(3))
def test_the_difference_is_that_of_the_two_bills_row_by_row_and_adds_up_to_the_whole(lab: Lab, seed: int) -> None:
    chance = random.Random(seed)

    def anything() -> dict[str, str]:
        resource = chance.choice(["", "i-1", "i-2", "i-7"])
        return line(
            f"{chance.randrange(-(10**12), 10**12) / 10**9:.9f}",
            resource,
            chance.choice([None, *range(6)]),
            BilledCost=f"{chance.randrange(10**9) / 10**9:.9f}",
            SubAccountId=chance.choice(["", "a", "b"]),
            ServiceName=chance.choice(["", "Compute", "Storage"]),
            ChargeDescription=chance.choice(["", "one", "two"]),
        )

    before = [*two_days(), *(anything() for _ in range(60))]
    kept = [each for each in before if chance.random() < 0.9]
    changed = [{**each, "EffectiveCost": "1.000000001"} if chance.random() < 0.1 else each for each in kept]
    after = [*changed, *(anything() for _ in range(20))]
    chance.shuffle(after)
    lab.bill(before)
    lab.run("2026-11-20")
    lab.bill(after)
    lab.run("2026-11-21")
    found = lab.diff(limit=1000)
    refuse_loss(found)
    old, new = by_content(before), by_content(after)
    nothing = (Decimal(0), Decimal(0))
    expected = {
        key: (*old.get(key, nothing), *new.get(key, nothing))
        for key in old.keys() | new.keys()
        if old.get(key, nothing) != new.get(key, nothing)
    }
    shown = {
        (r.billing_account, r.account, r.service, r.resource, r.sku, r.charge_category, r.start, r.end, r.description): (
            r.before,
            r.billed_before,
            r.after,
            r.billed_after,
        )
        for r in found.rows
    }
    # A row whose resource day moved by nothing at all is not looked at; none of these does.
    assert shown == expected
    assert (found.rest, found.billed_rest) == (0, 0)
    sizes = [max(abs(row.difference), abs(row.billed_difference)) for row in found.rows]
    assert sizes == sorted(sizes, reverse=True)
    few = lab.diff(limit=3)
    assert few.rows == found.rows[:3]
    refuse_loss(few)
    for row in found.rows:
        if row.after_rows == 1:
            assert Decimal(after[int(row.after_origin.rpartition(":")[2]) - 1]["EffectiveCost"]) == row.after


def test_rows_are_looked_for_where_most_money_moved_and_the_rest_is_still_told(lab: Lab) -> None:
    lab.run("2026-11-20")
    lab.bill([{**each, "EffectiveCost": "50"} if each["ResourceId"] == "i-1" else each for each in two_days("98.33")])
    lab.run("2026-11-21")
    whole = lab.diff(limit=1000)
    before, after = (Revision(lab.reader.ledger.snapshot(run), None) for run in ("1", "2"))
    with Engine() as engine:
        found = compare(engine, OCTOBER, load_policy("epoch"), "USD", (before, after), 1000, look_at=1)
    assert (found.rows_looked_at, found.rows_moved, whole.rows_looked_at) == (48, 192, 192)
    assert {(row.resource, row.start[:10]) for row in found.rows} <= {("i-1", "2026-10-01"), ("i-1", "2026-10-02")}
    assert found.rows == tuple(row for row in whole.rows if row in found.rows)
    refuse_loss(found)


def test_a_label_that_was_taken_back_is_named_with_its_jobs_and_their_money(lab: Lab) -> None:
    before = lab.run("2026-11-20")
    lab.write("labels.csv", LABELS[0] + "\n")
    lab.run("2026-11-21")
    found = lab.diff()
    refuse_loss(found)
    (cause,) = found.causes
    price = 24 * Decimal("98.32")
    assert (cause.kind, cause.count, cause.money) == ("retagged", 1, price)
    assert cause.words == "nobody says unclassified, before label said final_training"
    moved = {m.name: (m.difference, m.retagged) for m in found.activities if m.difference}
    assert moved == {"final_training": (-price, -price), "unclassified": (price, price)}
    assert found.rows == ()
    assert found.whole.before == found.whole.after == before.total


def test_jobs_that_came_late_and_jobs_that_are_gone_are_named(lab: Lab) -> None:
    lab.run("2026-11-20")
    late = "6,u9,data,late-one,2026-10-02T00:00:00Z,2026-10-02T12:00:00Z,2026-10-02T14:00:00Z,COMPLETED,n1,8,H100,evaluation"
    lab.write("jobs.csv", "\n".join([JOBS_HEADER, *JOBS[:3], *JOBS[4:], late]) + "\n")
    lab.run("2026-11-21")
    found = lab.diff()
    refuse_loss(found)
    price = Decimal("98.32")
    assert {c.words: (c.kind, c.count, c.money) for c in found.causes} == {
        "jobs that were not known before": ("jobs", 1, 2 * price),
        "jobs that are not known any more": ("jobs", 1, -10 * price),
    }
    assert {m.name: (m.difference, m.jobs) for m in found.activities if m.difference} == {
        "exploration": (-10 * price, -10 * price),
        "evaluation": (2 * price, 2 * price),
        "idle": (8 * price, 0),
    }


def test_another_share_rule_other_nodes_and_other_times_are_named(lab: Lab) -> None:
    held = [f"{job},{90 if 'mystery' in job else 8}" for job in JOBS]
    lab.write("jobs.csv", "\n".join([f"{JOBS_HEADER},cpus", *held]) + "\n")
    lab.run("2026-11-20")
    lab.write("rdspend.toml", CONFIG + '[engine]\nshare_rule = "dominant"\n')
    lab.run("2026-11-21", ["attribute", "publish"])
    rule = lab.diff()
    refuse_loss(rule)
    assert [c.kind for c in rule.causes] == ["share_rule"]
    assert rule.causes[0].words.startswith("nodes are shared by 'dominant' now, before by 'gpu'")
    lab.write("nodes.csv", "\n".join([NODES_HEADER, NODES[0], NODES[1].replace(",8,H100", ",16,H100")]) + "\n")
    lab.write("jobs.csv", "\n".join([f"{JOBS_HEADER},cpus", *held]).replace("2026-10-01T15:00", "2026-10-01T16:00") + "\n")
    lab.run("2026-11-22")
    found = lab.diff("2", "3")
    refuse_loss(found)
    assert {c.kind for c in found.causes} == {"nodes", "placements"}
    assert {c.kind for c in lab.diff().causes} == {"nodes", "placements", "share_rule"}, "from the closed one, all of it"


def test_a_bill_that_only_was_read_again_changes_nothing(lab: Lab) -> None:
    lab.run("2026-11-20")
    lab.run("2026-11-21")
    found = lab.diff("run-1", "run-2")
    assert (found.causes, found.rows, found.whole.difference) == ((), (), 0)
    refuse_loss(found)


def test_an_estimate_that_became_a_bill_is_two_sources_that_moved(lab: Lab) -> None:
    lab.bill([each for each in two_days() if each["ResourceId"] != "i-2"])
    rates = '[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = "2.5"\ncurrency = "USD"\nfrom = "2026-01-01T00:00:00Z"\n'
    lab.write("rates.toml", rates)
    lab.write("rdspend.toml", CONFIG + '[collectors.rate_card]\npath = "rates.toml"\n')
    lab.run("2026-11-05")
    lab.bill(two_days())
    lab.run("2026-11-20")
    found = lab.diff()
    refuse_loss(found)
    moved = {m.name: m.difference for m in found.sources}
    assert moved["focus"] == 48 * Decimal("98.32")
    assert moved["rate_card"] == -48 * 8 * Decimal("2.5")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("7", None, "no revision '7'; expected one of 1, or a run such as run-12"),
        ("run-9", None, "no such run"),
        (None, None, "2026-10 has no revision before 1"),
    ],
)
def test_a_revision_that_is_not_there_is_named_with_those_that_are(lab: Lab, before: str, after: str, says: str) -> None:
    lab.run("2026-11-20")
    with pytest.raises(ConfigError, match=says):
        lab.diff(before, after)


def test_a_currency_has_to_be_chosen_where_there_are_several(lab: Lab) -> None:
    lab.bill([*two_days(), line("7", BillingCurrency="EUR", ServiceName="Support")])
    lab.pipeline("2026-11-05").run(OCTOBER)
    lab.bill([*two_days(), line("9", BillingCurrency="EUR", ServiceName="Support")])
    lab.pipeline("2026-11-06").run(OCTOBER)
    with pytest.raises(ConfigError, match="published in EUR, USD; choose one with --currency"):
        lab.diff()
    assert lab.reader.diff(OCTOBER, None, None, "EUR", 5).whole.difference == 2
    assert lab.reader.diff(OCTOBER, "run-1", "run-2", "USD", 5).whole.difference == 0


# --- money that leaves a month ----------------------------------------------------------------------------------------


def support(cost: str = "700", **other: str) -> dict[str, str]:
    return line(cost, BillingCurrency="EUR", ServiceName="Support", **other)


def of_september(rows: Iterable[Line]) -> list[dict[str, str]]:
    return [{k: v.replace("2026-10", "2026-09").replace("2026-11", "2026-10") for k, v in row.items()} for row in rows]


def states(lab: Lab) -> dict[str, tuple[str, Decimal, Decimal | None]]:
    """State, total, and total it was closed with, of each currency that the month has."""
    found = lab.reader.breakdowns(OCTOBER, None)
    return {b.currency: (b.state, b.total, b.closed.total if b.closed else None) for b in found}


def test_a_currency_that_leaves_the_bill_of_a_closed_month_is_a_correction_to_nothing(lab: Lab) -> None:
    lab.bill([*two_days(), support()])
    lab.pipeline("2026-11-20").run(OCTOBER)
    lab.close("2026-11-21")
    total = lab.report_of("USD").total
    lab.bill(two_days())
    published = lab.pipeline("2026-12-20").run(OCTOBER).breakdowns
    expected = {"EUR": ("corrected", Decimal(0), Decimal(700)), "USD": ("closed", total, total)}
    assert states(lab) == expected
    assert [b.currency for b in published] == ["EUR", "USD"]
    assert published[0].gpu_hours == 0, "jobs that dollars pay for are not counted with euros"
    gone = lab.reader.diff(OCTOBER, None, None, "EUR", 5)
    assert (gone.whole.difference, [c.kind for c in gone.causes], [r.service for r in gone.rows]) == (
        -700,
        ["bill"],
        ["Support"],
    )
    lab.pipeline("2026-12-21").run(OCTOBER, ["publish"])
    assert states(lab) == expected, "it does not vanish with the next publication"
    accepted = lab.close("2026-12-22").closed
    assert accepted[0] == (
        "closed 2026-10 EUR again with revision 2: 0.00 effective, 0.00 billed; the correction of revision 1 "
        "(700.00 effective, 700.00 billed) is accepted"
    )
    assert states(lab)["EUR"] == ("closed", 0, 0)


def test_a_currency_that_left_is_shown_before_anybody_publishes_it(lab: Lab) -> None:
    lab.bill([*two_days(), support()])
    lab.pipeline("2026-11-20").run(OCTOBER)
    lab.bill(two_days())
    lab.pipeline("2026-12-20").run(OCTOBER, STAGES[:3])
    assert states(lab)["EUR"] == ("corrected", 0, 700)


def test_a_currency_that_an_earlier_rdspend_left_out_is_shown(lab: Lab) -> None:
    lab.bill([*two_days(), support()])
    lab.pipeline("2026-11-20").run(OCTOBER)
    lab.bill(two_days())
    lab.pipeline("2026-12-20").run(OCTOBER)
    with lab.reader.ledger.writer() as writer, Engine() as engine:
        writer.snapshot().view(engine, "publications")
        kept = engine.connection.sql("SELECT * FROM publications WHERE run = 1 OR currency = 'USD'")
        writer.replace(PUBLICATIONS, kept, {}, drop=lambda _: True)
        finish(writer, engine, "forget")
    assert states(lab)["EUR"] == ("corrected", 0, 700)
    assert states(lab)["USD"][0] == "closed"


def test_a_closed_month_that_no_bill_names_any_more_is_corrected_and_keeps_its_currency(lab: Lab) -> None:
    total = lab.run("2026-11-20").total
    lab.close("2026-11-21")
    lab.bill(of_september(two_days()))
    lab.run("2026-12-20")
    assert states(lab) == {"USD": ("corrected", 0, total)}


def test_money_in_a_currency_that_a_closed_month_did_not_have_is_a_correction_of_nothing(lab: Lab) -> None:
    lab.run("2026-11-05")
    lab.close("2026-11-06")
    lab.bill([*two_days(), support()])
    lab.pipeline("2026-12-20").run(OCTOBER)
    assert states(lab)["EUR"] == ("corrected", 700, 0)
    assert states(lab)["USD"][0] == "closed"
    assert "the month was closed without any EUR" in lab.close("2026-12-21").closed[0]


def test_a_month_without_any_bill_is_preliminary_and_closed_on_purpose_only(lab: Lab) -> None:
    lab.bill(of_september(two_days()))
    found = lab.run("2026-12-20")
    assert (found.currency, found.state, found.state_why) == ("XXX", "preliminary", "no bill has a line of 2026-10 yet")
    with pytest.raises(ConfigError, match=r"2026-10 XXX: no bill has a line of it.*--even-if-incomplete"):
        lab.close("2026-12-21")
    lab.close("2026-12-21", even_if_incomplete=True)
    assert lab.report().state == "closed"
    lab.bill(two_days())
    assert lab.run("2026-12-22").total
    assert [(c, s) for c, (s, _, _) in states(lab).items()] == [("USD", "corrected")]


# --- why a month is not closed ----------------------------------------------------------------------------------------

RATES = '[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = "2.5"\ncurrency = "USD"\nfrom = "2026-01-01T00:00:00Z"\n'
BILL = '[collectors.focus]\npath = "bill.csv"\n'
INVOICES = CONFIG + '[collectors.invoices]\npath = "invoices.toml"\n'


def invoice(total: str) -> str:
    return f'[[invoice]]\ninvoice = "INV-1"\ncurrency = "USD"\ntotal = "{total}"\nbilling_period = "2026-10"\n'


def test_an_invoice_that_the_bill_does_not_meet_keeps_a_month_preliminary_and_is_named_when_it_is_closed(lab: Lab) -> None:
    lab.write("rdspend.toml", INVOICES)
    lab.write("invoices.toml", invoice("9000.00"))
    found = lab.run("2026-12-20")
    assert (found.state, found.state_why) == (
        "preliminary",
        "invoice INV-1 of focus states 9,000.00 USD, its lines add to 9,738.84",
    )
    assert lab.close("2026-12-21").closed == [
        "alert: 2026-10 USD: invoice INV-1 of focus states 9,000.00 USD, its lines add to 9,738.84",
        "closed 2026-10 USD with revision 1: 9,738.84 effective, 9,738.84 billed",
    ]
    met = Lab(lab.folder.parent / "met")
    met.write("rdspend.toml", INVOICES)
    met.write("invoices.toml", invoice("9738.84"))
    assert met.run("2026-12-20").state == "closed", "rounding to the cent keeps nobody waiting"


def test_a_check_that_differs_is_named_when_a_month_is_closed(lab: Lab) -> None:
    lab.run("2026-12-20")
    with lab.reader.ledger.writer() as writer, Engine() as engine:
        view = "SELECT 'ce' AS source, '2026-10' AS billing_period, 'f' AS origin_file, 1 AS origin_row, 'check' AS kind, "
        said = "'focus' AS bill, 'USD' AS currency, 9000000000000 AS billed_cost_nanos, true AS complete"
        writer.replace(STATEMENTS, engine.connection.sql(view + said), {}, drop=lambda _: True)
        finish(writer, engine, "attribute")
    lab.run("2026-12-21", ["publish"])
    assert lab.close("2026-12-22").closed[0] == (
        "alert: 2026-10 USD: the provider's own summary of focus states 9,000.00 USD, the bill has 9,738.84"
    )


def finish(writer: Writer, engine: Engine, stage: str, code_version: str = "") -> None:
    said = {"started_at": 0.0, "ended_at": 0.0, "outcome": "ok", "config_digest": "", "code_version": code_version}
    writer.finish(engine, stages=[stage], period="2026-10", **said)  # type: ignore[arg-type]


def test_estimates_alone_are_closed_on_purpose_only(lab: Lab) -> None:
    lab.write("rdspend.toml", CONFIG.replace(BILL, '[collectors.rate_card]\npath = "rates.toml"\n'))
    lab.write("rates.toml", RATES)
    found = lab.run("2027-06-20")
    assert (found.state, found.state_why) == (
        "preliminary",
        "no bill has a line of 2026-10 yet; 29,760.00 USD is an estimate of rate_card that no bill has yet",
    )
    with pytest.raises(ConfigError, match=r"2026-10 USD: all of it is an estimate.*--even-if-incomplete"):
        lab.close("2027-06-21")
    assert lab.close("2027-06-21", even_if_incomplete=True).closed[0] == (
        "alert: 2026-10 USD: 29,760.00 of the total is an estimate that no bill has"
    )
    assert (lab.report().state, lab.report().state_why) == ("closed", "")


def test_the_part_of_a_month_that_is_an_estimate_is_named_when_it_is_closed(lab: Lab) -> None:
    lab.bill([each for each in two_days() if each["ResourceId"] != "i-2"])
    lab.write("rates.toml", RATES)
    lab.write("rdspend.toml", CONFIG + '[collectors.rate_card]\npath = "rates.toml"\n')
    lab.run("2026-12-20")
    estimated = sum(c.charges for c in lab.report().closings if c.basis == "estimated")
    assert lab.close("2026-12-21").closed[0] == (
        f"alert: 2026-10 USD: {estimated:,.2f} of the total is an estimate that no bill has"
    )


def test_a_month_says_what_keeps_it_from_being_closed(lab: Lab) -> None:
    assert lab.run("2026-10-20").state_why == "it has not ended"
    lab.bill([*two_days(), line("0.001", InvoiceId=""), line("-2", InvoiceId="")])
    assert lab.run("2026-11-05").state_why == (
        "it ended less than 14 days ago; 2 lines of focus (USD -1.999) have no invoice yet"
    )
    (lab.folder / "jobs.csv").rename(lab.folder / "jobs.away")
    (found,) = lab.pipeline("2026-12-05").run(OCTOBER).breakdowns
    assert found.state_why == "job_log did not show all of it; 2 lines of focus (USD -1.999) have no invoice yet"


def test_a_contract_without_an_invoice_says_so_for_as_long_as_it_has_none(lab: Lab) -> None:
    lab.write("rdspend.toml", CONFIG.replace(BILL, '[collectors.contract]\npath = "contract.toml"\n'))
    lab.write("contract.toml", '[[cost]]\nname = "power"\nper_month = 100\ncurrency = "USD"\nfrom = 2026-01-01\n')
    found = lab.run("2027-06-20")
    assert found.state == "preliminary"
    assert found.state_why == "1 line of contract (USD 100.00) has no invoice yet"


def test_a_source_that_was_never_asked_keeps_a_month_preliminary(lab: Lab) -> None:
    lab.run("2026-11-05")
    lab.write("rdspend.toml", CONFIG.replace("[taggers.label]", '[collectors.focus.other]\npath = "b.csv"\n[taggers.label]'))
    found = lab.run("2026-12-20", ["publish"])
    assert (found.state, found.state_why) == ("preliminary", "focus.other was never asked about it")


# --- what makes a revision --------------------------------------------------------------------------------------------


def test_words_findings_and_a_source_that_failed_make_no_revision(lab: Lab) -> None:
    first = lab.run("2026-11-05")
    lab.write("rdspend.toml", CONFIG.replace("A small lab", "Another name"))
    renamed = lab.run("2026-11-06", ["publish"])
    lab.bill([{**each, "x_thing": "a"} for each in two_days()])
    noted = lab.run("2026-11-07")
    (lab.folder / "jobs.csv").rename(lab.folder / "jobs.away")
    (failed,) = lab.pipeline("2026-11-08").run(OCTOBER).breakdowns
    assert (renamed.title, failed.complete) == ("Another name", False)
    assert len(noted.findings) > len(first.findings)
    assert [b.revision for b in (first, renamed, noted, failed)] == [1, 1, 1, 1]
    lab.bill([{**each, "InvoiceId": "INV-2"} for each in two_days()])
    assert lab.pipeline("2026-11-09").run(OCTOBER).breakdowns[0].revision == 2, "money of another invoice is a figure"


def test_a_publication_of_an_earlier_rdspend_is_not_revised_by_a_newer_one(lab: Lab) -> None:
    lab.run("2026-11-05")
    as_of_before(lab)
    assert lab.run("2026-11-06", ["publish"]).revision == 1


# --- a report in one currency -----------------------------------------------------------------------------------------


def test_a_report_in_one_currency_says_the_worst_state_of_those_it_is_made_of(lab: Lab) -> None:
    lab.write("rdspend.toml", CONFIG + '[collectors.exchange]\npath = "x.csv"\n')
    lab.write("x.csv", "date,currency,into,rate\n2026-01-01,USD,EUR,0.5\n")
    lab.bill([*two_days(), support()])
    lab.pipeline("2026-11-20").run(OCTOBER)
    assert lab.reader.converted(OCTOBER, "EUR").state == "closed"
    lab.bill([*two_days("99"), support()])
    lab.pipeline("2026-12-20").run(OCTOBER)
    found = lab.reader.converted(OCTOBER, "EUR")
    assert (found.state, found.closed) == ("corrected", None)
    assert found.state_why == "USD: closed with 9,738.84 as revision 1, now 9,804.12"
    assert lab.reader.converted(OCTOBER, "EUR", "1").state == "closed"


# --- causes that move no sum ------------------------------------------------------------------------------------------


def log(lab: Lab, *changes: tuple[str, str]) -> None:
    text = "\n".join([JOBS_HEADER, *JOBS]) + "\n"
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    lab.write("jobs.csv", text)


def causes(lab: Lab, *sides: str) -> list[tuple[str, int]]:
    found = lab.diff(*sides)
    refuse_loss(found)
    return [(cause.kind, cause.count) for cause in found.causes]


def priced(first: str, second: str) -> list[dict[str, str]]:
    prices = {"i-1": first, "i-2": second}
    return [{**each, "EffectiveCost": prices[each["ResourceId"]]} if each["ResourceId"] else each for each in two_days()]


def test_a_bill_that_moves_money_between_resources_and_keeps_its_sum_is_a_cause(lab: Lab) -> None:
    lab.bill(priced("98.32", "50"))
    lab.run("2026-11-20")
    lab.bill(priced("50", "98.32"))
    lab.run("2026-11-21")
    assert causes(lab) == [("bill", 98)]
    found = lab.diff()
    assert (found.whole.difference, len(found.rows)) == (0, 20)
    assert found.causes[0].words == "the bill of focus says something else: 98 rows before, 98 now; its sum is the same"
    assert "Nothing" not in rdspend(lab, "diff", "2026-10")


def test_a_reservation_that_is_unused_now_at_the_same_cost_is_a_cause_and_its_rows_are_named(lab: Lab) -> None:
    used = [{**each, "CapacityReservationId": "cr-1", "CapacityReservationStatus": "Used"} for each in two_days()]
    lab.bill(used)
    lab.run("2026-11-20")
    lab.bill([{**each, "CapacityReservationStatus": "Unused"} if each["ResourceId"] == "i-2" else each for each in used])
    lab.run("2026-11-21")
    assert causes(lab) == [("bill", 98)]
    rows = lab.diff(limit=1000).rows
    assert {(row.resource, row.status, row.difference > 0) for row in rows} == {("i-2", "Used", False), ("i-2", "Unused", True)}
    assert len(rows) == 96


def test_invoice_numbers_that_came_are_a_cause_of_their_own(lab: Lab) -> None:
    lab.bill([{**each, "InvoiceId": ""} for each in two_days()])
    lab.run("2026-11-05")
    lab.bill(two_days())
    assert lab.run("2026-11-06").revision == 2
    assert causes(lab) == [("invoices", 98)]


def test_a_total_that_an_invoice_states_now_is_a_cause(lab: Lab) -> None:
    lab.write("rdspend.toml", INVOICES)
    lab.write("invoices.toml", invoice("9000.00"))
    lab.run("2026-11-05")
    lab.write("invoices.toml", invoice("9738.84"))
    lab.run("2026-11-06")
    assert causes(lab) == [("statements", 2)]


def test_jobs_that_swapped_nodes_of_different_price_are_a_cause(lab: Lab) -> None:
    lab.bill(priced("98.32", "50"))
    lab.run("2026-11-20")
    log(lab, ("COMPLETED,n2,8,H100,\n", "COMPLETED,n0,8,H100,\n"), ("COMPLETED,n1,8,H100,data", "COMPLETED,n2,8,H100,data"))
    log_text = (lab.folder / "jobs.csv").read_text()
    lab.write("jobs.csv", log_text.replace(",n0,", ",n1,"))
    lab.run("2026-11-21")
    assert causes(lab) == [("placements", 2)]


def test_a_job_that_ran_at_another_time_for_as_long_is_a_cause(lab: Lab) -> None:
    late = [{**each, "EffectiveCost": "50"} if each["ChargePeriodStart"] >= "2026-10-02T10" else each for each in two_days()]
    lab.bill(late)
    lab.run("2026-11-20")
    began, ended = "2026-10-02T00:00:00Z,2026-10-02T10:00:00Z", "2026-10-02T10:00:00Z,2026-10-02T20:00:00Z"
    log(lab, (f"gen-shards,2026-10-02T00:00:00Z,{began}", f"gen-shards,2026-10-02T00:00:00Z,{ended}"))
    lab.run("2026-11-21")
    assert causes(lab) == [("placements", 1)]


def test_a_job_whose_stage_alone_is_another_one_is_a_cause(lab: Lab) -> None:
    lab.run("2026-11-20")
    lab.write("labels.csv", LABELS[0] + "\nc1,1,final_training,finetuning,owner of the run\n")
    lab.run("2026-11-21")
    assert causes(lab) == [("retagged", 1)]
    assert lab.diff().causes[0].words == "label says stage finetuning, before label said stage pretraining"


def test_records_of_another_time_are_no_cause(lab: Lab) -> None:
    lab.run("2026-11-20")
    nodes = [NODES_HEADER, NODES[0], NODES[1] + "2026-12-03T00:00:00Z", "n3,i-3,8,H100,96,1024,2026-12-01T00:00:00Z,"]
    lab.write("nodes.csv", "\n".join(nodes) + "\n")
    lab.run("2026-12-05")
    assert causes(lab, "run-1", "run-2") == []


def test_a_move_without_a_known_cause_is_never_called_nothing(lab: Lab) -> None:
    lab.run("2026-11-20")
    with lab.reader.ledger.writer() as writer, Engine() as engine:
        writer.snapshot().view(engine, "attributions")
        moved = "COALESCE(job_key, (SELECT min(job_key) FROM attributions))"
        rows = f"SELECT * REPLACE ({moved} AS job_key, NULL AS bucket) FROM attributions WHERE bucket = 'idle'"
        kept = "SELECT * FROM attributions WHERE bucket IS DISTINCT FROM 'idle'"
        writer.replace(ATTRIBUTIONS, engine.connection.sql(f"{rows} UNION ALL {kept}"), {}, drop=lambda _: True)
        finish(writer, engine, "attribute", "0.0.1")
    lab.run("2026-11-21", ["publish"])
    (cause,) = lab.diff().causes
    assert cause.kind == "not found"
    assert "attributed by rdspend 0.0.1 (run-2), before by rdspend" in cause.words
    assert "the configuration is another one" in cause.words
    shown = rdspend(lab, "diff", "2026-10")
    assert "Nothing" not in shown
    assert "not found" in shown


def test_the_earlier_side_lies_before_the_later_one(lab: Lab) -> None:
    for day, price in (("05", "98.32"), ("06", "99"), ("07", "100")):
        lab.bill(two_days(price))
        lab.run(f"2026-11-{day}")
    lab.close("2026-11-08")
    with pytest.raises(ConfigError, match="no revision before 1"):
        lab.diff(None, "1")
    sides = {to: lab.diff(None, to) for to in ("2", "3", "run-2", "run-3", "run-4")}
    assert {to: (d.before.revision, d.after.snapshot) for to, d in sides.items()} == {
        "2": (1, "run-2"),
        "3": (2, "run-3"),
        "run-2": (1, "run-2"),
        "run-3": (2, "run-3"),
        "run-4": (3, "run-4"),
    }


# --- the commands -----------------------------------------------------------------------------------------------------


def rdspend(lab: Lab, *words: str, ok: int = 0) -> str:
    command = [sys.executable, "-P", "-m", "rdspend", "--config", str(lab.folder / "rdspend.toml"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ok, done.stderr
    return done.stdout if ok == 0 else done.stderr


def test_the_commands_say_the_same(lab: Lab) -> None:
    lab.run("2026-11-05")
    lab.bill([{**each, "EffectiveCost": "97"} if each["ResourceId"] == "i-2" else each for each in two_days()])
    lab.run("2026-11-06")
    told = json.loads(rdspend(lab, "diff", "2026-10", "--from", "1", "--to", "2", "--limit", "2", "--format", "json"))
    found = lab.diff("1", "2", 2)
    assert told["whole"]["difference"] == f"{found.whole.difference:f}" == "-63.360000000"
    assert [row["after_origin"].rpartition("/")[2] for row in told["rows"]] == ["bill.csv:2", "bill.csv:4"]
    assert sum(Decimal(row["difference"]) for row in told["rows"]) + Decimal(told["rest"]) == found.whole.difference
    shown = rdspend(lab, "diff", "2026-10", "--limit", "2")
    assert "revision 1 (run-1) to revision 2 (run-2)" in shown
    assert "-63.360000000" in shown
    assert "all other rows" in shown
    assert "closed 2026-10 USD with revision 2" in rdspend(lab, "close", "2026-10")
    assert "error: --currency 'EUR'" in rdspend(lab, "close", "2026-10", "--currency", "EUR", ok=2)
    assert "error: 2026-10: no revision '9'" in rdspend(lab, "diff", "2026-10", "--from", "9", ok=2)
