"""One Predict call, from its tensors to the model and back. No sockets here.

A model that raises fails its rows, not the batch: the batch is halved and each half tried again, down to
the rows that raise by themselves. 1 bad row in n costs about 2 log2(n) further calls of the model.
"""
import inspect
import traceback

import numpy

from . import log
from .tensor import Mismatch, checked, decode, encode, pb

ROWS_MAX = 1 << 20  # a row may be no bytes at all, so the message's size does not bound them


class BadRequest(Exception):
    """What the client sent does not fit the signature."""


class Abandoned(Exception):
    """Nobody waits for the answer any more."""


class Predictor:
    def __init__(self, model, name, inputs, outputs, max_rows=0, isolate=True):
        self.function = _function_of(model, inputs)
        self.name = name
        self.inputs, self.outputs = inputs, outputs
        self.max_rows, self.isolate = max_rows, isolate

    def answer(self, request, abandoned):
        """PredictRequest -> PredictResponse. Raises BadRequest, Abandoned, or Mismatch when the model broke its signature."""
        inputs, rows = self._decode(request)
        unknown = set(request.outputs) - set(self.outputs)
        if unknown:
            raise BadRequest(f"{self.name} has no output {', '.join(sorted(unknown))}")
        run = _Run(self, inputs, abandoned)
        run.rows(0, rows)
        if run.failure is not None:
            run.report(request.id)
        response = pb.PredictResponse()
        for name in request.outputs or self.outputs:
            array = run.output(name, rows)
            response.outputs.append(self.outputs[name].spec(name, array.shape))
            response.data.append(encode(array))
        for row, message in run.errors:
            response.errors.add(row=row, message=message)
        return response

    def _decode(self, request):
        if len(request.inputs) != len(request.data):
            raise BadRequest(f"{len(request.inputs)} inputs come with {len(request.data)} pieces of data")
        if sorted(spec.name for spec in request.inputs) != sorted(self.inputs):
            raise BadRequest(f"{self.name} takes {', '.join(self.inputs)}; "
                             f"got {', '.join(spec.name for spec in request.inputs) or 'nothing'}")
        try:
            inputs = {spec.name: decode(self.inputs[spec.name], spec, data)
                      for spec, data in zip(request.inputs, request.data)}
        except (Mismatch, ValueError) as error:  # ValueError: a shape that numpy refuses
            raise BadRequest(str(error)) from error
        counts = {len(array) for array in inputs.values()}
        rows = counts.pop()
        if counts or rows == 0:
            raise BadRequest("every input must have the same number of rows, at least one")
        if rows > (self.max_rows or ROWS_MAX):
            raise BadRequest(f"{rows} rows; {self.name} takes at most {self.max_rows or ROWS_MAX} in one call")
        return inputs, rows


class _Run:
    """The model over one batch: what came back for which rows."""

    def __init__(self, predictor, inputs, abandoned):
        self.predictor, self.inputs, self.abandoned = predictor, inputs, abandoned
        self.pieces = []     # (start, stop, outputs by name) of rows that went well
        self.errors = []     # (row, message) of rows that did not
        self.failure = None  # the first exception, for the log

    def rows(self, start, stop):
        if self.abandoned():
            raise Abandoned()
        message = self._call(start, stop)
        if message is None:
            return
        if stop - start > 1 and self.predictor.isolate:
            middle = (start + stop) // 2
            self.rows(start, middle)
            self.rows(middle, stop)
        else:
            self.errors += [(row, message) for row in range(start, stop)]

    def _call(self, start, stop):
        """None, or what the model raised."""
        try:
            returned = self.predictor.function(**{name: array[start:stop] for name, array in self.inputs.items()})
        except BaseException as error:  # sys.exit() in a model must not leave its caller waiting either
            if self.failure is None:  # an exception may be false
                self.failure = error
            return last_line(error)
        self.pieces.append((start, stop, self._checked(returned, stop - start)))
        return None

    def _checked(self, returned, rows):
        outputs = self.predictor.outputs
        if not isinstance(returned, dict):
            if len(outputs) != 1:
                raise Mismatch(f"the model returned {type(returned).__name__}; "
                               f"with several outputs it must return a dict of {', '.join(outputs)}")
            returned = {next(iter(outputs)): returned}
        if returned.keys() != outputs.keys():
            raise Mismatch(f"the model returned {', '.join(map(str, returned)) or 'nothing'}; declared {', '.join(outputs)}")
        return {name: checked(name, tensor, returned[name], rows) for name, tensor in outputs.items()}

    def output(self, name, rows):
        """All rows of one output; rows in errors hold anything."""
        arrays = [outputs[name] for _, _, outputs in self.pieces]
        if len(arrays) == 1 and len(arrays[0]) == rows:
            return arrays[0]
        if not arrays:
            return self.predictor.outputs[name].filler(rows)
        if len({array.shape[1:] for array in arrays}) > 1:
            raise Mismatch(f"output {name} has another shape for each part of the batch; "
                           "serve(..., isolate=False) if rows of this model are not independent")
        whole = numpy.full((rows, *arrays[0].shape[1:]), b"" if arrays[0].dtype == object else 0, arrays[0].dtype)
        for (start, stop, _), array in zip(self.pieces, arrays):
            whole[start:stop] = array
        return whole

    def report(self, batch):
        """The traceback, whole, once a batch: of what the model raised first."""
        error = self.failure
        rows = [row for row, _ in self.errors]
        log.write("error" if rows else "warn", "model_raised", model=self.predictor.name, batch=batch,
                  rows_failed=len(rows), rows=rows[:20], error=last_line(error),
                  traceback="".join(traceback.format_exception(error)))


def last_line(error):
    """The line of a traceback that says what: "ValueError: no such pixel"."""
    lines = traceback.format_exception_only(type(error), error)
    line = next((line for line in lines if not line.startswith(" ")), lines[-1])
    return line.strip().encode("utf-8", "replace").decode()[:2000]


def _function_of(model, inputs):
    """The function of numpy arrays behind a class, an object with predict(), or a plain function."""
    if inspect.isclass(model):
        model = model()
    function = getattr(model, "predict", model)
    if not callable(function):
        raise TypeError(f"{model!r} is neither a function nor an object with predict()")
    try:
        inspect.signature(function).bind(**dict.fromkeys(inputs))
    except TypeError as error:
        raise TypeError(f"{getattr(function, '__qualname__', function)} can't be called with the declared inputs "
                        f"({', '.join(inputs)}): {error}") from None
    except ValueError:
        pass  # a function in C that does not tell its parameters
    return function
