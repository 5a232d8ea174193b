"""Which label is meant: "team=web", or "team" with any value."""

from __future__ import annotations

from entrepot_core.domain.errors import FieldInvalidError

__all__ = ["parse_label"]

_MAX_CHARACTERS = 128


def parse_label(text: str, field: str) -> tuple[str, str | None]:
    """Key and value of a label, None for any value; an empty key for an empty text.

    Raises FieldInvalidError if no label can be meant.
    """
    key, has_value, value = text.partition("=")
    if not text:
        return "", None
    if not key or text != text.strip() or "," in text or "\0" in text:
        raise FieldInvalidError.at(
            field,
            f'"{text[:_MAX_CHARACTERS]}" must be one label, KEY or KEY=VALUE, without spaces '
            "around it and without a comma.",
        )
    if max(len(key), len(value)) > _MAX_CHARACTERS:
        raise FieldInvalidError.at(
            field, f"key and value must be at most {_MAX_CHARACTERS} characters each."
        )
    return key, value if has_value else None
