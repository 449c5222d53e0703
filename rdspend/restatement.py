"""Restatement: how far a month's bill is, what a closed month was closed with, and what a month can be closed with.

A month's state is that of its newest publication: figures read while the month ran stay those of an open month, however much
time passes, until somebody reads the bill again. Only a pin (`rdspend close`) changes it in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from rdspend.breakdown import NO_CURRENCY, decode, named_currencies
from rdspend.closing import half_unit, money
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.ledger import Run
from rdspend.period import Period, parse_period
from rdspend.schema import Breakdown, Closed

SECONDS_UNTIL_SETTLED = 14 * 24 * 3600
"""Bills are restated without a word for about two weeks after the month."""

WORST_FIRST = ("corrected", "open", "preliminary", "closed")

ZERO = Decimal(0)


# --- the state of a month ---------------------------------------------------------------------------------------------


def with_state(engine: Engine, made: Breakdown, period: Period, now: float, sources: Collection[str]) -> Breakdown:
    """A breakdown just made, with its state. Wants the views `charges`, `publications` and `closes` of its snapshot.

    made     with its revision and snapshot
    now      epoch seconds: when the run began that makes it
    sources  names of those that are configured
    """
    pin = newest_pin(engine, made)
    closed = pin.closed if pin else _handed_on(engine, made)
    if closed is not None:
        return _against(engine, made, closed)
    if now < period.window.end.timestamp():
        return replace(made, state="open", state_why="it has not ended")
    why = "; ".join(_reasons(engine, made, period, now, sources))
    if why:
        return replace(made, state="preliminary", state_why=why)
    return replace(made, state="closed", closed=closed_with(made, now))


def with_pin(engine: Engine, published: Breakdown) -> Breakdown:
    """A published breakdown, closed or corrected where somebody closed its period since. Wants `publications`, `closes`.

    The run that closed it is then the snapshot it shows: `--as-of` that run gives the same bytes.
    """
    pin = newest_pin(engine, published)
    if pin is None:
        return published
    shown = replace(published, snapshot=f"run-{max(pin.run, run_number(published.snapshot))}")
    return _against(engine, shown, pin.closed)


def with_worst_state(converted: Breakdown, parts: Sequence[Breakdown]) -> Breakdown:
    """A breakdown in one currency, with the worst state of those it is made of. Closed figures stay in their currencies."""
    stated = [part for part in parts if part.state]
    if not stated:
        return converted
    worst = min((part.state for part in stated), key=WORST_FIRST.index)
    why = (f"{part.currency}: {_state_words(part)}" for part in stated if part.state == worst and worst != "closed")
    return replace(converted, state=worst, state_why="; ".join(why), closed=None)


def _state_words(b: Breakdown) -> str:
    if b.closed is None:
        return b.state_why
    return f"closed with {b.closed.total:,.2f} as revision {b.closed.revision}, now {b.total:,.2f}"


def touches(run: Run, period: Period) -> bool:
    """Whether a run may have changed figures of the period. Tagging a month goes on to all later ones."""
    stages, months = set(run.stages.split(",")), parse_period(run.period).months
    return ("tag" in stages and months[0] <= period.months[-1]) or (
        "attribute" in stages and bool(set(months) & set(period.months))
    )


@dataclass(frozen=True)
class Pin:
    """The run that closed a period, and what with."""

    run: int
    closed: Closed


def newest_pin(engine: Engine, made: Breakdown) -> Pin | None:
    found = engine.rows(
        "SELECT run, published_run, epoch_us(closed_at) // 1000000 FROM closes "
        "WHERE period = ? AND policy = ? AND currency = ? ORDER BY run DESC LIMIT 1",
        [made.period, made.policy.name, made.currency],
    )
    if not found:
        return None
    run, published_run, closed_at = found[0]
    return Pin(run, closed_with(_published(engine, made, published_run), closed_at))


def closed_with(figures: Breakdown, at: float) -> Closed:
    when = datetime.fromtimestamp(int(at), UTC)
    return Closed(figures.revision, figures.snapshot, figures.total, figures.billed_total, when)


def run_number(snapshot: str) -> int:
    return int(snapshot.removeprefix("run-"))


def newest(engine: Engine, period: str, policy: str) -> dict[str, Breakdown]:
    """The newest publication of a period in each currency. Wants the view `publications`."""
    rows = engine.rows(
        "SELECT currency, arg_max(figures, run) FROM publications WHERE period = ? AND policy = ? GROUP BY currency "
        "ORDER BY currency",
        [period, policy],
    )
    return {currency: decode(figures) for currency, figures in rows}


def kept_currencies(engine: Engine, period: str, policy: str) -> set[str]:
    """Currencies in which a period is published though no bill names them any more. Wants `publications` and `closes`.

    Those somebody closed it in, those it was closed in by itself, and those whose newest publication has money.
    """
    closed = engine.rows("SELECT DISTINCT currency FROM closes WHERE period = ? AND policy = ?", [period, policy])
    published = {c for c, b in newest(engine, period, policy).items() if b.closed is not None or _has_money(b)}
    return ({c for (c,) in closed} | published) - {NO_CURRENCY}


def currencies_to_publish(engine: Engine, period: str, policy: str) -> tuple[str, ...]:
    """Currencies that attributions name, and those that are kept; NO_CURRENCY when it never had any."""
    return tuple(sorted({*named_currencies(engine), *kept_currencies(engine, period, policy)})) or (NO_CURRENCY,)


def _handed_on(engine: Engine, made: Breakdown) -> Closed | None:
    """What the newest publication was closed with; the first that the rule called closed says it of itself.

    A currency that was never published was nothing (revision 0) in a period that was closed in others.
    """
    published = newest(engine, made.period, made.policy.name)
    if made.currency in published:
        return published[made.currency].closed
    closed = [each.closed for each in (with_pin(engine, b) for b in published.values()) if each.closed is not None]
    if not closed:
        return None
    last = max(closed, key=lambda each: (each.closed_at, each.snapshot))
    return Closed(0, last.snapshot, ZERO, ZERO, last.closed_at)


def _published(engine: Engine, made: Breakdown, run: int) -> Breakdown:
    (found,) = engine.rows(
        "SELECT figures FROM publications WHERE period = ? AND policy = ? AND currency = ? AND run = ?",
        [made.period, made.policy.name, made.currency, run],
    )
    return decode(found[0])


def _against(engine: Engine, made: Breakdown, closed: Closed) -> Breakdown:
    """Closed, or corrected when a figure is another one now. New words (a title, a finding) correct nothing."""
    if closed.revision:
        same = _figures(made) == _figures(_published(engine, made, run_number(closed.snapshot)))
    else:
        same = not _has_money(made)
    return replace(made, state="closed" if same else "corrected", state_why="", closed=closed)


def _figures(b: Breakdown) -> tuple[object, ...]:
    # Breakdowns of an earlier rdspend say the currency once, not with every closing.
    closings = tuple(replace(c, currency=c.currency or b.currency) for c in b.closings)
    return b.total, b.billed_total, b.cells, closings, b.services


def _has_money(b: Breakdown) -> bool:
    return bool(b.total or b.billed_total or any(cell.cost or cell.billed_cost for cell in b.cells))


# --- why a month is not closed ----------------------------------------------------------------------------------------


def _reasons(engine: Engine, made: Breakdown, period: Period, now: float, sources: Collection[str]) -> Iterator[str]:
    if now < period.window.end.timestamp() + SECONDS_UNTIL_SETTLED:
        yield "it ended less than 14 days ago"
    billed = {month for (month,) in engine.rows("SELECT DISTINCT billing_period FROM charges WHERE basis = 'billed'")}
    if missing := [month for month in period.months if month not in billed]:
        yield f"no bill has a line of {', '.join(missing)} yet"
    for source in sorted(set(sources) - {gap.source for gap in made.coverage}):
        yield f"{source} was never asked about it"
    for source in sorted({gap.source for gap in made.coverage if not gap.complete}):
        yield f"{source} did not show all of it"
    for source, basis, lines, nanos in engine.read("unsettled", {"currency": made.currency}):
        if basis == "estimated":
            yield f"{_amount(money(nanos))} {made.currency} is an estimate of {source} that no bill has yet"
        else:
            billed_lines, have = ("1 line", "has") if lines == 1 else (f"{lines:,} lines", "have")
            yield f"{billed_lines} of {source} ({made.currency} {_amount(money(nanos))}) {have} no invoice yet"
    yield from _unmet(made)


def _amount(value: Decimal) -> str:
    """Cents; what has more digits in all of them, since 0.00 would hide it."""
    return f"{value:,.2f}" if value == round(value, 2) else f"{value.normalize():,f}"


def _unmet(b: Breakdown) -> Iterator[str]:
    """Invoices that state something else than the bill: by more than rounding, or in another currency."""
    for i in b.invoices:
        if i.stated is None or i.rounded or i.difference == 0:
            continue
        lines = "its lines are in another currency" if i.difference is None else f"its lines add to {i.billed:,.2f}"
        yield f"invoice {i.invoice} of {i.source} states {i.stated:,.2f} {i.currency}, {lines}"


# --- closing ----------------------------------------------------------------------------------------------------------


def closable(
    engine: Engine,
    runs: Sequence[Run],
    period: Period,
    policy: str,
    currency: str | None,
    sources: Collection[str],
    even_if_incomplete: bool,
) -> list[Breakdown]:
    """The period's newest published breakdowns. Raises ConfigError when they are not what a month is closed with.

    runs     all finished ones
    sources  names of those that are configured
    """
    name = period.text
    published = newest(engine, name, policy)
    if not published:
        raise ConfigError(f"{name} was never published under the policy {policy!r}; run `rdspend publish` first")
    touched = max((run.run for run in runs if touches(run, period)), default=0)
    current = [each for each in published.values() if run_number(each.snapshot) >= touched]
    if not current:
        raise ConfigError(f"{name} was attributed or tagged again since it was published; run `rdspend publish` first")
    chosen = [each for each in current if currency in (None, each.currency)]
    if not chosen:
        raise ConfigError(f"--currency {currency!r}: the period has {', '.join(each.currency for each in current)}")
    if not even_if_incomplete:
        _refuse_incomplete(chosen, sources)
    return chosen


def _refuse_incomplete(chosen: Sequence[Breakdown], sources: Collection[str]) -> None:
    name = chosen[0].period
    silent = sorted(set(sources) - {gap.source for each in chosen for gap in each.coverage})
    if silent:
        raise ConfigError(f"{name}: {silent[0]} was never asked about it; run `rdspend run`, or add --even-if-incomplete")
    gap = next((gap for each in chosen for gap in each.coverage if not gap.complete), None)
    if gap is not None:
        raise ConfigError(
            f"{name}: {gap.source} did not show {gap.start:%Y-%m-%dT%H:%MZ} to {gap.end:%Y-%m-%dT%H:%MZ} ({gap.why}); "
            f"collect it (`rdspend run`), or close the month without it: --even-if-incomplete"
        )
    for each in chosen:
        if each.currency == NO_CURRENCY or each.basis == "estimated":
            lacks = "no bill has a line of it" if each.currency == NO_CURRENCY else "all of it is an estimate"
            raise ConfigError(
                f"{name} {each.currency}: {lacks}; wait for its bill, or close the month without one: --even-if-incomplete"
            )


def closing_words(now: Breakdown, before: Pin | None) -> list[str]:
    """What closing a breakdown says: what somebody should look at first, and what the month is closed with."""
    return [*(f"alert: {now.period} {now.currency}: {alert}" for alert in _alerts(now)), _closed_words(now, before)]


def _alerts(b: Breakdown) -> Iterator[str]:
    yield from _unmet(b)
    for c in b.checks:
        if c.complete and abs(c.difference) >= half_unit(c.currency):
            of = ", ".join(filter(None, (c.source or "all bills", c.service, c.account)))
            yield f"the provider's own summary of {of} states {c.stated:,.2f} {c.currency}, the bill has {c.billed:,.2f}"
    estimated = sum((c.charges for c in b.closings if c.basis == "estimated" and c.currency in ("", b.currency)), ZERO)
    if estimated:
        yield f"{_amount(estimated)} of the total is an estimate that no bill has"


def _closed_words(now: Breakdown, before: Pin | None) -> str:
    name = f"{now.period} {now.currency}"
    figures = f"revision {now.revision}: {now.total:,.2f} effective, {now.billed_total:,.2f} billed"
    if before is not None and before.closed.revision == now.revision:
        return f"{name} is closed with {figures} already, since {before.closed.closed_at:%Y-%m-%d}"
    was = before.closed if before else now.closed
    if was is None or was.revision == now.revision:
        return f"closed {name} with {figures}"
    if not was.revision:
        return f"closed {name} with {figures}; the month was closed without any {now.currency}, and the correction is accepted"
    return (
        f"closed {name} again with {figures}; the correction of revision {was.revision} "
        f"({was.total:,.2f} effective, {was.billed_total:,.2f} billed) is accepted"
    )
