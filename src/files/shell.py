"""Text as it is typed in a shell."""

import os
import shlex
import subprocess


def shell_word(text: str) -> str:
    """One word, quoted if it has to be: for POSIX shells, or for those of Windows, which know no single quotes."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)
