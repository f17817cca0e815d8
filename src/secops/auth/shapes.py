"""The bodies of requests and answers, named as the plan names them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

_Email = Annotated[str, StringConstraints(min_length=1, max_length=320)]
_Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
_Name = Annotated[str, StringConstraints(max_length=200)]

Data = TypeVar("Data")


class _Given(BaseModel):
    """A request's body: what it does not name is not taken, a role least of all."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Credentials(_Given):
    """Who logs in."""

    email: _Email
    password: _Password


class Registration(_Given):
    """Who wants an account."""

    email: _Email
    password: _Password
    firstName: _Name = ""  # noqa: N815  the plan's name; so below
    lastName: _Name = ""  # noqa: N815


class NewPassword(_Given):
    """A password in exchange for another."""

    currentPassword: _Password  # noqa: N815
    newPassword: _Password  # noqa: N815


class Success(BaseModel, Generic[Data]):
    """Every answer that is a success."""

    success: Literal[True] = True
    data: Data


class Done(BaseModel):
    """A success with nothing more to say."""

    success: Literal[True] = True


class User(BaseModel):
    """An account, as its owner sees it."""

    id: Any = Field(description="The app's key: a UUID, a number or a text.")
    email: str | None
    name: str | None


class Tokens(BaseModel):
    """An access token; the refresh token is in the cookie, and nowhere else."""

    accessToken: str  # noqa: N815
    expiresIn: str = Field(examples=["15m"])  # noqa: N815


class LoggedIn(Tokens):
    """What a login gives."""

    user: User


class Registered(BaseModel):
    """What registering gives."""

    user: User


class Session(BaseModel):
    """A live session."""

    id: UUID
    device: str
    ip: str | None
    createdAt: datetime  # noqa: N815
    lastUsedAt: datetime  # noqa: N815
    expiresAt: datetime  # noqa: N815
    current: bool


class Ended(BaseModel):
    """How many sessions ended."""

    sessions: int


class Event(BaseModel):
    """Something that happened to an account."""

    type: str
    at: datetime | None
    success: bool
    message: str | None
    device: str
    ip: str | None


class Health(BaseModel):
    """Whether the backend works, and which rollout its variables are of."""

    status: Literal["ok"]
    rollout: str
