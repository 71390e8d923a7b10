/*
 * call: one Predict call, from the bytes of its request to the bytes of its reply. No sockets, no threads.
 * Everything that is not static is named xebec_, for this is linked into other people's programs.
 * A call is reused: xebec_call_init() once, then xebec_call_read(), the model's predict(),
 * xebec_call_write(), xebec_call_reset() again and again. Reading does not copy inputs that lie aligned,
 * writing does not copy outputs.
 *
 *   call.c    memory, and what predict() may do with a batch (xebec_worker.h)
 *   decode.c  PredictRequest -> batch, judged against the model
 *   encode.c  batch -> PredictResponse; DescribeResponse
 */
#ifndef XEBEC_WORKER_CALL_H
#define XEBEC_WORKER_CALL_H

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/status.h>

#include "xebec_worker.h"

enum { CALL_MESSAGE_BYTES = 256 };

struct block { /* bytes of the request, borrowed */
    const uint8_t *bytes;
    size_t size;
};

struct call_input {
    void *aligned; /* a copy of data that lies askew; kept for the next call */
    size_t aligned_capacity;
    uint32_t names;    /* the i-th spec of the request names this input of the model, */
    struct block data; /* and the i-th data is this */
};

struct call_output {
    struct xebec_spec spec; /* the declared one, then with the sizes of this call */
    bool wanted, shaped;
    uint8_t *data; /* malloc's, until a reply takes it */
    size_t bytes, capacity;
    size_t row_elements;
    uint32_t row;   /* BYTES: the row being filled, */
    size_t row_has; /* and how many elements it has */
};

struct call {
    struct xebec_batch batch; /* first: a batch is its call */
    const struct xebec_model *model;
    struct xebec_tensor *inputs;
    struct call_input *slots;
    struct call_output *outputs;
    char **row_errors; /* n_rows, NULL where well; NULL while no row has failed */
    uint32_t n_row_errors;
    grpc_status_code status;          /* GRPC_STATUS_OK, or how all of it failed, */
    char message[CALL_MESSAGE_BYTES]; /* and why */
};

bool xebec_call_init(struct call *call,
                     const struct xebec_model *model); /* false: out of memory; clear it all the same */
void xebec_call_clear(struct call *call);
void xebec_call_reset(struct call *call); /* ready for the next request */

/* The one place where a call fails: notes how and why, the first time; that is the cause. Returns false. */
bool xebec_call_fail(struct call *call, grpc_status_code status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sizes of one tensor of n_rows rows; false: a size is open or negative, or it all overflows. */
bool xebec_spec_sizes(const struct xebec_spec *spec, uint32_t n_rows, size_t *row_elements, size_t *bytes);
size_t xebec_datatype_bytes(enum xebec_datatype datatype);
/*
 * The model is done with this output: rows of BYTES that miss elements fail by themselves. False: the call
 * has failed, as out of memory, or because the output was never written although some row is well.
 */
bool xebec_call_finish_output(struct call *call, struct call_output *output);

/*
 * bytes must stay until xebec_call_reset(): inputs point into it. False: the call has failed, with
 * GRPC_STATUS_INVALID_ARGUMENT, or GRPC_STATUS_RESOURCE_EXHAUSTED when out of memory.
 */
bool xebec_call_read(struct call *call, const uint8_t *bytes, size_t size);
/*
 * The reply; the caller destroys it. NULL: the call has failed, before or now: GRPC_STATUS_INTERNAL when the
 * model left an output unwritten.
 */
grpc_byte_buffer *xebec_call_write(struct call *call);

/* A DescribeResponse; the caller unrefs it. */
grpc_slice xebec_describe_write(const struct xebec_model *model);

#endif
