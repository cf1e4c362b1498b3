-- v_trained_index says how the nearest images of captions were found, and a router may be
-- held to the centroids: a name of another method, so that no older tarn trains one as it
-- knows how.

INSERT INTO router_method VALUES ('anchored');
