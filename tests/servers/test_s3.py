"""Bills on S3, against a server (moto) on a free port, and what S3, KMS and STS say when they refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import boto3
import pytest
from broken_proxy import SLOW_DOWN, Answer, Break, Garble, Request, broken_proxy, refusal

from collectors.focus import Focus
from rdspend.bills.store import ATTEMPTS, S3, Store
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


def test_a_throttled_bucket_is_asked_again_later(s3: Any, collect: Any, endpoint: str) -> None:
    with (
        broken_proxy(endpoint, lambda _: SLOW_DOWN) as proxy,
        pytest.raises(SourceUnavailable, match=rf"s3://bills/: S3 is throttling \(SlowDown, asked {ATTEMPTS} times\)"),
    ):
        collect("s3://bills/", endpoint_url=proxy.address)
    assert len(proxy.requests) == ATTEMPTS


def test_how_often_a_request_is_sent_is_a_setting_of_aws(
    s3: Any, collect: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with (
        broken_proxy(endpoint, lambda _: SLOW_DOWN) as proxy,
        pytest.raises(SourceUnavailable, match=r"throttling \(SlowDown, asked once\)"),
    ):
        collect("s3://bills/", endpoint_url=proxy.address)
    assert len(proxy.requests) == 1


def test_a_server_that_is_not_there_is_named(s3: Any, collect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SourceUnavailable, match=r'endpoint URL: "http://127\.0\.0\.1:9/.*check s3\.endpoint_url, the network'):
        collect("s3://bills/", endpoint_url="http://127.0.0.1:9")


def test_a_bill_through_a_broken_connection_is_the_same(s3: Any, collect: Any, endpoint: str) -> None:
    content = bill(5) + f"2,2,{PERIOD}\n".encode() * 5000
    s3.put_object(Bucket="bills", Key="a.csv", Body=content)
    expected = collect("s3://bills/a.csv")

    def plan(request: Request) -> Any:
        return Break(100_000) if request.span and not request.is_first_byte else None

    with broken_proxy(endpoint, plan) as proxy:
        assert [row[1] for row in collect("s3://bills/a.csv", endpoint_url=proxy.address)] == [row[1] for row in expected]
    assert [r.span for r in proxy.requests][2:] == [(start, len(content) - 1) for start in range(0, len(content), 100_000)]


def test_a_replaced_object_is_read_again(s3: Any, endpoint: str, tmp_path: Path) -> None:
    """Encrypted by KMS, so that no MD5 helps."""
    encrypted = {"Bucket": "bills", "Key": "a.csv", "ServerSideEncryption": "aws:kms"}
    s3.put_object(Body=b"x" * 1000, **encrypted)

    def plan(request: Request) -> Any:
        if request.span == (500, 999):
            s3.put_object(Body=b"y" * 1000, **encrypted)
        return Break(500) if request.number == 1 else None

    with broken_proxy(endpoint, plan) as proxy:
        copy = Store("bills", S3(proxy.address).client("s3://bills")).fetch("a.csv", tmp_path)
    assert copy.read_bytes() == b"y" * 1000
    assert all("if-match" in request.headers for request in proxy.requests if not request.is_first_byte)


# --- refusals, in S3's own words --------------------------------------------------------------------------------------

DENIED = "AccessDenied"
OBJECT, KEY = "arn:aws:s3:::bills/a.csv", "arn:aws:kms:eu-west-1:123456789012:key/abc"
USER = "User: arn:aws:iam::123456789012:user/reader is not authorized to perform:"


def refused(endpoint: str, answer: Answer) -> str:
    """What reading an object says when GET is answered so; HEAD goes through to the server."""
    with (
        broken_proxy(endpoint, lambda request: answer if request.method == "GET" else None) as proxy,
        pytest.raises(SourceUnavailable) as raised,
    ):
        Store("bills", S3(proxy.address, "us-east-1").client("s3://bills")).read("a.csv")
    return str(raised.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(400, "ExpiredToken", "The provided token has expired."), "the credentials have expired; take new ones"),
        (refusal(403, "InvalidAccessKeyId"), "the access key is not known there"),
        (refusal(403, "SignatureDoesNotMatch"), "the secret key does not belong to the access key"),
        (refusal(403, "RequestTimeTooSkewed"), "the clock of this machine is wrong"),
        (refusal(404, "NoSuchBucket"), "there is no bucket 'bills'; check path, s3.region and s3.endpoint_url"),
        (refusal(403, "InvalidObjectState"), "archived; restore it"),
        (refusal(301, "PermanentRedirect", "Elsewhere."), "S3 answered PermanentRedirect: Elsewhere.; check s3.region"),
        (
            refusal(400, "AuthorizationHeaderMalformed", "", "<Region>eu-west-1</Region>"),
            "the bucket is in eu-west-1; set s3.region = 'eu-west-1'",
        ),
        (
            refusal(403, DENIED, "Access Denied"),
            f"S3 denied it; allow s3:GetObject on {OBJECT}; without s3:ListBucket on",
        ),
        (
            refusal(403, DENIED, f"{USER} s3:GetObject on resource: &quot;{OBJECT}&quot; because no identity-based policy"),
            f"S3 denied it; allow s3:GetObject on {OBJECT}",
        ),
        (
            refusal(403, DENIED, f"{USER} s3:GetObject on resource: {OBJECT} with an explicit deny in a resource policy"),
            f"a policy denies s3:GetObject on {OBJECT} explicitly; explicit deny in a resource policy",
        ),
        (
            refusal(403, DENIED, f"{USER} kms:Decrypt on resource: {KEY} because no identity-based policy allows it"),
            f"KMS denied it; allow kms:Decrypt on {KEY} (in the role's policy and in the key's own)",
        ),
        (
            refusal(403, DENIED, "Bucket is requester pays bucket but no x-amz-request-payer header found."),
            "set s3.requester_pays = true",
        ),
        (refusal(409, "Odd", "Never seen."), "S3 answered Odd: Never seen."),
    ],
)
def test_a_refusal_says_what_to_change(s3: Any, endpoint: str, answer: Answer, words: str) -> None:
    s3.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    assert words in refused(endpoint, answer)
    assert refused(endpoint, answer).startswith("s3://bills/a.csv: ")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(403, DENIED, "Access Denied"), f"KMS denied it; allow kms:Decrypt on {KEY} (in the role's policy"),
        (
            refusal(403, DENIED, f"{USER} kms:Decrypt on the resource associated with this ciphertext because it does not"),
            f"KMS denied it; allow kms:Decrypt on {KEY}",
        ),
        (refusal(400, "KMS.DisabledException", "disabled"), f"its KMS key {KEY} is disabled; enable it"),
    ],
)
def test_an_object_that_s3_gives_but_kms_does_not_names_the_key(s3: Any, endpoint: str, answer: Answer, words: str) -> None:
    s3.put_object(Bucket="bills", Key="a.csv", Body=b"1", ServerSideEncryption="aws:kms", SSEKMSKeyId=KEY)
    assert words in refused(endpoint, answer)


def test_the_etag_of_what_kms_encrypts_is_no_md5(s3: Any, endpoint: str) -> None:
    s3.put_object(Bucket="bills", Key="a.csv", Body=b"12", ServerSideEncryption="aws:kms", SSEKMSKeyId=KEY)
    with broken_proxy(endpoint, lambda r: Garble() if r.span == (0, 1) else None) as proxy:
        assert Store("bills", S3(proxy.address).client("s3://bills")).read("a.csv") == b"02"


# --- roles ------------------------------------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/collector"


def _credentials(expires: datetime, number: int) -> Answer:
    return Answer(
        200,
        f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>key-{number}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
        <Expiration>{expires:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials><AssumedRoleUser><Arn>{ROLE}/rdspend</Arn>
        <AssumedRoleId>id</AssumedRoleId></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>""".encode(),
        {"Content-Type": "text/xml"},
    )


