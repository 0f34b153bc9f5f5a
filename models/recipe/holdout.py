"""Lists for `r2former eval pairs` of photographs that the shipped model was not trained on.

    python holdout.py DATA OUT

DATA holds `webcams` and `landmarks` (one folder per place). OUT gets, for each, `database.txt`, `queries.txt` and
`positives.csv`:

- webcams: queries are the darkest quarter of each held-out camera's photographs (mean grey), the database is the
  brighter half of the same cameras and everything of the others;
- landmarks: queries are every fourth photograph of each held-out landmark, the database is everything else.

A reference is a positive if it shows the query's camera or landmark. `OUT/aside` has the webcams' queries once more, cropped to
between 55 and 85 % of their sides and seen from aside (each corner moved by up to 12 % of the crop's sides), with the same database.

`OUT/fit.txt` lists what the global descriptor is fitted to: what is left of the webcams' brighter halves and of the landmarks, and of
DATA's `cambridge` one view of each panorama west of the part that is held out.
"""

import csv
import pathlib
import random
import sys

from PIL import Image, ImageStat

HELD = {
    "webcams": ["00003837", "00008575", "00010888", "00021510"],
    "landmarks": ["milan_cathedral", "st_pauls_cathedral"],
}
# Longitude up to which Cambridge was trained on.
WEST_OF = 0.12132915
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def photos(folder):
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)


def grey(path):
    with Image.open(path) as image:
        return ImageStat.Stat(image.convert("L")).mean[0]


def street_views(folder):
    with open(folder / "panoramas.csv", newline="") as file:
        west = [row["id"] for row in csv.DictReader(file) if float(row["lon"]) < WEST_OF]
    random.seed(0)
    return [random.choice([folder / "tiles" / f"{panorama}_{tile}.jpg" for tile in range(4)]) for panorama in west]


def write_lists(folder, database, queries, place):
    """`place` says of a photograph what it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, files in [("database", database), ("queries", queries)]:
        (folder / f"{name}.txt").write_text("".join(f"{f}\n" for f in files))
    with open(folder / "positives.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["query", "reference"])
        table.writerows((q, r) for q in queries for r in database if place(q) == place(r))


def from_aside(files, out):
    random.seed(0)
    seen = []
    for file in files:
        with Image.open(file) as image:
            image = image.convert("RGB")
        scale = random.uniform(0.55, 0.85)
        width, height = round(image.width * scale), round(image.height * scale)
        left, top = random.randint(0, image.width - width), random.randint(0, image.height - height)
        quad = []
        for x, y in [(0, 0), (0, 1), (1, 1), (1, 0)]:
            for side, at, start, whole in [(width, x, left, image.width), (height, y, top, image.height)]:
                quad.append(min(max(start + side * (at + random.uniform(-0.12, 0.12)), 0), whole))
        path = out / file.parent.name / f"{file.stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        # `QUAD` is bilinear between the corners, near enough to a view from aside.
        image.transform((width, height), Image.Transform.QUAD, quad, Image.Resampling.BICUBIC).save(path, quality=90)
        seen.append(path.resolve())
    return seen


def main():
    data, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    fit = []
    for kind, held in HELD.items():
        database, queries = [], []
        for folder in sorted(p for p in (data / kind).iterdir() if p.is_dir()):
            files = photos(folder)
            if folder.name not in held:
                database += files
            elif kind == "webcams":
                files.sort(key=grey)
                queries += files[: len(files) // 4]
                database += files[len(files) // 2 :]
            else:
                queries += files[::4]
                database += [f for i, f in enumerate(files) if i % 4]
        write_lists(out / kind, database, queries, lambda file: file.parent.name)
        if kind == "webcams":
            aside = from_aside(queries, out / "aside" / "photographs")
            write_lists(out / "aside", database, aside, lambda file: file.parent.name)
        fit += [f for f in database if f.parent.name not in held]
        print(f"{kind}: {len(queries)} queries, {len(database)} in the database")
    fit += street_views(data / "cambridge")
    (out / "fit.txt").write_text("".join(f"{f}\n" for f in fit))
    print(f"{len(fit)} photographs to fit a global descriptor to")


main()
