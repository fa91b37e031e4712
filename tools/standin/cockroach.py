#!/opt/energy/bin/python
# ruff: noqa: S608 - a program for a terminal; names come from the two patterns above; its image's Python
"""NOT CockroachDB: a stand-in that takes its commands and flags, for testing how the chart wires it up.

It checks what CockroachDB checks at the borders (flags, certificates and who may read their keys, --join, init before
ready, one client certificate a user) and drains in CockroachDB's order, but stores nothing: SQL goes on to a PostgreSQL
that `--locality=backend=HOST:PORT` names, the one free text that the chart passes through. It shows nothing about
CockroachDB's own behaviour: not its SQL, not its replication, not its speed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
import struct
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from tools.standin.certificates import common_name, context, end_of, make_certificate

SQL_PORT, HTTP_PORT = 26257, 8080
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
OWN_REQUEST = 20251123  # in place of PostgreSQL's protocol version: a question between stand-ins
ANNOUNCED = ("crdb_version", "CockroachDB stand-in for tests v26.2.5")
SHUTDOWN = "server.shutdown."


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


# ── a node ───────────────────────────────────────────────────────────────────────────────────────


class Node:
    """What a node knows: which cluster it belongs to, who is connected, whether it is going away."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.store = Path(asked.store.removeprefix("path="))
        self.joins = [join for join in (asked.join or "").split(",") if join]
        self.backend = dict(part.split("=", 1) for part in asked.locality.split(",")).get("backend", "")
        if not self.backend:
            sys.exit("ERROR: the stand-in needs --locality=backend=HOST:PORT")
        self.server_tls = context(asked.certs_dir, "node", server=True)
        self.client_tls = context(asked.certs_dir, "node", server=False)
        self.certificates_end = {name: end_of(asked.certs_dir / f"{name}.crt") for name in ("node", "ca")}
        self.draining = False
        self.clients: set[asyncio.Task[Any]] = set()
        self.drained = asyncio.Event()
        if not self.joins and not self.cluster:  # start-single-node
            self.enter(uuid.uuid4().hex)

    @property
    def cluster(self) -> str:
        file = self.store / "CLUSTER"
        return file.read_text() if file.exists() else ""

    def enter(self, cluster: str) -> None:
        (self.store / "CLUSTER").write_text(cluster)
        say("node is part of cluster", cluster)

    async def join(self) -> None:
        """Asks the others until one of them is part of a cluster."""
        while not self.cluster:
            for address in self.joins:
                with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                    answer = await ask(address, self.client_tls, {"ask": "cluster"})
                    if answer["cluster"] and not self.cluster:
                        self.enter(answer["cluster"])
            await asyncio.sleep(0.3)

    async def answer(self, question: dict[str, str], user: str) -> dict[str, str]:
        if question["ask"] == "cluster" and user == "node":
            return {"cluster": self.cluster}
        if user != "root":
            return {"error": f"user {user} is not allowed to {question['ask']}"}
        if question["ask"] == "init":
            if self.cluster:
                return {"error": "cluster has already been initialized"}
            self.enter(uuid.uuid4().hex)
        if question["ask"] == "drain":
            await self.drain()
        return {}

    async def drain(self) -> None:
        """CockroachDB's order: not ready, then no new connections, then the open ones, then gone."""
        if self.draining:
            return
        self.draining = True
        waits = await self.shutdown_settings()
        say("drain 1: not ready, still serving for", waits["initial_wait"], "s")
        await asyncio.sleep(waits["initial_wait"])
        say("drain 2: waiting up to", waits["connections.timeout"], "s for", len(self.clients), "connections")
        if self.clients:
            await asyncio.wait(self.clients, timeout=waits["connections.timeout"])
        say("drain 3: closing", len(self.clients), "connections")
        for client in list(self.clients):
            client.cancel()
        say("drain 4: done")
        self.drained.set()

    async def shutdown_settings(self) -> dict[str, float]:
        waits = {"initial_wait": 0.0, "connections.timeout": 0.0}
        try:
            connection = await asyncpg.connect(f"postgresql://postgres@{self.backend}/postgres")
            for row in await connection.fetch("SELECT name, value FROM standin_settings"):
                waits[row["name"].removeprefix(SHUTDOWN)] = float(row["value"].removesuffix("s"))
            await connection.close()
        except (OSError, asyncpg.PostgresError) as error:
            say("no cluster settings:", error)
        return waits

    # ── SQL ──

    async def serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if await reader.readexactly(8) != SSL_REQUEST:
                say("refused a connection without TLS")
                return
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(self.server_tls)
            size, version = struct.unpack("!ii", await reader.readexactly(8))
            rest = await reader.readexactly(size - 8)
            if version == OWN_REQUEST:
                answer = await self.answer(json.loads(rest), common_name(writer))
                writer.write(json.dumps(answer).encode())
                await writer.drain()
                return
            self.clients.add(task)
            await self.forward(reader, writer, version, rest)
        except (OSError, asyncio.IncompleteReadError) as gone:
            say("a client went away:", gone)
        finally:
            self.clients.discard(task)
            writer.close()

    async def forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int, startup: bytes
    ) -> None:
        words = startup.decode().split("\0")
        given = dict(zip(words[0:-2:2], words[1:-1:2], strict=False))
        if given["user"] != common_name(writer):
            writer.write(refusal(f"certificate of {common_name(writer)} used as {given['user']}"))
            await writer.drain()
            return
        given["user"] = {"root": "postgres"}.get(given["user"], given["user"])
        given["database"] = {"defaultdb": "postgres"}.get(
            given.get("database", "postgres"), given.get("database", "postgres")
        )
        host, port = self.backend.rsplit(":", 1)
        from_backend, to_backend = await asyncio.open_connection(host, int(port))
        body = b"".join(f"{key}\0{value}\0".encode() for key, value in given.items()) + b"\0"
        to_backend.write(struct.pack("!ii", len(body) + 8, version) + body)
        try:
            await self.greet(from_backend, writer)
            pumps = {asyncio.create_task(pump(reader, to_backend)), asyncio.create_task(pump(from_backend, writer))}
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in pumps:
                    task.cancel()
        finally:
            to_backend.close()

    async def greet(self, backend: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Passes PostgreSQL's greeting on, and says what CockroachDB says about itself before "ready for query"."""
        while True:
            kind = await backend.readexactly(1)
            length = await backend.readexactly(4)
            body = await backend.readexactly(struct.unpack("!i", length)[0] - 4)
            if kind == b"Z":
                announced = b"".join(word.encode() + b"\0" for word in ANNOUNCED)
                client.write(b"S" + struct.pack("!i", len(announced) + 4) + announced)
            client.write(kind + length + body)
            await client.drain()
            if kind in b"ZE":
                return

    # ── health ──

    async def serve_health(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            ready = bool(self.cluster) and not self.draining and await self.backend_answers()
            ok = path in {"/health", "/_status/vars"} or (path == "/health?ready=1" and ready)
            status = "200 OK" if ok else "503 Service Unavailable"
            body = await self.metrics() if path == "/_status/vars" else ""
            head = f"Content-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\nConnection: close"
            writer.write(f"HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}".encode())
            await writer.drain()
        writer.close()

    async def metrics(self) -> str:
        """Of CockroachDB's metrics those that say when certificates end, as loaded at the start, and how many nodes live."""
        alive = await asyncio.gather(*(answers(peer) for peer in self.joins))
        return f"liveness_livenodes {sum(alive)}\n" + "".join(
            f"security_certificate_expiration_{name} {ends}\n" for name, ends in self.certificates_end.items()
        )

    async def backend_answers(self) -> bool:
        return await answers(self.backend)


async def answers(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 1)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()


def refusal(message: str) -> bytes:
    body = f"SFATAL\0C28000\0M{message}\0\0".encode()
    return b"E" + struct.pack("!i", len(body) + 4) + body


async def start(asked: argparse.Namespace) -> None:
    node = Node(asked)
    health_tls = context(asked.certs_dir, "node", server=True)
    health_tls.verify_mode = ssl.CERT_NONE  # kubelets bring no certificate
    sql = await asyncio.start_server(node.serve_client, "0.0.0.0", SQL_PORT)
    health = await asyncio.start_server(node.serve_health, "0.0.0.0", HTTP_PORT, ssl=health_tls)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(node.drain()))
    say(f"the CockroachDB stand-in serves SQL on {SQL_PORT} for {asked.advertise_host}; it forwards to {node.backend}")
    joining = asyncio.create_task(node.join())
    await node.drained.wait()
    joining.cancel()
    sql.close()
    health.close()


# ── the client commands ──────────────────────────────────────────────────────────────────────────


async def ask(address: str, tls: ssl.SSLContext, question: dict[str, str]) -> dict[str, str]:
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 3)
    try:
        writer.write(SSL_REQUEST)
        if await reader.readexactly(1) != b"S":
            raise ValueError("the server doesn't speak TLS")
        await writer.start_tls(tls, server_hostname=host)
        body = json.dumps(question).encode()
        writer.write(struct.pack("!ii", len(body) + 8, OWN_REQUEST) + body)
        answer: dict[str, str] = json.loads(await reader.read())
        return answer
    finally:
        writer.close()


