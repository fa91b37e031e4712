"""The process that ends TLS for `make load-edge`: what comes in over TLS reaches what is behind it, and the answer comes back."""

from __future__ import annotations

import asyncio
import ssl

from loadtest import edge


async def test_what_comes_in_over_tls_reaches_the_service_behind_and_is_answered() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"answer to " + await reader.readline())
        writer.close()

    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as behind:
        port = behind.sockets[0].getsockname()[1]
        with edge.terminator(f"http://127.0.0.1:{port}") as (address, pid):
            before = edge.cpu_s(pid)
            reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]), ssl=trusting)
            writer.write(b"one reading\n")
            assert await asyncio.wait_for(reader.read(), timeout=10) == b"answer to one reading\n"
            assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
            writer.close()
            assert edge.cpu_s(pid) >= before
