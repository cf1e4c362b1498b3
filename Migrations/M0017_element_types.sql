-- Element types that convert to float32: exactly, but for float64, which is rounded once.
INSERT INTO dtype VALUES ('float64', 8), ('bfloat16', 2), ('uint8', 1), ('int8', 1);
