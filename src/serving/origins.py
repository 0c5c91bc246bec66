"""Whose requests are answered: not those that a page of another site makes a browser send.

A page in a browser reaches what its machine reaches, this service too. It may do so under its own name, which its owner
lets point to 127.0.0.1 (DNS rebinding, told by Host), or by posting a form to our address (told by Sec-Fetch-Site, and
by Origin where a browser sends the former not). Programs such as curl send neither Origin nor Sec-Fetch-Site.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from src.files.printable import printable
from src.serving.checks import is_local
from src.settings.errors import ConfigError

READING = ("GET", "HEAD", "OPTIONS")  # methods that change nothing, and whose answers no other site's page can read
SHOWN = 100  # characters of a header that an error repeats


def names_to_ask_for(host: str, allowed: Sequence[str] | None) -> list[str] | None:
    """Names that a request may ask for, besides localhost and the like; None = any."""
    if allowed is not None:
        return list(allowed)
    return [socket.gethostname()] if is_local(host) else None


class OwnSiteOnly:
    """Lets requests through to `app` that are meant for one of `hosts`, and are no other site's.

    `hosts`: names and addresses that a Host header may have, besides those of this machine itself; None = any.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str] | None) -> None:
        self.app = app
        self.hosts = None if hosts is None else {host.strip("[]").lower().rstrip(".") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self.refusal(scope["method"], Headers(scope=scope)) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send)

    def refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        """421 for a foreign Host, 403 for what a page of another site sends; None for all else."""
        given = headers.get("host", "")
        if given and self.hosts is not None and not self.knows(host_of(given)):
            return error(421, f"Host '{shown(given)}' is not served here: add it to allowed_hosts, or ask by address.")
        if method in READING:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in ("same-origin", "none"):
            return None
        if site == "cross-site":
            return error(403, "Requests by pages of other sites are not answered (Sec-Fetch-Site: cross-site).")
        if origin is not None:
            name = ""
            with suppress(ValueError):
                name = host_of(urlsplit(origin).netloc)
            if not name or not (name == host_of(given) or self.knows(name)):
                return error(403, f"Requests by pages of other sites are not answered (Origin: {shown(origin)}).")
        return None

    def knows(self, name: str) -> bool:
        return is_this_machine(name) or name in (self.hosts or ())


def error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)


def shown(text: str) -> str:
    return printable(text[:SHOWN])


def host_of(text: str) -> str:
    """The name or address in a Host header, without port, brackets, capitals and a last dot; empty if it is none."""
    text = text.strip().lower()
    found = re.fullmatch(r"\[([0-9a-f:.]+)\](?::\d*)?|([^:\[\]]+)(?::\d*)?", text)
    return (found[1] or found[2]).rstrip(".") if found else ""


def is_this_machine(name: str) -> bool:
    """Whether a name or address always means the machine on which it is asked for."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_hosts(hosts: Iterable[str]) -> None:
    """Raise ConfigError unless each is a name or an address, and nothing more."""
    for host in hosts:
        if not re.fullmatch(r"[\w.-]+|\[?[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F.]*\]?", host):
            raise ConfigError(
                f"allowed_hosts has '{host}': give names or addresses alone, without http://, port, path or *, such as "
                "allowed_hosts=[models.example.org,192.168.1.5]."
            )
