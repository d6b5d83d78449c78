"""Places around a picture are drawn from what says where they are, and from nothing else."""

import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from official_size import ROOT
from PIL import ImageChops, ImageColor
from tiny import SIZES, make_pictures

from mind2mind import draw, explore
from mind2mind.config import LOCAL
from mind2mind.data.images import open_picture
from mind2mind.draw import Cost, Draw
from mind2mind.errors import ConfigError, DataError
from mind2mind.explore import ANGLE, DIRECTIONS, PLANE, STEP, Explore, View, alike, z_of
from mind2mind.judge.verdict import Verdict
from mind2mind.models.bundle import load_source, save_source
from mind2mind.networks.mindgan import Perceptron


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return next(make_pictures(tmp_path_factory.mktemp("photo"), 1).iterdir())


@pytest.fixture(scope="module")
def minds(studio):
    """`tiny`, whose z are normal, and one whose z are uniform and whose codes are refined."""
    tiny = studio.models.load("tiny")
    torch.manual_seed(1)
    card = replace(tiny.card, id="refining", architecture=None)
    save_source(studio.weights / "refining", tiny.alae, card, prior=Perceptron([8, 16, 16]), refinements=1)
    return [tiny, studio.models.load("refining")]


HEAD = {  # rows and columns of toon heads of 64 px
    "skin": (slice(41, 43), slice(22, 28)),
    "hair": (slice(11, 16), slice(24, 39)),
    "background": (slice(20, 40), slice(0, 8)),
}
CAT = {"coat": (slice(48, 58), slice(30, 38)), "background": (slice(36, 56), slice(54, 62))}
SAID = {"light": "white", "dark": "black"}
REFS = pytest.mark.parametrize("ref", ["tiny", "refining"])


def same(one, other):
    return np.array_equal(np.asarray(one), np.asarray(other))


def near(one, other, levels=1):
    """Rounding may differ where a picture is drawn in another batch."""
    return np.abs(np.int16(one) - np.int16(other)).max() <= levels


# A seed's own picture


@REFS
def test_a_plain_view_is_the_picture_of_its_seed(studio, minds, ref):
    for noise in draw.NOISES:
        drawn = studio.explore.draw(ref, [View(seed, psi=0.8, noise=noise) for seed in (3, 2**32 - 1)])
        known = studio.draw.sample(ref, [3, 2**32 - 1], psi=0.8, noise=noise)
        assert [image.info for image in drawn] == [image.info for image in known]
        assert all(map(same, drawn, known))


def test_one_batch_holds_views_of_all_kinds(studio, minds, photo):
    views = [
        View(1),
        View(2, noise="none"),
        View(photo=photo),
        View(1, near=(4,), moves=(1.0,)),
        View(1, psi=0),
    ]
    for alone, together in zip(views, studio.explore.draw("refining", views), strict=True):
        assert near(*studio.explore.draw("refining", [alone]), together)
    assert studio.explore.draw("tiny", []) == []


def test_all_may_get_the_style_of_one(studio):
    views = [View(1, psi=0.8), View(2, psi=0.8)]
    middle = studio.explore.layers("tiny") // 2
    for crossover in (None, 1):
        drawn = studio.explore.draw("tiny", views, style=3, crossover=crossover)
        rows = studio.explore.mix("tiny", views, [View(3, psi=0.8)], crossover or middle)
        assert all(map(same, drawn, [image for (image,) in rows]))


def test_a_picture_says_where_it_is(studio, photo):
    said = View(5, near=(1, 2), place=(0.5, -3), moves=(0.0, 1.5))
    one, other = studio.explore.draw("tiny", [said, View(photo=photo)])
    assert (
        one.info["near"] == "(1, 2)"
        and one.info["place"] == "(0.5, -3)"
        and one.info["moves"] == "(0.0, 1.5)"
    )
    assert other.info["photo"] == photo.name, "not where it lies"


# Neighbours


def test_neighbours_are_numbered_and_differ():
    view = View(7, near=(2,))
    assert alike(view, 3) == [view, View(7, near=(2, 1)), View(7, near=(2, 2))]
    assert alike(view, 1) == [view]


def scores(model, *views):
    return torch.cat([model.scores_of(z_of(model, view)) for view in views])


