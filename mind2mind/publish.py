"""A transfer's bundle to the Hugging Face Hub, as a repository of its own: private unless asked otherwise.

Only the four files of a bundle go there: no codes, no copies of the originals. The card gets the front matter
that the Hub reads. `huggingface_hub` is called here and nowhere else for that.
"""

import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from mind2mind import cards
from mind2mind.cards import CARD, PARTS, TRANSFER, read_config
from mind2mind.errors import ConfigError, WeightsError
from mind2mind.remote import is_repository

# The Hub's names of licences that sources have; any other is told as it is written
LICENCES = ("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-sa-3.0")
PROMISE = "Your pictures and their codes stay here: only the model, its card and 16 samples are sent."


def card_for(folder: Path, repository: str) -> str:
    """What the repository's README.md will be.

    Raises:
        ConfigError: this is no name of a repository.
        WeightsError: there is no transfer in `folder`.
    """
    _check_name(repository)
    config = read_config(folder)
    if config["format"] != TRANSFER:
        raise WeightsError(f"'{config.get('id')}' is a source, not a transfer.", "Publish what you trained.")
    card = (folder / CARD).read_text(encoding="utf-8") if (folder / CARD).exists() else ""
    text, _, _ = card.partition("\n## Use\n")
    return f"{_front_matter(config)}\n{text.rstrip()}\n\n{_use(repository)}"


def publish(folder: Path, repository: str, token: str | None, *, private: bool = True) -> str:
    """Makes the repository `owner/name` and sends the bundle in `folder` there; gives its address.

    Args:
        folder: of a transfer's bundle.
        repository: a new one; one that exists is not touched.
        token: of the Hub; None is the one that `hf auth login` has kept.
        private: only its owner sees it.

    Raises:
        ConfigError: this is no name of a repository.
        WeightsError: there is no transfer in `folder`, or the Hub refuses or is not reached.
    """
    from huggingface_hub import HfApi

    text, api = card_for(folder, repository), HfApi(token=token)
    with tempfile.TemporaryDirectory() as work:
        for part in PARTS:
            if (folder / part).exists():
                shutil.copy(folder / part, work)
        (Path(work) / CARD).write_text(text, encoding="utf-8")
        made = False
        try:
            url = api.create_repo(repository, private=private, exist_ok=False)
            made = True
            api.upload_folder(repo_id=repository, folder_path=work, commit_message="A transfer of Mind2Mind")
        except Exception as error:  # the Hub's client raises those of several libraries
            if made:  # an empty repository would stand in the way of the next try
                with suppress(Exception):
                    api.delete_repo(repository)
            raise _refused(repository, error) from error
    return str(url)


def _refused(repository: str, error: Exception) -> WeightsError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 409:
        return WeightsError(f"There is already a repository '{repository}'.", "Choose another name.")
    if status in (401, 403):
        return WeightsError(
            f"The Hub does not let you make '{repository}'.",
            "Sign in again, and take your own name, or that of an organisation that you may write to.",
        )
    said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    return WeightsError(f"The Hub did not take '{repository}': {said}", "Try again in a moment.")


def _check_name(repository: str) -> None:
    if not is_repository(repository):
        raise ConfigError(
            f"'{repository[:80]}' is no name of a repository.", "Give owner/name: letters, digits, - _ and ."
        )


def _front_matter(config: dict[str, object]) -> str:
    licence = str(config.get("licence", ""))
    name = licence.lower().replace(" ", "-")
    lines = ["---", f"license: {name if name in LICENCES else 'other'}"]
    if name not in LICENCES:
        lines += [f"license_name: {cards.slug(licence)}"]
    lines += [
        "library_name: mind2mind",
        "pipeline_tag: unconditional-image-generation",
        "tags: [mind2mind, gan, transfer-learning]",
        f"model_name: {json.dumps(str(config.get('title', '')))}",  # JSON's strings are YAML's
        "---",
    ]
    return "\n".join(lines) + "\n"


def _use(repository: str) -> str:
    return (
        f"## Use\n\n```sh\nmind2mind download {repository}\n```\n\n"
        f"```python\nimport mind2mind\n\n{cards.usage(repository)}\n```\n"
    )
