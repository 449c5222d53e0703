"""The figures of a past month as samples with timestamps, for a Prometheus that was not there to scrape them.

A month's figures are samples at midnight (UTC) of each of its days and nowhere else: what the page shows for weeks is here as
long as the month itself. Only series of the month itself are there, not those of an earlier one that its page still showed, so
that `billing_period` names all that a month wrote. Beside the families of the page stand the sums that the recording rules of
deploy/prometheus/rules.yml make of them, since those only look forward.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from exporters.figures import describe
from exporters.metric_families import Family, Spelling
from rdspend.errors import ConfigError
from rdspend.schema import Breakdown

RECORDED = (
    ("cost", ("billing_period", "category")),
    ("cost", ("billing_period", "basis")),
    ("gpu.time", ("billing_period", "category", "currency")),
)
"""Sums that recording rules make, by the labels they keep: `billing_period_category:rdspend_cost_usd:sum`."""

DAY = timedelta(days=1)
SERIES_A_REQUEST = 2000  # each with a month of samples: a megabyte before it is compressed


def recorded_name(family: str, kept: Sequence[str]) -> str:
    return f"{'_'.join(kept)}:{family}:sum"


def is_recorded(family: Family) -> bool:
    return ":" in family.name


def past_families(breakdowns: Sequence[Breakdown], max_series: int, where: str, spell: Spelling) -> list[Family]:
    """Families of one month's breakdowns, one for each currency, with the sums that are recorded of them."""
    (period,) = {b.period for b in breakdowns}
    found = [_of_period(each, period) for each in describe(breakdowns, None, max_series, where, spell)]
    return [each for each in (*found, *_recorded(found, spell)) if each.samples]


@dataclass(frozen=True)
class Past:
    """One month's figures, ready to be written.

    target  labels of every series but the recorded ones: rules sum over them
    """

    breakdown: Breakdown
    families: Sequence[Family]
    target: Mapping[str, str]

    def __post_init__(self) -> None:
        for family in self.families:
            if not is_recorded(family) and (taken := set(self.target) & set(family.labels)):
                raise ConfigError(f"--label {min(taken)}: {family.name} has a label of that name")

    @property
    def series(self) -> int:
        return sum(len(family.samples) for family in self.families)

    def open_metrics(self) -> Iterator[str]:
        """OpenMetrics text, a piece for each series; the last is `# EOF`."""
        return _open_metrics(self)

    def write_requests(self) -> Iterator[bytes]:
        """Requests of Prometheus' remote write 1.0, not yet compressed: SERIES_A_REQUEST series each."""
        return _write_requests(self)


def _open_metrics(past: Past) -> Iterator[str]:
    midnights = [f" {seconds}\n" for seconds in midnights_of(past.breakdown)]
    for family in past.families:
        yield f"# TYPE {family.name} gauge\n# HELP {family.name} {_escaped(family.words)}\n"
        for name, labels, value in _series((family,), past.target):
            pairs = ",".join(f'{each}="{_escaped(text)}"' for each, text in labels.items())
            sample = f"{name}{{{pairs}}} {float(value)!r}"
            yield "".join([sample + midnight for midnight in midnights])
    yield "# EOF\n"


def _write_requests(past: Past) -> Iterator[bytes]:
    """A request is protobuf: time series (1) of labels (1: name 1, value 2) by name, and samples (2: value 1, time 2)."""
    times = [_key(2, 0) + _varint(seconds * 1000) for seconds in midnights_of(past.breakdown)]
    packed: list[bytes] = []
    for name, labels, value in _series(past.families, past.target):
        # To Prometheus an empty label is none, and its receiver refuses one that is sent.
        sorted_labels = sorted({"__name__": name, **{each: text for each, text in labels.items() if text}}.items())
        body = b"".join(_field(1, _text(1, each) + _text(2, text)) for each, text in sorted_labels)
        one = _key(1, 1) + struct.pack("<d", float(value))
        packed.append(_field(1, body + b"".join([_field(2, one + time) for time in times])))
        if len(packed) == SERIES_A_REQUEST:
            yield b"".join(packed)
            packed = []
    if packed:
        yield b"".join(packed)


def midnights_of(b: Breakdown) -> list[int]:
    """The first second of each day of the breakdown's months, since the epoch."""
    start = datetime.strptime(f"{b.months[0]}+0000", "%Y-%m%z")
    last = datetime.strptime(f"{b.months[-1]}+0000", "%Y-%m%z")
    end = datetime(last.year + last.month // 12, last.month % 12 + 1, 1, tzinfo=UTC)
    return [int((start + n * DAY).timestamp()) for n in range((end - start).days)]


def _series(families: Iterable[Family], target: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str], Decimal | float]]:
    for family in families:
        more = {} if is_recorded(family) else target
        for values, value in family.samples.items():
            yield family.name, {**dict(zip(family.labels, values, strict=True)), **more}, value


def _of_period(family: Family, period: str) -> Family:
    if "billing_period" not in family.labels:
        return replace(family, samples={})  # of the present, not of a month
    place = family.labels.index("billing_period")
    return replace(family, samples={values: v for values, v in family.samples.items() if values[place] == period})


def _recorded(families: Iterable[Family], spell: Spelling) -> Iterator[Family]:
    for family in families:
        for name, kept in RECORDED:
            if family.name != spell(name, family.unit):
                continue
            places = [family.labels.index(label) for label in kept]
            sums: dict[tuple[str, ...], Decimal] = {}
            for values, value in family.samples.items():
                key = tuple(values[place] for place in places)
                sums[key] = sums.get(key, Decimal(0)) + Decimal(value)
            words = f"Sum of {family.name} by {', '.join(kept)}, as the recording rule has it."
            yield Family(recorded_name(family.name, kept), family.unit, words, kept, False, {**sums})


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    rest = bytearray()
    while value > 0x7F:
        rest.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*rest, value])


def _field(number: int, content: bytes) -> bytes:
    return _key(number, 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
