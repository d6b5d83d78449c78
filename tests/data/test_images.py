"""Pictures of every kind come out upright, opaque and in 8 bits, or with a reason; clips can be read back."""

import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps, PngImagePlugin
from tiny import png_meta

from mind2mind.config import LOCAL, Limits
from mind2mind.data.images import (
    Flag,
    PictureError,
    Reason,
    checked,
    from_uint8,
    grid,
    open_picture,
    save_png,
    to_image,
    to_tensor,
)
from mind2mind.draw import save_clip
from mind2mind.errors import ConfigError, DataError

pillow_heif.register_heif_opener()


def ramp(width=60, height=40):
    """Every pixel tells where it was: red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(
        np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], -1).astype("uint8")
    )


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def distance(a, b):
    return np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).mean()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_pass_bit_for_bit(kind):
    opened = open_picture(encoded(ramp(), kind), LOCAL)
    assert opened.mode == "RGB"
    assert opened.tobytes() == ramp().tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "HEIF", "GIF"])
def test_lossy_formats_come_close(kind):
    opened = open_picture(encoded(ramp(), kind, quality=95), LOCAL)
    assert opened.mode == "RGB"
    assert opened.info["size"] == (60, 40)
    assert distance(opened, ramp()) < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    tagged = Image.open(io.BytesIO(encoded(ramp(), "PNG", exif=exif)))
    expected = ImageOps.exif_transpose(tagged)
    opened = open_picture(encoded(ramp(), "PNG", exif=exif), LOCAL)
    assert opened.tobytes() == expected.tobytes()
    assert opened.info["size"] == ((40, 60) if orientation > 4 else (60, 40))


def test_a_quarter_turn_by_exif_moves_the_right_corner():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    opened = open_picture(encoded(ramp(), "JPEG", quality=100, subsampling=0, exif=exif), LOCAL)
    assert opened.size == (40, 60)
    red, green, _ = opened.getpixel((39, 0))  # upper right was upper left
    assert red < 12
    assert green < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
def test_damaged_exif_is_no_reason_to_refuse():
    opened = open_picture(encoded(ramp(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff junk"), LOCAL)
    assert opened.size == (60, 40)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_flattened_on_white(mode):
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 10, 20))
    opened = open_picture(encoded(image.convert(mode), "PNG"), LOCAL)
    assert opened.getpixel((2, 2)) == (0, 0, 0)
    assert opened.getpixel((15, 2)) == (255, 255, 255)


def test_palettes_with_and_without_transparency():
    palette = ramp().quantize(16)
    opened = open_picture(encoded(palette, "PNG"), LOCAL)
    assert opened.tobytes() == palette.convert("RGB").tobytes()
    see_through = open_picture(encoded(palette, "PNG", transparency=palette.getpixel((0, 0))), LOCAL)
    assert see_through.getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_becomes_rgb():
    opened = open_picture(encoded(Image.new("CMYK", (20, 20), (255, 0, 0, 0)), "JPEG", quality=100), LOCAL)
    assert opened.mode == "RGB"
    assert distance(opened, Image.new("RGB", (20, 20), (0, 255, 255))) < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.linspace(0, 65535, 256).round().astype("uint16").reshape(16, 16)
    opened = open_picture(encoded(Image.fromarray(values), kind), LOCAL)
    assert opened.mode == "L"
    assert np.asarray(opened).ravel().tolist() == list(range(256))


@pytest.mark.parametrize(
    ("values", "top"),
    [
        (np.linspace(0, 1, 256, dtype="float32"), 255),
        (np.arange(256, dtype="float32"), 255),
        (np.linspace(0, 65535, 256).astype("int32"), 255),
        (np.full(256, np.nan, dtype="float32"), 0),
    ],
)
def test_wide_tiffs_keep_their_range(values, top):
    opened = np.asarray(open_picture(encoded(Image.fromarray(values.reshape(16, 16)), "TIFF"), LOCAL))
    assert opened.min() == 0
    assert opened.max() == top


def test_one_bit_is_grey():
    opened = open_picture(encoded(Image.new("1", (16, 16), 1), "PNG"), LOCAL)
    assert opened.mode == "L"
    assert opened.getextrema() == (255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_moving_pictures_give_their_first_frame(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert open_picture(data, LOCAL).getpixel((8, 8)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_cut_off_files_are_refused(kind, share):
    rng = np.random.default_rng(0)
    data = encoded(Image.fromarray(rng.integers(0, 256, (50, 50, 3), dtype="uint8")), kind)
    with pytest.raises(DataError) as caught:
        open_picture(data[: int(len(data) * share)], LOCAL)
    assert caught.value.problem in ("The file is cut off.", "The file is damaged.")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
def test_bytes_changed_anywhere_never_raise_anything_else():
    rng = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encoded(ramp(), kind)
        for _ in range(40):
            damaged = bytearray(data)
            for place in rng.integers(0, len(data), 8):
                damaged[place] = rng.integers(256)
            try:
                assert open_picture(bytes(damaged), LOCAL).mode in ("L", "RGB")
            except DataError as error:
                assert error.problem and error.fix


def tiff(values, order="<", compression=1):
    """A TIFF of these numbers, as Pillow cannot write them."""
    count = values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    if compression == 8:
        data = zlib.compress(data)
    bits, kind = 8 * values.dtype.itemsize, {"u": 1, "i": 2, "f": 3, "c": 6}[values.dtype.kind]
    tags = {256: values.shape[1], 257: len(values), 258: bits, 259: compression, 262: 2 if count > 1 else 1,
            273: 8, 277: count, 278: len(values), 279: len(data), 339: kind}  # fmt: skip
    rows = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + rows + bytes(4)


GREY = np.linspace(0, 1, 256).reshape(16, 16)
COLOUR = np.stack([GREY] * 3, -1)


@pytest.mark.parametrize("chunk", ["profile", "text", "text behind the pixels", "translated text"])
def test_a_whole_png_is_read_however_long_its_profile_and_texts(chunk):
    info, long = PngImagePlugin.PngInfo(), "many words " * 300_000
    if chunk == "translated text":
        info.add_itxt("words", long, zip=True)
    elif chunk != "profile":
        info.add_text("words", long, zip=True)
    if chunk == "text behind the pixels":
        info.chunks = [(name, data, True) for name, data, _ in info.chunks]
    data = encoded(ramp(), "PNG", pnginfo=info, icc_profile=bytes(2_500_000) if chunk == "profile" else None)
    assert open_picture(data, LOCAL).tobytes() == ramp().tobytes()


def test_a_png_with_a_text_without_end_is_too_large_and_not_damaged():
    info = PngImagePlugin.PngInfo()
    info.add_text("words", "x" * 70_000_000, zip=True)
    for data in (encoded(ramp(), "PNG", pnginfo=info), encoded(ramp(), "PNG", icc_profile=bytes(70_000_000))):
        with pytest.raises(PictureError, match="profile or its text has more than 64 MB") as caught:
            open_picture(data, LOCAL)
        assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(("kind", "top"), [("f8", 1), ("f4", 1), ("i4", 65535), ("i2", 255), ("u2", 65535)])
def test_wide_numbers_are_read_in_any_order_of_their_bytes(order, compression, kind, top):
    data = tiff((GREY * top).astype(kind), order, compression)
    assert distance(open_picture(data, LOCAL), GREY * 255) < 0.6


def png16(values):
    """A PNG of 16 bits in colour, as Pillow cannot write them."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", values.shape[1], len(values), 16, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("top", [1023, 4000, 4095, 16383])
