"""Generation step by step, over the API."""

import pytest

from limner import workbench
from limner.studio.limits import Limits


def test_pixel_by_pixel(client, refusal):
    state = client.get("/api/learn/pixelcnn/pixel/start").json()
    assert (state["drawn"], state["total"], state["levels"]) == (0, 64, 17)
    asked = {"values": state["values"], "drawn": 0, "seed": 4}
    none = client.post("/api/learn/pixelcnn/pixel", json=asked | {"steps": 0}).json()
    assert none["next"]["word"] == "p(x₁)"
    assert len(none["next"]["probabilities"]) == 17
    assert sum(none["next"]["probabilities"]) == pytest.approx(1, abs=1e-4)
    one = client.post("/api/learn/pixelcnn/pixel", json=asked | {"steps": 1}).json()
    (just,) = one["just"]
    assert just["probability"] == none["next"]["probabilities"][just["level"]]
    assert one["next"]["word"] == "p(x₂ | x₁)"
    while one["drawn"] < 64:
        one = client.post(
            "/api/learn/pixelcnn/pixel", json={"values": one["values"], "drawn": one["drawn"], "seed": 4, "steps": 64}
        ).json()
    assert "next" not in one
    sample = client.post("/api/runs/pixelcnn/samples", json={"n": 1, "seed": 4}).json()
    assert sample["images"] == [one["image"]]
    assert "does not draw a value" in refusal("GET", "/api/learn/vae/pixel/start", 400)
    assert "levels of this model" in refusal(
        "POST", "/api/learn/pixelcnn/pixel", 400, json={"values": [99] * 64, "drawn": 1}
    )
    assert "y" in client.post("/api/learn/by-class/pixel", json={"steps": 0, "label": 3}).json()["next"]["word"]


def test_the_way_of_a_vae(client, refusal):
    seen = client.post("/api/learn/vae/vae", json={"seed": 1}).json()
    assert len(seen["z"]) == 2
    assert {"mean", "deviation", "sample"} <= seen.keys()
    assert "terms" not in seen
    seen = client.post("/api/learn/vae/vae", json={"image": "test:3"}).json()
    assert seen["terms"]["kl"] == pytest.approx(sum(seen["terms"]["kl_by_dimension"]))
    assert seen["posterior"]["mean"] == pytest.approx(workbench.open_run("vae").encode("test:3")[0].tolist())
    chosen = client.post("/api/learn/vae/vae", json={"z": [0.5, 0.5]}).json()
    assert chosen["words"]["z"] == "as you chose it"
    assert "no variational" in refusal("POST", "/api/learn/gan/vae", 400, json={})
    assert "codes of run" in refusal("POST", "/api/learn/vae/vae", 400, json={"z": [1]})


@pytest.mark.parametrize("source", ["ring", "digits"])
def test_a_game_is_stepped(client, source):
    game = client.post("/api/learn/gan", json={"source": source})
    assert game.status_code == 201
    game = game.json()
    assert ("data" in game) == ("field" in game) == (source == "ring")
    assert len(game["samples"]) == len(game["judged"]) == (128 if source == "ring" else 16)
    path = f"/api/learn/gan/{game['game']}"
    after = client.post(f"{path}/step", json={"player": "discriminator", "steps": 3}).json()
    assert after["moves"] == {"discriminator": 3, "generator": 0}
    assert after["samples"] == game["samples"]
    assert after["judged"] != game["judged"]
    both = client.post(f"{path}/step", json={"player": "both"}).json()
    assert both["moves"] == {"discriminator": 4, "generator": 1}
    assert both["samples"] != game["samples"]
    assert set(both["losses"]) == {"discriminator", "generator"}
    assert both["words"].startswith("Both made 1 step: ")
    assert client.get(path).json()["samples"] == both["samples"]
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


def test_games_are_bounded(client, studio, refusal):
    studio.limits = Limits(games=2)
    games = [client.post("/api/learn/gan", json={}).json()["game"] for _ in range(3)]
    assert client.get(f"/api/learn/gan/{games[0]}").status_code == 404
    assert client.get(f"/api/learn/gan/{games[-1]}").status_code == 200
    step = f"/api/learn/gan/{games[-1]}/step"
    assert "steps: " in refusal("POST", step, 400, json={"steps": 10**6})
    assert "player: " in refusal("POST", step, 400, json={"player": "referee"})
    assert "choose one of" in refusal("POST", "/api/learn/gan", 400, json={"objective": "win"})
    assert "no such game" in refusal("POST", "/api/learn/gan/g0/step", 404, json={})
