"""Faces as FFHQ shows them: found, and cut out turned and scaled so that eyes and mouth lie where FFHQ has them.

The rule is published for CelebA-HQ (Karras et al., arXiv 1710.10196, appendix C), and FFHQ (arXiv 1812.04948)
was made by it: from the eyes to the mouth runs y', from eye to eye x'; the square stands on x' - rot90(y'), its
side is max(4 |x'|, 3.6 |y'|), and its centre lies 0.1 y' below the middle of the eyes. Eyes and mouth come from
MTCNN (arXiv 1604.02878) as in the package facenet-pytorch, whose wheel brings the weights; FFHQ took dlib's.
"""

import math
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SEEN = 640  # px, the longer side of the copy that the detector looks at
SMALLEST = 24  # px in that copy; smaller faces are not looked for
SURE = 0.9  # the detector's own probability that this is a face
CLOSER = 320  # px a side of the second look, at the face alone and upright: the corners of six photographs,
# turned by up to 35 degrees, then agree within 0.027 of the side, 0.010 on average
# Degrees that a face may still lean by in the second look: of a portrait turned by every 15 degrees right ones leant
# by 5 or less, wrong ones (eyes taken for a mouth, in a picture on its side) by 10 or more
UPRIGHT = 8.0
ASIDE = 0.15  # of the eyes' distance that the nose lies beside the middle: its tip stands out by some 0.37 of that
# distance, so that this is a head turned by about 22 degrees
ALIGNED = 0.03  # of the side; twice what MTCNN and dlib differ by on faces cut by dlib (0.007 to 0.014)
RAMP, BLUR = 0.05, 0.02  # of the side: beyond the picture its reflection is blurred, fully from RAMP on

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Face:
    """The largest face of a picture."""

    quad: Points  # (4, 2) px: the square's corners, upper left, lower left, lower right, upper right
    off: float  # farthest an eye or a mouth corner of the centre square lies from its place, in sides
    count: int  # faces in the picture
    aside: bool = False  # it looks to one side

    @property
    def aligned(self) -> bool:
        """Whether the square in the middle already shows the face as FFHQ would."""
        return self.off <= ALIGNED

    def beyond(self, size: tuple[int, int]) -> float:
        """The share of the square, or of what holds it where it is turned, outside a picture of this size."""
        low, high = self.quad.min(0), self.quad.max(0)
        return float(1 - (np.minimum(high, size) - low.clip(0)).clip(0).prod() / (high - low).prod())

    @property
    def turn(self) -> float:
        """How far the face leans clockwise, in degrees."""
        x, y = self.quad[3] - self.quad[0]
        return math.degrees(math.atan2(y, x))


class Said(str, Enum):
    """A kind of remark, whose value heads its sentence."""

    def __str__(self) -> str:
        return str(self.value)


class Remark(Said):
    """What is to be said of the face in a picture that is used."""

    FITS = "Aligned already"
    ALIGNED = "Face aligned"
    NOT_ALIGNED = "Face not aligned"
    NO_FACE = "No face found"


def remark(face: Face | None, cut_out: bool) -> tuple[Remark, str]:
    """The remark on a face, which was cut out or only looked for, and its sentence."""
    if face is None:
        kind, detail = Remark.NO_FACE, "this model knows faces only"
    elif face.aligned:
        kind, detail = Remark.FITS, "used as it is"
    elif not cut_out:
        kind, detail = Remark.NOT_ALIGNED, "the crop face would align it"
    else:
        largest = f", the largest of {face.count} faces" if face.count > 1 else ""
        kind, detail = Remark.ALIGNED, f"it leant by {abs(face.turn):.0f} degrees{largest}"
    return kind, f"{kind}: {detail}."


@cache
def _detector() -> Any:
    from facenet_pytorch import MTCNN

    with torch.random.fork_rng(devices=[]):  # its layers draw numbers before they are given their weights
        return MTCNN(keep_all=True, min_face_size=SMALLEST)


def find(image: Image.Image, turns: int = 0) -> list[Points]:
    """Each face's left eye, right eye, left and right corner of the mouth as the viewer sees them, and the nose.

    Args:
        image: RGB or L.
        turns: quarters that the picture is turned by, anticlockwise, before it is looked at.

    Returns:
        (5, 2) px each in the picture as it is, the largest face first; faces that lean by over about 40 degrees
        after the turns are not found.
    """
    detector, scale = _detector(), SEEN / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    if min(width, height) < SMALLEST:
        return []
    copy = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    try:
        boxes, sure, points = detector.detect(copy.rotate(90 * turns, expand=True), landmarks=True)
    except RuntimeError as error:  # the library joins nothing where no candidate lies inside the picture
        if "non-empty" not in str(error):
            raise
        return []
    if boxes is None:
        return []
    for turn in reversed(range(turns)):
        points = np.stack([copy.size[turn % 2] - points[..., 1], points[..., 0]], axis=-1)
    back = np.array(image.size) / (width, height)
    found = [
        p[[0, 1, 3, 4, 2]].astype(np.float64) * back for p, s in zip(points, sure, strict=True) if s >= SURE
    ]
    return [marks for marks in found if np.linalg.norm(_axis(marks)) > 0]