def test_neighbours_are_mixtures_that_the_mind_might_draw(minds):
    for model in minds:
        views = [View(seed, near=(seed, 5)) for seed in range(400)]  # its own number is no way back to it
        drawn, own = scores(model, *views), scores(model, *map(View, range(400)))
        assert drawn.std().item() == pytest.approx(1, abs=0.03)
        assert (drawn * own).mean().item() == pytest.approx(math.cos(ANGLE) ** 2, abs=0.03)
        apart = scores(model, *alike(View(1), 401)[1:]) - math.cos(ANGLE) * scores(model, View(1))
        assert apart.std().item() == pytest.approx(math.sin(ANGLE), abs=0.02)


# The plane


def test_a_seed_is_in_the_middle_of_its_plane(minds):
    for model in minds:
        assert torch.equal(z_of(model, View(9, place=(0, 0))), z_of(model, View(9)))
        torch.testing.assert_close(
            z_of(model, View(9, place=(1e-9, 0))), z_of(model, View(9)), rtol=1e-4, atol=1e-5
        )


def test_a_plane_is_continuous_and_endless(minds):
    for model in minds:
        for x, y in ((STEP, 1.5), (-STEP, -STEP), (0.3, 2 * STEP), (1e6 - 1, -1e6 + 1)):
            here, beside = scores(model, View(4, place=(x, y)), View(4, place=(x - 0.01, y + 0.01)))
            assert 0 < (here - beside).abs().max() < 0.06  # 0.01 cells along both axes, of scores of up to 4
        assert torch.equal(*scores(model, View(4, place=(1.5, -7)), View(4, place=(1.5, -7)))[:, None])


def test_every_place_is_a_mixture_that_the_mind_might_draw(minds):
    for model in minds:
        for place in ((1.0, 1.0), (2.0, 6.5), (-3.0, 0.5), (4.0, 4.0)):
            drawn = scores(model, *(View(seed, place=place) for seed in range(400)))
            assert drawn.std().item() == pytest.approx(1, abs=0.03)


def test_one_cell_turns_z_by_a_quarter_turn_over_step(minds):
    views = [View(seed, place=(x, 0)) for x in (0, 1, STEP) for seed in range(400)]
    own, beside, far = scores(minds[0], *views).split(400)
    expected = math.cos(math.pi / 2 / STEP) * own + math.sin(math.pi / 2 / STEP) * far
    torch.testing.assert_close(beside, expected)
    assert abs((own * far).mean().item()) < 0.03


def test_planes_and_neighbours_have_nothing_in_common(minds):
    corner = scores(minds[0], *(View(seed, place=(STEP, 2 * STEP)) for seed in range(400)))
    towards = scores(minds[0], *(View(seed, near=(1, 2)) for seed in range(400)))
    assert PLANE < 0 and abs((corner * towards).mean().item()) < 0.03


# Directions


def test_independent_components_are_found():
    """Of codes that are a mixture of uniform and of skewed numbers."""
    generator = torch.Generator().manual_seed(1)
    uniform = (torch.rand(8192, 3, generator=generator) - 0.5) * 12**0.5
    skewed = -torch.rand(8192, 2, generator=generator).log() - 1
    mixing = torch.randn(5, 16, generator=generator) * torch.tensor([[5.0], [4], [3], [2], [1]])
    found = explore.independent(torch.cat([uniform, skewed], dim=1) @ mixing + 7)
    mixing = mixing[mixing.norm(dim=1).argsort(descending=True)]
    assert found.shape == mixing.shape
    assert (torch.cosine_similarity(found, mixing).abs() > 0.99).all()
    torch.testing.assert_close(found.norm(dim=1), mixing.norm(dim=1), rtol=0.05, atol=0)
    assert (found.abs().max(dim=1).values == found.max(dim=1).values).all()


def test_codes_that_do_not_vary_have_a_direction_of_no_length():
    assert torch.equal(explore.independent(torch.ones(10, 4)), torch.zeros(1, 4))


@REFS
def test_a_move_changes_one_coordinate_by_so_many_deviations(studio, minds, ref):
    model = studio.models.load(ref)
    steps, shares = explore.steps_of(model)
    w = model.map(model.draw_z([torch.Generator().manual_seed(0)] * explore.LEARNT_FROM))
    all_of_them = explore.independent(w)
    along = (w - w.mean(dim=0)) @ torch.linalg.pinv(all_of_them)
    torch.testing.assert_close(along.T @ along / len(w), torch.eye(len(all_of_them)), rtol=0, atol=0.01)
    assert (shares[:-1] >= shares[1:]).all() and 0 < shares.sum() <= 1.0001

    moves = (0.0, -2.0, 0.0, 0.5)
    plain, moved = studio.explore._codes(model, [View(3), View(3, moves=moves)], refine=False)
    coordinates = (moved - plain) @ torch.linalg.pinv(steps)
    torch.testing.assert_close(coordinates, torch.tensor([*moves, 0, 0, 0, 0]), rtol=1e-3, atol=1e-3)


