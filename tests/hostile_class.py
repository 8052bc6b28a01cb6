"""A class of hostile students: names, files, captures and answers, each made of a seed and a number."""

import gzip
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from random import Random

from grading.files import safe_name
from lab.fuzzing.mutants import make_mutant, mutate
from lab.fuzzing.seeds import all_seeds, seed_of
from tests.craft import fetch, pcap
from tests.hostile import CORPUS, hostile_captures, hostile_pcapng
from tests.hostile_answers import ANSWERS
from tests.hostile_zips import ZIPS

SEED = 28
NAMES = (
    *(b"a" * 255, "é".encode() * 127, b"\xff" * 255, b"-rf", b"--out=x", b"~root", b"$(id)", b"%2e%2e%2fx"),
    *(b"con", b"NUL.txt", b"COM1", b"a b", b"a-b", b"a_b", b"ALICE", b"alice", b"Alice", b"=1+1", b"+1", b"-1"),
    *(b"@SUM(A1)", "＝1+1".encode(), b"\t=1", b"a;=1+1;b", b'a",=1+1', b"x\n::error::y", b"x\r=1", b"12. x"),
    *(b"    x", b"x  ", b"# x", b"> x", b"| x |", b"[x](javascript:y)", b"www.evil.com", b"me@evil.com", b"@@x`@"),
    *(b"<img src=x>", b"`x`", b"```", b"\\", b"x\\", b"**x**", b"end", b"%%{init}%%", b"students", b"teacher.md"),
    *(b"x.report.json", b"\x1b]0;x\x07", b"\xc3\x28", b"\xed\xb3\xbf", "\ud7ff\ufffe".encode(), b"*", b"?"),
    *("\u202ecod.x".encode(), "\u200b".encode(), "\u3164".encode(), "\u00a0".encode(), "ﬀ".encode(), b"a.", b"a"),
    *(b"https:evil.com", b"a:b", b"::warning::x", b"##[error]x", b"x%0A::error::y", b"null", b"0", b"1e5", b"TRUE"),
    safe_name("a b").encode(),
    *("Zoe\u0301".encode(), "Zoë".encode(), "Ångström".encode(), "\u212bngström".encode()),
)


def names(dice: Random) -> Iterator[bytes]:
    """Names of files without end: those above, then hostile texts with a number."""
    yield from NAMES
    texts = [text.replace(b"/", b"\\").replace(b"\0", b"") for text in CORPUS]
    for number in count():
        text = dice.choice(texts)[: dice.choice((8, 20, 60, 200))]
        yield b"%b %d" % (text, number) if dice.random() < 0.7 else b"%d%b" % (number, text)


def student_id(name: bytes) -> str:
    """The id that a folder's name stands for."""
    text = os.fsdecode(name)
    return unicodedata.normalize("NFC", text.strip()) or text


@cache
def captures() -> tuple[bytes, ...]:
    """Captures with hostile text in each place that holds text; and files that are no captures."""
    honest = pcap(fetch())
    found = [pcap(frames) for text in CORPUS for frames in hostile_captures(text)]
    found += [hostile_pcapng(text) for text in CORPUS]
    found += [honest, gzip.compress(honest), gzip.compress(bytes(100_000_000), 1), b"", b"\0", honest[:24], honest[:-7]]
    found += [b"<script>alert(1)</script>", b"\x1f\x8b", b"%PDF-1.4", b"capture of nothing\n" * 60_000]
    return tuple(found)


def capture(dice: Random, number: int) -> bytes:
    """A capture: damaged, hostile, or both."""
    kind = dice.random()
    if kind < 0.4:
        return dice.choice(captures())
    if kind < 0.6:
        base = seed_of("", captures()[dice.randrange(len(CORPUS) * 6)])
        return mutate(base, dice, all_seeds())
    return make_mutant(SEED, number).data


Maker = Callable[[Path, bytes, Random], None]  # makes what is handed in at a path, of a capture