def of_root(question: str) -> Callable[[argparse.Namespace], None]:
    def command(asked: argparse.Namespace) -> None:
        try:
            answer = asyncio.run(
                ask(asked.host, context(asked.certs_dir, "client.root", server=False), {"ask": question})
            )
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            sys.exit(f"ERROR: cannot reach {asked.host}: {error}")
        if "error" in answer:
            sys.exit(f"ERROR: {answer['error']}")
        print({"init": "Cluster successfully initialized", "drain": "drain ok"}[question])

    return command


async def sql(asked: argparse.Namespace) -> None:
    """Statements of CockroachDB's that PostgreSQL spells otherwise are respelt here; all others go as they are."""
    text = asked.execute or (asked.file.read_text() if asked.file else sys.stdin.read())
    tls = context(asked.certs_dir, "client.root", server=False)
    host, port = asked.host.rsplit(":", 1)

    async def connect(database: str) -> Any:
        return await asyncpg.connect(host=host, port=int(port), user="root", database=database, ssl=tls)

    try:
        connection = await connect("defaultdb")
        for statement in filter(None, (part.strip() for part in re.sub(r"--.*", "", text).split(";"))):
            if new := re.fullmatch(r"CREATE (DATABASE|USER) IF NOT EXISTS (\w+)", statement):
                table, column = {"DATABASE": ("pg_database", "datname"), "USER": ("pg_roles", "rolname")}[new[1]]
                if not await connection.fetchval(f"SELECT 1 FROM {table} WHERE {column} = $1", new[2]):
                    await connection.execute(f"CREATE {new[1]} {new[2]}")
            elif use := re.fullmatch(r"USE (\w+)", statement):
                await connection.close()
                connection = await connect(use[1])
            elif setting := re.fullmatch(r"SET CLUSTER SETTING (\S+) = '([^']*)'", statement):
                await connection.execute(
                    "CREATE TABLE IF NOT EXISTS standin_settings (name text PRIMARY KEY, value text)"
                )
                await connection.execute("INSERT INTO standin_settings VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
                                         setting[1], setting[2])  # fmt: skip
            else:
                await connection.execute(statement)
        await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        sys.exit(f"ERROR: {error}")


