"""Writes this folder's MATLAB files as scipy writes them.

Run: python dbstruct.py   (scipy 1.17.1, numpy 2.4.6)
The structure has the fields of the Pittsburgh and Tokyo sets; names and coordinates are synthetic.
"""

import pathlib

import numpy
from scipy.io import savemat

HERE = pathlib.Path(__file__).parent


def cells(names):
    out = numpy.empty((len(names), 1), dtype=object)
    out[:, 0] = names
    return out


def struct(**changes):
    fields = dict(
        whichSet="test",
        dbImageFns=cells(["000/a_pitch1_yaw1.jpg", "000/b_pitch1_yaw1.jpg", "001/c_pitch2_yaw24.jpg"]),
        utmDb=numpy.array([[585000.5, 585010.0, 585100.0], [4477000.25, 4477000.0, 4477000.0]]),
        qImageFns=cells(["000/q_pitch1_yaw1.jpg"]),
        utmQ=numpy.array([[585001.0], [4477001.0]]),
        numImages=3,
        numQueries=1,
        posDistThr=25,
        posDistSqThr=625,
    )
    fields.update(changes)
    return {"dbStruct": {k: v for k, v in fields.items() if v is not None}}


for name, compressed in [("pitts_plain.mat", False), ("pitts_packed.mat", True)]:
    savemat(HERE / name, struct(), do_compression=compressed)
savemat(HERE / "pitts_no_queries.mat", struct(qImageFns=None), do_compression=True)
savemat(HERE / "pitts_short.mat", struct(utmDb=numpy.zeros((2, 2))), do_compression=True)
savemat(HERE / "numbers.mat", {"x": numpy.arange(6.0).reshape(2, 3), "s": "ä text", "z": 1 + 2j})
