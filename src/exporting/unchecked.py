"""What stops an exported file from being loaded."""


class UncheckedPart(Exception):
    """A part of the file that could run code, or that nobody has looked at; its text says what it is."""


def require(condition: bool, what: str) -> None:
    if not condition:
        raise UncheckedPart(what)


def shown(text: str) -> str:
    return repr(text[:80])
