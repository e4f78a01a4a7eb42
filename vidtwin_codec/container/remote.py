"""A .vtw that lies elsewhere: in a bucket or on a web server, read in ranges. Needs the extra ``remote``."""

from __future__ import annotations

import re
from typing import Any

from vidtwin_codec.container.source import ByteSource
from vidtwin_codec.errors import VidtwinError

_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_INSTALL = "pip install 'vidtwin-codec[remote]', and what fsspec names for stores other than the web (s3fs, gcsfs …)"


def is_url(text: object) -> bool:
    """Whether something is an address for fsspec, such as ``s3://bucket/a.vtw`` or ``simplecache::https://…``."""
    return isinstance(text, str) and _URL.match(text) is not None


class RemoteSource(ByteSource):
    """A file of any store that fsspec knows. Nothing is read but what is asked for.

    Args:
        url: its address.

    Raises:
        VidtwinError: fsspec or the store's package is not installed, or the file is not there or does not say how
            large it is.
    """

    def __init__(self, url: str) -> None:
        self.name = url
        try:
            from fsspec.core import url_to_fs

            self._store, self._path = url_to_fs(url)
        except ImportError as error:
            raise VidtwinError(f"{url}: cannot be read from there ({error})", _INSTALL) from error
        except ValueError as error:
            raise VidtwinError(f"{url}: is not the address of a file ({error})") from error
        size = self._asked("size", self._path)
        if not isinstance(size, int):
            raise VidtwinError(f"{url}: its server does not say how large it is", "download it first")
        self.size = size

    def _read(self, offset: int, size: int) -> bytes:
        data: bytes = self._asked("cat_file", self._path, start=offset, end=offset + size)
        if len(data) > size:
            raise VidtwinError(f"{self.name}: its server does not give parts of files", "download it first")
        if len(data) < size:
            raise VidtwinError(f"{self.name}: only {len(data)} of {size} bytes came; it was cut off or has changed")
        return data

    def _asked(self, method: str, *arguments: Any, **named: Any) -> Any:
        try:
            return getattr(self._store, method)(*arguments, **named)
        except FileNotFoundError as error:
            if error.__cause__ is None or isinstance(error.__cause__, FileNotFoundError):
                raise VidtwinError(f"{self.name}: no such file") from error
            raise VidtwinError(f"{self.name}: cannot be reached ({error.__cause__})") from error
        except Exception as error:  # every store has errors of its own
            said = str(error) or type(error).__name__
            raise VidtwinError(f"{self.name}: cannot be read ({said})") from error

    def close(self) -> None:
        """Nothing is held open."""


def open_source(file: Any) -> ByteSource:
    """Whatever a .vtw may be read from: a path, a stream or a URL."""
    return RemoteSource(file) if is_url(file) else ByteSource(file)
