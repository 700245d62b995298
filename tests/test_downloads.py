"""Downloads from a local server that misbehaves in every way that public servers do.

Each failure must be one clear sentence and leave nothing behind but what can be continued.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import random
import re
import shutil
import socket
import sys
import tarfile
import threading
import tomllib
import zipfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from ctsm_lib.errors import DataError
from ctsm_lib.sources import SAMPLE
from ctsm_workbench import downloads, transfers
from ctsm_workbench.downloads import Member, Part, fetch, load_registry
from ctsm_workbench.retrieval.tables import read_atomic

BIG = random.Random(0).randbytes(400_000)  # several chunks, and nothing that compresses
WORDS = (
    "Word\tValence\tArousal\tDominance\n"
    "aaah\t0.479\t0.606\t0.291\nlove\t1.0\t0.519\t0.67\nice cream\t0.9\t0.5\t0\n"
)


def zipped(members: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def tarred(*members: tarfile.TarInfo, content: bytes = b"text") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info in members:
            info.size = len(content) if info.isfile() else 0
            archive.addfile(info, io.BytesIO(content) if info.isfile() else None)
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


class Server:
    """Answers every path with what `answers` holds for it, and remembers the requests."""

    def __init__(self) -> None:
        self.answers: dict = {}
        self.requests: list[tuple[str, dict]] = []
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                outer.answers[self.path](self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def close(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


def sends(body: bytes, status: int = 200, announced: int | None = None, **headers: str):
    """An answer; with `announced` above the body's length the connection breaks off."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ranged(body: bytes, etag: str, heeds: bool = True):
    """An answer that goes on from where it is asked to; `heeds` If-Range, as it should."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        if wanted and (not heeds or handler.headers.get("If-Range") == etag):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {start}-{len(body) - 1}/{len(body)}"
            sends(body[start:], 206, ETag=etag, Content_Range=span)(handler)
        else:
            sends(body, ETag=etag, Accept_Ranges="bytes")(handler)

    return answer


def stalls(server: Server, body: bytes = b"", **headers: str):
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if body:
            sends(body, announced=len(body) + 1, **headers)(handler)
            handler.wfile.flush()
        server.released.wait(10)

    return answer


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "raw"


def make_part(*urls: str, body: bytes | None = None, name: str = "vectors", **fields) -> Part:
    defaults = {
        "title": "Test vectors",
        "size": 1000,
        "unpacked": 1000,
        "members": [Member("big.txt", "big.txt")],
        "sha256": hashlib.sha256(body).hexdigest() if body is not None else None,
    }
    return Part(name=name, urls=urls, **(defaults | fields))


def make_lexicon(url: str, **fields) -> Part:
    members = [Member("NRC-VAD-Lexicon.txt", "NRC-VAD-Lexicon.txt", rows=[3])]
    return make_part(url, name="lexicon", title="Test lexicon", members=members, **fields)


def get(target: Path, *parts: Part, accept=lambda terms: True, **options) -> dict[str, str]:
    return fetch(
        target,
        accept=accept,
        registry={part.name: part for part in parts},
        progress=False,
        **options,
    )


def left(target: Path) -> list[str]:
    """Everything in the folder, hidden or not, folders included."""
    return sorted(str(path.relative_to(target)) for path in target.rglob("*"))


def fails(target: Path, *parts: Part, leaving: list[str] | None = None, **options) -> str:
    """The message of a fetch that must fail, and leave these files, by default none."""
    with pytest.raises(DataError) as caught:
        get(target, *parts, **options)
    assert left(target) == (leaving or [])
    return str(caught.value)


# --- what works -----------------------------------------------------------------------------------


def test_fetches_once_and_only_the_wanted_members(server, target, capfd):
    vectors = zipped({"big.txt": BIG, "other.txt": "not wanted"})
    dialogues = tarred(
        *(entry(f"./ed/{split}.csv") for split in ("train", "valid")), entry("ed", tarfile.DIRTYPE)
    )
    lexicon = zipped(
        {
            "__MACOSX/NRC-VAD-Lexicon.txt": "shadow",
            "NRC/deep/NRC-VAD-Lexicon.txt": "another",
            "NRC/": "",
            "NRC/NRC-VAD-Lexicon.txt": WORDS,
        }
    )
    server.answers = {
        "/v.zip": sends(vectors),
        "/d.tar.gz": sends(dialogues),
        "/l.zip": sends(lexicon),
    }
    splits = ("train", "valid")
    dialogue_members = [Member(f"ed/{split}.csv", f"dialogues/{split}.csv") for split in splits]
    parts = [
        make_part(server.url("/v.zip"), body=vectors),
        make_part(
            server.url("/d.tar.gz"), body=dialogues, name="dialogues", members=dialogue_members
        ),
        make_lexicon(server.url("/l.zip")),
    ]
    assert get(target, *parts) == dict.fromkeys(["vectors", "dialogues", "lexicon"], "fetched")
    expected = [
        "NRC-VAD-Lexicon.txt",
        "big.txt",
        "dialogues",
        "dialogues/train.csv",
        "dialogues/valid.csv",
    ]
    assert left(target) == [*expected, "pins.json"]
    assert (target / "big.txt").read_bytes() == BIG
    assert (target / "dialogues/valid.csv").read_bytes() == b"text"
    assert (target / "NRC-VAD-Lexicon.txt").read_text() == WORDS
    assert json.loads((target / "pins.json").read_text()) == {
        "NRC-VAD-Lexicon.txt": hashlib.sha256(WORDS.encode()).hexdigest()
    }
    assert len(server.requests) == 3

    assert get(target, *parts) == dict.fromkeys(
        ["vectors", "dialogues", "lexicon"], "already there"
    )
    assert len(server.requests) == 3
    (target / "dialogues/valid.csv").unlink()
    assert get(target, *parts, parts=["dialogues"]) == {"dialogues": "fetched"}
    assert [path for path, _ in server.requests[3:]] == ["/d.tar.gz"]
    assert capfd.readouterr() == ("", "")


def test_progress_goes_to_a_terminal_only(server, target, capfd, monkeypatch):
    body = zipped({"big.txt": BIG})
    server.answers["/v.zip"] = sends(body)
    registry = {"vectors": make_part(server.url("/v.zip"), body=body)}
    assert fetch(target, accept=bool, registry=registry, progress=True) == {"vectors": "fetched"}
    assert capfd.readouterr() == ("", "")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    (target / "big.txt").unlink()
    assert fetch(target, accept=bool, registry=registry, progress=True) == {"vectors": "fetched"}
    assert "Test vectors: 100%" in sys.stderr.getvalue()


def test_archive_put_there_by_hand_is_used_and_stays(server, target):
    body = zipped({"big.txt": BIG})
    part = make_part(server.url("/v.zip"), body=body)
    target.mkdir()
    (target / "v.zip").write_bytes(body[:-1])
    message = fails(target, part, leaving=["v.zip"])
    assert f"{target / 'v.zip'} is damaged or another file: its sha256 is not " in message
    assert f"is not {part.sha256}. Delete it." in message
    (target / "v.zip").write_bytes(body)
    assert get(target, part) == {"vectors": "fetched"}
    assert left(target) == ["big.txt", "v.zip"]
    assert server.requests == []


def test_terms_are_shown_first_and_declining_skips_the_part(server, target):
    body = zipped({"big.txt": BIG})
    server.answers["/v.zip"] = sends(body)
    lexicon = make_lexicon(server.url("/l.zip"), terms="\nResearch only.\n")
    shown = []

    def decline(terms: str) -> bool:
        shown.append((terms, len(server.requests)))
        return False

    outcome = get(target, make_part(server.url("/v.zip"), body=body), lexicon, accept=decline)
    assert outcome == {"vectors": "fetched", "lexicon": "declined"}
    assert shown == [("Research only.", 0)]  # asked before the first download
    assert left(target) == ["big.txt"]
    assert [path for path, _ in server.requests] == ["/v.zip"]

    server.answers["/l.zip"] = sends(zipped({"NRC-VAD-Lexicon.txt": WORDS}))
    assert get(target, lexicon) == {"lexicon": "fetched"}
    assert get(target, lexicon, accept=decline) == {"lexicon": "already there"}
    assert len(shown) == 1  # what is there needs no question


def test_second_address_when_the_first_fails(server, target):
    body = zipped({"big.txt": BIG})
    server.answers = {"/v.zip": sends(b"gone", 404), "/mirror/v.zip": sends(body)}
    part = make_part(server.url("/v.zip"), server.url("/mirror/v.zip"), body=body)
    assert get(target, part) == {"vectors": "fetched"}
    assert left(target) == ["big.txt"]


def test_project_registry():
    registry = load_registry()
    usual = [name for name, part in registry.items() if not part.optional]
    assert usual == ["dialogues", "lexicon", "vectors", "atomic", "event2mind"]
    assert set(registry) - set(usual) == {"atomic-2020", "lexicon-2.1"}
    places = [member.to for part in registry.values() for member in part.members]
    assert places == [*(f"empatheticdialogues/{split}.csv" for split in ("train", "valid", "test")),
                      "NRC-VAD-Lexicon.txt", "glove.6B.300d.txt", "atomic/v4_atomic_all_agg.csv",
                      *(f"atomic/event2mind_{split}.csv" for split in ("train", "dev", "test")),
                      *(f"atomic/atomic2020_{split}.tsv" for split in ("train", "dev", "test")),
                      "NRC-VAD-Lexicon-v2.1.txt"]  # fmt: skip
    assert registry["vectors"].size == 862_182_613
    assert registry["vectors"].archive == "glove.6B.zip"
    assert [part.name for part in registry.values() if part.terms] == ["lexicon", "lexicon-2.1"]
    assert all("author's" in part.terms for part in registry.values() if part.terms)
    assert "Mohammad (2018)" in registry["lexicon"].terms
    assert "non-commercial" in registry["lexicon"].terms
    assert registry["lexicon"].sha256 is None
    assert 20_007 in registry["lexicon"].members[0].rows

    # A wheel has it beside the sample as well.
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert SAMPLE.parent / "registry.toml" == downloads.REGISTRY
    assert Path(included["data/registry.toml"]).parent == Path(included["data/sample"]).parent


@pytest.mark.parametrize(
    "text", ["[vectors", "[vectors]\ntitle = 'no members'", "vectors = 1", None]
)
def test_damaged_registry(tmp_path, text):
    path = tmp_path / "own.toml"
    if text:
        path.write_text(text)
    with pytest.raises(DataError, match=r"own\.toml cannot be used \(.+\)\. Restore that file\."):
        load_registry(path)


def test_unknown_part(target):
    with pytest.raises(
        DataError, match=r"no part glove to fetch\. Choose from dialogues, lexicon, vectors, atomic"
    ):
        fetch(target, ["glove"], accept=bool)


def test_an_optional_part_is_fetched_only_by_name(server, target):
    body = zipped({"folder/ratings.txt": "a\t-0.5\t0.1\t1\n"})
    server.answers["/ratings.zip"] = sends(body)
    member = Member("ratings.txt", "ratings.txt", scale=(-1, 1))
    part = make_part(server.url("/ratings.zip"), members=[member], name="other", optional=True)
    registry = {"other": part}
    assert fetch(target, accept=bool, registry=registry, progress=False) == {}
    assert not server.requests
    named = fetch(target, ["other"], accept=bool, registry=registry, progress=False)
    assert named == {"other": "fetched"}
    assert (target / "ratings.txt").read_text() == "a\t-0.5\t0.1\t1\n"


def test_ratings_off_their_scale_are_refused(server, target):
    server.answers["/ratings.zip"] = sends(zipped({"ratings.txt": "a\t-1.5\t0.1\t1\n"}))
    member = Member("ratings.txt", "ratings.txt", scale=(-1, 1))
    part = make_part(server.url("/ratings.zip"), members=[member])
    with pytest.raises(DataError, match="not a list of words rated from -1 to 1"):
        fetch(target, accept=bool, registry={"vectors": part}, progress=False)
    assert not (target / "ratings.txt").exists()


def test_commonsense_is_unpacked_in_the_form_that_retrieval_reads(server, target):
    """The archives of ATOMIC and Event2Mind, as published, become a folder that can be read."""
    atomic = 'event,xReact,prefix,split\nPersonX loses the wallet,"[""worried""]",x,trn\n'
    minds = 'Source,Event,Xintent,Xemotion\ns,PersonX sings,"[]","[""happy""]"\n'
    table = tarfile.TarInfo("./v4_atomic_all_agg.csv")
    server.answers["/atomic_data.tgz"] = sends(tarred(table, content=atomic.encode()))
    splits = {f"{split}.csv": minds for split in ("train", "dev", "test")}
    server.answers["/event2mind.zip"] = sends(zipped(splits))
    registry = load_registry()
    paths = {"atomic": "/atomic_data.tgz", "event2mind": "/event2mind.zip"}
    parts = {name: replace(registry[name], urls=[server.url(paths[name])]) for name in paths}
    outcome = fetch(target, accept=bool, registry=parts, progress=False)
    assert set(outcome.values()) == {"fetched"}
    tails, problems = read_atomic(target / "atomic")
    assert problems == []
    assert set(tails) == {("lose", "wallet"), ("sing",)}
    assert json.loads((target / "pins.json").read_text()).keys() == {
        "atomic/v4_atomic_all_agg.csv", *(f"atomic/event2mind_{name}" for name in splits)
    }  # fmt: skip


# --- servers and networks that fail ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            sends(b"<html>log in", Content_Type="text/html; charset=utf-8"),
            "answered HTTP 200: a web page instead of",
        ),
        (sends(b"<html>", 404, Content_Type="text/html"), "answered HTTP 404: Not Found"),
        (sends(b"", 500), "answered HTTP 500: Internal Server Error"),
        (sends(BIG, announced=500_000), "of 500000 bytes"),
        (sends(b"", announced=9), "broke off after 0 of 9 bytes"),
        (
            sends(b"", announced=9, Accept_Ranges="bytes", ETag='"a"'),
            "broke off after 0 of 9 bytes",
        ),
        (sends(b"another file"), "delivered does not have the sha256 "),
    ],
)
def test_bad_answers(server, target, answer, sentence):
    server.answers["/v.zip"] = answer
    part = make_part(server.url("/v.zip"), body=BIG)
    message = fails(target, part)
    assert message.startswith("vectors: Test vectors could not be fetched: ")
    assert sentence in message
    assert message.count("\n") == 0
    by_hand = f"download {part.urls[0]} by hand into {target} and run the same command again."
    assert message.endswith(f"Try again later, or {by_hand}")


def test_closed_port(target, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as taken:  # bound and not listening: refuses
        taken.bind(("127.0.0.1", 0))
        message = fails(
            target, make_part(f"http://127.0.0.1:{taken.getsockname()[1]}/v.zip", body=BIG)
        )
    assert re.search(
        r"/v\.zip could not be reached \(.*refused.*; is there a network\?\)\. Try again", message
    )


def test_unknown_host(target, monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    message = fails(target, make_part("http://data.invalid/v.zip", body=BIG))
    assert "could not be reached (Name or service not known; is there a network?)" in message


def test_timeouts(server, target, monkeypatch):
    monkeypatch.setattr(transfers, "TIMEOUT_SECONDS", 0.3)
    server.answers = {"/v.zip": stalls(server), "/mirror": stalls(server, BIG[:131_072])}
    message = fails(target, make_part(server.url("/v.zip"), server.url("/mirror"), body=BIG))
    assert (
        "/v.zip could not be reached (no answer within 0.3 seconds; is there a network?); "
        in message
    )
    assert "/mirror sent nothing for 0.3 seconds after 131072 of 131073 bytes. Try again" in message


def test_all_parts_are_tried_and_every_failure_is_listed(server, target):
    body = zipped({"big.txt": BIG})
    server.answers = {"/a.zip": sends(b"", 404), "/b.zip": sends(body), "/c.zip": sends(b"", 500)}
    parts = [
        make_part(
            server.url(f"/{name}.zip"),
            body=body,
            name=name,
            members=[Member("big.txt", f"{name}.txt")],
        )
        for name in "abc"
    ]
    lines = fails(target, *parts, leaving=["b.txt"]).split("\n")
    assert [line.partition(":")[0] for line in lines] == ["a", "b", "c"]
    assert "HTTP 404" in lines[0]
    assert lines[1] == "b: fetched"
    assert "HTTP 500" in lines[2]


def test_folder_that_cannot_be_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"Test vectors cannot be stored in .*file.*Choose another folder\."
    ):
        get(tmp_path / "file", make_part("http://127.0.0.1:1/v.zip"))


# --- interruptions --------------------------------------------------------------------------------

HALF = [".v.zip.json", ".v.zip.part"]


@pytest.fixture
def begun(server, target):
    """A transfer that broke off half-way and can continue: (part, the archive, bytes at hand)."""
    body = zipped({"big.txt": BIG})
    server.answers["/v.zip"] = sends(
        body[:200_000], announced=len(body), ETag='"one"', Accept_Ranges="bytes"
    )
    part = make_part(server.url("/v.zip"), server.url("/mirror"), body=body)
    message = fails(target, part, leaving=HALF)
    size = (target / ".v.zip.part").stat().st_size
    kept = "(kept: the next fetch continues from there)"
    assert f"broke off after {size} of {len(body)} bytes {kept}. Try" in message
    assert 0 < size <= 200_000
    assert (target / ".v.zip.part").read_bytes() == body[:size]
    assert len(server.requests) == 1  # the mirror would have begun anew
    return part, body, size


def test_resumes_where_it_broke_off(server, target, begun):
    part, body, size = begun
    server.answers["/v.zip"] = ranged(body, '"one"')
    assert get(target, part) == {"vectors": "fetched"}
    assert left(target) == ["big.txt"]
    assert (target / "big.txt").read_bytes() == BIG
    headers = server.requests[-1][1]
    assert (headers["Range"], headers["If-Range"]) == (f"bytes={size}-", '"one"')
    assert len(server.requests) == 2


@pytest.mark.parametrize("heeds", [True, False])
def test_starts_anew_when_the_file_has_changed(server, target, begun, heeds):
    part, *_ = begun
    body = zipped({"big.txt": BIG[::-1]})
    server.answers["/v.zip"] = ranged(body, '"two"', heeds)
    assert get(target, replace(part, sha256=hashlib.sha256(body).hexdigest())) == {
        "vectors": "fetched"
    }
    assert left(target) == ["big.txt"]
    assert (target / "big.txt").read_bytes() == BIG[::-1]
    assert len(server.requests) == (2 if heeds else 3)


def test_starts_anew_when_the_length_has_changed(server, target, begun):
    part, *_ = begun
    body = zipped({"big.txt": BIG + b"more"})
    server.answers["/v.zip"] = ranged(body, '"one"')
    assert get(target, replace(part, sha256=hashlib.sha256(body).hexdigest())) == {
        "vectors": "fetched"
    }
    assert (target / "big.txt").read_bytes() == BIG + b"more"
    assert len(server.requests) == 3


@pytest.mark.parametrize("note", ["not json", "[]", "{}", None])
def test_starts_anew_without_a_sound_note(server, target, begun, note):
    part, body, _ = begun
    (target / ".v.zip.json").unlink() if note is None else (target / ".v.zip.json").write_text(note)
    server.answers["/v.zip"] = ranged(body, '"one"')
    assert get(target, part) == {"vectors": "fetched"}
    assert left(target) == ["big.txt"]
    assert "Range" not in server.requests[-1][1]


def test_starts_anew_at_another_address(server, target, begun):
    part, body, _ = begun
    server.answers["/moved/v.zip"] = ranged(body, '"one"')
    assert get(target, replace(part, urls=[server.url("/moved/v.zip")])) == {"vectors": "fetched"}
    assert left(target) == ["big.txt"]
    assert "Range" not in server.requests[-1][1]


def test_starts_anew_when_all_bytes_are_there(server, target, begun):
    part, body, _ = (
        begun  # as after a power cut just before the renaming: complete, perhaps, but not verified
    )
    (target / ".v.zip.part").write_bytes(body[::-1])
    server.answers["/v.zip"] = ranged(body, '"one"')
    assert get(target, part) == {"vectors": "fetched"}
    assert left(target) == ["big.txt"]
    assert "Range" not in server.requests[-1][1]


def test_other_address_takes_over_when_the_first_is_gone(server, target, begun):
    part, body, _ = begun
    server.answers = {"/v.zip": sends(b"", 404), "/mirror": sends(body)}
    assert get(target, part) == {"vectors": "fetched"}
    assert left(target) == ["big.txt"]


def test_damaged_rest_is_found_and_dropped(server, target, begun):
    part, body, _ = begun
    server.answers["/v.zip"] = ranged(body[:-1] + b"?", '"one"')
    server.answers["/mirror"] = sends(b"", 404)
    assert "does not have the sha256" in fails(target, part)


def test_begun_transfer_survives_a_dead_network(server, target, begun):
    part, body, size = begun
    server.answers = {
        path: sends(b"<html>", Content_Type="text/html") for path in ("/v.zip", "/mirror")
    }
    assert "a web page" in fails(target, part, leaving=HALF)
    server.answers["/v.zip"] = ranged(body, '"one"')
    assert get(target, part) == {"vectors": "fetched"}
    assert server.requests[-1][1]["Range"] == f"bytes={size}-"


@pytest.mark.parametrize(
    ("headers", "leaving"),
    [
        ({"Accept_Ranges": "bytes", "Last_Modified": "Mon, 01 Jan 2018 00:00:00 GMT"}, HALF),
        (
            {"Accept_Ranges": "bytes", "ETag": 'W/"weak"'},
            [],
        ),  # no way to tell whether it has changed
        ({"ETag": '"one"'}, []),
    ],
)
def test_control_c(server, target, monkeypatch, headers, leaving):
    import tqdm

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    body = zipped({"big.txt": BIG})
    server.answers["/v.zip"] = sends(body, **headers)
    monkeypatch.setattr(tqdm.tqdm, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(target, make_part(server.url("/v.zip"), body=body))
    assert left(target) == leaving


def test_full_disk_on_the_way_leaves_nothing(server, target, monkeypatch):
    import tqdm

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    body = zipped({"big.txt": BIG})
    server.answers["/v.zip"] = ranged(body, '"one"')
    monkeypatch.setattr(tqdm.tqdm, "update", full)
    assert "cannot be stored" in (
        message := fails(target, make_part(server.url("/v.zip"), body=body))
    )
    assert "No space left on device" in message


def test_too_small_a_disk_is_noticed_before_the_download(server, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9e9, 9e9 - 1.5e9, 1_500_000_000))
    glove = load_registry()["vectors"]
    message = fails(target, replace(glove, urls=[server.url("/v.zip")]))
    assert f"GloVe 6B needs 1,900.1 MB in {target}, and only 1,500.0 MB are free there." in message
    assert server.requests == []


def test_members_larger_than_announced_are_noticed_before_unpacking(server, target, monkeypatch):
    body = zipped({"big.txt": BIG})
    server.answers["/v.zip"] = sends(body)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 300_000))
    assert "needs 0.4 MB" in fails(target, make_part(server.url("/v.zip"), body=body))


# --- archives and contents ------------------------------------------------------------------------


def zip_with_link() -> bytes:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("big.txt", "text")
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "body", "sentence"),
    [
        (
            "v.zip",
            zipped({"big.txt": "text", "../out.txt": "evil"}),
            "contains '../out.txt', a link, a device or a path",
        ),
        (
            "v.zip",
            zipped({"big.txt": "text", "..\\out.txt": "evil"}),
            "out.txt', a link, a device or a path out",
        ),
        ("v.zip", zipped({"/abs/big.txt": "evil"}), "contains '/abs/big.txt', a link"),
        ("v.zip", zipped({"C:/big.txt": "evil"}), "contains 'C:/big.txt', a link"),
        ("v.zip", zip_with_link(), "contains 'link', a link"),
        (
            "v.tar.gz",
            tarred(entry("big.txt", tarfile.SYMTYPE, "/etc/passwd")),
            "contains 'big.txt', a link",
        ),
        (
            "v.tar.gz",
            tarred(entry("big.txt"), entry("hard", tarfile.LNKTYPE, "big.txt")),
            "contains 'hard', a link",
        ),
        (
            "v.tar.gz",
            tarred(entry("big.txt"), entry("null", tarfile.CHRTYPE)),
            "contains 'null', a link, a device",
        ),
        ("v.tar.gz", tarred(entry("/abs/big.txt")), "contains '/abs/big.txt', a link"),
        ("v.tar.gz", tarred(entry("x/../../big.txt")), "contains 'x/../../big.txt', a link"),
        ("v.zip", zipped({"notes.txt": "text"}), "contains no big.txt; is it another edition?"),
        (
            "v.zip",
            zipped({"big.txt": BIG})[:-30],
            "is damaged (File is not a zip file); fetch it again.",
        ),
        ("v.zip", zipped({"big.txt": BIG}).replace(BIG[:99], bytes(99)), "is damaged (Bad CRC-32"),
        ("v.tar.gz", tarred(entry("big.txt"), content=BIG)[:-1000], "is damaged ("),
        ("v.tar.gz", b"text", "is damaged (file could not be opened"),
    ],
)
def test_archives_that_are_refused(server, target, name, body, sentence):
    server.answers[f"/{name}"] = sends(body)
    message = fails(target, make_part(server.url(f"/{name}")))
    assert message.startswith(f"vectors: Test vectors: the archive from {server.url(f'/{name}')} ")
    assert sentence in message
    assert left(target.parent) == ["raw"]  # nothing beside the folder either


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (WORDS + "more\t0.1\t0.2\t0.3\n", "has 4 rated words; the known numbers are [3]."),
        (
            WORDS.replace("0.479", "-0.479"),
            "is not a list of words rated from 0.0 to 1.0: one line is 'aaah",
        ),
        (WORDS.replace("0.479", "1.5"), "is not a list of words rated from 0.0 to 1.0"),
        (WORDS.replace("0.479", "nan"), "is not a list of words rated from 0.0 to 1.0"),
        (WORDS.replace("0.479", "high"), "is not a list of words rated from 0.0 to 1.0"),
        (WORDS.replace("\t0.479", ""), "is not a list of words rated from 0.0 to 1.0"),
        (b"\xff\xfe" + WORDS.encode(), "is not a list of words rated from 0.0 to 1.0"),
        ("", "is not a list of words rated from 0.0 to 1.0"),
    ],
)
def test_content_is_checked_where_no_checksum_is_known(server, target, text, sentence):
    server.answers["/l.zip"] = sends(zipped({"NRC-VAD-Lexicon.txt": text}))
    message = fails(target, make_lexicon(server.url("/l.zip")))
    assert "NRC-VAD-Lexicon.txt " + sentence in message
    assert "and fetch again." in message


@pytest.mark.parametrize(
    "text", [WORDS.partition("\n")[2], WORDS.replace("\n", "\r\n"), "\ufeff" + WORDS]
)
def test_lexicon_with_or_without_header(server, target, text):
    server.answers["/l.zip"] = sends(zipped({"NRC-VAD-Lexicon.txt": text}))
    assert get(target, make_lexicon(server.url("/l.zip"))) == {"lexicon": "fetched"}


def test_pinned_at_first_use(server, target):
    part = make_lexicon(server.url("/l.zip"))
    path, pins = target / "NRC-VAD-Lexicon.txt", target / "pins.json"
    server.answers["/l.zip"] = sends(zipped({"NRC-VAD-Lexicon.txt": WORDS}))
    get(target, part)
    path.unlink()
    other = WORDS.replace("0.479", "0.480")
    server.answers["/l.zip"] = sends(zipped({"NRC-VAD-Lexicon.txt": other}))
    pinned, found = (hashlib.sha256(text.encode()).hexdigest() for text in (WORDS, other))

    message = fails(target, part, leaving=["pins.json"])
    assert f"has the sha256 {found}, but {pinned} was pinned at first use" in message
    assert f"If a new edition is wanted, delete {pins} too." in message
    path.write_text(other)  # put there by hand: no better
    assert "was pinned at first use" in fails(target, part, leaving=[path.name, pins.name])
    pins.write_text("{")
    assert f"{pins} is damaged" in fails(target, part, leaving=[path.name, pins.name])
    pins.unlink()
    assert get(target, part) == {"lexicon": "already there"}
    assert json.loads(pins.read_text()) == {path.name: found}


def test_torn_file_under_its_final_name_is_noticed(target):
    target.mkdir()
    (target / "big.txt").write_bytes(BIG)
    part = make_part(
        "http://127.0.0.1:1/v.zip", members=[Member("big.txt", "big.txt", bytes=400_001)]
    )
    message = fails(target, part, leaving=["big.txt"])
    assert (
        f"big.txt has 400000 bytes instead of 400001. Delete {target / 'big.txt'} if it is there"
        in message
    )
