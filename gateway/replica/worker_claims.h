/*
 * worker_claims: what Describe and Predict have in common: memory for what a replica claims, bounded; its words, and the
 * specs of its tensors, judged. What is wrong ends as one GW_E_CONTRACT with words. Internal to worker_judge and
 * worker_describe. protobuf-c unpacks into the same memory, by claims_take() and claims_keep().
 */
#ifndef XEBEC_REPLICA_WORKER_CLAIMS_H
#define XEBEC_REPLICA_WORKER_CLAIMS_H

#include "replica/tensor.h"
#include "support/arena.h"
#include "worker.pb-c.h"

enum {
    CLAIMS_SPECS_MAX = 256, /* inputs, or outputs, of one model */
    CLAIMS_SPEC_TEXT = 200, /* bytes: 8 dimensions of 20 digits, and a datatype */
};

/* An arena, and why it gave no more. */
struct claims {
    struct arena *arena;
    enum gw_status dry; /* GW_OK while it gives; GW_E_CONTRACT: at its limit; GW_E_NO_MEMORY */
};
/* ProtobufCAllocator's alloc and free; claims: a struct claims. Freed with the arena alone. */
void *claims_take(void *claims, size_t bytes) GW_MUST_CHECK;
void claims_keep(void *claims, void *room);
/* What to say when unpacking, or claims_take(), came back with nothing. */
enum gw_status claims_fault(const struct claims *claims, struct gw_err *err);

/* What keeps `name` from being a name; NULL: nothing does. */
const char *claims_name_fault(const char *name);
/* A copy on one line of valid UTF-8, cut to 1 KiB. NULL: claims_fault() says why. */
const char *claims_printable(struct claims *claims, const char *text);

/* Judges name, datatype, dimensions, encoding; sizes are for the caller to judge. kind: "input"; borrows the name. */
GW_MUST_CHECK enum gw_status claims_spec(const Xebec__Worker__V1__TensorSpec *said, const char *kind, size_t index,
                                         struct tensor_spec *spec, struct gw_err *err);
/* The one of that name; NULL: there is none. */
const struct tensor_spec *claims_find(const struct tensor_spec *specs, uint32_t count, const char *name);
/* GW_E_CONTRACT: "input x is FP64[-1,4], the configuration says FP32[-1,4]". */
enum gw_status claims_contradiction(const char *kind, const struct tensor_spec *said,
                                    const struct tensor_spec *configured, struct gw_err *err);

#endif
