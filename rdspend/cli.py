"""The command line. Heavy modules are imported inside the command that needs them: `--help` has to feel instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdspend.errors import ConfigError, RdspendError

if TYPE_CHECKING:
    from rdspend.config import Config
    from rdspend.period import Period
    from rdspend.pipeline import Outcome

CONFIG_FILE = "rdspend.toml"

EXIT_CODES = """\b
Exit codes:
  0  done, every source showed all of the period
  1  a defect of rdspend, or of a plugin
  2  the configuration, the command line or a record has to be corrected
  3  a source did not answer: the period stays open; try again
  4  money does not add up: nothing was published; or a bill differs from an invoice (closing)
"""


class Commands(click.Group):
    """Turns our errors into one line on standard error and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RdspendError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            # The reader of a pipe had enough; Python would complain once more when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=CONFIG_FILE,
    envvar="RDSPEND_CONFIG",
    show_default=True,
    help="Configuration file.",
)
@click.version_option(package_name="rdspend")
@click.pass_context
def main(ctx: click.Context, config_file: Path) -> None:
    """Show what the compute money of an AI organisation went to.

    rdspend reads cloud bills and the records of GPU jobs, says what each job was for, brings every nano of the bill to a job
    or to a named bucket, and publishes the split: exploration, data generation, evaluation, final training, inference.

    \b
    A first month:
      rdspend init                            write a commented rdspend.toml, then edit it
      rdspend run --period 2026-10            collect, tag, attribute and publish
      rdspend report --period 2026-10         read it
      rdspend explain --period 2026-10 idle   walk back from a figure to the bill
    """
    ctx.obj = config_file


def _load(ctx: click.Context) -> Config:
    from rdspend.config import load

    return load(ctx.obj)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """What is being done, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


period_option = click.option(
    "--period", required=True, metavar="PERIOD", help="A month (2026-10), a quarter (2026-Q3), a year, or 2026-08..2026-10."
)
currency_option = click.option("--currency", metavar="CODE", help="Which currency, when the period has money in several.")
policy_option = click.option("--policy", metavar="NAME", help="Another than the configured one: see `rdspend policy list`.")
as_of_option = click.option("--as-of", metavar="RUN", help="The ledger as this run left it (see `rdspend status`).")


def _period(text: str) -> Period:
    from rdspend.period import parse_period

    return parse_period(text)


@contextmanager
def _pushing(config: Config) -> Iterator[list[Outcome]]:
    """Hands what the block finished to the exporters that push it, and what was traced and logged until it failed."""
    from rdspend.pushing import Pushes
    from rdspend.reading import Reader
    from rdspend.schema import Pushed

    exporters = {e.name: e.instance for e in config.exporters if isinstance(e.instance, Pushed)}
    pushes = Pushes(exporters, lambda words: click.echo(f"warning: not sent: {words}", err=True))
    finished: list[Outcome] = []
    try:
        with pushes.observing():
            yield finished
    except BaseException:
        pushes.push((), None)
        raise
    if exporters:
        health = Reader(config).health(finished[0].seconds) if finished[0].run else None
        pushes.push(finished[0].breakdowns, health)


def _run(ctx: click.Context, period: str, stages: Sequence[str]) -> Outcome:
    from rdspend.pipeline import Pipeline

    config = _load(ctx)
    with _progress() as progress, _pushing(config) as finished:
        outcome = Pipeline(config, progress=progress).run(_period(period), stages)
        finished.append(outcome)
    if outcome.unsettled:
        click.echo(
            f"releases say something else by now of jobs that ended in {', '.join(outcome.unsettled)}; what was published of "
            "earlier months is as it was: `rdspend release update` publishes it afresh",
            err=True,
        )
    for failure in outcome.failures:
        click.echo(f"error: {failure.source}: {failure.error}", err=True)
    if outcome.failures:
        names = ", ".join(failure.source for failure in outcome.failures)
        click.echo(f"incomplete: {names} did not show all of {period}; the period stays open", err=True)
        ctx.exit(max(failure.exit_code for failure in outcome.failures))
    return outcome


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=CONFIG_FILE)
def init(file: Path) -> None:
    """Write a commented configuration to FILE. Never overwrites one."""
    from importlib import resources

    text = (resources.files("rdspend") / "init.toml").read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{file}: there already; rdspend init does not overwrite") from error
    except OSError as error:
        raise ConfigError(f"{file}: can't be written: {error.strerror}") from error
    click.echo(f"wrote {file}; edit it, then: rdspend --config {file} check")


@main.command()
@period_option
@click.pass_context
def collect(ctx: click.Context, period: str) -> None:
    """Read bills and jobs of the period into the ledger.

    Every source replaces what it said of the period before; one that fails leaves its earlier word and keeps the period open.
    """
    _run(ctx, period, ["collect"])


@main.command()
@period_option
@click.pass_context
def tag(ctx: click.Context, period: str) -> None:
    """Say what the jobs of the period were for."""
    _run(ctx, period, ["tag"])


@main.command()
@period_option
@click.pass_context
def attribute(ctx: click.Context, period: str) -> None:
    """Bring the period's money to jobs and buckets. Stops with exit code 4 if a nano were lost or made."""
    _run(ctx, period, ["attribute"])


