"""Statements that a connection plans once and not each time: for short ones, done for each task.

PostgreSQL spends more on planning such a statement than on running it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from entrepot_core.store.database import Connection, Cursor

__all__ = ["execute"]

# A plan made while a table was tiny scans it when it is not any more, so no plan grows old.
_RUNS = 200


@dataclass
class _Plan:
    name: str
    runs: int = 0


_numbers = count()
_plans: WeakKeyDictionary[Connection, dict[str, _Plan]] = WeakKeyDictionary()


def execute(cursor: Cursor, query: str, parameters: Sequence[Any]) -> None:
    """Executes a statement as `cursor.execute` does.

    The text is constant; in it `%s` is a parameter, which has a cast where its type is not clear,
    and there is no other `%`. There is at least one parameter.
    """
    plans = _plans.setdefault(cursor.connection, {})
    plan = plans.get(query)
    if plan is not None and plan.runs == _RUNS:
        del plans[query]
        cursor.execute(f"DEALLOCATE {plan.name}")
        plan = None
    if plan is None:
        plan = _Plan(f"entrepot_{next(_numbers)}")
        cursor.execute(f"PREPARE {plan.name} AS {_numbered(query)}")
        plans[query] = plan
    plan.runs += 1
    places = ", ".join(["%s"] * len(parameters))
    cursor.execute(
        f"EXECUTE {plan.name}({places})" if places else f"EXECUTE {plan.name}", parameters
    )


def _numbered(query: str) -> str:
    first, *rest = query.split("%s")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