def _axis(marks: Points) -> Points:
    """x' - rot90(y'): the direction that the square's upper edge takes, (2,)."""
    across, (down_x, down_y) = marks[1] - marks[0], marks[2:4].mean(0) - marks[:2].mean(0)
    return np.array([across[0] + down_y, across[1] - down_x])


def quad_of(marks: Points) -> Points:
    """The corners, (4, 2), of FFHQ's square about a face's eyes and mouth, (4, 2) or more."""
    eyes = marks[:2].mean(0)
    down = marks[2:4].mean(0) - eyes
    half = max(2.0 * np.linalg.norm(marks[1] - marks[0]), 1.8 * np.linalg.norm(down))
    x = _axis(marks)
    x *= half / np.linalg.norm(x)
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def look(image: Image.Image) -> Face | None:
    """Finds the largest face, looks at it once more straightened, and measures how far it is from aligned.

    A picture that lies on its side or stands on its head is turned by quarters until its face is upright then.
    """
    unsure = None
    for turns in range(4):
        if not (found := find(image, turns)):
            continue
        marks, lean = found[0], math.inf
        quad = quad_of(marks)
        if closer := find(cut(image, quad, CLOSER)):
            share, (x, y) = closer[0] / CLOSER, _axis(closer[0])
            marks = quad[0] + share[:, :1] * (quad[3] - quad[0]) + share[:, 1:] * (quad[1] - quad[0])
            quad, lean = quad_of(marks), abs(math.degrees(math.atan2(y, x)))
        eyes = marks[1] - marks[0]
        aside = bool(abs((marks[4] - marks[:4].mean(0)) @ eyes) > ASIDE * (eyes @ eyes))
        face = Face(quad, _off(marks[:4], quad, image.size), len(found), aside)
        if lean <= UPRIGHT:
            return face
        unsure = face if turns == 0 else unsure
    return unsure


def _off(marks: Points, quad: Points, size: tuple[int, int]) -> float:
    """The largest distance of the marks' places in the centre square from those in the quad, in sides."""
    side = min(size)
    centred = (marks - (np.array(size) - side) / 2) / side
    edges = np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1)
    placed = np.linalg.solve(edges, (marks - quad[0]).T).T
    return float(np.linalg.norm(centred - placed, axis=1).max())


def cut(image: Image.Image, quad: Points, side: int) -> Image.Image:
    """What lies within the quad, (4, 2) px, as a square of `side` px; beyond the picture its blurred reflection."""
    length = float(np.linalg.norm(quad[3] - quad[0]))
    margin = max(3.0, 0.1 * length)
    low = np.floor((quad.min(0) - margin).clip(0)).astype(int)
    high = np.ceil((quad.max(0) + margin).clip(max=image.size)).astype(int)
    part, quad = image.crop((*low, *high)), quad - low
    if length > 2 * side:  # as many pixels as the result needs, twice over
        width, height = (max(1, round(n * 2 * side / length)) for n in part.size)
        quad = quad * (width / part.width, height / part.height)
        part, length = part.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0), 2.0 * side
    part, quad = _extended(part, quad, length)
    drawn = 2 * side if length > side else side
    flat = quad.flatten().tolist()
    turned = part.transform((drawn, drawn), Image.Transform.QUAD, flat, Image.Resampling.BICUBIC)
    return turned if drawn == side else turned.resize((side, side), Image.Resampling.LANCZOS)


def _extended(image: Image.Image, quad: Points, length: float) -> tuple[Image.Image, Points]:
    """The picture, reflected and blurred beyond its edges as far as the quad reaches, and the quad in it."""
    left, top = np.ceil((-quad.min(0)).clip(0)).astype(int) + 2
    right, bottom = np.ceil((quad.max(0) - image.size).clip(0)).astype(int) + 2
    if max(left, top, right, bottom) <= 2:
        return image, quad
    pixels = np.asarray(image)
    beyond = ((top, bottom), (left, right), *([(0, 0)] * (pixels.ndim - 2)))
    padded = Image.fromarray(np.pad(pixels, beyond, mode="symmetric"))
    outside = (  # how far each row and each column is
        np.pad(np.zeros(n), (first, last), mode="linear_ramp", end_values=(first, last))
        for n, first, last in ((image.height, top, bottom), (image.width, left, right))
    )
    distance = np.maximum.outer(*outside)
    mask = Image.fromarray((255 * (distance / (RAMP * length)).clip(0, 1)).astype(np.uint8))
    blurred = padded.filter(ImageFilter.GaussianBlur(BLUR * length))
    return Image.composite(blurred, padded, mask), quad + np.array((left, top))
