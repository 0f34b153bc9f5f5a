"""Lists for `r2former eval pairs` of photographs that the shipped model was not trained on.

    python holdout.py DATA OUT

DATA holds `webcams` and `landmarks` (one folder per place). OUT gets, for each, `database.txt`, `queries.txt` and
`positives.csv`:

- webcams: queries are the darkest quarter of each held-out camera's photographs (mean grey), the database is the
  brighter half of the same cameras and everything of the others;
- landmarks: queries are every fourth photograph of each held-out landmark, the database is everything else.

A reference is a positive if it shows the query's camera or landmark.
"""

import csv
import pathlib
import sys

from PIL import Image, ImageStat

HELD = {
    "webcams": ["00003837", "00008575", "00010888", "00021510"],
    "landmarks": ["milan_cathedral", "st_pauls_cathedral"],
}
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def photos(folder):
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)


def grey(path):
    with Image.open(path) as image:
        return ImageStat.Stat(image.convert("L")).mean[0]


def main():
    data, out = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
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
        folder = out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, files in [("database", database), ("queries", queries)]:
            (folder / f"{name}.txt").write_text("".join(f"{f}\n" for f in files))
        with open(folder / "positives.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["query", "reference"])
            table.writerows((q, r) for q in queries for r in database if q.parent == r.parent)
        print(f"{kind}: {len(queries)} queries, {len(database)} in the database")


main()
