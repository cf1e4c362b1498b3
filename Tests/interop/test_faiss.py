"""The output shards, opened and searched by FAISS as PyPI ships it."""

import faiss
import numpy as np

from support import DIMENSION, FEATURES, NLIST, LakeTest, example

K, NPROBE = 10, 8
# FAISS decodes and adds in binary32, in an order that its version and the CPU
# decide. Scores are at most 1.
TOLERANCE = 2e-6


def merged(indexes: list, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best K of all shards for each query: scores and ids, best first."""
    scores, ids = zip(*(index.search(queries, K) for index in indexes))
    scores, ids = np.hstack(scores), np.hstack(ids)
    order = np.lexsort((ids, -scores))[:, :K]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


class StockFaiss(LakeTest):
    """FAISS and tarn read the same files alike."""

    def setUp(self) -> None:
        super().setUp()
        self.lake = self.built_lake(self.serve(FEATURES).url)
        self.queries = np.load(FEATURES / "queries.npy").astype(np.float32)
        self.lake.run(
            "search", "clips@1", "--queries", FEATURES / "queries.npy", "-k", K, "--nprobe", NPROBE,
            "--output", self.scratch / "answers")
        self.ids = np.load(self.scratch / "answers.ids.npy")
        self.scores = np.load(self.scratch / "answers.scores.npy")

    def open(self, flags: int = 0) -> list:
        indexes = [faiss.read_index(str(path), flags) for path in self.lake.outputs("clips@1")]
        for index in indexes:
            index.nprobe = NPROBE
        return indexes

    def assert_same_neighbours(self, indexes: list) -> None:
        scores, ids = merged(indexes, self.queries)
        np.testing.assert_allclose(self.scores, scores, rtol=0, atol=TOLERANCE)
        # Neighbours whose scores FAISS cannot tell apart may stand in either order,
        # and at the end of the list either may be the one left out.
        for query, (ours, theirs, score) in enumerate(zip(self.ids, ids, scores)):
            clear = score > score[-1] + 2 * TOLERANCE
            self.assertEqual(set(theirs[clear]) - set(ours), set(), f"query {query}")
            apart = np.flatnonzero(np.diff(score) < -2 * TOLERANCE) + 1
            for ours_tied, theirs_tied in list(zip(np.split(ours, apart), np.split(theirs, apart)))[:-1]:
                self.assertEqual(set(ours_tied), set(theirs_tied), f"query {query}")

    def test_search_gives_the_neighbours_and_scores_that_faiss_gives(self) -> None:
        self.assertEqual((self.ids.shape, self.ids.dtype), ((len(self.queries), K), np.int64))
        self.assertEqual((self.scores.shape, self.scores.dtype), ((len(self.queries), K), np.float32))
        self.assertTrue((self.ids >= 0).all())
        self.assertGreater(len(np.unique(self.ids)), 500, "the answers hardly vary")
        self.assert_same_neighbours(self.open())

    def test_a_memory_mapped_file_gives_the_same_neighbours(self) -> None:
        self.assert_same_neighbours(self.open(faiss.IO_FLAG_MMAP))

    def test_the_files_are_what_the_design_says(self) -> None:
        indexes = self.open()
        self.assertEqual(len(indexes), 3)
        for index in indexes:
            self.assertIsInstance(index, faiss.IndexIVFScalarQuantizer)
            self.assertEqual((index.d, index.nlist), (DIMENSION, NLIST))
            self.assertEqual(index.metric_type, faiss.METRIC_INNER_PRODUCT)
            self.assertEqual(index.sq.qtype, faiss.ScalarQuantizer.QT_4bit)
            self.assertFalse(index.by_residual)
            self.assertIsInstance(faiss.downcast_index(index.quantizer), faiss.IndexFlatIP)

    def test_every_row_is_filed_once_under_its_global_id(self) -> None:
        images = example("img_emb")
        shard_rows = [len(np.load(path)) for path in sorted((FEATURES / "img_emb").glob("*.npy"))]
        first_ids = np.concatenate([[0], np.cumsum(shard_rows)])
        for ordinal, index in enumerate(self.open()):
            lists = index.invlists
            ids = np.concatenate([
                faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy() for i in range(index.nlist)])
            expected = np.arange(first_ids[2 * ordinal], first_ids[2 * ordinal + 2])
            np.testing.assert_array_equal(np.sort(ids), expected)
            self.assertEqual(index.ntotal, len(expected))
            # What is decoded under an id is nearer to that row than to any other.
            index.set_direct_map_type(faiss.DirectMap.Hashtable)
            for row in expected[::40]:
                decoded = index.reconstruct(int(row)).astype(np.float64)
                nearest = np.linalg.norm(images - decoded, axis=1)
                self.assertLessEqual(nearest[row], nearest.min() + 1e-12, f"row {row}")

    def test_every_row_is_in_the_list_of_its_nearest_centroid(self) -> None:
        images = example("img_emb")
        for index in self.open():
            centroids = index.quantizer.reconstruct_n(0, index.nlist).astype(np.float64)
            for number in range(index.nlist):
                ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), index.invlists.list_size(number))
                if len(ids) == 0:
                    continue
                scores = images[ids] @ centroids.T
                self.assertTrue((scores[:, number] >= scores.max(axis=1) - 1e-12).all(), f"list {number}")
