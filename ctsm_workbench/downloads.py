"""Public data from its public addresses: verified before it gets its name, or not there at all.

`data/registry.toml` lists what can be fetched. Archives are checked and unpacked in a temporary
folder of the target folder, and whole files are renamed into place. One process at a time may fetch
into a folder.
"""

import gzip
import json
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

import pooch

from ctsm_lib.errors import DataError
from ctsm_lib.sources import SAMPLE
from ctsm_workbench.transfers import Transfer

REGISTRY = SAMPLE.parent / "registry.toml"  # beside the sample, in the wheel too
BAD_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class Member:
    """A wanted file of an archive; the registry describes the fields."""

    name: str
    to: str
    bytes: int | None = None
    rows: Sequence[int] = ()
    scale: Sequence[float] = ()


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
    optional: bool = False

    @property
    def archive(self) -> str:
        return self.urls[0].rpartition("/")[2]

    def is_in(self, target: Path) -> bool:
        return all(os.path.isfile(target / member.to) for member in self.members)


def load_registry(path: Path = REGISTRY) -> dict[str, Part]:
    """Parts by name. A file that is missing, or lacks a field of a part, raises a `DataError`."""
    try:
        registry = tomllib.loads(path.read_text(encoding="utf-8"))
        for fields in registry.values():
            fields["members"] = [Member(**entry) for entry in fields["members"]]
        return {name: Part(name, **fields) for name, fields in registry.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} cannot be used ({error}). Restore that file.") from error


def fetch(
    target: Path, parts: Sequence[str] | None = None, *, accept: Callable[[str], bool],
    registry: dict[str, Part] | None = None, progress: bool = True,
) -> dict[str, str]:  # fmt: skip
    """Download what is not yet there. If a part fails, the others are still tried.

    An archive that was put into the `target` folder by hand is used. `accept` is shown the terms
    of a part before the first download; False declines the part. The result is "fetched", "already
    there" or "declined" for each part. A `DataError` names an unknown part, or has a line for each
    part where at least one failed.
    """
    registry = load_registry() if registry is None else registry
    usual = [name for name, part in registry.items() if not part.optional]
    names = list(dict.fromkeys(usual if parts is None else parts))
    if unknown := ", ".join(name for name in names if name not in registry):
        raise DataError(f"There is no part {unknown} to fetch. Choose from {', '.join(registry)}.")
    # All questions come first: nobody wants to be asked after ten minutes of downloading.
    asked = [name for name in names if registry[name].terms and not registry[name].is_in(target)]
    declined = [name for name in asked if not accept(registry[name].terms.strip())]
    outcome = dict.fromkeys(names, "declined")
    failed = False
    for name in (name for name in names if name not in declined):
        try:
            outcome[name] = _fetch(registry[name], target, progress)
        except (DataError, OSError) as error:
            unstored = f"{registry[name].title} cannot be stored in {target} ({error})"
            known = isinstance(error, DataError)
            outcome[name] = str(error) if known else f"{unstored}. Choose another folder."
            failed = True
    if failed:
        raise DataError("\n".join(f"{name}: {result}" for name, result in outcome.items()))
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
        elif part.sha256 not in (None, pooch.file_hash(archive)):
            reason = f"its sha256 is not {part.sha256}"
            raise DataError(f"{archive} is damaged or another file: {reason}. Delete it.")
        files = _unpack(part, archive, target, Path(folder))
        _verify(part, files, target)
        for member, path in zip(part.members, files, strict=True):
            (target / member.to).parent.mkdir(parents=True, exist_ok=True)
            path.replace(target / member.to)
    return "fetched"


def _download(part: Part, target: Path, work: Path, progress: bool) -> Path:
    """Get the archive into `work` from the first address that delivers it, verified by pooch."""
    pooch.get_logger().setLevel("WARNING")  # it has its own handler, for the terminal
    transfer = Transfer(target / part.archive, part.title, progress)
    begun = {url: transfer.begun(url)[0] for url in part.urls}
    _require_space(part, target, part.size + part.unpacked - max(begun.values()))
    retrieve = partial(pooch.retrieve, known_hash=part.sha256, fname=part.archive, path=work)
    reasons = []
    for url in sorted(part.urls, key=lambda url: -begun[url]):
        try:
            return Path(retrieve(url, downloader=transfer))
        except DataError as failure:
            reasons.append(str(failure))
        except ValueError:  # this is how pooch reports a wrong checksum
            reasons.append(f"what {url} delivered does not have the sha256 {part.sha256}")
        if transfer.begun(url)[0] > begun[url]:  # another address would start from nothing
            reasons[-1] += " (kept: the next fetch continues from there)"
            break
    by_hand = f"download {part.urls[0]} by hand into {target} and run the same command again"
    found = f"{part.title} could not be fetched: {'; '.join(reasons)}"
    raise DataError(f"{found}. Try again later, or {by_hand}.")


