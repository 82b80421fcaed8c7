"""Weights, state or configuration that were damaged: one line names the file, and nothing is lost or overwritten."""

import shutil

import pytest


def with_header(path, **header):
    """The same tensors under another header."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "halved": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "emptied": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "pickle": lambda path: path.write_bytes(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins"),
    "foreign": lambda path: with_header(path, format="pt"),
    "no json": lambda path: with_header(path, limner="[1, 2"),
    "a list": lambda path: with_header(path, limner="[1, 2]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["model.safetensors", "state.safetensors"])
def test_damaged_tensors_are_named(home, refused, limner, snapshot, file, damage):
    DAMAGES[damage](home / "runs" / "pixelcnn" / file)
    before = snapshot(home / "runs")
    commands = [["resume", "pixelcnn", "--epochs", "3"]]
    if file == "model.safetensors":
        commands += [["sample", "pixelcnn"], ["evaluate", "pixelcnn"], ["compare", "vae", "pixelcnn"]]
    for words in commands:
        assert f"runs/pixelcnn/{file} is damaged or was not written by limner" in refused(*words)
        assert snapshot(home / "runs") == before
    if file == "state.safetensors":  # the weights stay usable
        assert limner("evaluate", "pixelcnn", "--limit", "5").code == 0


def test_a_state_that_lacks_a_piece(home, refused):
    with_header(home / "runs" / "vae" / "state.safetensors", limner='{"step": 3}')
    assert "state.safetensors lacks a piece of the training state" in refused("resume", "vae", "--epochs", "2")


def test_weights_of_another_model(home, refused):
    shutil.copy(home / "runs" / "pixelcnn" / "model.safetensors", home / "runs" / "vae" / "model.safetensors")
    assert "runs/vae/model.safetensors does not fit this model" in refused("sample", "vae")


def test_weights_without_a_state_are_not_overwritten(home, refused, snapshot):
    (home / "runs" / "vae" / "state.safetensors").unlink()
    before = snapshot(home / "runs")
    assert "has weights but no state.safetensors to go on from" in refused("resume", "vae", "--epochs", "3")
    assert snapshot(home / "runs") == before


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (None, b"", "runs/vae/config.toml has no 'model'"),
        (None, bytes(range(256)), "runs/vae/config.toml cannot be read"),
        ("latent = 2", "latent = ", "runs/vae/config.toml cannot be read"),
        ("[network]", "[netwrk]", "runs/vae/config.toml has no 'network'"),
        ("[training]", "[schooling]", "runs/vae/config.toml has no 'training'"),
        ('model = "vae"', "", "runs/vae/config.toml has no 'model'"),
        ('model = "vae"', 'model = "vea"', "unknown model 'vea': did you mean 'vae'?"),
        ('model = "vae"', "model = 3", "unknown model '3'"),
        ("latent = 2", "latent = 2\ncolour = 3", "[network]: unknown key 'colour'; choose one of classes, "),
        ("latent = 2", "latnt = 2", "[network]: unknown key 'latnt'; did you mean 'latent'?"),
        ("latent = 2", 'latent = "x"', "runs/vae/config.toml [network] latent=x: must be a whole number"),
        ("latent = 2", "latent = 3", "model.safetensors does not fit this model: size mismatch for"),
        ("latent = 2", "latent = 1000000", "model.safetensors does not fit this model: config.toml asks for a larger"),
        ("batch_size = 64", "batch_size = 0", "runs/vae/config.toml [training] batch_size=0: must be a whole number"),
        ("batch_size = 64", "batch_size = nan", "[training] batch_size=nan: must be a whole number"),
        ("levels = 17", "levels = 1", "runs/vae/config.toml [data] levels=1: must be a whole number, at least 2"),
        ("levels = 17", "level = 17", "[data]: unknown key 'level'; did you mean 'levels'?"),
        ("levels = 17", "", "[data]: Object missing required field `levels`"),
        ('source = "digits"', "source = 3", "[data] source=3: must be a text"),
        ('fit = "crop"', 'fit = "zoom"', "[data] fit=zoom: choose one of crop, pad, stretch"),
        ("train = 1297", "train = -1", "[data]"),
        ("train = 1297", "train = 1", "digits has changed since the run began"),
        ("    8,\n    8,\n", "    8,\n", "[data]"),
        ("    8,\n    8,\n", "    0,\n    8,\n", "[data]"),
    ],
)
def test_a_damaged_configuration_is_named(home, refused, snapshot, old, new, line):
    path = home / "runs" / "vae" / "config.toml"
    text = path.read_text()
    assert old is None or old in text
    path.write_bytes(new if old is None else text.replace(old, new).encode())
    before = snapshot(home / "runs")
    assert line in refused("evaluate", "vae")
    assert snapshot(home / "runs") == before


def test_a_network_that_is_no_table(home, refused):
    path = home / "runs" / "vae" / "config.toml"
    text = path.read_text()
    start, end = text.index("[network]"), text.index("[training]")
    path.write_text('network = "dense"\n' + text[:start] + text[end:])
    assert "[network]: must be a table" in refused("sample", "vae")


def test_a_run_without_weights_yet(home, refused):
    (home / "runs" / "pixelcnn" / "model.safetensors").unlink()
    assert "limner resume pixelcnn" in refused("sample", "pixelcnn")
