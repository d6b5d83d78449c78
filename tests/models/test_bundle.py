"""Bundles go round exactly; official files open safely, completely, or with a reason and a remedy."""

import builtins
import json
import os
import pickle
import shutil
import subprocess
from dataclasses import fields, replace

import pytest
import torch
from reference import (
    PARITY,
    architecture_of,
    bump_noise,
    close,
    config_of,
    drawn,
    load,
    read_official_alae,
    read_official_mindgan,
    same_picture,
    truncated,
)
from safetensors.torch import load_file, save_file

from mind2mind import draw as gallery
from mind2mind.config import ARCHITECTURES, Architecture, MindGANSizes
from mind2mind.errors import ConfigError, DataError, WeightsError
from mind2mind.models import official
from mind2mind.models.bundle import (
    Card,
    identity,
    load_source,
    load_transfer,
    save_source,
    save_transfer,
)
from mind2mind.models.official import convert
from mind2mind.networks.alae import ALAE
from mind2mind.networks.mindgan import Perceptron

CARD = Card("tiny", "Tiny", "nothing yet", "A. Author", "CC BY 4.0", {"PSNR (dB)": 20.1}, "A test.")
SMALL = Architecture(layer_count=3, latent_size=16, start_channels=4, max_channels=16, mapping_layers=2)
SIZES = MindGANSizes(latent_size=16, z_dim=5, generator_widths=(8,), critic_widths=(8,))
ALAE_FILES = ["official_layout_small.pth", "official_layout_small_legacyformat.pth"]
MINDGAN_FILES = ["mindgan_official_layout.pth", "mindgan_official_layout_legacyformat.pth"]
BOTH_FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@pytest.fixture
def alae():
    torch.manual_seed(1)
    alae = ALAE(SMALL)
    alae.w_avg.normal_()
    return alae


def same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def told(model):
    """A model's card alone."""
    return Card(**{f.name: getattr(model.card, f.name) for f in fields(Card)})


def fails(call, *words):
    with pytest.raises(WeightsError) as caught:
        call()
    assert caught.value.fix
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


# Our bundles


def test_a_source_goes_round_exactly_at_float32(tmp_path, alae):
    save_source(tmp_path / "s", alae, CARD, dtype=torch.float32)
    model = load_source(tmp_path / "s")
    assert same_state(model.alae, alae)
    assert told(model) == CARD
    assert model.alae.architecture == SMALL
    assert (model.card.kind, model.prior, model.z_dim) == ("source", "normal", 16)
    assert model.g is model.alae.mapping_f
    assert (model.source_id, model.source_hash) == ("tiny", identity(alae))
    assert not any(p.requires_grad for p in model.alae.parameters())


def test_half_precision_is_exact_the_second_time(tmp_path, alae):
    save_source(tmp_path / "a", alae, CARD)
    once = load_source(tmp_path / "a")
    save_source(tmp_path / "b", once.alae, CARD)
    twice = load_source(tmp_path / "b")
    assert same_state(once.alae, twice.alae)
    assert once.hash == twice.hash
    assert once.alae.w_avg.dtype == torch.float32
    for key, value in alae.state_dict().items():
        stored = once.alae.state_dict()[key]
        assert torch.allclose(stored, value, rtol=2**-11, atol=3e-8), key
        assert "blur" not in key or torch.equal(stored, value)


def test_what_half_precision_cannot_hold_is_an_error(tmp_path, alae):
    alae.decoder.const.data[0, 0, 0, 0] = 70_000
    fails(lambda: save_source(tmp_path, alae, CARD), "decoder.const", "float32")
    save_source(tmp_path, alae, CARD, dtype=torch.float32)


def test_a_source_with_a_prior(tmp_path, alae):
    torch.manual_seed(2)
    prior = Perceptron([5, 8, 16])
    save_source(tmp_path, alae, CARD, prior=prior, dtype=torch.float32)
    model = load_source(tmp_path)
    assert same_state(model.g, prior)
    assert (model.prior, model.z_dim) == ("uniform", 5)


