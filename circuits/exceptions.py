"""What circuits raises. Messages are for people; the attributes are for code."""

from __future__ import annotations

from typing import Any, Final

#: How much of a bad value a refusal repeats, in characters.
SHOWN: Final = 200


class RemoteCallFailedException(Exception):  # noqa: N818 - a public name, fixed
    """A remote call failed, or was not made.

    Args:
        message: One sentence for people, free of secrets.
        name: The circuit's name.
        response: The answer that counted as a failure, where there was one.
    """

    def __init__(self, message: str, name: str = "", response: Any = None) -> None:
        super().__init__(message, name, response)
        self.name = name
        self.response = response

    def __str__(self) -> str:
        return str(self.args[0])


class CircuitOpenError(RemoteCallFailedException):
    """The call was not made, because the circuit refuses calls for now.

    Args:
        name: The circuit's name.
        retry_after: Seconds until a call may be let through again.
    """

    def __init__(self, name: str, retry_after: float) -> None:
        # Not the parent's __init__: a refusal is the hot path of an outage, and these two
        # arguments are what pickle needs to rebuild it.
        Exception.__init__(self, name, retry_after)
        self.name = name
        self.retry_after = retry_after
        self.response = None

    def __str__(self) -> str:
        return f"Retry after {self.retry_after:.2f} secs"


class CircuitBusyError(CircuitOpenError):
    """The call was not made, because this process has ``max_concurrent`` of them under way.

    It is a :class:`CircuitOpenError`, so that whoever handles refusals handles this one too.
    """

    def __str__(self) -> str:
        return f"Too many calls to {self.name} at once. {super().__str__()}"


class InvalidInputError(ValueError):
    """A name, URL or policy value cannot be used. The message names it and the fix."""


class TooManyCircuitsError(RuntimeError):
    """A new name was refused because the site already has ``MAX_CIRCUITS`` circuits.

    Args:
        name: The name that was refused.
        limit: ``MAX_CIRCUITS``.
    """

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name, limit)
        self.name = name
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"The circuit {self.name!r} was not made: there are {self.limit} already. "
            "Use fewer names, or raise CIRCUITS['MAX_CIRCUITS']."
        )


def shown(value: object) -> str:
    """Return a bad value as a refusal repeats it: the beginning of a long one."""
    try:
        text = repr(value)
    except Exception:  # Python prints no number of more than 4,300 digits, for one
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
