"""Public data from its public addresses: verified before it gets its name, or not there at all.

What to fetch stands in `data/registry.toml`. A transfer grows in a hidden file of the target folder and survives an
interruption only where the server can go on with it; archives are checked and unpacked in a temporary folder there, and
whole files are renamed into place. One fetch at a time for a folder.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import shutil
import stat
import tarfile
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ctsm_lib.errors import DataError

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0  # without a byte, not for the whole transfer
BAD_ARCHIVE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
)


@dataclass(frozen=True)
class Member:
    """A wanted file of an archive; the registry describes the fields."""

    name: str
    to: str
    bytes: int | None = None
    rows: Sequence[int] = ()
    bounds: Sequence[float] = (0.0, 1.0)


@dataclass(frozen=True)
class Part:
    """One thing to download; the registry describes the fields."""

    name: str
    title: str
    urls: Sequence[str]
    size: int
    unpacked: int
    members: Sequence[Member]
    sha256: str | None = None
    licence: str = ""
    terms: str = ""

    @property
    def archive(self) -> str:
        return self.urls[0].rpartition("/")[2]

    def is_in(self, target: Path) -> bool:
        return all(os.path.isfile(target / member.to) for member in self.members)


def load_registry(path: Path | None = None) -> dict[str, Part]:
    """Read a registry of one's own, or the project's, which also travels in the wheel.

    Raises:
        DataError: the file is missing or no TOML, or a part lacks a field or has one too many.
    """
    if path is None:
        here = Path(__file__).resolve().parent
        path = here.parent / "data" / "registry.toml"
        path = path if path.is_file() else here / "_data" / "registry.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        members = {
            name: [Member(**entry) for entry in fields.pop("members")]
            for name, fields in document.items()
        }
        return {
            name: Part(name, members=members[name], **fields) for name, fields in document.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"The registry of downloads {path} cannot be used ({error}). Restore that file."
        ) from error


def fetch(
    target: Path,
    parts: Sequence[str] | None = None,
    *,
    accept: Callable[[str], bool],
    registry: dict[str, Part] | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Download what is not yet there. Every part is tried, whatever happens to the others.

    Args:
        target: the data folder; made when missing. An archive that somebody has put there is used instead of the net.
        parts: names from the registry; None for all.
        accept: shown the terms of a part that has some, before anything is downloaded; False leaves that part out.
        registry: in place of the project's.
        progress: draw progress bars where standard error is a terminal.

    Returns:
        part -> "fetched", "already there" or "declined".

    Raises:
        DataError: an unknown part, or at least one failed; the message has a line for each.
    """
    registry = load_registry() if registry is None else registry
    names = dict.fromkeys(registry if parts is None else parts)
    if unknown := [name for name in names if name not in registry]:
        raise DataError(
            f"There is no part {', '.join(unknown)} to fetch. Choose from {', '.join(registry)}."
        )
    chosen = [registry[name] for name in names]
    outcome: dict[str, str] = {}
    failures: dict[str, str] = {}
    # All questions come first: nobody wants to be asked after ten minutes of downloading.
    declined = [
        part
        for part in chosen
        if part.terms and not part.is_in(target) and not accept(part.terms.strip())
    ]
    for part in chosen:
        try:
            outcome[part.name] = "declined" if part in declined else _fetch(part, target, progress)
        except DataError as error:
            failures[part.name] = str(error)
        except OSError as error:
            failures[part.name] = (
                f"{part.title} cannot be stored in {target} ({error}). Choose another folder."
            )
    if failures:
        raise DataError("\n".join(f"{name}: {(outcome | failures)[name]}" for name in names))
    return outcome


def _fetch(part: Part, target: Path, progress: bool) -> str:
    if part.is_in(target):
        _verify(part, [target / member.to for member in part.members], target)
        return "already there"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as folder:
        archive = target / part.archive
        if not archive.is_file():
            archive = _download(part, target, Path(folder), progress)
        elif part.sha256 not in (None, _sha256(archive)):
            raise DataError(
                f"{archive} is damaged or another file: its sha256 is not {part.sha256}. Delete it."
            )
        files = _unpack(part, archive, target, Path(folder))
        _verify(part, files, target)
        for member, path in zip(part.members, files, strict=True):
            (target / member.to).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target / member.to)
    log.info("%s is in %s (%s)", part.title, target, part.licence)
    return "fetched"


