"""Prints sets of features, one on each line. For any two features that do not imply one another, one set has the first without the
second: code that needs a feature which it does not enable fails with one of few sets, instead of one set for each feature."""

import itertools
import math
import pathlib
import tomllib

MANIFEST = pathlib.Path(__file__).parent.parent / "Cargo.toml"

features = sorted(tomllib.loads(MANIFEST.read_text())["features"].keys() - {"default"})
size = next(size for size in itertools.count(2) if math.comb(size, size // 2) >= len(features))
# No code contains another one, because all have the same length and differ.
codes = dict(zip(features, itertools.combinations(range(size), size // 2)))
for place in range(size):
    print(",".join(feature for feature in features if place in codes[feature]))
