"""Public data from its public addresses: verified before it gets its name, or not there at all.

What to fetch stands in `data/registry.toml`. A transfer grows in `<target>/.partial` and survives an interruption only
where the server can continue it; archives are checked and unpacked in a temporary folder of the target, and single,
whole files are renamed into place. One fetch at a time for a folder.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import logging
import lzma
import math
import os
import shutil
import tarfile
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath, PureWindowsPath
from stat import S_IFMT, S_IFREG
from typing import TYPE_CHECKING

from ctsm_lib.errors import DataError

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0  # without a byte, not for the whole transfer
CHUNK_BYTES = 1 << 16
TO_FETCH = "to fetch"
BAD_ARCHIVE = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    RuntimeError, NotImplementedError,  # zipfile's words for a password and for an unknown compression
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A wanted file of an archive; the fields are described in the registry."""

    name: str
    to: str
    bytes: int | None = None
    rows: tuple[int, ...] = ()
    bounds: tuple[float, float] = (-math.inf, math.inf)


@dataclass(frozen=True)
class Part:
    """One thing to download; the fields are described in the registry."""

    name: str
    title: str
    urls: tuple[str, ...]
    size: int
    unpacked: int
    members: tuple[Member, ...]
    sha256: str | None = None
    licence: str = ""
    terms: str = ""

    @property
    def archive(self) -> str:
        return self.urls[0].rpartition("/")[2]


def load_registry(path: Path | None = None) -> dict[str, Part]:
    """Read the registry.

    Args:
        path: a registry of one's own; None for the project's, which also travels in the wheel.

    Raises:
        DataError: the file is missing, is no TOML, or a part lacks a field or has one too many.
    """
    if path is None:
        here = Path(__file__).resolve().parent
        places = [here.parent / "data" / "registry.toml", here / "_data" / "registry.toml"]
        path = next((place for place in places if place.is_file()), places[-1])
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        registry = {}
        for name, fields in document.items():
            members = (
                Member(**{key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()})
                for entry in fields.pop("members")
            )
            registry[name] = Part(name, urls=tuple(fields.pop("urls")), members=tuple(members), **fields)
    except OSError as error:
        raise DataError(f"The registry of downloads {path} cannot be read: {error.strerror}. Install again.") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"The registry of downloads {path} is damaged: {error}. Restore the file.") from error
    return registry


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
    names = list(dict.fromkeys(registry if parts is None else parts))
    if unknown := [name for name in names if name not in registry]:
        raise DataError(f"There is no part {', '.join(unknown)} to fetch. Choose from {', '.join(registry)}.")
    target = Path(target)
    outcome: dict[str, str] = {}
    failures: dict[str, str] = {}

    def attempt(part: Part, step: Callable[[], str]) -> None:
        try:
            outcome[part.name] = step()
        except DataError as error:
            failures[part.name] = str(error)
        except OSError as error:
            what = f"{error.filename or target}: {error.strerror or error}"
            failures[part.name] = f"{part.title} cannot be stored in {target} ({what}). Free the folder or choose another."

    # All questions come first: nobody wants to be asked after ten minutes of downloading.
    for name in names:
        attempt(registry[name], partial(_plan, registry[name], target, accept))
    for name in [name for name in names if outcome.get(name) == TO_FETCH]:
        attempt(registry[name], partial(_fetch, registry[name], target, progress))
    if failures:
        lines = [f"{name}: {failures.get(name) or outcome[name]}" for name in names]
        count = [f"{len(failures)} of {len(names)} parts could not be fetched."] if len(names) > 1 else []
        raise DataError("\n".join(count + lines))
    return outcome


def _plan(part: Part, target: Path, accept: Callable[[str], bool]) -> str:
    """Look at what is there, and ask what has to be asked."""
    files = {member.to: target / member.to for member in part.members}
    if all(path.is_file() for path in files.values()):
        _verify(part, files, target)
        _pin(part, files, target)
        return "already there"
    return TO_FETCH if not part.terms or accept(part.terms.strip()) else "declined"


