"""Files are written whole, lines are appended whole, temporaries are swept, locks are seen and released."""

import contextlib
import math
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from limner import files
from limner.errors import LimnerError

posix = pytest.mark.skipif(os.name != "posix", reason="links, pipes and locks that can be asked")


def test_writing_where_one_cannot_says_why(tmp_path):
    with pytest.raises(LimnerError, match="there is no folder"):
        files.write_text(tmp_path / "none" / "a.txt", "x")
    with pytest.raises(LimnerError, match="it is a folder"):
        files.write_text(tmp_path, "x")
    assert list(tmp_path.iterdir()) == []


def test_text_is_written_as_it_is(tmp_path):
    files.write_text(tmp_path / "a.txt", "ä\r\n–\n")
    assert (tmp_path / "a.txt").read_bytes() == "ä\r\n–\n".encode()


@posix
def test_links_are_followed_and_pipes_survive(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    files.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"

    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    files.write_bytes(tmp_path / "pipe", b"through")
    reader.join(10)
    assert got == [b"through"]
    assert (tmp_path / "pipe").is_fifo()


def test_sweep_removes_temporaries_only(tmp_path):
    for name in (".a.png.tmp-12-0", ".a.tmp-7", "a.tmp-7", ".a.tmp-x", ".keep", "a.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".folder.tmp-1").mkdir()
    assert [p.name for p in files.sweep(tmp_path)] == [".a.png.tmp-12-0", ".a.tmp-7"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".a.tmp-x",
        ".folder.tmp-1",
        ".keep",
        "a.png",
        "a.tmp-7",
    ]
    assert files.sweep(tmp_path / "none") == []


def test_a_temporary_whose_writer_lives_is_left_alone(tmp_path, monkeypatch):
    """An evaluation's report is half written while a training begins and sweeps."""
    (tmp_path / ".old.tmp-0123").touch()
    inside, go, fsync = threading.Event(), threading.Event(), os.fsync

    def slow(handle):
        inside.set()
        go.wait(10)
        fsync(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", slow)
        writer = threading.Thread(target=files.write_bytes, args=(tmp_path / "a", b"whole"))
        writer.start()
        inside.wait(10)
        assert [p.name for p in files.sweep(tmp_path)] == [".old.tmp-0123"]
        go.set()
        writer.join()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_where_the_disk_knows_no_locks_an_old_temporary_is_swept(tmp_path, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    for name, age in ((".young.tmp-1", 3600), (".old.tmp-1", 90000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (os.stat(tmp_path / name).st_mtime - age,) * 2)
    assert [p.name for p in files.sweep(tmp_path)] == [".old.tmp-1"]
    files.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_bytes_are_on_the_disk_before_their_name_is_and_the_name_before_the_end(tmp_path, monkeypatch):
    """At each flush: what is flushed, and what stood under the name then."""
    path, seen, fsync = tmp_path / "a", [], os.fsync

    def watched(handle):
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        seen.append((kind, path.read_bytes() if path.exists() else None))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    files.write_bytes(path, b"new")
    files.append_line(path, "more")
    assert seen == [("file", None), ("folder", b"new"), ("file", b"new\nmore\n")]


def test_a_line_for_which_there_is_no_room_leaves_nothing(tmp_path, monkeypatch):
    files.append_line(tmp_path / "a.jsonl", "first")

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(LimnerError, match=r"cannot write .*a\.jsonl: No space left on device"):
            files.append_line(tmp_path / "a.jsonl", "second")
    files.append_line(tmp_path / "a.jsonl", "third")
    assert (tmp_path / "a.jsonl").read_text() == "first\nthird\n"


def test_a_name_that_came_meanwhile_is_not_taken(tmp_path):
    """Two writers of one file have a temporary each, and each is the name of its file."""
    with files.replacing(tmp_path / "a") as one, files.replacing(tmp_path / "a") as other:
        names = sorted(p.name for p in tmp_path.iterdir())
        assert len(names) == 2
        assert all(n.startswith(".a.tmp-") and len(n) == len(".a.tmp-") + 12 for n in names)
        assert files.sweep(tmp_path) == []
        one.write(b"one")
        other.write(b"other")
    assert (tmp_path / "a").read_bytes() == b"one"  # the last to end
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@posix
def test_a_temporary_that_a_sweep_took_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    import fcntl

    real, taken = fcntl.flock, []

    def swept(handle, how):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", swept)
    files.write_bytes(tmp_path / "a", b"whole")
    assert [p.name for p in taken] != []
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("age", [86_000, 86_800])
def test_where_there_are_no_locks_at_all_a_day_decides(tmp_path, monkeypatch, age):
    """As on Windows."""
    monkeypatch.setattr(files, "fcntl", None)
    (tmp_path / ".a.tmp-1").touch()
    os.utime(tmp_path / ".a.tmp-1", (time.time() - age,) * 2)
    assert files.sweep(tmp_path) == ([tmp_path / ".a.tmp-1"] if age > 86_400 else [])
    files.write_bytes(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert files.is_locked(tmp_path / "a") is False


def test_several_parts_are_written_one_after_the_other(tmp_path):
    files.write_bytes(tmp_path / "a", b"one ", memoryview(b"two "), bytearray(b"three"))
    assert (tmp_path / "a").read_bytes() == b"one two three"


def test_a_line_is_ended_once(tmp_path):
    path = tmp_path / "a.jsonl"
    for line in ("one", "ä"):
        files.append_line(path, line)
    assert path.read_bytes() == "one\nä\n".encode()
    path.write_bytes(b"cut sho")
    files.append_line(path, "two")
    assert path.read_bytes() == b"cut sho\ntwo\n"
    path.write_bytes(b"x")
    files.append_line(path, "y")
    assert path.read_bytes() == b"x\ny\n"
    assert sorted(p.name for p in tmp_path.iterdir()) in (["a.jsonl"], [".a.lock", "a.jsonl"])


@pytest.mark.parametrize("taken", [0, 3, "all"])
def test_a_line_of_which_only_a_part_was_written_leaves_nothing(tmp_path, monkeypatch, taken):
    path = tmp_path / "a.jsonl"
    files.append_line(path, "first")
    real = open

    class Full:
        def __init__(self, *arguments, **options):
            self.file = real(*arguments, **options)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            return self.file.write(data if taken == "all" else data[:taken])

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", Full)
        with contextlib.nullcontext() if taken == "all" else pytest.raises(LimnerError, match="No space left"):
            files.append_line(path, "second")
    assert path.read_text() == ("first\nsecond\n" if taken == "all" else "first\n")


def test_a_lock_that_is_held_is_waited_for_so_long(tmp_path):
    with files.locked(tmp_path / "lock", "unused"):
        begun = time.monotonic()
        with pytest.raises(LimnerError, match=r"^it is taken$"), files.locked(tmp_path / "lock", "it is taken"):
            pass
        assert time.monotonic() - begun < 5  # not for a minute, nor for ever
    freed = threading.Event()

    def holder():
        with files.locked(tmp_path / "lock", "unused"):
            freed.set()
            time.sleep(0.3)

    thread = threading.Thread(target=holder)
    thread.start()
    freed.wait(10)
    with files.locked(tmp_path / "lock", "it is taken", seconds=30):
        assert (tmp_path / "lock").is_file()
    thread.join()


def test_a_lock_makes_no_folder(tmp_path):
    with (
        pytest.raises(LimnerError, match=r"cannot write .*there is no folder"),
        files.locked(tmp_path / "no" / "a", ""),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_lock_is_seen_from_outside_and_asking_does_not_take_it(tmp_path):
    path = tmp_path / "lock"
    assert files.is_locked(path) is False
    with files.locked(path, "taken"):
        assert files.is_locked(path) is True
        asked = "import sys; from limner import files; print(files.is_locked(sys.argv[1]))"
        said = subprocess.run([sys.executable, "-c", asked, str(path)], capture_output=True, text=True, check=True)
        assert said.stdout == "True\n"
    assert files.is_locked(path) is False
    with open(path, "rb") as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH)  # another reader
        assert files.is_locked(path) is False


def test_what_may_be_written_is_told_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    files.check_place(tmp_path / "file")
    files.check_place(tmp_path / "new")
    for place, reason in ((tmp_path, "it is a folder"), (tmp_path / "none" / "a", "there is no folder")):
        with pytest.raises(LimnerError, match=f"cannot write .*{reason}"):
            files.check_place(place)
    asked = []

    def refused(path, mode):
        asked.append((Path(path), mode))
        return False

    monkeypatch.setattr(os, "access", refused)
    for place in (tmp_path / "file", tmp_path / "new"):
        asked.clear()
        with pytest.raises(LimnerError, match="Permission denied; give another place with"):
            files.check_place(place)
        assert asked == [(tmp_path, os.W_OK)]
    asked.clear()
    assert not files.can_write(tmp_path / "file")
    assert not files.can_write(tmp_path / "new")
    assert asked == [(tmp_path / "file", os.W_OK), (tmp_path, os.W_OK)]


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    assert files.read_json_lines(path) == []
    path.write_bytes(b'{"a": 1}\n[2]\n"three"\n{"b": "\\ud83d"}\n{"c": "\\uD83D\\uDE00"}\n\n{"d": NaN}\n{"cut')
    records = files.read_json_lines(path)
    assert records[:2] == [{"a": 1}, {"c": "😀"}]
    assert math.isnan(records[2]["d"])
    assert len(records) == 3


def test_numbers_that_can_be_computed_with():
    assert all(files.is_number(x) for x in (0, -3, 2.5, math.nan, 1e100, -1e100))
    assert not any(files.is_number(x) for x in (True, "1", None, [1], math.inf, -math.inf, 10**101, 1.1e100))


@posix
@pytest.mark.parametrize("fails", [True, False])
def test_a_folder_that_cannot_be_flushed_is_no_error_and_its_handle_is_closed(tmp_path, monkeypatch, fails):
    closed, flushed, close, fsync = [], [], os.close, os.fsync

    def watched(handle):
        flushed.append(handle)
        if fails and stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    monkeypatch.setattr(os, "close", lambda handle: (closed.append(handle), close(handle)))
    files.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
    assert len(flushed) == 2
    assert flushed[-1] in closed


@posix
def test_a_temporary_is_whole_when_it_is_flushed_and_locked_until_it_has_its_name(tmp_path, monkeypatch):
    seen, fsync, replace = [], os.fsync, os.replace

    def watched(handle):
        seen.extend(p.read_bytes() for p in tmp_path.iterdir())
        fsync(handle)

    def renamed(source, target):
        seen.append(files.is_locked(source))
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", watched)
        patched.setattr(os, "replace", renamed)
        with files.replacing(tmp_path / "a") as file:
            file.write(b"whole")
    assert seen == [b"whole", True, b"whole"]
