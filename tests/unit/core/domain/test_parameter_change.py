"""What differs between two sets of parameters."""

import pytest

from entrepot_core.domain.parameter_change import ParameterChange, compare


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": False}, {"a": True}, [("a", "false", "true")]),
        ({}, {"a": "x"}, [("a", "", '"x"')]),
        ({"a": None}, {}, [("a", "null", "")]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("a.b[1]", "2", "3")]),
        ({"a": [{"b": 1}]}, {"a": []}, [("a[0]", '{"b": 1}', "")]),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", "[1]", '{"b": 1}')]),
        ({"b": 1, "a": 2}, {"a": 3, "c": 4}, [("b", "1", ""), ("a", "2", "3"), ("c", "", "4")]),
    ],
)
def test_the_innermost_fields_are_told(
    before: object, after: object, expected: list[tuple[str, str, str]]
) -> None:
    """Each field that differs has its path and both values as JSON, empty where it has none."""
    assert list(compare(before, after)) == [ParameterChange(*one) for one in expected]
