"""Errors of remote stores: which are temporary, and what to tell the user about the others."""

from __future__ import annotations

import asyncio
import posixpath
import re
import socket
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from tfpt.errors import SourceError
from tfpt.nearest import nearest

# The package that fsspec needs for a scheme, where it needs one.
CLIENTS = {
    "http": "aiohttp",
    "https": "aiohttp",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "hf": "huggingface_hub",
    "abfs": "adlfs",
    "az": "adlfs",
}


# Status codes of temporary failures: RFC 9110 section 15, RFC 6585 section 4.
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class CutOffError(Exception):
    """A store sent less than was requested."""


class AstrayError(Exception):
    """A web server redirects to a non-web address, which is the message."""


class MissingError(SourceError):
    """There is no file of this name on a store that responds."""


def scheme_of(location: str) -> str:
    """The scheme of a URL, in lower case.

    Example:
        >>> scheme_of("HTTPS://example.org/m.ckpt")
        'https'
    """
    return location.partition("://")[0].lower()


def is_http(location: str) -> bool:
    """Whether a URL is on a web server, which has only files, no folders."""
    return scheme_of(location) in ("http", "https")


def shown(location: str) -> str:
    """A URL without password and query.

    Example:
        >>> shown("https://me:secret@example.org/m.h5?signature=abc")
        'https://example.org/m.h5'
    """
    text = re.sub(r"(?<=://)[^/@]*@", "", location)
    return text.partition("?")[0] if is_http(location) else text


def is_passing(error: BaseException) -> bool:
    """Whether a retry may succeed: a busy server, a lost connection, a timeout.

    Example:
        >>> is_passing(ConnectionResetError()), is_passing(FileNotFoundError())
        (True, False)
    """
    status = _status(error)
    if status is not None:
        return status in _PASSING
    chain = list(_chain(error))
    if any(isinstance(each, socket.gaierror) for each in chain):
        return False  # a name that does not resolve: no network, or no such host
    lines = (CutOffError, ConnectionError, TimeoutError, asyncio.TimeoutError)
    # Exceptions of aiohttp and http.client that do not derive from these, by name, to avoid imports.
    return any(
        isinstance(each, lines)
        or any(
            kind.__name__ in ("ClientPayloadError", "ClientConnectionError", "IncompleteRead")
            for kind in type(each).__mro__
        )
        for each in chain
    )


def is_missing(error: BaseException) -> bool:
    """Whether an error means that the file does not exist.

    Example:
        >>> is_missing(FileNotFoundError()), is_missing(PermissionError())
        (True, False)
    """
    status = _status(error)
    if status is not None:
        return status in (404, 410)
    if any(isinstance(each, PermissionError) for each in _chain(error)) or is_passing(error):
        return False
    # fsspec's web client turns everything into FileNotFoundError; the cause is more precise.
    hidden = any(type(each).__module__.partition(".")[0] == "aiohttp" for each in _chain(error))
    return isinstance(error, FileNotFoundError) and not hidden


def explained(error: BaseException, location: str) -> SourceError:
    """An error at `location`, explained to the user."""
    if isinstance(error, SourceError):
        return error
    where, scheme, status = shown(location), scheme_of(location), _status(error)
    reason = _reason(error)
    if (astray := _astray(error, location)) is not None:
        return astray
    if isinstance(error, ImportError):
        client = CLIENTS.get(scheme, "")
        return SourceError(
            f"files at {scheme}:// need a client that is not installed",
            where=where,
            expected=f"the package {client}" if client else None,
            got=str(error),
            hint=f'pip install "tfpt[remote]" {client}'.rstrip(),
        )
    if status in (401, 403) or any(_is_refusal(each) for each in _chain(error)):
        return SourceError(
            "the store denies access to this file",
            where=where,
            got=reason,
            hint=_credentials(scheme),
        )
    if is_missing(error):
        return missing(location)
    host = urlsplit(location).netloc.rpartition("@")[2]
    if status is None and any(
        isinstance(each, TimeoutError | asyncio.TimeoutError) for each in _chain(error)
    ):
        return SourceError(
            f"{host or scheme + '://'} does not answer in time",
            where=where,
            got=reason,
            hint="try again later",
        )
    if status is None:
        what = f"cannot reach {host}" if is_http(location) else f"cannot read from {scheme}://{host}"
        return SourceError(
            what, where=where, got=reason, hint="check the network and the name, then run the same command"
        )
    return SourceError(
        f"{host} does not respond as expected", where=where, got=reason, hint="try again later"
    )


