"""One HTTP POST to an address of the settings, with a time limit that the receiver cannot extend.

Redirects are not followed: only the address in the settings gets the message. Only the status of the answer is read,
not its body.
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
        """Whether the receiver accepted the message: status 200 to 299."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_down(self) -> bool:
        """Whether the receiver seems to be down or overloaded: no answer, status 500 or above, or 429."""
        return self.status is None or self.status >= 500 or self.status == 429


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS) -> Answer:
    """Send a body by POST and return the result; errors of the network or the receiver are results, not exceptions.

    It uses the proxies, `no_proxy` and the certificates of this machine, and refuses a receiver whose certificate is
    not valid.

    Parameters
    ----------
    url
        Begins with `http://` or `https://`.
    seconds
        Time limit for everything, s. A receiver that answers one byte at a time is cut off too.
    """
    import httpx

    async def send() -> int:
        # Use the certificates that Python uses: httpx alone would not trust a certificate authority of the plant.
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(verify=ssl.create_default_context(), timeout=seconds) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            return answer.status_code

    # httpx writes each address to the log, and an address may contain a password.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        address = urlsplit(url)
        if address.scheme not in SCHEMES:
            return Answer(None, "not delivered: the address begins with neither http:// nor https://")
        _ = address.port  # raises ValueError for an impossible port
        status = asyncio.run(send())
    except TimeoutError:
        return Answer(None, f"not delivered: no answer within {seconds:g} s")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        return Answer(None, f"not delivered: {type(error).__name__}: {str(error)[:200]}")
    return Answer(status, f"answered {status}")
