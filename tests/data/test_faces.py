"""FFHQ's square: its closed form, a real face however it is turned, and what each door says of faces.

The photograph is a part of NASA's portrait of Eileen Collins, which is in the public domain.
"""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from tiny import SIZES, make_pictures, make_studio
from typer.testing import CliRunner

from mind2mind import draw as gallery
from mind2mind.cli import commands
from mind2mind.data import faces
from mind2mind.data.dataset import Pictures
from mind2mind.data.faces import Remark
from mind2mind.data.images import SHOWN, Flag, PictureError, Reason, from_uint8, to_image, to_tensor
from mind2mind.errors import DataError
from mind2mind.explore import View
from mind2mind.models.bundle import Card, describe, save_source
from mind2mind.networks.alae import ALAE

ASTRONAUT = Path(__file__).parents[1] / "pictures/astronaut.jpg"
# Eyes half the way down and a quarter of the side apart, the mouth a quarter below: 4 x 1/4 beats 3.6 x 1/4
UPRIGHT = np.array([[0.375, 0.475], [0.625, 0.475], [0.4, 0.725], [0.6, 0.725]])


@pytest.fixture(scope="module")
def portrait():
    with Image.open(ASTRONAUT) as image:
        return image.convert("RGB")


@pytest.fixture(scope="module")
def upright(portrait):
    return to_image(to_tensor(portrait, 128, 3, "face"))


@pytest.fixture
def quick(monkeypatch):
    """A quarter of the detector's work, where it is not its eyes that are tested."""
    monkeypatch.setattr(faces, "SEEN", 320)


def turned(image, degrees, shift=(0, 0)):
    """Clockwise, and then moved by a share of the side."""
    move = [round(image.width * share) for share in shift]
    return image.rotate(-degrees, Image.Resampling.BICUBIC, translate=move, fillcolor=(128, 128, 128))


# The rule


def test_the_square_of_upright_marks_is_the_picture():
    corners = [[0, 0], [0, 1], [1, 1], [1, 0]]
    assert np.allclose(faces.quad_of(UPRIGHT), corners)
    assert faces._off(UPRIGHT * 100, faces.quad_of(UPRIGHT * 100), (100, 100)) < 1e-12


@pytest.mark.parametrize("degrees", [-170, -30, 5, 90])
def test_the_square_turns_grows_and_moves_with_the_marks(degrees):
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    where = lambda points: 37.0 * points @ turn + (200.0, -40.0)  # noqa: E731
    quad = faces.quad_of(where(UPRIGHT))
    assert np.allclose(quad, where(faces.quad_of(UPRIGHT)))
    assert faces.Face(quad, 1.0, 1).turn == pytest.approx(degrees)


def test_a_long_face_makes_the_square_larger():
    marks = UPRIGHT.copy()
    marks[2:, 1] = 0.475 + 0.5  # 3.6 x 0.5 beats 4 x 0.25
    quad = faces.quad_of(marks)
    assert np.linalg.norm(quad[3] - quad[0]) == pytest.approx(1.8)
    assert np.allclose(quad.mean(0), (0.5, 0.475 + 0.1 * 0.5))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_cutting_a_square_out_is_cropping_it(mode):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), "uint8")).convert(mode)
    quad = np.array([[20.0, 10.0], [20.0, 42.0], [52.0, 42.0], [52.0, 10.0]])
    assert faces.cut(image, quad, 32).tobytes() == image.crop((20, 10, 52, 42)).tobytes()


def test_beyond_the_picture_lies_its_reflection_and_nothing_black():
    image = Image.new("RGB", (40, 40), (200, 150, 100))
    quad = np.array([[-30.0, -30.0], [-30.0, 70.0], [70.0, 70.0], [70.0, -30.0]])
    assert np.abs(np.asarray(faces.cut(image, quad, 50), int) - (200, 150, 100)).max() <= 1


def test_a_huge_square_costs_no_more_memory_than_the_result_needs():
    image = Image.new("L", (3000, 3000), 7)
    quad = np.array([[-9000.0, -9000.0], [-9000.0, 12000.0], [12000.0, 12000.0], [12000.0, -9000.0]])
    assert faces.cut(image, quad, 16).size == (16, 16)


