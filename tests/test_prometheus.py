"""The Prometheus page: sums that are the report's, a hard ceiling, and no label that names a person."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from breakdowns import LAB, NOVEMBER, OCTOBER, against_others, build, cell, full_health, many
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporters.metric_families import LONGEST_LABEL, bounded
from exporters.prometheus import CELLS_LEFT_AT_LEAST, OPEN_METRICS, TEXT, Prometheus
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.schema import (
    Breakdown,
    Burn,
    Gap,
    Health,
    InvoiceClosing,
    Location,
    Negotiated,
    Plan,
    Served,
    SourceHealth,
    StageHealth,
)

HEALTH = Health(
    "1.2.3",
    (
        SourceHealth("focus", True, 1790000000.5, 1790000000.5, 2.5, 1000),
        SourceHealth("slurm", False, None, 1790000000.5, 60, 0),
    ),
    (StageHealth("collect", 62.5), StageHealth("attribute", 0.25)),
    last_run_ok=False,
    last_run=1790000001,
    last_success=1789999000,
)


def samples(page: bytes) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]


def of(page: bytes, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    found = {tuple(sorted(s.labels.items())): s.value for s in samples(page) if s.name == name}
    assert len(found) == sum(s.name == name for s in samples(page))
    return found


def render(*breakdowns: Breakdown, health: Health | None = HEALTH, **settings: Any) -> bytes:
    return Prometheus(**settings).render(breakdowns, health)


def test_it_is_an_exporter_with_a_page() -> None:
    assert isinstance(Prometheus(), Served)
    assert isinstance(Prometheus(), Negotiated)


def test_every_cell_is_a_sample_with_its_labels() -> None:
    page = render(build())
    costs, seconds = of(page, "rdspend_cost_usd"), of(page, "rdspend_gpu_seconds")
    final = next(c for c in LAB if c.category == "final_training")
    labels = {
        "basis": "billed",
        "billing_period": "2026-10",
        "category": "final_training",
        "cluster_name": "h100",
        "team": "foundation",
        "training_stage": "pretraining",
    }
    assert costs[tuple(sorted(labels.items()))] == float(final.cost)
    assert seconds[tuple(sorted((labels | {"currency": "USD"}).items()))] == float(final.gpu_seconds)


def test_the_sum_over_activities_and_buckets_is_the_total_to_the_cent() -> None:
    for made in (build(), build(many(5000))):
        assert round(sum(of(render(made), "rdspend_cost_usd").values()), 2) == float(round(made.total, 2))


def test_cells_that_share_all_labels_are_one_series() -> None:
    costs = of(render(build()), "rdspend_cost_usd")
    assert [cost for key, cost in costs.items() if ("category", "shared") in key] == [69391.2]  # storage less a credit


def test_shares_are_ratios_and_stay_away_outside_the_denominator() -> None:
    page, made = render(build()), build()
    shares, high = of(page, "rdspend_share_ratio"), of(page, "rdspend_share_high_ratio")
    by_category = {dict(key)["category"]: value for key, value in shares.items()}
    assert by_category["final_training"] == float(made.lines[3].share or 0)
    assert "inference" not in by_category
    assert {dict(key)["policy"] for key in shares} == {"epoch"}
    assert {dict(key)["category"]: value for key, value in high.items()}["final_training"] == float(
        made.lines[3].share_high or 0
    )


def test_the_unclassified_part_is_of_the_total() -> None:
    page = render(build([cell("exploration", "3"), cell("unclassified", "1")]))
    assert list(of(page, "rdspend_unclassified_ratio").values()) == [0.25]


def test_a_period_without_money_has_no_unclassified_part() -> None:
    assert of(render(build((), closings=())), "rdspend_unclassified_ratio") == {}


def test_a_source_with_one_gap_is_not_complete() -> None:
    gaps = (
        Gap("slurm", OCTOBER, NOVEMBER, True, ""),
        Gap("slurm", OCTOBER, NOVEMBER, False, "hung"),
        Gap("focus", OCTOBER, NOVEMBER, True, ""),
    )
    complete = of(render(build(coverage=gaps)), "rdspend_coverage_complete")
    assert {dict(key)["source"]: value for key, value in complete.items()} == {"slurm": 0, "focus": 1}


def test_unknown_idle_time_is_absent_and_not_zero() -> None:
    page = render(build(idle_gpu_hours_known=False))
    assert not [key for key in of(page, "rdspend_gpu_seconds") if ("category", "idle") in key]
    assert [key for key in of(page, "rdspend_cost_usd") if ("category", "idle") in key]


def test_the_state_of_rdspend_itself_is_there() -> None:
    page = render(build())
    assert of(page, "rdspend_source_up") == {(("source", "focus"),): 1, (("source", "slurm"),): 0}
    assert of(page, "rdspend_source_last_success_timestamp_seconds") == {(("source", "focus"),): 1790000000.5}
    assert of(page, "rdspend_stage_duration_seconds")[(("run_stage", "collect"),)] == 62.5
    assert of(page, "rdspend_last_run_ok") == {(): 0}
    assert of(page, "rdspend_build_info") == {(("version", "1.2.3"),): 1}


def test_before_the_first_run_nothing_is_said_to_have_failed() -> None:
    assert {s.name for s in samples(render(health=Health("1.2.3")))} == {"rdspend_build_info", "rdspend_left_out_series"}


def test_the_closing_difference_is_shown_for_every_source() -> None:
    assert list(of(render(build()), "rdspend_closing_difference_usd").values()) == [0]


def test_synthetic_data_is_marked_twice() -> None:
    page = render(build(synthetic=True))
    assert page.startswith(b"# SYNTHETIC")
    assert list(of(page, "rdspend_synthetic_data").values()) == [1]
    assert b"SYNTHETIC" not in render(build())


# --- the bill against others --------------------------------------------------------------------------------------------

PERIOD = {"billing_period": "2026-10", "currency": "USD"}


def key(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_exactly_one_state_of_a_period_is_set() -> None:
    states = of(render(against_others()), "rdspend_period_state")
    assert states == {
        key(**PERIOD, policy="epoch", state=state): float(state == "corrected")
        for state in ("open", "preliminary", "closed", "corrected")
    }


def test_a_corrected_month_shows_what_it_was_closed_with_and_how_far_it_moved() -> None:
    made = against_others()
    page = render(made)
    labels = key(**PERIOD, policy="epoch")
    assert of(page, "rdspend_closed_usd") == {labels: float(made.total - Decimal("15.44"))}
    assert of(page, "rdspend_correction_usd") == {labels: 15.44}


def test_differences_of_invoices_are_summed_by_source_without_signs_and_without_rounding() -> None:
    more = InvoiceClosing("focus", "INV-7", "USD", Decimal(1), Decimal(2), Decimal(-1))
    other = InvoiceClosing("azure", "E-1", "USD", Decimal(3), Decimal(3), Decimal(0))
    page = render(against_others(invoices=(*against_others().invoices, more, other)))
    assert of(page, "rdspend_invoice_difference_usd") == {
        key(source="focus", billing_period="2026-10"): 35.5,
        key(source="azure", billing_period="2026-10"): 0,
    }
    assert of(page, "rdspend_invoices_differing") == {key(source="focus", **PERIOD): 2, key(source="azure", **PERIOD): 0}


def test_an_invoice_that_can_not_be_compared_counts_as_one_that_differs() -> None:
    page = render(against_others(invoices=(InvoiceClosing("focus", "I", "USD", Decimal(3), Decimal(0), None),)))
    assert of(page, "rdspend_invoices_differing") == {key(source="focus", **PERIOD): 1}
    assert of(page, "rdspend_invoice_difference_usd") == {key(source="focus", billing_period="2026-10"): 0}


def test_ten_thousand_invoices_are_one_series() -> None:
    invoices = tuple(InvoiceClosing("focus", f"I-{n}", "USD", Decimal(1), Decimal(0), Decimal(1)) for n in range(10_000))
    page = render(against_others(invoices=invoices))
    assert list(of(page, "rdspend_invoice_difference_usd").values()) == [10_000]


def test_errors_of_estimates_carry_the_month_they_were_seen_in() -> None:
    errors = of(render(against_others()), "rdspend_estimate_error_ratio")
    a100 = {"gpu_type": "A100", "billing_period": "2026-09", "currency": "USD"}
    assert {stat: errors[key(**a100, stat=stat)] for stat in ("median", "p90", "bias")} == {
        "median": -0.25,
        "p90": 0.3,
        "bias": -0.25,
    }
    assert len(errors) == 6


def test_the_interval_of_an_estimate_is_two_ends_of_the_total() -> None:
    made = against_others()
    page = render(made)
    assert of(page, "rdspend_estimate_low_usd") == {key(**PERIOD): float(made.total - 21)}
    assert of(page, "rdspend_estimate_high_usd") == {key(**PERIOD): float(made.total + 21)}


def test_requests_and_what_they_cost_are_counters_of_those_sources_that_have_any() -> None:
    paid = SourceHealth("cost_explorer", True, 1.0, 1.0, 1.0, 1, requests=12, own_cost=Decimal("0.12"))
    page = render(build(), health=replace(HEALTH, sources=(*HEALTH.sources, paid)))
    assert of(page, "rdspend_source_requests_total") == {key(source="cost_explorer"): 12}
    assert of(page, "rdspend_source_own_cost_usd_total") == {key(source="cost_explorer"): 0.12}
    assert b"# TYPE rdspend_source_requests_total counter" in page


def test_a_family_is_there_only_where_it_has_something_to_say() -> None:
    new = re.compile("period_state|closed|correction|invoice|estimate|requests|own_cost")
    assert [s.name for s in samples(render(build())) if new.search(s.name.removeprefix("rdspend_"))] == []
    assert len({s.name for s in samples(render(against_others())) if new.search(s.name.removeprefix("rdspend_"))}) == 8


# --- what runs now, the ledger, the plan --------------------------------------------------------------------------------


def test_the_burn_is_money_an_hour_in_its_currency_and_gpus_of_all() -> None:
    page = render(build(), health=full_health())
    money = of(page, "rdspend_burn_usd_per_hour")
    of_h100 = {"cluster_name": "h100", "basis": "estimated"}
    assert money == {
        key(category="final_training", team="foundation", currency="USD", **of_h100): 1600.000000001,
        key(category="evaluation", team="evals", currency="USD", **of_h100): 12.5,
        key(category="idle", team="", currency="USD", **of_h100): 37.5,
    }
    assert of(page, "rdspend_burn_gpus") == {
        key(category="final_training", team="foundation", **of_h100): 512,
        key(category="evaluation", team="evals", **of_h100): 4.5,
        key(category="idle", team="", **of_h100): 3.5,
        key(category="unclassified", team="interns", cluster_name="a100", basis="unpriced"): 8,
    }
    assert of(page, "rdspend_burn_nodes") == {key(**of_h100): 65, key(cluster_name="a100", basis="unpriced"): 2}
    assert of(page, "rdspend_burn_timestamp_seconds") == {(): 1790000000}


def test_what_has_no_price_is_never_money() -> None:
    rows = tuple(row for row in full_health().burn if not row.currency)
    page = render(health=full_health(burn=rows))
    assert not [s.name for s in samples(page) if s.name.startswith("rdspend_burn_") and s.name.endswith("_per_hour")]
    assert sum(of(page, "rdspend_burn_gpus").values()) == 8


def test_a_page_without_burn_says_nothing_of_it() -> None:
    page = render(health=full_health(burn=(), plan=None, ledger=()))
    assert not [s.name for s in samples(page) if re.match("rdspend_(burn|plan|ledger)", s.name)]


def test_a_burning_team_that_is_an_address_is_replaced_too() -> None:
    row = replace(full_health().burn[0], team="someone@example.com")
    assert b"someone" not in render(health=full_health(burn=(row,)))


def test_the_burn_is_folded_at_the_ceiling_and_keeps_its_sum() -> None:
    rows = tuple(
        Burn("exploration", f"team-{n}", "c", "USD" if n % 3 else "", Decimal(n) if n % 3 else None, Decimal(1), 0, 1.0)
        for n in range(1000)
    )
    page = render(health=full_health(burn=rows), max_series=100)
    assert max(Counter(s.name for s in samples(page)).values()) <= 100
    assert sum(of(page, "rdspend_burn_usd_per_hour").values()) == sum(n for n in range(1000) if n % 3)
    assert sum(of(page, "rdspend_burn_gpus").values()) == 1000
    folded = of(page, "rdspend_burn_folded_series")
    assert folded[key(family="rdspend_burn_usd_per_hour")] == 666 - (len(of(page, "rdspend_burn_usd_per_hour")) - 1)


def test_the_ledger_shows_its_bytes_and_files_by_table() -> None:
    page = render(health=full_health())
    assert of(page, "rdspend_ledger_size_bytes") == {key(table="charges"): 123_456, key(table="jobs"): 45_678}
    assert of(page, "rdspend_ledger_files") == {key(table="charges"): 7, key(table="jobs"): 3}


def test_the_plan_is_there_to_be_compared_with() -> None:
    page = render(health=full_health())
    assert of(page, "rdspend_plan_burn_usd_per_hour") == {key(currency="USD"): 1200}
    assert of(page, "rdspend_plan_month_usd") == {key(currency="USD"): 800_000}
    assert of(page, "rdspend_plan_share_low_ratio") == {key(category="final_training"): 0.05}
    assert of(page, "rdspend_plan_share_high_ratio") == {key(category="final_training"): 0.6}
    bare = render(health=full_health(plan=Plan("EUR", Decimal(3))))
    assert [s.name for s in samples(bare) if "_plan_" in s.name] == ["rdspend_plan_burn_eur_per_hour"]


# --- the ceiling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [99, 100, 101, 4000])
def test_no_family_has_more_series_than_the_ceiling(cells: int) -> None:
    made = build(many(cells))
    page = render(made, max_series=100)
    assert max(Counter(s.name for s in samples(page)).values()) <= 100
    assert round(sum(of(page, "rdspend_cost_usd").values()), 2) == float(round(made.total, 2))
    seconds = sum((c.gpu_seconds for c in made.cells), Decimal(0))
    assert sum(of(page, "rdspend_gpu_seconds").values()) == pytest.approx(float(seconds), rel=1e-12)


def test_folding_takes_the_smallest_and_says_how_many() -> None:
    made = build(many(4000))
    page = render(made, max_series=100)
    (folded,) = {value for key, value in of(page, "rdspend_folded_series").items()}
    costs = of(page, "rdspend_cost_usd")
    kept = [value for key, value in costs.items() if ("team", "other") not in key]
    assert folded + len(kept) == 4000
    assert sorted(kept) == sorted(float(c.cost) for c in made.cells)[-len(kept) :]
    assert {dict(key)["category"] for key in costs if ("team", "other") in key} == {c.category for c in made.cells}


def test_nothing_is_folded_below_the_ceiling() -> None:
    page = render(build(many(100)), max_series=100)
    assert set(of(page, "rdspend_folded_series").values()) == {0}


def test_the_ceiling_holds_for_all_periods_together() -> None:
    page = render(build(many(900)), build(many(900), period="2026-11"), max_series=200)
    assert max(Counter(s.name for s in samples(page)).values()) <= 200


def test_a_family_that_can_not_be_added_up_ends_at_the_ceiling_and_says_how_much_is_missing() -> None:
    error = against_others().estimate_errors[0]
    errors = tuple(replace(error, gpu_type=f"made-up-{n}") for n in range(100))
    page = render(against_others(estimate_errors=errors), health=full_health(), max_series=100)
    assert len(of(page, "rdspend_estimate_error_ratio")) == 100
    assert of(page, "rdspend_left_out_series") == {(): 200}
    assert of(render(build(), health=full_health()), "rdspend_left_out_series") == {(): 0}


def test_teams_that_the_breakdown_added_up_are_counted() -> None:
    page = render(build([cell("exploration", "1", team="(other)")], folded_teams=9_998_000))
    assert list(of(page, "rdspend_folded_teams").values()) == [9_998_000]
    assert [dict(key)["team"] for key in of(page, "rdspend_cost_usd")] == ["(other)"]


def test_a_ceiling_too_low_for_the_periods_is_an_error_that_names_the_key() -> None:
    periods = [build(period=f"2026-{month:02d}") for month in range(1, 13)]
    with pytest.raises(ConfigError, match=rf"max_series: found 100.*at least {12 * CELLS_LEFT_AT_LEAST}"):
        render(*periods, max_series=100)


# --- several breakdowns -----------------------------------------------------------------------------------------------


def test_two_currencies_never_meet_in_one_series() -> None:
    page = render(build(), build([cell("exploration", "7", "2")], currency="EUR"))
    assert list(of(page, "rdspend_cost_eur").values()) == [7]
    assert round(sum(of(page, "rdspend_cost_usd").values()), 2) == float(round(build().total, 2))
    assert {dict(key)["currency"] for key in of(page, "rdspend_share_ratio")} == {"USD", "EUR"}


def test_a_second_policy_adds_shares_and_no_money() -> None:
    made = build()
    lines = tuple(replace(line, share=Decimal("0.5")) for line in made.lines)
    page = render(made, replace(made, policy=replace(made.policy, name="olmo"), lines=lines))
    assert of(page, "rdspend_cost_usd") == of(render(made), "rdspend_cost_usd")
    assert {dict(key)["policy"] for key in of(page, "rdspend_share_ratio")} == {"epoch", "olmo"}


def test_no_series_is_there_twice() -> None:
    page = render(build(), build(), build(currency="EUR"), build(period="2026-Q4"))
    assert max(Counter((s.name, tuple(sorted(s.labels.items()))) for s in samples(page)).values()) == 1


def test_the_same_breakdown_twice_is_the_same_page() -> None:
    assert render(build(), build()) == render(build())


# --- labels -----------------------------------------------------------------------------------------------------------

CLASHING = {"job", "instance", "region", "zone", "cluster", "service", "owner", "customer", "stage", "env", "type"}


def test_no_label_clashes_with_the_labels_of_a_target() -> None:
    assert {label for s in samples(render(against_others())) for label in s.labels} & CLASHING == set()


def test_a_team_that_is_an_address_is_replaced_by_a_stable_name() -> None:
    addresses = ("someone@example.com", "Someone <someone@example.com>")
    made = build([cell("exploration", "1", team=address) for address in addresses])
    page = render(made)
    assert b"someone" not in page.lower()
    teams = {dict(key)["team"] for key in of(page, "rdspend_cost_usd")}
    assert len(teams) == 2
    assert all(re.fullmatch(r"redacted-[0-9a-f]{8}", team) for team in teams)
    assert page == render(made)


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda name: "@" not in name))
def test_any_team_name_comes_back_from_the_page_as_it_went_in(team: str) -> None:
    page = render(build([cell("exploration", "1.5", team=team)]))
    assert [(dict(key)["team"], value) for key, value in of(page, "rdspend_cost_usd").items()] == [(team, 1.5)]


# --- OpenMetrics ------------------------------------------------------------------------------------------------------

STRANGE = (
    "two\nlines",
    'quote " and \\ backslash',
    "<script>alert('x')</script>&amp;",
    "a|b{}=,#",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "équipe 数据 \N{ROCKET}\N{ZERO WIDTH JOINER}",
    "=cmd()|' /C calc'!A0",
    "\x00\x07\r\t",
    "x" * 10_000,
)


def pages(*breakdowns: Breakdown, health: Health | None = None) -> Mapping[str, bytes]:
    return Prometheus().forms(breakdowns, health or full_health())


def open_families(page: bytes) -> dict[str, Metric]:
    return {family.name: family for family in parse_open_metrics(page.decode())}


def test_both_forms_of_the_page_say_the_same() -> None:
    made = pages(against_others())
    assert list(made) == [OPEN_METRICS, TEXT]
    opened = [sample for family in open_families(made[OPEN_METRICS]).values() for sample in family.samples]
    written = [sample for family in text_string_to_metric_families(made[TEXT].decode()) for sample in family.samples]
    assert sorted((s.name, sorted(s.labels.items()), s.value) for s in opened) == sorted(
        (s.name, sorted(s.labels.items()), s.value) for s in written
    )
    assert made[TEXT] == render(against_others(), health=full_health())


def test_every_family_of_openmetrics_has_help_a_type_and_the_unit_that_its_name_ends_in() -> None:
    found = open_families(pages(against_others())[OPEN_METRICS])
    assert all(family.documentation for family in found.values())
    assert {name for name, family in found.items() if family.type == "counter"} == {
        "rdspend_source_requests",
        "rdspend_source_own_cost_usd",
        "rdspend_export_failures",
    }
    assert found["rdspend_build"].type == "info"
    assert {family.unit for family in found.values()} == {"", "usd", "usd_per_hour", "seconds", "ratio", "bytes"}
    assert all(name.endswith(family.unit) for name, family in found.items())
    assert not [
        name for name, family in found.items() if re.search("_(usd|seconds|ratio|bytes|hour)$", name) and not family.unit
    ]


def test_openmetrics_has_no_comment_no_exemplar_and_ends_with_its_mark() -> None:
    page = pages(build(synthetic=True))[OPEN_METRICS].decode()
    assert page.endswith("# EOF\n")
    assert {line.split(" ")[1] for line in page.splitlines() if line.startswith("#")} == {"HELP", "TYPE", "UNIT", "EOF"}
    assert not [sample for family in open_families(page.encode()).values() for sample in family.samples if sample.exemplar]
    assert pages(build(synthetic=True))[TEXT].startswith(b"# SYNTHETIC")


@pytest.mark.parametrize("form", [OPEN_METRICS, TEXT])
@pytest.mark.parametrize("team", STRANGE, ids=range(len(STRANGE)))
def test_strange_team_names_come_back_from_either_form(team: str, form: str) -> None:
    page = pages(build([cell("evaluation", "1.5", team=team)]), health=full_health(burn=()))[form].decode()
    parse = parse_open_metrics if form == OPEN_METRICS else text_string_to_metric_families
    (found,) = [s.labels["team"] for family in parse(page) for s in family.samples if s.name == "rdspend_cost_usd"]
    assert found == bounded(team)
    assert len(found) <= LONGEST_LABEL


def test_an_empty_month_has_both_forms() -> None:
    for body in pages(build((), closings=())).values():
        assert b"rdspend_denominator_usd" in body


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_text_file_holds_the_breakdown_and_nothing_of_the_process(tmp_path: Path) -> None:
    Prometheus(path=Location(tmp_path / "metrics.prom")).export(build())
    page = (tmp_path / "metrics.prom").read_bytes()
    assert samples(page) == samples(render(build(), health=None))
    assert {s.name for s in samples(page)} & {"rdspend_build_info", "rdspend_source_up", "rdspend_last_run_ok"} == set()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.prom"]


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        Prometheus().export(build())
    assert list(tmp_path.iterdir()) == []


def test_a_second_currency_never_replaces_the_first(tmp_path: Path) -> None:
    exporter = Prometheus(path=Location(tmp_path / "metrics.prom"))
    exporter.export(build())
    with pytest.raises(ConfigError, match=r"exporters\.prometheus\.path.*USD.*EUR.*\{currency\}"):
        exporter.export(build(currency="EUR"))
    exporter.export(build(currency="EUR", snapshot="run-18"))


def test_each_currency_may_have_its_own_file_without_a_series_in_both(tmp_path: Path) -> None:
    exporter = Prometheus(path=Location(tmp_path / "{currency}.prom"))
    for made in (build(), build(currency="EUR")):
        exporter.export(made)
    series = [{(s.name, tuple(sorted(s.labels.items()))) for s in samples(path.read_bytes())} for path in tmp_path.iterdir()]
    assert len(series) == 2
    assert series[0] & series[1] == set()


def test_a_folder_that_can_not_be_written_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceUnavailable, match=r"metrics\.prom: can't be written"):
        Prometheus(path=Location(tmp_path / "file" / "metrics.prom")).export(build())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_series": 10}, "max_series: found 10, expected at least"),
        ({"path": Location("s3://b/x.prom")}, "path: .*on this machine"),
        ({"path": Location("{month}.prom")}, "path: .*{period}"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Prometheus(**options)


@pytest.mark.server
@pytest.mark.parametrize(
    "page",
    [
        render(build(synthetic=True)),
        render(build(), health=None),
        render(health=Health("1")),
        render(against_others(), health=full_health()),
        render(build([cell("evaluation", "1", team=team) for team in STRANGE])),
        render(
            against_others(),
            health=replace(HEALTH, sources=(SourceHealth("ce", True, 1.0, 1.0, 1.0, 1, requests=3, own_cost=Decimal("0.03")),)),
        ),
    ],
)
def test_promtool_finds_nothing_to_say(page: bytes) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "install Debian's package prometheus, or run tests/servers/prometheus/start-prometheus"
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
