/*
 * shadows: what operators read of shadows (infer/shadow.h): GET /shadows and GET /shadows/ENDPOINT. On the main thread, which
 * asks one shard after the other for its part.
 */
#ifndef XEBEC_SHADOWS_H
#define XEBEC_SHADOWS_H

#include "shard.h"
#include "support/buf.h"

/*
 * JSON: of every endpoint's shadows, how many rows were compared, agreed, or were dropped, and why. endpoint: NULL, or the one
 * whose shadows are told in full, by output, with their worst examples: clients' inputs are among those, so this is for who may
 * change things. GW_OK; GW_E_NOT_FOUND: no such endpoint, or it has no shadow; GW_E_DRAINING; GW_E_NO_MEMORY: out is of no use.
 */
GW_MUST_CHECK enum gw_status shadows_write(struct gateway *gateway, const char *endpoint, struct buf *out);

#endif
