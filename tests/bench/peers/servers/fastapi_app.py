"""The plain FastAPI app. One row a request; the quick call is made in the event loop, for a thread would cost more."""
import numpy
from bench_model import load_from_environment
from fastapi import FastAPI
from pydantic import BaseModel

predict = load_from_environment()
app = FastAPI()


class Row(BaseModel):
    input: list[float]


@app.post("/predict")
async def answer(row: Row):
    return {"output": predict(numpy.array([row.input], "f4"))[0].tolist()}
