"""What a model costs here is measured once, told before, and decides what the app asks for and when it draws."""

import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from official_size import ROOT
from tiny import make_studio, make_weights

from mind2mind import draw
from mind2mind import draw as memory
from mind2mind.config import FEW, LOCAL, MANY
from mind2mind.data.dataset import Reading
from mind2mind.data.images import open_picture
from mind2mind.draw import PATHS, Cost, Draw
from mind2mind.explore import Explore, View, _codes
from mind2mind.models.bundle import load_source
from mind2mind.ui import explore, interpolate, transfer
from mind2mind.ui.page import Page
from mind2mind.ui.shared import MOVING, wanted

QUICK, SLOW = Cost(0.01, 0.01, 10_000_000), Cost(1.1, 1.3, 900_000_000)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        yield make_studio(tmp_path_factory.mktemp("cost"))


@pytest.fixture
def slow(studio, monkeypatch):
    """The page over a model that seems to take a second a picture."""
    monkeypatch.setattr(studio.draw, "cost", lambda ref: SLOW)
    return Page(studio)


def test_few_pictures_are_asked_for_where_each_takes_long():
    assert (QUICK.count, SLOW.count) == (MANY, FEW) == (16, 4)
    assert QUICK.live and not SLOW.live
    assert Cost(0.2, 1, 0).live and not Cost(0.201, 1, 0).live  # the number


def test_a_model_is_measured_once(studio, monkeypatch):
    first = studio.draw.cost("tiny")
    assert first.draw_seconds > 0 and first.encode_seconds > 0
    weights = sum(4 * t.numel() for t in studio.models.load("tiny").alae.state_dict().values())
    assert weights < first.memory < weights + 1_000_000
    monkeypatch.setattr("mind2mind.draw.measure", lambda model: pytest.fail("measured again"))
    assert studio.draw.cost("tiny") is first


def test_nobody_waits_for_anothers_model_to_be_measured(studio, monkeypatch):
    known, begun, go_on = studio.draw.cost("tiny"), threading.Event(), threading.Event()
    make_weights(studio.weights, name="large", seed=1)
    monkeypatch.setattr("mind2mind.draw.measure", lambda model: begun.set() or (go_on.wait(20) and SLOW))
    others, told = threading.Thread(target=studio.draw.cost, args=["large"]), []
    others.start()
    assert begun.wait(20)
    mine = threading.Thread(target=lambda: told.append(studio.draw.cost("tiny")))
    mine.start()
    mine.join(timeout=5)
    go_on.set()
    others.join()
    assert told == [known] and studio.draw.cost("large") is SLOW
    shutil.rmtree(studio.weights / "large")


