"""Malformed requests, by a seed, over several connections: `python3 benches/service/fuzz.py [COUNT] [SEED]`.

Fails if the service ends, if an answer is none of the statuses that its OpenAPI document lists for errors, if one of them has
no problem details, or if memory grows. Prints counts and resident memory.
"""

import collections
import json
import random
import re
import sys
import threading
import time

from service import Service, ask, copied, other, queries, raw, request, taken_apart

CONNECTIONS = 8
METHODS = ["GET", "POST", "POST", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH", "BREW", "", "GET\0"]
ID = "92843bef-5c1c-54d0-9860-88fc96efde74"
PATHS = [
    "/", "/metrics", "/openapi.json", "/healthz", "/readyz", "/docs", "/v1/indexes", "/v1/locate", "/v1/locate", "/v1/locate/batch",
    "/v1/explain", "/v1/places", "/v1/places", f"/v1/places/{ID}", f"/v1/places/{ID}/image", "/v1/places/%ff/thumbnail",
    "/v1/places/..%2f..%2fetc%2fpasswd/image", "/v1/sessions", f"/v1/sessions/{ID}", "/v1/sessions/SESSION",
    "/v1/sessions/SESSION/frames", "/v1/sessions/x/frames", "//v1//locate", "/%00", "*", "http://[", "/" + "a" * 9000,
]
NAMES = [
    "index", "top", "candidates", "rerank", "adaptive", "near", "radius", "tag", "since", "until", "min_confidence", "name", "place",
    "contributions", "format", "limit", "after", "bbox", "position", "heading", "altitude", "time", "replace", "size", "frame", "moved",
    "max_speed", "max_step", "no-such", "",
]
VALUES = [
    "", "0", "1", "5", "-1", "nan", "inf", "1e999", "1,2", "91,181", "1,2,3,4", ",,,", "true", "exif", "none", "model", "ransac", "json",
    "svg", "geojson", "auto", "a=b", "=", "../..", "%00", "%ff%fe", "2024-05", "99999-99-99", "9" * 400, "\U0001f600", "x" * 5000, ID,
]
TYPES = [
    "image/jpeg", "image/png", "application/octet-stream", "application/json", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=b", "multipart/form-data; boundary=\"b", "text/plain", ";;;", "\x7f",
]
HEADERS = [
    ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "5"), ("Content-Length", "-1"),
    ("Content-Length", "99999999999999999999"), ("Expect", "100-continue"), ("Content-Encoding", "gzip"), ("Host", "evil.example"),
    ("Origin", "https://evil.example"), ("Authorization", "Bearer \x01"), ("X-Request-Id", "\u00e4" * 80), ("Upgrade", "h2c"),
    ("Connection", "upgrade"), ("Range", "bytes=5-1"), ("If-None-Match", "*"), ("X" * 300, "y" * 3000), ("Cookie", "\t"),
]


