"""What a target's service says no with, beside the errors of :mod:`secops.errors`.

Each is one of the errors that the protocol names, so that who calls a target tells them apart by those::

    ConfigurationError   2
    ├── MissingToken     2  no credentials
    └── NoSuchPlace      2  secops.yaml names an app, a service or an object that is not there
    OutcomeUnknown       7  the reply to a write was lost
    Refused              8
    └── NotAllowed       8  the credentials may not do that
    Unreachable         10  nothing was written
    └── TooManyRequests 10  the service asks to come back later
    SecopsError          1
    └── Misunderstood    1  the service answered something that secops does not know
"""

from __future__ import annotations

from secops.errors import ConfigurationError, Refused, SecopsError, Unreachable


class MissingToken(ConfigurationError):  # noqa: N818  as its base
    """There are no credentials where ``secops.yaml`` says they are."""

    code = "missing-token"


class NoSuchPlace(ConfigurationError):  # noqa: N818
    """What ``secops.yaml`` names is not there, or the credentials do not let it be seen."""

    code = "no-such-place"


class NotAllowed(Refused):
    """The credentials may not do that; nothing was changed."""

    code = "not-allowed"


class TooManyRequests(Unreachable):
    """The service counts requests and asks to come back later; nothing was changed.

    ``details["retry_after"]`` holds the seconds, where the service said so.
    """

    code = "too-many-requests"


class Misunderstood(SecopsError):  # noqa: N818
    """The service answered what secops does not understand; nothing was changed."""

    code = "misunderstood"