@pytest.mark.parametrize(
    "kind", ["PNG", "colour PNG", "<", ">", "colour <", "colour >", "colour < packed", "see-through"]
)
def test_fewer_bits_in_a_file_of_16_are_not_drawn_nearly_black(top, kind):
    values = (GREY.T * top).round().astype("u2")
    if "colour" in kind:
        values = np.stack([values, values[::-1], values.T], -1)
    if "see" in kind:
        values = np.stack([values, values[::-1], values.T, np.full_like(values, top)], -1)
    if kind == "PNG":
        data = encoded(Image.fromarray(values), "PNG")
    elif kind == "colour PNG":
        data = png16(values)
    else:
        order = "<" if "<" in kind else ">"
        data = tiff(values, order, 8 if "packed" in kind else 1)
    opened, white = open_picture(data, LOCAL), 4095 if top == 4000 else top
    wanted = values * (255 / white)
    if "see" in kind:  # on white
        wanted = 255 - (255 - wanted[..., :3]) * (top / white)
    assert distance(opened, wanted) < 1
    assert opened.mode == ("L" if values.ndim == 2 else "RGB")
    assert opened.info["guessed"] == f"its values lie between 0 and {top:,}, and {white:,} is drawn white"


@pytest.mark.parametrize("values", [GREY * 65535, GREY * 20_000, COLOUR * 65535, COLOUR * 17_000])
def test_values_of_16_bits_are_left_as_they_are(values):
    opened = open_picture(tiff(values.round().astype("u2")), LOCAL)
    assert distance(opened, values / 257) < 0.6 and not opened.info["guessed"]


