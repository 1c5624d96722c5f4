"""Log lines of which each is one line, and begins with our own words, whatever a path, a header or a name has in it."""

from __future__ import annotations

import logging
import sys
import unicodedata
from typing import Final

FORMAT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"

_INDENT: Final = "    "
_MOVES_A_READER: Final = frozenset({"Cc", "Cf", "Zl", "Zp"})
"""Unicode categories of what ends a line or changes how others look: control and format characters, separators of lines."""


class OneLine(logging.Formatter):
    """As the base, with what is not printable escaped; a traceback follows on lines that begin with spaces."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; what is recorded of an exception is left as it was for other handlers."""
        message = escaped(super().formatMessage(_told(record, self)))
        details = [self.formatException(record.exc_info)] if record.exc_info else []
        if record.stack_info:
            details.append(self.formatStack(record.stack_info))
        lines = [line for text in details for line in text.splitlines()]
        return "\n".join([message, *(_INDENT + escaped(line) for line in lines)])


def configure(level: int | str, form: str = FORMAT) -> None:
    """Log to standard error from now on; a process does so once, before anything else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(form))
    logging.basicConfig(level=level, handlers=[handler])


def escaped(text: str) -> str:
    """The text with every character that is not seen for what it is written as Python would write it."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _MOVES_A_READER else char
        for char in text
    )


def _told(record: logging.LogRecord, formatter: logging.Formatter) -> logging.LogRecord:
    record.message = record.getMessage()
    if formatter.usesTime():
        record.asctime = formatter.formatTime(record, formatter.datefmt)
    return record
