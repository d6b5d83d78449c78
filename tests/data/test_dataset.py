"""One bad file stops nothing, each file gets its verdict, and no zip leads anywhere."""

import io
import json
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mind2mind.config import Limits
from mind2mind.data import dataset
from mind2mind.data.dataset import FileReport, Pictures, Report
from mind2mind.data.faces import Remark
from mind2mind.data.images import Flag, Reason
from mind2mind.errors import ConfigError, DataError


def png(seed, size=(16, 16)):
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype="uint8")
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def write_zip(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read(*sources, resolution=16, channels=3, **options):
    pictures = Pictures(sources, resolution=resolution, channels=channels, **options)
    return list(pictures), pictures.report


def reasons(report):
    return {file.name: file.reason for file in report.skipped}


@pytest.mark.parametrize("place", ["faces.look", "images.to_tensor", "images.checked"])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (np.linalg.LinAlgError("Singular matrix"), "Unreadable: LinAlgError: Singular matrix."),
        (MemoryError(), "Unreadable: The memory is full."),
        (OSError(24, "Too many open files"), "Unreadable: Too many open files."),
    ],
)
def test_whatever_a_picture_does_to_what_looks_at_it_the_others_are_read(
    tmp_path, monkeypatch, caplog, place, error, words
):
    write(tmp_path, {"a.png": png(1), "b.png": png(2), "c.png": png(3)})
    module, name = place.split(".")
    target, calls = getattr(dataset, module), []
    before = getattr(target, name)

    def odd(*given, **options):
        calls.append(given)
        if len(calls) == 2:
            raise error
        return before(*given, **options)

    monkeypatch.setattr(target, name, odd)
    pictures, report = read(tmp_path, faces_wanted=True)
    assert [picture.name for picture in pictures] == ["a.png", "c.png"]
    assert reasons(report) == {"b.png": words} and "b.png could not be used" in caplog.text


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_messy_folder(tmp_path):
    good, bomb = png(1), bytearray(png(9))
    bomb[16:24] = struct.pack(">II", 12_000, 12_000)
    bomb[29:33] = struct.pack(">I", zipfile.crc32(bytes(bomb[12:29])))
    write(
        tmp_path,
        {
            "a.png": good,
            "deep/er/a.png": png(2),
            "deep/Zweites Bild ü 顔.PNG": png(3),
            "wrong-ending.txt": png(4),
            "b-copy.png": good,
            "bomb.png": bytes(bomb),
            "cut.png": png(5)[:300],
            "empty.jpg": b"",
            "small.png": png(6, (7, 9)),
            "text.jpg": b"hello",
            "archive.zip": b"PK\3\4",
            ".hidden.png": png(7),
            ".git/x.png": png(7),
            "__MACOSX/a.png": png(7),
            "Thumbs.db": b"x",
            "about.json": b"{}",  # ours, beside example sets
            "deep/attributes.jsonl": b"{}",  # ours, beside what make-data draws
        },
    )
    pictures, report = read(tmp_path)
    assert [picture.name for picture in pictures] == [
        "a.png",
        "deep/Zweites Bild ü 顔.PNG",
        "deep/er/a.png",
        "wrong-ending.txt",
    ]
    assert reasons(report) == {
        "archive.zip": "Zip in a folder or zip: it is not opened.",
        "b-copy.png": "Duplicate: the same pixels as a.png.",
        "bomb.png": "Too large: 12000 x 12000 pixels, more than 100 megapixels.",
        "cut.png": "The file is cut off.",
        "empty.jpg": "Empty: the file has 0 bytes.",
        "small.png": "Too small: 7 x 9 pixels, a side is smaller than 8.",
        "text.jpg": "Not a picture.",
    }
    assert report.reasons()[Reason.TOO_SMALL] == 1
    for picture in pictures:
        assert picture.pixels.shape == (3, 16, 16)
        assert picture.pixels.dtype == torch.uint8


def test_duplicates_are_told_by_pixels_not_by_bytes(tmp_path):
    write(tmp_path, {"a.png": png(1), "c.png": png(2)})
    Image.open(tmp_path / "a.png").save(tmp_path / "b.bmp")
    _, report = read(tmp_path)
    assert reasons(report) == {"b.bmp": "Duplicate: the same pixels as a.png."}
    a, b, c = report.files
    assert a.sha256 == b.sha256 != c.sha256