class Fuzzer:
    """Requests of one connection."""

    def __init__(self, seed, photographs, session, ended, document):
        self.random = random.Random(seed)
        self.photographs = photographs
        self.session = session
        self.ended = ended
        # Addresses that compute or write, and the parameters that they know.
        self.known = [
            (path, [one["name"] for one in methods["post"]["parameters"] if one["in"] == "query"])
            for path, methods in document["paths"].items() if "requestBody" in methods.get("post", {})
        ]

    def image(self):
        r = self.random
        good = bytearray(other(r.choice(self.photographs), r.randrange(1000)))
        kind = r.randrange(8)
        if kind == 0:
            return bytes(good)
        if kind == 1:
            return bytes(good[: r.randrange(len(good))])
        if kind == 2:
            for _ in range(r.choice([1, 10, 1000])):
                good[r.randrange(len(good))] = r.randrange(256)
            return bytes(good)
        if kind == 3:  # Only the head is damaged: sizes, tables, components.
            for _ in range(r.randrange(1, 20)):
                good[r.randrange(600)] = r.randrange(256)
            return bytes(good)
        if kind == 4:
            magic = r.choice([b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF\xff\xff\xff\xffWEBPVP8 ",
                              b"qoif", b"P6\n60000 60000\n255\n", b"\0\0\0\x18ftypheic", b"\xff\xd8\xff\xe1\xff\xffExif\0\0II*\0"])
            return magic + r.randbytes(r.randrange(400))
        if kind == 5:
            return r.randbytes(r.randrange(2000))
        if kind == 6:
            return b""
        return b"\xff\xd8" + b"\xff\xe1\x00\x02" * r.randrange(2000) + bytes(good[2:])

    def form(self):
        r = self.random
        body = b""
        for _ in range(r.choice([0, 1, 2, 5, 70])):
            name = r.choice(["image", "image", "images", r.choice(NAMES), "\"", "a\r\nb"])
            file = r.choice(["", "; filename=\"a.jpg\"", "; filename=\"../../x\"", "; filename=\"", "; filename*=UTF-8''%ff"])
            value = self.image() if r.random() < 0.5 else r.choice(VALUES).encode()
            body += b"--b\r\n" + f"Content-Disposition: form-data; name=\"{name}\"{file}".encode() + b"\r\n\r\n" + value + b"\r\n"
        body += b"--b--\r\n"
        return body[: r.randrange(len(body))] if r.random() < 0.3 else body

    def nearly_sound(self):
        """A request that gets past the parameters, mostly: its photograph, or one value, is damaged."""
        r = self.random
        path, names = r.choice(self.known)
        path = path.replace("{id}", self.session)
        pairs = []
        if path == "/v1/places":
            pairs += ["position=52.1,0.1"]
        if path == "/v1/explain":
            pairs += [f"place={ID}"]
        if r.random() < 0.3:
            pairs += [f"{r.choice(names)}={r.choice(VALUES)}"]
        elif "rerank" in names and r.random() < 0.8:
            pairs += ["rerank=none"]
        if path.endswith("batch") or r.random() < 0.2:
            fields = [tuple(pair.split("=", 1)) for pair in pairs]
            body = b"".join(
                b"--b\r\n" + f"Content-Disposition: form-data; name=\"{name}\"".encode() + b"\r\n\r\n" + value.encode() + b"\r\n"
                for name, value in fields
            )
            for _ in range(r.choice([1, 2, 3]) if path.endswith("batch") else 1):
                body += b"--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n" + self.image() + b"\r\n"
            return request("POST", path, body + b"--b--\r\n", [("Content-Type", "multipart/form-data; boundary=b")])
        path += "?" + "&".join(pairs)
        return request("POST", path, self.image(), [("Content-Type", "image/jpeg")])

    def next(self):
        """One request, and whether the sending side is closed behind it."""
        r = self.random
        if r.random() < 0.05:
            return r.choice([b"", b"POST /v1/locate HTTP/1.1\r\n", b"\x16\x03\x01"]) + r.randbytes(r.randrange(800)) + b"\r\n\r\n", True
        if r.random() < 0.25:
            return self.nearly_sound(), False
        path = r.choice(PATHS).replace("SESSION", self.ended)
        pairs = [f"{r.choice(NAMES)}={r.choice(VALUES)}" for _ in range(r.choice([0, 0, 1, 1, 2, 3, 250]))]
        path += ("?" + "&".join(pairs)) if pairs else ""
        kind = r.choice(TYPES)
        body = self.form() if "multipart" in kind else self.image()
        headers = [("Content-Type", kind)]
        data = request(r.choice(METHODS), path, body, headers)
        # A client that waits for more to send is cut off after ten seconds; most say that nothing comes.
        shut = False
        if r.random() < 0.2:
            shut = r.random() < 0.9
            name, value = r.choice(HEADERS)
            line = f"\r\n{name}: {value}\r\n".encode()
            if name in ("Host", "Content-Length", "Connection"):
                data = re.sub(rb"\r\n%s: [^\r]*\r\n" % name.encode(), lambda _: line, data, count=1)
            else:
                data = data.replace(b"\r\n", line, 1)
        if r.random() < 0.05:
            data, shut = data[: r.randrange(1, len(data))], True
        return data, shut


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 22
    photographs = queries()[:6]
    home, index = copied()
    service = Service(index)
    _, document = ask(service.address, "GET", "/openapi.json")
    listed = {int(status) for path in document["paths"].values() for operation in path.values() for status in operation["responses"]}
    # The router's and the HTTP library's own.
    listed |= {405, 414, 431, 505}
    listed -= {500}
    # One for frames, and one that any request may end.
    session, ended = (ask(service.address, "POST", "/v1/sessions")[1]["id"] for _ in range(2))
    print(f"seed {seed}, {count} requests, {CONNECTIONS} connections")
    statuses, wrong, memory, done = collections.Counter(), [], [(0, service.rss_mb())], [0]
    lock, start = threading.Lock(), time.time()

    def run(number):
        fuzzer = Fuzzer(seed * 1000 + number, photographs, session, ended, document)
        for i in range(number, count, CONNECTIONS):
            data, shut = fuzzer.next()
            try:
                status, headers, body = taken_apart(
                    raw(service.address, data, timeout=90, shut=shut), bodiless=data.startswith(b"HEAD ")
                )
            except OSError as error:
                status, headers, body = -1, {}, str(error).encode()
            bad = status == -1 or (status and status not in listed)
            if status >= 400 and body and not bad:
                try:
                    bad = json.loads(body)["status"] != status
                except (ValueError, KeyError):
                    bad = True
            with lock:
                statuses[status] += 1
                done[0] += 1
                if bad:
                    wrong.append((number, i, data[:300], status, body[:300]))
                if done[0] % max(count // 10, 1) == 0 and service.alive():
                    memory.append((done[0], service.rss_mb()))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CONNECTIONS)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    took = time.time() - start
    alive = service.alive()
    print(f"{took:.0f} s, {count / took:.0f} requests/s; the service {'runs' if alive else 'ENDED'}")
    print("statuses (0: the connection was closed without an answer):", dict(sorted(statuses.items())))
    print("resident MiB:", ", ".join(f"{rss:.0f} after {n}" for n, rss in memory))
    for case in wrong[:10]:
        print("WRONG:", case)
    # It answers as before, and ends in order.
    _, track = ask(service.address, "GET", f"/v1/sessions/{session}")
    print(f"frames of the session that stayed: {track['frames']}")
    status, found = ask(service.address, "POST", "/v1/locate", photographs[0], [("Content-Type", "image/jpeg")])
    said = service.stop()
    home.cleanup()
    half = [rss for n, rss in memory if n >= count // 2]
    grows = half[-1] > 1.25 * half[0] + 20
    if wrong or not alive or status != 200 or found["answers"][0]["status"] != "answered" or "panic" in said or grows:
        raise SystemExit(f"FAILED: {len(wrong)} wrong answers, last status {status}, grows: {grows}, said: {said[:500]}")
    print("passed")


main()