def parser() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    words = commands.add_subparsers(required=True)

    def command(name: str, run: Callable[[argparse.Namespace], object], *options: str) -> argparse.ArgumentParser:
        made = words.add_parser(name, allow_abbrev=False)
        for option in options:
            made.add_argument(f"--{option}", required=option not in {"join", "logtostderr", "execute", "file"})
        made.set_defaults(run=run)
        return made

    node = ("advertise-host", "store", "cache", "max-sql-memory", "locality", "logtostderr")
    certs, host = os.environ.get("COCKROACH_CERTS_DIR", ""), os.environ.get("COCKROACH_HOST", "")
    for name, options in (("start", (*node, "join")), ("start-single-node", node)):
        started = command(name, lambda asked: asyncio.run(start(asked)), *options)
        started.add_argument("--certs-dir", type=Path, required=True)
        started.set_defaults(join="")
    for made in (command("init", of_root("init")), command("sql", lambda asked: asyncio.run(sql(asked)), "execute")):
        made.add_argument("--certs-dir", type=Path, default=Path(certs))
        made.add_argument("--host", default=host)
    made.add_argument("--file", type=Path)
    drain = command("node", of_root("drain"))
    drain.add_argument("what", choices=["drain"])
    drain.add_argument("--certs-dir", type=Path, default=Path(certs))
    drain.add_argument("--host", default=host)
    certificate = command("cert", make_certificate)
    certificate.add_argument("what", choices=["create-ca", "create-node", "create-client"])
    certificate.add_argument("names", nargs="*")
    certificate.add_argument("--certs-dir", type=Path, required=True)
    certificate.add_argument("--ca-key", type=Path, required=True)
    certificate.add_argument("--lifetime", required=True)
    return commands


if __name__ == "__main__":
    arguments = parser().parse_args()
    arguments.run(arguments)
