"""Filters: what they parse to, where they are wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot_core.domain.errors import QueryInvalidError
from entrepot_core.domain.filter import All, Any, Comparison, Node, Not, parse
from entrepot_core.store.filters import compile_filter

KINDS = {"path": "string", "size": "number", "is_source": "boolean"}


def shown(node: Node | None) -> str:
    """A tree in one line."""
    if node is None:
        return ""
    if isinstance(node, Not):
        return f"!{shown(node.part)}"
    if isinstance(node, All | Any):
        sign = " & " if isinstance(node, All) else " | "
        return f"({sign.join(map(shown, node.parts))})"
    stars = ("*" if node.any_before else "", "*" if node.any_after else "")
    return f"{node.field}{node.operator}{stars[0]}{node.text}{stars[1]}"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", ""),
        ("  ", ""),
        ("path=a", "path=a"),
        ('path = "a b"', "path=a b"),
        ("path='it''", None),
        (r"path = 'it\'s'", "path=it's"),
        ("size>=10 size<20", "(size>=10 & size<20)"),
        ("size > 1 AND size < 2 OR size = 3", "(size>1 & (size<2 | size=3))"),
        ("NOT path:x", "!path:x"),
        ("-path:x", "!path:x"),
        ("(size=1 AND size=2) OR size=3", "((size=1 & size=2) | size=3)"),
        ("path = *.txt", "path=*.txt"),
        ("path = dir/*", "path=dir/*"),
        (r"path = dir/\*", "path=dir/*"),
        ("size = -5", "size=-5"),
        ("path != a/b.c-d_e", "path!=a/b.c-d_e"),
    ],
)
def test_what_a_filter_says(text: str, tree: str | None) -> None:
    """OR binds tighter than AND, and one after the other means AND."""
    if tree is None:
        with pytest.raises(QueryInvalidError):
            parse(text)
    else:
        assert tree == shown(parse(text))


def test_a_backslash_makes_a_star_a_character() -> None:
    """What looks equal in one line differs in the tree."""
    star, character = parse("path=a*"), parse(r"path=a\*")

    assert isinstance(star, Comparison)
    assert isinstance(character, Comparison)
    assert (star.text, star.any_after) == ("a", True)
    assert (character.text, character.any_after) == ("a*", False)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("path", 4),
        ("path =", 6),
        ("= a", 0),
        ("path = a )", 9),
        ("(path = a", 0),
        ('path = "a', 7),
        ("path = a AND", 12),
        ("path ~ a", 5),
        ("Path = a", 0),
        ("size = 1 OR", 11),
        ("(" * 40 + "size=1", 33),
        ("x = 1", 0),
        ("size = 1 size = many", 9),
        ("is_source > true", 0),
        ("is_source = perhaps", 0),
        ("size = 1e999", 0),
    ],
)
def test_a_fault_has_a_position(text: str, position: int) -> None:
    """The error says at which character."""
    with pytest.raises(QueryInvalidError) as refused:
        compile_filter(parse(text), KINDS)

    assert refused.value.metadata["position"] == str(position)
    assert [(one.field, one.reason) for one in refused.value.violations] == [
        ("filter", "QUERY_INVALID")
    ]


@given(st.text(alphabet="ab*\\'\"=!<>:() \t-0ANDORpathsize", max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """Nothing else comes out of it, and no text comes into the statement."""
    try:
        sql, parameters = compile_filter(parse(text), KINDS)
    except QueryInvalidError:
        return

    assert "'" not in sql.replace("'number'", "").replace("'boolean'", "")
    assert all(f"%({name})s" in sql for name in parameters)


def test_values_are_parameters_only() -> None:
    """What a user writes never becomes part of a statement."""
    sql, parameters = compile_filter(parse('path = "\'; DROP TABLE content; --"'), KINDS)

    assert "DROP" not in sql
    assert "'; DROP TABLE content; --" in parameters.values()