def test_samples_are_refined_as_often_as_the_bundle_says(tmp_path, alae):
    for times in (0, 2):
        save_source(tmp_path / f"s{times}", alae, CARD, refinements=times, dtype=torch.float32)
    plain, twice = (load_source(tmp_path / f"s{times}") for times in (0, 2))
    w = gallery.codes_of(plain, range(40))  # more than are drawn at a time
    with torch.no_grad():
        for _ in range(2):
            w = alae.encode(alae.decode(alae.styles(w)).clamp(-1, 1))
    assert torch.allclose(gallery.codes_of(twice, range(40)), w, rtol=1e-4, atol=1e-5)
    config = json.loads((tmp_path / "s2" / "config.json").read_text())
    del config["refinements"]  # a bundle of before
    (tmp_path / "s2" / "config.json").write_text(json.dumps(config))
    assert load_source(tmp_path / "s2").refinements == 0


def test_a_transfer_is_refined_within_what_it_varies_in(tmp_path, alae):
    save_source(tmp_path / "s", alae, CARD, refinements=2)
    source, g = load_source(tmp_path / "s"), Perceptron([5, 8, 16])
    with torch.no_grad():
        g.model[-1].weight[8:] = 0  # half of the code is the same in all samples
    save_transfer(tmp_path / "t", g, torch.zeros(16), CARD, source=source, sizes=SIZES, extra={})
    model = load_transfer(tmp_path / "t", source)
    w = model.map(model.draw_z([torch.Generator().manual_seed(s) for s in range(8)]))
    change = model.refined(w) - w
    assert change[:, :8].abs().max() > 1e-3 and change[:, 8:].abs().max() < 1e-5
    assert not torch.allclose(source.refined(w)[:, 8:], w[:, 8:], atol=1e-3)  # all is of a source
    tried = source.drawing(g, 5)  # before it is a bundle
    assert torch.equal(tried.refined(w), model.refined(w))


def test_a_transfer_keeps_the_span_of_what_it_learnt_from(tmp_path, alae):
    save_source(tmp_path / "s", alae, CARD, refinements=2)
    source, g = load_source(tmp_path / "s"), Perceptron([5, 8, 16])
    w = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    w[:, 8:] = 1  # its samples vary in these, what it learnt from did not
    learnt = source.within_span(w)
    save_transfer(tmp_path / "t", g, torch.zeros(16), CARD, source=learnt, sizes=SIZES, extra={})
    model = load_transfer(tmp_path / "t", source)
    made = model.map(model.draw_z([torch.Generator().manual_seed(s) for s in range(8)]))
    change = model.refined(made) - made
    assert change[:, :8].abs().max() > 1e-3 and change[:, 8:].abs().max() < 1e-5
    assert torch.equal(learnt.drawing(g, 5).refined(made), model.refined(made))  # before it is a bundle
    tensors = load_file(tmp_path / "t" / "model.safetensors")
    for nonsense in (torch.zeros(3, 3), torch.full((16, 16), torch.nan)):
        save_file(tensors | {"within": nonsense}, tmp_path / "t" / "model.safetensors")
        fails(lambda: load_transfer(tmp_path / "t", source), "span")


@pytest.mark.parametrize("with_prior", [True, False])
def test_a_code_depends_on_its_own_generator_alone(tmp_path, alae, with_prior):
    save_source(tmp_path, alae, CARD, prior=Perceptron([5, 8, 16]) if with_prior else None)
    model = load_source(tmp_path)
    w = model.map(model.draw_z([torch.Generator().manual_seed(s) for s in (1, 2, 3)]))
    alone = model.map(model.draw_z([torch.Generator().manual_seed(2)]))
    assert w.shape == (3, 16)
    assert torch.allclose(w[1:2], alone, atol=1e-6)
    assert not torch.allclose(w[0], w[1])


def test_a_transfer_goes_round_exactly(tmp_path, alae):
    save_source(tmp_path / "s", alae, CARD)
    source = load_source(tmp_path / "s")
    g, w_avg = Perceptron([5, 8, 16]), torch.randn(16)
    card = replace(CARD, id="mine")
    save_transfer(tmp_path / "t", g, w_avg, card, source=source, sizes=SIZES, extra={"steps": 7})
    model = load_transfer(tmp_path / "t", source)
    assert same_state(model.g, g)
    assert torch.equal(model.w_avg, w_avg.expand(6, 16))
    assert (told(model), model.card.kind, model.prior, model.z_dim) == (card, "transfer", "uniform", 5)
    assert (model.source_id, model.source_hash) == ("tiny", source.source_hash)
    assert model.alae is source.alae
    assert json.loads((tmp_path / "t" / "config.json").read_text())["extra"] == {"steps": 7}