@main.command()
@period_option
@click.pass_context
def publish(ctx: click.Context, period: str) -> None:
    """Make the period's breakdown, keep it as a revision, and hand it to the exporters."""
    _run(ctx, period, ["publish"])


@main.command()
@period_option
@click.pass_context
def run(ctx: click.Context, period: str) -> None:
    """Collect, tag, attribute and publish the period. May be repeated without harm."""
    from rdspend.pipeline import STAGES

    _run(ctx, period, STAGES)


@main.command()
@period_option
@click.option(
    "--format", "form", metavar="FORMAT", help="terminal (default), html, json, md, csv, parquet, xlsx, or eml: a mail."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Into this file instead of standard output.")
@click.option("--eml", is_flag=True, help="The same as --format eml: a message that is ready to be sent.")
@click.option("--to", "to", multiple=True, metavar="ADDRESS", help="Whom the message is for; may be repeated.")
@currency_option
@click.option("--in", "into", metavar="CODE", help="All money in this currency, at the exchange rates of the snapshot.")
@as_of_option
@policy_option
@click.option(
    "--cross",
    "crossed",
    metavar="BY,BY",
    help="Only jobs, crossed by some of activity, stage, outcome and role: activity,outcome.",
)
@click.pass_context
def report(
    ctx: click.Context,
    period: str,
    form: str | None,
    out: Path | None,
    eml: bool,
    to: tuple[str, ...],
    currency: str | None,
    into: str | None,
    as_of: str | None,
    policy: str | None,
    crossed: str | None,
) -> None:
    """Print the period's report: the split, its uncertainty, and the closing line.

    The same ledger snapshot gives the same bytes. A period that was not published as such (a quarter of published months) is
    made on the spot.
    """
    from rdspend.config import load_plugin
    from rdspend.reading import Reader

    reader = load_plugin("exporters", "report")
    if eml and form not in (None, "eml"):
        raise ConfigError(f"--eml is --format eml: leave out --format {form}")
    form = "eml" if eml else form or "terminal"
    if to and form != "eml":
        raise ConfigError("--to names whom a message is for: it needs --eml")
    if form != "terminal" and form not in reader.texts:
        raise ConfigError(f"--format {form!r}: expected one of terminal, {', '.join(reader.texts)}")
    if into is not None and currency is not None:
        raise ConfigError("--in converts the money of every currency: leave out --currency")
    config = _load(ctx)
    by = crossed.split(",") if crossed is not None else ()
    with _progress() as progress:
        progress("reading the ledger")
        ledger = Reader(config if policy is None else replace(config, policy=policy))
        if into is None and policy in (None, config.policy):
            breakdowns = ledger.breakdowns(_period(period), currency, as_of)
        elif into is None:
            breakdowns = Reader(config).under(_period(period), policy or "", currency, as_of)
        else:
            breakdowns = [ledger.converted(_period(period), into, as_of)]
    if form != "terminal" and len(breakdowns) > 1:
        raise ConfigError(
            f"{period} has money in {', '.join(b.currency for b in breakdowns)}, which can't be added; "
            "choose one with --currency, or convert them with --in"
        )
    for breakdown in breakdowns:
        if form == "terminal":
            from rich.console import Console

            if by:
                reader.crossed(breakdown, by, form, Console())
            else:
                reader.show(breakdown, Console())
        elif by:
            _hand_out(reader.crossed(breakdown, by, form, None), out, form)
        else:
            _hand_out(reader.mailed(breakdown, to) if form == "eml" else reader.texts[form](breakdown), out, form)


def _hand_out(made: str | bytes, out: Path | None, form: str) -> None:
    """Into a file, or to standard output; what is no text does not go to a terminal."""
    if out is not None:
        out.write_bytes(made.encode() if isinstance(made, str) else made)
    elif isinstance(made, bytes) and form != "eml" and sys.stdout.isatty():
        raise ConfigError(f"--format {form} is no text: name a file with --out")
    else:
        click.echo(made, nl=False)


form_option = click.option("--format", "form", default="terminal", type=click.Choice(["terminal", "json"]), show_default=True)


@main.command()
@period_option
@form_option
@currency_option
@as_of_option
@click.pass_context
def closing(ctx: click.Context, period: str, form: str, currency: str | None, as_of: str | None) -> None:
    """Print what the period's bills are made of, by source, invoice, currency and category, and what invoices state of them.

    The rows add to the bill, and with their rounding or unexplained rows to the invoice. Exit code 4 when an invoice, or a
    provider's own summary, differs from the bill by more than rounding; standard error names it.
    """
    from rdspend.printing import print_closing, printable
    from rdspend.reading import Reader

    with _progress() as progress:
        progress("reading the ledger")
        found, snapshot = Reader(_load(ctx)).closing(_period(period), currency, as_of)
    print_closing(found, period, snapshot, form)
    for alert in found.alerts:
        click.echo(f"alert: {printable(alert.words)}", err=True)
    if found.alerts:
        ctx.exit(4)


@main.command()
@period_option
@form_option
@as_of_option
@click.pass_context
def columns(ctx: click.Context, period: str, form: str, as_of: str | None) -> None:
    """Print which columns each source's bill fills, and which it renamed, lacks, or has and we do not know."""
    from rdspend.printing import print_columns
    from rdspend.reading import Reader

    found, snapshot = Reader(_load(ctx)).columns(_period(period), as_of)
    print_columns(found, period, snapshot, form)


@main.command()
@click.argument("what")
@period_option
@currency_option
@as_of_option
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many rows to print; the rest is summed."
)
@click.option("--format", "form", default="terminal", type=click.Choice(["terminal", "json"]), show_default=True)
@policy_option
@click.pass_context
def explain(
    ctx: click.Context,
    what: str,
    period: str,
    currency: str | None,
    as_of: str | None,
    limit: int,
    form: str,
    policy: str | None,
) -> None:
    """Walk back from a figure of the report to the jobs in it, and from a job to the bill lines that paid for it.

    \b
    WHAT is one of
      final_training, exploration, ...      an activity
      idle, shared, bill_idle, unclassified a bucket
      2026-10-05                            a day
      team:NAME  cluster:NAME  stage:NAME   a line of the report
      JOB                                   a job's key, or its scheduler id when only one run has it

    A job ends in its tags with rule or label and evidence, its placements, and the bill rows by file and row; the parts shown
    add to the job's cost, to the last digit.
    """
    from rdspend.explaining import print_explanation
    from rdspend.reading import Reader

    with _progress() as progress:
        progress("reading the ledger")
        config = _load(ctx)
        under = config if policy is None else replace(config, policy=policy)
        found = Reader(under).explain(_period(period), what, currency, as_of, limit)
    print_explanation(found, form, limit)


