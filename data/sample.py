#!/usr/bin/env python3
"""Draws the sample of Fashion-MNIST in this folder from the whole of it.

usage: sample.py FOLDER, where FOLDER has the four gzipped IDX files of Fashion-MNIST, such as
/usr/share/datasets/fashion-mnist of Debian's package dataset-fashion-mnist.

Takes the first 200 training and the first 50 test images of each class, in the order of the files.
"""

import gzip
import os
import struct
import sys

CLASSES = 10
HERE = os.path.dirname(os.path.abspath(__file__))


def sample(source, part, per_class):
    with gzip.open(os.path.join(source, f"{part}-images-idx3-ubyte.gz")) as file:
        magic, count, rows, columns = struct.unpack(">IIII", file.read(16))
        pixels = file.read()
    with gzip.open(os.path.join(source, f"{part}-labels-idx1-ubyte.gz")) as file:
        file.read(8)
        labels = file.read()
    assert magic == 0x803 and len(labels) == count and len(pixels) == count * rows * columns

    taken, chosen = [0] * CLASSES, []
    for i, label in enumerate(labels):
        if taken[label] < per_class:
            taken[label] += 1
            chosen.append(i)

    size = rows * columns
    images = b"".join(pixels[i * size : (i + 1) * size] for i in chosen)
    write(f"{part}-images-idx3-ubyte.gz", struct.pack(">IIII", 0x803, len(chosen), rows, columns) + images)
    write(f"{part}-labels-idx1-ubyte.gz", struct.pack(">II", 0x801, len(chosen)) + bytes(labels[i] for i in chosen))


def write(name, data):
    # Without a time or a name in the header, the same sample is the same file.
    with open(os.path.join(HERE, name), "wb") as raw:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=raw, mtime=0) as file:
            file.write(data)


if __name__ == "__main__":
    sample(sys.argv[1], "train", 200)
    sample(sys.argv[1], "t10k", 50)