def test_an_upright_picture_of_12_bits():
    exif = Image.Exif()
    exif[0x0112] = 6
    values = (np.linspace(0, 1, 20 * 30).reshape(20, 30) * 4095).astype("u2")
    opened = open_picture(encoded(Image.fromarray(values), "PNG", exif=exif), LOCAL)
    assert opened.info["size"] == opened.size == (20, 30)
    assert distance(opened, np.rot90(values, -1) / 4095 * 255) < 0.6


def spoilt(*values, top=1.0):
    floats = np.linspace(0, top, 4096, dtype="float32").reshape(64, 64)
    for i, value in enumerate(values):
        floats[5 * i + 20, 30] = value
    return floats


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (spoilt(np.nan, np.inf), 2),
        (spoilt(-np.inf), 1),
        (spoilt(-np.inf, np.inf, np.nan, top=255), 3),
        (spoilt(3.4e38, -9999.0), 0),  # what stands for "nothing here"
        (spoilt(1.2, -0.1), 0),  # what sharpening leaves
        (spoilt(np.inf, top=0.02), 1),
        (spoilt(np.nan, top=2.5), 1),  # highlights
        (spoilt(np.inf, top=4000), 1),
        (spoilt(np.inf, top=2e6).astype("f8"), 1),
    ],
)
def test_single_values_do_not_darken_all_others(values, lost):
    opened = np.asarray(open_picture(tiff(values), LOCAL))
    assert opened.min() == 0 and opened.max() > 245 and 120 < np.median(opened) < 132
    said = open_picture(tiff(values), LOCAL).info["guessed"]
    assert (
        said.endswith(f"values that are infinite or no numbers: {lost}") if lost else "infinite" not in said
    )


def test_floats_around_zero_keep_their_lower_half():
    opened = np.asarray(open_picture(tiff(GREY * 2 - 1), LOCAL))
    assert distance(opened, GREY * 255) < 0.6


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (tiff(COLOUR.astype("f4")), "TIFF of this kind"),
        (tiff(COLOUR, ">"), "TIFF of this kind"),
        (tiff(GREY.astype("f2")), "TIFF of this kind"),
        (tiff((COLOUR * 9).astype("u4"), ">"), "TIFF of this kind"),
        (tiff((GREY * 9).astype("u1"), compression=34887), "TIFF of this kind"),
        (encoded(ramp(), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "JPEG of this kind"),
        (encoded(ramp(), "BMP").replace(b"\x18\0" + bytes(4), b"\x18\0\4" + bytes(3)), "BMP of this kind"),
        (b"\0\0\0\x20ftypmif1" + bytes(4) + b"mif1avif", "AVIF"),
    ],
)
def test_what_is_whole_and_of_another_kind_is_not_called_damaged(data, what):
    with pytest.raises(PictureError) as caught:
        open_picture(data, LOCAL)
    assert caught.value.reason is Reason.FOREIGN
    assert caught.value.problem.startswith(f"{what} is not read: ")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
