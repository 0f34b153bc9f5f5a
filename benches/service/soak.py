"""Nothing acknowledged is lost: `python3 benches/service/soak.py [MINUTES] [SEED]`.

Clients in processes of their own add and remove places, query, and hold sessions; they and the service are killed (SIGKILL) at
random moments and started again. A client writes down what was acknowledged before it continues. At the end every place that was
acknowledged is asked for, with the bytes of its photograph, removed ones must be gone, and the index is verified.
"""

import hashlib
import json
import multiprocessing
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from service import PROGRAM, Service, ask, copied, other, queries

JPEG = [("Content-Type", "image/jpeg")]
CLIENTS = 4


def client(address, number, life, photographs, file):
    """Adds places (most of all), removes some of its own, queries, and sends frames, until it is killed."""
    chance = random.Random(f"{number} {life}")
    note = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    own, session, count = [], None, 0
    while True:
        count += 1
        try:
            kind = chance.random()
            if kind < 0.5:
                photograph = other(chance.choice(photographs), hash((number, life, count)) & 0xFFFFFFFF)
                at = f"{52 + chance.random():.6f},{chance.random():.6f}"
                status, found = ask(address, "POST", f"/v1/places?position={at}&tag=client={number}", photograph, JPEG)
                if status in (200, 201):
                    said = {"id": found["id"], "sum": hashlib.sha256(photograph).hexdigest()}
                    own.append(found["id"])
                else:
                    said = {"status": status}
            elif kind < 0.6 and own:
                id = own.pop(chance.randrange(len(own)))
                # From here on it may be gone, answered or not.
                os.write(note, json.dumps({"leaves": id}).encode() + b"\n")
                status, _ = ask(address, "DELETE", f"/v1/places/{id}")
                said = {"gone": id} if status in (204, 404) else {"status": status}
            elif kind < 0.8:
                status, _ = ask(address, "POST", "/v1/locate", chance.choice(photographs), JPEG)
                said = {"status": status}
            else:
                if session is None:
                    status, found = ask(address, "POST", "/v1/sessions")
                    session = found["id"] if status == 201 else None
                status, _ = ask(address, "POST", f"/v1/sessions/{session}/frames", chance.choice(photographs), JPEG)
                session = session if status == 200 else None
                said = {"status": status}
            os.write(note, json.dumps(said).encode() + b"\n")
        except (OSError, ValueError):
            os.write(note, b'{"status": 0}\n')
            time.sleep(0.2)


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 22)
    photographs = queries()[:10]
    home, index = copied()
    notes = pathlib.Path(tempfile.mkdtemp(dir=home.name))
    log = open(pathlib.Path(home.name) / "log", "a+b")
    service = Service(index, log=log)
    address, lives, clients = service.address, 0, {}

    def start(number):
        nonlocal lives
        lives += 1
        arguments = (address, number, lives, photographs, notes / f"{number}-{lives}")
        clients[number] = multiprocessing.Process(target=client, args=arguments, daemon=True)
        clients[number].start()

    print(f"machine's load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
    [start(number) for number in range(CLIENTS)]
    end, killed, memory, last = time.time() + 60 * minutes, {"service": 0, "client": 0}, [], time.time()
    down = []
    while time.time() < end:
        time.sleep(chance.uniform(1, 6))
        if not service.alive():
            log.seek(0)
            raise SystemExit(f"FAILED: the service ended by itself: {log.read().decode(errors='replace')[-2000:]}")
        if chance.random() < 0.25:
            memory.append(service.rss_mb())
            service.kill()
            killed["service"] += 1
            since = time.time()
            service = Service(index, port=address[1], log=log)
            down.append(time.time() - since)
        else:
            number = chance.randrange(CLIENTS)
            clients[number].kill()
            clients[number].join()
            killed["client"] += 1
            start(number)
    [process.kill() for process in clients.values()]
    [process.join() for process in clients.values()]
    service.kill()
    killed["service"] += 1
    service = Service(index, port=address[1], log=log)

    acknowledged, leaving, gone, statuses = {}, set(), set(), {}
    for file in notes.iterdir():
        for line in file.read_text().splitlines():
            said = json.loads(line) if line.endswith("}") else {}
            if "sum" in said:
                acknowledged[said["id"]] = said["sum"]
            elif "leaves" in said:
                leaving.add(said["leaves"])
            elif "gone" in said:
                gone.add(said["gone"])
            elif "status" in said:
                statuses[said["status"]] = statuses.get(said["status"], 0) + 1
    lost, returned, other_bytes = [], [], []
    for id, digest in acknowledged.items():
        status, _ = ask(address, "GET", f"/v1/places/{id}")
        if id in gone:
            returned += [id] * (status != 404)
        elif id not in leaving:
            lost += [id] * (status != 200)
            status, image = ask(address, "GET", f"/v1/places/{id}/image")
            other_bytes += [id] * (hashlib.sha256(image).hexdigest() != digest)
    print(f"{minutes:.0f} minutes: the service killed {killed['service']} times, clients {killed['client']} times")
    print(f"places acknowledged {len(acknowledged)}, removals acknowledged {len(gone)}, other answers {dict(sorted(statuses.items()))}")
    print(f"lost {len(lost)}, returned {len(returned)}, photographs that differ {len(other_bytes)}")
    print(f"restart to its address: {1000 * sum(down) / max(len(down), 1):.0f} ms on average, {1000 * max(down, default=0):.0f} ms at most")
    print(f"resident MiB before kills: {min(memory, default=0):.0f} to {max(memory, default=0):.0f}")
    service.stop()
    log.seek(0)
    failed = [line for line in log.read().decode(errors="replace").splitlines() if '"ERROR"' in line or "panicked" in line]
    print(f"failures in the log: {len(failed)}", *failed[:10], sep="\n")
    verified = subprocess.run([PROGRAM, "index", "verify", str(index)], capture_output=True, text=True)
    print(f"index verify: exit code {verified.returncode}: {verified.stdout.strip()[:300]}{verified.stderr.strip()[:300]}")
    home.cleanup()
    if lost or returned or other_bytes or failed or verified.returncode:
        raise SystemExit("FAILED")
    print("passed")


main()
