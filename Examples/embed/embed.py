#!/usr/bin/env python3
"""Features of the lines of a text file, as one shard: a command for a `command:` mirror.

    embed.py INPUT OUTPUT [--column N] [--dimension D] [--model NAME]

Each line of INPUT is one row; of lines with tabs, --column says which part. OUTPUT is a
.npy of float16, rows of unit length. Without --model a row is made of the text's n-grams,
hashed: no package beyond Python's own is needed, and the same text gives the same bytes
everywhere. With --model it is what that model of the package `model2vec` gives.
"""

import argparse
import os
import sys

# The rows are those that the encoder beside this directory makes of words: whoever searches encodes as they were made.
sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "encoders"))
from ngrams import hashed, npy, unit  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--column", type=int, default=-1)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--model")
    arguments = parser.parse_args()

    with open(arguments.input, encoding="utf-8") as file:
        texts = [line.rstrip("\n").split("\t")[arguments.column] for line in file]
    if arguments.model:
        try:
            from model2vec import StaticModel
        except ImportError:
            print("embed: --model needs the package model2vec: pip install model2vec", file=sys.stderr)
            return 1
        model = StaticModel.from_pretrained(arguments.model)
        rows = [unit([float(value) for value in row]) for row in model.encode(texts)]
    else:
        rows = [hashed(text, arguments.dimension) for text in texts]

    temporary = arguments.output + ".tmp"
    with open(temporary, "wb") as file:
        file.write(npy(rows, len(rows[0]) if rows else arguments.dimension))
    os.replace(temporary, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
