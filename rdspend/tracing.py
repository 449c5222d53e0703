"""Traces and logs of rdspend's own work, told to the OpenTelemetry API: nobody listens unless an exporter does, or the
operator's own OpenTelemetry set-up. One span a run, a stage, a source, a tagger, an exporter and a query.

Spans and records name sources, stages, periods and SQL files of ours; never a job, a team or a line of a bill. What an error
says is told as it is, and may name a file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, Status, StatusCode, get_tracer

LOG = logging.getLogger("rdspend")
LOG.addHandler(logging.NullHandler())  # without a listener nothing is printed: the commands say what people need

LONGEST_MESSAGE = 4000

_TRACER = get_tracer("rdspend")


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[Span]:
    """A span while the block lasts, with attributes `rdspend.NAME`; an exception that leaves the block is recorded in it."""
    named = {f"rdspend.{key}": value for key, value in attributes.items()}
    with _TRACER.start_as_current_span(name, attributes=named) as current:
        yield current


def failed(current: Span, who: str, error: BaseException) -> None:
    """Say of a failure that was caught, in the span and in the log."""
    words = (str(error) or type(error).__name__)[:LONGEST_MESSAGE]
    current.record_exception(error)
    current.set_status(Status(StatusCode.ERROR, words))
    LOG.error("%s: %s", who, words)