# A real face


@pytest.mark.parametrize(("degrees", "shift"), [(20, (0.1, 0.05)), (-20, (-0.1, 0.1))])
def test_a_turned_and_shifted_face_comes_out_like_the_upright_one(portrait, upright, degrees, shift):
    copy = turned(portrait, degrees, shift)
    face = faces.look(copy)
    assert not face.aligned and face.turn == pytest.approx(degrees, abs=5)
    small = [
        np.asarray(x.resize((16, 16), Image.Resampling.BOX), float)
        for x in (to_image(to_tensor(copy, 128, 3, "face", face)), upright)
    ]
    centred = copy.resize((16, 16), Image.Resampling.BOX)
    gap = np.abs(small[0] - small[1]).mean()
    assert gap < 20 < 2 * 20 < np.abs(np.asarray(centred, float) - small[1]).mean()


@pytest.mark.parametrize(
    ("degrees", "size"), [(180, (300, 400)), (270, (420, 300)), (70, (400, 300)), (135, (300, 300))]
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_face_is_found_however_the_picture_lies(portrait, upright, degrees, size, mirrored):
    copy = Image.new("RGB", size, (128, 128, 128))
    copy.paste(turned(portrait, degrees), (size[0] - 300, size[1] - 300))
    copy, right = (ImageOps.mirror(x) if mirrored else x for x in (copy, upright))
    face = faces.look(copy)
    assert not face.aligned and face.count == 1
    assert abs(face.turn) == pytest.approx(abs((degrees + 180) % 360 - 180), abs=5)
    shown = to_image(to_tensor(copy, 128, 3, "face", face))
    gaps = [
        np.abs(np.asarray(shown.rotate(90 * quarter).resize((16, 16), Image.Resampling.BOX), float) - np.asarray(
            right.resize((16, 16), Image.Resampling.BOX), float)).mean()
        for quarter in range(4)
    ]  # fmt: skip
    assert gaps[0] < 25 < min(gaps[1:])


def test_pictures_on_their_side_are_used_and_no_faces_are_made_up(tmp_path, portrait):
    portrait.rotate(180).save(tmp_path / "a.png")
    portrait.resize((300, 240)).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "b.png")
    Image.radial_gradient("L").save(tmp_path / "c.png")
    pictures = Pictures([tmp_path], resolution=64, channels=3, crop="face")
    assert len(list(pictures)) == 2
    a, b, c = pictures.report.files
    assert a.face == b.face == Remark.ALIGNED and c.skipped is Reason.NO_FACE
    assert 170 < int(a.reason.split()[5]) <= 180 and 80 < int(b.reason.split()[5]) < 100


def test_an_aligned_face_is_known_and_left_as_it_is(upright):
    face = faces.look(upright)
    assert face.aligned and faces.remark(face, True) == (Remark.FITS, "Aligned already: used as it is.")
    assert torch.equal(to_tensor(upright, 128, 3, "face"), to_tensor(upright, 128, 3))


def test_the_largest_of_two_faces(portrait):
    both = Image.new("RGB", (500, 300), "grey")
    both.paste(portrait.resize((150, 150)), (0, 0))
    both.paste(portrait, (200, 0))
    face = faces.look(both)
    assert (
        face.count == 2
        and face.quad.mean(0)[0] > 200
        and "the largest of 2 faces" in faces.remark(face, True)[1]
    )


def test_no_face():
    for image in (Image.new("RGB", (64, 64)), Image.new("L", (640, 8)), Image.radial_gradient("L")):
        assert faces.look(image) is None
        with pytest.raises(PictureError, match="No face was found") as caught:
            to_tensor(image, 64, 3, "face")
        assert caught.value.reason is Reason.NO_FACE


def test_looking_leaves_torchs_random_numbers_alone(portrait):
    faces._detector.cache_clear()
    state = torch.get_rng_state()
    faces.find(portrait)
    assert torch.equal(state, torch.get_rng_state())


# The report


