"""What one browser remembers of its visits. It may send anything: nothing of it is believed."""

import re
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

from mind2mind.errors import RunError

_KEY = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True)
class Visit:
    """What one browser remembers: who it is, the run it looks at, the runs it uses as models."""

    visitor: str
    token: str | None = None
    models: tuple[str, ...] = ()
    agreed: bool = False  # to what a public server asks before an upload

    @classmethod
    def of(cls, stored: Any) -> "Visit":
        """From the browser, which may send anything."""
        stored = stored if isinstance(stored, dict) else {}
        visitor, token, models = stored.get("visitor"), stored.get("token"), stored.get("models")
        return cls(
            visitor if is_key(visitor) else secrets.token_urlsafe(16),
            token if is_key(token) else None,
            tuple(filter(is_key, models if isinstance(models, list) else ())),
            stored.get("agreed") is True,
        )

    def stored(self) -> dict[str, Any]:
        """For the browser."""
        return asdict(self) | {"models": list(self.models)}

    def at(self, token: str | None) -> "Visit":
        """The same visit, looking at another run."""
        return replace(self, token=token)

    def using(self, token: str) -> "Visit":
        """With one more run among the models."""
        return replace(self, models=(*(m for m in self.models if m != token), token))

    def without(self, token: str) -> "Visit":
        """After the run was deleted."""
        return self.at(None).forgetting(token)

    def forgetting(self, token: str) -> "Visit":
        """Without this one among the models."""
        return replace(self, models=tuple(m for m in self.models if m != token))

    def agreeing(self, yes: bool) -> "Visit":
        """After the tick was set, or taken away."""
        return replace(self, agreed=yes)

    @property
    def needed_token(self) -> str:
        """The run's token.

        Raises:
            RunError: there is none.
        """
        if self.token is None:
            raise RunError("There is no run here.", "Choose pictures first.")
        return self.token


def is_key(value: object) -> bool:
    """Whether this may be a token: never a path."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None
