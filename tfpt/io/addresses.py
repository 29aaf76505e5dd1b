"""Which URLs are opened: only listed schemes, so that no protocol can run programs or read other files.

fsspec has protocols that wrap others (``reference``, ``filecache``, ``zip``), that access this machine
(``local``) and that run programs (``dvc``, ``git``). ``::`` chains them:
``reference://::https://…`` downloads an untrusted file and renders the templates in it, which before fsspec 2026.6
could run any code. So a URL names a single store, and the store must be listed.
"""

from __future__ import annotations

from tfpt.errors import SourceError
from tfpt.nearest import nearest

# Schemes allowed in mappings, which are untrusted.
PUBLISHED = ("https", "http", "gs", "s3", "hf")

# Schemes allowed to users: stores of named files that fsspec has a client for.
STORES = (
    *PUBLISHED,
    "abfs", "abfss", "adl", "az", "box", "dropbox", "ftp", "gcs", "gdrive", "github", "hdfs", "memory", "oci",
    "oss", "s3a", "sftp", "smb", "ssh", "tos", "webdav", "webhdfs",
)  # fmt: skip

_LOCAL = ("local", "file", "asynclocal")


def refuse_unknown_store(url: str, schemes: tuple[str, ...] = STORES) -> None:
    """Refuse a URL whose scheme is not one of these.

    Raises:
        SourceError: It chains stores, or has another scheme.

    Example:
        >>> refuse_unknown_store("hf://user/repo/model.h5")
        >>> refuse_unknown_store("local:///etc/passwd")
        Traceback (most recent call last):
        ...
        tfpt.errors.SourceError: tfpt does not open local:// locations
          where     local:///etc/passwd
          expected  https://, http://, gs://, s3://, hf:// or another store of files
          next      name the path itself, without local://
    """
    scheme, separator, _ = url.partition("://")
    if "::" in url:
        raise SourceError(
            "the URL chains stores (::), which tfpt does not open",
            where=_shown(url),
            expected=_expected(schemes),
            got=f"{scheme}://" if separator else scheme,
            hint="download the file and name the local copy; write a :: within a name as %3A%3A",
        )
    if not separator or scheme.lower() not in schemes:
        raise SourceError(
            f"tfpt does not open {scheme}:// locations" if separator else "this is not a URL",
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
    # A password may precede the host, a signature may follow a question mark.
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
