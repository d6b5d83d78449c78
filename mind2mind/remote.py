"""What can be had from elsewhere: the models their authors published, and the names of Hub repositories.

A table and a grammar; nothing here touches the network. None of these files has a published size or hash: the
size is told by the server, the hash is kept at the first download (see `downloads`).
"""

import re
from dataclasses import dataclass

from mind2mind.config import ARCHITECTURES

BUCKET = "https://alaeweights.s3.us-east-2.amazonaws.com/"  # of ALAE's authors
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
MINDGAN_FILE = "17ZUtqR6nYw1pUxzKKyb5EJUTZF7s1SYW"  # a zip with output/submitted/, of MindGAN's authors

_ALAE = "Pidhorskyi, Adjeroh and Doretto, Adversarial Latent Autoencoders (arXiv 2004.04467)"
_MINDGAN = "Frégier and Gouray, Mind2Mind (arXiv 1906.11613)"
_BYTES = {"ffhq": 217_198_444, "celeba-hq256": 215_915_604, "bedroom": 170_587_732, "celeba": 53_537_864}
_REPOSITORY = r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?"  # as the Hub names owners and repositories
_HUB = re.compile(rf"({_REPOSITORY}/{_REPOSITORY})(?:@([\w][\w./-]{{0,199}}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Remote:
    """A published model: what it is, whose, and where its file lies."""

    id: str
    title: str
    knows: str  # one line, as on a card
    credit: str
    licence: str
    url: str
    kept_bytes: int  # of its bundle once converted, float32
    architecture: str | None = None  # a name of config.ARCHITECTURES; None for a MindGAN
    needs: str | None = None  # the id of the source it draws with
    notes: str = ""

    @property
    def kind(self) -> str:
        """source or transfer."""
        return "transfer" if self.needs else "source"

    @property
    def resolution(self) -> int | None:
        """Pixels a side; None for a transfer, which draws as its source does."""
        return ARCHITECTURES[self.architecture].resolution if self.architecture else None

    @property
    def command(self) -> str:
        """What fetches it."""
        return f"mind2mind download {self.id}"


def _alae(id: str, path: str, what: str, knows: str, data: str, architecture: str) -> Remote:
    return Remote(
        id=id,
        title=f"ALAE {what}",
        knows=knows,
        credit=_ALAE,
        licence=f"Apache-2.0 as its authors state; trained on {data}",
        url=BUCKET + path,
        kept_bytes=_BYTES[architecture],
        architecture=architecture,
    )


_FFHQ = "photographs of faces, aligned as those of FFHQ"
_FFHQ_DATA = "FFHQ, which is for non-commercial use"
_CELEBA_DATA = "CelebA, which is for non-commercial research"
_TABLE = (
    _alae("ffhq", "ffhq/model_submitted.pth", "FFHQ", _FFHQ, _FFHQ_DATA, "ffhq"),
    _alae("ffhq-157", "ffhq/model_157.pth", "FFHQ, epoch 157", _FFHQ, _FFHQ_DATA, "ffhq"),
    _alae("ffhq-194", "ffhq/model_194.pth", "FFHQ, epoch 194", _FFHQ, _FFHQ_DATA, "ffhq"),
    _alae("celeba", "celeba/model_final.pth", "CelebA", "faces of well-known people", _CELEBA_DATA, "celeba"),
    _alae(
        "celeba-hq256",
        "celeba-hq256/model_262r.pth",
        "CelebA-HQ, epoch 262",
        "faces of well-known people, aligned as those of CelebA-HQ",
        _CELEBA_DATA,
        "celeba-hq256",
    ),
    _alae(
        "celeba-hq256-580r",
        "celeba-hq256/model_580r.pth",
        "CelebA-HQ, epoch 580",
        "faces of well-known people, aligned as those of CelebA-HQ",
        _CELEBA_DATA,
        "celeba-hq256",
    ),
    _alae(
        "bedroom",
        "bedroom/model_final.pth",
        "LSUN Bedroom",
        "photographs of bedrooms",
        "LSUN, whose pictures have no stated licence",
        "bedroom",
    ),
    Remote(
        id="mindgan-celeba",
        title="MindGAN, CelebA from FFHQ",
        knows="faces as in CelebA, drawn with the model ffhq",
        credit=_MINDGAN,
        licence=f"Apache-2.0 as its authors state; trained on {_CELEBA_DATA}",
        url=DRIVE + MINDGAN_FILE,
        kept_bytes=2_000_000,  # by the published sizes of its layers
        needs="ffhq",
        notes="The authors' own transfer.",
    ),
)
REMOTE = {remote.id: remote for remote in _TABLE}


@dataclass(frozen=True, slots=True)
class HubId:
    """A repository on the Hugging Face Hub: `owner/name`, or `owner/name@revision`."""

    repository: str
    revision: str | None = None  # a branch, a tag or a commit; None is the main branch


def hub_id(text: str) -> HubId | None:
    """The repository that `text` may name, or None. A path such as `runs/mine` looks the same."""
    match = _HUB.fullmatch(text)
    if match is None or "--" in match[1] or ".." in text:  # neither occurs on the Hub
        return None
    return HubId(match[1], match[2])


def is_repository(text: str) -> bool:
    """Whether `text` may name a Hub repository, without a revision."""
    found = hub_id(text)
    return found is not None and found.revision is None


def folder_name(model_id: str) -> str:
    """The folder of a model's id: `owner/name` becomes `owner--name`."""
    return model_id.replace("/", "--") if is_repository(model_id) else model_id


def id_of(folder: str) -> str:
    """The other way round."""
    model_id = folder.replace("--", "/")
    return model_id if is_repository(model_id) else folder


def how_to_get(model_id: str) -> str:
    """What to do about a model that is not here."""
    if model_id in REMOTE:
        return f"Get it: {REMOTE[model_id].command}."
    if found := hub_id(model_id):
        known = f"; it is then known as {found.repository}" if found.revision else ""
        return f"If it is a repository on the Hugging Face Hub, get it: mind2mind download {model_id}{known}."
    return "Copy its folder to weights/."


def size_text(count: int) -> str:
    """Bytes in words: 217 MB."""
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= size:
            return f"{count / size:.{1 if count < 10 * size else 0}f} {unit}"
    return f"{count / 1e3:.0f} kB"
