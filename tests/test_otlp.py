"""OTLP over real sockets: the figures of the Prometheus page, one dead receiver that disturbs nothing, and the variables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import certifi
import grpc
import pytest
from breakdowns import LAB, against_others, build, cell, full_health, many
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from organisations import write_organisation
from otlp_receivers import (
    Answer,
    Receiver,
    attributes,
    data_points,
    grpc_receiver,
    http_receiver,
    silent_server,
    wait_until,
)
from prometheus_client.parser import text_string_to_metric_families

from exporters.metric_families import LONGEST_LABEL, currency_of
from exporters.otlp import Otlp
from exporters.prometheus import Prometheus
from exporters.prometheus import spelled as spelled_in_prometheus
from rdspend.config import load
from rdspend.daemon import Daemon
from rdspend.errors import ConfigError, ConservationError, SourceUnavailable
from rdspend.pushing import Pushes
from rdspend.schema import Breakdown, Health, Pushed, SourceHealth, StageHealth

PAID = SourceHealth("cost_explorer", True, 1.0, 1.0, 1.0, 1, requests=12, own_cost=Decimal("0.12"))
HEALTH = Health("1.2.3", (PAID,), (StageHealth("collect", 62.5),), True, 1790000001, 1790000001)

Receiving = Callable[..., AbstractContextManager[Receiver]]
RECEIVERS: dict[str, Receiving] = {"http/protobuf": http_receiver, "grpc": grpc_receiver}


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment says nothing of OpenTelemetry unless a test does."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=RECEIVERS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def receiver(protocol: str) -> Iterator[Receiver]:
    with RECEIVERS[protocol]() as made:
        yield made


def otlp(receiver: Receiver, protocol: Any = None, **options: Any) -> Otlp:
    return Otlp(receiver.address, protocol, **options)


def key(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


# --- the figures ------------------------------------------------------------------------------------------------------


def test_it_is_an_exporter_that_pushes() -> None:
    assert isinstance(Otlp(), Pushed)


@pytest.mark.parametrize("breakdowns", [(build(),), (against_others(), build(currency="EUR")), (build(many(300)),), ()])
def test_it_says_what_the_prometheus_page_says(receiver: Receiver, protocol: str, breakdowns: tuple[Breakdown, ...]) -> None:
    otlp(receiver, protocol, max_series=200).push(breakdowns, HEALTH)
    page = Prometheus(max_series=200).render(breakdowns, HEALTH).decode()
    expected = {
        (sample.name.removesuffix("_total"), key(**sample.labels)): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name != "rdspend_folded_series"
    }
    found = {}
    for metric in receiver.metrics():
        name = spelled_in_prometheus(metric.name.removeprefix("rdspend."), metric.unit)
        for point in data_points(metric):
            labels = attributes(point)
            if currency_of(metric.unit) and (name, key(**labels)) not in expected:
                assert labels.pop("currency") == currency_of(metric.unit)
            found[name, key(**labels)] = point.as_double
    folded = {named: value for named, value in found.items() if named[0] == "rdspend_folded_series"}
    assert {named: value for named, value in found.items() if named not in folded} == expected
    assert len(folded) == page.count("\nrdspend_folded_series{")


def test_names_have_no_units_and_units_are_ucum(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((against_others(),), full_health())
    units = {metric.name: metric.unit for metric in receiver.metrics()}
    assert (units["rdspend.cost"], units["rdspend.burn"]) == ("{USD}", "{USD}/h")
    assert (units["rdspend.gpu.time"], units["rdspend.share"], units["rdspend.source.rows"]) == ("s", "1", "{row}")
    assert [name for name in units if name.split("_")[-1] in ("usd", "seconds", "ratio", "total")] == []
    assert {unit for unit in units.values() if not currency_of(unit)} == {
        "",
        "s",
        "1",
        "{row}",
        "{series}",
        "{invoice}",
        "{request}",
        "{failure}",
        "{team}",
        "{gpu}",
        "{node}",
        "{file}",
        "{family}",
        "{group}",
        "By",
    }


def test_restatable_figures_are_gauges_and_only_what_never_falls_is_a_sum(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((against_others(),), replace(HEALTH, pushes=Pushes({"otlp": Otlp()}, print).health))
    sums = {metric.name for metric in receiver.metrics() if metric.WhichOneof("data") == "sum"}
    assert sums == {"rdspend.source.requests", "rdspend.source.own_cost", "rdspend.export.failures"}
    assert all(m.sum.is_monotonic for m in receiver.metrics() if m.name in sums)
    assert {m.sum.aggregation_temporality for m in receiver.metrics() if m.name in sums} == {
        AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    }


def test_the_page_lists_every_metric_with_its_unit_and_attributes_and_no_other(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((against_others(),), full_health())
    sent = {
        (metric.name, metric.unit, metric.WhichOneof("data"), frozenset(attributes(data_points(metric)[0])))
        for metric in receiver.metrics()
    }
    page = Path(__file__).parent.parent / "docs" / "otlp.md"
    rows = re.findall(r"^\| `(rdspend\.\S+)` \| (\S*) ?\| (sum|gauge) \| (.*)\|$", page.read_text(), re.MULTILINE)
    assert {
        (name, unit.strip("`"), kind, frozenset(re.findall("`([^`]+)`", labels))) for name, unit, kind, labels in rows
    } == sent


def test_the_sum_of_cost_is_the_total_of_the_report(receiver: Receiver, protocol: str) -> None:
    made = build(many(5000))
    otlp(receiver, protocol).push((made,), None)
    assert round(sum(receiver.points("rdspend.cost").values()), 2) == float(round(made.total, 2))
    assert len(receiver.requests) > 1


def test_two_currencies_are_two_metrics_and_every_amount_says_which(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((build(), build([cell("exploration", "7", "2")], currency="EUR")), None)
    assert list(receiver.points("rdspend.cost", "{EUR}").values()) == [7]
    assert round(sum(receiver.points("rdspend.cost", "{USD}").values()), 2) == float(round(build().total, 2))
    of_money = [point for metric in receiver.metrics() if currency_of(metric.unit) for point in data_points(metric)]
    assert {attributes(point).get("currency") for point in of_money} == {"USD", "EUR"}


def test_credits_above_the_cost_are_a_negative_total(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((build([cell("exploration", "3"), cell("shared", "-10.5")]),), None)
    assert sum(receiver.points("rdspend.cost").values()) == -7.5


def test_an_empty_month_is_sent_without_a_figure_of_money(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((build((), closings=()),), None)
    assert receiver.points("rdspend.cost") == {}
    assert len(receiver.points("rdspend.period.revision")) == 1


def test_export_sends_one_breakdown_and_nothing_of_the_process(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).export(build())
    assert receiver.points("rdspend.cost")
    assert receiver.points("rdspend.build_info") == {}


@pytest.mark.parametrize("cells", [99, 101, 4000])
def test_no_metric_has_more_series_than_the_ceiling(cells: int) -> None:
    made = build(many(cells))
    with http_receiver() as receiver:
        otlp(receiver, max_series=100).push((made,), None)
    assert max(len(receiver.points(metric.name)) for metric in receiver.metrics()) <= 100
    assert round(sum(receiver.points("rdspend.cost").values()), 2) == float(round(made.total, 2))
    folded = set(receiver.points("rdspend.folded_series").values())
    assert folded == {0} if cells < 100 else min(folded) > 0


@pytest.mark.parametrize("where", ["charges", "attributed", "billed_charges"])
def test_a_breakdown_that_does_not_close_is_refused_and_nothing_is_sent(where: str) -> None:
    made = build()
    off = replace(made.closings[0], **{where: getattr(made.closings[0], where) + Decimal("0.000000001")})
    with http_receiver() as receiver, pytest.raises(ConservationError, match="focus 2026-10 USD"):
        otlp(receiver).push((build(), replace(made, closings=(off,))), HEALTH)
    assert receiver.requests == []
    with pytest.raises(ConservationError):
        Prometheus().render((replace(made, closings=(off,)),), None)
    with pytest.raises(ConservationError, match="2026-10 USD"):
        Prometheus().render((replace(made, attributed=made.attributed + 1),), None)


# --- attribute values -------------------------------------------------------------------------------------------------


def test_any_team_name_arrives_as_it_is() -> None:
    with http_receiver() as receiver:

        @settings(max_examples=25, deadline=None)
        @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).filter(lambda name: "@" not in name))
        def said(team: str) -> None:
            receiver.requests.clear()
            otlp(receiver).push((build([cell("exploration", "1.5", team=team)]),), None)
            assert [dict(labels)["team"] for labels in receiver.points("rdspend.cost")] == [team]

        said()


def test_long_names_are_cut_and_stay_apart(receiver: Receiver, protocol: str) -> None:
    teams = ["x" * 10_000, "x" * 10_000 + "y", "数" * 10_000, 'quote " and\nnewline']
    otlp(receiver, protocol).push((build([cell("exploration", "1", team=team) for team in teams]),), None)
    arrived = {dict(labels)["team"] for labels in receiver.points("rdspend.cost")}
    assert len(arrived) == 4
    assert max(map(len, arrived)) == LONGEST_LABEL
    assert teams[3] in arrived


def test_a_full_request_of_long_names_fits_into_what_a_grpc_receiver_takes() -> None:
    long = "数" * 10_000
    cells = [replace(cell("exploration", "1", "1", long, f"{n}{long}", long), basis="estimated") for n in range(4000)]
    with grpc_receiver() as receiver:
        otlp(receiver, "grpc").push((build(cells),), None)
    assert len(receiver.points("rdspend.cost")) == 4000


def test_an_address_never_becomes_an_attribute(receiver: Receiver, protocol: str) -> None:
    otlp(receiver, protocol).push((build([cell("exploration", "1", team="someone@example.com")]),), None)
    assert "someone" not in str(receiver.requests)


# --- temporality ------------------------------------------------------------------------------------------------------


def counted(receiver: Receiver) -> list[tuple[float, int]]:
    return [
        (point.as_double, metric.sum.aggregation_temporality)
        for metric in receiver.metrics()
        if metric.name == "rdspend.source.requests"
        for point in data_points(metric)
    ]


CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA


@pytest.mark.parametrize(
    ("preference", "expected"),
    [
        ("cumulative", [(12, CUMULATIVE), (15, CUMULATIVE), (15, CUMULATIVE)]),
        ("lowmemory", [(12, CUMULATIVE), (15, CUMULATIVE), (15, CUMULATIVE)]),
        ("DELTA", [(3, DELTA), (0, DELTA)]),
    ],
)
def test_temporality_is_as_the_environment_prefers(
    preference: str, expected: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
    with http_receiver() as receiver:
        exporter = otlp(receiver)
        for requests in (12, 15, 15):
            exporter.push((), replace(HEALTH, sources=(replace(PAID, requests=requests),)))
    assert counted(receiver) == expected


def test_a_delta_that_was_not_taken_is_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    with http_receiver() as receiver:
        exporter = otlp(receiver)
        exporter.push((), HEALTH)
        receiver.answer = lambda _: Answer(400)
        with pytest.raises(SourceUnavailable):
            exporter.push((), replace(HEALTH, sources=(replace(PAID, requests=20),)))
        receiver.answer = lambda _: Answer()
        exporter.push((), replace(HEALTH, sources=(replace(PAID, requests=21),)))
    assert counted(receiver) == [(9, DELTA)]
    (point,) = [p for m in receiver.metrics() if m.name == "rdspend.source.requests" for p in data_points(m)]
    assert 0 < point.start_time_unix_nano < point.time_unix_nano


# --- a receiver that does not take it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(404), "404"),
        (Answer(400), "400"),
        (Answer(401), "401"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}), "302, a redirect"),
        (Answer(503, headers={"Retry-After": "3600"}), "metrics to localhost"),
        (
            Answer(
                body=ExportMetricsServiceResponse(
                    partial_success={"rejected_data_points": 7, "error_message": "too old"}  # type: ignore[arg-type]
                ).SerializeToString()
            ),
            "7 of them were thrown away: too old",
        ),
        (Answer(body=b"x" * (1 << 21)), "endless"),
    ],
)
def test_an_answer_that_is_no_yes_is_a_failure(answer: Answer, words: str) -> None:
    with http_receiver() as receiver, pytest.raises(SourceUnavailable, match=words):
        receiver.answer = lambda _: answer
        otlp(receiver).push((build(),), None)


def test_a_refusal_over_grpc_is_a_failure() -> None:
    with grpc_receiver() as receiver, pytest.raises(SourceUnavailable, match="PERMISSION_DENIED"):
        receiver.code = grpc.StatusCode.PERMISSION_DENIED
        otlp(receiver, "grpc").push((build(),), None)


@pytest.mark.parametrize("protocol", RECEIVERS)
@pytest.mark.parametrize("drip_seconds", [None, 0.1])
def test_a_hanging_receiver_holds_a_push_up_no_longer_than_the_time_limit(
    protocol: Any, drip_seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "700")
    with silent_server(drip_seconds) as address:
        exporter = Otlp(address, protocol)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(SourceUnavailable, match=r"metrics to 127\.0\.0\.1|still holds up"):
                exporter.push((build(),), None)
            assert time.monotonic() - began < 2


def test_requests_that_never_end_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
    before = threading.active_count()
    with silent_server(0.05) as address:
        exporter = Otlp(address)
        said = []
        for _ in range(4):
            with pytest.raises(SourceUnavailable) as refused:
                exporter.push((build(),), None)
            said.append(str(refused.value))
        assert sum(thread.name == "otlp metrics" for thread in threading.enumerate()) == 1
    assert [words.partition(":")[0] for words in said] == ["metrics to 127.0.0.1", *["nothing sent"] * 3]
    wait_until(lambda: threading.active_count() <= before)


@pytest.mark.parametrize("protocol", RECEIVERS)
def test_a_port_where_nobody_listens_is_a_failure_within_the_time_limit(protocol: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(SourceUnavailable, match="refused"):
            Otlp("http://127.0.0.1:9", protocol).push((build(),), None)
        assert time.monotonic() - began < 3


def test_failures_are_counted_and_shown_and_stop_nothing() -> None:
    said: list[str] = []
    with http_receiver() as receiver:
        receiver.answer = lambda _: Answer(404)
        pushes = Pushes({"otlp": otlp(receiver)}, said.append)
        daemon = Daemon(
            lambda _: ([build()], HEALTH), {"prometheus": Prometheus("127.0.0.1:0")}, 0.05, "1", said.append, pushes=pushes
        )
        daemon.start()
        try:
            wait_until(lambda: pushes.health[0].failures > 2)
            receiver.answer = lambda _: Answer()
            wait_until(lambda: receiver.points("rdspend.export.failures"))
        finally:
            assert daemon.stop()
    assert max(receiver.points("rdspend.export.failures").values()) >= 3
    assert list(receiver.points("rdspend.last_run.ok").values()) == [1]
    assert [line for line in said if line.startswith("otlp: metrics to localhost:") and "404" in line]
    page = Prometheus().render((), replace(HEALTH, pushes=pushes.health)).decode()
    assert 'rdspend_export_failures_total{exporter="otlp"}' in page


def test_a_failed_run_is_pushed_with_the_last_good_figures() -> None:
    runs = iter([lambda: ([build()], HEALTH)])

    def work(_: object) -> tuple[list[Breakdown], Health]:
        try:
            return next(runs)()
        except StopIteration:
            raise SourceUnavailable("nothing there") from None

    with http_receiver() as receiver:
        daemon = Daemon(work, {}, 0.05, "1", lambda _: None, pushes=Pushes({"otlp": otlp(receiver)}, lambda _: None))
        daemon.start()
        try:
            wait_until(lambda: 0 in receiver.points("rdspend.last_run.ok").values())
        finally:
            assert daemon.stop()
    last = receiver.messages("metrics")[-1]
    assert any(m.name == "rdspend.cost" for m in last.resource_metrics[0].scope_metrics[0].metrics)


# --- the environment --------------------------------------------------------------------------------------------------


def test_the_endpoint_of_the_environment_is_a_base_and_that_of_a_signal_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{receiver.address}/base/")
        Otlp().push((build(),), None)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{receiver.address}/own/metrics")
        Otlp().push((build(),), None)
        Otlp(f"{receiver.address}/configured").push((build(),), None)
    assert [request.path for request in receiver.requests] == ["/base/v1/metrics", "/own/metrics", "/configured/v1/metrics"]


def test_the_protocol_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        Otlp().push((build(),), None)
    assert receiver.points("rdspend.cost")


def test_headers_of_the_environment_are_sent(receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc,x-tenant=lab")
    otlp(receiver, protocol).push((build(),), None)
    assert receiver.requests[0].headers["authorization"] == "Bearer abc"
    assert receiver.requests[0].headers["x-tenant"] == "lab"


@pytest.mark.parametrize(
    ("protocol", "compression"),
    [("http/protobuf", "none"), ("http/protobuf", "gzip"), ("http/protobuf", "deflate"), ("grpc", "none"), ("grpc", "gzip")],
)
def test_compression_of_the_environment_is_used(protocol: str, compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    with RECEIVERS[protocol]() as receiver:
        otlp(receiver, protocol).push((build(),), None)
    assert len(receiver.points("rdspend.cost")) == len(LAB) - 1
    if protocol != "grpc":
        assert receiver.requests[0].headers.get("content-encoding", "none") == compression


def test_the_resource_is_that_of_the_environment(receiver: Receiver, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    otlp(receiver, protocol).push((build(),), None)
    assert receiver.resource()["service.name"] == "rdspend"
    receiver.requests.clear()
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod,service.name=other")
    otlp(receiver, protocol).push((build(),), None)
    assert (receiver.resource()["service.name"], receiver.resource()["deployment.environment.name"]) == ("other", "prod")
    receiver.requests.clear()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "spend")
    otlp(receiver, protocol).push((build(),), None)
    assert receiver.resource()["service.name"] == "spend"


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_METRICS_EXPORTER", "none")])
def test_what_is_switched_off_is_not_sent(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with http_receiver() as receiver:
        otlp(receiver).push((build(),), HEALTH)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "PROTOCOL: found 'http/json', expected http/protobuf or grpc",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: .*milliseconds"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "OTEL_EXPORTER_OTLP_TIMEOUT: .*milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lz4", "OTEL_EXPORTER_OTLP_COMPRESSION: found 'lz4'"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both", "TEMPORALITY_PREFERENCE: found 'both'"),
    ],
)
def test_a_wrong_variable_is_found_when_the_configuration_is_read(
    name: str, value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rdspend.toml").write_text("[exporters.otlp]\n")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        load(tmp_path / "rdspend.toml")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_series": 10}, "max_series: found 10"), ({"endpoint": "collector:4318"}, "endpoint: found .*http")],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Otlp(**options)


def self_signed(folder: Path) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = folder / "receiver.pem"
    file.write_bytes(
        secret.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()) + made.public_bytes(pem)
    )
    return str(file)


def test_a_certificate_is_checked_against_the_one_of_the_environment(
    protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = self_signed(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2000")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    with RECEIVERS[protocol](file) as receiver:
        with pytest.raises(SourceUnavailable, match=r"(?i)certificate"):
            otlp(receiver, protocol).push((build(),), None)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
        otlp(receiver, protocol).push((build(),), None)
    assert len(receiver.points("rdspend.cost")) == len(LAB) - 1


# --- traces and logs, by the command ----------------------------------------------------------------------------------


def rdspend(config: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", "-m", "rdspend", "--config", str(config), *arguments],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def organisation(folder: Path, endpoint: str, signals: str = '["metrics", "traces", "logs"]', protocol: str = "grpc") -> Path:
    config = write_organisation(folder)
    own = f'\n[exporters.otlp]\nendpoint = "{endpoint}"\nprotocol = "{protocol}"\nsignals = {signals}\n'
    config.write_text(config.read_text() + own)
    return config


def test_a_run_is_a_tree_of_spans_with_its_metrics_and_its_log(receiver: Receiver, protocol: str, tmp_path: Path) -> None:
    done = rdspend(organisation(tmp_path, receiver.address, protocol=protocol), "run", "--period", "2026-10")
    assert (done.returncode, done.stderr) == (0, "")
    spans = {span.span_id: span for span in receiver.spans()}
    paths = set()
    for span in spans.values():
        path = [span.name]
        while span.parent_span_id:
            span = spans[span.parent_span_id]
            path.insert(0, span.name)
        paths.add(" > ".join(path))
    for expected in (
        "run",
        "run > stage collect > source focus",
        "run > stage collect > source job_log",
        "run > stage tag > tagger rule",
        "run > stage attribute > query node_day",
        "run > stage publish",
        "run > export report",
    ):
        assert expected in paths
    assert round(sum(receiver.points("rdspend.cost").values()), 2) == 9788.84
    assert receiver.points("rdspend.source.up") == {key(source="focus"): 1, key(source="job_log"): 1}
    (trace,) = {span.trace_id for span in spans.values()}
    attributed = next(record for record in receiver.records() if record.body.string_value.startswith("attribute 2026-10"))
    assert attributed.trace_id == trace
    assert "mystery" not in str(receiver.messages("traces")) + str(receiver.messages("logs"))


def test_a_source_that_fails_is_a_span_in_error_and_a_record_of_the_log(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        config = organisation(tmp_path, receiver.address, protocol="http/protobuf")
        (tmp_path / "bill.csv").unlink()
        done = rdspend(config, "run", "--period", "2026-10")
    assert done.returncode == 3
    (span,) = [span for span in receiver.spans() if span.name == "source focus"]
    assert span.status.code == 2
    assert "bill.csv" in span.status.message
    assert [record.severity_text for record in receiver.records() if "bill.csv" in record.body.string_value] == ["ERROR"]


def test_a_run_that_stops_half_way_tells_its_spans_all_the_same(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        config = organisation(tmp_path, receiver.address, protocol="http/protobuf")
        (tmp_path / "rules.toml").write_text('[[rule]]\nname = "x"\nwhen = "nothing > 3"\nactivity = "evaluation"\n')
        done = rdspend(config, "run", "--period", "2026-10")
    assert done.returncode == 2
    assert {span.name for span in receiver.spans() if span.status.code == 2} == {"tagger rule", "stage tag", "run"}


def test_a_dead_receiver_is_a_warning_and_the_run_is_good(tmp_path: Path) -> None:
    config = organisation(tmp_path, "http://127.0.0.1:9")
    began = time.monotonic()
    done = rdspend(config, "run", "--period", "2026-10", OTEL_EXPORTER_OTLP_TIMEOUT="500")
    assert done.returncode == 0
    assert [line[:24] for line in done.stderr.splitlines()] == ["warning: not sent: otlp:"]
    assert time.monotonic() - began < 60
    assert (tmp_path / "reports" / "report.json").exists()


def test_closing_a_month_pushes_it_as_closed(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        config = organisation(tmp_path, receiver.address, '["metrics"]', "http/protobuf")
        assert rdspend(config, "run", "--period", "2026-10").returncode == 0
        assert {request.signal for request in receiver.requests} == {"metrics"}
        receiver.requests.clear()
        done = rdspend(config, "close", "2026-10")
        assert (done.returncode, done.stderr) == (0, "")
    states = receiver.points("rdspend.period.state")
    assert [dict(labels)["state"] for labels, value in states.items() if value] == ["closed"]


def test_without_the_exporter_nothing_is_traced(tmp_path: Path) -> None:
    with http_receiver() as receiver:
        config = write_organisation(tmp_path)
        done = rdspend(config, "run", "--period", "2026-10", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert receiver.requests == []
