"""Transfers over HTTP that can continue where they broke off, as downloaders for pooch."""

import json
import os
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError, TimeoutError

from ctsm_lib.errors import DataError
from ctsm_lib.files import remove

TIMEOUT_SECONDS = 30.0  # without a byte, not for the whole transfer
HEADERS = {"User-Agent": "Mozilla/5.0 (compatible; ctsm-lab)", "Accept-Encoding": "identity"}


class Transfer:
    """A file that grows in a hidden one; a note beside it says which version of which URL it is.

    Both survive an interruption only if the server can continue.
    """

    def __init__(self, path: Path, title: str, progress: bool) -> None:
        self.shown = {"desc": title, "disable": None if progress else True}
        self.file = path.with_name(f".{path.name}.part")
        self.note = path.with_name(f".{path.name}.json")

    def begun(self, url: str) -> tuple[int, dict]:
        """Number of bytes to continue from, and the note; (0, {}) where there is nothing."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            size = self.file.stat().st_size
            return (size, note) if note["url"] == url and 0 < size < note["length"] else (0, {})
        except (OSError, ValueError, KeyError, TypeError):
            return 0, {}

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        """Write what the URL delivers to `output`; a transfer that fails raises a `DataError`."""
        response, start, note = self._open(url)
        total = note["length"]
        trouble = "broke off"
        bar: Any = partial(tqdm.wrapattr, method="write", initial=start, total=total, **self.shown)
        try:
            if not start:
                remove(self.file, self.note)
            if note["version"]:
                self.note.write_text(json.dumps(note), encoding="utf-8")
            with response, self.file.open("ab") as file, bar(file) as written:
                # `raw` is undecoded: a .gz file may come with "Content-Encoding: gzip".
                shutil.copyfileobj(response.raw, written, 1 << 16)
            if total in (None, self.file.stat().st_size):
                return os.replace(self.file, output)
        except HTTPError as error:
            if isinstance(error, TimeoutError):
                trouble = f"sent nothing for {TIMEOUT_SECONDS:g} seconds"
        except Exception:
            # What the network or Ctrl-C ended may be kept; after a full disk, say, it may not.
            remove(self.file, self.note)
            raise
        finally:
            done = self.file.stat().st_size if self.file.is_file() else 0
            if not (note["version"] and done):
                remove(self.file, self.note)
        raise DataError(f"{url} {trouble} after {done} of {total or 'an unknown number of'} bytes")

    def _open(self, url: str) -> tuple[Any, int, dict]:
        """The response, its first byte, and a note, with a version if it can be continued."""
        start, note = self.begun(url)
        headers = HEADERS
        if start:
            headers = HEADERS | {"Range": f"bytes={start}-", "If-Range": note["version"]}
        try:
            response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            found = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
            reason = found[1] if found else type(error).__name__
            if isinstance(error, requests.Timeout):
                reason = f"no answer within {TIMEOUT_SECONDS:g} seconds"
            raise DataError(f"{url} could not be reached ({reason}; is there a network?)") from None
        status = response.status_code
        answer = response.headers
        # If-Range understands a strong ETag, or else the date of the last change.
        etag = answer.get("ETag", "W/")
        version = answer.get("Last-Modified", "") if etag.startswith("W/") else etag
        if start and status in (206, 416):
            span = f"bytes {start}-{note['length'] - 1}/{note['length']}"
            if answer.get("Content-Range") == span and version in ("", note["version"]):
                return response, start, note
            # The file has changed and the server ignored If-Range: once more, from the start.
            response.close()
            remove(self.file, self.note)
            return self._open(url)
        if status != 200 or "text/html" in answer.get("Content-Type", ""):
            response.close()
            reason = response.reason if status != 200 else "a web page instead of an archive"
            raise DataError(f"{url} answered HTTP {status}: {reason}")
        length = answer.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        version = version if total and answer.get("Accept-Ranges") == "bytes" else ""
        return response, 0, {"url": url, "version": version, "length": total}
