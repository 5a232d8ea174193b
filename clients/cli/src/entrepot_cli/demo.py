"""`make demo`: plays a repository's life with the command line, against a real stack.

Every command is shown before it runs, and everything that is served is verified at the end.
"""

import contextlib
import hashlib
import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from entrepot_cli.outcome import StartError
from entrepot_cli.settings import Settings
from entrepot_cli.stack.address import AddressError, claim
from entrepot_cli.stack.installed import program
from entrepot_cli.upstream import MANIFEST, Upstream

READY_SECONDS = 90.0
STOP_SECONDS = 60.0
READERS = 4

_ADDRESSES = ("ENTREPOT_HTTP", "ENTREPOT_CONTENT", "ENTREPOT_GRPC")


class DemoError(StartError):
    """The demo did not go as it should."""


def main() -> int:
    """Play it, and return the exit status."""
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="entrepot-demo-"))
            )
            # PostgreSQL runs as another user when this one is root, and must get there.
            folder.chmod(0o711)
            environment = _environment(folder)
            settings = Settings.from_environment(environment)
            upstream = stack.enter_context(Upstream(folder / "upstream"))
            process = stack.enter_context(_running(environment, settings))
            play(Demo(environment, settings), upstream)
            print("\ndemo ok", flush=True)
            if os.environ.get("DEMO_EXIT") != "1":
                _leave_running(process, settings, upstream)
        except (StartError, OSError) as error:
            print(f"\ndemo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


def play(demo: "Demo", upstream: Upstream) -> None:
    """The story."""
    demo.say("An upstream: a folder of real files, with a PULP_MANIFEST, over HTTP")
    upstream.fill(Path(sysconfig.get_path("purelib")))
    upstream.publish()
    demo.note(f"{len(upstream.files):,} files at {upstream.url}")

    demo.say("A repository to keep them, and a remote that says where they come from")
    demo.run("repository", "create", "file/demo", "--description", "A mirror", "-o", "name")
    demo.run("remote", "create", "file/upstream", "--url", upstream.url, "-o", "name")
    demo.run("explain", "file/syncs")

    demo.say("A sync is a task, named by a noun; what it takes, the plugin's proto says")
    sync = ("run", "file/syncs", "--repository", "demo", "--importer", "upstream")
    demo.run(*sync)
    first = demo.read("task", "list", "--type", "file/syncs", "-o", "jsonl")[-1]
    demo.expect(demo.units("file/demo@1"), len(upstream.files), "units in the first version")

    demo.say("Tasks can be listed by state, and by type")
    demo.run("task", "list", "--state", "completed")
    demo.run("task", "list", "--type", "file/syncs")

    demo.say("Nothing has changed: another sync costs one request, and says so")
    demo.run(*sync)

    demo.say("Upstream changes: a file is edited, one is new, one is gone")
    edited, gone = sorted(upstream.files)[:2]
    upstream.write(edited, b"edited upstream\n")
    upstream.write("news/today.txt", b"new upstream\n")
    upstream.delete(gone)
    upstream.publish()
    demo.note(f"edited {edited}, added news/today.txt, deleted {gone}")

    demo.say("Ask first what a sync that mirrors would do")
    demo.run("plan", *sync[1:], "--mirror")
    demo.expect(demo.latest(), 1, "the latest version after a plan, which changes nothing")

    demo.say("Then do it")
    demo.run(*sync, "--mirror")
    demo.expect(demo.units("file/demo@2"), len(upstream.files), "units in the second version")

    demo.say("Take one unit out, and put it back")
    query = ("content", "list", "file/demo", "--filter", 'relative_path = "news/today.txt"')
    unit = demo.read(*query, "-o", "jsonl")[0]["name"]
    demo.run("run", "file/removes", "--repository", "demo", "--content", unit)
    demo.expect(demo.units("file/demo@3"), len(upstream.files) - 1, "units without it")
    demo.run("run", "file/adds", "--repository", "demo", "--content", unit)
    demo.expect(demo.units("file/demo@4"), len(upstream.files), "units with it again")

    demo.say("What differs between two versions")
    demo.run("version", "list", "file/demo")
    demo.run("version", "diff", "file/demo@1", "file/demo@4")

    demo.say("Serve it")
    created = ("distribution", "create", "file/demo", "--base-path", "demo")
    demo.run(*created, "--repository", "demo", "-o", "name")
    demo.run("use", "file/demo", "--client", "curl")

    demo.say("Download everything, and verify every digest")
    demo.verify("demo", upstream)

    demo.say("Do the first sync once more: a clone takes over its parameters")
    demo.run("task", "clone", first["name"].removeprefix("tasks/"), "--wait")
    demo.run("status")


class Demo:
    """Says what happens, types commands, and looks at what they did."""

    def __init__(self, environment: Mapping[str, str], settings: Settings) -> None:
        self._environment = environment
        self._settings = settings
        self._step = 0

    def say(self, text: str) -> None:
        """Announce a step."""
        self._step += 1
        print(_bold(f"\n{self._step}. {text}"), flush=True)

    def note(self, text: str) -> None:
        """Say more about a step."""
        print(f"   {text}", flush=True)

    def run(self, *words: str) -> None:
        """Type a command; its output goes to the terminal, bars included."""
        self._show(words)
        done = subprocess.run(self._command(words), env=self._environment, check=False)
        if done.returncode != 0:
            raise DemoError(f"entrepot {words[0]} ended with {done.returncode}")

    def read(self, *words: str) -> list[Any]:
        """Type a command that prints lines of JSON, and read them."""
        self._show(words)
        done = subprocess.run(
            self._command(words), env=self._environment, stdout=subprocess.PIPE, check=False
        )
        if done.returncode != 0:
            raise DemoError(f"entrepot {words[0]} ended with {done.returncode}")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        if not lines:
            raise DemoError(f"entrepot {shlex.join(words)} found nothing")
        return lines

    def units(self, version: str) -> int:
        """How many units a version has."""
        return int(self.read("version", "get", version, "-o", "jsonl")[0]["unit_count"])

    def latest(self) -> int:
        """The number of the latest version."""
        repository = self.read("repository", "get", "file/demo", "-o", "jsonl")[0]
        return int(repository["latest_version"])

    def expect(self, actual: int, expected: int, what: str) -> None:
        """Make sure of a number."""
        if actual != expected:
            raise DemoError(f"{what}: {actual:,}, not {expected:,}")
        self.note(f"✓ {what}: {actual:,}")

    def verify(self, base_path: str, upstream: Upstream) -> None:
        """Download every file as a client would, and compare it with the upstream's digest."""
        started = time.monotonic()
        paths = sorted(upstream.files)
        shares = [paths[number::READERS] for number in range(READERS)]
        with ThreadPoolExecutor(READERS) as pool:
            read = sum(pool.map(lambda share: self._compare(base_path, share, upstream), shares))
        manifest = self._get(
            http.client.HTTPConnection(self._settings.content), base_path, MANIFEST
        )
        listed = len(manifest.splitlines())
        if listed != len(paths):
            raise DemoError(f"the manifest that is served lists {listed:,} files")
        seconds = time.monotonic() - started
        self.note(
            f"✓ {len(paths):,} files, {read / (1 << 20):.1f} MiB, every SHA-256 as upstream, "
            f"in {seconds:.1f} s"
        )

    def _compare(self, base_path: str, paths: list[str], upstream: Upstream) -> int:
        connection = http.client.HTTPConnection(self._settings.content, timeout=30)
        count = 0
        with contextlib.closing(connection):
            for path in paths:
                data = self._get(connection, base_path, path)
                if hashlib.sha256(data).hexdigest() != upstream.files[path]:
                    raise DemoError(f"{path} is not what upstream has")
                count += len(data)
        return count

    @staticmethod
    def _get(connection: http.client.HTTPConnection, base_path: str, path: str) -> bytes:
        connection.request("GET", f"/{base_path}/{quote(path)}")
        response = connection.getresponse()
        data = response.read()
        if response.status != http.client.OK:
            raise DemoError(f"{path}: {response.status} {data[:200]!r}")
        return data

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [program("entrepot"), *words]

    def _show(self, words: tuple[str, ...]) -> None:
        print(_bold(f"   $ entrepot {shlex.join(words)}"), flush=True)


def _environment(folder: Path) -> Mapping[str, str]:
    """The environment of all commands: a home of its own, and ports that are free."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    environment["ENTREPOT_HOME"] = str(folder / "home")
    # Another installation's data, token and addresses are none of ours.
    for name in ("ENTREPOT_TOKEN", "ENTREPOT_CONTENT_TOKEN", "ENTREPOT_CONTENT_URL",
                 "ENTREPOT_DATABASE_URL", "ENTREPOT_BLOBS_URL"):  # fmt: skip
        environment.pop(name, None)
    settings = Settings.from_environment(environment)
    wanted = dict(zip(_ADDRESSES, (settings.http, settings.content, settings.grpc), strict=True))
    for name, address in wanted.items():
        try:
            environment[name] = str(claim(address, name))
        except AddressError:
            environment[name] = str(claim("127.0.0.1:0", name))
            print(f"{address} is taken; {name} is {environment[name]} for this demo")
    return environment


@contextlib.contextmanager
def _running(
    environment: Mapping[str, str], settings: Settings
) -> Iterator[subprocess.Popen[bytes]]:
    """The stack, as a user starts it, until the end of the demo."""
    print(_bold("$ entrepot up &"), flush=True)
    home = Path(environment["ENTREPOT_HOME"])
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = home / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program("entrepot"), "up"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for us; we then end the stack in good order.
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, log)
        print(f"ready http://{settings.http}", flush=True)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        text = log.read_text(errors="replace")
        if any(line.startswith("ready http") for line in text.splitlines()):
            return
        time.sleep(0.05)
    words = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise DemoError(f"entrepot up did not get ready:\n{words}")


def _leave_running(
    process: subprocess.Popen[bytes], settings: Settings, upstream: Upstream
) -> None:
    print(f"\nIt all still runs, until Ctrl-C:\n  API       http://{settings.http}/api/v3/docs/")
    print(f"  content   {settings.content_url}/demo/\n  upstream  {upstream.url}")
    print(f"  token     {settings.token_file}\n")
    print("To look around in another terminal:\n")
    print(f"  export ENTREPOT_HOME={shlex.quote(str(settings.home))}", end="")
    print(f" ENTREPOT_GRPC={settings.grpc} ENTREPOT_HTTP={settings.http}")
    print("  entrepot task list", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        process.wait()
        raise DemoError("entrepot up has ended by itself")


def _bold(text: str) -> str:
    is_plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ
    return text if is_plain else f"\x1b[1m{text}\x1b[0m"


if __name__ == "__main__":
    sys.exit(main())
