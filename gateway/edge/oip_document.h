/*
 * oip_document: an inference's document, {"inputs": [{"name", "shape", "datatype", "data"}]} -> tensors, and what it asks
 * of the reply. What stands behind the document is oip_infer.c's.
 */
#ifndef XEBEC_EDGE_OIP_DOCUMENT_H
#define XEBEC_EDGE_OIP_DOCUMENT_H

#include "edge/oip.h"
#include "edge/oip_tensors.h"

/* One element of "inputs". */
struct oip_given {
    struct oip_told told;
    struct tensor *input; /* once it is matched with the signature */
    int64_t binary_bytes; /* of its data behind the document; negative: it is in the document */
    bool has_data, later; /* seen; passed over */
};

/* What is known of a body. Zeroed but for the first three; `given` has room for as many as the signature has inputs. */
struct oip_decoding {
    struct request *request;
    struct oip_ask *ask;
    struct oip_given *given;
    uint32_t n_given;
    /* the document's own, while it is read */
    struct buf parameters; /* those for the model, as an object without its end */
    bool has_inputs, has_outputs, has_parameters;
    bool any_later;
    int wanted_binary; /* of the output being read; negative: it does not say */
};

/*
 * After oip_inputs_begin(). text is padded, as for json_read(). Fills given, ask, and the request's parameters. Every error
 * leaves words in the request's err; GW_E_INVALID, GW_E_TOO_LARGE, GW_E_NOT_IMPLEMENTED, GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status oip_document_read(struct oip_decoding *decoding, const char *text, size_t length);

#endif