@main.command()
@click.argument("period")
@click.option("--by", default="activity,team", show_default=True, metavar="A,B", help="Group by these; see above.")
@click.option("--share", default=80.0, show_default=True, metavar="PERCENT", help="How much of the total they hold together.")
@click.option("--currency", metavar="CODE", help="Which currency, when the period has several.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="Show at most so many groups.")
@click.option("--as-of", metavar="RUN", help="As the ledger was after this run, e.g. run-12.")
@click.option("--format", "form", default="terminal", type=click.Choice(["terminal", "json"]), show_default=True)
@click.pass_context
def top(
    ctx: click.Context, period: str, by: str, share: float, currency: str | None, limit: int, as_of: str | None, form: str
) -> None:
    """Where 80 % of the spend goes: the smallest set of groups that holds it, dearest first.

    Groups are crossings of activity, stage, team, project, user, family and cluster. Idle and shared money are groups too.
    """
    from decimal import Decimal

    from rdspend.printing import print_top
    from rdspend.reading import Reader

    keys = [name.strip() for name in by.split(",") if name.strip()]
    found, money_in = Reader(_load(ctx)).top(_period(period), keys, Decimal(str(share)) / 100, currency, limit, as_of)
    print_top(found, period, money_in, form)


@main.group()
def policy() -> None:
    """Look at policies: what counts as final training, and what 100 % is."""


@policy.command("list")
@click.pass_context
def policy_list(ctx: click.Context) -> None:
    """Name the policies that there are, those of your own folder too."""
    from rdspend.policy import available, load_policy
    from rdspend.policy_printing import print_policies

    config = _load(ctx)
    print_policies([load_policy(name, config.policies) for name in available(config.policies)], config.policy)


@policy.command("show")
@click.argument("name")
@form_option
@click.pass_context
def policy_show(ctx: click.Context, name: str, form: str) -> None:
    """Print all that the policy NAME says: a sentence for each disputed case, and where it is written."""
    from rdspend.policy import load_policy
    from rdspend.policy_printing import print_policy

    print_policy(load_policy(name, _load(ctx).policies), form)


@policy.command("compare")
@click.argument("period")
@click.option("--policy", "names", metavar="NAME", multiple=True, help="One of those to compare; all when left out.")
@currency_option
@as_of_option
@form_option
@click.pass_context
def policy_compare(
    ctx: click.Context, period: str, names: tuple[str, ...], currency: str | None, as_of: str | None, form: str
) -> None:
    """Print PERIOD under several policies side by side, and why each differs from the configured one.

    The reasons name the cases that the two do not treat alike, with the money of each; they add up to the difference.
    """
    from rdspend.policy_printing import print_comparison
    from rdspend.reading import Reader

    with _progress() as progress:
        progress("reading the ledger")
        found = Reader(_load(ctx)).compare_policies(_period(period), names, currency, as_of)
    print_comparison(found, form)


@main.command()
@click.argument("period")
@click.option("--from", "before", metavar="REV", help="The earlier revision, or run-12; the closed one or the last but one.")
@click.option("--to", "after", metavar="REV", help="The later revision, or run-12; the last one when left out.")
@currency_option
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many rows to print; the rest is summed."
)
@form_option
@click.pass_context
def diff(
    ctx: click.Context, period: str, before: str | None, after: str | None, currency: str | None, limit: int, form: str
) -> None:
    """Say what moved between two revisions of PERIOD: by source, account, service, team and activity, and why.

    Names the bill rows behind the largest moves, and what changed that is not the bill: tags, jobs, nodes, prices. Every list
    adds up to the whole difference, to the last digit.
    """
    from rdspend.reading import Reader
    from rdspend.restating import print_difference

    with _progress() as progress:
        progress("comparing")
        found = Reader(_load(ctx)).diff(_period(period), before, after, currency, limit)
    print_difference(found, form, limit)


