"""Text from the log as a terminal may see it: what could steer a terminal is written out instead."""

from __future__ import annotations


def plain(text: object, limit: int | None = None) -> str:
    r"""Return the text with every character that is not printable escaped, cut after `limit` characters.

    Line ends, terminal controls, and the marks that turn the direction of writing become `\n`, `\x1b`,
    `\u202e`; a backslash stays a backslash.
    """
    written = str(text)
    if limit is not None and len(written) > limit:
        written = written[: limit - 1] + "…"
    if written.isprintable():
        return written
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in written)