def _fetch(part: Part, target: Path, progress: bool) -> str:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target) as folder:
        work = Path(folder)
        archive = target / part.archive
        if not archive.is_file():
            archive = _download(part, target, work, progress)
        elif part.sha256 not in (None, _sha256(archive)):
            raise DataError(f"{archive} is damaged or another file: its sha256 is not {part.sha256}. Delete it.")
        files = _unpack(part, archive, work)
        _verify(part, files, target)
        for to, path in files.items():
            (target / to).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target / to)
    _pin(part, {to: target / to for to in files}, target)
    log.info("%s is in %s (%s)", part.title, target, part.licence)
    return "fetched"


# --- transfer ---------------------------------------------------------------------------------------------------------


class _Failure(Exception):
    """An address that did not deliver; `kept` where the transfer can be continued there."""

    def __init__(self, reason: str, kept: bool = False) -> None:
        super().__init__(reason)
        self.kept = kept


class _Partial:
    """The begun transfer of an archive: its bytes, and a note of which version of which address they are."""

    def __init__(self, target: Path, archive: str) -> None:
        self.file = target / ".partial" / f"{archive}.part"
        self.note = target / ".partial" / f"{archive}.json"

    def read(self, url: str) -> tuple[int, dict]:
        """Bytes at hand and the note; (0, {}) where nothing can be continued from this address."""
        try:
            note, size = json.loads(self.note.read_text(encoding="utf-8")), self.file.stat().st_size
            return (size, note) if note["url"] == url and 0 < size < note["length"] else (0, {})
        except (OSError, ValueError, KeyError, TypeError):
            return 0, {}

    def begin(self, note: dict) -> None:
        """Start anew; without a version in the note, the transfer can never be continued."""
        self.file.parent.mkdir(exist_ok=True)
        self.drop()
        if note["version"]:
            self.note.write_text(json.dumps(note), encoding="utf-8")

    def drop(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _download(part: Part, target: Path, work: Path, progress: bool) -> Path:
    """Get the archive into `work` from the first address that delivers it; pooch verifies and places it."""
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)  # it has a handler of its own, which writes to the terminal
    begun = _Partial(target, part.archive)

    def transfer(url: str, output: str, _pooch: object) -> None:
        response, start, note = _open(url, begun)
        with response:
            _receive(response, start, note, begun, part, target, progress)
        os.replace(begun.file, output)
        begun.drop()

    _require_space(part, target, part.size + part.unpacked - max(begun.read(url)[0] for url in part.urls))
    reasons = []
    for url in sorted(part.urls, key=lambda url: not begun.read(url)[0]):
        try:
            return Path(pooch.retrieve(url, part.sha256, fname=part.archive, path=work, downloader=transfer))
        except _Failure as failure:
            reasons.append(str(failure))
            if failure.kept:  # another address would start from nothing
                break
        except ValueError:  # pooch's word for a wrong checksum
            reasons.append(f"what {url} delivered does not have the sha256 {part.sha256}")
        finally:
            with contextlib.suppress(OSError):
                begun.file.parent.rmdir()  # unless something is kept there
    raise DataError(f"{part.title} could not be fetched: {'; '.join(reasons)}. {_way_out(part, target)}")