def plain(path: Path, data: bytes, dice: Random) -> None:
    """A folder with the capture, and, as it comes, answers."""
    path.mkdir()
    (path / dice.choice(("capture.pcap", "capture.pcap", "Capture.PCAPNG", "my trace.pcap", "x.bin"))).write_bytes(data)
    (path / dice.choice(("answers.toml", "answers.toml", "a.toml"))).write_bytes(dice.choice([*ANSWERS.values()]))


def doubled(path: Path, data: bytes, dice: Random) -> None:
    (path / "old").mkdir(parents=True)
    (path / "capture.pcap").write_bytes(data)
    (path / dice.choice(("capture.pcapng", "old/capture.pcap", "capture (2).pcap"))).write_bytes(data)


def odd_names(path: Path, data: bytes, dice: Random) -> None:
    """A capture with a hostile name, among other files with hostile names."""
    path.mkdir()
    some = dice.sample([name for name in NAMES[1:] if len(name) < 200], 3)
    for name in some[:2]:
        Path(os.fsdecode(os.fsencode(path) + b"/" + name)).write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(path) + b"/" + some[2] + b".pcap")).write_bytes(data)


def nothing(path: Path, _: bytes, dice: Random) -> None:
    """An empty folder, or one with documents alone."""
    path.mkdir()
    for name in dice.choice(((), ("report.docx",), ("a.png", "b.png"), (".hidden",))):
        (path / name).write_bytes(b"x")


def deep(path: Path, data: bytes, _: Random) -> None:
    (path / "a/b/c/d/e").mkdir(parents=True)
    (path / "a/b/c/d/e/capture.pcap").write_bytes(data)


def link_out(path: Path, _: bytes, dice: Random) -> None:
    """A link as the capture: to a file of the system, to another student's, to itself, to nothing."""
    path.mkdir()
    target = dice.choice(
        ("/etc/passwd", "../alice/capture.pcap", "capture.pcap", "nowhere", "/dev/zero", "/proc/self/mem")
    )
    (path / "capture.pcap").symlink_to(target)


def link_itself(path: Path, _: bytes, dice: Random) -> None:
    path.symlink_to(dice.choice(("/etc", "alice", "/", "nowhere", ".", "/dev/zero")))


def special(path: Path, _: bytes, dice: Random) -> None:
    """A pipe or a socket that nobody writes to; or a folder instead of a file."""
    path.mkdir()
    kind = dice.choice((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR))
    for name in ("capture.pcap", "answers.toml"):
        if kind == stat.S_IFDIR:
            (path / name).mkdir()
        else:
            os.mknod(path / name, kind | 0o600)


def huge(path: Path, data: bytes, _: Random) -> None:
    """10 GB, most of them a hole."""
    path.mkdir()
    with (path / "capture.pcap").open("wb") as file:
        file.write(data)
        file.truncate(10 << 30)


def unreadable(path: Path, data: bytes, _: Random) -> None:
    path.mkdir()
    (path / "capture.pcap").write_bytes(data)
    (path / "capture.pcap").chmod(0)


FOLDERS: tuple[Maker, ...] = (
    *(plain,) * 12,
    *(doubled, odd_names, odd_names, nothing, deep, link_out, link_itself, special, huge, unreadable),
)


def make_class(folder: Path, students: int, seed: int) -> set[str]:
    """Write the submissions of as many students into `folder`; their ids."""
    folder.mkdir()
    dice, ids = Random(seed), dict[str, None]()
    base = os.fsencode(folder) + b"/"
    for number, name in enumerate(names(dice)):
        student = student_id(name)
        if student not in ids and len(ids) == students:
            return set(ids)
        data = capture(dice, number + seed)
        shape = dice.random()
        if shape < 0.8 or number < len(NAMES):  # an ending would change what some of these names stand for
            ids[student] = None
            dice.choice(FOLDERS)(Path(os.fsdecode(base + name)), data, dice)
            continue
        ending, content = (b".pcap", data) if shape < 0.85 else (b".zip", dice.choice(ZIPS)(data))
        ids[student] = None
        Path(os.fsdecode(base + name + ending)).write_bytes(content)
    raise AssertionError
