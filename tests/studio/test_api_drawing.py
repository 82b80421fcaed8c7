"""What the studio draws: samples, completions, walks; and the PNG files that say how they were made."""

import base64
import io
import json
import struct
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from limner import workbench
from limner.studio.images import png_with, read_settings, rgba
from limner.studio.limits import Limits


def pixels(url):
    """A data URL as an array."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def until(holds, seconds=20):
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def url_of(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def conversation(ws):
    """All messages of a drawing, each with the bytes that belong to it."""
    found = []
    while True:
        message = ws.receive_json()
        data = ws.receive_bytes() if "bytes" in message else None
        assert data is None or len(data) == message["bytes"]
        found.append((message, data))
        if message["type"] in ("done", "error"):
            return found


def test_samples_come_row_by_row(client, socket):
    with socket("/api/runs/pixelcnn/sample") as ws:
        ws.send_json({"n": 3, "seed": 7})
        said = conversation(ws)
    images = workbench.open_run("pixelcnn").sample(3, seed=7, quiet=True)
    assert said[0][0] == {"type": "begin", "n": 3, "shape": [1, 8, 8], "streams": True}
    rows = [(m, data) for m, data in said if m["type"] == "row"]
    assert [m["row"] for m, _ in rows] == list(range(8))
    assert all(data == rgba(images[:, :, m["row"] : m["row"] + 1]) for m, data in rows)
    assert said[-2][1] == rgba(images)
    done = said[-1][0]
    assert done["settings"]["seed"] == 7
    assert client.get(done["png"]).headers["content-type"] == "image/png"


def test_samples_of_other_models_come_at_once(client, socket):
    for model in ("vae", "gan"):
        with socket(f"/api/runs/{model}/sample") as ws:
            ws.send_json({"n": 2, "means": model == "vae"})
            said = conversation(ws)
        assert [m["type"] for m, _ in said] == ["begin", "images", "done"]
        assert said[0][0]["streams"] is False


def test_samples_of_a_class(client, socket):
    with socket("/api/runs/by-class/sample") as ws:
        ws.send_json({"n": 12})
        images = next(m for m, _ in conversation(ws) if m["type"] == "images")
    assert images["labels"] == [*range(10), 0, 1]
    found = client.post("/api/runs/by-class/samples", json={"n": 2, "label": "3", "seed": 1}).json()
    assert found["labels"] == [3, 3]
    ours = workbench.open_run("by-class").sample(2, label=3, seed=1, quiet=True)
    assert [pixels(url).tolist() for url in found["images"]] == ours[:, 0].tolist()
    assert client.get("/api/runs/by-class/samples.png?n=2&label=3&seed=1&i=0").status_code == 200


@pytest.mark.parametrize(
    ("run", "asked", "line"),
    [
        ("autoencoder", {"n": 1}, "does not draw samples"),
        ("pixelcnn", {"n": 1, "label": "3"}, "has no classes"),
        ("by-class", {"n": 1, "label": 12}, "0 to 9"),
        ("pixelcnn", {"n": 1000}, "at most"),
        ("pixelcnn", {"n": 0}, "n: "),
        ("pixelcnn", {"n": 1, "seed": -1}, "seed: "),
        ("pixelcnn", {"more": 1}, "more: "),
        ("pixelcnn", {"means": True}, "no mean"),
        ("nobody", {}, "there is no run"),
        ("..", {}, "there is no run"),
    ],
)
def test_bad_wishes_for_samples(client, socket, run, asked, line):
    path = f"/api/runs/{run.replace('..', '%2e%2e')}/sample"
    with socket(path) as ws:
        ws.send_json(asked)
        last = conversation(ws)[-1][0]
    assert last["type"] == "error"
    assert last["status"] in (400, 404)
    assert line in last["error"]
    assert client.post(f"/api/runs/{run.replace('..', '%2e%2e')}/samples", json=asked).status_code in (400, 404)


def test_text_that_is_no_message(client, socket):
    for text in ("[", "[]", "7", '"' + "x" * 1000, "[" * 100_000):
        with socket("/api/runs/vae/sample") as ws:
            ws.send_text(text)
            said = ws.receive_json()
            assert (said["type"], said["status"]) == ("error", 400)
    with socket("/api/runs/vae/sample") as ws:
        ws.send_bytes(b"\x00")
        assert ws.receive_json()["status"] == 400


def test_a_png_says_how_it_was_made(client, runs):
    file = client.get("/api/runs/vae/samples.png?n=4&seed=5&i=2&scale=3")
    assert 'filename="vae-5-2.png"' in file.headers["content-disposition"]
    image = Image.open(io.BytesIO(file.content))
    assert image.size == (24, 24)
    ours = workbench.open_run("vae").sample(4, seed=5, quiet=True)[2, 0]
    assert np.array_equal(np.array(image)[::3, ::3], ours.numpy())
    assert json.loads(image.text["limner"])["seed"] == 5
    found = client.post("/api/read-png", content=file.content).json()
    assert found["run_here"]
    assert found["same_weights"]
    settings = found["settings"]
    assert {k: settings[k] for k in ("run", "model", "n", "seed", "i", "means", "data")} == {
        "run": "vae", "model": "vae", "n": 4, "seed": 5, "i": 2, "means": False, "data": "digits",
    }  # fmt: skip
    assert settings["weights"] == client.get("/api/runs/vae").json()["weights"]
    weights = (runs / "pixelcnn" / "model.safetensors").read_bytes()
    (runs / "vae" / "model.safetensors").write_bytes(weights)
    assert client.post("/api/read-png", content=file.content).json()["same_weights"] is False
    client.delete("/api/runs/vae")
    assert client.post("/api/read-png", content=file.content).json()["run_here"] is False


def test_png_files_that_say_nothing(client, refusal):
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    plain = file.getvalue()
    signed = png_with(Image.new("L", (8, 8)), {"run": "../../etc/passwd", "seed": 1})
    assert read_settings(signed)["seed"] == 1
    assert "does not say" in refusal("POST", "/api/read-png", 400, content=plain)
    assert "no PNG" in refusal("POST", "/api/read-png", 400, content=b"GIF89a")
    assert "no PNG" in refusal("POST", "/api/read-png", 400, content=b"")
    assert "does not say" in refusal("POST", "/api/read-png", 400, content=signed[:40])
    for text in (b"[" * 50_000, b"{}", b"\xff\xfe", b'{"run": 3}', b"x" * (1 << 17)):
        chunk = struct.pack(">I", len(text) + 7) + b"tEXtlimner\0" + text + b"\0\0\0\0"
        assert "does not say" in refusal("POST", "/api/read-png", 400, content=plain[:33] + chunk + plain[33:])
    assert "does not say" in refusal(
        "POST", "/api/read-png", 400, content=plain[:33] + b"\xff\xff\xff\xfftEXtlimner\0{"
    )
    assert client.post("/api/read-png", content=signed).json()["run_here"] is False


def test_a_run_with_new_weights_draws_anew(client, runs, studio):
    before = client.get("/api/runs/vae/samples.png?n=2").content
    assert client.get("/api/runs/vae/samples.png?n=2").content == before
    workbench.train(
        "vae", "digits", name="other", epochs=1, settings=["network=dense", "hidden=16", "latent=2", "seed=9"]
    )
    (runs / "other" / "model.safetensors").replace(runs / "vae" / "model.safetensors")
    assert client.get("/api/runs/vae/samples.png?n=2").content != before


def test_models_are_let_go(client, studio):
    studio.models.most = 2
    for run in ("vae", "gan", "pixelcnn"):
        client.post(f"/api/runs/{run}/samples", json={"n": 1})
    assert list(studio.models._held) == ["gan", "pixelcnn"]


def test_too_much_at_once_is_503(client, studio, socket):
    held = studio.models.get("gan")
    studio.slow._room = 1
    answers = []
    held.lock.acquire()
    try:
        first = threading.Thread(target=lambda: answers.append(client.post("/api/runs/gan/samples", json={"n": 1})))
        first.start()
        until(lambda: studio.slow.busy == 1)
        refused = client.post("/api/runs/gan/samples", json={"n": 1})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        with socket("/api/runs/gan/sample") as ws:
            ws.send_json({"n": 1})
            said = ws.receive_json()
            assert (said["status"], said["retry_after"]) == (503, 2)
    finally:
        held.lock.release()
    first.join()
    assert answers[0].status_code == 200
    assert client.post("/api/runs/gan/samples", json={"n": 1}).status_code == 200


def test_a_page_that_leaves_ends_its_drawing(client, studio, socket, monkeypatch):
    drawn = []
    original = studio.models.get("pixelcnn").run.sample

    def slowly(n, *, on_row, **options):
        def tell(row, images):
            drawn.append(row)
            gone.wait(5)
            on_row(row, images)

        return original(n, on_row=tell, **options)

    gone = threading.Event()
    monkeypatch.setattr(studio.models.get("pixelcnn").run, "sample", slowly)
    with socket("/api/runs/pixelcnn/sample") as ws:
        ws.send_json({"n": 1})
        assert ws.receive_json()["type"] == "begin"
        until(lambda: drawn)
        ws.close()
        time.sleep(0.3)
        gone.set()
    until(lambda: not studio.slow.busy)
    assert len(drawn) < 3


def test_where_latents_lie(client):
    found = client.get("/api/runs/vae/latents").json()
    assert (found["dimensions"], found["prior"], found["plane"], found["encodes"]) == (2, "normal", True, True)
    a, b = (found["carries"][i] for i in found["order"])
    assert a >= b
    assert "over 250 validation images" in found["measure"]
    gan = client.get("/api/runs/gan/latents").json()
    assert "carries" not in gan
    assert gan["order"] == [0, 1, 2, 3]
    assert client.get("/api/runs/autoencoder/latents").json()["prior"] == "none"
    assert "no latents" in client.get("/api/runs/pixelcnn/latents").json()["error"]


def test_the_pad_answers_the_latest(client, socket):
    run = workbench.open_run("vae")
    with socket("/api/runs/vae/walk") as ws:
        assert ws.receive_json() == {"type": "begin", "shape": [1, 8, 8], "dimensions": 2}
        for number in range(50):
            ws.send_json({"id": number, "z": [number / 50, 0.5]})
        answers = [ws.receive_bytes()]
        while struct.unpack("<I", answers[-1][:4])[0] < 49:
            answers.append(ws.receive_bytes())
        numbers = [struct.unpack("<I", a[:4])[0] for a in answers]
        assert numbers == sorted(set(numbers))
        for number, answer in zip(numbers, answers, strict=True):
            assert answer[4:] == rgba(run.decode([[number / 50, 0.5]]))
        for bad in ({"z": [1]}, {"z": [[1, 2], [3]]}, {"z": [1e400, 0]}, {"z": "x"}, {"id": -1, "z": [0, 0]},
                    {"z": [[0, 0]] * 65}, {"z": [0, 0], "label": 3}, {"z": []}):  # fmt: skip
            ws.send_text(json.dumps(bad))
            assert ws.receive_json()["type"] == "error"
        ws.send_json({"id": 7, "z": [[0, 0], [1, 1]]})
        assert ws.receive_bytes()[4:] == rgba(run.decode([[0.0, 0.0], [1.0, 1.0]]))
    with socket("/api/runs/pixelcnn/walk") as ws:
        assert "no latents" in ws.receive_json()["error"]


def test_the_plane(client):
    image = Image.open(io.BytesIO(client.get("/api/runs/vae/plane.png?side=3").content))
    assert image.size == (24, 24)
    ours = workbench.latent.manifold(workbench.open_run("vae"), 3)
    assert np.array_equal(np.array(image)[:8, :8], ours[0, 0].numpy())
    assert client.get("/api/runs/autoencoder/plane.png").status_code == 400
    assert client.get("/api/runs/vae/plane.png?side=1000").status_code == 400


def test_images_are_encoded(client, refusal):
    run = workbench.open_run("vae")
    found = client.post("/api/runs/vae/encode", json={"image": "test:3"}).json()
    assert found["z"] == pytest.approx(run.encode("test:3")[0].tolist())
    assert found["squared_error"] > 0
    drawn = pixels(found["original"])
    assert client.post("/api/runs/vae/encode", json={"image": url_of(drawn)}).json()["z"] == found["z"]
    assert client.post("/api/runs/vae/encode", json={"image": {"pixels": drawn.tolist()}}).json()["z"] == found["z"]
    odd = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    assert len(client.post("/api/runs/vae/encode", json={"image": url_of(odd)}).json()["z"]) == 2
    for bad in ("/etc/passwd", "file:///etc/passwd", "test:999", "secret:0", "", None, 7, [],
                "data:image/png;base64,!!", "data:image/png;base64,R0lGODlh",
                {"pixels": [[1, 2], [3]]}, {"pixels": [[-1]]}, {"pixels": "x"},
                {"pixels": []}, {"path": "/etc"}):  # fmt: skip
        refusal("POST", "/api/runs/vae/encode", 400, json={"image": bad})
    assert "no encoder" in refusal("POST", "/api/runs/gan/encode", 400, json={"image": "test:0"})


def test_a_bomb_of_an_image_is_refused(client, refusal):
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    assert len(url) < 200_000
    assert "bomb" in refusal("POST", "/api/runs/vae/encode", 400, json={"image": url})


def test_walks_between_two(client, refusal):
    asked = {"a": {"image": "test:0"}, "b": {"z": [0.5, 0.5]}, "steps": 4}
    found = client.post("/api/runs/vae/interpolate", json=asked).json()
    assert len(found["images"]) == len(found["z"]) == 4
    assert found["z"][-1] == pytest.approx([0.5, 0.5])
    drawn = client.post("/api/runs/gan/interpolate", json={"seed": 3}).json()
    assert len(drawn["images"]) == 10
    assert "between two ends" in refusal("POST", "/api/runs/vae/interpolate", 400, json={"a": {"z": [0, 0]}})
    assert "codes of run" in refusal("POST", "/api/runs/vae/interpolate", 400, json={"a": {"z": [0]}, "b": {"z": [0]}})
    found = client.post("/api/runs/vae/arithmetic", json={"a": "3", "b": "1", "c": "7", "n": 2}).json()
    assert (len(found["means"]), len(found["before"]), len(found["after"])) == (4, 2, 2)
    assert "choose one of" in refusal("POST", "/api/runs/vae/arithmetic", 400, json={"a": "x", "b": "1", "c": "7"})


def test_images_are_completed(client, socket):
    run = workbench.open_run("pixelcnn")
    with socket("/api/runs/pixelcnn/complete") as ws:
        ws.send_json({"image": "test:1", "mask": "bottom-half", "n": 3, "seed": 2})
        said = conversation(ws)
    ours = run.complete("test:1", "bottom-half", 3, seed=2, quiet=True)
    done = said[-1][0]
    assert done["exact"]
    assert done["conditional"].startswith("exact draws")
    assert said[-2][1] == rgba(ours.images)
    assert [m["row"] for m, _ in said if m["type"] == "row"][-1] == 7
    asked = {"image": "test:1", "mask": ["1" * 8] * 3 + ["0" * 8] * 5, "n": 2, "particles": 16}
    found = client.post("/api/runs/pixelcnn/complete", json=asked).json()
    assert found["exact"] is False
    assert found["particles"] == 16
    assert 1 <= found["lowest_effective_samples"] <= 16
    assert found["missing"] == asked["mask"]
    assert all((pixels(url)[3:] == pixels(found["original"])[3:]).all() for url in found["images"])
    white = np.zeros((8, 8), np.uint8)
    white[:3] = 255
    again = client.post("/api/runs/pixelcnn/complete", json=asked | {"mask": url_of(white)}).json()
    assert again["images"] == found["images"]
    grey = {"pixels": np.full((8, 8), 100).tolist()}
    assert client.post("/api/runs/pixelcnn/complete", json=asked | {"image": grey}).status_code == 200


@pytest.mark.parametrize(
    ("run", "change", "line"),
    [
        ("vae", {}, "cannot complete images"),
        ("pixelcnn", {"mask": ["0" * 8] * 8}, "nothing is missing"),
        ("pixelcnn", {"mask": ["2" * 8] * 8}, "a mask is"),
        ("pixelcnn", {"mask": ["1" * 8] * 7}, "a mask is"),
        ("pixelcnn", {"mask": "/etc/passwd"}, "an image is"),
        ("pixelcnn", {"mask": "box=9,9,1,1"}, "box="),
        ("pixelcnn", {"mask": None}, "an image is"),
        ("pixelcnn", {"image": "/etc/passwd"}, "an image is"),
        ("pixelcnn", {"n": 100}, "at most"),
        ("pixelcnn", {"particles": 10**6}, "particles: "),
        ("pixelcnn", {"gibbs": 10**6}, "gibbs: "),
    ],
)
def test_bad_completions_are_refused(refusal, socket, run, change, line):
    asked = {"image": "test:1", "mask": "top-half", "n": 2, "particles": 4} | change
    assert line in refusal("POST", f"/api/runs/{run}/complete", 400, json=asked)
    with socket(f"/api/runs/{run}/complete") as ws:
        ws.send_json(asked)
        assert line in conversation(ws)[-1][0]["error"]


def test_raw_pixels():
    grey, colour = torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.zeros(1, 3, 1, 1, dtype=torch.uint8)
    assert rgba(grey) == bytes([0, 0, 0, 255, 255, 255, 255, 255])
    assert rgba(colour) == bytes([0, 0, 0, 255])
    assert Limits().message_bytes < Limits().body_bytes