@main.command()
@click.argument("period")
@click.option("--currency", metavar="CODE", help="Only this currency; all of the period's when left out.")
@click.option("--even-if-incomplete", is_flag=True, help="Though a source did not show all of it, or no bill of it is there.")
@click.pass_context
def close(ctx: click.Context, period: str, currency: str | None, even_if_incomplete: bool) -> None:
    """Close PERIOD with the figures of its newest revision.

    Whatever is restated later is shown as a correction, with both figures. Closing once more accepts the correction.
    """
    from rdspend.pipeline import Pipeline

    config = _load(ctx)
    with _pushing(config) as finished:
        outcome = Pipeline(config).close(_period(period), currency, even_if_incomplete)
        finished.append(outcome)
    for line in outcome.closed:
        click.echo(line)
    for failure in outcome.failures:
        click.echo(f"error: {failure.source}: {failure.error}", err=True)
    if outcome.failures:
        ctx.exit(max(failure.exit_code for failure in outcome.failures))


@main.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Check the configuration, and that every month of the ledger adds up.

    Reads no source. Exit code 4 when a month does not close.
    """
    from rdspend.policy import chosen
    from rdspend.reading import Reader

    config = _load(ctx)
    chosen(config)
    for kind in ("collectors", "taggers", "exporters"):
        names = ", ".join(plugin.name for plugin in getattr(config, kind)) or "none"
        click.echo(f"{kind}: {names}")
    if not config.collectors:
        raise ConfigError(f"{config.file}: collectors: none is configured; nothing would be read")
    checked = Reader(config).check()
    for line in checked:
        click.echo(line)


@main.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show the ledger's runs, what each source last said, and what waits to be attributed."""
    from rdspend.reading import Reader

    for line in Reader(_load(ctx)).status():
        click.echo(line)


