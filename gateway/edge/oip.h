/*
 * oip: the Open Inference Protocol over REST (KServe's and Triton's v2): everything below /v2.
 *
 *   oip.c          paths: health, metadata, Triton's config and repository index
 *   oip_infer.c    the dialect: a document, binary tensors behind it;  oip_document.*: the document, in JSON
 *   oip_reply.*    outcomes -> its answer
 *   oip_tensors.*, oip_parameters.*  what the protocol says of them, whatever carries it; oip_grpc is its other carrier
 * Source: kserve/open-inference-protocol, and Triton's extensions to it; docs/protocols.md says what is not there.
 */
#ifndef XEBEC_EDGE_OIP_H
#define XEBEC_EDGE_OIP_H

#include "edge/http.h"
#include "infer/request.h"

/* What runs the models, in all metadata: <project>_<format>, as specified; and Triton's word for the project alone. */
#define OIP_PLATFORM "xebec_worker"
#define OIP_BACKEND  "xebec"

/* Its errors are {"error": words}. Its request->own is a struct oip_ask, or NULL for one that the head says nothing of. */
extern const struct dialect oip_dialect;

/* What a request's head says, then what its body asks of the reply. */
struct oip_ask {
    bool has_json_bytes;   /* the rest of the body is binary tensors */
    size_t json_bytes;     /* ... after so many; 0: there is nothing but the data of the only input */
    /* from the body */
    const char *id;        /* NULL: none */
    size_t id_length;
    const char **wanted;   /* outputs, in the order of the reply */
    int8_t *says;          /* by wanted: 1: binary, 0: JSON, negative: nothing */
    uint32_t n_wanted;     /* 0: all of them */
    bool binary;           /* those of which nothing is said */
};

/* Whether replicas of a version are ready; of any arm that has requests to answer; of every endpoint so. */
bool oip_version_serves(const struct infer *infer, const struct config_version *version);
bool oip_endpoint_serves(const struct infer *infer, const struct config_endpoint *endpoint);
bool oip_all_serve(const struct infer *infer);

/* Replies to any path that begins with /v2. */
void oip_handle(struct infer *infer, struct exchange *exchange);

#endif
