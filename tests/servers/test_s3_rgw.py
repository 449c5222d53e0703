"""Bills on a real S3 server, Ceph's object gateway, with throttling and broken connections injected between."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from broken_proxy import SLOW_DOWN, Answer, Break, Garble, Request, broken_proxy
from servers.rgw.gateway import running_gateway

from collectors.focus import Focus
from rdspend.bills.store import ATTEMPTS, BREAKS, RANGE_BYTES, READINGS, S3, Store
from rdspend.errors import SourceUnavailable
from rdspend.schema import Location, Window

pytestmark = pytest.mark.server

OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
COLUMNS = (
    "BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,"
    "ChargeCategory,ResourceId"
)
PERIOD = "USD,2026-10-01T00:00:00Z,2026-11-01T00:00:00Z,2026-10-02T00:00:00Z,2026-10-02T01:00:00Z,Usage"
MIB = 1 << 20


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with running_gateway() as address:
        yield address


def _become(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{user}-access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{user}-secret")


@pytest.fixture
def owner(gateway: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the bucket's owner, whose credentials the environment carries."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    _become("bills", monkeypatch)
    # A session of its own: the default one keeps the credentials of the tests before.
    client = boto3.session.Session().client("s3", endpoint_url=gateway)
    client.create_bucket(Bucket="bills")
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="bills"):
        for entry in page.get("Contents", ()):
            client.delete_object(Bucket="bills", Key=entry["Key"])
    client.delete_bucket(Bucket="bills")
    client.close()


def store(address: str, **settings: Any) -> Store:
    return Store("bills", S3(address, **settings).client("s3://bills"))


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# --- what the server itself does --------------------------------------------------------------------------------------


def test_objects_of_several_ranges_one_range_one_byte_and_none_arrive_whole(owner: Any, gateway: str, tmp_path: Path) -> None:
    contents = {f"export/{n}.csv": noise(n) for n in (0, 1, RANGE_BYTES - 1, RANGE_BYTES, 2 * RANGE_BYTES + 1)}
    for key, content in contents.items():
        owner.put_object(Bucket="bills", Key=key, Body=content)
    bills = store(gateway)
    found = bills.find("export")
    assert sorted(found) == sorted(contents)
    copies = bills.fetch_all(found, tmp_path)
    assert {key: copy.read_bytes() for key, copy in zip(found, copies, strict=True)} == contents
    assert [bills.read(key) for key in found] == [contents[key] for key in found]
    assert [bills.stat(key)[0] for key in found] == [len(contents[key]) for key in found]
    assert bills.find("export/0.csv") == ["export/0.csv"]
    assert not list(tmp_path.rglob("*.part"))


def test_an_object_uploaded_in_parts_has_no_md5_and_arrives_whole(owner: Any, gateway: str, tmp_path: Path) -> None:
    content = noise(11 * MIB)
    upload = owner.create_multipart_upload(Bucket="bills", Key="a.csv")["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(content), 5 * MIB), 1):
        of = {"Bucket": "bills", "Key": "a.csv", "UploadId": upload, "PartNumber": number}
        parts.append({"PartNumber": number, "ETag": owner.upload_part(Body=content[start : start + 5 * MIB], **of)["ETag"]})
    owner.complete_multipart_upload(Bucket="bills", Key="a.csv", UploadId=upload, MultipartUpload={"Parts": parts})
    assert store(gateway).stat("a.csv")[1].endswith("-3")
    assert store(gateway).fetch("a.csv", tmp_path).read_bytes() == content


def test_a_stranger_is_told_which_permission_is_missing(owner: Any, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    _become("reader", monkeypatch)
    with pytest.raises(SourceUnavailable, match=r"s3://bills/: S3 denied it; allow s3:ListBucket on arn:aws:s3:::bills$"):
        store(gateway).find("")
    with pytest.raises(SourceUnavailable, match=r"allow s3:GetObject on arn:aws:s3:::bills/a\.csv; without s3:ListBucket"):
        store(gateway).find("a.csv")


def test_a_role_is_assumed_with_the_keys_of_the_chain(owner: Any, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", gateway)
    _become("reader", monkeypatch)
    assert store(gateway, role_arn="arn:aws:iam:::role/collector").read("a.csv") == b"1"
    with pytest.raises(SourceUnavailable, match=r"role_arn: arn:aws:iam:::role/none can't be assumed: there is no such role"):
        store(gateway, role_arn="arn:aws:iam:::role/none").read("a.csv")
    _become("bills", monkeypatch)
    with pytest.raises(
        SourceUnavailable, match=r"allow the caller sts:AssumeRole on arn:aws:iam:::role/collector, and check that"
    ):
        store(gateway, role_arn="arn:aws:iam:::role/collector").read("a.csv")


def test_where_the_reader_pays_it_says_so(owner: Any, gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    owner.put_bucket_request_payment(Bucket="bills", RequestPaymentConfiguration={"Payer": "Requester"})
    who = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/reader"]}, "Action": ["s3:*"]}
    policy = {"Version": "2012-10-17", "Statement": [who | {"Resource": ["arn:aws:s3:::bills", "arn:aws:s3:::bills/*"]}]}
    owner.put_bucket_policy(Bucket="bills", Policy=json.dumps(policy))
    _become("reader", monkeypatch)
    with pytest.raises(SourceUnavailable, match="denied"):
        store(gateway).read("a.csv")
    assert store(gateway, requester_pays=True).find("") == ["a.csv"]
    assert store(gateway, requester_pays=True).read("a.csv") == b"1"


# --- what happens on the way ------------------------------------------------------------------------------------------


def bill(file: int, rows: int) -> bytes:
    """Costs that no float could add up."""
    lines = (f"{file}.{n:09},{n}.{file:09},{PERIOD},i-{hashlib.sha256(b'%d' % n).hexdigest()}" for n in range(rows))
    return "\n".join([COLUMNS, *lines, ""]).encode()


def total(path: str, s3: S3) -> list[Any]:
    with closing(Focus(Location(path), s3=s3).collect(OCTOBER)) as deliveries:
        sums = "count(*), sum(billed_cost_nanos), sum(effective_cost_nanos), bit_xor(hash(resource_id, origin_row))"
        return [row for d in deliveries for row in d.rows.aggregate(sums).fetchall()]


def test_a_bill_of_several_files_is_the_same_through_throttling_and_broken_connections(
    owner: Any, gateway: str, tmp_path: Path
) -> None:
    for file in range(6):
        content = bill(file, 20_000 * (file + 1))
        (tmp_path / f"{file}.csv").write_bytes(content)
        owner.put_object(Bucket="bills", Key=f"export/{file}.csv", Body=content)
    expected = total(str(tmp_path), S3())
    asked: dict[tuple[str, int], int] = {}
    lock = threading.Lock()

    def plan(request: Request) -> Any:
        """The first request of every object is throttled, the next ones of its body are cut off, twice."""
        kind = (request.path.partition("?")[0], -1 if request.span is None else request.is_first_byte)
        with lock:
            times = asked[kind] = asked.get(kind, -1) + 1
        if times == 0:
            return SLOW_DOWN
        if times == 1 and request.span is None:
            return Break(200)  # in the middle of the list of objects
        if times in (1, 2) and not request.is_first_byte:
            return Break(700_000 * times, reset=times == 2)
        return None

    with broken_proxy(gateway, plan) as proxy:
        assert total("s3://bills/export", S3(proxy.address)) == expected
    assert expected[0][0] == 420_000
    assert all(times >= 1 for times in asked.values()) and len(asked) == 13


def _body(request: Request) -> bool:
    return request.span is not None and not request.is_first_byte


def _first(matches: Callable[[Request], bool], fault: Any, times: int = 1) -> Callable[[Request], Any]:
    """A plan: the first requests that match meet the fault."""
    left = [fault] * times
    lock = threading.Lock()

    def plan(request: Request) -> Any:
        with lock:
            return left.pop() if matches(request) and left else None

    return plan


def test_a_break_goes_on_at_the_last_byte(owner: Any, gateway: str, tmp_path: Path) -> None:
    content = noise(10 * MIB)
    owner.put_object(Bucket="bills", Key="a.csv", Body=content)
    with broken_proxy(gateway, _first(_body, Break(8 * MIB))) as proxy:
        assert store(proxy.address).fetch("a.csv", tmp_path).read_bytes() == content
    assert [r.span for r in proxy.requests] == [(0, 0), (0, 10 * MIB - 1), (8 * MIB, 10 * MIB - 1)]
    assert proxy.body_bytes == 10 * MIB + 1


def test_a_connection_that_always_breaks_is_given_up(owner: Any, gateway: str, tmp_path: Path) -> None:
    owner.put_object(Bucket="bills", Key="a.csv", Body=noise(MIB))
    given_up = pytest.raises(
        SourceUnavailable, match=rf"the connection broke {BREAKS} times in a row, last at byte 60 of {MIB}: "
    )
    with broken_proxy(gateway, lambda request: Break(10) if _body(request) else None) as proxy, given_up:
        store(proxy.address).fetch("a.csv", tmp_path)
    assert not list(tmp_path.rglob("a.csv"))


def test_breaks_are_taken_as_often_as_bytes_come(owner: Any, gateway: str, tmp_path: Path) -> None:
    content = noise(2 * MIB)
    owner.put_object(Bucket="bills", Key="a.csv", Body=content)
    with broken_proxy(gateway, lambda request: Break(100_000) if _body(request) else None) as proxy:
        assert store(proxy.address).fetch("a.csv", tmp_path).read_bytes() == content
    assert len(proxy.requests) > 2 * BREAKS and proxy.body_bytes == len(content) + 1


def test_throttling_is_waited_out_and_does_not_last_for_ever(owner: Any, gateway: str) -> None:
    owner.put_object(Bucket="bills", Key="a.csv", Body=b"1")
    with broken_proxy(gateway, _first(lambda _: True, SLOW_DOWN, 3)) as proxy:
        assert store(proxy.address).read("a.csv") == b"1"
    given_up = pytest.raises(SourceUnavailable, match=rf"S3 failed \(500, asked {ATTEMPTS} times\); it is asked again")
    with broken_proxy(gateway, lambda _: Answer(500)) as proxy, given_up:
        store(proxy.address).read("a.csv")
    assert len(proxy.requests) == ATTEMPTS


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(owner: Any, gateway: str, tmp_path: Path) -> None:
    old, new = noise(3 * MIB, 1), noise(3 * MIB, 2)
    owner.put_object(Bucket="bills", Key="a.csv", Body=old)
    replaced = threading.Event()

    def plan(request: Request) -> Any:
        if _body(request) and request.span and request.span[0] and not replaced.is_set():
            replaced.set()
            owner.put_object(Bucket="bills", Key="a.csv", Body=new)
        return Break(MIB) if _body(request) and not replaced.is_set() else None

    with broken_proxy(gateway, plan) as proxy:
        assert store(proxy.address).fetch("a.csv", tmp_path).read_bytes() == new


def test_an_object_that_is_always_being_replaced_is_not_taken(owner: Any, gateway: str, tmp_path: Path) -> None:
    owner.put_object(Bucket="bills", Key="a.csv", Body=noise(MIB))

    def plan(request: Request) -> None:
        if _body(request):
            owner.put_object(Bucket="bills", Key="a.csv", Body=noise(MIB, request.number + 2))

    with broken_proxy(gateway, plan) as proxy:
        with pytest.raises(SourceUnavailable, match=rf"a\.csv: read {READINGS} times, and each time it was replaced"):
            store(proxy.address).fetch("a.csv", tmp_path)
        with pytest.raises(SourceUnavailable, match=rf"a\.csv: read {READINGS} times"):
            store(proxy.address).read("a.csv")
    assert not list(tmp_path.rglob("a.csv"))


def test_bytes_that_changed_on_the_way_are_read_again(owner: Any, gateway: str, tmp_path: Path) -> None:
    content = noise(MIB)
    owner.put_object(Bucket="bills", Key="a.csv", Body=content)
    with broken_proxy(gateway, _first(_body, Garble())) as proxy:
        assert store(proxy.address).fetch("a.csv", tmp_path).read_bytes() == content
    with broken_proxy(gateway, _first(_body, Garble())) as proxy:
        assert store(proxy.address).read("a.csv") == content
    given_up = pytest.raises(SourceUnavailable, match="did not have the MD5 of its etag")
    with broken_proxy(gateway, lambda request: Garble() if _body(request) else None) as proxy, given_up:
        store(proxy.address).fetch("a.csv", tmp_path / "other")


def test_ranges_are_read_side_by_side_and_no_more_than_asked_for(owner: Any, gateway: str, tmp_path: Path) -> None:
    """A barrier lets a request go on only when three are there; a fourth is counted."""
    owner.put_object(Bucket="bills", Key="a.csv", Body=noise(6 * RANGE_BYTES))
    barrier, lock, now, most = threading.Barrier(3, timeout=60), threading.Lock(), [0], [0]

    def plan(request: Request) -> None:
        if _body(request):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            barrier.wait()
            time.sleep(0.3)
            with lock:
                now[0] -= 1

    with broken_proxy(gateway, plan) as proxy:
        store(proxy.address, parallel=3).fetch("a.csv", tmp_path)
    assert most[0] == 3


MEASURE = """
import re, sys
from pathlib import Path
from rdspend.bills.store import S3, Store
store = Store("bills", S3(sys.argv[1]).client("s3://bills"))
store.stat("big.parquet")
peak = lambda: int(re.search("VmHWM:\\s*([0-9]+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
copy = store.fetch("big.parquet", Path(sys.argv[2]))
print(peak() - before, copy.stat().st_size)
"""


def test_an_object_of_200_mb_takes_little_memory(owner: Any, gateway: str, tmp_path: Path) -> None:
    """By VmHWM: the maximum of getrusage is inherited from the process that starts another."""
    owner.put_object(Bucket="bills", Key="big.parquet", Body=noise(MIB) * 200)
    done = subprocess.run([sys.executable, "-P", "-c", MEASURE, gateway, tmp_path], capture_output=True, text=True, check=True)
    mebibytes, size = map(int, done.stdout.split())
    assert size == 200 * MIB
    assert mebibytes < 24
