"""Long calls: other threads run meanwhile, Ctrl-C ends them, progress is reported, a forked process is refused."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import r2former


def test_other_threads_run(model: r2former.Model) -> None:
    images = np.zeros((8, 480, 640, 3), np.uint8)
    model.extract(images)
    counted, ends = [0], threading.Event()

    def count() -> None:
        while not ends.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before, started = counted[0], time.monotonic()
    model.extract(images)
    took = time.monotonic() - started
    during = counted[0] - before
    ends.set()
    thread.join()
    assert during > 0.1 * took / 0.001, (during, took)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(
    "work",
    [
        "r2former.town(sys.argv[1] + '/new', blocks=(20, 20), spacing=1.0)",
        "model.extract([np.zeros((480, 640, 3), np.uint8)] * 4000)",
        "r2former.evaluate(sys.argv[1] + '/a.csv', sys.argv[1] + '/a.csv')",
        "r2former.Index.create(sys.argv[1] + '/index', model).add(sys.argv[1] + '/a.csv')",
        "model.rerank(noise, [noise] * 50000)",
    ],
)
def test_ctrl_c(work: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    (tmp_path / "a.ppm").write_bytes(b"P6 640 480 255\n" + pixels.tobytes())
    for i in range(1500):
        os.link(tmp_path / "a.ppm", tmp_path / f"{i}.ppm")
    rows = "".join(f"{i}.ppm,52,0.{i}\n" for i in range(1500))
    (tmp_path / "a.csv").write_text("path,lat,lon\n" + rows)
    code = f"""
        import signal, sys, time
        import numpy as np
        import r2former
        # A job in the background begins with the signal ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        model = r2former.Model.load()
        model.extract(np.zeros((8, 8, 3), np.uint8))
        noise = model.extract(sys.argv[1] + "/a.ppm").rows()
        print("ready", flush=True)
        try:
            {work}
            print("done", flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            # What was computing has ended, and what comes next works.
            print(model.extract(np.zeros((8, 8, 3), np.uint8)).global_.shape, flush=True)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert out.splitlines() == ["interrupted", "(1, 256)"], (out, err)
    assert "panicked" not in err
    assert time.monotonic() - sent < 20


def test_progress(town: r2former.Town, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def report(*step: Any) -> None:
        seen.append(step)

    index = r2former.Index.create(tmp_path / "places")
    index.add(town.database_table, progress=report)
    assert seen[-1] == ("images", town.database, town.database)
    seen.clear()
    index.query([np.zeros((9, 9, 3), np.uint8)] * 3, progress=report)
    assert seen[-1] == ("queries", 3, 3)

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        r2former.evaluate(town.database_table, town.queries_table, progress=fail)


def _in_a_fork(results: Any) -> None:
    try:
        r2former.Model.load()
        results.put("computed")
    except r2former.RequestError as error:
        results.put(str(error))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_refused(model: r2former.Model) -> None:
    model.extract(np.zeros((9, 9, 3), np.uint8))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=_in_a_fork, args=(results,))
    process.start()
    assert "spawn" in results.get(timeout=30)
    process.join(30)
