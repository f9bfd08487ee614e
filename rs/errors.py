"""The exception tree. Exceptions are for sessions, files and configuration, never per route."""

from __future__ import annotations


class RsError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(RsError):
    """A configuration that cannot be used; `problems` holds every fault found, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class NotifyError(RsError):
    """A fault that RFC 4271 answers with a NOTIFICATION.

    `data` is the NOTIFICATION's Data field; `reason` is for our log, in words.
    """

    def __init__(self, code: int, subcode: int = 0, data: bytes = b"", reason: str = "") -> None:
        super().__init__(reason or f"NOTIFICATION {code}/{subcode}")
        self.code = code
        self.subcode = subcode
        self.data = data
        self.reason = reason


class MrtError(RsError):
    """An MRT file that cannot be read; the message names file, record number and offset."""


class ApiError(RsError):
    """A request to a running daemon that failed; the message is for the operator.

    `problems` holds the faults of a configuration that the daemon refused, one line each.
    """

    def __init__(self, message: str, problems: list[str] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


class VrpError(RsError):
    """A file of VRPs that cannot be used; the message names file and entry."""
