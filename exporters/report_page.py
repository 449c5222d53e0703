"""What the page for people says, as headings, notes and tables; Markdown and the terminal only set it in type.

Numbers are rounded for reading here; the closing line keeps all nine places. Names from elsewhere (teams, jobs) stay as
they are: each of the two writers escapes them in its own way.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal

from exporters.report_beside import public_figures
from exporters.report_bill import (
    alerts,
    bridge,
    checks,
    closing_by_source,
    conversions_text,
    estimate_errors,
    estimate_text,
    invoices,
    state_reason,
    state_text,
)
from exporters.report_blocks import (
    NO_SHARE,
    Block,
    Column,
    Facts,
    Heading,
    Note,
    Row,
    Table,
    hours_text,
    money_text,
    names_of,
    percent_text,
    share_text,
    words_of,
)
from exporters.report_changes import changes, months
from exporters.report_crossing import lost_work
from exporters.report_releases import releases
from exporters.report_spend import paretos, workloads
from rdspend.errors import ConservationError
from rdspend.schema import Breakdown, Line

ROWS_SHOWN = 15

BASIS_WORDS = {
    "billed": "from the bill",
    "estimated": "estimated from a rate card; no bill has been seen for it",
}
WITHOUT_HOURS = ("bill_idle", "shared")


def refuse_open(b: Breakdown) -> None:
    """Raises ConservationError for a breakdown that does not add up: it could only be ours to have made it so."""
    parts = sum((line.cost for line in (*b.lines, *b.buckets)), Decimal(0))
    if b.charges != b.attributed or parts != b.total:
        raise ConservationError(
            f"{b.period} {b.currency}: charges {b.charges}, attributed {b.attributed}, lines and buckets {parts}, "
            f"total {b.total}; they must be equal; no report was written"
        )


def final_training(breakdown: Breakdown) -> Line:
    return next(line for line in breakdown.lines if line.name == "final_training")


def page(breakdown: Breakdown) -> Iterator[Block]:
    """The whole report, page one first."""
    yield from page_one(breakdown)
    yield from changes(breakdown)
    yield from months(breakdown)
    yield from paretos(breakdown)
    yield from workloads(breakdown)
    yield from public_figures(breakdown)
    yield from releases(breakdown)
    yield from details(breakdown)


def page_one(breakdown: Breakdown) -> Iterator[Block]:
    """The split, what it means, and that it adds up."""
    yield from _title(breakdown)
    yield from alerts(breakdown)
    yield from _not_seen(breakdown)
    yield _split(breakdown)
    yield Note(breakdown.doubt, "strong") if breakdown.doubt else _range_sentence(breakdown)
    yield from _candidates(breakdown)
    yield _meaning(breakdown)
    yield from _closing(breakdown)


def details(breakdown: Breakdown) -> Iterator[Block]:
    """What page one is made of, and the bill it came from."""
    yield from _parts(breakdown)
    yield from lost_work(breakdown)
    yield from _top_jobs(breakdown)
    yield from closing_by_source(breakdown)
    yield from bridge(breakdown)
    yield from invoices(breakdown)
    yield from checks(breakdown)
    yield from estimate_errors(breakdown)
    yield from _findings(breakdown)


def _title(b: Breakdown) -> Iterator[Block]:
    yield Heading(b.title or "Compute by purpose")
    if b.synthetic:
        yield Note("SYNTHETIC: made-up data. No real organisation spent this money.", "synthetic")
    state = state_text(b)
    yield Note(f"{b.period} · {b.currency} · policy {b.policy.name} · revision {b.revision}{' · ' if state else ''}{state}")
    if b.remark:
        yield Note(b.remark)


def _split(b: Breakdown) -> Table:
    mixed, likely = b.basis not in BASIS_WORDS, any(line.likely_low is not None for line in b.lines)
    columns = (
        Column("Went to"),
        Column(f"Cost {b.currency}", number=True),
        Column("GPU-hours", number=True),
        Column("Share", number=True),
        Column("Low – high", number=True),
        *((Column("90 % interval", number=True, from_width=90),) if likely else ()),
        *((Column("Basis", from_width=100),) if mixed else ()),
    )
    lines = (*b.lines, *b.buckets)
    edges = {b.lines[-1].name, b.buckets[-1].name}

    def row(line: Line) -> Row:
        hours = hours_text(line.gpu_hours) if line.gpu_hours or line.name not in WITHOUT_HOURS else ""
        if line.name == "idle" and not b.idle_gpu_hours_known:
            hours = "unknown"
        cells = (
            *(words_of(line.name), money_text(line.cost), hours, share_text(line.share), _range(line)),
            *((_likely(line),) if likely else ()),
        )
        shown = (*cells, line.basis) if mixed else cells
        return Row(shown, line.share, line.name == "final_training", line.name in edges, line.name)

    total = ("total", money_text(b.total), hours_text(b.gpu_hours), "", "", *(("",) if likely else ()))
    return Table(columns, (*map(row, lines), Row((*total, b.basis) if mixed else total, strong=True)), drawn=True)


def _range_sentence(b: Breakdown) -> Note:
    final, unclassified = final_training(b), next(line for line in b.buckets if line.name == "unclassified")
    hours = b.policy.unit == "gpu_hours"
    if final.share is None or final.share_low is None or final.share_high is None:
        text = "Final training has no share: the policy leaves it out of 100 %, or 100 % is nothing."
    elif not unclassified.cost and (b.policy.unit == "money" or not unclassified.gpu_hours):
        text = f"Final training took {share_text(final.share)}. Nothing is unclassified that could move this share."
    else:
        text = (
            f"Final training took {share_text(final.share)}. If all unclassified {'work' if hours else 'money'} "
            f"({_in_unit(unclassified.gpu_hours if hours else unclassified.cost, b)}) went the other way, its share would be "
            f"{share_text(final.share_low)} at the lowest and {share_text(final.share_high)} at the highest."
        )
    return Note(text, "strong")


def _candidates(b: Breakdown) -> Iterator[Block]:
    """Training that no release has claimed and that looks like a final run, by name: the largest of it, and how much more."""
    if not b.candidates:
        return
    yield Note("No release has claimed these; they could still become final training:")
    columns = (
        *(Column("Candidate"), Column("Team", from_width=100), Column("Why")),
        *(Column("Jobs", number=True, from_width=100), Column(f"Cost {b.currency}", number=True)),
        Column("GPU-hours", number=True, from_width=100),
    )
    shown, rest = b.candidates[:ROWS_SHOWN], b.candidates[ROWS_SHOWN:]
    rows = [Row((c.family, c.team, c.why, f"{c.jobs:,}", money_text(c.cost), hours_text(c.gpu_hours))) for c in shown]
    if rest:
        cost, hours = (sum((getattr(c, name) for c in rest), Decimal(0)) for name in ("cost", "gpu_hours"))
        jobs = sum(c.jobs for c in rest)
        rows.append(Row((f"and {len(rest):,} more", "", "", f"{jobs:,}", money_text(cost), hours_text(hours))))
    yield Table(columns, tuple(rows))


def _meaning(b: Breakdown) -> Facts:
    whole = f"{b.policy.denominator_words}: {_in_unit(b.denominator, b)} ({NO_SHARE}: outside it)"
    unknown = ("Idle", "GPU-hours unknown, not 0: the GPUs of some nodes are not known")
    gaps = any(not gap.complete for gap in b.coverage) or not b.coverage
    sources = names_of(gap.source for gap in b.coverage)
    return Facts(
        (
            ("100 %", whole),
            ("Policy", f"{b.policy.name}: {b.policy.title}. {b.policy.words}"),
            *((("Spread", _spread(b)),) if b.spread else ()),
            *((("State", state_reason(b)),) if b.state_why else ()),
            ("Basis", _basis(b)),
            *((("Estimate", estimate),) if (estimate := estimate_text(b)) else ()),
            *((("Converted", conversions_text(b)),) if b.conversions else ()),
            *(() if b.idle_gpu_hours_known else (unknown,)),
            ("Sharing", f"nodes among their jobs by the rule {b.share_rule}"),
            *(() if gaps else (("Seen", f"all of {b.period}, by every source: {sources}"),)),
        )
    )


def _in_unit(value: Decimal, b: Breakdown) -> str:
    """An amount of what the policy's shares are of."""
    return f"{hours_text(value)} GPU-hours" if b.policy.unit == "gpu_hours" else f"{money_text(value)} {b.currency}"


