"""Clients that mean no good beside one that does: `python3 benches/service/hostile.py [SECONDS]`.

A client asks `POST /v1/locate` with photographs of the town, one after the other, and another /healthz, while
  - 1000 connections say nothing,
  - 1000 others send the body of a request a byte a second,
  - some send PNG files of 30000 x 30000 pixels in 110 kB, and JSON of thousands of levels,
  - some send bodies of 100 MB.
Prints a table: what the good client sees, what the others are answered, and the service's memory. Ends with an error if the
good client is refused or answered wrongly.
"""

import asyncio
import collections
import multiprocessing
import os
import resource
import struct
import sys
import time
import zlib

from load import answer, health, quantile
from service import Service, queries, town

HEAD = "POST /v1/locate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n"


def bomb(side=30000):
    """A black PNG, a square with this side in pixels: almost a gigabyte once it is unpacked, a thousandth of it here."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer, packed = zlib.compressobj(9), b""
    for _ in range(side):
        packed += packer.compress(bytes(side + 1))
    packed += packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


async def good(address, requests, end, found):
    reader, writer = await asyncio.open_connection(*address)
    number = 0
    while time.perf_counter() < end:
        start = time.perf_counter()
        writer.write(requests[number % len(requests)])
        status, _ = await answer(reader)
        found.append((status, time.perf_counter() - start))
        number += 1
    writer.close()


async def idle(address, end, seen):
    await drip(address, b"", b"", end, seen)


async def drip(address, head, body, end, seen):
    """Sends a head at once and a body byte after byte, a second apart, and waits for what the service says or does."""
    while time.perf_counter() < end:
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(head)
            said = asyncio.ensure_future(reader.read(64))
            for byte in body or b" " * 100_000:
                left = end - time.perf_counter()
                done, _ = await asyncio.wait([said], timeout=min(1.0, max(left, 0.01)))
                if done or left <= 0:
                    break
                if body:
                    writer.write(bytes([byte]))
            seen[status_of(said.result()) if said.done() else "held to the end"] += 1
            said.cancel()
            writer.close()
        except OSError as error:
            seen[type(error).__name__] += 1
            await asyncio.sleep(0.5)


async def throw(address, head, body, end, seen):
    """Sends a whole request again and again, on a connection of its own each time."""
    while time.perf_counter() < end:
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(head + body)
            seen[status_of(await reader.read(64))] += 1
            writer.close()
        except OSError as error:
            seen[type(error).__name__] += 1
        await asyncio.sleep(0.2)


def status_of(answer):
    return answer.split()[1].decode() if answer else "closed"


async def measure(service, seconds, requests):
    end = time.perf_counter() + seconds
    found, alive, most = [], [], [0.0]

    async def memory():
        while time.perf_counter() < end:
            most[0] = max(most[0], service.rss_mb())
            await asyncio.sleep(0.1)

    await asyncio.gather(good(service.address, requests, end, found), health(service.address, end, alive), memory())
    return found, alive, most[0]


def attack(address, seconds, attackers, heard):
    """The others, in a process of their own: what they send must not hold up the good client here."""

    async def all_of_them():
        seen, end = collections.Counter(), time.perf_counter() + seconds
        await asyncio.gather(*(attacker(address, end, seen) for attacker in attackers))
        heard.put(seen)

    asyncio.run(all_of_them())


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20
    # Two ends of each connection.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    photographs = queries()
    head = lambda kind, body: HEAD.format(kind, len(body)).encode()
    requests = [head("image/jpeg", photograph) + photograph for photograph in photographs]
    small, large, deep = bomb(), bytes(100_000_000), b"[" * 100_000
    thrown = lambda kind, body: lambda *rest: throw(rest[0], head(kind, body), body, *rest[1:])
    slow = lambda *rest: drip(rest[0], head("image/jpeg", photographs[0]), photographs[0], *rest[1:])
    scenes = [
        ("nobody else", []),
        ("1000 idle", [idle] * 1000),
        ("1000 idle, 1000 slow", [idle] * 1000 + [slow] * 1000),
        ("4 with PNG bombs, 4 with deep JSON", [thrown("image/png", small)] * 4 + [thrown("application/json", deep)] * 4),
        ("4 with 100 MB", [thrown("image/jpeg", large)] * 4),
    ]
    service = Service(town() / "index")
    asyncio.run(measure(service, 2, requests))
    processes = multiprocessing.get_context("fork")
    print(f"machine's load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {seconds:.0f} s each")
    print("| beside the good client | answered per s | p50 ms | p99 ms | /healthz p99 ms | what the others heard | MiB at most |")
    print("|---|---|---|---|---|---|---|")
    wrong = 0
    for name, attackers in scenes:
        heard = processes.Queue()
        others = processes.Process(target=attack, args=(service.address, seconds, attackers, heard))
        others.start()
        found, alive, most = asyncio.run(measure(service, seconds, requests))
        seen = heard.get(timeout=60)
        others.join()
        times = [took for _, took in found]
        wrong += sum(status != 200 for status, _ in found)
        heard = ", ".join(f"{what}: {count}" for what, count in seen.most_common()) or "-"
        cells = [name, f"{len(found) / seconds:.1f}", f"{quantile(times, 0.5):.0f}", f"{quantile(times, 0.99):.0f}",
                 f"{quantile(alive, 0.99):.0f}", heard, f"{most:.0f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    service.stop()
    if wrong:
        raise SystemExit(f"{wrong} of the good client's requests were not answered with 200")


main()
