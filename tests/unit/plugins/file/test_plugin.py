"""What the file plugin declares."""

from entrepot_plugin_file.plugin import plugin
from entrepot_sdk import CoreWork


def test_core_does_what_needs_no_format() -> None:
    """Adds, removes and copies are core's own."""
    by_core = {one.collection: one.core for one in plugin.task_types if one.core}

    assert by_core == {
        "adds": CoreWork.ADD,
        "removes": CoreWork.REMOVE,
        "copies": CoreWork.COPY,
    }


def test_guides_name_no_braces_but_their_own() -> None:
    """A guide holds only the braces of what is replaced, so that nothing else is."""
    for guide in plugin.guides:
        for text in (guide.template, guide.check):
            bare = text.replace("{content_url}", "").replace("{path}", "")
            assert "{" not in bare
            assert "}" not in bare
