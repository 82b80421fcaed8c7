from dataclasses import asdict, dataclass

import pytest

from limner.config.settings import from_table, with_settings
from limner.errors import LimnerError, on_command_line
from limner.models import families, family
from limner.models.pixelcnn import PixelCNNConfig
from limner.models.recipes import TrainingConfig


def changed(model, *settings):
    return with_settings(family(model).demo((1, 8, 8)), settings)


def test_settings_reach_network_and_training():
    recipe = changed("pixelcnn", "features=96", " blocks = 2 ", "head=gaussian", "learning_rate=1", "precision=bf16")
    assert (recipe.network.features, recipe.network.blocks, recipe.network.head) == (96, 2, "gaussian")
    assert recipe.training.learning_rate == 1.0
    assert isinstance(recipe.training.learning_rate, float)
    assert recipe.training.precision == "bf16"
    before = family("pixelcnn").demo((1, 8, 8))
    assert recipe.training.batch_size == before.training.batch_size
    assert changed("pixelcnn") == before


def test_later_settings_win():
    assert changed("vae", "latent=3", "latent=5").network.latent == 5


@pytest.mark.parametrize("model", families())
def test_every_default_is_within_its_range(model):
    recipe = family(model).demo((1, 8, 8))
    assert from_table(TrainingConfig, asdict(TrainingConfig()), "x") == TrainingConfig()
    assert from_table(type(recipe.network), asdict(type(recipe.network)()), "x") == type(recipe.network)()


def test_every_number_has_a_range():
    """A field that is added without one would let --set through to a traceback."""
    for kind in (TrainingConfig, *(f.config for f in families().values())):
        for name, value in asdict(kind()).items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                for wrong in (-1, float("nan"), float("inf"), "text", True):
                    with pytest.raises(LimnerError, match=f"here {name}=.*: must be a (whole )?number, "):
                        from_table(kind, {name: wrong}, "here")


@pytest.mark.parametrize(
    ("model", "setting", "message"),
    [
        ("pixelcnn", "features=0", "--set features=0: must be a whole number, at least 1 and at most 1,000,000"),
        ("pixelcnn", "features=2.5", "--set features=2.5: must be a whole number, "),
        ("pixelcnn", "features=two", "--set features=two: must be a whole number, "),
        ("pixelcnn", "features=true", "--set features=true: must be a whole number, "),
        ("pixelcnn", "features=99999999999999999999", "at most 1,000,000"),
        ("pixelcnn", "blocks=-1", "--set blocks=-1: must be a whole number, at least 0"),
        ("pixelcnn", "kernel=4", "--set kernel=4: must be odd, as 3 or 5"),
        ("pixelcnn", "first_kernel=2", "--set first_kernel=2: must be odd, as 1 or 3"),
        ("pixelcnn", "kernel=0", "--set kernel=0: must be a whole number, at least 1"),
        ("pixelcnn", "head=foo", "--set head=foo: choose one of auto, sigmoid, softmax, gaussian"),
        ("vae", "latent=0", "--set latent=0: must be a whole number, at least 1"),
        ("vae", "network=foo", "--set network=foo: choose one of dense, conv"),
        ("vae", "network=", "--set network='': choose one of dense, conv"),
        ("vae", "network=3", "--set network=3: choose one of dense, conv"),
        ("vae", "batch_size=0", "--set batch_size=0: must be a whole number, at least 1"),
        ("vae", "learning_rate=-1", "--set learning_rate=-1: must be a number, above 0"),
        ("vae", "learning_rate=nan", "--set learning_rate=nan: must be a number, above 0"),
        ("vae", "learning_rate=0", "--set learning_rate=0: must be a number, above 0"),
        ("vae", "minutes=1e999", "--set minutes=inf: must be a number, at least 0"),
        ("vae", "cooldown=2", "--set cooldown=2: must be a number, at least 0 and at most 1"),
        ("vae", "ema_decay=1.5", "--set ema_decay=1.5: must be a number, at least 0 and below 1"),
        ("vae", "ema_decay=1", "below 1"),
        ("vae", "precision=fp8", "--set precision=fp8: choose one of auto, float32, bf16"),
        ("vae", "seed=-1", "--set seed=-1: must be a whole number, at least 0"),
        ("vae", "latent=[1]", "--set latent=[1]: must be a whole number"),
        ("vae", "latent=1\nhidden=2", "must be a whole number"),
        ("vae", "latnt=2", "unknown key 'latnt'; did you mean 'latent'?"),
        ("vae", "bath_size=2", "did you mean 'batch_size'?"),
        ("vae", "zzz=2", "unknown key 'zzz'; choose one of classes, importance_samples, "),
        ("vae", "blocks=2", "unknown key 'blocks'; choose one of classes, importance_samples, "),
        ("vae", "x", "--set x: write key=value"),
        ("vae", "=3", "write key=value"),
        ("vae", "", "write key=value"),
    ],
)
def test_a_bad_setting_is_named_with_what_is_allowed(model, setting, message):
    with on_command_line(), pytest.raises(LimnerError) as caught:
        changed(model, setting)
    assert message in str(caught.value)


def test_a_recipe_made_by_hand_is_checked_too():
    from dataclasses import replace

    recipe = family("vae").demo((1, 8, 8))
    with pytest.raises(LimnerError, match="latent=0"):
        with_settings(replace(recipe, network=replace(recipe.network, latent=0)), [])
    with pytest.raises(LimnerError, match="kernel=4: must be odd"):
        PixelCNNConfig(kernel=4)


def test_tables_say_where_they_stand():
    for table, message in (
        ({"batch_siz": 1}, "config.toml: unknown key 'batch_siz'; did you mean 'batch_size'"),
        ({"batch_size": "x"}, "config.toml batch_size=x: must be"),
        ([1], "config.toml: must be a table"),
        (3, "config.toml: must be a table"),
    ):
        with pytest.raises(LimnerError) as caught:
            from_table(TrainingConfig, table, "config.toml")
        assert str(caught.value).startswith(message)


def test_a_missing_key_is_named():
    @dataclass(frozen=True)
    class Needs:
        here: int

    with pytest.raises(LimnerError, match=r"at the door: .*missing required field `here`"):
        from_table(Needs, {}, "at the door")
