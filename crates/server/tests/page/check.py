#!/usr/bin/env python3
"""The service's page in a headless Chromium: what a person does, at the size of a desktop and of a phone.

    python crates/server/tests/page/check.py --program target/release/r2former [--chromium /usr/bin/chromium] [--screenshots DIR]

Needs Playwright for Python and Chromium. axe-core, for the check of accessibility, is fetched once from the npm registry; without
it that check is left out, and the end says so. Exit code 0: everything holds.
"""

import argparse
import base64
import csv
import io
import json
import os
import re
import sys
import tarfile
import tempfile
import urllib.request
import xml.etree.ElementTree as xml
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

sys.dont_write_bytecode = True  # nothing is left beside the sources

from world import World, metres  # noqa: E402

SIZES = {"desktop": dict(viewport={"width": 1440, "height": 900}), "phone": dict(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)}
# WebGL without a graphics card.
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
AXE = "4.14.1"
PATIENCE = 60_000
# The page measures from the photograph to the frame in which its answer is drawn.
MEASURED = """async (before) => {
  const entries = () => performance.getEntriesByName("answer");
  while (entries().length <= before) await new Promise((resolve) => setTimeout(resolve, 20));
  return entries().at(-1).duration;
}"""


class Visit:
    """A page that is open, and everything that it must not do: errors in the console, requests to other hosts."""

    def __init__(self, browser, address, axe, **context):
        self.address, self.axe = address, axe
        self.context = browser.new_context(accept_downloads=True, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.wrong, self.refused = [], 0
        self.page.on("console", self.console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        self.page.on("request", self.request)
        self.page.goto(address)

    def console(self, message):
        # The browser itself reports a status of 400 and more; some steps ask for that.
        if message.type == "error" and message.text.startswith("Failed to load resource: the server responded with a status of 4"):
            self.refused += 1
        elif message.type in ("error", "warning") and "GPU stall" not in message.text:
            self.wrong.append(f"console: {message.text}")

    def request(self, request):
        if not request.url.startswith((self.address + "/", "blob:", "data:")):
            self.wrong.append(f"request to {request.url}")

    def ready(self):
        expect(self.page.locator("#index-count")).to_contain_text("place")
        expect(self.page.locator("#health")).to_have_attribute("data-state", "ready")
        return self

    def drop(self, *paths):
        """Drops files onto the page, as a file manager does."""
        files = [(Path(path).name, base64.b64encode(Path(path).read_bytes()).decode()) for path in paths]
        data = self.page.evaluate_handle(
            """(files) => {
              const data = new DataTransfer();
              for (const [name, text] of files) {
                data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type: "image/jpeg" }));
              }
              return data;
            }""",
            files,
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("body", event, {"dataTransfer": data})

    def paste(self, path):
        text = base64.b64encode(Path(path).read_bytes()).decode()
        self.page.evaluate(
            """([name, text]) => {
              const data = new DataTransfer();
              data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name, { type: "image/jpeg" }));
              document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
            }""",
            [Path(path).name, text],
        )

    def settle(self):
        """Waits until the map has come to rest."""
        self.page.wait_for_timeout(1800)

    def accessible(self, what):
        if self.axe is None:
            return
        self.page.evaluate(self.axe)
        found = self.page.evaluate("async () => (await axe.run(document, { resultTypes: ['violations'] })).violations")
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        for violation in serious:
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            self.wrong.append(f"axe, {what}: {violation['id']} ({violation['impact']}): {nodes}")

    def close(self):
        self.context.close()
        assert not self.wrong, "\n  ".join(["the page did what it must not:", *self.wrong])


def pictured(page):
    """Waits until the first card has its picture."""
    shown = "async () => { for (let i = 0; i < 600; i++) { if (document.querySelector('.card img')?.naturalWidth) return true; await new Promise((r) => setTimeout(r, 50)); } return false; }"
    assert page.evaluate(shown), "the first card has no picture"


def position(page):
    """The coordinates of the answer that is shown."""
    text = page.locator(".readout .where").inner_text().replace("\u2212", "-")
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def locating(visit, world, shots):
    """A photograph is dropped, pasted, chosen, taken: the pin is where it was taken, and cards, match view and layers are there."""
    page = visit.page
    seconds, near = [], 0
    ways = [
        visit.drop, visit.paste, lambda path: page.set_input_files("#file", path), lambda path: page.set_input_files("#camera", path),
    ]
    for row, way in zip(world.queries, ways):
        way(world.photo(row))
        expect(page.locator("#query .name")).to_have_text(Path(row["path"]).name)
        page.wait_for_selector(".readout .where")
        seconds.append(page.evaluate(MEASURED, len(seconds)) / 1000)
        lat, lon = position(page)
        east, north = metres(row, {"lat": lat, "lon": lon})
        near += (east**2 + north**2) ** 0.5 < 25
    assert near >= 3, f"only {near} of 4 photographs are located within 25 m"
    print(f"    from the drop to the answer: {', '.join(f'{s:.2f}' for s in seconds)} s")
    expect(page.locator(".card")).to_have_count(5)
    expect(page.locator(".pin.best")).to_be_visible()
    expect(page.locator(".estimate")).to_be_visible()
    visit.settle()
    inside = page.evaluate(
        """() => {
          const [pin, map] = [".pin.best", "#map"].map((s) => document.querySelector(s).getBoundingClientRect());
          return pin.left > map.left && pin.right < map.right && pin.top > map.top && pin.bottom < map.bottom;
        }"""
    )
    assert inside, "the pin of the first match is not on the map"
    pictured(page)
    visit.accessible("an answer")
    shots(page, "answer")

    page.locator(".pin.best").dispatch_event("click")
    expect(page.locator(".card.selected").first).to_be_visible()
    page.locator(".card .thumb").first.click()
    expect(page.locator("#compare")).to_be_visible()
    page.wait_for_selector(".pair .link.inlier", state="attached")
    lines = page.locator(".pair .link").count()
    page.get_by_label("Matched features").uncheck()
    inliers = page.locator(".pair .link").count()
    assert 0 < inliers < lines, f"{inliers} of {lines} lines without the pairs that are no inliers"
    page.get_by_label("RANSAC inliers").uncheck()
    expect(page.locator(".pair .link")).to_have_count(0)
    page.get_by_label("Attention").check()
    assert page.locator(".pair .heat").count() > 20
    page.get_by_label("Attention").uncheck()
    page.get_by_label("Matched features").check()
    page.get_by_label("RANSAC inliers").check()
    visit.accessible("the match view")
    shots(page, "compare")
    page.get_by_label("Next match").click()
    expect(page.locator("#compare-title")).to_have_text("Query and match 2")
    page.keyboard.press("Escape")
    expect(page.locator("#compare")).to_be_hidden()


def area(visit, world):
    """A search area is drawn and typed; it holds for the next query."""
    page = visit.page
    page.locator("#map-fit").click()
    visit.settle()
    box = page.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.locator("#map-draw").click()
    expect(page.locator("#map-hint")).to_be_visible()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y + 5, steps=4)
    page.mouse.up()
    expect(page.locator("#map-hint")).to_be_hidden()
    expect(page.locator("#area")).to_have_value("circle")
    radius = float(page.locator("#area-radius").input_value())
    assert 1 < radius < 500, f"a radius of {radius} m"
    row = world.queries[0]
    page.locator("#area-first").fill(row["lat"])
    page.locator("#area-second").fill(row["lon"])
    page.locator("#area-radius").fill("30")
    page.locator("#area-radius").press("Tab")
    with page.expect_request(lambda request: "/v1/locate" in request.url) as sent:
        page.get_by_role("button", name="Locate again").click()
    assert "radius=30" in sent.value.url and "near=" in sent.value.url, sent.value.url
    page.wait_for_selector(".readout")
    visit.accessible("filters")
    # Nothing passes: that is said, with a way out.
    page.locator("#since").fill("2031-01-01")
    page.locator("#since").dispatch_event("change")
    page.get_by_role("button", name="Locate again").click()
    expect(page.locator(".readout h2")).to_have_text("No match")
    page.get_by_role("button", name="Search everywhere").click()
    expect(page.locator(".card")).to_have_count(5)
    expect(page.locator("#filters-state")).to_have_text("everything")
    page.locator("#filters summary").click()


def refusing(visit, world, shots):
    """Noise is of no place in the index; and what is no photograph."""
    page = visit.page
    visit.drop(world.noise())
    expect(page.locator(".readout h2")).to_have_text("Not in this index")
    expect(page.locator(".guesses .card")).to_have_count(5)
    expect(page.locator(".estimate")).to_have_count(0)
    sure = float(re.search(r"(\d+) %", page.locator(".confidence").inner_text()).group(1))
    assert sure < 50, f"noise has a confidence of {sure} %"
    visit.accessible("not in this index")
    shots(page, "unknown")
    broken = world.folder / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 and nothing more")
    before = visit.refused
    visit.drop(broken)
    expect(page.get_by_role("alert")).to_contain_text("No answer")
    assert visit.refused == before + 1


def several(visit, world, shots):
    """Several photographs, one of them broken: a table, and files of it."""
    page = visit.page
    page.locator("#tab-batch").click()
    visit.drop(*[world.photo(row) for row in world.queries], world.folder / "broken.jpg")
    expect(page.locator("#pane-batch tbody tr")).to_have_count(7)
    expect(page.locator("#batch-badge")).to_have_text("7")
    expect(page.locator(".state-unreadable")).to_have_count(1)
    visit.accessible("several photographs")
    shots(page, "several")

    rows = list(csv.DictReader(io.StringIO(export(page, "CSV"))))
    assert len(rows) == 6 * 5 + 1 and {row["query"] for row in rows} >= {"broken.jpg"}, len(rows)
    assert all(float(row["lat"]) and float(row["weighted_lat"]) for row in rows if row["rank"])
    features = json.loads(export(page, "GeoJSON"))["features"]
    assert sum(feature["properties"]["kind"] == "estimate" for feature in features) == 6
    points = xml.fromstring(export(page, "GPX")).findall("{http://www.topografix.com/GPX/1/1}wpt")
    answered = {row["query"] for row in rows if row["status"] == "answered"}
    assert len(points) == len(answered) >= 3, f"{len(points)} points of {len(answered)} answers"
    page.locator("#pane-batch tbody .open").nth(2).click()
    expect(page.locator("#pane-locate .card")).to_have_count(5)
    page.locator("#tab-batch").click()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#pane-batch tbody tr")).to_have_count(0)
    # What was stopped is called so.
    held = []
    page.route("**/v1/locate?*", lambda route: held.append(route))
    visit.drop(*[world.photo(row) for row in world.queries[:3]])
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".state-stopped")).to_have_count(3)
    assert [row["status"] for row in csv.DictReader(io.StringIO(export(page, "CSV")))] == ["stopped"] * 3
    assert [feature["properties"]["status"] for feature in json.loads(export(page, "GeoJSON"))["features"]] == ["stopped"] * 3
    for route in held:
        route.abort()
    page.unroute_all()
    page.get_by_role("button", name="Clear").click()


