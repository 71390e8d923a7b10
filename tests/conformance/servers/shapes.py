"""The models that every server of the scoreboard serves: each gives back what it gets. {model: [(name, datatype, shape), ...]}

Whole has every datatype that JSON and typed contents can carry; halves has the one that only binary data is sure to.
"""
PLAIN = ("FP32", "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP64", "BYTES")
MODELS = {"Whole": [(f"x_{each}", each, [-1, 4 if each == "FP32" else 3]) for each in PLAIN], "Halves": [("x_FP16", "FP16", [-1, 3])]}
