"""The report as a message that is ready to be sent: text, page one in HTML, the whole page and the workbook as attachments.

Nothing of the moment is in it: its date is the period's end, or when it was closed; boundaries come from the content. It has no
sender: `sendmail -t` and mail programs put in their own.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from rich.console import Console

from exporters.report_blocks import Block, Facts, Heading, Note, Table, legible, visible
from exporters.report_changes import changes
from exporters.report_html import to_html
from exporters.report_page import page_one
from exporters.report_terminal import set_on_terminal
from exporters.report_xlsx import to_xlsx
from rdspend.errors import ConfigError
from rdspend.schema import Breakdown

TEXT_WIDTH = 76
WORKBOOK = "vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LONGEST_SUBJECT = 120
ADDRESS = re.compile(r"[^\s@<>,;\"]+@[^\s@<>,;\"]+|[^@<>,;\"\x00-\x1f]+ <[^\s@<>,;\"]+@[^\s@<>,;\"]+>")
"""`finance@example.org`, or with a name before it in angle brackets."""


def refuse_no_address(address: str) -> None:
    """Raises ConfigError for what is no mail address."""
    if not ADDRESS.fullmatch(address):
        raise ConfigError(f"to: found {address!r}, expected a mail address, such as finance@example.org")


def to_eml(breakdown: Breakdown, to: Sequence[str] = ()) -> bytes:
    """The message, with CRLF at the ends of lines. Raises ConfigError for a wrong address or a library that is missing."""
    b = breakdown
    for address in to:
        refuse_no_address(address)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _subject(b)
    if to:
        message["To"] = ", ".join(to)
    message["Date"] = format_datetime(_date(b))
    message["Message-ID"] = f"<{_digest(b, 'message')}@rdspend.invalid>"
    message["X-Unsent"] = "1"
    blocks = [*page_one(b), *changes(b)]
    message.set_content(_plain(blocks), cte="quoted-printable")
    message.add_alternative(_simple(blocks), subtype="html", cte="quoted-printable")
    name = f"report-{b.period}-{b.currency}"
    message.add_attachment(to_html(b), subtype="html", filename=f"{name}.html", cte="base64")
    message.add_attachment(to_xlsx(b), maintype="application", subtype=WORKBOOK, filename=f"{name}.xlsx")
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{_digest(b, str(number))}")
    return message.as_bytes()


def _subject(b: Breakdown) -> str:
    title = visible(b.title or "Compute by purpose")
    title = title if len(title) <= LONGEST_SUBJECT else title[: LONGEST_SUBJECT - 1] + "…"
    return f"{title} · {b.period} · {b.currency}{' · SYNTHETIC' if b.synthetic and 'SYNTHETIC' not in title else ''}"


def _date(b: Breakdown) -> datetime:
    if b.closed is not None:
        return b.closed.closed_at.astimezone(UTC)
    year, month = int(b.months[-1][:4]), int(b.months[-1][5:7])
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _digest(b: Breakdown, part: str) -> str:
    said = (b.period, b.currency, b.policy.name, b.snapshot, str(b.revision), str(b.total), part)
    return hashlib.sha256("\x00".join(said).encode()).hexdigest()[:32]


def _plain(blocks: Sequence[Block]) -> str:
    text = io.StringIO()
    set_on_terminal(blocks, Console(file=text, width=TEXT_WIDTH, color_system=None, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _simple(blocks: Sequence[Block]) -> str:
    """HTML as mail programs take it: no style sheet, no drawing."""
    body = "".join(_set(blocks))
    return f'<!DOCTYPE html>\n<html lang="en"><body style="font-family: sans-serif; font-size: 14px">\n{body}</body></html>\n'


def _set(blocks: Sequence[Block]) -> Iterator[str]:
    first = True
    for block in blocks:
        match block:
            case Heading(text):
                tag, first = ("h1" if first else "h2"), False
                yield f'<{tag} style="font-size: {20 if tag == "h1" else 16}px">{_text(text)}</{tag}>\n'
            case Note(text, "synthetic" | "alarm" | "strong" | "closing"):
                yield f"<p><strong>{_text(text)}</strong></p>\n"
            case Note(text):
                yield f"<p>{_text(text)}</p>\n"
            case Facts(rows):
                yield "".join(f"<p><strong>{_text(label)}</strong>: {_text(words)}</p>\n" for label, words in rows)
            case Table() as table:
                yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    looks = [f"padding: 2px 8px; text-align: {'right' if column.number else 'left'}" for column in table.columns]
    yield '<table style="border-collapse: collapse; font-size: 13px">\n<tr>'
    yield "".join(f'<th scope="col" style="{look}">{_text(c.name)}</th>' for look, c in zip(looks, table.columns, strict=True))
    yield "</tr>\n"
    for row in table.rows:
        weight = "; font-weight: bold" if row.strong else ""
        cells = (f'<td style="{look}{weight}">{_text(cell)}</td>' for look, cell in zip(looks, row.cells, strict=True))
        yield f"<tr>{''.join(cells)}</tr>\n"
    yield "</table>\n"


def _text(text: str) -> str:
    return html.escape(legible(text))
