/*
 * config: YAML -> one validated, immutable, reference-counted struct config.
 * Every key, its type, default and meaning is a row of one table in keys.c, which
 * docs/configuration.md and configs/ are tested against. Every problem in a file is reported at once.
 */
#ifndef XEBEC_CONFIG_CONFIG_H
#define XEBEC_CONFIG_CONFIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replica/tensor.h"
#include "support/buf.h"
#include "support/err.h"
#include "support/log.h"
#include "support/redis.h"
#include "support/tls_context.h"

struct config_address { /* what to listen on: "127.0.0.1:8080", "[::]:8080", "*:8080", "unix:/run/xebec.sock" */
    const char *text;
    const char *host; /* numeric, as inet_ntop() writes it ("*" is 0.0.0.0); NULL for unix */
    const char *port; /* "0".."65535"; NULL for unix */
    const char *unix_path; /* NULL for TCP */
};

/* transport: nghttp2; what carries the calls to replicas */
enum config_transport { TRANSPORT_NGHTTP2, TRANSPORT_GRPC };

struct config_limits {       /* of one gateway; the edge divides by shards where it must */
    uint32_t connections;    /* limits.connections: 16384; at once, over all shards */
    size_t header_bytes;     /* limits.header: 16KiB; request line and header fields */
    size_t body_bytes;       /* limits.body: 16MiB; one request */
    size_t held_bytes;       /* limits.held: 512MiB; bodies and what they decode to, of all requests being worked on */
    uint32_t rows;           /* limits.rows: 16384; one request */
    uint32_t streams;        /* limits.streams: 128; HTTP/2: requests of one connection at once */
    uint32_t resets;         /* limits.resets: 1000; HTTP/2: cancelled requests of one connection; a tenth as many more each second */
    uint32_t controls;       /* limits.controls: 1000; HTTP/2: likewise frames that carry no request */
    size_t message_bytes;    /* limits.message: 64MiB; one gRPC message, to a replica or from it */
};
struct config_timeouts {     /* microseconds */
    uint64_t handshake_us;   /* timeouts.handshake: 10s; of TLS */
    uint64_t header_us;      /* timeouts.header: 10s; from the first byte to the end of the header */
    uint64_t body_us;        /* timeouts.body: 30s; from there to the end of the body */
    uint64_t idle_us;        /* timeouts.idle: 75s; keep-alive */
    uint64_t write_us;       /* timeouts.write: 30s; a client that takes nothing of a reply for this long */
    uint64_t start_us;       /* timeouts.start: 30s; how long a new gateway may wait for its replicas */
    uint64_t drain_us;       /* timeouts.drain: 10s; after SIGTERM */
};

struct config_tls {          /* tls.*, and models.NAME.tls.* */
    const char *files[TLS_FILE_COUNT]; /* certificate, key, client_ca or ca; absolute paths, or NULL */
    enum tls_peers clients;  /* tls.clients: required */
    enum tls_least least;    /* min_version: 1.2 */
    const char *server_name; /* models.NAME.tls.server_name: NULL: as in the address */
    struct tls_context *context; /* of what was in the files when they were read; NULL: no TLS */
};

struct config_redis {        /* cache.redis.* */
    const char *shown;       /* the URL without user and password; NULL: no Redis */
    struct redis_server server; /* its password is never printed */
    const char *prefix;      /* prefix: xebec; of all keys */
    uint64_t connect_timeout_us, command_timeout_us; /* timeout.connect 1s, timeout.command 10ms */
};

enum batching_policy { BATCHING_NONE, BATCHING_FIXED, BATCHING_AIMD, BATCHING_QUANTILE, BATCHING_ADAPTIVE };
const char *batching_policy_name(enum batching_policy policy); /* "adaptive", as in the file */
/* Which rows go first when not all can; the lower number. */
enum priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_BATCH, PRIORITY_COUNT };

struct config_batching {     /* models.NAME.batching.* */
    enum batching_policy policy; /* adaptive */
    uint32_t max_rows;       /* 1024 */
    uint64_t max_delay_us;   /* 0ms; how long a lone row may wait for company while a replica is idle */
    uint32_t max_queued_rows;/* 16384 */
    uint32_t calls;          /* 2; in flight per replica */
    bool admission;          /* true; whether rows that would miss their deadline are refused at once */
};

struct config_model;

