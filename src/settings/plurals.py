"""Counted things in messages."""

import re


def number_of(count: int, one: str, many: str | None = None) -> str:
    """`1 epoch`, `1,000 epochs`; `many`: the plural, unless it is `one` and an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def agreeing(count: int, text: str) -> str:
    """`[box|boxes] [has|have] no width` with the words that go with the count."""
    return re.sub(r"\[([^|\]]*)\|([^|\]]*)\]", lambda pair: pair[1 if count == 1 else 2], text)
