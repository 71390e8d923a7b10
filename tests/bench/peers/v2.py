"""The Open Inference Protocol, version 2, in JSON: what MLServer and Triton speak."""


def body(row, name="x"):
    return {"inputs": [{"name": name, "shape": [1, len(row)], "datatype": "FP32", "data": row}]}


def data(answer, separator=","):
    values = answer if isinstance(answer, list) else [answer]
    return f'"data":[{separator.join(str(value) for value in values)}]'
