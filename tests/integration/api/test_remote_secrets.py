"""Secrets of remotes over gRPC: set, kept, deleted, never shown, and encrypted for their place."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certificates import authority, other_authority
from core_under_test import Core, a_config, errors_of_core, running_api
from declarations import file_plugin, with_digest
from entrepot.core.v1 import remote_service_pb2, remote_service_pb2_grpc
from entrepot_core import cli
from entrepot_core.domain.errors import ServiceError
from entrepot_core.downloads.remote import Remote as KnownRemote
from entrepot_core.downloads.remote import Remotes
from entrepot_core.store.secret_key import SecretKey
from fake_plugin import FakePlugin

Remote = remote_service_pb2.Remote
URL = "https://upstream.test/PULP_MANIFEST"


class Client:
    """Creates and updates remotes, and looks at what is known of them."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.key = SecretKey(core.config.secret_key_file)
        self._stub = remote_service_pb2_grpc.RemoteServiceStub(core.channel)

    def create(self, name: str = "bar", **fields: Any) -> Remote:  # noqa: ANN401
        """A new remote, as it is shown."""
        request = remote_service_pb2.CreateRemoteRequest(
            parent="remotes/file", remote=Remote(**{"name": name, "url": URL, **fields})
        )
        with errors_of_core():
            return self._stub.CreateRemote(request, metadata=self.core.metadata, timeout=20).remote

    def update(self, *mask: str, **fields: Any) -> Remote:  # noqa: ANN401
        """The remote `bar` after an update, as it is shown."""
        request = remote_service_pb2.UpdateRemoteRequest(
            remote=Remote(name="remotes/file/bar", **fields)
        )
        request.update_mask.paths.extend(mask)
        with errors_of_core():
            return self._stub.UpdateRemote(request, metadata=self.core.metadata, timeout=20).remote

    def known(self, name: str = "bar") -> KnownRemote:
        """The remote as the downloader knows it."""
        rows = self.core.database.fetch("SELECT remote_id FROM remote WHERE name = %s", (name,))
        return Remotes(self.core.database, self.key).get(rows[0][0], 0)


@pytest.fixture
def client(core_dsn: str, tmp_path: Path) -> Iterator[Client]:
    """A core with a key."""
    plugin = FakePlugin(with_digest(file_plugin())).start()
    try:
        with running_api(a_config(core_dsn, tmp_path)) as core:
            core.register(plugin)
            client = Client(core)
            client.key.create()
            yield client
    finally:
        plugin.stop()


def refusal(work: Any) -> ServiceError:  # noqa: ANN401, a callable
    """Why core refuses."""
    with pytest.raises(ServiceError) as refused:
        work()
    return refused.value


def test_secrets_are_set_kept_and_deleted(client: Client) -> None:
    """What an update does not name stays; what it names without a value goes."""
    made = client.create(
        username="u", password="p1", headers={"X-A": "1", "X-B": "2"}, proxy_url="http://p:1"
    )
    assert ["headers.X-A", "headers.X-B", "password"] == list(made.secrets_set)
    assert ("", {}) == (made.password, dict(made.headers))

    client.update(description="d")
    assert {"password": "p1", "headers.X-A": "1", "headers.X-B": "2"} == client.known().secrets

    client.update("headers", headers={"x-a": "3", "X-B": "", "X-C": "4"})
    assert {"password": "p1", "headers.x-a": "3", "headers.X-C": "4"} == client.known().secrets

    changed = client.update("password", "username", "headers")
    assert [] == list(changed.secrets_set)
    assert {} == client.known().secrets


def test_an_update_of_a_secret_alone_is_a_change(client: Client) -> None:
    """The etag is another, so that who reads remotes once for each change reads this one."""
    made = client.create(username="u", password="p1")

    changed = client.update(password="p2")

    assert made.etag != changed.etag
    assert {"password": "p2"} == client.known().secrets


def test_each_is_encrypted_and_bound_to_its_remote(client: Client) -> None:
    """In the row stands ciphertext, and in the row of another remote it is of no use."""
    client.create(token="secret-token")
    client.create("thief", url="https://thief.test/")
    database = client.core.database
    ((text,),) = database.fetch("SELECT t::text FROM remote t WHERE name = 'bar'")
    assert "secret-token" not in text

    database.fetch(
        "UPDATE remote SET secrets = (SELECT secrets FROM remote WHERE name = 'bar')"
        " WHERE name = 'thief'"
    )

    fault = client.known("thief").fault
    assert fault is not None
    assert ("SECRET_UNREADABLE", "remotes/file/thief") == (fault.reason, fault.metadata["remote"])


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"url": "https://thief.test/PULP_MANIFEST"}, "url"),
        ({"url": "https://upstream.test:444/PULP_MANIFEST"}, "url"),
        ({"url": "http://upstream.test/PULP_MANIFEST"}, "url"),
        ({"proxy_url": "http://thief.test:3128"}, "proxy_url"),
    ],
)
def test_secrets_do_not_follow_to_another_host(
    client: Client, fields: dict[str, str], wrong: str
) -> None:
    """Who cannot read a secret cannot have it sent to a host of theirs either."""
    client.create(
        username="u",
        password="p",
        proxy_url="http://proxy.test:3128",
        proxy_username="u",
        proxy_password="p",
    )

    error = refusal(lambda: client.update(**fields))
    secret = "password" if wrong == "url" else "proxy_password"
    client.update(**fields, **{secret: "again"})

    assert ("FIELD_INVALID", f"remote.{wrong}") == (error.reason, error.violations[0].field)
    assert f"give {secret} again" in error.message
    assert "again" == client.known().secrets[secret]