@main.command()
@click.argument("source")
@click.pass_context
def forget(ctx: click.Context, source: str) -> None:
    """Take out the charges and prices of a SOURCE that is no longer configured.

    Its months have to be attributed and published again. Earlier runs stay readable with --as-of.
    """
    from rdspend.pipeline import Pipeline

    outcome = Pipeline(_load(ctx)).forget(source)
    months = ", ".join(outcome.run.pending) if outcome.run else ""
    click.echo(f"forgot {source}; waiting to be attributed: {months or 'nothing'}")


@main.group()
def export() -> None:
    """Write what the ledger holds in other tools' formats."""


@export.command("focus")
@period_option
@click.option("--version", default="1.2", show_default=True, metavar="VERSION", help="FOCUS 1.0, 1.1, 1.2, 1.3 or 1.4.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="A new folder, or that of an earlier export; focus-PERIOD."
)
@click.option("--currency", metavar="CODE", help="Only rows in this currency; all of the period's when left out.")
@as_of_option
@click.option("--format", "form", default="parquet", type=click.Choice(["parquet", "csv"]), show_default=True)
@click.option("--as-billed", is_flag=True, help="Write rows that break a rule of FOCUS as their bill does, and count them.")
@click.pass_context
def export_focus(
    ctx: click.Context,
    period: str,
    version: str,
    out: Path | None,
    currency: str | None,
    as_of: str | None,
    form: str,
    as_billed: bool,
) -> None:
    """Write the period's bill as FOCUS, each charge split to the jobs that took it, with what they were for.

    The rows of a charge add up to it, and the rows of a job to what the report says of it, to the last digit; every row is
    checked against FOCUS's rules before anything is written. The same ledger snapshot gives the same bytes. Never put it beside
    the bill it was made from: both have the same money.
    """
    from rdspend.reading import Reader

    folder = out or Path(f"focus-{period}")
    with _progress() as progress:
        done = Reader(_load(ctx)).export_focus(
            _period(period),
            folder,
            version=version,
            currency=currency,
            as_of=as_of,
            form=form,
            as_billed=as_billed,
            progress=progress,
        )
    for broken in done.broken:
        click.echo(f"as billed: {broken.rule}: {broken.rows:,} rows of {broken.sources} are otherwise", err=True)
    click.echo(f"wrote {folder}: {done.lines:,} charges as {done.rows:,} rows of FOCUS {version} in {len(done.files)} files")


@main.group()
def release() -> None:
    """Releases: published models, and the jobs they came from."""


