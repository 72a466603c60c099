"""Errors as HTTP answers: a status, a code, one line that says what to do; never what came in."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from keepsight.annotation.trouble import Busy, Conflict, Locked, NotFound, TooMuch
from keepsight.core import Cancelled, InputError, KeepsightError, ModelError, StoreError


class ApiError(KeepsightError):
    """A request that cannot be answered.

    Args:
        status: HTTP status.
        code: for programs: ``not_found``, ``conflict``, ``busy``, ...
        message: one line for a person.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def not_found(what: str) -> ApiError:
    return ApiError(404, "not_found", what)


_STATUS: dict[type[KeepsightError], tuple[int, str]] = {  # the particular before the general
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    Locked: (423, "locked"),
    TooMuch: (413, "too_large"),
    Busy: (503, "busy"),
    InputError: (422, "bad_request"),
    StoreError: (409, "conflict"),
    ModelError: (503, "model"),
    Cancelled: (409, "cancelled"),
}
_CODES = {404: "not_found", 405: "bad_method", 413: "too_large", 415: "bad_request", 422: "bad_request"}


def describe(error: KeepsightError) -> tuple[int, str, str]:
    """Status, code and line of an error."""
    if isinstance(error, ApiError):
        return error.status, error.code, str(error)
    for kind, (status, code) in _STATUS.items():
        if isinstance(error, kind):
            return status, code, str(error)
    return 500, "failed", str(error)


def answer(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"success": False, "error": {"code": code, "message": message}}, status)


def install_errors(app: FastAPI) -> None:
    """Makes every error of an app an envelope ``{"error": {"code", "message"}}``."""

    @app.exception_handler(KeepsightError)
    async def ours(_: Request, error: KeepsightError) -> JSONResponse:
        return answer(*describe(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # Where and why, but not the value: it may be megabytes, or nobody's business.
        lines = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()[:5]]
        return answer(422, "bad_request", "; ".join(lines))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, _CODES.get(error.status_code, "failed"), str(error.detail))