struct config_version {
    const char *name;         /* "forest" */
    const char *full_name;    /* "digits@forest" */
    const struct config_model *model;
    uint32_t index;           /* in config->versions */
    const char *const *replicas; /* addresses: "host:port", "unix:/path", "dns:NAME:PORT" */
    uint32_t n_replicas;
    uint64_t least_slo_us;    /* the smallest SLO of the endpoints that can route here; 0: none can */
    uint64_t shadow_timeout_us; /* the smallest of the shadows that ask here; 0: none does */
    uint32_t line;
};

struct config_model {
    const char *name;
    struct signature signature;
    struct config_version *const *versions;
    uint32_t n_versions;
    struct config_batching batching;
    bool cache;               /* cache.enabled: true; or `cache: off` */
    uint64_t cache_ttl_us;    /* cache.ttl: 10m */
    struct config_tls tls;    /* to the replicas */
    uint64_t discovery_interval_us;                 /* discovery.interval 2s */
    uint64_t health_interval_us, health_timeout_us; /* health.interval 2s, health.timeout 1s */
    uint32_t attempts, retry_percent;               /* retry.attempts 3, retry.budget 20% */
    uint32_t hedge_percent;                         /* hedge.budget 5% */
};

enum { CONFIG_ARMS_MAX = 256 }; /* of one endpoint */

struct config_arm {
    const struct config_version *version;
    const char *name;         /* name: the version's full name; what headers and metrics call it */
    double weight;            /* 0 .. 1e6 */
};

/* What makes two requests the same client's, so that they fall to the same arm. */
enum sticky_kind {
    STICKY_NONE,              /* nothing: every request is drawn anew */
    STICKY_HEADER, STICKY_COOKIE, STICKY_FIELD, /* of the body's top level */
    STICKY_CLIENT,            /* its address */
};
struct config_sticky {        /* sticky: {header: x-user-id} */
    enum sticky_kind kind;
    const char *name;         /* of the header (lower case), cookie or field; "" for others */
    const char *salt;         /* sticky.salt: the endpoint's name; endpoints with equal salts split alike */
};

struct config_canary {        /* canary.*: a split of two arms, whose weights evidence moves (judge/canary.h) */
    const struct config_version *baseline, *candidate; /* baseline, candidate: arms[0], arms[1] of the endpoint */
    const double *steps;      /* steps: [1%, 5%, 25%, 50%, 100%]; the candidate's share, growing, the last is 1 */
    uint32_t n_steps;
    uint64_t dwell_us;        /* dwell: 10m; of each step */
    double alpha;             /* alpha: 5%; the chance that a good candidate is ever stopped, over all gates */
    uint64_t min_requests;    /* min_requests: 200; of the candidate in each step */
    double errors;            /* gates.errors: 0.5%; how much higher its error rate may be */
    double latency_quantile, latency_slower; /* gates.latency.quantile 99%, .slower 20%; gates.latency: off is 0 and 0 */
    double disagreement;      /* gates.disagreement: with a shadow, of its rows; negative: no gate */
    uint32_t crashes, contract, nan; /* tolerate.crashes 0, .contract 0, .nan 0: one more is a hard stop */
};

struct config_default {       /* one output of the default answer: a name and its value for one row, as JSON text */
    const char *name, *json;
};

/* What becomes of a request whose version has no ready replica. */
enum when_unready {
    UNREADY_SPILL, /* another arm of the split answers, by the weights of those that are ready; none is: as wait */
    UNREADY_WAIT,  /* until a replica becomes ready, or the SLO is over */
    UNREADY_FAIL,  /* 503 at once */
};
const char *when_unready_name(enum when_unready policy); /* "spill", as in the file */

enum { CONFIG_SHADOWS_MAX = 16 }; /* of one endpoint */

enum shadow_inputs { SHADOW_INPUTS_KEPT, SHADOW_INPUTS_HASHED, SHADOW_INPUTS_OMITTED }; /* as judge/worst.h's */

/* A version that is asked what clients asked, and whose answers are compared; infer/shadow.h. */
struct config_shadow {        /* endpoints.NAME.shadow[].* */
    const struct config_version *version;
    double sample;            /* 100%; 0 .. 1 */
    double noise;             /* 0.2%; 0 .. 1, of the requests that follow */
    double absolute, relative;/* tolerance.absolute 1e-6, tolerance.relative 1e-3 */
    uint32_t top_k;           /* 0: not asked */
    uint32_t examples;        /* 20 */
    size_t example_bytes;     /* example_size: 4KiB; of inputs, and of each answer */
    enum shadow_inputs inputs;/* kept */
    uint32_t max_rows;        /* 1024; under way at once */
    size_t held_bytes;        /* held: 16MiB; for them */
    uint32_t calls;           /* 2; batches of shadow rows in flight to the version */
    uint64_t timeout_us;      /* timeout: 10 times the SLO */
};