def test_a_role_is_assumed_with_our_name_and_the_external_id(s3: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    with broken_proxy(endpoint) as sts, broken_proxy(endpoint) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.address)
        client = S3(bucket.address, role_arn=ROLE, external_id="from-the-owner").client("s3://bills")
        assert Store("bills", client).read("a.csv") == b"1"
    (asked,) = sts.requests
    form = parse_qs(asked.body.decode())
    assert (form["RoleArn"], form["RoleSessionName"], form["ExternalId"]) == ([ROLE], ["rdspend"], ["from-the-owner"])
    assert "Credential=test/" in asked.headers["authorization"]
    assert all("Credential=test/" not in r.headers["authorization"] for r in bucket.requests)


def test_credentials_of_a_role_are_taken_anew_before_they_expire(
    s3: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    soon = datetime.now(UTC) + timedelta(seconds=60)
    with broken_proxy(endpoint, lambda r: _credentials(soon, r.number)) as sts, broken_proxy(endpoint) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.address)
        Store("bills", S3(bucket.address, role_arn=ROLE).client("s3://bills")).read("a.csv")
    used = [r.headers["authorization"].partition("Credential=")[2].partition("/")[0] for r in bucket.requests]
    assert len(sts.requests) > 1 and len(set(used)) == len(used)


@pytest.mark.parametrize(
    ("external_id", "words"),
    [
        (None, r"it asks for no sts:ExternalId \(else set s3\.external_id\)"),
        ("x-1", r"its condition sts:ExternalId is 'x-1' \(s3\.external_id\)"),
    ],
)
def test_a_role_that_can_not_be_assumed_names_who_must_be_allowed(
    s3: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch, external_id: str | None, words: str
) -> None:
    iam = boto3.client("iam", endpoint_url=endpoint)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
    _post(endpoint, "reset-auth", b"0")
    try:
        with pytest.raises(SourceUnavailable) as raised:
            Store("bills", S3(endpoint, role_arn=ROLE, external_id=external_id).client("s3://bills")).read("a.csv")
    finally:
        _post(endpoint, "reset-auth", b"Infinity")
    assert f"s3.role_arn: {ROLE} can't be assumed: allow arn:aws:iam::123456789012:user/reader sts:AssumeRole on {ROLE}" in str(
        raised.value
    )
    assert re.search(words, str(raised.value))


def test_a_role_needs_credentials_to_be_assumed_with(
    s3: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(SourceUnavailable, match="credentials"):
        Store("bills", S3(endpoint, role_arn=ROLE).client("s3://bills")).read("a.csv")