@REFS
def test_the_ends_of_a_direction_are_pictures_of_it(studio, minds, ref):
    directions, model = studio.explore.directions(ref), studio.models.load(ref)
    assert len(directions) == DIRECTIONS and studio.explore.directions(ref) is directions
    assert [d.share for d in directions] == explore.steps_of(model)[1].tolist()
    step = explore.steps_of(model)[0][1] * explore.REACH
    ends = model.refined(torch.stack([model.w_avg.mean(dim=0) + way * step for way in (-1, 1)]))
    for image, known in zip((directions[1].low, directions[1].high), draw.draw(model, ends), strict=True):
        assert near(image, known)


def test_directions_have_the_names_of_their_card(studio, minds):
    assert {d.name for d in studio.explore.directions("tiny")} == {""}
    card = replace(minds[0].card, id="named", architecture=None, directions=("size", "", "colour"))
    save_source(studio.weights / "named", minds[0].alae, card)
    named, tiny = (studio.explore.directions(ref) for ref in ("named", "tiny"))
    assert [d.name for d in named] == ["size", "", "colour", *[""] * 5]
    assert all(same(one.high, other.high) for one, other in zip(named, tiny, strict=True))


@pytest.mark.parametrize(
    ("name", "patches"), [("toon64", HEAD), ("toon128", HEAD), ("cats64", CAT), ("cats128", CAT)]
)
def test_the_names_of_directions_are_true(name, patches):
    """A part that a direction is called after changes the most along it, and from the one colour to the other."""
    model = load_source(ROOT / "weights" / name)
    steps, _ = explore.steps_of(model)
    w = draw.codes_of(model, range(8), 0.7)
    for said, step in zip(model.card.directions, steps, strict=True):
        low, high = (
            np.stack([np.float32(i.reduce(i.width // 64)) for i in draw.draw(model, w + end * step)])
            for end in (-2, 2)
        )
        changes = {
            part: (high - low)[:, rows, columns].mean(axis=(0, 1, 2))
            for part, (rows, columns) in patches.items()
        }
        if colours := re.fullmatch(rf"({'|'.join(patches)}), (\w+) to (\w+)", said):
            part, before, after = colours.groups()
            sizes = {other: np.abs(change).sum() for other, change in changes.items()}
            assert all(sizes[part] > 1.5 * size for other, size in sizes.items() if other != part), (
                said,
                sizes,
            )
            before, after = (np.array(ImageColor.getrgb(SAID.get(word, word))) for word in (before, after))
            assert changes[part] @ (after - before) > 0, said


def test_directions_of_two_models_are_not_mixed_up(studio, minds):
    first, second = (studio.explore.directions(ref) for ref in ("tiny", "refining"))
    assert not any(same(one.low, other.low) for one, other in zip(first, second, strict=True))
    assert not same(*(studio.explore.draw(ref, [View(1, moves=(2,))])[0] for ref in ("tiny", "refining")))


def test_truncation_comes_before_a_move(studio, minds):
    moves = (1.0, -1.0)
    a, b = studio.explore._codes(minds[0], [View(3, psi=0, moves=moves), View(8, psi=0, moves=moves)])
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(
        a - minds[0].w_avg.mean(dim=0), torch.tensor(moves) @ explore.steps_of(minds[0])[0][:2]
    )


# A photo in the place of a seed


@REFS
def test_an_unmoved_photo_is_its_reconstruction(studio, minds, photo, ref):
    found, _ = studio.draw.reconstruct(ref, [photo])
    (image,) = studio.explore.draw(ref, [View(photo=photo, noise="none")])
    assert near(image, found.rebuilt)
    rebuilt = studio.explore.rebuild(ref, photo)
    assert same(rebuilt.rebuilt, found.rebuilt) and same(rebuilt.original, found.original)
    assert rebuilt.psnr == pytest.approx(found.psnr) and rebuilt.verdict is Verdict.UNKNOWN


def test_a_photo_is_told_whether_the_model_knows_it(tmp_path):
    model = load_source(ROOT / "weights/toon64")
    exploring = Explore(Draw(Few(model), LOCAL))
    (own,) = draw.sample(model, [42])
    pictures = {
        Verdict.GOOD: own,
        Verdict.USABLE: own.convert("L"),
        Verdict.UNKNOWN: ImageChops.offset(own, 0, 32),
    }
    for verdict, picture in pictures.items():
        picture.save(tmp_path / "photo.png")
        assert exploring.rebuild("toon64", tmp_path / "photo.png").verdict is verdict


def test_a_photo_that_changes_is_read_again(studio, photo, tmp_path):
    path, (own,) = tmp_path / "photo.png", studio.draw.sample("tiny", [3])
    shutil.copy(photo, path)
    before = studio.explore.draw("tiny", [View(photo=path)])[0]
    own.save(path)
    after = studio.explore.draw("tiny", [View(photo=path)])[0]
    path.rename(tmp_path / "other.png")
    assert not same(before, after) and same(
        after, studio.explore.draw("tiny", [View(photo=tmp_path / "other.png")])[0]
    )


def test_known_codes_are_not_refined_again(studio, minds, monkeypatch):
    refined = []
    monkeypatch.setattr(type(minds[1]), "refined", lambda self, w: refined.append(len(w)) or w)
    for crossover in (1, 2, 3):
        studio.explore.mix("refining", [View(901), View(902)], [View(903)], crossover)
    assert refined == [2, 1]
    for seed, seconds, times in ((904, 0.01, 3), (905, 1, 3)):
        monkeypatch.setattr(studio.draw, "cost", lambda ref, s=seconds: Cost(s, s, 0, 1))
        studio.explore.draw("refining", [View(seed)], hurry=True)
        assert len(refined) == times, "in a hurry only where it is quick"


def test_a_slider_begins_at_the_photo(studio, minds, photo):
    """Of a model that refines its codes, too."""
    model = minds[1]
    own, beside, far = studio.explore._codes(model, [View(photo=photo, moves=(t,)) for t in (0, 1e-3, 1)])
    torch.testing.assert_close(
        own,
        draw.of_pixels(model.alae, draw.pixels_of(model, open_picture(photo, LOCAL)))[0],
        rtol=1e-4,
        atol=1e-4,
    )
    assert (beside - own).norm() < 0.05 * (far - own).norm()
    moved = own + explore.steps_of(model)[0][:1]
    wanted = model.refined(moved) + own - model.refined(own[None])
    torch.testing.assert_close(far[None], wanted, rtol=1e-4, atol=1e-4)


def test_a_photos_neighbours_are_mixtures_of_codes(studio, photo):
    model, angle = studio.models.load("tiny"), explore.PHOTO_ANGLE
    views = alike(View(photo=photo, psi=0.9), 601)
    own, *others = studio.explore._codes(model, views) - model.w_avg.mean(dim=0)
    towards = (torch.stack(others) - math.cos(angle) * own) / math.sin(angle)
    known = draw.codes_of(model, range(600), 0.9) - model.w_avg.mean(dim=0)
    torch.testing.assert_close(towards.mean(dim=0), known.mean(dim=0), atol=0.2 * known.std().item(), rtol=0)
    assert (towards.std(dim=0) / known.std(dim=0)).mean().item() == pytest.approx(1, abs=0.05)
    again = studio.explore._codes(model, views[5:6])[0] - model.w_avg.mean(dim=0)
    torch.testing.assert_close(again, others[4], rtol=1e-4, atol=1e-4)


def test_a_photo_that_is_no_picture_is_refused(studio, tmp_path):
    path = tmp_path / "no.png"
    path.write_bytes(b"no picture")
    for work in (
        lambda: studio.explore.draw("tiny", [View(photo=path)]),
        lambda: studio.explore.rebuild("tiny", path),
    ):
        with pytest.raises(DataError, match=r"no\.png"):
            work()


# On the way from one to another


@REFS
def test_any_two_views_are_joined_and_the_ends_are_their_pictures(studio, minds, photo, ref):
    views = [
        View(3, psi=0.7, moves=(1.5, -1)), View(8, near=(2,)), View(5, place=(2, 1)),
        View(photo=photo, moves=(0, 2)), View(1),
    ]  # fmt: skip
    views = [replace(view, noise="none") for view in views]
    for path in (None, "straight"):
        frames = list(studio.explore.interpolate(ref, views, frames=9, path=path))
        assert all(map(near, frames[::2], studio.explore.draw(ref, views)))
        assert near(frames[1], next(studio.explore.along(ref, views, [0.5], path=path)))
        assert not near(frames[1], frames[0]) and not near(frames[1], frames[2])


def test_between_views_of_seeds_the_way_is_that_of_their_z(studio, minds):
    """Halfway lies what the mind draws itself; of a move there is half."""
    model, moves = minds[0], (2.0, -1.0)
    views = [View(3, place=(1.0, 2.0)), View(8, near=(1,))]
    a, b = scores(model, *views).split(1)
    mixed = model.map(model.z_of(draw.slerp(a, b, torch.tensor([[0.5]]))))

    def halfway(*ends):
        return studio.explore._way(model, ends, None).at(torch.tensor([0.5]))

    torch.testing.assert_close(halfway(*views), mixed, rtol=1e-4, atol=1e-5)
    moved = halfway(replace(views[0], moves=moves), views[1])
    half = torch.tensor(moves) @ explore.steps_of(model)[0][:2] / 2
    torch.testing.assert_close(moved, mixed + half, rtol=1e-4, atol=1e-5)
    truncated = halfway(replace(views[0], psi=0.4), replace(views[1], psi=0.8))
    torch.testing.assert_close(truncated, draw.pull(model, mixed, 0.6), rtol=1e-4, atol=1e-5)


def test_a_view_is_the_same_stop_until_its_photo_is_another(studio, photo, tmp_path):
    copy = tmp_path / "copy.png"
    copy.write_bytes(photo.read_bytes())
    view = View(photo=copy, moves=(1,))
    model, stop_of = studio.models.load("tiny"), studio.explore._stop
    stop = stop_of(model, view, True)
    assert stop_of(model, replace(view), True) is stop
    assert stop_of(model, View(photo=copy), True) is not stop
    copy.write_bytes(next(make_pictures(tmp_path / "other", 1, seed=5).iterdir()).read_bytes())
    assert not torch.equal(stop_of(model, view, True).w, stop.w)


# Styles


@REFS
def test_the_ends_of_the_crossover_are_the_styles_and_the_sources(studio, minds, photo, ref):
    sources, styles = [View(1), View(2, moves=(1.0,)), View(photo=photo)], [View(5, noise="none"), View(6)]
    layers = studio.explore.layers(ref)
    assert layers == SIZES.style_count == 6
    of_styles, between, of_sources = (
        studio.explore.mix(ref, sources, styles, crossover) for crossover in (0, layers // 2, layers)
    )
    assert [[*map(len, (grid, grid[0]))] for grid in (of_styles, between, of_sources)] == [[3, 2]] * 3
    for source, first, row, last in zip(
        studio.explore.draw(ref, sources), of_styles, between, of_sources, strict=True
    ):
        for column, style in enumerate(studio.explore.draw(ref, styles)):
            assert near(first[column], style) and near(last[column], source)
            assert not near(row[column], style, 8) and not near(row[column], source, 8)
            assert row[column].info["style seed"] == style.info["seed"]


# What is seen of noise; what is refused


def test_noise_is_told_where_there_is_any(studio, minds):
    assert studio.explore.has_noise("tiny")
    assert not Explore(Draw(Few(load_source(ROOT / "weights/toon64")), LOCAL)).has_noise("toon64")


class Few:
    """A catalogue of one model."""

    def __init__(self, model):
        self.load = self.source = lambda ref: model


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 2**32},
        {"seed": 0.5},
        {"seed": "1"},
        {"near": (-1,)},
        {"near": (1,) * 33},
        {"near": (math.nan,)},
        {"place": (math.inf, 0)},
        {"place": (1e7, 0)},
        {"place": (1, 2, 3)},
        {"moves": (11,)},
        {"moves": (math.nan,)},
        {"moves": (None,)},
        {"moves": (0,) * 9},
        {"psi": math.nan},
        {"psi": 3},
        {"psi": "1"},
        {"noise": "loud"},
    ],
    ids=str,
)
def test_what_makes_no_view_is_told(studio, wrong):
    with pytest.raises(ConfigError) as told:
        studio.explore.draw("tiny", [View(**wrong)])
    assert told.value.fix and len(str(told.value)) < 250


def test_a_photo_is_on_no_plane(photo):
    with pytest.raises(ConfigError, match="plane"):
        View(photo=photo, place=(1, 1))


@pytest.mark.parametrize("crossover", [-1, 7, 1.5, math.nan, None])
def test_a_layer_that_there_is_not_is_refused(studio, crossover):
    with pytest.raises(ConfigError, match="crossover"):
        studio.explore.mix("tiny", [View(1)], [View(2)], crossover)
    with pytest.raises(ConfigError, match="mix"):
        studio.explore.mix("tiny", [View(1)], [], 1)