def test_reports_carry_the_original_size_and_remarks(tmp_path):
    write(tmp_path, {"a.png": png(1, (40, 20)), "b.png": png(2, (12, 10))})
    Image.open(io.BytesIO(png(3, (600, 400)))).save(tmp_path / "c.jpg")
    _, report = read(tmp_path)
    assert [(v.width, v.height, v.reason) for v in report.used] == [
        (40, 20, "Much cut off: the square in the middle leaves 50% of the picture out."),
        (12, 10, "Enlarged to 16 pixels."),
        (600, 400, ""),
    ]


def test_report_survives_json():
    report = Report(
        (
            FileReport("a ü.png", width=3, height=4, sha256="ff"),
            FileReport("b", Reason.NOT_A_PICTURE, reason="Not a picture."),
            FileReport("c", face=Remark.ALIGNED, reason="Face aligned: it leant by 3 degrees."),
            FileReport("d", flags=(Flag.RANGE, Flag.BLURRED), reason="Range guessed: so. Blurred: so."),
        )
    )
    written = json.loads(json.dumps(report.to_dict()))
    assert [file["status"] for file in written["files"]] == ["used", "skipped", "used", "used"]
    assert written["files"][1]["skipped"] == "Not a picture"
    assert Report.from_dict(written) == report
    before = [{key: value for key, value in file.items() if key != "flags"} for file in written["files"][:3]]
    assert Report.from_dict({"version": 2, "files": before}).files == report.files[:3]
    for broken in (
        {},
        {"version": 2, "files": [written["files"][3] | {"flags": ["Unheard of"]}]},
        {"version": 3, "files": []},
        {"version": 2, "files": [{"nme": "a"}]},
        {"version": 2, "files": [written["files"][1] | {"skipped": "For fun"}]},
        {"version": 1, "verdicts": [{"nme": "a"}]},
    ):
        with pytest.raises(DataError, match="report on the pictures cannot be read"):
            Report.from_dict(broken)


def test_a_report_of_version_1_is_read():
    """There only the sentences told the kinds."""
    said = {
        Reason.TOO_SMALL: "Too small: 7 x 9 pixels, a side is smaller than 8.",
        Reason.CUT_OFF: "The file is cut off.",
        Reason.DAMAGED: "The file is damaged in its zip.",
        Reason.FOREIGN: "AVIF is not read: JPEG, PNG, WebP, GIF, BMP, TIFF and HEIC are.",
        Remark.ALIGNED: "Face aligned: it leant by 20 degrees. Enlarged to 64 pixels.",
        None: "Enlarged to 64 pixels.",
    }
    rest = {"width": 7, "height": 9, "sha256": "ff", "size": 3}
    rows = [
        {"name": str(i), "status": "skipped" if kind in set(Reason) else "used", "reason": reason} | rest
        for i, (kind, reason) in enumerate(said.items())
    ]
    report = Report.from_dict({"version": 1, "verdicts": rows})
    assert [file.skipped or file.face for file in report.files] == list(said)
    assert [file.reason for file in report.files] == list(said.values())
    assert len(report.skipped) == 4 and report.files[0].sha256 == "ff"
    for path in (Path(__file__).parents[1] / "homes/v1/home/runs").glob("*/report.json"):
        assert len(Report.from_dict(json.loads(path.read_text())).used) == 24