AGAIN = """
import resource, torch
from mind2mind import draw as memory
if {kept}: memory.keep_freed()
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(16, 1024, 1024).add_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not memory.keep_freed(), reason="not glibc")
def test_freed_memory_is_used_again():
    """A tensor of 64 MB has 16,384 pages; after some, those of the last one serve the next."""
    faults = {
        kept: int(subprocess.check_output([sys.executable, "-c", AGAIN.format(kept=kept)], cwd=ROOT))
        for kept in (False, True)
    }
    assert faults[True] < 1000 < faults[False]


# The app


def test_a_slow_model_starts_with_four_pictures_and_says_why(slow):
    *shown, count = slow.explore.with_another("tiny", 0, MANY, "none", None)
    assert count == FEW == len(shown[1])
    assert "1.1 s and 0.9 GB of memory here, 4 of them about 4 s" in shown[0]


def test_a_number_that_the_visitor_chose_stays(slow):
    assert slow.explore.with_another("tiny", 0, 9, "none", None)[-1] == 9


def test_what_is_quick_is_not_talked_of():
    for said in (explore.drawing(QUICK), interpolate.sliding(QUICK), transfer.encoding(QUICK)):
        assert said == ""
    assert interpolate.filming(QUICK, 60) == ""


def test_what_is_slow_is_told_before():
    assert "60 frames take about 1 min 6 s" in interpolate.filming(SLOW, 60)
    assert "20 pictures take about 26 s" in transfer.encoding(SLOW)
    assert (
        "takes about 1.1 s here: the strip has few, and one is drawn when you let the slider go"
        in interpolate.sliding(SLOW)
    )
    assert "Read 5 of 20 pictures, about 20 s left" in transfer.read_so_far(Reading(5, 20), SLOW)
    assert "Read 5 of 20 pictures …" in transfer.read_so_far(Reading(5, 20), QUICK)


@pytest.mark.parametrize(
    ("held", "live", "draws"),
    [
        (MOVING, True, True),
        ("", True, True),
        (MOVING, False, False),
        ("", False, True),  # it was let go, or a key moved it
        (None, False, True),
    ],
)
def test_when_a_slider_draws(studio, monkeypatch, held, live, draws):
    monkeypatch.setattr(studio.draw, "cost", lambda ref: QUICK if live else SLOW)
    assert wanted(studio, held, "tiny") == draws


def test_a_slow_models_slider_draws_once_it_is_let_go(slow, studio):
    route = interpolate.Route("tiny")
    moves = ((0.1, MOVING), (0.2, MOVING), (0.3, ""), (0.4, ""))
    slid = [slow.interpolate.slide({"t": t, "held": held}, route) for t, held in moves]
    assert [t for t, _ in slid] == [0.1, 0.2, 0.3, 0.4]
    assert [picture != gr.skip() for _, picture in slid] == [False, False, True, True]
    told = {"values": [1.0], "held": MOVING}
    assert slow.explore.slide(told, "tiny", View()) == gr.skip()


def test_the_way_of_a_slow_model_has_few_pictures(slow):
    for stops, frames, played in ((2, 3, 8), (3, 3, 9), (6, 6, 6)):
        many = interpolate.Route("tiny", (View(1), View(2), View(3), View(4), View(5), View(6))[:stops])
        *_, (*_, strip) = slow.interpolate.show(many, 0, 0.5)
        shown = strip.count("<img"), slow.interpolate.frames_of(many).count("<img")
        assert shown == (frames, played)


# Interpolation


@pytest.fixture(scope="module")
def toon():
    return load_source(ROOT / "weights/toon64")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("psi", [1.0, 0.6])
def test_both_ends_are_exact_on_any_path_and_truncated(toon, path, psi, tmp_path):
    """Of a model that refines each code, too."""
    picture = tmp_path / "7.png"
    draw.save_png(next(draw.draw(toon, draw.codes_of(toon, [7]))), picture)
    stops = [View(3, psi=psi), View(photo=picture, psi=psi), View(8, psi=psi)]
    way = Explore(Draw(None, LOCAL))._way(toon, stops, path)
    seeds = draw.codes_of(toon, [3, 8], psi)
    own = draw.pull(toon, draw.of_pixels(toon.alae, draw.pixels_of(toon, open_picture(picture, LOCAL))), psi)
    places = way.at(torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(places, torch.cat([seeds[:1], own, seeds[1:]]), rtol=1e-4, atol=1e-4)
    beside = way.at(torch.tensor([0.999, 1.001]))
    assert (beside - places[1]).norm(dim=1).max() < 0.05 * (places[1:] - places[:-1]).norm(dim=1).min()


def test_the_path_between_seeds_leads_through_what_the_mind_draws(toon):
    """Halfway on the straight line codes are further from any sample than those of the mind's path."""
    samples = draw.codes_of(toon, range(400))
    pairs = [(seed, seed + 1) for seed in range(1000, 1024, 2)]

    def halfway(path):
        exploring = Explore(Draw(None, LOCAL))
        ways = [exploring._way(toon, [View(seed) for seed in ends], path) for ends in pairs]
        return torch.cat([way.at(torch.tensor([0.5]), refine=False) for way in ways])

    apart = {path: torch.cdist(halfway(path), samples).min(dim=1).values.mean() for path in PATHS}
    spread = {path: (halfway(path) - samples.mean(dim=0)).norm(dim=1).mean() for path in PATHS}
    assert spread["straight"] < 0.85 * spread["mind"]  # it is drawn to the middle of all
    assert (
        apart["mind"]
        < 1.3 * torch.cdist(draw.codes_of(toon, range(500, 530)), samples).min(dim=1).values.mean()
    )


def test_the_z_of_a_picture_is_found_where_it_has_one(toon):
    w = draw.codes_of(toon, range(5, 8))
    for own in w.split(1):
        scores = draw.scores_of(toon, own)
        found = toon.map(toon.z_of(scores))
        assert (found - own).norm() < 0.5 * (w[0] - w[1]).norm()
        assert 0.5 < scores.square().mean() < 1.6  # no z that is never drawn


def test_scores_are_the_other_way_round(toon):
    z = toon.draw_z([torch.Generator().manual_seed(seed) for seed in range(20)])
    torch.testing.assert_close(toon.z_of(toon.scores_of(z)), z, rtol=1e-4, atol=1e-5)
    assert toon.scores_of(z).std().item() == pytest.approx(1, abs=0.05)


def test_a_truncated_picture_is_refined_after_it_is_pulled(toon):
    z = toon.draw_z([torch.Generator().manual_seed(4)])
    wanted = toon.refined(draw.pull(toon, toon.map(z), 0.5))
    torch.testing.assert_close(draw.codes_of(toon, [4], 0.5), wanted)


def test_in_a_hurry_a_slow_frame_is_not_refined(toon, monkeypatch):
    drawing, refined, stops = Draw(SimpleNamespace(load=lambda ref: toon), LOCAL), [], [View(1), View(2)]
    monkeypatch.setattr(type(toon), "refined", lambda self, w: refined.append(len(w)) or w)
    for seconds, hurry, count in ((0.01, True, 4), (0.09, True, 2), (0.09, False, 4)):
        drawing._costs = {(toon.source_hash, "cpu"): Cost(seconds, 0.01, 0, 2)}
        exploring = Explore(drawing)
        _codes.cache_clear()
        refined.clear()
        next(exploring.along("toon64", stops, [0.5], hurry=hurry))
        assert len(refined) == count, (seconds, hurry)
    refined.clear()
    next(exploring.along("toon64", stops, [0.6]))
    assert refined == [1], "of a way that is known the frame alone"
