"""The catalogue: what is in it, what leads to it, and by what a source is known."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
import torch
from tiny import LFS_POINTER, RECIPE, SIZES, carry_out, make_pictures, make_studio, make_weights

from mind2mind.config import PUBLIC, MindGANSizes
from mind2mind.errors import WeightsError
from mind2mind.files import sha256, write_json
from mind2mind.models.bundle import describe, load_source, move_in, save_source, save_transfer
from mind2mind.models.catalogue import FIRST, weights_folder
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import Perceptron
from mind2mind.studio import Studio


def catalogue(weights):
    """The models that a studio with these weights knows, and no home."""
    return Studio("cpu", weights / "home", weights=weights).models.list()


def test_the_catalogue_tells_what_the_cards_say(tmp_path):
    (info,) = catalogue(make_weights(tmp_path))
    assert (info.id, info.title, info.kind, info.numbers) == (
        "tiny",
        "Tiny",
        "source",
        {"held_out_snr": 10.0, "swapped_halves_snr": 0.5},
    )
    assert (info.resolution, info.channels, info.preview) == (SIZES.resolution, SIZES.image_channels, None)
    (tmp_path / "tiny" / "preview.png").touch()
    assert describe(tmp_path / "tiny").preview == tmp_path / "tiny" / "preview.png"


def test_the_app_begins_with_the_first_that_is_here(tmp_path):
    for name in ("another", *FIRST):
        make_weights(tmp_path, name=name)
    assert [info.id for info in catalogue(tmp_path)] == [*FIRST, "another"]
    shutil.rmtree(tmp_path / FIRST[0])
    assert [info.id for info in catalogue(tmp_path)] == [*FIRST[1:], "another"]


def test_a_model_is_known_by_its_folders_name(tmp_path):
    (make_weights(tmp_path) / "tiny").rename(tmp_path / "renamed")
    assert [info.id for info in catalogue(tmp_path)] == ["renamed"]
    models = Studio("cpu", tmp_path / "home", weights=tmp_path).models
    assert models.locate("renamed").folder == tmp_path / "renamed"
    with pytest.raises(WeightsError, match="no model 'tiny'"):
        models.locate("tiny")


def test_a_damaged_model_is_left_out_and_told_of(tmp_path, caplog):
    make_weights(tmp_path)
    for name, content in {"cut": "{", "foreign": '{"format": "other"}', "empty": "[]"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "config.json").write_text('{"format": "mind2mind/source", "version": 1}')
    assert [info.id for info in catalogue(tmp_path)] == ["tiny"]
    assert caplog.text.count("WARNING") == 4
    with pytest.raises(WeightsError, match="damaged"):
        describe(tmp_path / "lost")


@pytest.mark.parametrize(
    ("part", "content", "fix"),
    [
        ("model.safetensors", LFS_POINTER, "git lfs pull"), ("config.json", LFS_POINTER, "git lfs pull"),
        ("model.safetensors", None, "copy or make it again"), ("model.safetensors", 1000, "copy or make it again"),
    ],
)  # fmt: skip
def test_a_model_whose_files_are_not_whole_is_left_out_and_told_of_once(tmp_path, caplog, part, content, fix):
    path = make_weights(make_weights(tmp_path), name="other") / "tiny" / part
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[:-content] if isinstance(content, int) else content)
    models = Studio("cpu", tmp_path / "home", weights=tmp_path).models
    for _ in range(3):
        assert [info.id for info in models.list()] == ["other"]
    assert caplog.text.count("WARNING") == 1 and fix in caplog.text
    if content is not None:
        with pytest.raises(WeightsError) as caught:
            models.load("tiny")
        assert fix in caught.value.fix
    path.write_bytes(whole)
    assert [info.id for info in models.list()] == ["other", "tiny"]


def test_what_a_card_says_is_a_line_of_plain_text(tmp_path):
    folder = make_weights(tmp_path) / "tiny"
    config = json.loads((folder / "config.json").read_text())
    strange = {"title": "red\x1b[31m\n\u202etxt", "knows": "x" * 10**6}
    (folder / "config.json").write_text(json.dumps(config | strange))
    (info,) = catalogue(tmp_path)
    assert info.title == "red [31m txt" and info.knows == "x" * 1000


@pytest.mark.parametrize(("source", "name"), [({"id": "a"}, "a"), ({}, ""), (None, ""), ("a", ""), ([1], "")])
def test_whom_a_transfer_draws_with(tmp_path, source, name):
    folder = make_weights(tmp_path) / "tiny"
    config = json.loads((folder / "config.json").read_text()) | {"source": source}
    write_json(folder / "config.json", config | {"format": "mind2mind/transfer"})
    assert (describe(folder).needs, describe(folder).kind) == (name, "transfer")
    write_json(folder / "config.json", config)
    assert (describe(folder).needs, describe(folder).kind) == (None, "source")


OLD = Path(__file__).parents[1] / "homes/v1"  # written when a source was known by the hash of its file


@pytest.fixture
def old(tmp_path):
    """That home, with the tokens of what is in it."""
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    return make_studio(tmp_path), json.loads((OLD / "tokens.json").read_text())


def give_another_mind(weights):
    """Its source with other F, D, mean code, mind, precision and card; its encoder and decoder stay."""
    source = load_source(weights / "tiny")
    alae = ALAE(source.alae.architecture)
    alae.encoder.load_state_dict(source.alae.encoder.state_dict())
    alae.decoder.load_state_dict(source.alae.decoder.state_dict())
    known_by = [sha256(weights / "tiny" / "model.safetensors")]
    card = replace(source.card, title="Other")
    save_source(weights / "tiny", alae, card, prior=Perceptron([4, 8, 16]), dtype=torch.float32)
    config = json.loads((weights / "tiny" / "config.json").read_text())
    write_json(weights / "tiny" / "config.json", config | {"earlier_hashes": known_by})


@pytest.mark.parametrize("replaced", [False, True])
def test_runs_of_before_find_their_source_whatever_became_of_its_mind(old, tmp_path, replaced):
    studio, tokens = old
    before = studio.models.load("tiny")
    if replaced:
        give_another_mind(tmp_path / "weights")
        assert studio.models.load("tiny").hash != before.hash
    assert studio.models.load("tiny").source_hash == before.source_hash
    for name in ("done", "opened"):
        assert studio.models.load(tokens[name]).source_id == "tiny"
        assert len(studio.draw.sample(tokens[name], [0])) == 1
    more = make_pictures(tmp_path / "more", 8, seed=7)
    *_, last = studio.runs.add(tokens["prepared"], [more])
    assert last.count == 23 + 8  # one was left out
    studio.runs.start(tokens["prepared"], recipe=RECIPE, steps=20, seed=3)
    assert carry_out(studio, tokens["prepared"]).state == "done"


def test_a_source_that_is_another_one_is_refused(old, tmp_path):
    studio, tokens = old
    make_weights(tmp_path / "weights", seed=5)
    with pytest.raises(WeightsError, match="was made on the source 'tiny'"):
        studio.models.load(tokens["done"])
    studio.runs.start(tokens["prepared"], recipe=RECIPE, steps=20)
    status = carry_out(studio, tokens["prepared"])
    assert status.state == "failed" and "another one now" in status.error


def test_bundled_models_are_known_by_the_hashes_of_their_earlier_files():
    known = {path.parent: json.loads(path.read_text()) for path in weights_folder().glob("*/config.json")}
    earlier = [(folder, hash) for folder, card in known.items() for hash in card.get("earlier_hashes", ())]
    assert len(earlier) >= 3
    for folder, hash in earlier:
        assert load_source(folder).is_on(hash)


def test_a_model_that_is_being_loaded_keeps_nobody_else_waiting(tmp_path, monkeypatch):
    weights = make_weights(make_weights(tmp_path, name="large"), name="small")
    models, gate, reading = Studio("cpu", tmp_path / "home", weights=weights).models, Event(), Event()

    def slow(folder, device):
        if folder.name == "large":
            reading.set()
            assert gate.wait(60)
        return load_source(folder, device)

    monkeypatch.setattr("mind2mind.models.bundle.load_source", slow)
    with ThreadPoolExecutor() as pool:
        large = [pool.submit(models.load, "large") for _ in range(2)]
        assert reading.wait(60)
        small = pool.submit(models.load, "small")
        try:
            assert small.result(timeout=30).card.id == "small" and not any(f.done() for f in large)
        finally:
            gate.set()
        assert large[0].result() is large[1].result()  # loaded once


def test_a_model_that_could_not_be_loaded_is_tried_again(tmp_path):
    weights = make_weights(tmp_path)
    models, config = (
        Studio("cpu", tmp_path / "home", weights=weights).models,
        weights / "tiny" / "config.json",
    )
    good = config.read_text()
    config.write_text(good.replace('"latent_size": 16', '"latent_size": 8'))
    with pytest.raises(WeightsError, match="does not fit"):
        models.load("tiny")
    config.write_text(good)
    assert models.load("tiny").card.id == "tiny"


def test_a_transfer_that_names_itself_as_its_source(tmp_path):
    weights = make_weights(tmp_path)
    source, g = load_source(weights / "tiny"), Perceptron([4, 8, 16])
    sizes = MindGANSizes(latent_size=16, z_dim=4, generator_widths=(8,), critic_widths=(8,))
    for name in ("itself", "tiny"):
        own = replace(source, card=replace(source.card, id=name))
        save_transfer(weights / "itself", g, torch.zeros(16), own.card, source=own, sizes=sizes, extra={})
        models = Studio("cpu", tmp_path / "home", weights=weights).models
        if name == "itself":
            with pytest.raises(WeightsError, match="'itself' is a transfer"):
                models.load("itself")
    assert models.load("itself").source_id == "tiny"


def test_a_bundle_is_replaced_without_a_gap(tmp_path):
    """Whoever reads meanwhile finds each of its files whole, the old one or the new one."""
    weights = make_weights(tmp_path)
    wrong, end = [], Event()

    def read():
        while not end.is_set():
            try:
                load_source(weights / "tiny")
            except WeightsError as error:  # noqa: PERF203
                wrong.append(str(error))

    reader = Thread(target=read)
    reader.start()
    for seed in range(20):
        make_weights(tmp_path / "fresh", seed=seed)
        move_in(tmp_path / "fresh" / "tiny", weights / "tiny")
    end.set()
    reader.join()
    assert not wrong
    assert sorted(p.name for p in (weights / "tiny").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


def test_no_folder_is_an_empty_catalogue(tmp_path):
    assert catalogue(tmp_path / "none") == []


def test_an_id_never_leads_out_of_the_catalogue(tmp_path):
    make_weights(tmp_path / "elsewhere")
    weights = make_weights(tmp_path / "weights")
    models = Studio("cpu", tmp_path / "home", PUBLIC, weights).models
    assert models.locate("tiny").folder == weights / "tiny"
    for ref in ("../elsewhere/tiny", str(tmp_path / "elsewhere" / "tiny"), ".", "..", "", "nothing", "\0"):
        with pytest.raises(WeightsError, match="There is no model"):
            models.locate(ref)


def test_the_environment_may_name_another_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MIND2MIND_WEIGHTS", str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv("MIND2MIND_WEIGHTS")
    assert weights_folder().name == "weights"