def smooth(seed, size=(32, 32)):
    """Blurred, and far larger than it is shown."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype="uint8")
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def saved(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def test_each_picture_is_told_what_it_lacks(tmp_path):
    values = np.random.default_rng(0).integers(0, 1000, (32, 32)).astype("uint16")
    noise = Image.open(io.BytesIO(png(1, (32, 32))))
    files = {
        "a-good.png": saved(noise),
        "b-ten-bits.png": saved(Image.fromarray(values)),
        "c-night.png": saved(noise.point(lambda value: value // 4)),
        "d-fog.png": saved(noise.point(lambda value: 200 + value // 8)),
        "e-wide.png": png(2, (200, 32)),
        "f-soft-and-tall.png": saved(smooth(3, (32, 100))),
        "g-infinite.tif": saved(
            Image.fromarray(np.where(values > 990, np.inf, values / 999).astype("float32")), "TIFF"
        ),
        "h-small.png": saved(smooth(4, (12, 12))),  # of course it is blurred
    }
    _, report = read(write(tmp_path, files), resolution=32)
    told = {file.name: file.flags for file in report.files}
    assert list(told.values()) == [
        (), (Flag.RANGE,), (Flag.DARK,), (Flag.BRIGHT,), (Flag.CUT,), (Flag.CUT, Flag.BLURRED), (Flag.RANGE,), (),
    ]  # fmt: skip
    assert report.flags() == {Flag.RANGE: 2, Flag.CUT: 2, Flag.DARK: 1, Flag.BRIGHT: 1, Flag.BLURRED: 1}
    said = [file.reason for file in report.files]
    assert "and 1,023 is drawn white" in said[1] and "leaves 84% of the picture out" in said[4]
    assert "values that are infinite or no numbers: " in said[6] and said[7] == "Enlarged to 32 pixels."
    assert said[5].startswith("Much cut off: ") and said[5].endswith(
        " Blurred: it has no sharp edge at the model's size."
    )
    whole = read(tmp_path, resolution=32, crop="fit")[1]
    assert not whole.flags()[Flag.CUT]


@pytest.mark.parametrize("first", [0, 20])
def test_what_most_pictures_lack_is_said_once(tmp_path, first):
    write(tmp_path / "soft", {f"{i}.png": saved(smooth(first + i)) for i in range(6)})
    write(tmp_path / "wide", {f"{i}.png": png(first + i, (64, 20)) for i in range(5)})
    write(tmp_path / "good", {f"{i}.png": png(first + i, (32, 32)) for i in range(4)})
    lacks = lambda *folders: read(*(tmp_path / f for f in folders))[1].missing()  # noqa: E731
    assert lacks("soft", "good") == "6 of 10 pictures are blurred: add some that are not."
    assert lacks("wide", "good") == (
        "5 of 9 pictures are much cut off: add some that are not, or choose the crop fit."
    )
    assert lacks("soft", "wide", "good") == lacks("good") == Report().missing() == ""


def test_only_faces_can_be_said_to_look_all_one_way():
    def report(faces, *flags):
        files = [FileReport(str(i), face=face, flags=flags) for i, face in enumerate(faces)]
        return Report(tuple(files))

    front = [Remark.ALIGNED, Remark.FITS] * 15
    assert report(front).missing().startswith("All 30 faces are seen from the front: add some from the side")
    assert report(front, Flag.ASIDE).missing() == report(front[:19]).missing() == ""
    assert report([None] * 60).missing() == report([Remark.NO_FACE] * 60).missing() == ""


def test_advice_changes_with_the_count():
    files = [FileReport(str(i)) for i in range(5000)]

    def advice(count):
        return Report(tuple(files[:count])).advice()

    texts = [advice(count) for count in (0, 1, 4, 19, 49, 199, 200)]
    assert len({text.lstrip("0123456789") for text in texts}) == 7
    for below, count in ((4, 3), (19, 5), (49, 20), (199, 50), (5000, 200)):
        assert advice(below).split(" ")[-5:] == advice(count).split(" ")[-5:]
    assert Report(tuple(files[:20])).advice(excluded=19) == texts[1]


def test_reading_again_gives_the_same(tmp_path):
    write(tmp_path, {f"{i}.png": png(i) for i in range(3)})
    pictures = Pictures([tmp_path], resolution=8, channels=1)
    first, report = list(pictures), pictures.report
    second = list(pictures)
    assert pictures.report == report
    assert pictures.count == 3
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(first, second, strict=True))
    assert first[0].pixels.shape == (1, 8, 8)


def test_the_report_fills_while_reading(tmp_path):
    write(tmp_path, {f"{i}.png": png(i) for i in range(3)})
    pictures = Pictures([tmp_path], resolution=8, channels=3)
    for done, _ in enumerate(pictures, start=1):
        assert len(pictures.report.files) == done


def test_files_and_folders_together_have_unique_names(tmp_path):
    for i, folder in enumerate(("x", "y", "z/x")):
        write(tmp_path / folder, {"a.png": png(i)})
    files = [tmp_path / folder / "a.png" for folder in ("x", "y", "z/x")]
    assert [picture.name for picture in read(*files)[0]] == ["a.png", "a (2).png", "a (3).png"]
    pictures, _ = read(tmp_path / "x", tmp_path / "y")
    assert [picture.name for picture in pictures] == ["x/a.png", "y/a.png"]
    folders = [write(tmp_path / parent / "v1.0", {"a": png(i)}) for i, parent in enumerate("pq")]
    assert [picture.name for picture in read(*folders)[0]] == ["v1.0/a", "v1.0/a (2)"]


def test_missing_sources_and_wrong_crops(tmp_path):
    with pytest.raises(DataError, match="gone cannot be opened: No such file"):
        Pictures([tmp_path / "gone"], resolution=16, channels=3)
    with pytest.raises(DataError, match="cannot be opened"):
        Pictures([tmp_path / "nul\0"], resolution=16, channels=3)
    write(tmp_path, {"a.png": png(1)})
    with pytest.raises(ConfigError):
        Pictures([tmp_path], resolution=16, channels=3, crop="stretch")
    assert read(write(tmp_path / "none", {".x": b""}))[1].advice() == Report().advice()


def test_limits_on_count_and_total_hold_before_anything_is_read(tmp_path):
    write(tmp_path, {f"{i}.png": png(i) for i in range(5)})
    with pytest.raises(DataError, match="There are 5 files, more than the 4 allowed"):
        Pictures([tmp_path], resolution=16, channels=3, limits=Limits(files=4))
    with pytest.raises(DataError, match=r"in all, more than the 2 kB allowed"):
        Pictures([tmp_path], resolution=16, channels=3, limits=Limits(total_bytes=2000))


def test_limits_per_file_cost_only_that_file(tmp_path):
    write(tmp_path, {"a.png": png(1), "b.png": png(2, (64, 64)), "c.png": png(3, (50, 20))})
    pictures, report = read(tmp_path, limits=Limits(file_bytes=5000, total_bytes=8000, pixels=900))
    assert [picture.name for picture in pictures] == ["a.png"]
    assert set(report.reasons()) == {Reason.TOO_LARGE}


def test_links_are_followed_once_and_broken_ones_told(tmp_path):
    write(tmp_path, {"pics/a.png": png(1), "elsewhere/b.png": png(2)})
    (tmp_path / "pics/loop").symlink_to(tmp_path / "pics")
    (tmp_path / "pics/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "pics/broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "pics/self.png").symlink_to(tmp_path / "pics/self.png")
    pictures, report = read(tmp_path / "pics")
    assert [picture.name for picture in pictures] == ["a.png", "more/b.png"]
    assert report.reasons() == {Reason.UNREADABLE: 2}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    write(tmp_path, {"a.png": png(1)})
    os.mkfifo(tmp_path / "pipe.png")
    assert reasons(read(tmp_path)[1]) == {"pipe.png": "Not a file."}


def test_unreadable_files_are_told(tmp_path, monkeypatch):
    write(tmp_path, {"a.png": png(1), "b.png": png(2)})
    really = Path.open

    def refuse(path, *args, **kwargs):  # root may read everything, so chmod would not do
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied")
        return really(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    assert reasons(read(tmp_path)[1]) == {"b.png": "Unreadable: Permission denied."}


def test_files_that_vanish_meanwhile_are_told(tmp_path):
    write(tmp_path, {"a.png": png(1), "b.png": png(2)})
    pictures = Pictures([tmp_path], resolution=16, channels=3)
    (tmp_path / "a.png").unlink()
    assert [picture.name for picture in pictures] == ["b.png"]
    assert pictures.report.reasons() == {Reason.UNREADABLE: 1}


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_undecodable_names_can_be_written_down(tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff\xfe.png", "wb") as file:  # noqa: PTH123 (pathlib has no bytes)
        file.write(png(1))
    (picture,), report = read(tmp_path)
    json.dumps(report.to_dict(), ensure_ascii=False).encode("utf-8")
    assert picture.name == "??.png"


def test_a_zip(tmp_path):
    path = write_zip(
        tmp_path / "pics.ZIP",
        {
            "a.png": png(1),
            "in/a.png": png(2),
            "in/": b"",
            "in/text.png": b"hello",
            "__MACOSX/._a.png": b"x",
            ".DS_Store": b"x",
            "in/other.zip": b"PK\3\4",
        },
    )
    pictures, report = read(path)
    assert [picture.name for picture in pictures] == ["a.png", "in/a.png"]
    assert reasons(report) == {
        "in/other.zip": "Zip in a folder or zip: it is not opened.",
        "in/text.png": "Not a picture.",
    }


def test_zip_members_cannot_leave(tmp_path):
    inner = tmp_path / "one/two"
    inner.mkdir(parents=True)
    names = ["../../up.png", "/abs.png", "C:\\dir\\win.png", "x/../../../y.png", "con\x07trol\n.png"]
    path = write_zip(inner / "slip.zip", {name: png(i) for i, name in enumerate(names)})
    before = sorted(tmp_path.rglob("*"))
    pictures, _ = read(path)
    assert sorted(p.name for p in pictures) == [
        "C:/dir/win.png",
        "abs.png",
        "control.png",
        "up.png",
        "x/y.png",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_zip_bombs_are_refused_by_what_they_declare(tmp_path):
    path = write_zip(
        tmp_path / "bomb.zip",
        {f"{i}.png": bytes(3_000_000) for i in range(4)} | {"ok.png": png(1)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"12 MB in all, more than the 10 MB"):
        Pictures([path], resolution=16, channels=3, limits=Limits(total_bytes=10_000_000))
    pictures, report = read(path, limits=Limits(file_bytes=1_000_000, total_bytes=2_000_000))
    assert [picture.name for picture in pictures] == ["ok.png"]
    assert report.reasons() == {Reason.TOO_LARGE: 4}


def test_zip_members_that_lie_about_their_size_are_skipped(tmp_path):
    path = write_zip(
        tmp_path / "lie.zip",
        {"a.png": bytes(3_000_000), "b.png": png(1)},
        compression=zipfile.ZIP_DEFLATED,
    )
    data = path.read_bytes().replace(struct.pack("<I", 3_000_000), struct.pack("<I", 100))
    path.write_bytes(data)
    pictures, report = read(path)
    assert [picture.name for picture in pictures] == ["b.png"]
    assert reasons(report) == {"a.png": "The file is damaged in its zip."}


def test_encrypted_and_damaged_members_are_skipped(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.png": png(1), "b.png": png(2), "c.png": png(3)})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("b.png").header_offset
    data[start + 80] ^= 255  # a byte of b's content
    central = data.index(b"PK\1\2")
    data[central + 8] |= 1  # a asks for a password
    path.write_bytes(bytes(data))
    pictures, report = read(path)
    assert [picture.name for picture in pictures] == ["c.png"]
    assert reasons(report) == {
        "a.png": "Encrypted: the zip asks for a password.",
        "b.png": "The file is damaged in its zip.",
    }


NAS = {  # as QNAP, Windows, macOS, Lightroom and Picasa leave it
    "a.png": 1,
    "summer/b.png": 2,
    "summer/.@__thumb/default100b.png": 3,
    ".@__thumb/s800a.png": 4,
    "@Recycle/c.png": 5,
    "RECYCLER/S-1-5/Dc1.png": 6,
    "summer/System Volume Information/d.png": 7,
    ".Trash-1000/files/e.png": 8,
    "Photos Previews.lrdata/0/f.png": 9,
    ".picasaoriginals/g.png": 10,
    "My.photoslibrary/originals/0/h.png": 11,
    "My.photoslibrary/resources/derivatives/h.png": 12,
    "Thumbs/i.png": 13,
    ".trash-bin.png": 14,  # a hidden file, told of no more than others
    "summer/SYNOPHOTO_THUMB_XL.png": 15,
    "$RX1Y2Z3.png": 16,
    "thumbs-up/j.png": 17,  # somebody's own
    "recycled art/k.png": 18,
}


@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_systems_are_passed_over_and_named_once(tmp_path, packed):
    files = {name: png(seed) for name, seed in NAS.items()}
    source = write_zip(tmp_path / "nas.zip", files) if packed else write(tmp_path / "nas", files)
    pictures, report = read(source)
    assert [picture.name for picture in pictures] == [
        "My.photoslibrary/originals/0/h.png", "a.png", "recycled art/k.png", "summer/b.png", "thumbs-up/j.png",
    ]  # fmt: skip
    passed = {".@__thumb", "@Recycle", "RECYCLER", "summer/System Volume Information", ".Trash-1000", "Thumbs",
              "Photos Previews.lrdata", ".picasaoriginals", "My.photoslibrary/resources"}  # fmt: skip
    assert {name.replace("summer/.@", ".@") for name in reasons(report)} == passed
    assert report.reasons() == {Reason.SYSTEM: len(passed)}
    assert "Give it by itself" in reasons(report)["Thumbs"]


def test_a_folder_of_a_system_that_is_given_by_itself_is_read(tmp_path):
    write(tmp_path, {"@eaDir/a.png": png(1), "thumbs/b.png": png(2)})
    assert [picture.name for picture in read(tmp_path / "thumbs")[0]] == ["b.png"]
    assert len(read(tmp_path / "@eaDir", tmp_path / "thumbs")[0]) == 2


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["Straße/niño.png"]),  # macOS does not say it either
        ("cp437", ["Größe.png", "à Noël/garçon.png"]),
        ("cp850", ["São João.png", "Ærø.png"]),
        ("cp866", ["Москва/кошка.png"]),
        ("cp932", ["家族旅行/清水寺.png"]),
        ("cp932", ["表ソ.png", "新しいフォルダー/画像 1.png"]),  # with \\ as a second byte
        ("gb18030", ["新建文件夹/图片1.png"]),
        ("gb18030", ["北京.png", "我的猫.png"]),
        ("cp949", ["새 폴더/고양이.png"]),
        ("cp949", ["서울.png"]),
        ("big5", ["新增資料夾/台北.png"]),
    ],
)
def test_names_of_zips_that_do_not_say_how_they_are_written(tmp_path, encoding, names):
    files = {f"{'x' * len(name.encode(encoding))}{i}": png(i) for i, name in enumerate(names)}
    data = write_zip(tmp_path / "a.zip", files | {"plain.png": png(9)}).read_bytes()
    for i, (dummy, name) in enumerate(zip(files, names, strict=True)):
        data = data.replace(dummy.encode(), name.encode(encoding) + str(i).encode())
    (tmp_path / "a.zip").write_bytes(data)
    pictures, _ = read(tmp_path / "a.zip")
    wanted = {f"{name}{i}" for i, name in enumerate(names)} | {"plain.png"}
    assert {picture.name for picture in pictures} == wanted


@pytest.mark.parametrize(
    ("version", "flags", "method", "said"),
    [
        (20, 0, 98, "In a zip that must be unpacked first: the compression PPMd is not read."),
        (20, 0, 6, "In a zip that must be unpacked first: the compression Implode is not read."),
        (20, 0, 77, "In a zip that must be unpacked first: the compression 77 is not read."),
        (20, 32, 8, "In a zip that must be unpacked first: compressed patched data (flag bit 5)."),
        (90, 0, 8, "a.zip is not read: zip file version 9.0. Unpack it and give the folder."),
    ],
)
def test_a_zip_that_python_cannot_unpack_is_not_called_damaged(tmp_path, version, flags, method, said):
    path = write_zip(tmp_path / "a.zip", {"a.png": png(1)})
    data = bytearray(path.read_bytes())
    for start in (4, data.index(b"PK\1\2") + 6):  # told in both headers
        data[start : start + 6] = struct.pack("<HHH", version, flags, method)
    path.write_bytes(data)
    if version == 20:
        _, report = read(path)
        assert reasons(report) == {"a.png": said} and report.reasons() == {Reason.PACKED: 1}
    else:
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(caught.value) == said


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\3\4 cut off"])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is no whole zip file"):
        Pictures([tmp_path / "a.zip"], resolution=16, channels=3)


def test_the_sizes_are_counted_by_the_shorter_side():
    files = [FileReport(str(i), width=side, height=600) for i, side in enumerate((16, 64, 127, 300))]
    sizes = Report((*files, FileReport("x", Reason.DUPLICATE, width=9, height=9))).sizes()
    assert sizes == {"16 to 31": 1, "32 to 63": 0, "64 to 127": 2, "128 to 255": 0, "256 to 511": 1}
    assert Report().sizes() == {}
