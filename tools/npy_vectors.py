#!/usr/bin/python3
"""Writes tests/vectors/npy: files as NumPy itself writes them."""
import os
import numpy as np
from numpy.lib import format as npy

OUT = os.path.join(os.path.dirname(__file__), "..", "tests", "vectors", "npy")


def put(name, array, version=None):
    with open(os.path.join(OUT, name + ".npy"), "wb") as f:
        npy.write_array(f, array, version=version)


os.makedirs(OUT, exist_ok=True)
for d in "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8".split():
    put(d, (np.arange(6) - (3 if d[0] != "u" else 0)).astype(d).reshape(2, 3))
put("b1", np.array([True, False, True]))
put("scalar", np.array(2.5, "f4"))
put("empty", np.zeros((0, 4), "f4"))
put("v2", np.arange(4, dtype="i4"), (2, 0))
put("v3", np.arange(4, dtype="i4"), (3, 0))
put("fortran", np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)))
put("big_endian", np.arange(3, dtype=">f4"))
put("rank9", np.zeros((1,) * 9, "f4"))
put("complex", np.zeros(2, "c8"))
put("struct", np.zeros(2, np.dtype([("a", "<f4")])))