def test_the_report_on_faces(tmp_path, portrait, upright, quick):
    turned(portrait, 15).save(tmp_path / "a.png")
    upright.save(tmp_path / "b.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "c.png")
    pictures = Pictures([tmp_path], resolution=64, channels=3, crop="face")
    read, (a, b, c) = list(pictures), pictures.report.files
    assert a.reason.startswith("Face aligned: it leant by") and b.reason == "Aligned already: used as it is."
    assert c.skipped is Reason.NO_FACE and c.reason.startswith("No face was found: the crop centre")
    before, after = pictures.before_and_after(read[0])
    assert before.size == after.size == (SHOWN, SHOWN) and pictures.before_and_after(read[1]) is None
    assert pictures.report.faces() == {Remark.ALIGNED: 1, Remark.FITS: 1}
    pictures = Pictures([tmp_path], resolution=64, channels=3, faces_wanted=True)
    read, (a, b, c) = list(pictures), pictures.report.files
    assert [v.face for v in (a, b, c)] == [Remark.NOT_ALIGNED, Remark.FITS, Remark.NO_FACE]
    assert a.reason == "Face not aligned: the crop face would align it."
    assert (
        c.reason == "No face found: this model knows faces only."
        and pictures.before_and_after(read[0]) is not None
    )


@pytest.mark.parametrize("shift", [(-70, -40), (0, -60)])
def test_a_face_at_the_edge_is_told(tmp_path, portrait, shift):
    width, height = (300 - abs(side) for side in shift)
    left, top = (max(0, -side) for side in shift)
    portrait.crop((left, top, left + width, top + height)).save(tmp_path / "a.png")
    portrait.crop((20, 0, 280, 260)).save(tmp_path / "b.png")
    pictures = Pictures([tmp_path], resolution=64, channels=3, crop="face")
    assert len(list(pictures)) == 2
    a, b = pictures.report.files
    assert Flag.BEYOND in a.flags and "lie outside the picture and are made up" in a.reason
    assert Flag.BEYOND not in b.flags


@pytest.mark.parametrize(("nose", "aside"), [(0.5, False), (0.47, False), (0.56, True), (0.4, True)])
def test_a_face_that_looks_to_one_side(monkeypatch, nose, aside):
    marks = np.vstack([UPRIGHT, [nose, 0.58]])
    image = Image.new("RGB", (400, 300))
    monkeypatch.setattr(faces, "find", lambda seen, turns=0: [marks * min(seen.size)] if turns == 0 else [])
    assert faces.look(image).aside is aside


def test_the_portrait_looks_ahead_and_all_of_it_is_there(portrait, upright):
    for image in (portrait, upright, ImageOps.mirror(portrait)):
        face = faces.look(image)
        assert not face.aside and face.beyond(image.size) < 0.2
    assert (
        faces.Face(np.array([[-50.0, 0], [-50, 100], [50, 100], [50, 0]]), 1.0, 1).beyond((100, 100)) == 0.5
    )


# The doors


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        card = Card(
            "people", "People", "aligned faces", "nobody", "none", {"held_out_psnr": 20.0}, crop="face"
        )
        save_source(folder / "weights/people", ALAE(replace(SIZES, layer_count=5)), card)
    return make_studio(folder)


@pytest.fixture
def photos(tmp_path, portrait, upright, quick):
    folder = tmp_path / "photos"
    folder.mkdir()
    turned(portrait, 15).save(folder / "a.png")
    upright.save(folder / "b.png")
    return folder


def test_a_card_says_how_its_pictures_are_cut_and_old_cards_do_not(studio, tmp_path):
    folder = studio.weights / "people"
    assert describe(folder).crop == "face" == studio.models.load("people").card.crop
    old = json.loads((folder / "config.json").read_text())
    del old["crop"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert describe(tmp_path).crop == "centre"


def test_a_run_keeps_before_and_after(studio, photos):
    *_, prepared = studio.runs.prepare([photos], "people")
    assert prepared.report.faces()[Remark.ALIGNED] == 1
    (couple,) = studio.runs.alignment(prepared.token)
    assert couple.size == (SHOWN, 2 * SHOWN + 2)
    studio.runs.delete(prepared.token)
    assert not (studio.home / "runs" / prepared.token).exists()


def test_an_endpoint_is_aligned_and_needs_a_face(studio, photos, portrait, tmp_path):
    model, image = studio.models.load("people"), Image.open(photos / "a.png")
    aligned, as_it_is = (
        next(gallery.draw(model, model.alae.encode(from_uint8(to_tensor(image, 64, 3, crop)[None]))))
        for crop in ("face", "centre")
    )
    drawn = next(studio.explore.along("people", [View(photo=photos / "a.png"), View(1)], [0.0]))
    assert drawn.tobytes() == aligned.tobytes() != as_it_is.tobytes()
    assert studio.explore.rebuild("people", photos / "a.png").aligned is not None
    assert studio.explore.rebuild("people", photos / "b.png").aligned is None
    (plain,) = make_pictures(tmp_path / "noise", 1).iterdir()
    with pytest.raises(DataError, match="No face"):
        studio.explore.along("people", [View(photo=plain), View(1)], [0.5])


def test_the_command_line(studio, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(studio.weights))
    monkeypatch.setenv("MIND2MIND_HOME", str(tmp_path / "home"))

    def called(*arguments):
        result = CliRunner().invoke(commands, [*map(str, arguments), "--model", "people", "--json"])
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout), result.stderr

    document, told = called("reconstruct", photos, "--crop", "face", "--out", tmp_path / "out")
    assert "1 x Face aligned" in told
    widths = [Image.open(row["path"]).width for row in document["pictures"]]
    assert widths == [3 * 64 + 4, 2 * 64 + 2]  # before, aligned, rebuilt; aligned, rebuilt
    document, told = called("encode", photos, "--crop", "centre", "--out", tmp_path / "codes.safetensors")
    assert document["faces"] == {"Face not aligned": 1, "Aligned already": 1} and "--crop face" in told


def test_the_app_offers_to_align(studio, photos, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    from mind2mind.ui.page import Page
    from mind2mind.ui.shared import Visit

    tab = Page(studio).transfer
    pictures = tab.pictures
    assert pictures.crop.value == "face" == pictures.crop_of("people")
    files = [str(path) for path in sorted(photos.iterdir())]
    *_, last = pictures.add(Visit.of(None), True, files, "people")
    assert last[pictures.crop] == "face" and "Align and crop" not in last[pictures.faces]
    visit = Visit.of(last[tab.steps.visit])
    *_, last = pictures.again(visit, last[pictures.added], "people", "centre")
    assert "Align and crop" in last[pictures.faces] and "1 face not aligned" in last[pictures.faces]
    assert last[pictures.aligned].count("<img") == 1
    visit = Visit.of(last[tab.steps.visit])
    asked = {"source": "people", "crop": "face"}
    *_, last = pictures.act(visit, asked, last[pictures.added], 1)
    assert last[pictures.crop] == "face" and "Align and crop" not in last[pictures.faces]
    assert "1 x Face aligned" in last[pictures.faces] and "Above your pictures" in last[pictures.faces]
    again = tab.arrive(Visit.of(last[tab.steps.visit]), SimpleNamespace(query_params={}))
    assert again[pictures.aligned].count("<img") == 1 and "Align and crop" not in again[pictures.faces]


def test_the_app_shows_a_stop_before_and_after(studio, photos):
    from mind2mind.explore import View
    from mind2mind.ui.interpolate import InterpolateTab, Route

    tab = InterpolateTab(studio)
    shown = [
        tab.rebuild(Route("people", (View(photo=path and photos / path), View(2))), 0).count("<img")
        for path in ("a.png", "b.png", None)
    ]
    assert shown == [3, 2, 0]  # before, aligned and drawn; one that is aligned already


def test_official_files_of_faces_ask_for_alignment(tmp_path):
    from mind2mind.config import ARCHITECTURES
    from mind2mind.models.official import ALIGNED_FACES

    aligned = [name for name, architecture in ARCHITECTURES.items() if architecture in ALIGNED_FACES]
    assert aligned == ["ffhq", "celeba-hq256"]