def test_another_path_of_the_host_keeps_them(client: Client) -> None:
    """Only another scheme, host or port asks for secrets again."""
    client.create(username="u", password="p")

    client.update(url="https://UPSTREAM.test:443/other")

    assert {"password": "p"} == client.known().secrets


def test_a_key_goes_with_its_certificate(client: Client) -> None:
    """Another certificate needs its own key, and one that does not fit is refused."""
    certificate, key = authority().client()
    other, _ = other_authority().client()
    client.create(client_certificate=certificate, client_key=key)

    without = refusal(lambda: client.update(client_certificate=other))
    unfit = refusal(lambda: client.update(client_certificate=other, client_key=key))

    assert {"remote.client_key"} == {e.violations[0].field for e in (without, unfit)}
    assert "is not the key of client_certificate" in unfit.message
    assert "PRIVATE" not in unfit.message


def test_without_a_key_no_remote_gets_a_secret(client: Client) -> None:
    """The error names the setting and says how to make the key; nothing is stored in the clear."""
    client.core.config.secret_key_file.unlink()

    error = refusal(lambda: client.create(token="t"))
    client.create("open")

    assert ("SECRET_UNREADABLE", "ENTREPOT_SECRET_KEY_FILE") == (
        error.reason,
        error.metadata["setting"],
    )
    assert "ENTREPOT_SECRET_KEY_FILE" in error.message
    assert "entrepot-core migrate" in error.message
    assert [("open",)] == client.core.database.fetch("SELECT name FROM remote")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "must have 32 bytes in URL-safe base64"),
        ("nonsense\n", "must have 32 bytes in URL-safe base64"),
        (urlsafe_b64encode(b"k" * 32).decode(), "is the one it was encrypted with"),
    ],
    ids=["missing", "empty", "nonsense", "another"],
)
def test_a_wrong_key_is_the_fault_of_those_who_need_it(
    client: Client, text: str | None, words: str
) -> None:
    """The fault names setting and remote; a remote without secrets has none."""
    client.create(token="t")
    client.create("open")
    path = client.core.config.secret_key_file
    path.unlink()
    if text is not None:
        path.touch(0o600)
        path.write_text(text)

    fault = client.known().fault

    assert fault is not None
    assert words in fault.message
    assert "ENTREPOT_SECRET_KEY_FILE" in fault.message
    assert "remotes/file/bar" in fault.message
    assert client.known("open").fault is None


def test_a_key_is_replaced_while_everything_runs(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a new key before the old one all goes on; after renew-secrets the old one can go."""
    client.create(token="t")
    config = client.core.config
    path, old = config.secret_key_file, config.secret_key_file.read_text()
    new = urlsafe_b64encode(b"n" * 32).decode() + "\n"
    path.write_text(new + old)
    assert {"token": "t"} == client.known().secrets

    # Logging is the whole process's, and this one has other tests to run.
    monkeypatch.setattr("entrepot_rpc.logs.configure", lambda _process: None)
    monkeypatch.setenv("ENTREPOT_HOME", str(config.home))
    monkeypatch.setenv("ENTREPOT_DATABASE_URL", config.database_url)
    with pytest.raises(SystemExit) as ended:
        cli.main(["renew-secrets"])
    path.write_text(new)

    assert 0 == ended.value.code
    assert "Secrets of 1 remotes are encrypted" in capsys.readouterr().out
    assert {"token": "t"} == client.known().secrets


def test_migrate_makes_the_key_unless_another_is_missing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is made for an installation without secrets, and not where it would hide the loss."""
    config = client.core.config
    # Logging is the whole process's, and this one has other tests to run.
    monkeypatch.setattr("entrepot_rpc.logs.configure", lambda _process: None)
    monkeypatch.setenv("ENTREPOT_HOME", str(config.home))
    monkeypatch.setenv("ENTREPOT_DATABASE_URL", config.database_url)
    path = config.secret_key_file
    path.unlink()

    with pytest.raises(SystemExit):
        cli.main(["migrate"])
    assert path.exists()
    client.create(token="t")
    path.unlink()
    with pytest.raises(SystemExit):
        cli.main(["migrate"])

    assert not path.exists()