def missing(location: str, names: Iterable[str] = ()) -> MissingError:
    """The error for a missing file; `names` are those in its folder, if the store lists them."""
    near = nearest(posixpath.basename(location), [name for name in names if not name.endswith("/")])
    folder = posixpath.dirname(location)
    return MissingError(
        "there is no file of this name",
        where=shown(location),
        nearest=[f"{folder}/{name}" for name in near],
        hint="name a checkpoint by its prefix or one of its files" if is_http(location) else None,
    )


def replaced(location: str, got: str | None = None, expected: str | None = None) -> SourceError:
    """The error for a file that changed since it was opened: values of two versions would be mixed."""
    return SourceError(
        "the file was replaced while it was being read",
        where=shown(location),
        expected=expected,
        got=got,
        hint="run the same command again",
    )


def _astray(error: BaseException, location: str) -> SourceError | None:
    """The error for invalid redirects of a web server, if it is one; aiohttp's exceptions by name, as above."""
    for each in _chain(error):
        kinds = {kind.__name__ for kind in type(each).__mro__}
        circle = "TooManyRedirects" in kinds or (
            "HTTPError" in kinds and "infinite loop" in str(getattr(each, "msg", ""))
        )
        if circle:
            what = "the server redirects in a loop"
        elif kinds & {"AstrayError", "NonHttpUrlClientError", "InvalidUrlRedirectClientError"}:
            what = "the server redirects to an address that is not on the web"
        else:
            continue
        got = None if circle else str(each)[:300]
        return SourceError(what, where=shown(location), got=got, hint="name the final address of the file")
    return None


def _credentials(scheme: str) -> str:
    if scheme in ("gs", "gcs"):
        return "gcloud auth application-default login; for a public bucket: export FSSPEC_GS_TOKEN=anon"
    if scheme in ("s3", "s3a"):
        return "aws configure; for a public bucket: export FSSPEC_S3_ANON=true"
    if scheme == "hf":
        return "hf auth login, and ask for access on the model's page if it is gated"
    return "credentials go into ~/.netrc; or download the file and name the local copy"


def _is_refusal(error: BaseException) -> bool:
    names = ("NoCredentialsError", "DefaultCredentialsError", "GatedRepoError", "ClientAuthenticationError")
    return isinstance(error, PermissionError) or type(error).__name__ in names


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and its causes."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an exception, for all clients."""
    for each in _chain(error):
        if type(each).__module__ == "aiohttp.http_exceptions":
            continue  # a lost connection, for which aiohttp invents a status
        for holder in (each, getattr(each, "response", None)):
            for key in ("status", "status_code", "code"):
                value = getattr(holder, key, None)
                if value == 0:
                    break  # aiohttp's value for client errors; its `code` is a deprecated alias
                if isinstance(value, int | str) and re.fullmatch(r"[1-5]\d\d", str(value)):
                    return int(value)
    return None


def _reason(error: BaseException) -> str:
    """The innermost exception in one line: its wrappers only repeat the URL."""
    last = list(_chain(error))[-1]
    status = _status(error)
    text = str(getattr(last, "message", "") or last) or type(last).__name__
    if status is not None:
        return text[:300] if str(status) in text else f"{status} {text}"[:300]
    return f"{type(last).__name__}: {text}"[:300]
