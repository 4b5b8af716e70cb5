"""Seconds of an evaluation on many nodes, on paper: what SCALING.md says of machines that nobody here has.

Follows one evaluation of `mpirun softmargin train` with one rank a node: the model goes out from rank 0, each rank sums up
its chunks, and the sums come back in pairs, pairs of pairs and so on. Every number of bytes and messages is counted as
the program sends them; how fast a node computes and adds up, and how fast the wire is, is given below.

usage: scaling.py [ROWS FEATURES CLASSES]     by default a hundred ImageNets
"""

import sys

# A core of the machine of RESULTS.md (Zen 5) at 20000 × 1024 × 1000, and what one of its sockets may read.
FLOPS_OF_CORE = 216e9
CORES = 64
MEMORY = 400e9
# Adding one node of the tree to another reads both and writes one, in f64.
ADDITION = 24 / 8

BYTES_OF_FEATURE = 2
LATENCY = 20e-6
# The program looks for a message every so many seconds.
NAP = 50e-6


def chunks_of(n):
    rows = min(max(-(-n // 256), 2048), 8192)
    return rows, -(-n // rows)


def nodes(first, last):
    """The nodes of the tree over the chunks first..last, as (first chunk, chunks): the largest that there are."""
    found = []
    while first < last:
        size = first & -first or 1 << last.bit_length()
        while first + size > last:
            size //= 2
        found.append((first, size))
        first += size
    return found


def evaluation(n, d, c, ranks, wire):
    """Seconds until rank 0 has the model at all ranks, until the slowest has its sums, and until rank 0 has them all."""
    rows, chunks = chunks_of(n)
    model, node = 4 * c * (d + 1), 8 * (c * d + c + 2)
    rounds = (ranks - 1).bit_length()
    sent = rounds * (LATENCY + NAP + model / wire)

    ready = []
    for rank in range(ranks):
        own = (rank + 1) * chunks // ranks - rank * chunks // ranks
        flops = 4 * own * rows * d * c / (FLOPS_OF_CORE * CORES)
        read = own * rows * d * BYTES_OF_FEATURE / MEMORY
        # The threads' sums in f32, and their total into the tree.
        joined = own * (4 * c * d * CORES + ADDITION * node) / MEMORY
        ready.append(sent + max(flops, read) + joined)
    summed = max(ready)

    step = 1
    while step < ranks:
        for rank in range(0, ranks - step, 2 * step):
            bounds = [min(rank + i * step, ranks) * chunks // ranks for i in range(3)]
            theirs = nodes(bounds[1], bounds[2])
            before = len(nodes(bounds[0], bounds[1])) + len(theirs)
            additions = before - len(nodes(bounds[0], bounds[2]))
            begun = max(ready[rank], ready[rank + step]) + NAP
            ready[rank] = begun + len(theirs) * (LATENCY + node / wire) + additions * ADDITION * node / MEMORY
        step *= 2
    return sent, summed, ready[0]


N, D, C = map(int, sys.argv[1:4]) if len(sys.argv) > 3 else (128_116_700, 1024, 1000)
print(f"{N} × {D} × {C}, f16, {CORES} cores a node: seconds of an evaluation\n")
print("| nodes | computing | 10 Gbit/s | of it useful | 100 Gbit/s | of it useful |\n|--:|--:|--:|--:|--:|--:|")
alone = evaluation(N, D, C, 1, 1)[2]
for ranks in (1, 4, 16, 64, 128, 256, 512, 1024, 4096):
    row = []
    for wire in (1.25e9, 12.5e9):
        sent, summed, total = evaluation(N, D, C, ranks, wire)
        row += [f"{total:.3f}", f"{alone / ranks / total:.2f}"]
    print(f"| {ranks} | {summed - sent:.3f} | " + " | ".join(row) + " |")
