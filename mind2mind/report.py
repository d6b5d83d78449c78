"""What became of each file of a set of pictures, and what to expect of so many."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mind2mind import faces
from mind2mind.errors import DataError


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one file."""

    name: str  # path inside its folder or zip; unique in the report
    status: Literal["used", "skipped"]
    reason: str = ""  # why it was skipped; for a used picture a remark, mostly none
    width: int = 0  # px, upright; 0 where unknown
    height: int = 0
    sha256: str = ""  # of the pixels as the model sees them
    size: int = 0  # bytes of the file


@dataclass(frozen=True)
class Report:
    """The verdicts on all files read, in reading order."""

    verdicts: tuple[Verdict, ...] = ()

    @property
    def used(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.status == "used"]

    @property
    def skipped(self) -> list[Verdict]:
        return [v for v in self.verdicts if v.status == "skipped"]

    def reasons(self) -> Counter[str]:
        """How many files were skipped for what: "Too small", "Duplicate", "The file is cut off."."""
        return Counter(v.reason.partition(":")[0] for v in self.skipped)

    def faces(self) -> Counter[str]:
        """How many used pictures have which remark on their face: "Face aligned", "Face not aligned"."""
        remarks = (v.reason.partition(":")[0] for v in self.used)
        return Counter(remark for remark in remarks if remark in faces.REMARKS)

    @property
    def not_aligned(self) -> int:
        """Used pictures whose faces are not as the model needs them."""
        return self.faces()[faces.NOT_ALIGNED.partition(":")[0]]

    @property
    def turned(self) -> int:
        """Used pictures whose faces were aligned."""
        return self.faces()["Face aligned"]

    def sizes(self) -> dict[str, int]:
        """How many used pictures have a shorter side of so many pixels: {"64 to 127": 3, "128 to 255": 20}."""
        powers = Counter(min(v.width, v.height).bit_length() - 1 for v in self.used if v.width and v.height)
        span = range(min(powers), max(powers) + 1) if powers else ()
        return {f"{2**power} to {2 ** (power + 1) - 1}": powers[power] for power in span}

    def advice(self) -> str:
        """What to expect of so many pictures, in plain words."""
        return advice(len(self.used))

    def to_dict(self) -> dict[str, Any]:
        return {"version": 1, "verdicts": [asdict(v) for v in self.verdicts]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """Raises DataError when the values are no report of this version."""
        try:
            if values["version"] != 1:
                raise ValueError(f"version {values['version']}")
            return cls(tuple(Verdict(**v) for v in values["verdicts"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"This is no report on pictures ({error}).", "Read the pictures again."
            ) from error


NOTHING = Report()


def advice(count: int) -> str:
    """What to expect of `count` usable pictures, in plain words."""
    if count == 0:
        return "No picture can be used, so there is nothing to learn from. See the reasons per file."
    if count == 1:
        return (
            "Only one picture: a generator could do no more than repeat it. Add more, 20 at the very least."
        )
    if count < 5:
        return f"Only {count} pictures: the results will repeat them. Add more, 20 at the very least."
    if count < 20:
        return (
            f"{count} pictures are very few: expect near copies of them. 50 or more give new ones a chance."
        )
    if count < 50:
        return f"{count} pictures are few: expect little variety and some near copies. 200 would do better."
    if count < 200:
        return f"{count} pictures will do for a first result; more would bring more variety."
    return f"{count:,} pictures: enough for a varied result, if the source model knows such pictures."
