/*
 * rollout: what was changed at run time about one endpoint: a record, immutable once made. Pure: no clock, no files.
 *
 * It remembers what the configuration file said when it was made, and counts while the file still says so: once the file's
 * weights are others, the file wins. Arms are compared by name, and one that is not there weighs 0; so an arm that the file
 * gets at weight 0, or loses at weight 0, changes nothing.
 *
 * Of two records of one endpoint the later one wins, wherever it was made: by `version`, then by `gateway`. A person's change
 * has the wall clock in microseconds for its version, or ROLLOUT_ROOM more than the last version known, whichever is greater (a
 * hybrid logical clock): who has seen a change always comes after it, whatever the clocks say; changes that did not see each
 * other go by the clocks. What a judge decides has one more than the last version known: so a person's change that the judge
 * has not heard of yet is the later one, and wins. Two changes that did not see each other, both within ROLLOUT_ROOM of the last
 * one known, tie: `gateway` decides, and all agree.
 *   Source: Kulkarni, Demirbas, Madappa, Avva, Leone, "Logical Physical Clocks", OPODIS 2014.
 */
#ifndef XEBEC_ROLLOUTS_ROLLOUT_H
#define XEBEC_ROLLOUTS_ROLLOUT_H

#include "config/config.h"
#include "config/document.h"
#include "support/arena.h"
#include "support/buf.h"

enum { ROLLOUT_WORDS_MAX = 400, ROLLOUT_GATEWAY_ROOM = 17, ROLLOUT_ROOM = 1000 };

struct rollout_arm {
    const char *name;
    double file;   /* its weight in the configuration, when the record was made */
    double weight; /* its weight since; as `file` where nothing is set */
};

struct rollout {
    struct arena arena;       /* this record's, all of it */
    const char *endpoint;
    uint64_t version;         /* 1 .. 2^53 */
    const char *gateway;      /* 16 hexadecimal digits: who made it, a process */
    const char *who, *why;    /* a person's words; "" for none */
    uint64_t at_ms;           /* wall clock */
    bool is_set;              /* false: by the file again */
    const char *canary;       /* the state of its canary, as canary_write() wrote it; NULL: it has none */
    const struct rollout_arm *arms;
    uint32_t n_arms;
};

/* What is to become a record. Borrowed while rollout_new() runs. */
struct rollout_draft {
    const struct config_endpoint *endpoint;
    const double *weights;    /* by arm; NULL: the file's */
    const char *gateway, *who, *why; /* cut at ROLLOUT_WORDS_MAX */
    const char *canary;       /* NULL: none */
    uint64_t version, at_ms;
};
struct rollout *rollout_new(const struct rollout_draft *draft) GW_MUST_CHECK; /* NULL: out of memory */
void rollout_free(struct rollout *rollout);                                   /* NULL is harmless */

uint64_t rollout_next_version(uint64_t known, uint64_t wall_us); /* for a person's change */
/* Whether it comes after `other`; NULL comes before everything. */
bool rollout_is_later(const struct rollout *rollout, const struct rollout *other);

/* Why it does not count for the endpoint as the file has it now; NULL: it does. */
const char *rollout_objection(const struct rollout *rollout, const struct config_endpoint *endpoint);
/* What the endpoint goes by: the record's weights if there is a record that counts, else the file's. weights: n_arms of them. */
void rollout_weights(const struct rollout *rollout, const struct config_endpoint *endpoint, double *weights);

/* JSON, one line without its end. */
void rollout_write(const struct rollout *rollout, struct buf *out);
/* Any tree at all. GW_E_INVALID: it is no record, with words; GW_E_NO_MEMORY. */
GW_MUST_CHECK enum gw_status rollout_read(const struct node *node, struct rollout **rollout, struct gw_err *err);

/*
 * The same as a text whose first ROLLOUT_HEAD bytes compare as records do: "VERSION GATEWAY\n", VERSION in 16 digits, and the JSON.
 * Reading takes any bytes at all; a head that is not its record's is no record.
 */
enum { ROLLOUT_HEAD = 16 + ROLLOUT_GATEWAY_ROOM };
void rollout_write_ordered(const struct rollout *rollout, struct buf *out);
GW_MUST_CHECK enum gw_status rollout_read_ordered(const char *bytes, size_t length, struct rollout **rollout, struct gw_err *err);

#endif