def _require_space(part: Part, target: Path, needed: int) -> None:
    if needed > (free := shutil.disk_usage(target).free):
        sizes = f"{needed / 1e6:,.1f} MB in {target}, and only {free / 1e6:,.1f} MB are free there"
        raise DataError(f"{part.title} needs {sizes}. Free some space, or choose another folder.")


def _unpack(part: Part, archive: Path, target: Path, work: Path) -> list[Path]:
    """Extract the wanted members into `work`; refuse an archive with a dangerous member."""
    origin = archive if archive.parent == target else f"the archive from {part.urls[0]}"
    source = f"{part.title}: {origin}"
    found = {}
    files = [work / f"member-{number}" for number in range(len(part.members))]
    try:
        with (zipfile.ZipFile if archive.suffix == ".zip" else tarfile.open)(archive) as opened:
            for name, is_file, size, reader in _entries(opened):
                path = PureWindowsPath(name)  # splits at both kinds of slashes and knows drives
                if path.anchor or ".." in path.parts or not is_file:
                    danger = "a link, a device or a path out of the archive; do not use it"
                    raise DataError(f"{source} contains {name!r}, {danger}.")
                if "__MACOSX" not in path.parts:  # macOS adds shadows of all files
                    found[f"/{PurePosixPath(name)}"] = (size, reader)
            for member, copy in zip(part.members, files, strict=True):
                hits = [path for path in found if path.endswith(f"/{member.name}")]
                if not hits:
                    raise DataError(f"{source} contains no {member.name}; is it another edition?")
                size, reader = found[min(hits, key=lambda path: path.count("/"))]
                _require_space(part, target, size)
                with reader() as content, copy.open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (*BAD_ARCHIVE, RuntimeError) as error:  # RuntimeError: a member is encrypted
        raise DataError(f"{source} is damaged ({error}); fetch it again.") from error
    return files


def _entries(opened: Any) -> Iterator[tuple[str, bool, int, Callable]]:
    """Name, whether it is a plain file, size and opener of all entries but folders."""
    if isinstance(opened, tarfile.TarFile):
        for entry in opened:
            if not entry.isdir():
                yield entry.name, entry.isfile(), entry.size, partial(opened.extractfile, entry)
        return
    for info in opened.infolist():
        if not info.is_dir():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 in archives that Unix did not make
            plain = kind in (0, stat.S_IFREG)
            yield info.filename, plain, info.file_size, partial(opened.open, info)


def _verify(part: Part, files: Sequence[Path], target: Path) -> None:
    """Check files against the registry; pin those that no published checksum covers."""
    pins_file = target / "pins.json"
    try:
        known = dict(json.loads(pins_file.read_text("utf-8"))) if pins_file.is_file() else {}
    except (ValueError, TypeError):
        raise DataError(f"{pins_file} is damaged. Delete it and fetch again to pin anew.") from None
    pins = dict(known)
    for member, path in zip(part.members, files, strict=True):
        again = f"Delete {target / member.to} if it is there, and fetch again."
        size = path.stat().st_size
        if member.bytes not in (None, size):
            raise DataError(f"{member.to} has {size} bytes instead of {member.bytes}. {again}")
        if member.rows or member.scale:
            _verify_ratings(path, member, again)
        if part.sha256 is None:
            actual = pooch.file_hash(path)
            pinned = pins.setdefault(member.to, actual)
            if pinned != actual:
                found = f"has the sha256 {actual}, but {pinned} was pinned at first use"
                new = f"If a new edition is wanted, delete {pins_file} too."
                raise DataError(f"{member.to} {found}. {again} {new}")
    if pins != known:
        pins_file.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")


def _verify_ratings(path: Path, member: Member, again: str) -> None:
    """Check that a lexicon has a known number of words, each with three ratings on its scale."""
    low, high = member.scale or (0.0, 1.0)
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().split("\n")
        header = lines[0].rstrip().lower().endswith("dominance")  # some editions have one
        lines = lines[header:]
        for line in lines:
            values = [float(value) for value in line.split("\t")[1:]]
            if len(values) != 3 or not all(low <= value <= high for value in values):
                raise ValueError(f"one line is {line[:60]!r}")
    except ValueError as error:  # also for text that is not a number, or not UTF-8
        expected = f"is not a list of words rated from {low} to {high}"
        raise DataError(f"{member.to} {expected}: {error}. {again}") from None
    if member.rows and len(lines) not in member.rows:
        found = f"has {len(lines)} rated words; the known numbers are {member.rows}"
        raise DataError(f"{member.to} {found}. {again}")