@release.command("update")
@click.pass_context
def update_releases(ctx: click.Context) -> None:
    """Read the releases anew, and publish afresh every published month whose figures they move.

    Asks only the sources that tell of releases. Jobs are tagged anew in past months too; nothing is attributed again. What was
    published before stays: `rdspend report --as-of`, `rdspend diff`.
    """
    from rdspend.pipeline import Pipeline
    from rdspend.releases_told import moved_words

    config = _load(ctx)
    with _progress() as progress, _pushing(config) as finished:
        outcome = Pipeline(config, progress=progress).update_releases()
        finished.append(outcome)
    for line in moved_words(outcome):
        click.echo(line)
    for each in outcome.resolved.unmatched:
        click.echo(f"claims nothing: {each.release}: {each.words}", err=True)
    for failure in outcome.failures:
        click.echo(f"error: {failure.source}: {failure.error}", err=True)
    if outcome.failures:
        ctx.exit(max(failure.exit_code for failure in outcome.failures))


@release.command("list")
@click.option("--format", "form", default="terminal", type=click.Choice(["terminal", "json"]), show_default=True)
@click.pass_context
def list_releases(ctx: click.Context, form: str) -> None:
    """Show every release, the jobs it claims by role, and what they cost in all months.

    Exit code 2 when a release names something that no job answers to.
    """
    from rdspend.reading import Reader
    from rdspend.releases_told import print_releases

    found = Reader(_load(ctx)).releases()
    print_releases(found, form)
    if any(each.unmatched for each in found):
        ctx.exit(2)


@release.command("cost")
@click.argument("name", required=False)
@click.option("--period", metavar="PERIOD", help="A month, quarter, year or range; every month with money when left out.")
@currency_option
@click.option("--as-of", metavar="RUN", help="As the ledger was after this run, e.g. run-12.")
@form_option
@click.pass_context
def release_cost(
    ctx: click.Context, name: str | None, period: str | None, currency: str | None, as_of: str | None, form: str
) -> None:
    """Say what release NAME cost, or every one: own runs by stage, lost work, dead ends, data, evaluations, experiments.

    What no release claims goes to releases by the projects of their runs, shown apart; what none explains is shown too, so that
    all of it adds up to the R&D of the window.
    """
    from rdspend.printing import print_release_costs
    from rdspend.reading import Reader

    reader = Reader(_load(ctx))
    window = reader.attributed_months(as_of) if period is None else _period(period)
    print_release_costs(reader.release_costs(window, currency, as_of), name, form)


@main.group()
def rules() -> None:
    """Look at tagging rules before they are trusted."""


@rules.command("check")
@click.pass_context
def rules_check(ctx: click.Context) -> None:
    """Try the rules on the jobs of the ledger.

    Names rules that match nothing, that an earlier rule always precedes, or that would read a column that is null for all jobs.
    """
    from rdspend.reading import Reader

    lines, problems = Reader(_load(ctx)).check_rules()
    for line in lines:
        click.echo(line)
    click.echo(f"{problems} rules to look at" if problems else "nothing to look at")


@rules.command("test")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--period", metavar="PERIOD", help="A month, quarter, year or range; everything in the ledger when left out.")
@currency_option
@click.option("--tagger", metavar="NAME", help="Which rule tagger's file it would replace, where there are several.")
@form_option
@click.pass_context
def rules_test(ctx: click.Context, file: Path, period: str | None, currency: str | None, tagger: str | None, form: str) -> None:
    """Say which jobs and how much money would change class if FILE replaced the rules. Writes nothing.

    A label or a lineage that decides today still does. Shadow rules of FILE answer nothing; what they would is shown apart.
    """
    from rdspend.ruling import print_trial
    from rdspend.trial import dry_run

    with _progress() as progress:
        progress("trying the rules")
        found = dry_run(_load(ctx), file, _period(period) if period else None, currency, tagger)
    print_trial(found, form)


@rules.command("suggest")
@click.option("--period", metavar="PERIOD", help="A month, quarter, year or range; everything in the ledger when left out.")
@click.option("--least-precision", default=0.95, show_default=True, type=click.FloatRange(0.5, 1), help="Of money and of jobs.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A new file; standard output when left out.")
@currency_option
@click.pass_context
def rules_suggest(
    ctx: click.Context, period: str | None, least_precision: float, out: Path | None, currency: str | None
) -> None:
    """Propose rules from labels, with what each was worth on labelled jobs that were held out.

    Learns on the earlier labelled jobs and measures on the later. Prints a file of rules; try it with `rdspend rules test`.
    """
    from rdspend.suggestion import as_toml, suggest

    with _progress() as progress:
        progress("learning from labels")
        found = suggest(_load(ctx), _period(period) if period else None, currency, least_precision)
    text = as_toml(found)
    for each in found.failed:
        click.echo(
            f"left out: {each.name}: {each.held.right_units:,} of {each.held.units:,} right on what was held out", err=True
        )
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as new:
            new.write(text)
    except OSError as error:
        raise ConfigError(f"{out}: can't be written: {error.strerror}") from error
    click.echo(f"wrote {out}: {len(found.proposals):,} rules; next: rdspend rules test {out}")


