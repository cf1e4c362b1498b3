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


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def paired_kmeans(images: np.ndarray, captions: np.ndarray, nlist: int, iterations: int, seed: int) -> np.ndarray:
    """Centroids `[nlist × dimension]` of Algorithm 1, unit length."""
    nearest = nearest_images(captions, images)
    queries = images[nearest]
    centroids = unit(images[first_centroid_rows(nearest, nlist, seed)])
    for _ in range(iterations):
        cells = np.argmax(queries @ centroids.T, axis=1)
        for cell in range(nlist):
            members = np.flatnonzero(cells == cell)
            assert len(members) > 0, "this data leaves no cell empty"
            centroids[cell] = captions[members].mean(axis=0)
        centroids = unit(centroids)
    return centroids


class PairedKMeans(LakeTest):
    """What `tarn train` writes is what the algorithm says."""

    def trained_centroids(self, *options: object) -> np.ndarray:
        lake = self.new_lake()
        lake.add_examples(self.serve(FEATURES).url)
        lake.run("sync")
        lake.train("clip", *options)
        index = faiss.read_index(str(lake.trained_path("clip")))
        self.assertEqual(index.ntotal, 0, "a trained index holds no vectors")
        return index.quantizer.reconstruct_n(0, index.nlist).astype(np.float64)

    def test_every_centroid_agrees_with_algorithm_1(self) -> None:
        expected = paired_kmeans(example("img_emb"), example("text_emb"), NLIST, ITERATIONS, SEED)
        trained = self.trained_centroids()
        self.assertEqual(trained.shape, expected.shape)
        # Half a unit in the last place of binary32 at 1, and a little for the sums.
        np.testing.assert_allclose(trained, expected, rtol=0, atol=1e-7)
        np.testing.assert_allclose(np.linalg.norm(trained, axis=1), 1, rtol=0, atol=1e-6)

    def test_the_centroids_are_captions_and_not_images(self) -> None:
        trained = self.trained_centroids()
        images, captions = example("img_emb").mean(axis=0), example("text_emb").mean(axis=0)
        self.assertTrue((trained @ captions > trained @ images).all())