def _open(url: str, begun: _Partial) -> tuple[requests.Response, int, dict]:
    """Ask for the rest of what was begun, else for the whole.

    Returns:
        the response; the byte at which its body starts; the note of the transfer.
    """
    import requests

    start, note = begun.read(url)
    headers = {"User-Agent": "Mozilla/5.0 (compatible; ctsm-lab)", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": note["version"]}
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise _Failure(f"{url} {_network_reason(error)}") from error
    # What If-Range understands: a strong ETag, else the date of the last change.
    etag = response.headers.get("ETag", "W/")
    version = response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag
    if start and response.status_code in (206, 416):
        span = f"bytes {start}-{note['length'] - 1}/{note['length']}"
        if response.headers.get("Content-Range") == span and version in ("", note["version"]):
            return response, start, note
        response.close()
        begun.drop()  # the file has changed and the server did not heed If-Range: once more, from the start
        return _open(url, begun)
    if response.status_code != 200:
        response.close()
        raise _Failure(f"{url} answered with HTTP {response.status_code} {response.reason}")
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    continuable = total and response.headers.get("Accept-Ranges") == "bytes"
    return response, 0, {"url": url, "version": version if continuable else "", "length": total}


def _receive(
    response: requests.Response, start: int, note: dict, begun: _Partial, part: Part, target: Path, progress: bool
) -> None:
    """Append the body to the begun transfer, or start a new one with it."""
    from tqdm import tqdm

    body = _chunks(response, start, note)
    first = next(body, b"")
    if not start and first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise _Failure(f"{note['url']} answered with a web page (HTML, an error or log-in page?) instead of an archive")
    _require_space(part, target, (note["length"] or part.size) - start + part.unpacked)
    if not start:
        begun.begin(note)
    hidden = None if progress else True  # None: where standard error is no terminal
    bar = tqdm(desc=part.title, total=note["length"], initial=start, unit="B", unit_scale=True, disable=hidden)
    try:
        with bar, begun.file.open("ab") as file:
            for chunk in chain([first], body):
                file.write(chunk)
                bar.update(len(chunk))
    except BaseException as error:
        # What the user or the network ended is kept where the server can go on with it; what failed here is not.
        if not (note["version"] and isinstance(error, (_Failure, KeyboardInterrupt))):
            begun.drop()
        elif isinstance(error, _Failure):
            raise _Failure(f"{error} (kept: the next fetch goes on from there)", kept=True) from error
        raise


def _chunks(response: requests.Response, start: int, note: dict) -> Iterator[bytes]:
    """The body as it comes, to its announced end.

    Raises:
        _Failure: it ends earlier.
    """
    from urllib3.exceptions import HTTPError, TimeoutError

    done, total = start, note["length"]
    trouble = "broke off"
    try:
        # Undecoded: some servers call a .gz file "Content-Encoding: gzip", and it would arrive unpacked.
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            done += len(chunk)
            yield chunk
        if total in (None, done):
            return
    except TimeoutError:
        trouble = f"sent nothing for {TIMEOUT_SECONDS:g} seconds"
    except HTTPError:
        pass
    raise _Failure(f"{note['url']} {trouble} after {done:,} of {total or 'an unknown number of'} bytes")


def _network_reason(error: requests.RequestException) -> str:
    import requests
    from urllib3.exceptions import NameResolutionError

    if isinstance(error, requests.Timeout):
        return f"did not answer within {TIMEOUT_SECONDS:g} seconds"
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    if isinstance(cause, NameResolutionError):
        return "could not be found under that name (is there a network?)"
    system = getattr(cause, "__cause__", None)
    return f"could not be reached ({getattr(system, 'strerror', None) or type(error).__name__})"


def _require_space(part: Part, target: Path, needed: int) -> None:
    free = shutil.disk_usage(target).free
    if needed > free:
        raise DataError(
            f"{part.title} needs {needed / 1e6:,.1f} MB in {target}, and only {free / 1e6:,.1f} MB are free there. "
            "Free some space, or choose another folder."
        )


def _way_out(part: Part, target: Path) -> str:
    return f"Try again later, or download {part.urls[0]} by hand into {target} and run the same command again."


# --- archives and files -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _entries(archive: Path) -> Iterator[list[tuple[str, int | None, Callable]]]:
    """Every entry of an archive: name, size (None for a folder, -1 for a link or a device), how to open it."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            kinds = {info: S_IFMT(info.external_attr >> 16) for info in zipped.infolist()}
            yield [
                (
                    info.filename,
                    None if info.is_dir() else info.file_size if kind in (0, S_IFREG) else -1,
                    partial(zipped.open, info),
                )
                for info, kind in kinds.items()
            ]
    else:
        with tarfile.open(archive) as tarred:
            yield [
                (
                    info.name,
                    None if info.isdir() else info.size if info.isfile() else -1,
                    partial(tarred.extractfile, info),
                )
                for info in tarred
            ]


def _unpack(part: Part, archive: Path, work: Path) -> dict[str, Path]:
    """Extract the wanted members into `work`.

    Returns:
        place in the data folder -> extracted file.

    Raises:
        DataError: the archive is damaged, lacks a member, or has a member that points out of it.
    """
    files = {}
    try:
        with _entries(archive) as entries:
            for name, size, _ in entries:
                path = PureWindowsPath(name)  # splits at both kinds of slashes and knows drives
                if size == -1 or path.anchor or ".." in path.parts:
                    what = "a link or device" if size == -1 else "a path that leads out of the folder"
                    raise DataError(f"The archive of {part.title} holds {what}, {name!r}. It was not unpacked.")
            wanted = {member: _find(member.name, entries) for member in part.members}
            if lacking := [member.name for member, entry in wanted.items() if entry is None]:
                raise DataError(
                    f"The archive of {part.title} lacks {', '.join(lacking)}; it begins with "
                    f"{', '.join(name for name, *_ in entries[:4]) or 'nothing'}. {_way_out(part, work.parent)}"
                )
            _require_space(part, work, sum(size for _, size, _ in wanted.values()))
            for i, (member, (_, _, open_member)) in enumerate(wanted.items()):
                files[member.to] = work / f"{i}"
                with open_member() as source, files[member.to].open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except BAD_ARCHIVE as error:
        raise DataError(f"The archive of {part.title} is damaged ({error}). {_way_out(part, work.parent)}") from error
    return files


def _find(name: str, entries: list) -> tuple | None:
    """The entry whose path ends with `name` and is the shortest; macOS adds shadows of all files, which do not count."""
    end = PurePosixPath(name).parts
    paths = {entry: PurePosixPath(entry[0]).parts for entry in entries if entry[1] is not None}
    hits = [entry for entry, path in paths.items() if path[-len(end) :] == end and "__MACOSX" not in path]
    return min(hits, key=lambda entry: len(paths[entry]), default=None)


def _verify(part: Part, files: dict[str, Path], target: Path) -> None:
    """Check files, by place, against what the registry and the pins say of them."""
    pins = _read_pins(target)
    for member in part.members:
        path = files[member.to]
        again = f"Delete {target / member.to} if it is there, and fetch again."
        if member.bytes not in (None, path.stat().st_size):
            size = path.stat().st_size
            raise DataError(f"{member.to} has {size:,} bytes instead of {member.bytes:,}. {again}")
        if member.rows:
            _verify_ratings(path, member, again)
        if not part.sha256 and pins.get(member.to, actual := _sha256(path)) != actual:
            raise DataError(
                f"{member.to} has the sha256 {actual}, but {pins[member.to]} was pinned at first use. {again} "
                f"If a new edition is wanted, delete {target / 'pins.json'} too."
            )


def _verify_ratings(path: Path, member: Member, again: str) -> None:
    rows, (low, high) = 0, member.bounds
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            fields = line.rstrip().split("\t")
            if number == 1 and fields[-1].lower() == "dominance":
                continue
            if len(fields) < 2 or not all(low <= float(field) <= high for field in fields[1:]):
                raise ValueError(f"line {number} is {line[:60]!r}")
            rows += 1
    except ValueError as error:  # also what is no number, and what is no UTF-8
        raise DataError(f"{member.to} is not a list of words and ratings in [{low}, {high}]: {error}. {again}") from None
    if rows not in member.rows:
        expected = " or ".join(f"{count:,}" for count in member.rows)
        raise DataError(f"{member.to} has {rows:,} rated words instead of {expected}. {again}")


def _pin(part: Part, files: dict[str, Path], target: Path) -> None:
    """Write down the hashes of verified files that no published checksum covers."""
    pins = _read_pins(target)
    if part.sha256 or all(to in pins for to in files):
        return
    pins |= {to: _sha256(path) for to, path in files.items()}
    side = target / ".pins.json"
    side.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")
    os.replace(side, target / "pins.json")


def _read_pins(target: Path) -> dict[str, str]:
    path = target / "pins.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and fetch again: the pins are made anew.") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
