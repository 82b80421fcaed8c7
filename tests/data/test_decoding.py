import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from limner.data.decoding import Unreadable, _to_8_bits, decode, header_size, quiet

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def packed(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(io.BytesIO(data)).image)


def test_grey_and_rgb_come_back_as_they_are():
    np.testing.assert_array_equal(pixels(packed(Image.fromarray(RAMP))), RAMP)
    np.testing.assert_array_equal(pixels(packed(Image.fromarray(COLOUR))), COLOUR)


def test_rgb_without_colour_is_grey_only_if_exactly_so():
    false = np.repeat(RAMP[..., None], 3, axis=-1)
    assert pixels(packed(Image.fromarray(false))).shape == (6, 8)
    false[3, 3, 2] ^= 1
    assert pixels(packed(Image.fromarray(false))).shape == (6, 8, 3)


def test_one_bit_is_black_and_white():
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    np.testing.assert_array_equal(pixels(packed(image)), (RAMP > 100) * 255)


@pytest.mark.parametrize("mode", ["P", "CMYK", "LAB"])
def test_other_colour_spaces_become_rgb(mode):
    colour = np.zeros((16, 16, 3), np.uint8) + np.array([200, 60, 90], np.uint8)
    image = Image.fromarray(colour)
    if mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image, *spaces, outputMode="LAB")
    else:
        image = image.quantize(4) if mode == "P" else image.convert(mode)
    assert image.mode == mode
    np.testing.assert_allclose(pixels(packed(image, "TIFF")).astype(int), colour, atol=6)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_modes_that_few_files_have(mode):
    colour = np.zeros((4, 4, 3), np.uint8) + np.array([200, 60, 90], np.uint8)
    flat, see_through = _to_8_bits(Image.fromarray(colour).convert(mode))
    np.testing.assert_allclose(np.asarray(flat).astype(int), colour, atol=6)
    assert not see_through


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_lie_on_white(mode):
    image = Image.fromarray(np.full((4, 4), 100, np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(np.array([[0, 255, 128, 255]] * 4, np.uint8)))
    decoded = decode(io.BytesIO(packed(image)))
    assert decoded.see_through
    np.testing.assert_array_equal(np.asarray(decoded.image)[0], [255, 100, 177, 100])


def test_opaque_alpha_is_not_called_transparent():
    assert not decode(io.BytesIO(packed(Image.fromarray(COLOUR).convert("RGBA")))).see_through


def test_transparent_palette_entry_lies_on_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    data = packed(image, transparency=0)
    np.testing.assert_array_equal(pixels(data), [[[255, 255, 255], [40, 50, 60]]])


@pytest.mark.parametrize(("kind", "order"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("PPM", "<u2")])
def test_sixteen_bits_are_scaled_not_clipped(kind, order):
    deep = np.array([[0, 257, 300, 32768, 65278, 65535]], order)
    mode = "I;16B" if order == ">u2" else "I;16"
    image = Image.frombytes(mode, (6, 1), deep.tobytes())
    data = b"P5 6 1 65535\n" + deep.astype(">u2").tobytes() if kind == "PPM" else packed(image, kind)
    np.testing.assert_array_equal(pixels(data), [[0, 1, 1, 128, 254, 255]])


@pytest.mark.parametrize(("values", "expected"), [([0, 0.5, 1], [0, 128, 255]), ([0, 77.4, 255], [0, 77, 255])])
def test_floats_in_a_known_range_are_read(values, expected):
    data = packed(Image.fromarray(np.array([values], np.float32)), "TIFF")
    np.testing.assert_array_equal(pixels(data), [expected])


@pytest.mark.parametrize("value", [-0.5, 256.0, np.nan, np.inf])
def test_floats_in_no_known_range_are_broken(value):
    data = packed(Image.fromarray(np.array([[0.5, value]], np.float32)), "TIFF")
    with pytest.raises(Unreadable, match="floating-point values from"):
        pixels(data)


def test_integers_beyond_16_bits_are_broken():
    data = packed(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF")
    with pytest.raises(Unreadable, match="70000"):
        pixels(data)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation, kind):
    image = Image.fromarray(RAMP)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # the stored pixels are those that look upright after the turn the tag asks for
    turn = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}.get(orientation)  # fmt: skip
    stored = image.transpose(Image.Transpose[turn]) if turn else image
    data = packed(stored, kind, exif=exif)
    np.testing.assert_array_equal(pixels(data), RAMP)
    assert header_size(io.BytesIO(data)) == RAMP.shape


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (255, 0, 128)]
    data = packed(
        frames[0],
        kind,
        save_all=True,
        append_images=frames[1:],
        **{"lossless": True} if kind == "WEBP" else {},
    )
    np.testing.assert_array_equal(pixels(data), np.full((8, 8), 255))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just some text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (packed(Image.fromarray(RAMP).resize((64, 64)), "JPEG")[:-200], "truncated"),
    ],
)
def test_damaged_files_give_a_reason(data, reason):
    with pytest.raises(Unreadable, match=reason):
        pixels(data)


def test_png_chunk_of_the_wrong_length():
    data = bytearray(packed(Image.fromarray(RAMP)))
    data[data.index(b"IDAT") - 1] = 0
    with pytest.raises(Unreadable, match="broken PNG file"):  # for which Pillow raises a SyntaxError
        pixels(bytes(data))


def test_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 60):  # Pillow warns of the first and refuses the second
        with quiet(), pytest.raises(Unreadable, match="decompression bomb"):
            header_size(io.BytesIO(packed(Image.new("L", (side, side)))))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "PPM", "ICO", "PCX"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_random_damage_is_reported_and_nothing_else(kind, data):
    whole = bytearray(packed(Image.fromarray(np.tile(COLOUR, (3, 3, 1))), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    part = bytes(whole[: data.draw(st.integers(0, len(whole)))]) if data.draw(st.booleans()) else bytes(whole)
    with quiet():
        assert (reason := _tried(part)) is None or (reason and "\n" not in reason)


def _tried(data):
    """The reason given, None if all went well; any other exception escapes."""
    try:
        header_size(io.BytesIO(data))
        decode(io.BytesIO(data))
    except Unreadable as error:
        return str(error)
    return None