def test_what_is_of_another_kind_and_cut_in_half_is_called_damaged():
    data = tiff(COLOUR.astype("f4"))
    with pytest.raises(PictureError, match="damaged"):
        open_picture(data[: len(data) // 2], LOCAL)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Empty: the file has 0 bytes."),
        (b"Dear diary, today I renamed this to photo.jpg", "Not a picture."),
        (b"BMW and other words", "Not a picture."),
        (bytes(range(256)) * 8, "Not a picture."),
        (b"%PDF-1.7 ...", "PDF is not read: "),
        (b"8BPS\0\1", "Photoshop is not read: "),
        (b"PK\3\4....", "Zip is not read: "),
        (b"\0\0\0\x20ftypisom", "Video is not read: "),
        (b"\0\0\0\x20ftypavif", "AVIF is not read: "),
        (b'<?xml version="1.0"?>\n<svg xmlns="">', "SVG is not read: "),
        (encoded(ramp(), "JPEG2000"), "JPEG 2000 is not read: "),
        (encoded(ramp(), "ICO"), "ICO is not read: "),
        (encoded(ramp(), "PPM"), "Not a picture."),
    ],
)
def test_others_are_refused_by_name(data, problem):
    with pytest.raises(DataError) as caught:
        open_picture(data, LOCAL)
    assert caught.value.problem.startswith(problem)


def test_a_refusal_survives_the_way_between_processes():
    with pytest.raises(PictureError) as caught:
        open_picture(b"Dear diary", LOCAL)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.reason) == (str(caught.value), Reason.NOT_A_PICTURE)


def test_size_is_checked_before_the_pixels_are_decoded(monkeypatch):
    data = encoded(Image.new("1", (3000, 2000)), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match="Too large: 3000 x 2000 pixels, more than 5 megapixels"):
        open_picture(data, Limits(pixels=5_000_000))


def test_a_decompression_bomb_is_refused():
    data = bytearray(encoded(Image.new("1", (16, 16)), "PNG"))
    data[16:24] = struct.pack(">II", 200_000, 200_000)  # in the header chunk, with its checksum
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(DataError, match="Too large: it has far too many pixels"):
        open_picture(bytes(data), LOCAL)


def test_small_and_heavy_files():
    with pytest.raises(DataError, match="Too small: 9 x 7 pixels, a side is smaller than 8"):
        open_picture(encoded(ramp(9, 7), "PNG"), LOCAL)
    assert open_picture(encoded(ramp(8, 8), "PNG"), LOCAL).size == (8, 8)
    with pytest.raises(DataError, match=r"Too large: 7 kB, more than 1 kB"):
        open_picture(encoded(ramp(), "BMP"), Limits(file_bytes=1000))


def test_paths_and_names(tmp_path):
    path = tmp_path / "ünï côdé.png"
    save_png(ramp(), path)
    assert open_picture(path, LOCAL).size == (60, 40)
    with pytest.raises(DataError, match=r"gone\.png: Unreadable: No such file"):
        open_picture(tmp_path / "gone.png", LOCAL, "gone.png")
    with pytest.raises(DataError, match="Not a file"):
        open_picture(tmp_path, LOCAL)
    with pytest.raises(DataError, match="Unreadable: File name too long"):
        open_picture(tmp_path / ("a" * 300), LOCAL)


def test_large_jpegs_are_decoded_smaller_and_look_the_same():
    data = encoded(ramp(1200, 800), "JPEG", quality=95)
    full, reduced = open_picture(data, LOCAL), open_picture(data, LOCAL, side=128)
    assert reduced.size == (300, 200)  # a quarter: an eighth would be too small
    assert reduced.info["size"] == full.info["size"] == (1200, 800)
    assert distance(*(to_tensor(image, 64, 3) for image in (full, reduced))) < 1.5


