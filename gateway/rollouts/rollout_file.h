/*
 * rollout_file: what was changed at run time, kept over restarts: one file, `rollouts`, in state_dir.
 *
 *     xebec-rollouts 1 LENGTH HASH          1: the format; HASH: BLAKE2b-128 of what follows, in hexadecimal
 *     {"rollouts":[{...},{...}]}            LENGTH bytes
 *
 * It is replaced in one step: written beside, flushed to the disk, renamed, and the folder flushed too. So after a crash at any
 * moment there is the old one or the new one. Whatever is not exactly that (cut short, changed, of another format) is
 * set aside as rollouts.bad, not used, and never in the way of a start.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_FILE_H
#define XEBEC_ROLLOUTS_ROLLOUT_FILE_H

#include "rollouts/rollout.h"

/*
 * What bytes hold, any at all: take() with each record, which it takes over, or with none of them. GW_E_INVALID, with words:
 * they are of no use; GW_E_NO_MEMORY.
 */
GW_MUST_CHECK enum gw_status rollout_file_read(const char *bytes, size_t length, void (*take)(void *owner, struct rollout *rollout),
                                               void *owner, struct gw_err *err);
/*
 * Makes the folder where there is none (its parent must be there). Calls take() with each record, which takes it over; no file
 * is no records. Returns GW_OK; GW_E_INVALID: there was a file, it was of no use, and err says why and where it is now;
 * GW_E_INTERNAL: the folder cannot be made, or the file not read.
 */
GW_MUST_CHECK enum gw_status rollout_file_load(const char *folder, void (*take)(void *owner, struct rollout *rollout),
                                               void *owner, struct gw_err *err);
/* Blocks until the disk has it. On an error (GW_E_INTERNAL, GW_E_NO_MEMORY) the file is as it was. */
GW_MUST_CHECK enum gw_status rollout_file_save(const char *folder, const struct rollout *const *rollouts, uint32_t n,
                                               struct gw_err *err);

#endif