@main.command()
@click.option("--from", "first", required=True, metavar="MONTH", help="The first month, such as 2025-01.")
@click.option("--to", "last", metavar="MONTH", help="The last; the newest published one that is over, when left out.")
@click.option(
    "--format",
    "form",
    default="openmetrics",
    type=click.Choice(["openmetrics", "blocks", "remote-write"]),
    show_default=True,
    help="Text with timestamps, blocks for Prometheus' data folder, or samples sent to a receiver.",
)
@click.option("--out", required=True, metavar="PLACE", help="Folder to write to, or the receiver's address.")
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="What Prometheus puts on all it scrapes from the daemon: job=rdspend, instance=... May be given several times.",
)
@click.option("--promtool", default="promtool", show_default=True, help="Prometheus' tool that makes blocks: name or path.")
@click.pass_context
def backfill(
    ctx: click.Context, first: str, last: str | None, form: Any, out: str, labels: tuple[str, ...], promtool: str
) -> None:
    """Write published months of the past as a Prometheus would have scraped them, a sample of each figure a day.

    One file, or one block, a month; or samples sent. Nothing is written when one of the months was never published, or still
    runs. A month that is restated later has to be taken out of Prometheus before it is written again: docs/backfill.md.
    """
    import time

    from rdspend.backfill import Wish
    from rdspend.backfill import backfill as write_past

    with _progress() as progress:
        written = write_past(_load(ctx), Wish(first, last, form, out, labels, promtool), time.time(), progress)
    for each in written:
        click.echo(f"{each.month}  {each.series:,} series  {', '.join(each.names) or f'sent to {out}'}")


@main.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def learn(ctx: click.Context, file: Path) -> None:
    """Make a model of your own labels: FILE.npz and its card FILE.json, for `[taggers.learned] model`.

    Learns from every job of the ledger that somebody labelled, starting from the model that ships. Needs scikit-learn.
    """
    from rdspend.teaching import teach

    card = teach(_load(ctx), file.with_suffix(""))
    click.echo(f"wrote {card}; name it in [taggers.learned]: model = {str(file.with_suffix(''))!r}")