def test_a_picture_of_the_exact_size_passes_bit_for_bit():
    pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    for crop in ("centre", "fit"):
        assert torch.equal(to_tensor(to_image(pixels), 32, 3, crop), pixels)
    assert torch.equal(to_tensor(to_image(pixels[:1]), 32, 1), pixels[:1])
    assert torch.equal(to_tensor(to_image(from_uint8(pixels)), 32, 3), pixels)


def test_centre_crop_takes_the_square_in_the_middle():
    wide = Image.new("RGB", (96, 32), "blue")
    wide.paste("red", (32, 0, 64, 32))
    assert torch.equal(
        to_tensor(wide, 32, 3), torch.tensor([255, 0, 0]).byte()[:, None, None].expand(3, 32, 32)
    )
    tall = wide.rotate(90, expand=True)
    assert torch.equal(to_tensor(tall, 32, 3), to_tensor(wide, 32, 3))


def test_fit_shows_the_whole_picture_between_bars():
    wide = Image.new("RGB", (64, 32), (10, 200, 30))
    x = to_tensor(wide, 32, 3, "fit")
    assert torch.equal(x, torch.tensor([10, 200, 30]).byte()[:, None, None].expand(3, 32, 32))
    half = Image.new("L", (64, 32), 0)
    half.paste(255, (32, 0, 64, 32))
    x = to_tensor(half, 32, 1, "fit")[0]
    assert x[16, 2] == 0
    assert x[16, 29] == 255
    assert abs(int(x[0, 0]) - 128) < 3
    with pytest.raises(ConfigError):
        to_tensor(half, 32, 1, "stretch")


def test_shrinking_is_antialiased():
    checks = Image.fromarray(((np.indices((256, 256)).sum(0) % 2) * 255).astype("uint8"))
    assert (to_tensor(checks, 32, 1).float() - 127.5).abs().max() < 3


def test_grey_and_colour_meet_the_channels_asked_for():
    grey = Image.new("L", (16, 16), 77)
    assert to_tensor(grey, 16, 3).unique().tolist() == [77]
    assert to_tensor(Image.new("RGB", (16, 16), (77, 77, 77)), 16, 1).shape == (1, 16, 16)


def test_to_image_clamps():
    image = to_image(torch.tensor([[[-3.0, -1.0, 0.0, 1.0, 3.0]]]))
    assert image.mode == "L"
    assert list(image.tobytes()) == [0, 0, 128, 255, 255]


def test_grid_places_pictures_row_by_row():
    colours = ["red", "lime", "blue", "black", "yellow"]
    sheet = grid([Image.new("RGB", (10, 8), colour) for colour in colours])
    assert sheet.size == (3 * 12 - 2, 2 * 10 - 2)
    assert sheet.getpixel((12, 0)) == (0, 255, 0)
    assert sheet.getpixel((0, 10)) == (0, 0, 0)
    assert sheet.getpixel((30, 15)) == (255, 255, 255)
    assert grid([Image.new("L", (8, 8))], columns=4).size == (8, 8)


def test_png_keeps_pixels_and_provenance(tmp_path):
    meta = {"model": "toon", "seed": "7", "title": "Gesichter 顔"}
    picture = ramp()
    picture.info |= meta | {"dpi": (72, 72)}  # what is no text is left out
    save_png(picture, tmp_path / "a.png")
    assert png_meta(tmp_path / "a.png") == meta
    assert open_picture(tmp_path / "a.png", LOCAL).tobytes() == ramp().tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def frames(count=6, size=(20, 16)):
    return (Image.new("RGB", size, (40 * i, 255 - 40 * i, 99)) for i in range(count))


def decoded(path):
    av = pytest.importorskip("av")
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]


