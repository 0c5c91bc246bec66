"""Counted things in messages."""


def number_of(count: int, one: str, many: str | None = None) -> str:
    """`1 epoch`, `1,000 epochs`; `many`: the plural, unless it is `one` and an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
