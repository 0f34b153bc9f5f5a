"""A rendered town, its indexes, and the program that serves them: what the page is tested with."""

import contextlib
import csv
import gzip
import json
import math
import random
import struct
import subprocess
import zlib
from pathlib import Path


class World:
    """Everything lies in one folder, which the caller removes."""

    def __init__(self, program: Path, folder: Path):
        self.program, self.folder = program, folder
        self.town = folder / "town"
        self.call("town", self.town, "--blocks", "1x1", "--spacing", "16", "--queries", "18", "--conditions", "day")
        self.database = self.rows("database.csv")
        self.index = folder / "streets"
        self.call("index", "create", self.index)
        self.call("index", "add", self.index, self.town / "database.csv")
        self.queries = self.accepted(self.rows("queries.csv"))[:6]
        self.plan = folder / "plan"
        self.call("index", "create", self.plan, "--positions", "local")
        self.call("index", "add", self.plan, self.local_table())
        self.globe, self.rooms, self.empty = folder / "globe", folder / "rooms", folder / "empty"
        self.call("index", "create", self.globe)
        self.call("index", "add", self.globe, self.far_table())
        self.call("index", "create", self.rooms, "--positions", "none")
        self.call("index", "add", self.rooms, self.far_table())
        self.call("index", "create", self.empty)

    def call(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"r2former {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    def accepted(self, queries):
        """The queries that the model is sure of: the page is checked, not the model."""
        document = json.loads(self.call("query", self.index, *map(self.photo, queries), "--json"))
        return [row for row, answer in zip(queries, document["answers"]) if answer["confidence"] > 0.97]

    def rows(self, name):
        with open(self.town / name, newline="") as file:
            return list(csv.DictReader(file))

    def photo(self, row):
        return self.town / row["path"]

    def noise(self):
        """A picture of nothing."""
        path = self.folder / "noise.png"
        chance = random.Random(22)
        path.write_bytes(png(320, 240, lambda: chance.randbytes(3)))
        return path

    def local_table(self):
        """The same photographs in metres around the first."""
        path = self.town / "local.csv"
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", "x", "y", "heading"])
            for row in self.database:
                east, north = metres(self.database[0], row)
                table.writerow([row["path"], f"{east:.2f}", f"{north:.2f}", row["heading"]])
        return path

    def far_table(self):
        """A few of the photographs, all over the world."""
        path = self.town / "far.csv"
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", "lat", "lon"])
            for row, (lat, lon) in zip(self.database, [(52, 0), (78, 15), (-34, 151), (-41, 175), (37, -122), (-55, -68)]):
                table.writerow([row["path"], lat, lon])
        return path

    @contextlib.contextmanager
    def serve(self, *arguments):
        """Serves the indexes on a free port; gives the address."""
        command = [self.program, "serve", self.index, self.plan, "--listen", "127.0.0.1:0", "--log", "none", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                line = process.stdout.readline()
                if not line.startswith("http"):
                    raise SystemExit(f"it does not serve: {line}")
                yield line.split()[0]
            finally:
                process.terminate()
                process.wait(60)

    def key(self, role):
        """A new key: itself, and the file for --keys."""
        made = subprocess.run([self.program, "serve", "--new-key", role], capture_output=True, text=True, check=True)
        key, line = made.stdout.splitlines()
        path = self.folder / f"{role}.keys"
        path.write_text(line + "\n")
        return key, path

    def pmtiles(self):
        """A base map: one grey picture for every tile of the first five zooms."""
        path = self.folder / "world.pmtiles"
        tile = png(256, 256, (200, 205, 210))
        tiles = (4**5 - 1) // 3
        directory = gzip.compress(b"".join(map(varint, [1, 0, tiles, len(tile), 1])))
        metadata = gzip.compress(json.dumps({"name": "grey"}).encode())
        root, meta = 127, 127 + len(directory)
        data = meta + len(metadata)
        sizes = [root, len(directory), meta, len(metadata), data, 0, data, len(tile), tiles, 1, 1]
        degrees = [int(value * 1e7) for value in (-180, -85, 180, 85)]
        head = b"PMTiles\x03" + struct.pack("<11Q", *sizes) + bytes([1, 2, 1, 2, 0, 4])
        head += struct.pack("<4i", *degrees) + bytes([0]) + struct.pack("<2i", 0, 0)
        assert len(head) == 127
        path.write_bytes(head + directory + metadata + tile)
        return path


def metres(origin, row):
    """East and north of one row from another, in metres."""
    lat, lon = float(origin["lat"]), float(origin["lon"])
    degree = math.pi / 180 * 6371008.8
    return (float(row["lon"]) - lon) * degree * math.cos(math.radians(lat)), (float(row["lat"]) - lat) * degree


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def png(width, height, colour):
    """A PNG of one colour, or of what `colour` gives for each pixel."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = (lambda: b"".join(bytes(colour()) for _ in range(width))) if callable(colour) else (lambda: bytes(colour) * width)
    rows = b"".join(b"\0" + row() for _ in range(height))
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
