"""Whether an .onnx file is complete in itself and made of standard operations. Needs neither onnx nor onnxruntime.

An .onnx file may say that its numbers lie in another file of any path, and may ask for operations of a library that
somebody loads. Both stand in its protobuf, of which only the structure is read: https://onnx.ai/onnx/intro/concepts.html
and onnx/onnx.proto, whose field numbers these are.
"""

from collections.abc import Iterator

# message -> field number -> kind of what it holds: another message, or what is looked at here
FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "type", 5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: "outside", 14: "location"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
}
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # the last: onnxruntime's own, for quantised networks
FILES = ("EPContext",)  # com.microsoft's operation that loads compiled code from a file
DEEPEST = 100


class ForeignPart(ValueError):
    """What the file has that no file of src.export has."""


def check_onnx(message: bytes | memoryview, kind: str = "model", depth: int = 0) -> None:
    """Raises ForeignPart, or ValueError if the content is no protobuf."""
    if depth > DEEPEST:
        raise ForeignPart("graphs within graphs without end")
    for number, value in fields(memoryview(message)):
        inner = FIELDS[kind].get(number)
        if inner == "outside" or (inner == "location" and value != 0):
            raise ForeignPart("numbers that lie in another file (external data)")
        if inner in ("domain", "type"):
            text = bytes(value).decode("utf-8", "replace") if isinstance(value, memoryview) else ""
            if (inner == "domain" and text not in DOMAINS) or (inner == "type" and text in FILES):
                raise ForeignPart(f"operations of its own ({text[:80]!r})")
        elif inner in FIELDS:
            if not isinstance(value, memoryview):
                raise ValueError(f"a number where a {inner} should be")
            check_onnx(value, inner, depth + 1)


def fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field, as https://protobuf.dev/programming-guides/encoding has it."""
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, wire = (key & 0xFFFFFFFF) >> 3, key & 7  # protobuf drops what is beyond 32 bits
        if wire == 0:
            value, place = varint(message, place)
            yield number, value
            continue
        if wire == 2:
            size, place = varint(message, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("no protobuf")
        if place + size > len(message):
            raise ValueError("cut short")
        yield number, message[place : place + size]
        place += size


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """A number, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise ValueError("cut short")
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("no protobuf")
