"""A learned router, as stock FAISS uses it, and `evaluate` against NumPy."""

import json

import faiss
import numpy as np

from support import FEATURES, LakeTest, example

NLIST, K = 32, 10


class LearnedRouter(LakeTest):
    """One lake with the same lists ranked by centroids and by a router."""

    def setUp(self) -> None:
        super().setUp()
        self.lake = self.new_lake()
        self.lake.add_examples(self.serve(FEATURES).url)
        self.lake.run("sync")
        for name, *options in (
                ("plain", "--router", "none"), ("routed", "--captions", "captions", "--router", "learned")):
            self.lake.run(
                "train", name, "--images", "images", "--method", "kmeans", "--nlist", NLIST, "--codec", "flat", *options)
            self.lake.run("build", name, "--trained", name, "--images", "images")
        self.queries = np.load(FEATURES / "queries.npy").astype(np.float32)

    def open(self, name: str):
        (path,) = self.lake.outputs(f"{name}@1")
        return faiss.read_index(str(path))

    def test_lists_stay_and_the_quantizer_is_the_router(self) -> None:
        plain, routed = self.open("plain"), self.open("routed")
        for number in range(NLIST):
            lists = [
                faiss.rev_swig_ptr(index.invlists.get_ids(number), index.invlists.list_size(number)).copy()
                if index.invlists.list_size(number) else np.empty(0, np.int64) for index in (plain, routed)]
            np.testing.assert_array_equal(*lists, f"list {number}")
        rows = [index.quantizer.reconstruct_n(0, NLIST) for index in (plain, routed)]
        self.assertFalse(np.array_equal(*rows))
        trained = faiss.read_index(str(self.lake.trained_path("routed")))
        np.testing.assert_array_equal(trained.quantizer.reconstruct_n(0, NLIST), rows[1])
        self.assertEqual(trained.ntotal, 0)
        # What follows the index in the file is the assigner: the plain centroids.
        tail = self.lake.trained_path("routed").read_bytes()[-(16 + rows[0].nbytes):]
        self.assertEqual(tail[:8], b"tarnasgn")
        np.testing.assert_array_equal(np.frombuffer(tail[16:], np.float32).reshape(rows[0].shape), rows[0])

    def test_evaluate_counts_what_numpy_and_faiss_count(self) -> None:
        images = example("img_emb")
        scores = self.queries.astype(np.float64) @ images.T
        truth = np.lexsort((np.broadcast_to(np.arange(len(images)), scores.shape), -scores))[:, :K]
        answer = json.loads(self.lake.run(
            "evaluate", "plain@1", "routed@1", "--queries", FEATURES / "queries.npy", "-k", K, "--nprobe", "1,4", "--json"))
        for name, evaluation in zip(("plain", "routed"), answer["evaluations"]):
            index = self.open(name)
            for point in evaluation["points"]:
                index.nprobe = point["nprobe"]
                faiss.cvar.indexIVF_stats.reset()
                _, ids = index.search(self.queries, K)
                scanned = faiss.cvar.indexIVF_stats.ndis / len(self.queries)
                found = np.mean([len(set(a) & set(b)) / K for a, b in zip(ids, truth)])
                recall = point["recalls"][-1]
                self.assertEqual(recall["k"], K)
                # Float32 near-ties may rank either way.
                self.assertAlmostEqual(recall["recall"], found, delta=2e-3)
                self.assertAlmostEqual(recall["recall"], recall["routing_recall"], delta=2e-3)
                self.assertAlmostEqual(point["vectors_scanned"], scanned, delta=0.002 * scanned)

    def test_the_router_finds_more_at_fewer_vectors(self) -> None:
        answer = json.loads(self.lake.run(
            "evaluate", "plain@1", "routed@1", "--queries", FEATURES / "queries.npy", "-k", K, "--nprobe", "1,2,3,4",
            "--json"))
        curves = [
            ([0] + [p["share_scanned"] for p in e["points"]], [0] + [p["recalls"][-1]["recall"] for p in e["points"]])
            for e in answer["evaluations"]]
        plain, routed = (np.interp(0.06, *curve) for curve in curves)
        self.assertGreater(routed, plain)
