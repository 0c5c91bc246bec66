"""Text that comes from data, as it may stand in a log, on a terminal and in a file, or be typed in a shell."""

import os
import re
import shlex
import subprocess

# Control characters but for line ends and tabs, marks that turn the direction of writing, and half characters, by which
# Python stands for bytes that are not UTF-8. A terminal obeys the first two (CVE-2021-42574), the third cannot be
# written.
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with what a terminal would obey spelled out: ESC becomes \x1b."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shell_word(text: str) -> str:
    """One word, quoted if it has to be: for POSIX shells, or for those of Windows, which know no single quotes."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)
