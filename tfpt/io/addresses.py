"""Which URLs are opened at all: by their scheme, so that no protocol that runs or reads something else is reached.

fsspec has protocols that wrap others (``reference``, ``filecache``, ``zip``), that lead back to this machine
(``local``) and that run programs (``dvc``, ``git``). With ``::`` one is put into another:
``reference://::https://…`` fetches a stranger's file and renders the templates in it, which before fsspec 2026.6 ran
any code. So a URL is one store, and the store is one of a list.
"""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.nearest import nearest

# What a mapping may name: it comes from strangers.
PUBLISHED = ("https", "http", "gs", "s3", "hf")

# What a person may name besides: stores of files by name, each a client of its own that fsspec knows.
STORES = (
    *PUBLISHED,
    "abfs", "abfss", "adl", "az", "box", "dropbox", "ftp", "gcs", "gdrive", "github", "hdfs", "memory", "oci",
    "oss", "s3a", "sftp", "smb", "ssh", "tos", "webdav", "webhdfs",
)  # fmt: skip

_LOCAL = ("local", "file", "asynclocal")


def refuse_unknown_store(url: str, schemes: tuple[str, ...] = STORES) -> None:
    """Refuse a URL that is not in one store of these schemes.

    Raises:
        SourceError: It chains stores, or is in another.

    Example:
        >>> refuse_unknown_store("hf://user/repo/model.h5")
        >>> refuse_unknown_store("local:///etc/passwd")
        Traceback (most recent call last):
        ...
        tfpt.errors.SourceError: local:// is no store that tfpt opens
          where     local:///etc/passwd
          expected  https://, http://, gs://, s3://, hf:// or another store of files
          next      name the path itself, without local://
    """
    scheme, separator, _ = url.partition("://")
    if "::" in url:
        raise SourceError(
            "the URL puts one store into another (::), which tfpt does not open",
            where=_shown(url),
            expected=_expected(schemes),
            got=f"{scheme}://" if separator else scheme,
            hint="download the file, and name the local copy; a :: that belongs to a name is written %3A%3A",
        )
    if not separator or scheme.lower() not in schemes:
        raise SourceError(
            f"{scheme}:// is no store that tfpt opens" if separator else "this is no URL",
            where=_shown(url),
            expected=_expected(schemes),
            nearest=[] if scheme.lower() in _LOCAL else nearest(scheme.lower(), schemes),
            hint=f"name the path itself, without {scheme}://"
            if scheme.lower() in _LOCAL
            else "download the file, and name the local copy",
        )


def _expected(schemes: tuple[str, ...]) -> str:
    known = ", ".join(f"{scheme}://" for scheme in PUBLISHED)
    return known if schemes == PUBLISHED else f"{known} or another store of files"


def _shown(url: str) -> str:
    # A password may stand in front of the host, a signature behind a question mark.
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
