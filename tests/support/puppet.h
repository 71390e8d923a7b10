/*
 * puppet: a replica inside the test's own process that does what the test tells it: a gRPC core server with one
 * thread. It serves xebec.worker.v1.Worker and grpc.health.v1.Health, and answers a Predict with the rows it got,
 * as output "y".
 */
#ifndef XEBEC_TESTS_SUPPORT_PUPPET_H
#define XEBEC_TESTS_SUPPORT_PUPPET_H

#include <stdint.h>

enum puppet_predict {
    PUPPET_ECHO,       /* the truth */
    PUPPET_STALL,      /* no answer, ever */
    PUPPET_LIE_ROWS,   /* one row too few */
    PUPPET_LIE_TYPE,   /* says FP64 */
    PUPPET_GARBAGE,    /* not protobuf */
    PUPPET_EMPTY,      /* OK, without a message */
    PUPPET_BIG,        /* PUPPET_BIG_BYTES of nonsense */
    PUPPET_COMPRESSED, /* as a server that compresses without having been asked */
    PUPPET_RAISE,      /* the model raised: UNKNOWN "ValueError: puppet" */
    PUPPET_SHED,       /* RESOURCE_EXHAUSTED */
    PUPPET_AWAY,       /* UNAVAILABLE */
    PUPPET_ABORT,      /* CANCELLED, though nobody did */
    PUPPET_BAD_INPUT   /* INVALID_ARGUMENT */
};
enum { PUPPET_BIG_BYTES = 300000 };
enum puppet_describe { DESCRIBE_WELL, DESCRIBE_WRONG_TYPE, DESCRIBE_GARBAGE, DESCRIBE_STALL, DESCRIBE_MISSING };
enum puppet_health { HEALTH_SERVING, HEALTH_NOT_SERVING, HEALTH_MISSING, HEALTH_STALL };

struct puppet_script {
    enum puppet_predict predict;
    enum puppet_describe describe;
    enum puppet_health health;
    uint32_t delay_ms;  /* of a Predict */
    uint32_t max_rows;
    const char *digest; /* NULL: "sha256:puppet" */
};

struct puppet;
/* address: "127.0.0.1:0" (a free port), "127.0.0.1:4711" or "unix:/path". Aborts the test if it cannot listen. */
struct puppet *puppet_start(const char *address, const struct puppet_script *script);
/* Drops every connection and call. */
void puppet_stop(struct puppet *puppet);
const char *puppet_address(const struct puppet *puppet); /* with the port it got */

void puppet_tell(struct puppet *puppet, const struct puppet_script *script); /* from the next call on */
uint32_t puppet_predicts(const struct puppet *puppet);  /* Predict calls received so far */
uint32_t puppet_describes(const struct puppet *puppet); /* likewise */
/* Cuts its connections as a dying process or a pulled plug does, and goes on listening. */
void puppet_cut(const struct puppet *puppet);

/* "127.0.0.1:4711" where nothing listens now. */
void puppet_free_address(char *address, unsigned room);

#endif
