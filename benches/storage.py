#!/usr/bin/env python3
"""What narrow features save: the processor's time of an evaluation of cross-entropy within `softmargin train`, on one
thread, of X in u8 and f16 beside f32, and the memory that it takes at most.

    cargo build --release
    python3 benches/storage.py        (needs NumPy)

An evaluation is what more iterations take, divided by how many evaluations they are. Runs of all types alternate, and
the least time of each counts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROGRAM = Path(__file__).resolve().parents[1] / "target/release/softmargin"
# Samples, features, classes.
SHAPES = {"images": (60_000, 784, 10), "binary": (1_000_000, 32, 2)}

# Runs a command and prints its peak in KiB, its seconds of the processor, and the evaluations. In a process of its own,
# as the peak of a child is at least what its parent has.
MEASURE = """
import json, resource, subprocess, sys
fit = json.loads(subprocess.run(sys.argv[1:], check=True, capture_output=True).stdout)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([usage.ru_maxrss, usage.ru_utime + usage.ru_stime, fit["evaluations"]]))
"""


def measure(program, files, iterations):
    command = [program, "train", "--json", "--threads", "1", *files, "--max-iter", str(iterations)]
    command += ["--gradient-tolerance", "0", "--relative-decrease", "0"]
    result = subprocess.run([sys.executable, "-c", MEASURE, *command], check=True, stdout=subprocess.PIPE)
    return json.loads(result.stdout)


def write(folder, n, d, c):
    """The files of each type, and the bytes of a value: pixels, of which those of a class have a brightness."""
    random = np.random.default_rng(1)
    labels = random.integers(0, c, n).astype(np.uint8)
    pixels = random.integers(0, 200, (n, d), dtype=np.uint8) + 5 * labels[:, None]
    np.save(folder / "labels.npy", labels)
    labels = ["--labels", folder / "labels.npy"]
    (folder / "u8.idx").write_bytes(bytes([0, 0, 8, 3]) + np.array([n, 1, d], ">u4").tobytes() + pixels.tobytes())
    yield "u8, IDX", 1, ["--data", folder / "u8.idx", *labels]
    arrays = {"u8": pixels, "f16": (pixels / np.float32(255)).astype(np.float16), "f32": pixels / np.float32(255)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
        scale = ["--scale", "0.00392157"] if name == "u8" else []
        yield f"{name}, NPY", array.itemsize, ["--data", folder / f"{name}.npy", *labels, *scale]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", default=PROGRAM, help="softmargin (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each type (default: %(default)s)")
    arguments = parser.parse_args()
    print("| shape | file | an evaluation | of that in f32 | data | at most in memory | beside the data |")
    print("|---|---|--:|--:|--:|--:|--:|", flush=True)
    for shape, sizes in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            types = list(write(Path(folder), *sizes))
            least, most = {}, {}
            for _ in range(arguments.rounds):
                for name, _, files in types:
                    _, short, few = measure(arguments.program, files, 5)
                    most[name], long, many = measure(arguments.program, files, 35)
                    time = (long - short) / (many - few)
                    print(shape, name, many - few, f"{1e3 * time:.2f} ms", file=sys.stderr)
                    least[name] = min(least.get(name, time), time)
        for name, size, _ in types:
            data, peak = size * sizes[0] * sizes[1] / 2**20, most[name] / 2**10
            times = f"{1e3 * least[name]:.1f} ms | {least[name] / least['f32, NPY']:.2f} ×"
            print(
                f"| {shape} | {name} | {times} | {data:.0f} MiB | {peak:.0f} MiB | {peak - data:.0f} MiB |", flush=True
            )


if __name__ == "__main__":
    main()
