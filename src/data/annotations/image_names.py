"""What the name of an image in an annotation file may mean: the ways in which tools write paths. Imports no torch."""

import posixpath
import re
from urllib.parse import unquote

from src.data.decode import IMAGE_SUFFIXES
from src.data.folders.split_names import same_text

AS_IT_IS = ""
# Where tools keep what was uploaded to them, which is not where it lies afterwards. Label Studio has the first two, and
# puts a few hexadecimal digits before the names.
MEDIA = (
    (re.compile(r"^.*[?&]d=([^&]+).*$"), r"\1"),
    (re.compile(r"^.*?/?data/upload/(?:\d+/)?"), ""),
    (re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://[^/]*/"), ""),  # s3://bucket/..., https://host/...
)
UPLOADED = re.compile(r"^[0-9a-f]{6,8}-(?=.)")


def spellings(name: str) -> list[tuple[str, str]]:
    """Paths that a name may mean, the likeliest first, each with what was done to it, in words; never empty."""
    found = [(name, AS_IT_IS)]
    if "\\" in name:
        found.append((name.replace("\\", "/"), "with / for \\"))
    if "%" in name:
        found += [(unquote(text), "without the % signs of web addresses") for text, _ in found]
    for text, _ in list(found):
        for pattern, end in MEDIA:
            if (rest := pattern.sub(end, text)) != text:
                found.append((rest, "without the address of the tool that wrote it"))
    for text, _ in list(found):
        head, base = posixpath.split(text)
        if UPLOADED.match(base):
            found.append((posixpath.join(head, UPLOADED.sub("", base)), "without the tool's mark before the name"))
    return list(dict(reversed(found)).items())[::-1]


def loose(path: str) -> str:
    """What is the same for base names that differ in capital letters, Unicode or the ending of images alone."""
    base = same_text(posixpath.basename(path)).casefold()
    stem, suffix = posixpath.splitext(base)
    return stem if suffix in IMAGE_SUFFIXES else base


def common_end(path: str, other: str) -> int:
    """How many parts of two paths agree, from their ends."""
    count = 0
    for one, two in zip(reversed(path.split("/")), reversed(other.split("/")), strict=False):
        if one != two:
            break
        count += 1
    return count
