"""Where a target's token comes from: an environment variable or the system's keyring, never a file of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from secops.errors import ConfigurationError
from secops.settings import Secret
from secops.targets.failures import MissingToken

if TYPE_CHECKING:
    from secops.targets.options import Options
    from secops.targets.target import Place


def token(
    place: Place, options: Options, environ: Mapping[str, str], *, default: str, where: str
) -> Secret:
    """Return the token of a target.

    ``token_env`` names the variable; ``keyring`` names an entry of the system's keyring, as
    ``service/user``. Where neither is given the platform's own variable is read.

    Args:
        place: The target.
        options: Its options.
        environ: The environment.
        default: The variable that the platform's own tools read.
        where: Where to get such a token, as a sentence for people.

    Raises:
        MissingToken: There is none.
        ConfigurationError: It cannot be one, both places are named, or there is no keyring.
    """
    variable = options.text("token_env", default)
    entry = options.optional("keyring")
    if entry is not None and options.optional("token_env") is not None:
        raise ConfigurationError(
            f"The target {place.name} names both token_env and keyring.", hint="Keep one of them."
        )
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", variable):
        # Not repeated: it may well be the token, which has small letters or dashes.
        raise ConfigurationError(
            f"token_env of the target {place.name} is no name of an environment variable.",
            hint="It names the variable that holds the token, such as RAILWAY_TOKEN; the token itself "
            "does not belong into secops.yaml.",
        )
    if entry is not None:
        return usable(place, _from_keyring(place, entry), f"the keyring's entry {entry}")
    given = environ.get(variable, "").strip()
    if not given:
        raise MissingToken(
            f"There is no token for the target {place.name}: {variable} is not set.", hint=where
        )
    return usable(place, given, variable)


def usable(place: Place, given: str, source: str) -> Secret:
    """Return what was given as a token, if it can be one."""
    text = given.strip()
    # Otherwise the HTTP library refuses the header, and shows it.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"What {source} holds for the target {place.name} is no token.",
            hint="A token is one line of letters, digits and signs; was more than the token copied?",
        )
    return Secret(text)


def _from_keyring(place: Place, entry: str) -> str:
    service, slash, user = entry.partition("/")
    if not slash or not service or not user:
        raise ConfigurationError(
            f"keyring of the target {place.name} must be service/user.",
            hint=f"For example: keyring: secops/{place.name}, set with "
            f"`keyring set secops {place.name}`.",
        )
    try:
        import keyring  # noqa: PLC0415  an extra, for who wants it
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            f"The target {place.name} keeps its token in a keyring, which is not installed.",
            hint='Install it with `pip install "secops[keyring]"`, or use token_env.',
        ) from None
    try:
        found = keyring.get_password(service, user)
    except KeyringError as error:
        raise ConfigurationError(
            f"The keyring cannot be read for the target {place.name}: {type(error).__name__}.",
            hint="Unlock it, or use token_env.",
        ) from None
    if not found:
        raise MissingToken(
            f"The keyring has no entry {entry} for the target {place.name}.",
            hint=f"Put the token there with `keyring set {service} {user}`.",
        )
    return found
