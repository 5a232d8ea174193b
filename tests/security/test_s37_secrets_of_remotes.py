"""S37: what a remote keeps secret is in nothing that anybody can read, and encrypted at rest."""

import base64
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from psycopg2 import sql

from certificates import authority, other_authority
from entrepot.core.v1 import blob_service_pb2, remote_service_pb2, workspace_service_pb2
from entrepot.plugin.v1 import plugin_tasks_pb2
from entrepot_cli.postgres import EmbeddedPostgres
from entrepot_core.domain.errors import SecretUnreadableError
from entrepot_core.store.secret_key import SecretKey
from proxy import Proxy
from rest import Api
from stack import ENTREPOT, Stack
from upstream import Upstream

CANARIES = {
    "password": "canary-of-password",
    "token": "canary-of-token",
    "header": "canary-of-header",
    "proxy_password": "canary-of-proxy",
    "url": "canary-of-url",
    "wrong": "canary-of-wrong",
}
USER, PASSER = "ann", "passer"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """An installation of its own."""
    with Stack() as stack:
        yield stack


def forms(canary: str) -> set[str]:
    """A secret as it may be spelled: plain, in hexadecimal, and in base64 alone or as Basic."""
    found = {canary, canary.encode().hex()}
    for text in (canary, f"{USER}:{canary}", f"{PASSER}:{canary}"):
        found.add(base64.b64encode(text.encode()).decode().rstrip("="))
    return found


def found_in(text: str, key: str) -> list[str]:
    """Which secrets are in a text."""
    lines = [line for line in key.splitlines() if len(line) > 40]
    every = {form for canary in CANARIES.values() for form in forms(canary)} | set(lines)
    return sorted(form for form in every if form in text)


def command_lines() -> str:
    """What every process of this machine was started with."""
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            texts.append(path.read_text(errors="replace"))
    return "\n".join(texts)


def everything_in_the_database(stack: Stack) -> str:
    """Each row of each table, as PostgreSQL writes it."""
    connection = psycopg2.connect(EmbeddedPostgres(stack.home / "postgres").dsn)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables"
                           " WHERE table_schema = 'public'")  # fmt: skip
            rows = []
            for (table,) in cursor.fetchall():
                cursor.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
                rows += [row for (row,) in cursor.fetchall()]
    finally:
        connection.close()
    return "\n".join(rows)


def everything_in_the_api(api: Api) -> str:
    """All that REST has to say of remotes, tasks and events."""
    tasks = api.get("tasks/", page_size=100)["results"]
    found = [one["href"] for one in (*api.get("remotes/")["results"], *tasks)]
    texts = [
        api.request("GET", path).body.decode()
        for path in ("remotes/", "tasks/", "plugins/", "openapi.json", *found)
    ]
    for task in tasks:
        with api.events(f"{task['href']}events/") as events:
            texts.append(str(list(events)))
    return "\n".join(texts)


