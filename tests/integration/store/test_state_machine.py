"""The states in docs/state-machine.md are those that PostgreSQL lets a task be in."""

import re
from itertools import product

from entrepot_core.store.database import Database
from workspace import ROOT

PAGE = (ROOT / "docs" / "state-machine.md").read_text("utf-8")

# Columns of the table in the page: how a row looks that does not have it, and one that does.
COLUMNS = {
    "waits_for": ("0::int", "1::int"),
    "parked": ("false", "true"),
    "attempt": ("0::int", "1::int"),
    "ended_at": ("NULL::timestamptz", "now()"),
    "changed": ("NULL::boolean", "true"),
    "created_resource": ("''::text", "'publications/x'::text"),
}
# What the other columns of a task are meanwhile.
REST = "1 AS class, 1 AS priority, now() AS not_before"
ARROW = re.compile(r"^ *(\w+) --> (\w+): (\w+)$", re.MULTILINE)


def documented() -> dict[str, dict[str, str]]:
    """Of each state and column: "must", "may" or "never"."""
    heading = "| State | " + " | ".join(f"`{name}`" for name in COLUMNS) + " |"
    _, _, table = PAGE.partition(heading)
    found: dict[str, dict[str, str]] = {}
    for line in table.strip().splitlines()[1:]:
        if not line.startswith("|"):
            break
        state, *cells = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        found[state] = dict(zip(COLUMNS, cells, strict=True))
    return found


def test_a_task_may_have_what_the_page_says(database: Database) -> None:
    """Of all rows there could be, the CHECK constraints take those that the table describes."""
    states = documented()
    checks = " AND ".join(
        f"({definition.removeprefix('CHECK ')}) IS NOT FALSE"
        for (definition,) in database.fetch(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = 'task'::regclass AND contype = 'c'"
        )
    )
    rows = [
        (state, has)
        for state in (*states, "sleeping")
        for has in product((False, True), repeat=len(COLUMNS))
    ]
    tested = " UNION ALL ".join(
        f"SELECT {number} AS number, '{state}'::text AS state, {REST}, "
        + ", ".join(
            f"{values[is_set]} AS {name}"
            for (name, values), is_set in zip(COLUMNS.items(), has, strict=True)
        )
        for number, (state, has) in enumerate(rows)
    )

    allowed = {
        row[0]
        for row in database.fetch(
            f"SELECT number FROM ({tested}) AS task WHERE {checks}"  # noqa: S608  all from here
        )
    }

    assert {"must", "may", "never"} == {cell for row in states.values() for cell in row.values()}
    assert [rows[number] for number in sorted(allowed)] == [
        (state, has)
        for state, has in rows
        if state in states
        and all(
            cell == "may" or (cell == "must") == is_set
            for cell, is_set in zip(states[state].values(), has, strict=True)
        )
    ]


def test_every_function_that_changes_a_state_is_on_an_arrow(database: Database) -> None:
    """The arrows name the functions of the database that move a task, and no others."""
    movers = database.fetch(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND prosrc ~ 'UPDATE task( t)? SET state ='"
    )

    assert {row[0] for row in movers} == {name for _, _, name in ARROW.findall(PAGE)}