def _spread(b: Breakdown) -> str:
    """What the jobs bear, bucket by bucket: it is in their lines, and no longer in the bucket's."""
    said = []
    for line in b.spread:
        hours = f" and {hours_text(line.gpu_hours)} GPU-hours" if line.gpu_hours else ""
        said.append(f"{words_of(line.name)}: {money_text(line.cost)} {b.currency}{hours}")
    return f"borne by the jobs, by their cost, and in their lines: {'; '.join(said)}"


def _basis(b: Breakdown) -> str:
    if b.basis in BASIS_WORDS:
        return BASIS_WORDS[b.basis]
    if b.basis == "none":
        return "no money of this period is known"
    sums: dict[str, Decimal] = {}
    for cell in b.cells:
        sums[cell.basis] = sums.get(cell.basis, Decimal(0)) + cell.cost
    return "mixed: " + ", ".join(
        f"{money_text(cost)} {b.currency} {BASIS_WORDS.get(basis, basis)}" for basis, cost in sorted(sums.items())
    )


def _not_seen(b: Breakdown) -> Iterator[Block]:
    gaps = [gap for gap in b.coverage if not gap.complete]
    if not b.coverage:
        yield Note("NOT SEEN: no source has said what it showed of this period.", "alarm")
    elif gaps:
        yield Note(f"NOT SEEN: not every source showed all of {b.period}. These figures will change.", "alarm")
        columns = (Column("Source"), Column("From (UTC)"), Column("To (UTC)"), Column("Why"))
        yield Table(
            columns,
            tuple(
                Row((g.source, f"{g.start.astimezone(UTC):%F %H:%M}", f"{g.end.astimezone(UTC):%F %H:%M}", g.why)) for g in gaps
            ),
        )


