"""OpenAPI."""

from starlette.responses import JSONResponse


def answer(call):
    return JSONResponse({})
