"""What peers with batching are told: rows at most, and how long a row waits for company.

Where waiting is a setting (LitServe, Ray Serve, MLServer), 2 ms of an objective of 20 are spent on it. A model that does
nothing gains nothing by batches, so the no-op goes one by one wherever that can be said.
"""

BATCH = {"noop": 1, "svm": 128, "forest": 128, "cnn": 128}
WAIT_SECONDS = 0.002
