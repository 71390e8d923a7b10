/*
 * admin_rollouts: the operators' listener, as far as rollouts go:
 *
 *     GET  /rollouts                  where every endpoint stands
 *     GET  /rollouts/NAME             where one does
 *     POST /rollouts/NAME/ACTION      set, reset, promote, rollback, pause, resume; answers as GET does, afterwards
 *
 * A POST may carry {"weights": {"ARM": NUMBER, ...}, "who": "...", "why": "..."}: weights are for set, the words for the log.
 */
#ifndef XEBEC_ADMIN_ROLLOUTS_H
#define XEBEC_ADMIN_ROLLOUTS_H

#include <stdbool.h>

#include "edge/http.h"
#include "rollouts/rollouts.h"
#include "support/buf.h"
#include "support/err.h"

/* Whether a path is one of these; `acts`: it is to be changed something by (the third form), and so needs POST and a permit. */
bool admin_rollouts_has(const char *path, bool *acts);
/* exchange: permitted, and of the right method. GW_OK: out is the answer. */
GW_MUST_CHECK enum gw_status admin_rollouts_answer(struct rollouts *rollouts, struct exchange *exchange, struct buf *out,
                                                   struct gw_err *err);

#endif
