"""What other pages, other machines and broken files try: refused in one line, and nothing outside is touched."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient, WebSocketDenialResponse

from limner.errors import LimnerError
from limner.studio import sources_api
from limner.studio.app import make_app
from limner.studio.limits import Limits
from limner.studio.studio import Studio
from limner.studio.worker import Teller, do

TOKEN = "0123456789abcdef" * 3
HERE = {"host": "127.0.0.1"}


@pytest.fixture
def looked_at_here(monkeypatch):
    """Uploads are looked at in this process: a process for each would take the tests' time."""

    async def look(studio, source, sheet):
        try:
            return do({"kind": "look", "source": source, "sheet": str(sheet)}, Teller(io.StringIO()))["result"]
        except LimnerError as error:
            raise LimnerError(str(error).replace(f"{os.path.dirname(source)}/", "")) from error

    monkeypatch.setattr(sources_api, "_look", look)


def png(seed=0, size=(8, 8)):
    file = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def everything(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "",
        "[",
        "192.168.0.7",
        "127.0.0.1; script-src *",
        "evil@127.0.0.1",
        "127.0.0.1/x",
    ],
)
def test_a_foreign_host_is_refused(client, refusal, host):
    assert "Host" in refusal("GET", "/api/runs", 403, headers={"host": host})
    assert "Host" in refusal("GET", "/", 403, headers={"host": host})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:9", "[::1]:8000", "LOCALHOST"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/api/studio", headers={"host": host}).status_code == 200


def test_two_hosts_are_refused(client):
    assert client.get("/api/studio", headers=[("host", "127.0.0.1"), ("host", "evil.example")]).status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9", "https://127.0.0.1.evil.example", "file://", "x"]
)
def test_a_post_of_another_origin_is_refused(client, refusal, runs, origin):
    before = everything(runs)
    headers = {"origin": origin}
    for method, path in (("POST", "/api/runs"), ("DELETE", "/api/runs/vae"), ("POST", "/api/sources")):
        assert "another origin" in refusal(method, path, 403, headers=headers)
    assert everything(runs) == before
    own = {"origin": "http://127.0.0.1"}
    assert client.post("/api/runs/vae/samples", json={"n": 1}, headers=own).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/events", "/api/runs/vae/sample", "/api/runs/vae/walk", "/api/runs/vae/complete"]
)
def test_a_websocket_of_another_origin_is_refused(socket, path):
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example"}):
        with pytest.raises(WebSocketDenialResponse) as refused, socket(path, **headers):
            pass
        assert refused.value.status_code == 403
    with socket(path, origin="http://127.0.0.1"):
        pass