@main.command()
@period_option
@click.option("--who", help="Who answers; the login name when left out.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="How many questions at most.")
@click.option("--csv", "sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write the queue as a sheet to fill in.")
@click.option("--answers", type=click.Path(dir_okay=False, path_type=Path), help="Take the answers of such a sheet.")
@click.option("--answer", "told", multiple=True, metavar="JSON", help='{"family": ..., "activity": ...}; may be given again.')
@form_option
@currency_option
@click.pass_context
def review(
    ctx: click.Context,
    period: str,
    who: str | None,
    limit: int,
    sheet: Path | None,
    answers: Path | None,
    told: tuple[str, ...],
    form: str,
    currency: str | None,
) -> None:
    """Ask a person about the few families of jobs whose answer settles most of the period's money.

    Shows a family with examples, and takes a key for what it was for; each answer is appended at once to the file of
    `[taggers.review]`. Shows final training's share with its bounds before and after. `rdspend tag`, then `publish`, take the
    answers into the report.
    """
    from rdspend import conversing, reviewing

    config = _load(ctx)
    with _progress() as progress:
        progress("reading the ledger")
        queue = reviewing.begin(config, _period(period), currency)
    with queue.engine:
        by = conversing.Told.by(who)
        if answers is not None or told:
            given = [*(conversing.read_filled(answers) if answers else ()), *map(conversing.read_told, told)]
            conversing.give(queue, by, given)
            click.echo(f"{len(given)} answers written to {queue.file}", err=True)
        if sheet is not None:
            text = conversing.as_csv(queue.queue(limit))
            try:
                # Somebody may have filled one of that name in already.
                with sheet.open("x", encoding="utf-8", newline="") as new:
                    new.write(text)
            except OSError as error:
                raise ConfigError(f"{sheet}: can't be written: {error.strerror}") from error
            click.echo(f"wrote {sheet}: fill in activity and stage, then: rdspend review --period {period} --answers {sheet}")
        elif form == "json":
            click.echo(conversing.as_json(queue, queue.queue(limit)), nl=False)
        elif answers is not None or told:
            click.echo(conversing.line("now", queue.figures()))
        else:
            done = conversing.converse(queue, by, conversing.key, click.echo, limit)
            click.echo(f"{done} answers in {queue.file}; `rdspend tag` and `publish` take them into the report")


@main.command("eval")
@click.argument("folders", metavar="[SET...]", nargs=-1, type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--model", type=click.Path(dir_okay=False, path_type=Path), help="A model of yours; the one that ships.")
@click.option("--precision", default=0.95, show_default=True, type=click.FloatRange(0.5, 0.999))
@click.option("--form", default="terminal", show_default=True, type=click.Choice(["terminal", "md", "html", "json"]))
@click.option("--against", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="Scores of a former --form json.")
@click.option("--gates", "gates_file", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="Bounds of your own.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    folders: tuple[Path, ...],
    model: Path | None,
    precision: float,
    form: str,
    against: Path | None,
    gates_file: Path | None,
) -> None:
    """Try the learned tagger on labelled SETs: folders of yours, or all that come with rdspend.

    Ends with 1 where a gate is missed. Needs scikit-learn.
    """
    from rdspend import evaluation, purpose, simulated

    chosen = purpose.load() if model is None else purpose.load(model.with_suffix(""))
    before = evaluation.read_scores(against) if against else []
    with _progress() as say:
        scores = evaluation.evaluate(folders, chosen, precision, say)
        months = None if folders else simulated.months(chosen, precision, say)
    missed = evaluation.gates(scores, gates_file or evaluation.GATES)
    missed += [] if months is None else simulated.gates(months, gates_file or evaluation.GATES)
    notes = [] if months is None else [simulated.words(months)]
    click.echo(evaluation.told(scores, chosen, form, before, missed, notes), nl=False)
    if missed:
        ctx.exit(1)


@main.command()
@click.pass_context
def daemon(ctx: click.Context) -> None:
    """Collect at intervals and serve the metrics until SIGTERM or SIGINT.

    Serves /metrics, /-/healthy, /-/ready and a landing page on the `listen` address of each exporter that has one. A failing
    source never stops the others; the page keeps the last good figures and says so.
    """
    from importlib.metadata import version

    from rdspend.daemon import Daemon
    from rdspend.pushing import Pushes
    from rdspend.schema import Pushed, Served
    from rdspend.service import Service

    config = _load(ctx)
    pages = {e.name: e.instance for e in config.exporters if isinstance(e.instance, Served)}
    pushed = {e.name: e.instance for e in config.exporters if isinstance(e.instance, Pushed)}
    if not pages and not pushed:
        raise ConfigError(f"{config.file}: exporters: none has a page to serve or pushes; add [exporters.prometheus]")
    service = Service(config)
    pushes = Pushes(pushed, lambda words: click.echo(f"rdspend: not sent: {words}", err=True))
    with pushes.observing():
        ended = Daemon(service.work, pages, config.daemon.interval_seconds, version("rdspend"), pushes=pushes).run()
    if not ended:
        # The work is still inside a library call; the ledger stands a kill at any moment.
        os._exit(0)


@main.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Compare the installed files with the install record, and look for what breaks installations.

    Names a package that overwrote our `collectors`, `taggers` or `exporters`.
    """
    from rdspend.doctor import examine

    problems = 0
    for finding in examine():
        problems += not finding.good
        click.echo(f"{'ok   ' if finding.good else 'WRONG'} {finding.text}")
    if problems:
        ctx.exit(1)
