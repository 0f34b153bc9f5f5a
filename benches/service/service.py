"""What the programs here share: a town to ask about, the service as a process, a client over plain sockets.

R2FORMER names the program (target/release/r2former by default), TOWN a folder that is made by `r2former demo --keep` and used again.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("R2FORMER", str(ROOT / "target/release/r2former"))
TOWN = pathlib.Path(os.environ.get("TOWN", ROOT / "target/service/town"))


def town():
    """Folder of the town's index and photographs; made once."""
    if not (TOWN / "index").exists():
        TOWN.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(TOWN, ignore_errors=True)
        subprocess.run([PROGRAM, "demo", "--keep", TOWN], check=True, stdout=subprocess.DEVNULL)
    return TOWN


def queries():
    """The town's query photographs, as bytes."""
    return [path.read_bytes() for path in sorted((town() / "town/queries").rglob("*.jpg"))]


def copied():
    """A copy of the town's index that may be changed; the folder goes with the returned object."""
    home = tempfile.TemporaryDirectory()
    shutil.copytree(town() / "index", pathlib.Path(home.name) / "index")
    return home, pathlib.Path(home.name) / "index"


def other(photograph, number):
    """The same photograph as another file: a comment behind the JPEG's first marker."""
    text = b"number %d" % number
    return photograph[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + photograph[2:]


class Service:
    """The program, serving an index on loopback; its log goes to a file, if one is given."""

    def __init__(self, index, *options, port=0, log=None):
        kind = "json" if log else "none"
        command = [PROGRAM, "serve", str(index), "--listen", f"127.0.0.1:{port}", "--log", kind, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log or subprocess.PIPE)
        line = self.process.stdout.readline().decode()
        if "http://" not in line:
            said = "see its log" if log else self.process.stderr.read().decode()
            raise SystemExit(f"the service did not start: {line}{said}")
        host, _, port = line.split()[0].removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    def alive(self):
        return self.process.poll() is None

    def rss_mb(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it in order; returns what it wrote to standard error."""
        self.process.send_signal(signal.SIGTERM)
        said = (self.process.communicate(timeout=90)[1] or b"").decode()
        assert self.process.returncode == 0, (self.process.returncode, said)
        return said


def raw(address, data, timeout=60, shut=False):
    """Sends bytes on a connection of their own, and returns what comes back to its end."""
    with socket.create_connection(address, timeout=timeout) as stream:
        try:
            stream.sendall(data)
            if shut:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # It was refused before everything was sent.
        answer = b""
        try:
            while piece := stream.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def request(method, path, body=b"", headers=()):
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body


def taken_apart(answer, bodiless=False):
    """Status, headers and body of the first answer that is more than "continue"; status 0 for none."""
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    head, found, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    if not found or len(words) < 2 or not words[1].isdigit():
        return 0, {}, b""
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        whole, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            if not int(size or b"0", 16):
                break
            whole, rest = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        body = whole
    elif "content-length" in headers and not bodiless:
        length = int(headers["content-length"])
        if len(body) < length:
            return 0, {}, b""
        body = body[:length]
    return int(words[1]), headers, body


def ask(address, method, path, body=b"", headers=(), timeout=60):
    """Status and document (or bytes) of an answer."""
    status, headers, body = taken_apart(raw(address, request(method, path, body, headers), timeout))
    return status, json.loads(body) if "json" in headers.get("content-type", "") else body