def test_no_secret_of_a_remote_can_be_read_anywhere(stack: Stack) -> None:
    """After syncs that work, fail and are cloned, and bad requests, no canary is anywhere."""
    api = stack.api
    certificate, key = other_authority().client()
    tls = authority().server(clients=other_authority())
    answers = []
    with (
        Upstream(tls=tls).fill(3) as upstream,
        Proxy(PASSER, CANARIES["proxy_password"]) as proxy,
    ):
        basic = base64.b64encode(f"{USER}:{CANARIES['password']}".encode()).decode()
        upstream.asks_for = {"authorization": f"Basic {basic}", "x-api-key": CANARIES["header"]}
        body = {
            "url": upstream.manifest_url,
            "username": USER,
            "password": CANARIES["password"],
            "headers": {"X-Api-Key": CANARIES["header"]},
            "proxy_url": proxy.url,
            "proxy_username": PASSER,
            "proxy_password": CANARIES["proxy_password"],
            "ca_certificates": authority().pem,
            "client_certificate": certificate,
            "client_key": key,
            "max_retries": 0,
        }
        answers.append(api.post("remotes/file/", {**body, "name": "secret"}))
        made = answers[-1].expect(201)
        api.post("repositories/file/", {"name": "mirror"}).expect(201)
        parameters = {"repository": "mirror", "remote": "secret"}
        answers.append(api.post("tasks/file/syncs/", parameters, wait="60s"))
        good = answers[-1].json
        # Wrong secrets, one after the other, so that there are errors to look at.
        for change in ({"proxy_password": CANARIES["wrong"]}, {"password": CANARIES["wrong"]}):
            answers.append(api.patch("remotes/file/secret/", change))
            answers.append(api.post("tasks/file/syncs/", parameters, wait="60s"))
            answers.append(api.post(f"{answers[-1].json['href']}clones/", {}, wait="60s"))
            api.patch("remotes/file/secret/", {"proxy_password": CANARIES["proxy_password"]})
        answers.append(api.post("remotes/file/", {
            "name": "token", "url": upstream.manifest_url, "token": CANARIES["token"],
        }))  # fmt: skip
        host = f"{USER}:{CANARIES['url']}@127.0.0.1:{upstream.port}"
        refused = [
            api.post("remotes/file/", {"name": "r1", "url": f"https://{host}/PULP_MANIFEST"}),
            api.patch("remotes/file/token/", {"proxy_url": f"http://{host}"}),
            api.patch("remotes/file/token/", {"password": {CANARIES["wrong"]: CANARIES["wrong"]}}),
            api.patch("remotes/file/token/", {"headers": {"Host": CANARIES["wrong"]}}),
            api.patch("remotes/file/token/", {"headers": {"X-A": CANARIES["wrong"] + "\n"}}),
            api.patch("remotes/file/token/", {"token": CANARIES["wrong"] + " x"}),
            api.patch("remotes/file/token/", {"client_key": CANARIES["wrong"]}),
            api.patch("remotes/file/token/", {"username": "u", "password": CANARIES["wrong"]}),
            api.post(
                "tasks/file/uploads/", {"repository": "mirror", "url": f"https://{host}/file"}
            ),
        ]
        written = stack.cli(
            "remote", "update", "file/token", "-v", "--token-file", "-", given=CANARIES["token"]
        )
        listed = stack.cli("remote", "get", "file/secret", "-o", "json").stdout
        texts = {
            "answers": "\n".join(one.body.decode() for one in (*answers, *refused)),
            "api": everything_in_the_api(api),
            "command": written.stdout + written.stderr + listed,
            "database": everything_in_the_database(stack),
            "logs": stack.log + "".join(
                path.read_text(errors="replace") for path in (stack.home / "logs").glob("*")
            ),
        }  # fmt: skip
        # While a command with a secret runs; it waits for the rest of its input.
        words = [str(ENTREPOT), "remote", "update", "file/token", "--token-file", "-"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, env=stack.environment) as command:
            texts["processes"] = command_lines()
            command.communicate(CANARIES["token"].encode())

    assert {place: [] for place in texts} == {
        place: found_in(text, key) for place, text in texts.items()
    }
    # It was all real: the sync worked with the secrets, and failed without.
    assert (good["state"], made["secrets_set"]) == (
        "completed",
        ["client_key", "headers.X-Api-Key", "password", "proxy_password"],
    )
    assert all(one.status == 400 for one in refused)
    assert "use username and password" in refused[0].json["detail"]
    assert "use proxy_username and proxy_password" in refused[1].json["detail"]
    assert "refuses with 407" in texts["api"]
    assert "do not suffice" in texts["api"]
    assert '"token": "\\u2026"' in texts["command"]
    assert "--token-file" in texts["processes"]


def test_the_key_is_its_owners_alone(stack: Stack) -> None:
    """What `entrepot up` has made can be read by its user only."""
    mode = stat.S_IMODE((stack.home / "secret-key").stat().st_mode)

    assert 0o600 == mode


def test_the_key_is_never_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the widest umask it is made with its mode, which is not narrowed afterwards."""

    def fail(*_: object) -> None:
        raise AssertionError("the mode is changed after the file was made")

    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, fail)
    before = os.umask(0)
    try:
        assert SecretKey(tmp_path / "key").create()
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE((tmp_path / "key").stat().st_mode)
    assert [tmp_path / "key"] == list(tmp_path.iterdir())


def test_two_installations_share_no_key(tmp_path: Path) -> None:
    """Each new key is another."""
    for name in ("one", "two"):
        SecretKey(tmp_path / name).create()

    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("place", ["remotes/2/password", "remotes/1/token", "remotes/1/"])
def test_a_secret_that_was_copied_elsewhere_does_not_decrypt(tmp_path: Path, place: str) -> None:
    """Who can write the database cannot make a remote of theirs send another's secret."""
    key = SecretKey(tmp_path / "key")
    key.create()
    sealed = key.seal("secret", "remotes/1/password")

    assert "secret" == key.open(sealed, "remotes/1/password")
    with pytest.raises(SecretUnreadableError, match="for something else"):
        key.open(sealed, place)


def messages_of(service: ServiceDescriptor) -> Iterator[Descriptor]:
    """Every message that goes over a service, with those inside."""
    waiting = [m for rpc in service.methods for m in (rpc.input_type, rpc.output_type)]
    seen: set[str] = set()
    while waiting:
        message: Any = waiting.pop()
        if message.full_name not in seen:
            seen.add(message.full_name)
            yield message
            waiting += [f.message_type for f in message.fields if f.message_type is not None]


@pytest.mark.parametrize("module", [plugin_tasks_pb2, workspace_service_pb2, blob_service_pb2])
def test_nothing_that_plugins_hear_has_a_secret_of_a_remote(module: Any) -> None:  # noqa: ANN401
    """Of all messages to plugins none holds a remote, nor a field that must not be shown."""
    secret = {
        f"{message.full_name}.{field.name}"
        for service in module.DESCRIPTOR.services_by_name.values()
        for message in messages_of(service)
        for field in message.fields
        if field.GetOptions().debug_redact
        or field.message_type is remote_service_pb2.Remote.DESCRIPTOR
    }

    assert secret <= {"entrepot.plugin.v1.ExecuteRequest.attempt_token"}