def _download(part: Part, target: Path, work: Path, progress: bool) -> Path:
    """Get the archive into `work` from the first address that delivers it; pooch verifies and places it."""
    import pooch

    pooch.get_logger().setLevel(
        logging.WARNING
    )  # it has a handler of its own, which writes to the terminal
    transfer = _Transfer(part, target, progress)
    at_hand = {url: transfer.begun(url)[0] for url in part.urls}
    _require_space(part, target, part.size + part.unpacked - max(at_hand.values()))
    reasons = []
    for url in sorted(part.urls, key=lambda url: -at_hand[url]):
        try:
            return Path(
                pooch.retrieve(url, part.sha256, fname=part.archive, path=work, downloader=transfer)
            )
        except DataError as failure:
            reasons.append(str(failure))
            if transfer.begun(url)[0] > at_hand[url]:  # another address would start from nothing
                reasons[-1] += " (kept: the next fetch goes on from there)"
                break
        except ValueError:  # pooch's word for a wrong checksum
            reasons.append(f"what {url} delivered does not have the sha256 {part.sha256}")
    way_out = f"Try again later, or download {part.urls[0]} by hand into {target} and run the same command again."
    raise DataError(f"{part.title} could not be fetched: {'; '.join(reasons)}. {way_out}")


class _Transfer:
    """A downloader for pooch. A note beside the begun file says which version of which address its bytes are."""

    def __init__(self, part: Part, target: Path, progress: bool) -> None:
        self.title, self.progress = part.title, progress
        self.file = target / f".{part.archive}.part"
        self.note = target / f".{part.archive}.json"

    def begun(self, url: str) -> tuple[int, dict]:
        """Bytes at hand and the note; (0, {}) where nothing can be continued from this address."""
        try:
            note, size = json.loads(self.note.read_text(encoding="utf-8")), self.file.stat().st_size
            return (size, note) if note["url"] == url and 0 < size < note["length"] else (0, {})
        except (OSError, ValueError, KeyError, TypeError):
            return 0, {}

    def drop(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        from tqdm import tqdm
        from urllib3.exceptions import HTTPError, TimeoutError

        response, start, note = self.open(url)
        done, total, trouble = start, note["length"], "broke off"
        with response:
            hidden = None if self.progress else True  # None: where standard error is no terminal
            bar = tqdm(
                desc=self.title,
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=hidden,
            )
            try:
                if not start:
                    self.drop()
                if note["version"]:
                    self.note.write_text(json.dumps(note), encoding="utf-8")
                with bar, self.file.open("ab") as file:
                    # Undecoded: a .gz file that is served with "Content-Encoding: gzip" would arrive unpacked.
                    for chunk in response.raw.stream(1 << 16, decode_content=False):
                        done += file.write(chunk)
                        bar.update(len(chunk))
                if total in (None, done):
                    os.replace(self.file, output)
                    return self.drop()
            except TimeoutError:
                trouble = f"sent nothing for {TIMEOUT_SECONDS:g} seconds"
            except HTTPError:
                pass
            except (
                Exception
            ):  # what the network or the user (Ctrl-C) ended may be kept; a full disk, say, may not
                self.drop()
                raise
            finally:
                if not (note["version"] and done):
                    self.drop()
        raise DataError(f"{url} {trouble} after {done} of {total or 'an unknown number of'} bytes")

    def open(self, url: str) -> tuple[Any, int, dict]:
        """Ask for the rest, else for the whole: response, its first byte, note (with a version if resumable)."""
        import requests

        start, note = self.begun(url)
        headers = {
            "User-Agent": "Mozilla/5.0 (compatible; ctsm-lab)",
            "Accept-Encoding": "identity",
        }
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": note["version"]}
        try:
            response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            cause = getattr(error.args[0] if error.args else None, "reason", None)
            why = (
                getattr(getattr(cause, "__cause__", None), "strerror", None) or type(error).__name__
            )
            why = (
                f"no answer within {TIMEOUT_SECONDS:g} seconds"
                if isinstance(error, requests.Timeout)
                else why
            )
            raise DataError(f"{url} could not be reached ({why}; is there a network?)") from error
        # What If-Range understands: a strong ETag, else the date of the last change.
        etag = response.headers.get("ETag", "W/")
        version = response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag
        if start and response.status_code in (206, 416):
            span = f"bytes {start}-{note['length'] - 1}/{note['length']}"
            if response.headers.get("Content-Range") == span and version in ("", note["version"]):
                return response, start, note
            response.close()
            self.drop()  # the file has changed and the server did not heed If-Range: once more, from the start
            return self.open(url)
        if response.status_code != 200 or "text/html" in response.headers.get("Content-Type", ""):
            response.close()
            what = (
                "a web page instead of an archive"
                if response.status_code == 200
                else response.reason
            )
            raise DataError(f"{url} answered HTTP {response.status_code}: {what}")
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        resumable = total and response.headers.get("Accept-Ranges") == "bytes"
        return response, 0, {"url": url, "version": version if resumable else "", "length": total}


def _require_space(part: Part, target: Path, needed: int) -> None:
    if needed > (free := shutil.disk_usage(target).free):
        numbers = (
            f"{needed / 1e6:,.1f} MB in {target}, and only {free / 1e6:,.1f} MB are free there"
        )
        raise DataError(f"{part.title} needs {numbers}. Free some space, or choose another folder.")


def _unpack(part: Part, archive: Path, target: Path, work: Path) -> list[Path]:
    """Extract the wanted members into `work`, in the registry's order; refuse an archive with a dangerous member."""
    source = f"{part.title}: {archive if archive.parent == target else 'the archive from ' + part.urls[0]}"
    files = [work / f"member-{i}" for i in range(len(part.members))]
    try:
        with (
            zipfile.ZipFile(archive)
            if archive.suffix == ".zip"
            else tarfile.open(archive) as opened
        ):
            plain: dict[PurePosixPath, tuple[int, Callable]] = {}
            for name, is_file, size, reader in _entries(opened):
                path = PureWindowsPath(name)  # splits at both kinds of slashes and knows drives
                if path.anchor or ".." in path.parts or not is_file:
                    raise DataError(
                        f"{source} holds {name!r}, a link, a device or a path out of it; do not use it."
                    )
                if "__MACOSX" not in path.parts:  # macOS adds shadows of all files
                    plain[PurePosixPath(name)] = (size, reader)
            wanted = []
            for end in (PurePosixPath(member.name).parts for member in part.members):
                hits = [path for path in plain if path.parts[-len(end) :] == end]
                if not hits:
                    raise DataError(f"{source} holds no {'/'.join(end)}; is it another edition?")
                wanted.append(plain[min(hits, key=lambda path: len(path.parts))])
            _require_space(part, target, sum(size for size, _ in wanted))
            for destination, (_, reader) in zip(files, wanted, strict=True):
                with reader() as content, destination.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except BAD_ARCHIVE as error:
        raise DataError(f"{source} is no sound archive ({error}); fetch it again.") from error
    return files


def _entries(
    opened: zipfile.ZipFile | tarfile.TarFile,
) -> Iterator[tuple[str, bool, int, Callable]]:
    """All but folders: name, whether it is a plain file, size, how to open it."""
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            if not info.is_dir():  # the kind is 0 where the archive was not made on Unix
                is_file = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                yield info.filename, is_file, info.file_size, partial(opened.open, info)
    else:
        files = (entry for entry in opened if not entry.isdir())
        yield from (
            (entry.name, entry.isfile(), entry.size, partial(opened.extractfile, entry))
            for entry in files
        )


def _verify(part: Part, files: Sequence[Path], target: Path) -> None:
    """Check the files of a part against the registry; pin those that no published checksum covers."""
    pins_file = target / "pins.json"
    try:
        known = (
            dict(json.loads(pins_file.read_text(encoding="utf-8"))) if pins_file.is_file() else {}
        )
    except (ValueError, TypeError):
        raise DataError(f"{pins_file} is damaged. Delete it and fetch again to pin anew.") from None
    pins = dict(known)
    for member, path in zip(part.members, files, strict=True):
        again = f"Delete {target / member.to} if it is there, and fetch again."
        if member.bytes not in (None, size := path.stat().st_size):
            raise DataError(f"{member.to} has {size} bytes instead of {member.bytes}. {again}")
        if member.rows:
            _verify_ratings(path, member, again)
        if part.sha256 is None and pins.setdefault(member.to, actual := _sha256(path)) != actual:
            raise DataError(
                f"{member.to} has the sha256 {actual}, but {pins[member.to]} was pinned at first use. {again} "
                f"If a new edition is wanted, delete {pins_file} too."
            )
    if pins != known:
        pins_file.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")


def _verify_ratings(path: Path, member: Member, again: str) -> None:
    low, high = member.bounds
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
        lines = lines[
            lines[0].rstrip().endswith("Dominance") :
        ]  # without the header, where there is one
        for line in lines:
            values = [float(value) for value in line.split("\t")[1:]]
            if len(values) != 3 or not all(low <= value <= high for value in values):
                raise ValueError(f"one line is {line[:60]!r}")
    except ValueError as error:  # also what is no number, and what is no UTF-8
        raise DataError(
            f"{member.to} is no list of words rated from {low} to {high}: {error}. {again}"
        ) from None
    if len(lines) not in member.rows:
        raise DataError(
            f"{member.to} has {len(lines)} rated words, none of the known numbers {member.rows}. {again}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
