import json

import pytest
from tiny import SIZES, make_weights

from mind2mind.config import PUBLIC
from mind2mind.errors import WeightsError
from mind2mind.files import write_json
from mind2mind.models.bundle import describe
from mind2mind.models.catalogue import weights_folder
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
