"""AWS Cost Explorer: the month by service and linked account, as a check on the bill. Never as the bill.

    [collectors.cost_explorer]
    cache = "cost-explorer"         # folder that keeps answers and counts requests
    bill = "aws_cur"                # name of the collector whose bill is checked
    requests_per_day = 20           # optional: each page of an answer is a request and costs USD 0.01
    fresh_hours = 24                # optional: an answer younger than this is taken from the cache and costs nothing
    by = "service"                  # optional: or "account", for bills whose services have other names
    profile = "billing"             # optional; credentials come from boto3's usual chain
    [collectors.cost_explorer.services]          # optional: its name of a service = "the bill's"; those with one name are added
    "EC2 - Other" = "Amazon Elastic Compute Cloud"
    "Amazon Elastic Compute Cloud - Compute" = "Amazon Elastic Compute Cloud"

Permission: `ce:GetCostAndUsage`, in the management account or with access to Cost Explorer; and to write the cache folder.

One question a month: granularity MONTHLY, grouped by SERVICE and LINKED_ACCOUNT; UnblendedCost is taken as billed,
NetAmortizedCost as effective (AmortizedCost where there is no net). A request is counted before it is sent, whether it is
answered or not. When the requests of the day (UTC) run out before the last page, what was read is delivered as not complete:
the check stays open, it is not wrong. The pages are kept, and the next day goes on behind them while they are fresh. Requests
and their price come with the delivery, those of attempts that failed too.

It can't see resources, jobs or hours, nor months that AWS has dropped (they are noted). Its services have names of their own,
which a bill may not use: then `services` translates them, or `by = "account"` leaves them out. AWS renews it about once a day.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import duckdb

from rdspend.bills.column import MOST
from rdspend.border import exact, literal, nanos, refuse
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import NAME, NANOS, Delivery, Location, Window

PRICE_PER_REQUEST_NANOS = NANOS // 100

BILLED, EFFECTIVE = "UnblendedCost", ("NetAmortizedCost", "AmortizedCost")

GROUP_BY = ("SERVICE", "LINKED_ACCOUNT")

# Answers that nobody asked for again in this time are removed.
KEPT_DAYS = 60


@dataclass(frozen=True)
class CostExplorer:
    """Asks Cost Explorer for month totals."""

    cache: Location
    bill: str | None = None
    requests_per_day: int = 20
    fresh_hours: int = 24
    by: Literal["service", "account"] = "service"
    services: Mapping[str, str] = field(default_factory=dict)
    region: str = "us-east-1"
    profile: str | None = None
    endpoint_url: str | None = None

    def __post_init__(self) -> None:
        if self.requests_per_day < 1 or self.fresh_hours < 1:
            raise ValueError("requests_per_day and fresh_hours are 1 or more")
        if self.bill is not None and not NAME.fullmatch(self.bill):
            raise ValueError(f"bill: found {self.bill!r}; expected the name of a collector")

    def collect(self, window: Window) -> Iterator[Delivery]:
        """One delivery of statements for each month of the window.

        Raises SourceUnavailable when AWS does not answer or denies it, BadRecord for an answer that can't be read.
        """
        yield from self.ask(window, datetime.now(UTC))

    def ask(self, window: Window, now: datetime) -> Iterator[Delivery]:
        """The same at an instant: it says what is fresh, and whose day's requests are counted."""
        till = Till(Path(self.cache), self.requests_per_day, now)
        with _writable(self.cache), duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            for month in window.months:
                answer = self._answer(till, month, window, now)
                requests = till.untold()
                yield Delivery(
                    "statements",
                    connection.sql(_statements(answer, self.bill, self.by, self.services)),
                    {"billing_period": month},
                    notes=answer.notes,
                    requests=requests,
                    own_cost=requests * PRICE_PER_REQUEST_NANOS,
                )
                till.tell(requests)
            _tidy(till.folder, now - timedelta(days=KEPT_DAYS))

    def _answer(self, till: Till, month: str, window: Window, now: datetime) -> Answer:
        """The pages of a month: from the cache, and from Cost Explorer what is missing there."""
        question = _question(month, window)
        kept = Kept(till.folder / f"{month}-{self._digest(question)}.json")
        answer = kept.read(month, now - timedelta(hours=self.fresh_hours)) or Answer(month, now.isoformat())
        while not answer.whole:
            if not till.pay():
                left = f"requests_per_day = {self.requests_per_day} used up after {len(answer.pages)} pages of {month}"
                answer.notes.append(("check_open", "cost_explorer", f"{left}; it goes on tomorrow", 0))
                return answer
            try:
                answer.add(self._page(question, answer))
            except _TokenExpired:
                answer = Answer(month, now.isoformat())
                kept.forget()
                continue
            kept.write(answer)
        return answer

    def _digest(self, question: dict[str, Any]) -> str:
        asked = [question, self.profile, self.region, self.endpoint_url]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]

    def _page(self, question: dict[str, Any], answer: Answer) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"Cost Explorer, {answer.month}"
        token = {"NextPageToken": answer.next} if answer.next else {}
        try:
            page: dict[str, Any] = self._client().get_cost_and_usage(**question, **token)
        except ClientError as error:
            code, words = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in ("InvalidNextTokenException", "RequestChangedException") and token:
                raise _TokenExpired from error
            if code == "BillExpirationException":
                answer.notes.append(("check_missing", "cost_explorer", f"AWS no longer keeps {answer.month}: {words}", 0))
                return {"ResultsByTime": []}
            raise SourceUnavailable(f"{where}: {_say(code, words)}") from error
        except BotoCoreError as error:
            raise SourceUnavailable(f"{where}: {error}") from error
        if page.get("NextPageToken") and page["NextPageToken"] in answer.tokens:
            raise BadRecord(f"{where}: page {len(answer.pages) + 1} leads back to an earlier one; expected pages that end")
        return {name: page[name] for name in ("ResultsByTime", "NextPageToken") if name in page}

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        # One attempt each: what botocore tries again in silence is charged too.
        once = Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60)
        try:
            session = boto3.session.Session(profile_name=self.profile, region_name=self.region)
            return session.client("ce", endpoint_url=self.endpoint_url, config=once)
        except (BotoCoreError, ValueError) as error:
            raise SourceUnavailable(f"Cost Explorer: can't set up the client: {error}") from error


