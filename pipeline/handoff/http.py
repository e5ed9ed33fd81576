"""One HTTP POST to an address of the settings, within a time that is kept whatever the other side does.

No redirect is followed: only the address that an administrator wrote down gets the message, and a receiver cannot send
it on to another one. The body of the answer is not read, only its status.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

SECONDS: Final = 10.0
"""Longest time for connecting, sending and the answer together, s."""

SCHEMES: Final = ("http", "https")


@dataclass(frozen=True)
class Answer:
    """The result of a request: its status (None where there was none), and a sentence."""

    status: int | None
    outcome: str

    @property
    def good(self) -> bool:
        """Whether it was taken: 200 to 299."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_down(self) -> bool:
        """Whether the receiver as a whole seems to be away: no answer, an error of its own, or too much for it."""
        return self.status is None or self.status >= 500 or self.status == 429


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS) -> Answer:
    """Send a body by POST and return the result; never raises for what the network or the receiver does.

    Proxies, `no_proxy` and the certificates of the machine are used; a certificate that they do not confirm is refused.

    Parameters
    ----------
    url
        Begins with `http://` or `https://`.
    seconds
        Time for all of it. A receiver that answers a byte at a time is cut off, too.
    """
    import httpx

    async def send() -> int:
        # Certificates as Python finds them: httpx alone would trust its own list and no authority of the plant.
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(verify=ssl.create_default_context(), timeout=None) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            return answer.status_code

    # It writes each address to the log, and an address may hold a password.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        address = urlsplit(url)
        if address.scheme not in SCHEMES:
            return Answer(None, "not told: the address begins with neither http:// nor https://")
        _ = address.port  # raises for one that there cannot be
        status = asyncio.run(send())
    except TimeoutError:
        return Answer(None, f"not told: no answer within {seconds:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        return Answer(None, f"not told: {type(error).__name__}: {str(error)[:200]}")
    return Answer(status, f"answered {status}")
