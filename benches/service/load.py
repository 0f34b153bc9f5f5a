"""Latency and refusals under load: `python3 benches/service/load.py [SECONDS] [CLIENTS ...]`.

Each client keeps one connection, asks `POST /v1/locate` with photographs of the town one after the other, and comes again after
Retry-After where it is refused. Another one asks /healthz every 50 ms meanwhile. Prints a table.
"""

import asyncio
import os
import random
import sys
import time

from service import Service, queries, town

OPTIONS = os.environ.get("SERVE_OPTIONS", "").split()


async def answer(reader):
    """Status and headers of one answer, whose body is read and dropped."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    await reader.readexactly(int(headers.get("content-length", 0)))
    return int(head[0].split()[1]), headers


async def client(address, number, requests, end, found):
    chance = random.Random(number)
    writer = None
    while time.perf_counter() < end:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(*address)
            start = time.perf_counter()
            writer.write(chance.choice(requests))
            await writer.drain()
            status, headers = await answer(reader)
            found.append((status, time.perf_counter() - start))
            if status in (429, 503):
                wait = float(headers.get("retry-after", 1)) * chance.uniform(1.0, 1.2)
                await asyncio.sleep(min(wait, max(end - time.perf_counter(), 0)))
        except (OSError, asyncio.IncompleteReadError):
            found.append((0, 0.0))
            writer = None
    if writer is not None:
        writer.close()


async def health(address, end, found):
    request = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    reader, writer = await asyncio.open_connection(*address)
    while time.perf_counter() < end:
        start = time.perf_counter()
        writer.write(request)
        await answer(reader)
        found.append(time.perf_counter() - start)
        await asyncio.sleep(0.05)
    writer.close()


def quantile(values, share):
    return 1000 * sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


async def level(address, clients, seconds, requests):
    found, alive = [], []
    end = time.perf_counter() + seconds
    asking = [client(address, number, requests, end, found) for number in range(clients)]
    await asyncio.gather(health(address, end, alive), *asking)
    return found, alive


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    levels = [int(text) for text in sys.argv[2:]] or [1, 8, 64, 512]
    head = "POST /v1/locate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
    requests = [head.format(len(photograph)).encode() + photograph for photograph in queries()]
    service = Service(town() / "index", *OPTIONS)
    asyncio.run(level(service.address, 1, 2, requests))
    print(f"machine's load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {seconds:.0f} s each {' '.join(OPTIONS)}")
    print("| clients | answered per s | p50 ms | p90 ms | p99 ms | answered | status 429 | status 503 | others | /healthz p99 ms | MiB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for clients in levels:
        start = time.perf_counter()
        found, alive = asyncio.run(level(service.address, clients, seconds, requests))
        took = time.perf_counter() - start
        answered = [latency for status, latency in found if status == 200]
        count = lambda status: sum(known == status for known, _ in found)
        rest = len(found) - len(answered) - count(429) - count(503)
        cells = [clients, f"{len(answered) / took:.1f}", *(f"{quantile(answered, q):.0f}" for q in (0.5, 0.9, 0.99)), len(answered),
                 count(429), count(503), rest, f"{quantile(alive, 0.99):.0f}", f"{service.rss_mb():.0f}"]
        print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
    service.stop()


if __name__ == "__main__":
    main()
