/*
 * xebec_worker: serves a model written in C to a Xebec gateway.
 * Fill in a struct xebec_model, whose predict() reads input tensors and writes output tensors, and call
 * xebec_worker_serve(). The library speaks the worker protocol (proto/worker.proto) and grpc.health.v1, checks
 * every request against the model's signature before predict() sees it, and drains on SIGTERM.
 * Needs gRPC core and nothing else. Tensors are little-endian, row-major; dimension 0 is the rows.
 */
#ifndef XEBEC_WORKER_H
#define XEBEC_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum xebec_datatype { /* the numbers of worker.proto */
    XEBEC_BOOL = 1,
    XEBEC_UINT8,
    XEBEC_UINT16,
    XEBEC_UINT32,
    XEBEC_UINT64,
    XEBEC_INT8,
    XEBEC_INT16,
    XEBEC_INT32,
    XEBEC_INT64,
    XEBEC_FP16,
    XEBEC_FP32,
    XEBEC_FP64,
    XEBEC_BYTES, /* elements of any length: read with xebec_next_bytes(), written with xebec_add_bytes() */
    XEBEC_BF16
};
const char *xebec_datatype_name(enum xebec_datatype datatype); /* "FP32"; "?" when it is none */
enum xebec_datatype xebec_datatype_parse(const char *name, size_t length); /* 0 when it is none */

/* How clients that speak JSON see BYTES: as text, as base64 of anything, or as a JSON value of their own. */
enum xebec_encoding { XEBEC_TEXT, XEBEC_BASE64, XEBEC_JSON };

#define XEBEC_DIMS_MAX 8
#define XEBEC_ANY (-1) /* in a signature: any size. The rows, shape[0], are always XEBEC_ANY there */

struct xebec_spec {
    const char *name;
    enum xebec_datatype datatype;
    enum xebec_encoding encoding; /* BYTES only */
    uint32_t dims;                /* 1..XEBEC_DIMS_MAX */
    int64_t shape[XEBEC_DIMS_MAX];
};

/* Elements in one row: the product of shape[1..]. Of a tensor, or a spec without XEBEC_ANY behind the rows. */
size_t xebec_row_elements(const struct xebec_spec *spec);

struct xebec_tensor {
    struct xebec_spec spec; /* every size known; shape[0] is the batch's n_rows */
    const void *data;       /* aligned for its datatype, up to 8 bytes */
    size_t bytes;
};

/* Rows to predict for. Everything that it points at lives until predict() returns. */
struct xebec_batch {
    uint64_t id;                       /* the gateway's, for logs */
    uint32_t n_rows;                   /* 1..max_rows */
    const struct xebec_tensor *inputs; /* one for each input of the model, in the model's order */
    const uint8_t *parameters;         /* opaque to the gateway */
    size_t parameters_bytes;
    void *user; /* the model's */
};

/*
 * Steps through the elements of a BYTES tensor, row by row: *at is 0 at first. False at the end.
 * xebec_row_elements() of them belong to each row.
 */
bool xebec_next_bytes(const struct xebec_tensor *tensor, size_t *at, const uint8_t **data, size_t *size);

/* Whether the client wants this output (an index into the model's). One that nobody wants need not be written. */
bool xebec_output_wanted(const struct xebec_batch *batch, uint32_t output);
/*
 * Says how large an output is where its declared shape leaves sizes open: shape[1..dims) is read, and must fit.
 * Before anything is written to it. -1: it does not fit, and the batch will fail.
 */
int xebec_output_shape(struct xebec_batch *batch, uint32_t output, const int64_t *shape);
/*
 * Room for all rows of an output that is not BYTES, zeroed and aligned for any datatype; it goes to the gateway
 * without a copy. NULL: out of memory, or its shape was not said; return -1 then.
 */
void *xebec_output(struct xebec_batch *batch, uint32_t output);
/*
 * Adds one element to a row of a BYTES output: rows in rising order, xebec_row_elements() a row. A row that is
 * passed over without all of its elements fails by itself. -1: no such row, too many elements, or out of memory.
 */
int xebec_add_bytes(struct xebec_batch *batch, uint32_t output, uint32_t row, const void *data, size_t size);

/* This row fails alone, with words for the client (UTF-8, copied); what its outputs hold does not matter. */
void xebec_fail_row(struct xebec_batch *batch, uint32_t row, const char *message);
/* The whole batch fails, with words (copied). Returns -1: `return xebec_fail(batch, "out of GPUs");` */
int xebec_fail(struct xebec_batch *batch, const char *message);

struct xebec_model {
    const char *name, *version; /* as in the gateway's configuration: name@version */
    const char *digest;         /* of the model's files: equal digests answer equally. NULL: none */
    const struct xebec_spec *inputs, *outputs;
    uint32_t n_inputs, n_outputs;
    uint32_t max_rows; /* largest batch that predict() takes; 0: any, up to 2^20 */
    /*
     * 0: every wanted output is written, but for rows that failed. Else the whole batch fails.
     * The functions above may be called for one batch by one thread at a time.
     */
    int (*predict)(struct xebec_batch *batch);
    void *user;

    uint32_t threads; /* that run predict(), side by side; 0: one */
    bool quick;       /* predict() takes microseconds: it runs in the thread that reads the network, no other is woken */
    uint32_t message_bytes; /* the largest message taken or sent, up to 1 GiB; 0: 64 MiB, as the gateway's limits.message */
    /*
     * TLS, with these PEM files: a certificate, those between it and its CA behind it, and its key. client_ca: whose
     * certificates gateways must show; NULL: none is asked for. All NULL: $XEBEC_TLS_CERTIFICATE, $XEBEC_TLS_KEY and
     * $XEBEC_TLS_CLIENT_CA; where these are not there either, no TLS.
     */
    const char *tls_certificate, *tls_key, *tls_client_ca;
    uint32_t drain_ms; /* how long calls in flight may go on after SIGTERM; 0: 10 s */
};

/*
 * Serves until SIGTERM or SIGINT, then drains: takes no new calls, finishes those in flight, removes a unix
 * socket. Call it before starting threads, so that they leave these two signals to it.
 *
 * address: "127.0.0.1:9000", "0.0.0.0:9000", "[::]:9000" (port 0: any free one), "unix:/run/model.sock".
 *          NULL: $XEBEC_LISTEN, as containers set it, or 127.0.0.1:9000. Says on stderr where it serves.
 * Returns: 0 after a clean drain; 1, with words on stderr: the model or the address is not possible, or calls had
 *          to be given up after drain_ms; predict() may then still be running: leave the process.
 */
int xebec_worker_serve(const struct xebec_model *model, const char *address);

#ifdef __cplusplus
}
#endif
#endif
