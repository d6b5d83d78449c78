"""What a model keeps of labelled pictures, and which of their classes it draws, as a classifier sees it.

`python tests/tools/class_reading.py TRAIN TEST --model fashion32-alae` takes two folders that `make-data` wrote, of
the splits `train` and `test`. A small convolutional network learns the labels of the first; of the second it names
the originals and what the model makes of them, and then it names samples.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mind2mind.data.dataset import Pictures
from mind2mind.data.images import from_uint8, to_tensor
from mind2mind.judge.verdict import reconstruct
from mind2mind.models.bundle import Model
from mind2mind.studio import Studio

EPOCHS, BATCH, RATE = 3, 128, 1e-3
COUNT = 1000  # pictures of TEST, and samples


def read(folder: Path, model: Model, count: int | None = None) -> tuple[Tensor, list[str]]:
    """The first pictures of a folder as the model sees them, uint8 (N, C, H, W), and their classes."""
    a = model.alae.architecture
    rows = [json.loads(line) for line in (folder / "attributes.jsonl").read_text().splitlines()]
    named = {row["file"]: row["class"] for row in rows}
    files = [folder / row["file"] for row in rows[:count]]
    pictures = [*Pictures(files, resolution=a.resolution, channels=a.image_channels)]
    pixels = torch.stack([picture.pixels for picture in pictures])
    return pixels, [named[Path(picture.name).name] for picture in pictures]


def learnt(pixels: Tensor, labels: Tensor, classes: int, seed: int = 0) -> nn.Module:
    """A classifier of pictures in [-1, 1], (N, C, H, W), trained on uint8 ones and labels (N,)."""
    torch.manual_seed(seed)
    channels, side = pixels.shape[1], pixels.shape[-1]
    network = nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * (side // 4) ** 2, 128), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(pixels)).split(BATCH):
            loss = F.cross_entropy(network(from_uint8(pixels[chosen])), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval()


@torch.no_grad()
def named(network: nn.Module, x: Tensor) -> Tensor:
    """The classes (N,) of pictures in [-1, 1], (N, C, H, W)."""
    return torch.cat([network(chunk.clamp(-1, 1)).argmax(dim=1) for chunk in x.split(BATCH)])


def measure(studio: Studio, ref: str, train: Path, test: Path) -> dict[str, object]:
    """Shares in per cent, and the number of samples of each class at psi 1 and at the model's own."""
    model = studio.models.load(ref)
    a = model.alae.architecture
    pixels, classes = read(train, model)
    names = sorted(set(classes))
    network = learnt(pixels, torch.tensor([names.index(c) for c in classes]), len(names))
    originals, classes = read(test, model, COUNT)
    truth, seen = torch.tensor([names.index(c) for c in classes]), named(network, from_uint8(originals))
    again = named(network, reconstruct(model.alae, originals)[0])

    def share(right: Tensor) -> float:
        return round(100 * right.float().mean().item(), 1)

    drawn: dict[str, dict[str, int]] = {}
    for psi in {1.0, a.truncation_psi}:
        samples = studio.draw.sample(ref, range(COUNT), psi=psi, noise="none")
        x = from_uint8(torch.stack([to_tensor(image, a.resolution, a.image_channels) for image in samples]))
        counts = Counter(named(network, x).tolist())
        drawn[f"psi {psi}"] = {name: counts[i] for i, name in enumerate(names)}
    return {
        "classifier right of originals": share(seen == truth),
        "reconstructions named as their originals": share(again == seen),
        "reconstructions named rightly": share(again == truth),
        "of each class": {name: share((again == seen)[seen == i]) for i, name in enumerate(names)},
        "samples": drawn,
    }


def main() -> None:
    """Prints the numbers as JSON."""
    parser = argparse.ArgumentParser(prog="python tests/tools/class_reading.py", description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--model", default="fashion32-alae")
    options = parser.parse_args()
    print(json.dumps(measure(Studio(), options.model, options.train, options.test), indent=1))


if __name__ == "__main__":
    main()
