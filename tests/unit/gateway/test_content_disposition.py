"""What browsers save, and under which name."""

from email.message import EmailMessage
from urllib.parse import unquote

import pytest

from entrepot_gateway.content.app import Content
from entrepot_gateway.content.disposition import disposition
from gateway_client import Client
from served import Resolved, a_file


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-1.0.rpm", 'attachment; filename="a-1.0.rpm"'),
        ("a b~c+d.deb", 'attachment; filename="a b~c+d.deb"'),
        ("é.whl", "attachment; filename=\"_.whl\"; filename*=UTF-8''%C3%A9.whl"),
        ('a";x="b', "attachment; filename=\"a_;x=_b\"; filename*=UTF-8''a%22%3Bx%3D%22b"),
        ("a\\b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%5Cb"),
        ("100%25", "attachment; filename=\"100_25\"; filename*=UTF-8''100%2525"),
        ("'*(1)", 'attachment; filename="\'*(1)"'),
        ("\u202egpj.exe", "attachment; filename=\"_gpj.exe\"; filename*=UTF-8''%E2%80%AEgpj.exe"),
    ],
)
def test_a_package_is_saved_under_its_name(name: str, expected: str) -> None:
    """In plain ASCII for all, and exactly for those who read RFC 8187."""
    value = disposition("application/x-rpm", name).decode("ascii")

    assert value == expected
    if "filename*" not in value:
        message = EmailMessage()
        message["content-disposition"] = value
        assert message.get_filename() == name
    else:
        assert unquote(value.rpartition("''")[2]) == name


@pytest.mark.parametrize(
    ("path", "is_shown"),
    [
        ("README", False),
        ("a.txt", True),
        ("a.md", True),
        ("a.json", True),
        ("a.png", True),
        ("a.html", False),
        ("a.svg", False),
        ("a.xml", False),
        ("a.js", False),
        ("a.css", False),
        ("a.pdf", False),
        ("a.rpm", False),
        ("a.tar.gz", False),
    ],
)
async def test_text_is_shown_and_all_else_is_saved(
    content: Content,
    files: dict[str, Resolved],
    path: str,
    is_shown: bool,
) -> None:
    """A page or a drawing of strangers does not open in a window of this origin."""
    files[path] = a_file(Resolved.KIND_FETCHABLE)

    answer = await Client(content, {}).request("HEAD", f"/dev/{path}")

    shown = answer.headers.get("content-disposition")
    assert shown == (None if is_shown else f'attachment; filename="{path}"')


async def test_the_declared_type_decides(content: Content, files: dict[str, Resolved]) -> None:
    """An index without an ending is text, because its publication says so."""
    files["Release"] = a_file(Resolved.KIND_FETCHABLE, media_type="text/plain; charset=utf-8")

    answer = await Client(content, {}).request("HEAD", "/dev/Release")

    assert "content-disposition" not in answer.headers
