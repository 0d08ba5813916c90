#!/usr/bin/python3
"""usage: read.py PROBABILITIES.npy KEYS.txt: greedy CTC decoding of PP-OCR recognition's output.

[1, T, classes] -> text: class 0 is blank, repeats are merged, class k is line k of the keys, the last class a space.
"""
import sys

import numpy as np


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    best = np.load(sys.argv[1])[0].argmax(axis=1)
    with open(sys.argv[2], encoding="utf-8") as f:
        keys = [""] + [line.rstrip("\n") for line in f] + [" "]
    merged = [k for i, k in enumerate(best) if k != 0 and (i == 0 or k != best[i - 1])]
    print("".join(keys[k] for k in merged))


main()
