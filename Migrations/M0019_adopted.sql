-- What FAISS made elsewhere and was adopted. The files it came from are the shards of a source
-- of a modality of its own: pinned by their digests, never fetched, their rows never read.

INSERT INTO modality VALUES ('index');

-- Nobody knows what a trained index was made from that was adopted: its seed, iterations and
-- pairs are the least that the table takes.
INSERT INTO training_method VALUES ('adopted', 0);