class _TokenExpired(Exception):
    """The next page can't be asked for any more: the answer has to be begun again."""


def _say(code: str, words: str) -> str:
    if code in ("AccessDeniedException", "AccessDenied", "UnauthorizedOperation"):
        return f"AWS denied it; allow ce:GetCostAndUsage, and enable IAM access to billing in the account: {words}"
    if code in ("LimitExceededException", "TooManyRequestsException") or "hrottl" in code:
        return "AWS is throttling; it is asked again at the next collect"
    if code == "DataUnavailableException":
        return f"AWS has no data of it yet (a day after Cost Explorer was enabled): {words}"
    return f"AWS answered {code}: {words}"


def _question(month: str, window: Window) -> dict[str, Any]:
    """A month that still runs is asked for up to the day of the window's end, that day included."""
    start = date(int(month[:4]), int(month[5:7]), 1)
    after = date(start.year + start.month // 12, start.month % 12 + 1, 1)
    seen = (window.end.astimezone(UTC) - timedelta(microseconds=1)).date() + timedelta(days=1)
    return {
        "TimePeriod": {"Start": start.isoformat(), "End": min(after, seen).isoformat()},
        "Granularity": "MONTHLY",
        "Metrics": [BILLED, *EFFECTIVE],
        "GroupBy": [{"Type": "DIMENSION", "Key": key} for key in GROUP_BY],
    }


# --- the cache --------------------------------------------------------------------------------------------------------


@contextmanager
def _writable(folder: str) -> Iterator[None]:
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigError(
            f"cache: {error.filename or folder}: {error.strerror}; expected a folder that can be written"
        ) from error


@dataclass
class Answer:
    """The pages read so far. `next`: token of the page to come; whole when there is none."""

    month: str
    since: str
    pages: list[list[dict[str, Any]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    next: str | None = None
    notes: list[tuple[str, str, str, int]] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return bool(self.pages) and self.next is None

    def add(self, page: dict[str, Any]) -> None:
        self.pages.append(page["ResultsByTime"])
        self.next = page.get("NextPageToken") or None
        self.tokens += [self.next] if self.next else []


@dataclass(frozen=True)
class Kept:
    """The file of one answer."""

    file: Path

    def read(self, month: str, oldest: datetime) -> Answer | None:
        """What is kept, when it is no older. A file that can't be read is no answer: it is asked for again."""
        try:
            content = json.loads(self.file.read_bytes())
            since = datetime.fromisoformat(content["since"])
            answer = Answer(month, content["since"], content["pages"], content["tokens"], content["next"])
            answer.notes = [(kind, subject, detail, rows) for kind, subject, detail, rows in content["notes"]]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return None
        return answer if since >= oldest else None

    def write(self, answer: Answer) -> None:
        content = {name: getattr(answer, name) for name in ("since", "pages", "tokens", "next", "notes")}
        write_whole(self.file, json.dumps(content))

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Till:
    """Counts the requests of a day, of all processes that share the folder.

    untold: requests that no delivery has told yet, those of failed attempts among them.
    """

    folder: Path
    requests_per_day: int
    now: datetime

    def pay(self) -> bool:
        """Count one request; false when the day has none left."""
        with self._open() as count:
            if count["requests"] >= self.requests_per_day:
                return False
            count["requests"] += 1
            count["untold"] += 1
            return True

    def untold(self) -> int:
        with self._open() as count:
            return int(count["untold"])

    def tell(self, requests: int) -> None:
        with self._open() as count:
            count["untold"] -= requests

    @contextmanager
    def _open(self) -> Iterator[dict[str, Any]]:
        day, file = f"{self.now:%Y-%m-%d}", self.folder / "requests.json"
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read(file)
            count = dict(before) if before.get("day") == day else {"day": day, "requests": 0, "untold": before.get("untold", 0)}
            yield count
            if count != before:
                write_whole(file, json.dumps(count))

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            content = json.loads(file.read_bytes())
            return {"day": str(content["day"]), "requests": int(content["requests"]), "untold": int(content["untold"])}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            # Not knowing how many were asked is not the same as none.
            raise ConfigError(f"{file}: can't be read as a count of requests; remove it to begin at 0") from error


def _tidy(folder: Path, oldest: datetime) -> None:
    for file in folder.glob("????-??-*.json"):
        if file.stat().st_mtime < oldest.timestamp():
            file.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Write a file in one step: readers see the old one or the new one."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)


# --- rows -------------------------------------------------------------------------------------------------------------

MONEY = {"Amount": "VARCHAR", "Unit": "VARCHAR"}
SHAPE = json.dumps([{"Keys": ["VARCHAR"], "Metrics": dict.fromkeys((BILLED, *EFFECTIVE), MONEY)}])


def _groups(answer: Answer) -> list[dict[str, Any]]:
    """The groups of all pages, one service of one account each."""
    where = f"Cost Explorer, {answer.month}"
    groups: list[dict[str, Any]] = []
    for number, page in enumerate(answer.pages, 1):
        for result in page:
            start = result.get("TimePeriod", {}).get("Start", "nothing")
            if start != f"{answer.month}-01":
                raise BadRecord(f"{where}: page {number}: TimePeriod.Start: found {start}, expected {answer.month}-01")
            if result.get("Total") and not result.get("Groups"):
                raise BadRecord(f"{where}: page {number}: found a total only, expected groups by {' and '.join(GROUP_BY)}")
            groups += result.get("Groups", [])
    return groups


def _statements(answer: Answer, bill: str | None, by: str, services: Mapping[str, str]) -> str:
    """The groups as rows of statements, checked: by account, and by service in the bill's words unless it is left out."""
    where = literal(f"Cost Explorer, {answer.month}")
    billed, effective = f"g.Metrics.{BILLED}", [f"g.Metrics.{name}" for name in EFFECTIVE]
    amortised = f"COALESCE({', '.join(f'{metric}.Amount' for metric in effective)})"
    units = ", ".join(f"{metric}.Unit" for metric in (billed, *effective))

    def money(text: str, name: str) -> str:
        number = f"CASE WHEN abs({exact(text)}) < {MOST} THEN {exact(text)} END"
        return nanos(f"COALESCE({number}, {refuse(where, 'n', name, text, f'a decimal below {MOST:,}')})")

    both = refuse(where, "n", "Keys", "g.Keys", f"two: {', '.join(GROUP_BY)}")
    unit = refuse(where, "n", "Unit", "units", "one currency, as an ISO 4217 code")
    words = " ".join(f"WHEN {literal(theirs)} THEN {literal(ours)}" for theirs, ours in services.items())
    service = "NULL" if by == "account" else f"CASE service {words} ELSE service END" if words else "service"
    return f"""
        SELECT {where} AS origin_file, min(n) AS origin_row, 'check' AS kind, {literal(bill)} AS bill, 'AWS' AS provider_name,
            CAST({service} AS VARCHAR) AS service_name, account AS sub_account_id, currency,
            CAST(sum(billed) AS BIGINT) AS billed_cost_nanos,
            CASE WHEN count(effective) = count(*) THEN CAST(sum(effective) AS BIGINT) END AS effective_cost_nanos,
            {str(answer.whole).lower()} AS complete
        FROM (
            SELECT n, CASE WHEN len(g.Keys) = 2 THEN g.Keys[1] ELSE {both} END AS service, g.Keys[2] AS account,
                CASE WHEN len(units) = 1 AND units[1] SIMILAR TO '[A-Z]{{3}}' THEN units[1] ELSE {unit} END AS currency,
                {money(f"{billed}.Amount", BILLED)} AS billed,
                CASE WHEN {amortised} IS NOT NULL THEN {money(amortised, EFFECTIVE[0])} END AS effective
            FROM (
                SELECT n, g, list_sort(list_distinct([{units}])) AS units
                FROM (
                    SELECT unnest(found) AS g, CAST(generate_subscripts(found, 1) AS BIGINT) AS n
                    FROM (SELECT from_json({literal(json.dumps(_groups(answer)))}, {literal(SHAPE)}) AS found)
                )
            )
        )
        GROUP BY ALL ORDER BY origin_row
    """