def _closing(b: Breakdown) -> Iterator[Block]:
    yield Note(f"charges - attributed = {b.charges - b.attributed:.9f}", "closing")
    yield Note(
        f"Charges {b.charges:,.9f} {b.currency}, attributed {b.attributed:,.9f} {b.currency}; on invoices "
        f"{b.billed_total:,.9f} {b.currency}. Snapshot {b.snapshot}. Other figures are rounded for reading.",
        "small",
    )


def _parts(b: Breakdown) -> Iterator[Block]:
    for heading, first, key, lines in (
        ("By stage", "Stage", "stage", b.stages),
        ("By team", "Team", "team", b.teams),
        ("By cluster", "Cluster", "cluster", b.clusters),
        ("Shared and bill-idle money by service", "Service", "service", b.services),
    ):
        if not lines:
            continue
        shares = any(line.share is not None for line in lines)
        hours = any(line.gpu_hours for line in lines)
        yield Heading(heading, key)
        columns = (
            Column(first),
            Column(f"Cost {b.currency}", number=True),
            *((Column("GPU-hours", number=True),) if hours else ()),
            *((Column("Share", number=True),) if shares else ()),
        )
        yield Table(
            columns,
            tuple(
                Row(
                    (
                        name,
                        money_text(cost),
                        *((hours_text(gpu_hours),) if hours else ()),
                        *((share_text(share),) if shares else ()),
                    ),
                    target=f"{key}:{target}" if target and key != "service" else "",
                )
                for name, cost, gpu_hours, share, target in _shortened(lines)
            ),
        )


def _shortened(lines: tuple[Line, ...]) -> Iterator[tuple[str, Decimal, Decimal, Decimal | None, str]]:
    """The largest lines and one for the rest: nothing is left out of the column's sum."""
    for line in lines[:ROWS_SHOWN]:
        yield words_of(line.name), line.cost, line.gpu_hours, line.share, line.name
    if rest := lines[ROWS_SHOWN:]:
        shares = [line.share for line in rest if line.share is not None]
        yield (
            f"and {len(rest):,} more",
            sum((line.cost for line in rest), Decimal(0)),
            sum((line.gpu_hours for line in rest), Decimal(0)),
            sum(shares, Decimal(0)) if shares else None,
            "",
        )


def _top_jobs(b: Breakdown) -> Iterator[Block]:
    if not b.top_jobs:
        return
    yield Heading("Largest jobs", "jobs")
    columns = (
        *(Column("Job"), Column("Name"), Column("Went to")),
        *(Column("Team", from_width=100), Column("Stage", from_width=140), Column("Outcome", from_width=120)),
        *(Column(f"Cost {b.currency}", number=True), Column("GPU-hours", number=True, from_width=100)),
    )
    yield Table(
        columns,
        tuple(
            Row(
                (
                    *(job.job_key, job.name, words_of(job.category), job.team, words_of(job.stage), job.outcome),
                    *(money_text(job.cost), hours_text(job.gpu_hours)),
                ),
                target=job.job_key,
            )
            for job in b.top_jobs
        ),
    )


def _findings(b: Breakdown) -> Iterator[Block]:
    if not b.findings:
        return
    yield Heading("Findings", "findings")
    columns = (Column("What"), Column("About"), Column("Detail"), Column("Records", number=True))
    yield Table(
        columns,
        tuple(Row((kind.replace("_", " "), subject, detail, f"{rows:,}")) for kind, subject, detail, rows in b.findings),
    )


def _range(line: Line) -> str:
    if line.share_low is None or line.share_high is None or line.share_low == line.share_high:
        return ""
    return f"{percent_text(line.share_low)} – {percent_text(line.share_high)} %"


def _likely(line: Line) -> str:
    if line.likely_low is None or line.likely_high is None:
        return ""
    return f"{percent_text(line.likely_low)} – {percent_text(line.likely_high)} %"