def test_mp4_is_enlarged_even_and_starts_at_once(tmp_path):
    save_clip(frames(), tmp_path / "a.mp4", fps=12)
    shown = decoded(tmp_path / "a.mp4")
    assert [frame.shape for frame in shown] == [(256, 320, 3)] * 6
    for frame, original in zip(shown, frames(), strict=True):
        assert distance(frame, np.array(original.getpixel((0, 0)))) < 6
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    save_clip(frames(2, (301, 257)), tmp_path / "odd.mp4")
    assert decoded(tmp_path / "odd.mp4")[0].shape == (258, 302, 3)


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_webp_and_gif_play_every_frame(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    save_clip(frames(), path, fps=20)
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (6, (20, 16), 0)
        for i, original in enumerate(frames()):
            film.seek(i)
            assert distance(film.convert("RGB"), original) < 6
            assert film.info["duration"] == 50


def test_a_folder_receives_the_frames_and_loses_stale_ones(tmp_path):
    save_clip(frames(4), tmp_path / "film")
    save_clip(frames(2), tmp_path / "film")
    assert sorted(path.name for path in (tmp_path / "film").iterdir()) == [
        "frame-00000.png",
        "frame-00001.png",
    ]


def test_clips_that_cannot_be_written_leave_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"\.avi"):
        save_clip(frames(), tmp_path / "a.avi")
    with pytest.raises(DataError, match="without a frame"):
        save_clip(iter(()), tmp_path / "a.mp4")

    def failing():
        yield from frames(2)
        raise RuntimeError("decoder")

    for ending in ("mp4", "webp", "gif"):
        with pytest.raises(RuntimeError):
            save_clip(failing(), tmp_path / f"a.{ending}")
    assert list(tmp_path.iterdir()) == []


def test_a_png_may_tell_of_a_name_that_is_no_utf8(tmp_path):
    picture = ramp()
    picture.info["picture"] = "caf\udce9.png"
    save_png(picture, tmp_path / "a.png")
    assert png_meta(tmp_path / "a.png") == {"picture": "caf\\udce9.png"}


# What a picture lacks

FOLDER = Path(__file__).parents[2]
SHARP = [FOLDER / "tests/pictures/astronaut.jpg", *sorted((FOLDER / "assets").glob("*/*[05].*"))]


def flags(image, side=64, enlarged=False):
    return [flag for flag, _ in checked(to_tensor(image, side, 3), enlarged)]


def exposed(image, stops):
    light = (np.asarray(image) / 255) ** 2.2 * 2.0**stops
    return Image.fromarray((255 * light.clip(0, 1) ** (1 / 2.2)).round().astype("uint8"))


def test_good_pictures_have_no_flags():
    assert len(SHARP) > 200
    for path in SHARP:
        image = Image.open(path).convert("RGB")
        assert flags(image, 64 if path.suffix == ".jpg" else image.width) == []
    for plain in ("red", "yellow", "grey"):
        assert flags(Image.new("RGB", (64, 64), plain)) == []


@pytest.mark.parametrize(
    "path", [SHARP[0], FOLDER / "assets/aliens/aliens-1000003.webp", FOLDER / "assets/bearded"]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_blur_and_exposure_are_flagged(path, mode):
    path = path if path.is_file() else sorted(path.glob("*.webp"))[7]
    image = Image.open(path).convert(mode)
    blurred = image.filter(ImageFilter.GaussianBlur(0.04 * image.width))
    assert flags(blurred) == [Flag.BLURRED] and flags(blurred, enlarged=True) == []
    moved = image.filter(
        ImageFilter.BoxBlur((0.06 * image.width, 0))
    )  # along one axis alone: sharp along the other
    assert Flag.BLURRED not in flags(moved)
    assert flags(exposed(image, -4)) == [Flag.DARK]
    washed = Image.blend(image, Image.new(mode, image.size, "white"), 0.75)
    assert flags(washed) == [Flag.BRIGHT]
