import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from limner.data import load, named
from limner.data.downloads import Remote, fetch
from limner.errors import LimnerError

CONTENT = bytes(range(256)) * 100
MD5 = hashlib.md5(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "good.bin").write_bytes(CONTENT)
    (folder / "bad.bin").write_bytes(CONTENT[:-1])
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_download_with_checksum_and_progress(server, tmp_path, capfd):
    told = []
    path = fetch(Remote("f.bin", [f"{server}/good.bin"], MD5), tmp_path / "d", lambda *what: told.append(what))
    assert path == tmp_path / "d" / "f.bin"
    assert path.read_bytes() == CONTENT
    assert told[-1] == ("downloading f.bin", len(CONTENT), len(CONTENT))
    assert capfd.readouterr().err == ""


def test_next_mirror_where_one_lacks_or_garbles_the_file(server, tmp_path):
    mirrors = [f"{server}/missing.bin", f"{server}/bad.bin", "http://127.0.0.1:9/x", f"{server}/good.bin"]
    assert fetch(Remote("f.bin", mirrors, MD5), tmp_path / "d").read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / "d").iterdir()] == ["f.bin"]


def test_all_mirrors_fail(server, tmp_path):
    mirrors = [f"{server}/missing.bin", f"{server}/bad.bin", "http://127.0.0.1:9/x"]
    with pytest.raises(LimnerError, match=r"cannot download f\.bin") as caught:
        fetch(Remote("f.bin", mirrors, MD5), tmp_path / "d")
    message = str(caught.value)
    assert "HTTP status 404" in message
    assert "wrong checksum" in message
    assert "no connection" in message
    assert str(tmp_path / "d") in message
    assert "\n" not in message
    assert not list((tmp_path / "d").glob("*"))


def test_named_set_that_cannot_be_downloaded(server, tmp_path, monkeypatch):
    family = named._IdxFamily((f"{server}/",), named.IDX_FAMILIES["mnist"].md5, ())
    monkeypatch.setitem(named.IDX_FAMILIES, "mnist", family)
    with pytest.raises(LimnerError, match=r"cannot download train-images-idx3-ubyte\.gz .*put the file into .*mnist"):
        load("mnist", data_dir=tmp_path / "data")
