"""Real text for sparse features: the 117659 glosses of WordNet 3.0, a definition and perhaps an example each, and
which of the lexicographers' 45 files each is in (nouns of food, verbs of motion, …), from /usr/share/wordnet, where
Debian's package wordnet-base has it. WordNet's own licence lets anyone use and copy it; nothing of it is in this
repository."""

import re
from pathlib import Path

import numpy as np

FOLDER = Path("/usr/share/wordnet")


def glosses():
    """The glosses, and the number of the file of each."""
    texts, files = [], []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (FOLDER / f"data.{part}").read_text().splitlines():
            # offset file part words … | gloss; the licence, at the head, is indented.
            if entry := re.match(r"\d+ (\d\d) .*? \| (.*)", line):
                files.append(int(entry[1]))
                texts.append(entry[2])
    return texts, np.array(files)
