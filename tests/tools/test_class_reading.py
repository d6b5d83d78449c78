"""The classifier that reads what a model makes of labelled pictures."""

import json

import torch
from tiny import make_studio
from tools.class_reading import learnt, named, read

from mind2mind.data.images import from_uint8, save_png, to_image


def striped(count, seed):
    """Half of them lie, half stand; noise over both."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    rows = (torch.arange(32) // 4 % 2 * 120 + 60).float().view(1, 1, 32, 1).expand(count, 1, 32, 32)
    x = torch.where(labels.view(-1, 1, 1, 1) == 1, rows.transpose(2, 3), rows)
    x = x + 40 * torch.randn(x.shape, generator=generator)
    return x.clamp(0, 255).to(torch.uint8), labels


def test_it_learns_the_classes_and_names_new_pictures():
    network = learnt(*striped(1000, 0), classes=2)
    pixels, labels = striped(200, 1)
    assert (named(network, from_uint8(pixels)) == labels).float().mean() > 0.99
    assert (named(network, from_uint8(pixels).transpose(2, 3)) == 1 - labels).float().mean() > 0.99


def test_pictures_come_with_their_own_classes(tmp_path):
    pixels, labels = striped(6, 0)
    rows = []
    for i, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        save_png(to_image(from_uint8(picture)), tmp_path / f"{9 - i}.png")  # not in the order of their names
        rows.append({"file": f"{9 - i}.png", "class": str(int(label))})
    (tmp_path / "attributes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model = make_studio(tmp_path).models.load("tiny")
    found, classes = read(tmp_path, model, 4)
    a = model.alae.architecture
    assert found.shape == (4, a.image_channels, a.resolution, a.resolution)
    assert classes == ["0", "1", "0", "1"]