def export(page, name):
    """The file that a button of the table offers."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(download.value.path()).read_text()


def walking(visit, world, shots):
    """Frames of a sequence are located together: a track with its playhead."""
    page = visit.page

    page.reload()
    visit.ready()
    page.locator("#tab-batch").click()
    expect(page.get_by_label("Top speed")).to_be_hidden()
    page.get_by_label("Frames of one sequence").check()
    speed = page.get_by_label("Top speed")
    # What the service would refuse is not sent.
    speed.fill("-1")
    speed.blur()
    assert not speed.evaluate("input => input.validity.valid")
    # The last first: names decide.
    visit.drop(*[world.photo(row) for row in reversed(world.queries)])
    expect(page.locator(".state-tracked")).to_have_count(6)
    with page.expect_request("**/v1/sessions?*") as begun:
        speed.fill("3")
        speed.blur()
    assert "max_speed=3" in begun.value.url and "max_step" not in begun.value.url, begun.value.url
    expect(page.locator(".state-tracked")).to_have_count(6)
    expect(page.locator("#pane-batch tbody .name").first).to_have_text(Path(world.queries[0]["path"]).name)
    expect(page.locator("#playhead")).to_be_visible()
    page.locator("#playhead").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".play output")).to_contain_text("Frame 2 of 6")
    expect(page.locator(".playhead")).to_have_count(1)
    visit.settle()
    visit.accessible("a sequence")
    shots(page, "sequence")
    assert export(page, "GPX").count("<trkpt ") == 6
    losing(visit)
    page.reload()
    visit.ready()


def losing(visit):
    """An answer of a sequence is lost: the same photograph is sent again, and no other one gets its answer. A frame that cannot be settled ends it."""
    page = visit.page
    similarities = page.locator("#pane-batch tbody td:nth-child(3)")
    before = similarities.all_inner_texts()
    asked = []

    def lose(route):
        asked.append(route)
        if len(asked) == 2:
            route.fetch()
            return route.abort("connectionreset")
        return route.continue_()

    def again():
        page.get_by_label("Frames of one sequence").uncheck()
        page.get_by_label("Frames of one sequence").check()

    page.route("**/v1/sessions/*/frames", lose)
    again()
    expect(page.locator(".state-tracked")).to_have_count(6)
    assert len(asked) == 7 and similarities.all_inner_texts() == before, (len(asked), before, similarities.all_inner_texts())
    lost = [text for text in visit.wrong if "ERR_CONNECTION_RESET" in text]
    assert len(lost) == 1, visit.wrong
    visit.wrong.remove(lost[0])
    page.unroute_all()
    page.route("**/v1/sessions/*/frames", lambda route: route.fulfill(status=403, json={"detail": "not now"}))
    again()
    expect(page.locator(".state-stopped")).to_have_count(5)
    rows = list(csv.DictReader(io.StringIO(export(page, "CSV"))))
    assert [(row["status"], row["error"]) for row in rows] == [("failed", "not now"), *[("stopped", "")] * 5], rows
    page.unroute_all()
    page.get_by_role("button", name="Try failed ones again").click()
    expect(page.locator(".state-tracked")).to_have_count(6)


def managing(visit, world, shots):
    """A place is added with a pin, found, and removed."""
    page = visit.page
    count = len(world.database)
    page.locator("#tab-places").click()
    expect(page.locator("#pane-places .facts").first).to_contain_text(str(count))
    expect(page.locator("#pane-places .facts").nth(1)).to_contain_text("admin")
    page.get_by_label("A pin on the map").check()
    visit.drop(world.photo(world.queries[5]))
    box = page.locator("#map").bounding_box()
    # A corner without places.
    page.mouse.click(box["x"] + 60, box["y"] + box["height"] - 70)
    expect(page.locator(".new-pin")).to_be_visible()
    page.locator("#new-tags").fill(f"floor=2, note={'long' * 240}")
    visit.accessible("places")
    shots(page, "places")
    page.locator("#pane-places form").get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".toast")).to_contain_text("Added")
    expect(page.locator("#index-count")).to_have_text(f"{count + 1} places")
    page.locator("#tab-locate").click()
    visit.drop(world.photo(world.queries[5]))
    # The same photograph; the reranker may rank another one first.
    expect(page.locator(".card .num", has_text=re.compile("^1.000$")).first).to_be_visible()
    page.locator("#tab-places").click()
    # What was refused before took no time, and does not count among the answers.
    expect(page.locator("#pane-places .facts").nth(1)).to_contain_text("Queries answered")
    expect(page.locator("#pane-places .facts").nth(1)).to_contain_text("Half of them within")
    expect(page.locator("#pane-places .facts").nth(1)).not_to_contain_text("0.001 s")
    page.locator("#pane-places .place .show").first.click()
    expect(page.locator(".popup")).to_be_visible()
    visit.settle()
    popup, map_ = (page.locator(part).bounding_box()["height"] for part in (".maplibregl-popup-content", "#map"))
    assert popup < map_, f"a popup of {popup} pixels on a map of {map_}"
    visit.accessible("a place with a long tag")
    shots(page, "popup")
    page.keyboard.press("Escape")
    page.get_by_label("Remove ").first.press("Enter")
    page.locator("#confirm").get_by_role("button", name="Remove").press("Enter")
    expect(page.locator("#index-count")).to_have_text(f"{count} places")
    assert page.evaluate("document.activeElement.closest('#pane-places') !== null"), "the focus is lost"


def keyboard(visit):
    """Tabs by arrow keys, the first control by the tab key, names for all."""
    page = visit.page
    page.locator("#tab-places").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-locate")).to_be_focused()
    expect(page.locator("#pane-locate")).to_be_visible()
    page.locator("#tab-locate").press("End")
    expect(page.locator("#tab-places")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Home")


def planning(visit, world, shots):
    """An index of local metres is a plan."""
    page = visit.page
    page.select_option("#index", "plan")
    expect(page.locator("#map-floor")).to_be_visible()
    row = world.queries[0]
    visit.drop(world.photo(row))
    page.wait_for_selector(".readout .where")
    x, y = position(page)
    east, north = metres(world.database[0], row)
    assert ((x - east) ** 2 + (y - north) ** 2) ** 0.5 < 25, f"{x}, {y} instead of {east}, {north}"
    page.locator("#map-floor").click()
    page.set_input_files("#floor input[type=file]", world.photo(row))
    visit.settle()
    shots(page, "plan")
    visit.accessible("a plan")


def enter(page, key):
    page.locator("#key").fill(key)
    page.keyboard.press("Enter")


def keys(browser, world, axe):
    """With keys: the page asks for one, says when it is not known, keeps it in this tab alone, and shows what its role may do. Work outlives a key."""
    (key, path), (other, second) = world.key("read"), world.key("write")
    lines = path.read_text()
    path.write_text(lines + second.read_text())
    with world.serve("--keys", path) as address:
        visit = Visit(browser, address, axe, **SIZES["desktop"])
        page = visit.page
        expect(page.get_by_role("alert")).to_have_text("This service needs a key.")
        for _ in range(2):
            enter(page, "r2f_wrong")
            expect(page.get_by_role("alert")).to_have_text("This key is not known.")
        visit.accessible("a key that is not known")
        enter(page, key)
        expect(page.locator("#key-dialog")).to_be_hidden()
        visit.ready()
        visit.drop(world.photo(world.queries[0]))
        expect(page.locator(".card")).to_have_count(5)
        pictured(page)
        page.locator("#tab-places").click()
        expect(page.locator("#pane-places")).to_contain_text("needs a key with the role write")
        # Nothing can be added: a photograph that comes in here is located.
        for way in (visit.drop, visit.paste):
            page.locator("#tab-places").click()
            way(world.photo(world.queries[1]))
            expect(page.locator("#query .name")).to_be_visible()
            expect(page.locator("#query .name")).to_have_text(Path(world.queries[1]["path"]).name)
            expect(page.locator(".card")).to_have_count(5)
        page.locator("#tab-batch").click()
        visit.drop(*[world.photo(row) for row in world.queries[:3]])
        expect(page.locator("#pane-batch .state-answered")).to_have_count(3)
        page.locator("#key-open").click()
        enter(page, other)
        expect(page.locator("#pane-places #new-file")).to_have_count(1)
        expect(page.locator("#pane-batch .state-answered")).to_have_count(3)
        # Revoked: the photograph stays, and is located with another key.
        path.write_text(lines)
        page.wait_for_timeout(1500)
        page.locator("#tab-locate").click()
        visit.drop(world.photo(world.queries[2]))
        expect(page.locator("#key-why")).to_have_text("This key is not known.")
        enter(page, key)
        expect(page.locator("#key-dialog")).to_be_hidden()
        expect(page.locator("#query .name")).to_have_text(Path(world.queries[2]["path"]).name)
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".card")).to_have_count(5)
        stored = page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]")
        assert stored == [1, 0, ""], stored
        visit.close()


def indexes(browser, world, axe, shots):
    """Indexes of every kind, one after the other: the whole world, without positions, empty."""
    with world.serve(world.globe, world.rooms, world.empty) as address:
        for size, context in SIZES.items():
            visit = Visit(browser, address, axe, **context).ready()
            page = visit.page
            page.select_option("#index", "rooms")
            expect(page.locator("#answer")).to_contain_text("no positions")
            expect(page.locator("#map-area")).to_be_hidden()
            expect(page.locator("#map canvas")).to_have_count(0)
            visit.drop(world.photo(world.queries[0]))
            expect(page.locator(".card")).to_have_count(5)
            visit.accessible("an index without positions")
            shots(page, size, "rooms")
            page.locator("#tab-places").click()
            expect(page.locator("#pane-places .facts").nth(1)).to_contain_text("Half of them within")
            page.locator("#tab-locate").click()
            page.select_option("#index", "empty")
            expect(page.locator("#answer")).to_contain_text("This index is empty.")
            expect(page.locator("#map-area")).to_be_hidden()
            visit.drop(world.photo(world.queries[0]))
            expect(page.locator(".readout")).to_contain_text("This index is empty.")
            expect(page.get_by_role("button", name="Search everywhere")).to_have_count(0)
            visit.accessible("an empty index")
            shots(page, size, "empty")
            page.get_by_role("button", name="Add a place").click()
            expect(page.locator("#map-area")).to_be_visible()
            page.locator("#tab-locate").click()
            page.select_option("#index", "globe")
            expect(page.locator("#map canvas")).to_have_count(1)
            visit.settle()
            shots(page, size, "globe")
            box = page.locator("#map").bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            for _ in range(20):
                page.mouse.wheel(0, 600)
            visit.settle()
            expect(page.locator("#map-note")).to_be_hidden()
            shots(page, size, "globe-whole")
            page.evaluate(GRIDS)
            page.select_option("#index", "plan")
            expect(page.locator("#map-floor")).to_be_visible()
            expect(page.locator("#map canvas")).to_have_count(1)
            if size == "phone":
                # Names as long as they come.
                page.evaluate("document.querySelector('#index option:checked').textContent = 'a very long name of an index '.repeat(4)")
                for width in (320, 360):
                    page.set_viewport_size({"width": width, "height": 640})
                    visit.settle()
                    wide = page.evaluate("[document.documentElement, document.querySelector('.bar')].map((element) => element.scrollWidth)")
                    assert wide == [width, width], f"{wide} at {width} pixels"
                    shots(page, size, f"bar-{width}")
            visit.close()
        context = browser.new_context(**SIZES["desktop"])
        context.add_init_script("HTMLCanvasElement.prototype.getContext = ((own) => function (kind, ...rest) { return /webgl/.test(kind) ? null : own.call(this, kind, ...rest); })(HTMLCanvasElement.prototype.getContext)")
        page = context.new_page()
        page.goto(address)
        expect(page.locator("#map-note")).to_contain_text("no WebGL")
        context.close()


# Views of the map, from a street to the whole world: lines as far apart as their step, within the map, across the view, and labelled.
GRIDS = """async () => {
  const { gridLines } = await import("/page/grid.js");
  const degree = 40075016.68557849 / 360;
  const frames = [{ kind: "wgs84" }, { kind: "local", degree, shift: [500000, 4100000] }];
  for (const [width, height] of [[360, 281], [320, 240], [1020, 850], [3000, 2000]]) {
    for (const frame of frames) for (const [lon, lat] of [[0, 0], [13, 52], [179.9, -40], [20, 80]]) for (let zoom = 0; zoom < 20; zoom += 0.7) {
      const perPixel = 360 / (512 * 2 ** zoom);
      const [halfWidth, halfHeight] = [(width / 2) * perPixel, (height / 2) * perPixel * Math.cos((lat * Math.PI) / 180)];
      const [west, south, east, north] = [lon - halfWidth, Math.max(-85.05, lat - halfHeight), lon + halfWidth, Math.min(85.05, lat + halfHeight)];
      const bounds = { getWest: () => west, getSouth: () => south, getEast: () => east, getNorth: () => north };
      const grid = gridLines({ getBounds: () => bounds, getContainer: () => ({ clientWidth: width, clientHeight: height }) }, frame);
      const wrong = (what) => { throw new Error(`${what}: ${JSON.stringify({ width, frame: frame.kind, lon, lat, zoom })}`); };
      const even = (values, step) => values.every((value, i) => !i || Math.abs(value - values[i - 1] - step) < step * 1e-3);
      if (!even(grid.xs.map(([x]) => x), grid.stepX) || !even(grid.ys.map(([y]) => y), grid.stepY)) wrong("uneven lines");
      if (!grid.xs.length) wrong("no meridian in view");
      if (grid.xs.length > width / 50) wrong("meridians too close");
      for (const { geometry: { coordinates: [a, b] } } of grid.lines.features) {
        if ([a, b].some((point) => Math.abs(point[1]) > 85.06)) wrong("a line beyond the map");
        if (a[0] === b[0] ? a[1] > Math.max(south, -85) + 1e-9 || b[1] < Math.min(north, 85) - 1e-9 : b[0] - a[0] < Math.min(360, east - west) - 1e-6) wrong("a line that ends in view");
      }
      if (frame.kind === "wgs84" && grid.stepX >= 1 && 180 % grid.stepX) wrong("copies of the world would have lines of their own");
    }
  }
}"""


def basemaps(browser, world, axe):
    """A local PMTiles file is the base map; tiles are numbered as its format says."""
    with world.serve("--tiles", world.pmtiles(), "--tiles-attribution", "Nobody <b>") as address:
        visit = Visit(browser, address, axe, color_scheme="dark", **SIZES["desktop"])
        page = visit.page
        parts = []
        page.on("response", lambda response: parts.append(response.status) if "tiles.pmtiles" in response.url else None)
        page.reload()
        visit.ready().settle()
        assert len(parts) >= 3 and set(parts) == {206}, parts
        expect(page.locator(".maplibregl-ctrl-attrib")).to_contain_text("Nobody <b>")
        contrast = page.evaluate(CONTRAST, ".maplibregl-ctrl-attrib")
        assert contrast > 4.5, f"the attribution has a contrast of {contrast:.1f}"
        numbers = page.evaluate(
            """async () => {
              const { tileId } = await import("/page/pmtiles.js");
              return [[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 1], [1, 1, 0], [2, 0, 0], [12, 3423, 1763]].map((tile) => tileId(...tile));
            }"""
        )
        assert numbers == [0, 1, 2, 3, 4, 5, 19078479], numbers
        visit.close()


# Between an element's text and its background, as WCAG has it.
CONTRAST = """(selector) => {
  const style = getComputedStyle(document.querySelector(selector));
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [light(style.backgroundColor), light(style.color)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


def axe_core():
    """axe-core's script; None where the npm registry cannot be reached."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "r2former" / f"axe-core-{AXE}.js"
    if not cache.exists():
        try:
            with urllib.request.urlopen(f"https://registry.npmjs.org/axe-core/-/axe-core-{AXE}.tgz", timeout=30) as response:
                archive = tarfile.open(fileobj=io.BytesIO(response.read()))
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.write_bytes(archive.extractfile("package/axe.min.js").read())
        except (OSError, tarfile.TarError) as error:
            print(f"!! accessibility is NOT checked: axe-core cannot be fetched ({error})")
            return None
    return cache.read_text()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", type=Path, required=True)
    arguments.add_argument("--chromium", type=Path)
    arguments.add_argument("--screenshots", type=Path)
    given = arguments.parse_args()
    expect.set_options(timeout=PATIENCE)
    axe = axe_core()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        world = World(given.program.resolve(), Path(folder))
        browser = playwright.chromium.launch(executable_path=given.chromium, args=FLAGS)
        for size, context in SIZES.items():
            for scheme in ("light", "dark"):

                def shots(page, name):
                    if given.screenshots:
                        given.screenshots.mkdir(parents=True, exist_ok=True)
                        page.screenshot(path=given.screenshots / f"{size}-{scheme}-{name}.png")

                with world.serve() as address:
                    visit = Visit(browser, address, axe, color_scheme=scheme, **context).ready()
                    visit.settle()
                    shots(visit.page, "start")
                    visit.accessible("the start")
                    steps = [
                        lambda: locating(visit, world, shots), lambda: area(visit, world), lambda: refusing(visit, world, shots),
                        lambda: several(visit, world, shots), lambda: walking(visit, world, shots), lambda: managing(visit, world, shots), lambda: keyboard(visit),
                        lambda: planning(visit, world, shots),
                    ]
                    names = ["locate", "search area", "not in the index", "several photographs", "a sequence", "places", "keyboard", "plan"]
                    for name, step in zip(names, steps):
                        print(f"  {size}, {scheme}: {name}", flush=True)
                        try:
                            step()
                        except Exception:
                            shots(visit.page, "failed")
                            print("\n  ".join(["what the page did before:", *visit.wrong]), file=sys.stderr)
                            raise
                    visit.close()
        print("  keys", flush=True)
        keys(browser, world, axe)
        print("  indexes", flush=True)

        def shot(page, size, name):
            if given.screenshots:
                page.screenshot(path=given.screenshots / f"{size}-index-{name}.png")

        indexes(browser, world, axe, shot)
        print("  base map", flush=True)
        basemaps(browser, world, axe)
        browser.close()
    print("the page holds" + ("" if axe else ", but accessibility was NOT checked"))


if __name__ == "__main__":
    main()