def test_a_transfer_refuses_another_source(tmp_path, alae):
    save_source(tmp_path / "s", alae, CARD)
    save_source(tmp_path / "other", ALAE(SMALL), replace(CARD, id="other"))
    source, other = load_source(tmp_path / "s"), load_source(tmp_path / "other")
    save_transfer(
        tmp_path / "t", Perceptron([5, 8, 16]), torch.zeros(16), CARD, source=source, sizes=SIZES, extra={}
    )
    fails(lambda: load_transfer(tmp_path / "t", other), "'tiny'", "'other'")
    fails(lambda: load_source(tmp_path / "t"), "holds a transfer, not a source")
    fails(lambda: load_transfer(tmp_path / "s", source), "holds a source, not a transfer")


def test_loading_leaves_torch_as_it_was(tmp_path, alae):
    save_source(tmp_path, alae, CARD, prior=Perceptron([5, 8, 16]))
    before = torch.get_rng_state()
    loaded = load_source(tmp_path).alae
    read_official_alae(PARITY / ALAE_FILES[0])
    read_official_mindgan(PARITY / MINDGAN_FILES[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32
    assert torch.empty(0).device.type == "cpu"
    assert not any(
        name.startswith("mapping") for name in loaded.state_dict()
    )  # a perceptron draws in F's place


def test_the_card_tells_a_person_what_it_is(tmp_path, alae):
    save_source(tmp_path, alae, CARD)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for words in (
        "# Tiny",
        "nothing yet",
        "CC BY 4.0",
        "A. Author",
        "| PSNR (dB) | 20.1 |",
        "Studio().draw.sample(",
    ):
        assert words in text
    assert "| layer_count | 3 |" in text


def test_broken_bundles_say_what_is_wrong(tmp_path, alae):
    fails(lambda: load_source(tmp_path / "none"), "not a model's folder")
    good = tmp_path / "good"
    save_source(good, alae, CARD)

    def broken(change):
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        config = json.loads((folder / "config.json").read_text())
        change(folder, config)
        (folder / "config.json").write_text(json.dumps(config))
        return lambda: load_source(folder)

    fails(broken(lambda _, c: c.update(format="x")), "format 'x'")
    fails(broken(lambda _, c: c.update(version=2)), "version 2", "Update")
    fails(broken(lambda _, c: c.pop("title")), "title")
    fails(broken(lambda _, c: c.pop("architecture")), "architecture")
    fails(broken(lambda _, c: c["architecture"].update(layer_count=0)), "layer_count is 0")
    fails(broken(lambda f, _: (f / "model.safetensors").unlink()), "could not be read")
    fails(broken(lambda f, _: os.truncate(f / "model.safetensors", 5000)), "could not be read")
    fails(broken(lambda f, _: (f / "model.safetensors").write_bytes(b"")), "could not be read")
    larger = asdict_of(SMALL, layer_count=4)
    text = fails(broken(lambda _, c: c.update(architecture=larger)), "does not fit", "Missing key")
    assert len(text) < 1500


def asdict_of(architecture, **changes):
    changed = replace(architecture, **changes)
    return {name: getattr(changed, name) for name in changed.__dataclass_fields__}


# Official files


@pytest.fixture(scope="module")
def expected():
    return load("official_layout_small_expected.npz")


@pytest.mark.parametrize("name", ALAE_FILES)
def test_an_official_alae_gives_the_references_pictures(name, expected):
    config = config_of(expected)
    check_official_alae(read_official_alae(PARITY / name), config, expected)
    named = read_official_alae(PARITY / name, architecture_of(config))
    assert named.architecture.truncation_cutoff == config["cutoff"]


def check_official_alae(alae, config, expected):
    a = alae.architecture
    assert official.same_sizes(a, architecture_of(config))
    w = alae.encode(drawn(config["tag"], "image", (2, 3, a.resolution, a.resolution), "u"))
    close(w[:, None], expected["Z"])
    close(alae.realness(w), expected["d"])
    same_picture(alae.decode(alae.styles(w), noise=bump_noise), expected, "rec_noise_off")
    s = alae.map(drawn(config["tag"], "z", (2, a.latent_size), "n"))
    close(s[:, None], expected["s"])
    pulled = truncated(alae, alae.styles(s), config["psi"], config["cutoff"])
    same_picture(alae.decode(pulled, noise=bump_noise), expected, "gen_truncated")


@pytest.mark.parametrize("name", MINDGAN_FILES)
def test_an_official_mindgan_gives_the_references_codes(name):
    reference = load("mindgan_official_layout_expected.npz")
    gan = read_official_mindgan(PARITY / name, PARITY / "parameters.json")
    tag = str(reference["tag"])
    close(gan.generator(drawn(tag, "z", (4, 128), "u")), reference["w"])
    close(gan.critic(drawn(tag, "real", (4, 512), "n") * 0.7), reference["critic"])
    assert gan.sizes.generator_widths == (16, 32, 64)


def test_a_mindgan_is_known_without_its_parameters_and_checked_with_them(tmp_path):
    path = shutil.copy(PARITY / MINDGAN_FILES[0], tmp_path / "model299.pth")
    assert read_official_mindgan(path).sizes.critic_widths == (64, 32, 16)
    wrong = json.loads((PARITY / "parameters.json").read_text()) | {"z_dim": 64}
    (tmp_path / "parameters.json").write_text(json.dumps(wrong))
    fails(lambda: read_official_mindgan(path), "parameters.json", "'z_dim': 128")
    (tmp_path / "parameters.json").write_text("{}")
    fails(lambda: read_official_mindgan(path), "no sizes of this MindGAN")


@pytest.mark.parametrize("name", ALAE_FILES)
def test_convert_makes_the_file_needless(tmp_path, name, expected):
    path = shutil.copy(PARITY / name, tmp_path / "model_submitted.pth")
    out = convert(path, tmp_path / "bundle")
    path.unlink()
    model = load_source(out)
    check_official_alae(model.alae, config_of(expected), expected)
    assert same_state(model.alae, read_official_alae(PARITY / name))
    assert model.card.id == "bundle"  # the folder's name, by which it is found


def test_convert_a_mindgan(tmp_path, alae):
    architecture = replace(SMALL, latent_size=512)
    save_source(tmp_path / "s", ALAE(architecture), replace(CARD, id="wide"))
    source = load_source(tmp_path / "s")
    out = convert(PARITY / MINDGAN_FILES[0], tmp_path / "m", source=source)
    model = load_transfer(out, source)
    assert (model.card.id, model.source_id) == ("m", "wide")
    assert same_state(model.g, read_official_mindgan(PARITY / MINDGAN_FILES[0]).generator)
    w = model.map(model.draw_z([torch.Generator().manual_seed(s) for s in range(512)]))
    assert (w.mean(dim=0) - model.w_avg[0]).norm() < 0.2 * w.std(dim=0).norm()
    save_source(tmp_path / "narrow", alae, CARD)
    narrow = load_source(tmp_path / "narrow")
    fails(lambda: load_transfer(out, narrow), "was made on the source 'wide'")
    for source in (None, narrow, model):  # none, one of other codes, and a transfer
        with pytest.raises(ConfigError, match=r"512 numbers.*--source"):
            convert(PARITY / MINDGAN_FILES[0], tmp_path / "none", source=source)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_convert_never_replaces_a_bundle(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(DataError, match="already a model"):
        convert(PARITY / ALAE_FILES[0], tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


# Variants of the official layout, written as the reference writes it


def write_official(path, alae, zipped=True, **changes):
    parts = {
        section: getattr(alae, prefix[:-1])
        for section, prefix in official.SECTIONS.items()
        if section.endswith("_s")
    }
    models = {name: dict(part.state_dict()) for name, part in parts.items()}
    models["dlatent_avg"] = {"buff": alae.w_avg}
    for section, change in changes.items():
        change(models[section])
    torch.save({"models": models}, path, _use_new_zipfile_serialization=zipped)
    return path


@BOTH_FORMATS
def test_auxiliary_is_not_needed_and_the_sizes_are_inferred(tmp_path, alae, zipped):
    read = read_official_alae(write_official(tmp_path / "a.pth", alae, zipped))
    assert read.architecture == SMALL
    assert same_state(read, alae)


@pytest.mark.parametrize(
    "changes",
    [{"image_channels": 1}, {"layer_count": 6, "latent_size": 24}, {"layer_count": 1}, {"mapping_layers": 5}],
)
def test_other_sizes_are_inferred_too(tmp_path, changes):
    architecture = replace(SMALL, **changes)
    inferred = read_official_alae(write_official(tmp_path / "a.pth", ALAE(architecture))).architecture
    assert official.same_sizes(inferred, architecture)


def test_a_published_architecture_is_recognised_by_its_shapes():
    for architecture in (
        ARCHITECTURES["ffhq"],
        ARCHITECTURES["toon64"],
        replace(ARCHITECTURES["ffhq"], layer_count=7, start_channels=64),
    ):
        with torch.device("meta"):
            shapes = {key: tuple(value.shape) for key, value in ALAE(architecture).state_dict().items()}
        assert official.infer_architecture(shapes) == architecture


def test_a_longer_mean_code_is_cut(tmp_path, alae):
    longer = torch.cat([alae.w_avg, torch.ones(4, 16)])
    path = write_official(tmp_path / "a.pth", alae, dlatent_avg=lambda s: s.update(buff=longer))
    assert torch.equal(read_official_alae(path).w_avg, alae.w_avg)
    path = write_official(tmp_path / "a.pth", alae, dlatent_avg=lambda s: s.update(buff=longer[:3]))
    fails(lambda: read_official_alae(path), "size mismatch for w_avg")


def test_views_and_other_number_types_are_read(tmp_path, alae):
    whole = torch.randn(2, 16, 16, dtype=torch.float64)

    def change(state):
        state["map_blocks.0.weight"] = whole[1].T
        state["map_blocks.1.weight"] = state["map_blocks.1.weight"].half()

    read = read_official_alae(write_official(tmp_path / "a.pth", alae, mapping_tl_s=change))
    assert torch.equal(read.mapping_d.map_blocks[0].weight, whole[1].T.float())


def test_every_key_must_be_there_and_fit(tmp_path, alae):
    def change(state):
        for i in range(3):
            for part in ("bias_1", "bias_2"):
                del state[f"decode_block.{i}.{part}"]
        state["stray"] = torch.zeros(1)
        state["const"] = torch.zeros(1, 7, 4, 4)

    path = write_official(tmp_path / "a.pth", alae, generator_s=change)
    fails(
        lambda: read_official_alae(path),
        'Missing key(s) in state_dict: "decoder.decode_block.0.bias_1"',
        'Unexpected key(s) in state_dict: "decoder.stray"',
        "size mismatch for decoder.const",
    )


def test_a_key_of_none_is_missing(tmp_path, alae):
    path = write_official(tmp_path / "a.pth", alae, generator_s=lambda s: s.update(const=None))
    fails(lambda: read_official_alae(path), "Missing key", "decoder.const")


def test_the_architecture_named_is_checked(tmp_path, alae):
    path = write_official(tmp_path / "a.pth", alae)
    fails(
        lambda: read_official_alae(path, replace(SMALL, latent_size=8)),
        "size mismatch for w_avg",
        "latent_size=16",
    )
    fails(lambda: read_official_alae(path, replace(SMALL, layer_count=4)), "Missing key", "layer_count=3")
    assert read_official_alae(path, replace(SMALL, truncation_psi=0.5)).architecture.truncation_psi == 0.5


def test_a_missing_network_is_named(tmp_path, alae):
    path = write_official(tmp_path / "a.pth", alae)
    content = torch.load(path)
    del content["models"]["generator_s"]
    torch.save(content, path)
    fails(lambda: read_official_alae(path), "Missing key", "decoder.")


def test_weights_that_are_no_numbers(tmp_path, alae):
    alae.decoder.const.data[0, 0, 0, 0] = float("nan")
    path = write_official(tmp_path / "a.pth", alae)
    fails(lambda: read_official_alae(path), "not finite", "decoder.const")


# Files that are something else


def test_the_other_kind_of_file(tmp_path):
    fails(lambda: read_official_alae(PARITY / MINDGAN_FILES[0]), "architecture cannot be told", "ALAE")
    fails(lambda: read_official_mindgan(PARITY / ALAE_FILES[0]), "no sizes of this MindGAN", "MindGAN")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "x.pth")
    fails(lambda: convert(tmp_path / "x.pth", tmp_path / "out"), "no ALAE and no MindGAN")
    torch.save(torch.zeros(3), tmp_path / "x.pth")
    fails(lambda: read_official_alae(tmp_path / "x.pth"), "no ALAE and no MindGAN")


def test_what_is_no_weights_file(tmp_path):
    path = tmp_path / "x.pth"

    def opened(content):
        path.write_bytes(content)
        return lambda: read_official_alae(path)

    fails(lambda: read_official_alae(tmp_path / "none.pth"), "could not be read")
    fails(lambda: read_official_alae(tmp_path), "could not be read")
    fails(opened(b""), "no weights file", "again")
    fails(opened(b"\n<!DOCTYPE html><html>Quota exceeded</html>"), "web page", "browser")
    fails(opened(b"version https://git-lfs"), "no weights file")
    fails(opened(pickle.dumps({"models": {}})), "no weights file")
    save_file({"x": torch.zeros(3)}, path)
    fails(lambda: read_official_alae(path), "safetensors", "config.json")


@pytest.mark.parametrize("name", ALAE_FILES + MINDGAN_FILES)
@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.99999])
def test_cut_off_files(tmp_path, name, share):
    path = shutil.copy(PARITY / name, tmp_path / "cut.pth")
    os.truncate(path, int(path.stat().st_size * share))
    fails(lambda: convert(path, tmp_path / "out"), "again")
    assert not (tmp_path / "out").exists()


def test_a_damaged_zip_is_noticed(tmp_path):
    path = shutil.copy(PARITY / ALAE_FILES[0], tmp_path / "bad.pth")
    with path.open("r+b") as file:
        for place in range(100_000, path.stat().st_size - 200_000, 10_000):
            file.seek(place)
            file.write(b"\xff\xff\xff\xff")
    fails(lambda: read_official_alae(path), "damaged")


# Hostile files


class Payload:
    """Unpickled by pickle itself, this creates a file."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def payloads(target):
    return [
        Payload(os.system, f"touch {target}"),
        Payload(subprocess.call, ["touch", str(target)]),
        Payload(builtins.exec, f"open({str(target)!r}, 'w')"),
        Payload(builtins.getattr, Payload(builtins.__import__, "os"), "system"),
    ]


@BOTH_FORMATS
def test_a_hostile_pickle_executes_nothing(tmp_path, alae, zipped):
    target, path = tmp_path / "owned", write_official(tmp_path / "a.pth", alae, zipped)
    content = torch.load(path)

    def saved(**changes):
        torch.save(content | changes, path, _use_new_zipfile_serialization=zipped)
        return lambda: read_official_alae(path)

    for payload in payloads(target):
        fails(saved(auxiliary=payload), "asks for ", "Do not trust it")
        models = content["models"]
        models = models | {"generator_s": models["generator_s"] | {"const": payload}}
        fails(saved(models=models), "asks for ", "Do not trust it")
    torch.save(payloads(target)[2], path, _use_new_zipfile_serialization=zipped)
    fails(lambda: read_official_mindgan(path), "asks for ")
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the payload is a real one"


def test_hostile_head_of_the_older_format(tmp_path):
    """Each of its five pickles is read by torch's restricted reader."""
    target, path = tmp_path / "owned", tmp_path / "a.pth"
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    path.write_bytes(magic + pickle.dumps(payloads(target)[0], protocol=2) * 5)
    fails(lambda: read_official_alae(path), "asks for ")
    assert not target.exists()


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path, alae):
    class Greedy:
        def __reduce__(self):
            storage = torch.storage.TypedStorage(4, dtype=torch.float32, _internal=True)
            return torch._utils._rebuild_tensor_v2, (storage, 0, (1, 16, 4, 4), (0, 0, 0, 0), False, {})

    path = write_official(tmp_path / "a.pth", alae, generator_s=lambda s: s.update(const=Greedy()))
    fails(lambda: read_official_alae(path), "Missing key", "decoder.const")  # one number, repeated


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_script_archive_is_not_run(tmp_path):
    path = tmp_path / "script.pth"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    fails(lambda: read_official_alae(path))