def test_a_page_of_another_site_cannot_even_look(client, refusal):
    for site in ("cross-site", "same-site"):
        assert "another site" in refusal("GET", "/api/runs", 403, headers={"sec-fetch-site": site})
    assert client.get("/api/runs", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_every_answer_has_its_headers(client):
    for path in ("/", "/api/runs", "/api/nothing", "/api/runs/nobody", "/static/nothing.js", "/api/openapi.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert client.get("/api/runs").headers["cache-control"] == "no-store"
    assert client.get("/docs").status_code == 404


PATHS = [
    "/api/runs/..%2f..%2fsecret", "/api/runs/%2e%2e", "/api/runs/%2e%2e/report", "/api/runs/.hidden",
    "/api/runs/vae%00", "/api/runs/vae/sheets/..%2f..%2fconfig.png", "/api/runs/vae/sheets/%2e%2e%2fmodel.safetensors",
    "/api/runs/vae/sheets/config.toml", "/static/..%2f..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd",
    "/static/..%5c..%5capp.py", "/api/sources/upload:..%2f..%2fsecret/preview.png", "/api/sources/%2e%2e/preview.png",
    "/api/runs/%2fetc/report", "/api/runs/secret", "/api/runs/link/report", "/%2e%2e/%2e%2e/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_outside(client, runs, path):
    secret = runs.parent / "secret"
    secret.mkdir()
    (secret / "report.html").write_text("the secret")
    (secret / "config.toml").write_text("the secret")
    (secret / "config.png").write_text("the secret")
    answer = client.get(path)
    assert answer.status_code in (400, 404), answer.text
    assert "secret" not in answer.text.replace("'secret'", "").replace("secret'", "")
    assert set(answer.json()) == {"error"}
    assert client.request("DELETE", path).status_code in (400, 404, 405)
    assert secret.is_dir()


def test_nothing_of_an_error_leaves(client, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the secret of line 7")

    monkeypatch.setattr("limner.studio.runs_api.describe", broken)
    monkeypatch.setattr("limner.studio.latents_api._latents", broken)
    for path in ("/api/runs/vae", "/api/runs/vae/latents"):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "something went wrong" in answer.json()["error"]


def test_nothing_of_an_error_leaves_a_socket(client, socket, monkeypatch, studio):
    def broken(*args, **kwargs):
        raise RuntimeError("the secret of line 7")

    monkeypatch.setattr(studio.models.get("vae").run, "sample", broken)
    with socket("/api/runs/vae/sample") as ws:
        ws.send_json({"n": 1})
        while (said := ws.receive_json())["type"] != "error":
            pass
    assert (said["status"], "secret" in said["error"]) == (500, False)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"model": 3}', b"\xff", b"[" * 100_000, b'{"model": "vae", "a": NaN}']
)
def test_malformed_bodies(client, body):
    answer = client.post("/api/runs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["error"], str)


def test_giant_bodies_are_not_read(client, studio, refusal):
    studio_limit = studio.limits.body_bytes
    line = refusal("POST", "/api/read-png", 413, content=b"", headers={"content-length": str(studio_limit + 1)})
    assert "more than" in line
    guarded = make_app(Studio(Limits(body_bytes=1 << 22)))
    with TestClient(guarded, base_url="http://127.0.0.1") as small:
        many = bytes(1 << 23)
        assert small.post("/api/read-png", content=iter([many])).status_code == 413
        assert small.post("/api/runs", content=iter([many])).status_code == 413
    bad = {"content-length": "-1"}
    assert client.post("/api/read-png", content=b"", headers=bad).status_code == 413


def upload(client, *files, **more):
    return client.post("/api/sources", files=[("files", file) for file in files], **more)


def test_uploads_are_sources(client, runs, looked_at_here):
    files = {f"{kind}/{i}.png": png(i + 100 * (kind == "b")) for kind in "ab" for i in range(20)}
    answer = upload(client, ("My Cats!.zip", zipped(files)))
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["id"], made["images"], made["labels"], made["size"]) == ("upload:my-cats", 40, ["a", "b"], [8, 8])
    again = upload(client, ("../../../my cats.zip", zipped(files))).json()
    assert again["id"] == "upload:my-cats-2"
    single = upload(client, *[(f"../../{i}.png", png(i)) for i in range(12)]).json()
    assert (single["id"], single["images"]) == ("upload:images", 12)
    listed = [s["id"] for s in client.get("/api/sources").json() if s["kind"] == "upload"]
    assert sorted(listed) == ["upload:images", "upload:my-cats", "upload:my-cats-2"]
    preview = client.get("/api/sources/upload:my-cats/preview.png")
    assert Image.open(io.BytesIO(preview.content)).size[0] > 8
    names = everything(runs / ".uploads" / "images" / "images")
    assert names == [f"{i:05d}.png" for i in range(12)]
    assert not [p for p in everything(runs.parent) if "cats" in p and not p.startswith("runs/.uploads/my-cats")]
    assert client.delete("/api/sources/upload:my-cats").status_code == 204
    assert client.get("/api/sources/upload:my-cats/preview.png").status_code == 404
    assert client.delete("/api/sources/digits").status_code == 400
    assert {r["run"] for r in client.get("/api/runs").json()} >= {"vae"}
    config = (runs / "vae" / "config.toml").read_text()
    (runs / "vae" / "config.toml").write_text(config.replace('"digits"', f'"{runs}/.uploads/images/images"'))
    assert client.get("/api/runs/vae").json()["data"] == "upload:images"
    assert str(runs) not in client.get("/api/runs/vae").text + client.get("/api/compare?run=vae").text
    assert sources_api.source_path(Studio(), "upload:images") == str(runs / ".uploads" / "images" / "images")


def test_bad_uploads_are_refused(client, runs, looked_at_here):
    before = everything(runs)
    cases = [
        [],
        [("a.exe", b"MZ")],
        [("a.zip", b"no zip")],
        [("a.zip", b"")],
        [("a.zip", zipped({"a.txt": b"text"}))],
        [("a.zip", zipped({"a.png": b"no png"}))],
        [("a.zip", zipped({f"{i}.png": png(i) for i in range(3)})), ("b.zip", b"")],
        [("a.png", png()), ("b.sh", b"#!/bin/sh")],
        [("a.npy", b"\x93NUMPY\x01\x00")],
        [("a.npz", zipped({"x.npy": b"\x80\x04K\x01."}))],
        [("a.png", b"")],
        [("", png())],
    ]
    for files in cases:
        answer = upload(client, *files) if files else client.post("/api/sources", files={"other": ("a.png", png())})
        assert answer.status_code == 400, (files, answer.text)
        assert "Traceback" not in answer.text
        assert str(runs) not in answer.json()["error"], answer.json()
    broken = client.post("/api/sources", content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"})
    assert broken.status_code == 400
    assert client.post("/api/sources", json={"files": "/etc/passwd"}).status_code == 400
    assert everything(runs / ".uploads") == []
    assert [p for p in everything(runs) if not p.startswith(".uploads")] == before


def test_a_zip_that_leads_outside_writes_nothing(client, runs, looked_at_here):
    before = everything(runs.parent)
    files = {f"../../../../{i}.png": png(i) for i in range(12)} | {
        f"/tmp/limner-attack/{i}.png": png(50 + i) for i in range(3)
    }
    answer = upload(client, ("evil.zip", zipped(files)))
    assert answer.status_code in (201, 400)
    assert [p for p in everything(runs.parent) if not p.startswith("runs/.uploads")] == before
    assert not os.path.exists("/tmp/limner-attack")


def test_zip_bombs_are_refused(client, runs, looked_at_here, monkeypatch):
    monkeypatch.setenv("LIMNER_MEMORY", str(1 << 24))
    monkeypatch.setattr("limner.data.files.LARGEST_MEMBER", 1 << 23)
    member = zipped({"a.png": bytes(1 << 23) + b"1"})
    assert len(member) < 1 << 16
    answer = upload(client, ("bomb.zip", member))
    assert answer.status_code == 400, answer.text
    black = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(black, "PNG")
    answer = upload(client, ("bomb.zip", zipped({"a.png": black.getvalue()})))
    assert answer.status_code == 400, answer.text
    head = (
        b"\x93NUMPY\x01\x00v\x00"
        + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000), }".ljust(117)
        + b"\n"
    )
    assert upload(client, ("bomb.npy", head)).status_code == 400
    assert everything(runs / ".uploads") == []


def test_uploads_are_limited(runs, looked_at_here):
    limits = Limits(upload_files=3, upload_bytes=20_000, uploads=1)
    with TestClient(make_app(Studio(limits)), base_url="http://127.0.0.1") as client:
        many = upload(client, *[(f"{i}.png", png(i)) for i in range(4)])
        assert many.status_code == 400
        assert "Too many files" in many.json()["error"]
        assert upload(client, ("a.npy", bytes(30_000))).status_code == 413
        assert upload(client, ("a.npy", bytes(2 << 20))).status_code == 413  # not read to its end
        array = io.BytesIO()
        np.save(array, np.random.default_rng(0).integers(0, 256, (30, 8, 8)).astype(np.uint8))
        assert upload(client, ("a.npy", array.getvalue())).status_code == 201
        full = upload(client, ("b.npy", array.getvalue()))
        assert full.status_code == 413
        assert "remove one" in full.json()["error"]


@pytest.fixture
def far(runs):
    """A studio that other machines can reach."""
    app = make_app(Studio(token=TOKEN, host="0.0.0.0"))
    with TestClient(app, base_url="http://10.0.0.5:8000", follow_redirects=False) as client:
        yield client


def test_other_machines_need_the_token(far):
    for path in ("/", "/api/runs", "/static/app.js", "/api/openapi.json", "/?token=wrong", "/api/runs?token=" + TOKEN):
        answer = far.get(path)
        assert answer.status_code == 401, path
        assert "token is needed" in answer.json()["error"]
    for wrong in ("", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer é"):
        assert far.get("/api/runs", headers={"authorization": wrong.encode()}).status_code == 401
    assert far.get("/api/runs", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
    with pytest.raises(WebSocketDenialResponse) as no, far.websocket_connect("ws://10.0.0.5:8000/api/events"):
        pass
    assert no.value.status_code == 401


def test_the_token_in_the_address_becomes_a_cookie(far):
    answer = far.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite" in answer.headers["set-cookie"]
    assert far.get("/api/runs").status_code == 200
    assert (
        far.post("/api/runs/vae/samples", json={"n": 1}, headers={"origin": "http://evil.example"}).status_code == 403
    )
    with far.websocket_connect("ws://10.0.0.5:8000/api/events") as ws:
        assert ws.receive_json()["type"] == "jobs"
    far.cookies.clear()
    assert far.get("/api/runs").status_code == 401


def test_names_that_others_could_point_here_are_refused_there_too(far):
    headers = {"authorization": f"Bearer {TOKEN}", "host": "evil.example"}
    assert far.get("/api/runs", headers=headers).status_code == 403


def test_open_sockets_are_limited(runs):
    with TestClient(make_app(Studio(Limits(sockets=1))), base_url="http://127.0.0.1") as client:
        with client.websocket_connect("ws://127.0.0.1/api/events") as first:
            first.receive_json()
            with pytest.raises(WebSocketDenialResponse) as no, client.websocket_connect("ws://127.0.0.1/api/events"):
                pass
            assert (no.value.status_code, no.value.headers["retry-after"]) == (503, "5")
        with client.websocket_connect("ws://127.0.0.1/api/events") as third:
            assert third.receive_json()["type"] == "jobs"
