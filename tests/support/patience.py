"""A client that keeps trying while the server is being hurt, as a careful script would."""

import http.client
from collections.abc import Callable
from typing import Protocol

from polling import until
from rest import TERMINAL, Answer, Api, Json

# Statuses after which trying again makes sense.
PASSING = (502, 503, 504)


class Hurt(Protocol):
    """An installation that somebody hurts."""

    @property
    def api(self) -> Api:
        """Its API."""

    @property
    def log(self) -> str:
        """What its programs have said."""


def create(stack: Hurt, task_type: str, **parameters: object) -> Json:
    """A task, created once however often the request has to be sent."""
    key = {"Idempotency-Key": stack.api.a_name("request")}

    def ask() -> Answer:
        return stack.api.request(
            "POST", f"tasks/{task_type}/", parameters, headers=key, timeout=10
        )

    answer = until(lambda: _attempt(ask), f"a task {task_type}", 90)
    return dict(answer.expect(200, 201))


def finished(stack: Hurt, task: Json, seconds: float = 150) -> Json:
    """The task, at its end, whatever happens to the server meanwhile."""

    def ask() -> Json | None:
        answer = _attempt(lambda: stack.api.request("GET", task["href"], timeout=10))
        if answer is None:
            return None
        found = dict(answer.expect(200))
        return found if found["state"] in TERMINAL else None

    return until(ask, f"the end of {task['name']}\n{stack.log[-3000:]}", seconds)


def restored(stack: Hurt, seconds: float = 90) -> None:
    """Return when the API answers and finds nothing wrong, but clocks."""

    def ask() -> bool:
        answer = _attempt(lambda: stack.api.request("GET", "status/", timeout=10))
        return answer is not None and answer.status == 200 and not _found(answer)

    until(ask, "the installation to be well", seconds)


def _found(answer: Answer) -> list[str]:
    # Those are wrong as long as whoever hurts it wants.
    return [one for one in answer.json["problems"] if not str(one).startswith("The clock of")]


def _attempt(ask: Callable[[], Answer]) -> Answer | None:
    try:
        answer = ask()
    except (OSError, http.client.HTTPException):
        return None
    return None if answer.status in PASSING else answer
