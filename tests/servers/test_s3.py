"""Bills on S3, against a real S3 server (moto) on a free port, and a server that only throttles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from collectors.focus import Focus
from rdspend.bills.store import S3
from rdspend.errors import BadRecord, SourceUnavailable
from rdspend.schema import Location, Window

pytestmark = pytest.mark.server

OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
HEADER = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,"
    "ChargeCategory"
)
PERIOD = "USD,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-02T00:00:00Z,2026-10-02T01:00:00Z,Usage"


def bill(cost: int) -> bytes:
    return f"{HEADER}\n{cost},{cost},{PERIOD}\n".encode()


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """moto as a process of its own; it says on which port it listens."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"], stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait(10)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(600):
        words = log.read_text().split()
        addresses = [w for w in words if w.startswith("http://127.0.0.1:")]
        if addresses:
            return addresses[0]
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the empty server; the environment carries credentials, as boto3's chain reads them."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    _post(endpoint, "reset")
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="bills")
    yield client
    client.close()


def _post(endpoint: str, action: str, body: bytes = b"") -> None:
    request = urllib.request.Request(f"{endpoint}/moto-api/{action}", body, {"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture
def collect(endpoint: str) -> Callable[[str], list[tuple[str, int]]]:
    def read(path: str, endpoint_url: str = endpoint) -> list[tuple[str, int]]:
        focus = Focus(Location(path), s3=S3(endpoint_url=endpoint_url, region="us-east-1"))
        with closing(focus.collect(OCTOBER)) as deliveries:
            return [row for d in deliveries for row in sorted(d.rows.project("origin_file, billed_cost_nanos").fetchall())]

    return read


def test_an_object_a_folder_and_a_glob_are_read_under_their_s3_names(s3: Any, collect: Any) -> None:
    for key, cost in (("export/a.csv", 1), ("export/deep/b.csv", 2), ("export-old/c.csv", 4), ("export/notes.txt", 9)):
        s3.put_object(Bucket="bills", Key=key, Body=bill(cost))
    a, b, c = ((f"s3://bills/export{k}", n * 10**9) for k, n in (("/a.csv", 1), ("/deep/b.csv", 2), ("-old/c.csv", 4)))
    assert collect("s3://bills/export/a.csv") == [a]
    assert collect("s3://bills/export") == [a, b]
    assert collect("s3://bills/export/") == [a, b]
    assert collect("s3://bills/export*/*.csv") == sorted([a, b, c])
    assert collect("s3://bills") == sorted([a, b, c])


def test_parquet_rows_carry_the_s3_name_too(s3: Any, collect: Any, tmp_path: Path) -> None:
    import duckdb

    names, values = HEADER.split(","), f"7,7,{PERIOD}".split(",")
    columns = ", ".join(f"'{value}' AS \"{name}\"" for name, value in zip(names, values, strict=True))
    duckdb.connect().execute(f"COPY (SELECT {columns}) TO '{tmp_path / 'x.parquet'}' (FORMAT parquet)")
    s3.upload_file(str(tmp_path / "x.parquet"), "bills", "data/BILLING_PERIOD=2026-10/x.parquet")
    s3.put_object(Bucket="bills", Key="data/BILLING_PERIOD=2026-09/broken.parquet", Body=b"never fetched")
    assert collect("s3://bills/data") == [("s3://bills/data/BILLING_PERIOD=2026-10/x.parquet", 7 * 10**9)]


def test_more_objects_than_one_page_lists_are_all_read(s3: Any, collect: Any) -> None:
    for n in range(1001):
        s3.put_object(Bucket="bills", Key=f"notes/{n:04}.txt", Body=b"")
    s3.put_object(Bucket="bills", Key="notes/z.csv", Body=bill(3))
    assert collect("s3://bills/notes") == [("s3://bills/notes/z.csv", 3 * 10**9)]


def test_a_bad_record_names_the_object(s3: Any, collect: Any) -> None:
    s3.put_object(Bucket="bills", Key="bad.csv", Body=b"BilledCost\n1\n")
    with pytest.raises(BadRecord, match=r"s3://bills/bad\.csv:1: no column EffectiveCost"):
        collect("s3://bills/bad.csv")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s3://bills/none.csv", "no bill found"),
        ("s3://bills/none/", "no bill found"),
        ("s3://bills/*.parquet", "no bill found"),
        ("s3://other/folder", "there is no bucket 'other'"),
    ],
)
def test_what_is_missing_on_s3_is_not_an_empty_day(s3: Any, collect: Any, path: str, words: str) -> None:
    with pytest.raises(SourceUnavailable, match=words):
        collect(path)


def test_a_denied_bucket_names_the_permission_to_add(
    s3: Any, collect: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket="bills", Key="a.csv", Body=bill(1))
    iam = boto3.client("iam", endpoint_url=endpoint)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    _post(endpoint, "reset-auth", b"0")
    try:
        with pytest.raises(SourceUnavailable, match="allow s3:ListBucket on arn:aws:s3:::bills"):
            collect("s3://bills/")
        _post(endpoint, "reset-auth", b"1")
        policy = json.dumps({"Version": "2012-10-17", "Statement": [listing]})
        iam.put_user_policy(UserName="reader", PolicyName="list", PolicyDocument=policy)
        with pytest.raises(SourceUnavailable, match=r"allow s3:GetObject on arn:aws:s3:::bills/a\.csv"):
            collect("s3://bills/")
    finally:
        _post(endpoint, "reset-auth", b"Infinity")


def test_without_credentials_the_source_is_unavailable(
    s3: Any, collect: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(SourceUnavailable, match="credentials"):
        collect("s3://bills/")


class _SlowDown(BaseHTTPRequestHandler):
    """Answers as S3 does when it throttles."""

    def do_GET(self) -> None:
        body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_throttled_bucket_is_asked_again_later(s3: Any, collect: Any) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _SlowDown)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(SourceUnavailable, match="throttling"):
            collect("s3://bills/", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
