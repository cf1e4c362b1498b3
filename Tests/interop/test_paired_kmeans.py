"""Paired k-means against a straight transcription of the paper's Algorithm 1.

The transcription (arXiv 2402.04416, Algorithm 1, in binary64 NumPy) shares nothing
with tarn but the rules a paper leaves open: how the seed draws the first centroids,
and what becomes of an empty cell.
"""

import faiss
import numpy as np

from support import FEATURES, NLIST, LakeTest, example

ITERATIONS, SEED = 10, 1
MASK = (1 << 64) - 1


def splitmix64(seed: int):
    """The draws of SplitMix64 (Steele, Lea, Flood 2014)."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def nearest_images(captions: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The row of the image with the greatest inner product, for every caption.

    Products of two float16 numbers are multiples of 2⁻⁴⁸ and sums of them stay below
    2⁵ here, so binary64 adds them without rounding, in any order: ties are true ties,
    and argmax takes the lowest row.
    """
    return np.argmax(captions @ images.T, axis=1)


def first_centroid_rows(nearest: np.ndarray, nlist: int, seed: int) -> np.ndarray:
    """`nlist` distinct nearest-image rows: the head of a Fisher-Yates shuffle."""
    rows = np.unique(nearest)
    draws = splitmix64(seed)
    for i in range(nlist):
        j = i + (next(draws) * (len(rows) - i) >> 64)
        rows[i], rows[j] = rows[j], rows[i]
    return rows[:nlist]


def stored(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length as a trained index holds them: rounded to binary32."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / lengths).astype(np.float32).astype(np.float64)


def split_into_empty_cells(centroids: np.ndarray, counts: np.ndarray) -> None:
    """Gives each empty cell, in order, half of the most populous one.

    Both halves are the old centroid, tilted by one part in 1,024: even elements of the
    new one up and odd ones down, and the other way round for the old one.
    """
    counts = counts.copy()
    tilt = np.where(np.arange(centroids.shape[1]) % 2 == 0, 1, -1) / 1024
    for cell in np.flatnonzero(counts == 0):
        big = np.argmax(counts)
        old = centroids[big].copy()
        centroids[cell], centroids[big] = stored(old * (1 + tilt)), stored(old * (1 - tilt))
        counts[cell] = counts[big] // 2
        counts[big] -= counts[cell]


def paired_kmeans(images: np.ndarray, captions: np.ndarray, nlist: int) -> tuple[np.ndarray, int]:
    """Centroids `[nlist × dimension]` of Algorithm 1, and how often a cell was empty."""
    nearest = nearest_images(captions, images)
    queries = images[nearest]
    centroids = stored(images[first_centroid_rows(nearest, nlist, SEED)])
    empty = 0
    for _ in range(ITERATIONS):
        cells = np.argmax(queries @ centroids.T, axis=1)
        counts = np.bincount(cells, minlength=nlist)
        for cell in np.flatnonzero(counts):
            centroids[cell] = stored(captions[cells == cell].mean(axis=0))
        empty += np.count_nonzero(counts == 0)
        split_into_empty_cells(centroids, counts)
    return centroids, empty


class PairedKMeans(LakeTest):
    """What `tarn train` writes is what the algorithm says."""

    def setUp(self) -> None:
        super().setUp()
        self.lake = self.new_lake()
        self.lake.add_examples(self.serve(FEATURES).url)
        self.lake.run("sync")

    def trained_centroids(self, nlist: int) -> np.ndarray:
        self.lake.run(
            "train", "clip", "--images", "images", "--captions", "captions", "--nlist", nlist,
            "--iterations", ITERATIONS, "--seed", SEED)
        index = faiss.read_index(str(self.lake.trained_path("clip")))
        self.assertEqual((index.ntotal, index.nlist), (0, nlist), "a trained index holds lists and no vectors")
        return index.quantizer.reconstruct_n(0, nlist).astype(np.float64)

    def assert_agree(self, trained: np.ndarray, expected: np.ndarray) -> None:
        self.assertEqual(trained.shape, expected.shape)
        # One unit in the last place of binary32, below 1: the sums in binary64 may
        # differ in their last bits and then round to either neighbour.
        np.testing.assert_allclose(trained, expected, rtol=0, atol=2.0**-24)

    def test_every_centroid_agrees_with_algorithm_1(self) -> None:
        expected, empty = paired_kmeans(example("img_emb"), example("text_emb"), NLIST)
        self.assertEqual(empty, 0)
        self.assert_agree(self.trained_centroids(NLIST), expected)

    def test_every_centroid_agrees_where_cells_run_empty(self) -> None:
        nlist = 512
        expected, empty = paired_kmeans(example("img_emb"), example("text_emb"), nlist)
        self.assertGreater(empty, 0, "this case is for empty cells")
        self.assert_agree(self.trained_centroids(nlist), expected)

    def test_the_centroids_are_captions_and_not_images(self) -> None:
        trained = self.trained_centroids(NLIST)
        images, captions = example("img_emb").mean(axis=0), example("text_emb").mean(axis=0)
        self.assertTrue((trained @ captions > trained @ images).all())