struct config_endpoint {
    const char *name;
    uint32_t index;           /* in config->endpoints */
    uint64_t slo_us;          /* slo: 100ms */
    enum priority priority;   /* priority: normal; of requests that do not say another */
    uint32_t share;           /* share: 1; of a version that several endpoints use, when not all can be served */
    const struct config_default *defaults; /* default: {label: -1} */
    uint32_t n_defaults;      /* 0: no default configured */
    const struct config_arm *arms;  /* split: [{model: digits@linear, weight: 90}, ...] or model: digits@linear */
    uint32_t n_arms;
    double weight_sum;        /* of the arms; > 0 */
    const struct config_canary *canary; /* canary: NULL: none. Its arms' weights here are 1 and 0: as before it begins */
    struct config_sticky sticky;
    bool arm_header;          /* arm_header: true; whether a client may name the arm that it wants */
    enum when_unready when_unready; /* spill */
    const struct config_shadow *shadows; /* shadow: [{model: digits@next, sample: 25%}] */
    uint32_t n_shadows;
    const struct signature *signature; /* all arms agree in it */
};

struct config {
    _Atomic uint32_t refs;
    const char *path;
    struct config_address listen, admin; /* 127.0.0.1:8080, 127.0.0.1:8081 */
    struct config_tls tls;    /* of `listen` */
    const char *admin_token_file; /* admin_token_file: NULL: none; an absolute path */
    const char *state_dir;    /* state_dir: NULL: none; an absolute path */
    bool watch;               /* watch: false; whether a change of the file is applied by itself */
    uint32_t shards;          /* shards: the cores */
    enum config_transport transport;
    enum log_level log_level; /* log.level: info */
    const char *access_log;   /* log.access: NULL: off; or an absolute path, or "stdout" */
    struct config_limits limits;
    struct config_timeouts timeouts;
    size_t cache_bytes;       /* cache.memory: 64MiB; 0 or `cache: off`: none */
    struct config_redis redis; /* cache.redis: none */
    struct config_model *const *models;
    uint32_t n_models;
    struct config_version *const *versions; /* of all models */
    uint32_t n_versions;
    struct config_endpoint *const *endpoints;
    uint32_t n_endpoints;
    const struct config_endpoint *mlflow; /* mlflow: NULL: none; what POST /invocations asks */
    const struct config_problem *warnings; /* what is better seen to, and keeps nobody from serving */
    uint32_t n_warnings;
};

struct config_problem {
    uint32_t line, column;    /* from 1; 0 when about the whole file */
    const char *what;         /* what is wrong, and the fix: one line */
};
/* One line a warning: "PATH:LINE:COLUMN: warning: what"; into the log, as config_warning. */
void config_warnings_print(const struct config *config, struct buf *out);
void config_warnings_log(const struct config *config);
/* Every file that the configuration was read from, its own first. */
void config_each_file(const struct config *config, void (*see)(void *owner, const char *path), void *owner);

struct config_problems {      /* in file order; at most 100, then one that says how many more */
    struct config_problem *list;
    uint32_t count;
    struct buf text;          /* owns the words */
    struct config_problem no_memory; /* what list is when there is no memory even for a list */
};
void config_problems_clear(struct config_problems *problems);
/* One line a problem: "PATH:LINE:COLUMN: what", or "PATH: what" when it is about the whole file. */
void config_problems_print(const struct config_problems *problems, const char *path, struct buf *out);

/*
 * Parses and validates. NULL if there is any problem; then problems has at least one. Whatever problems held
 * before is overwritten, not freed; it must stay where it is until config_problems_clear().
 * path is only kept. bytes: any bytes at all; more than 1 MiB is a problem.
 */
struct config *config_parse(const char *path, const char *bytes, size_t length,
                            struct config_problems *problems) GW_MUST_CHECK;
struct config *config_load(const char *path, struct config_problems *problems) GW_MUST_CHECK;
struct config *config_ref(struct config *config);
void config_unref(struct config *config); /* NULL is harmless */

/* The first key that differs of those that the process was built around, and that no reload changes; NULL: none. */
const char *config_fixed_difference(const struct config *now, const struct config *next);
/* Whether a version works by the same in both configurations: signature, replicas, batching, objective, health, retries, hedges. */
bool config_version_same(const struct config_version *a, const struct config_version *b);

const struct config_endpoint *config_endpoint(const struct config *config, const char *name, size_t length);

/* The key table for documentation and its lint: one line a key: "path<TAB>type<TAB>default<TAB>meaning". */
void config_print_keys(struct buf *out);

#endif
