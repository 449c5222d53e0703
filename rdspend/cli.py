"""The command line. Heavy modules are imported inside the command that needs them: `--help` has to feel instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
@click.option("--format", "form", default="terminal", metavar="FORMAT", help="terminal (default), json, md or csv.")
@currency_option
@click.option("--in", "into", metavar="CODE", help="All money in this currency, at the exchange rates of the snapshot.")
@as_of_option
@click.pass_context
def report(ctx: click.Context, period: str, form: str, currency: str | None, into: str | None, as_of: str | None) -> None:
    """Print the period's report: the split, its uncertainty, and the closing line.

    The same ledger snapshot gives the same bytes. A period that was not published as such (a quarter of published months) is
    made on the spot.
    """
    from rdspend.config import load_plugin
    from rdspend.reading import Reader

    reader = load_plugin("exporters", "report")
    if form != "terminal" and form not in reader.texts:
        raise ConfigError(f"--format {form!r}: expected one of terminal, {', '.join(reader.texts)}")
    if into is not None and currency is not None:
        raise ConfigError("--in converts the money of every currency: leave out --currency")
    with _progress() as progress:
        progress("reading the ledger")
        ledger = Reader(_load(ctx))
        if into is None:
            breakdowns = ledger.breakdowns(_period(period), currency, as_of)
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

            reader.show(breakdown, Console())
        else:
            click.echo(reader.texts[form](breakdown), nl=False)


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
@click.pass_context
def explain(ctx: click.Context, what: str, period: str, currency: str | None, as_of: str | None, limit: int, form: str) -> None:
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
        found = Reader(_load(ctx)).explain(_period(period), what, currency, as_of, limit)
    print_explanation(found, form, limit)


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
    from rdspend.policy import load_policy
    from rdspend.reading import Reader

    config = _load(ctx)
    load_policy(config.policy)
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
    from rdspend import evaluation, purpose

    chosen = purpose.load() if model is None else purpose.load(model.with_suffix(""))
    before = evaluation.read_scores(against) if against else []
    with _progress() as say:
        scores = evaluation.evaluate(folders, chosen, precision, say)
    missed = evaluation.gates(scores, gates_file or evaluation.GATES)
    click.echo(evaluation.told(scores, chosen, form, before, missed), nl=False)
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
