/* key_table: one row a key, in the order of the documentation. */
#include "config/keys.h"

static const char *const level_words[] = {"debug", "info", "warn", "error", NULL};
static const char *const transport_words[] = {"nghttp2", "grpc", NULL};
static const char *const policy_words[] = {"none", "fixed", "aimd", "quantile", "adaptive", NULL};
static const char *const priority_words[] = {"high", "normal", "batch", NULL};
static const char *const unready_words[] = {"spill", "wait", "fail", NULL};
static const char *const inputs_words[] = {"kept", "hashed", "omitted", NULL};
static const char *const clients_words[] = {"required", "optional", NULL};
static const char *const least_words[] = {"1.2", "1.3", NULL};
static const char *const encoding_words[] = {"text", "base64", "json", NULL};

#define FIELD(type, member) .offset = offsetof(type, member), .width = sizeof(((type *)0)->member)
#define BETWEEN(low, high)  .least = (low), .most = (high)
/* The formatter does not see that these are rows of the table. */
/* clang-format off */
#define TENSOR_KEYS(path) \
    {path ".datatype", KEY_DATATYPE, .required = true, FIELD(struct tensor_spec, datatype), \
     .meaning = "type of an element: BOOL, UINT8 to UINT64, INT8 to INT64, FP16, BF16, FP32, FP64, BYTES"}, \
    {path ".shape", KEY_SHAPE, .required = true, FIELD(struct tensor_spec, shape), \
     .meaning = "1 to 8 sizes; the first is the row dimension, -1; -1 elsewhere is any size"}, \
    {path ".encoding", KEY_CHOICE, "text", .words = encoding_words, FIELD(struct tensor_spec, encoding), \
     .meaning = "how BYTES look in JSON: a string, a base64 string, or a JSON value"}
/* clang-format on */

const struct key key_table[] = {
    {"listen", KEY_LISTEN, "127.0.0.1:8080", FIELD(struct config, listen),
     .meaning = "where clients connect"},
    {"admin", KEY_LISTEN, "127.0.0.1:8081", FIELD(struct config, admin),
     .meaning = "where operators connect: health, status, metrics, changes"},
    {"tls", KEY_TLS, FIELD(struct config, tls),
     .meaning = "TLS for clients: all connections to `listen` are TLS then; none: plain"},
    {"tls.certificate", KEY_FILE, .required = true, FIELD(struct config, tls.files[TLS_FILE_CERTIFICATE]),
     .meaning = "PEM file with the gateway's certificate, and those between it and the CA, in this order"},
    {"tls.key", KEY_FILE, .required = true, FIELD(struct config, tls.files[TLS_FILE_KEY]),
     .meaning = "PEM file with the certificate's private key, not encrypted"},
    {"tls.client_ca", KEY_FILE, FIELD(struct config, tls.files[TLS_FILE_CA]),
     .meaning =
         "PEM file with the CAs of clients, who then show certificates; none: nobody is asked for one"},
    {"tls.clients", KEY_CHOICE, "required", .words = clients_words, FIELD(struct config, tls.clients),
     .meaning =
         "with client_ca, whether a client without a certificate is let in; one with a bad one never is"},
    {"tls.min_version", KEY_CHOICE, "1.2", .words = least_words, FIELD(struct config, tls.least),
     .meaning = "the oldest TLS that is spoken"},
    {"admin_token_file", KEY_FILE, FIELD(struct config, admin_token_file),
     .meaning = "a file with the token that changes by the admin listener need; read when one is asked for"},
    {"state_dir", KEY_FILE, FIELD(struct config, state_dir),
     .meaning =
         "a folder for what is changed at run time, so that a restart keeps it; made where it is not there"},
    {"watch", KEY_BOOLEAN, "false", FIELD(struct config, watch),
     .meaning = "apply this file by itself when it changes"},
    {"shards", KEY_SHARDS, "cores", BETWEEN("1", "256"), FIELD(struct config, shards),
     .meaning = "event-loop threads; cores: one for each core this process may use"},
    {"transport", KEY_CHOICE, "nghttp2", .words = transport_words, FIELD(struct config, transport),
     .meaning = "what carries gRPC to the replicas: nghttp2 inside the event loops, or grpc, gRPC core"},

    {.path = "log", .type = KEY_SECTION},
    {"log.level", KEY_CHOICE, "info", .words = level_words, FIELD(struct config, log_level),
     .meaning = "the least that is logged to standard error"},
    {"log.access", KEY_ACCESS_LOG, "off", FIELD(struct config, access_log),
     .meaning = "one line a request: off, stdout, or the path of a file"},

    {.path = "limits", .type = KEY_SECTION},
    {"limits.connections", KEY_INTEGER, "16384", BETWEEN("1", "1048576"),
     FIELD(struct config, limits.connections), .meaning = "client connections at once, over all shards"},
    {"limits.header", KEY_SIZE, "16KiB", BETWEEN("1KiB", "1MiB"), FIELD(struct config, limits.header_bytes),
     .meaning = "request line and header fields of one request"},
    {"limits.body", KEY_SIZE, "16MiB", BETWEEN("1KiB", "1GiB"), FIELD(struct config, limits.body_bytes),
     .meaning = "body of one request"},
    {"limits.held", KEY_SIZE, "512MiB", BETWEEN("1KiB", "1TiB"), FIELD(struct config, limits.held_bytes),
     .meaning = "bodies and what they decode to, of all requests being worked on; at least limits.body"},
    {"limits.rows", KEY_INTEGER, "16384", BETWEEN("1", "1048576"), FIELD(struct config, limits.rows),
     .meaning = "rows of one request"},
    {"limits.streams", KEY_INTEGER, "128", BETWEEN("1", "65536"), FIELD(struct config, limits.streams),
     .meaning = "requests of one HTTP/2 connection at once"},
    {"limits.resets", KEY_INTEGER, "1000", BETWEEN("1", "1048576"), FIELD(struct config, limits.resets),
     .meaning = "requests that one HTTP/2 connection may cancel; a tenth as many more each second"},
    {"limits.controls", KEY_INTEGER, "1000", BETWEEN("1", "1048576"), FIELD(struct config, limits.controls),
     .meaning = "frames of one HTTP/2 connection that carry no request; a tenth as many more each second"},
    {"limits.message", KEY_SIZE, "64MiB", BETWEEN("64KiB", "1GiB"),
     FIELD(struct config, limits.message_bytes),
     .meaning = "one gRPC message, to a replica or from it; batches are cut to fit"},

    {.path = "timeouts", .type = KEY_SECTION},
    {"timeouts.handshake", KEY_DURATION, "10s", BETWEEN("1ms", "24h"),
     FIELD(struct config, timeouts.handshake_us),
     .meaning = "from a TLS connection to the end of its handshake"},
    {"timeouts.header", KEY_DURATION, "10s", BETWEEN("1ms", "24h"), FIELD(struct config, timeouts.header_us),
     .meaning = "from the first byte of a request to the end of its header"},
    {"timeouts.body", KEY_DURATION, "30s", BETWEEN("1ms", "24h"), FIELD(struct config, timeouts.body_us),
     .meaning = "from there to the end of its body"},
    {"timeouts.idle", KEY_DURATION, "75s", BETWEEN("1ms", "24h"), FIELD(struct config, timeouts.idle_us),
     .meaning = "how long a connection may wait for its next request"},
    {"timeouts.write", KEY_DURATION, "30s", BETWEEN("1ms", "24h"), FIELD(struct config, timeouts.write_us),
     .meaning = "how long a client may take nothing of its reply"},
    {"timeouts.start", KEY_DURATION, "30s", BETWEEN("0s", "24h"), FIELD(struct config, timeouts.start_us),
     .meaning = "how long a new gateway says that it is not serving yet, while a version has no replica"},
    {"timeouts.drain", KEY_DURATION, "10s", BETWEEN("0s", "24h"), FIELD(struct config, timeouts.drain_us),
     .meaning = "how long requests in flight may take to finish after SIGTERM"},

    {"cache", KEY_SWITCH, "on", FIELD(struct config, cache_bytes),
     .meaning = "answers to rows that were asked before, in memory, shared by all models"},
    {"cache.memory", KEY_SIZE, "64MiB", BETWEEN("0B", "1TiB"), FIELD(struct config, cache_bytes),
     .meaning = "bound on everything the cache holds in memory; 0 is nothing"},
    {"cache.redis", KEY_REDIS, FIELD(struct config, redis),
     .meaning = "a Redis behind the memory, which several gateways share: its url, or this mapping"},
    {"cache.redis.url", KEY_REDIS_URL, .required = true, FIELD(struct config, redis),
     .meaning = "redis://[[user]:password@]host[:port][/database] or unix:/path[?db=0]"},
    {"cache.redis.password_file", KEY_PASSWORD_FILE, FIELD(struct config, redis.server.password),
     .meaning = "a file whose first line is the password, instead of one in the URL"},
    {"cache.redis.prefix", KEY_REDIS_PREFIX, "xebec", FIELD(struct config, redis.prefix),
     .meaning = "what every key begins with; gateways share answers where it is the same"},
    {.path = "cache.redis.timeout", .type = KEY_SECTION},
    {"cache.redis.timeout.connect", KEY_DURATION, "1s", BETWEEN("1ms", "1m"),
     FIELD(struct config, redis.connect_timeout_us), .meaning = "until a connection is made and greeted"},
    {"cache.redis.timeout.command", KEY_DURATION, "10ms", BETWEEN("100us", "10s"),
     FIELD(struct config, redis.command_timeout_us),
     .meaning = "how long a row may wait for Redis; five in a row, and it is left alone for a while"},

    {"models", KEY_MODELS, .required = true, .meaning = "the models, by name"},
    {"models.NAME.input", KEY_TENSORS, .required = true, FIELD(struct config_model, signature.inputs),
     .meaning = "what the model takes, by name"},
    TENSOR_KEYS("models.NAME.input.NAME"),
    {"models.NAME.output", KEY_TENSORS, FIELD(struct config_model, signature.outputs),
     .meaning = "what the model answers, by name; none: whatever its replicas say"},
    TENSOR_KEYS("models.NAME.output.NAME"),
    {"models.NAME.versions", KEY_VERSIONS, .required = true, .meaning = "the builds of the model, by name"},
    {"models.NAME.versions.NAME.replicas", KEY_REPLICAS, .required = true,
     .meaning = "where the containers are that run this version: host:port, [v6]:port, unix:/path, or "
                "dns:host:port, every address the name has"},

    {"models.NAME.tls", KEY_MODEL_TLS, FIELD(struct config_model, tls),
     .meaning = "TLS to the replicas of this model; none: plain"},
    {"models.NAME.tls.ca", KEY_FILE, .required = true, FIELD(struct config_model, tls.files[TLS_FILE_CA]),
     .meaning = "PEM file with the CAs that the replicas' certificates are checked against"},
    {"models.NAME.tls.certificate", KEY_FILE, FIELD(struct config_model, tls.files[TLS_FILE_CERTIFICATE]),
     .meaning = "PEM file with a certificate that the gateway shows to replicas that ask for one"},
    {"models.NAME.tls.key", KEY_FILE, FIELD(struct config_model, tls.files[TLS_FILE_KEY]),
     .meaning = "PEM file with that certificate's private key"},
    {"models.NAME.tls.server_name", KEY_SERVER_NAME, FIELD(struct config_model, tls.server_name),
     .meaning = "the name that replicas' certificates must be for; none: the host in their address"},
    {"models.NAME.tls.min_version", KEY_CHOICE, "1.2", .words = least_words,
     FIELD(struct config_model, tls.least), .meaning = "the oldest TLS that is spoken"},

    {.path = "models.NAME.batching", .type = KEY_SECTION},
    {"models.NAME.batching.policy", KEY_CHOICE, "adaptive", .words = policy_words,
     FIELD(struct config_model, batching.policy),
     .meaning = "how many rows travel together: adaptive, aimd and quantile learn it, fixed is max_rows, "
                "none is one"},
    {"models.NAME.batching.max_rows", KEY_INTEGER, "1024", BETWEEN("1", "1048576"),
     FIELD(struct config_model, batching.max_rows), .meaning = "rows of one batch at most"},
    {"models.NAME.batching.max_delay", KEY_DURATION, "0ms", BETWEEN("0ms", "1m"),
     FIELD(struct config_model, batching.max_delay_us),
     .meaning = "how long a lone row may wait for company while a replica is idle"},
    {"models.NAME.batching.max_queued_rows", KEY_INTEGER, "16384", BETWEEN("1", "16777216"),
     FIELD(struct config_model, batching.max_queued_rows),
     .meaning = "rows that may wait for one version; beyond it requests get 429"},
    {"models.NAME.batching.calls", KEY_INTEGER, "2", BETWEEN("1", "64"),
     FIELD(struct config_model, batching.calls), .meaning = "batches in flight to one replica"},
    {"models.NAME.batching.admission", KEY_BOOLEAN, "true", FIELD(struct config_model, batching.admission),
     .meaning =
         "refuse rows at once that would miss their deadline behind those that wait; else the SLO ends them"},

    {"models.NAME.cache", KEY_SWITCH, "on", FIELD(struct config_model, cache),
     .meaning = "whether and how this model's answers are cached"},
    {"models.NAME.cache.enabled", KEY_BOOLEAN, "true", FIELD(struct config_model, cache),
     .meaning = "false is the same as cache: off"},
    {"models.NAME.cache.ttl", KEY_DURATION, "10m", BETWEEN("1ms", "8760h"),
     FIELD(struct config_model, cache_ttl_us), .meaning = "how long an answer may be given again"},

    {.path = "models.NAME.discovery", .type = KEY_SECTION},
    {"models.NAME.discovery.interval", KEY_DURATION, "2s", BETWEEN("100ms", "1h"),
     FIELD(struct config_model, discovery_interval_us),
     .meaning = "time between questions for the addresses of a dns: name"},

    {.path = "models.NAME.health", .type = KEY_SECTION},
    {"models.NAME.health.interval", KEY_DURATION, "2s", BETWEEN("10ms", "1h"),
     FIELD(struct config_model, health_interval_us), .meaning = "time between health checks of a replica"},
    {"models.NAME.health.timeout", KEY_DURATION, "1s", BETWEEN("1ms", "1h"),
     FIELD(struct config_model, health_timeout_us), .meaning = "how long a health check may take"},

    {.path = "models.NAME.retry", .type = KEY_SECTION},
    {"models.NAME.retry.attempts", KEY_INTEGER, "3", BETWEEN("1", "16"), FIELD(struct config_model, attempts),
     .meaning = "how often a batch is sent at most, the first time included"},
    {"models.NAME.retry.budget", KEY_PERCENT, "20%", BETWEEN("0%", "100%"),
     FIELD(struct config_model, retry_percent),
     .meaning = "retries at most, as a share of batches; a replica that dies counts as one"},
    {.path = "models.NAME.hedge", .type = KEY_SECTION},
    {"models.NAME.hedge.budget", KEY_PERCENT, "5%", BETWEEN("0%", "100%"),
     FIELD(struct config_model, hedge_percent),
     .meaning =
         "batches that are late and sent to a second replica as well at most, as a share; 0%: none are"},

    {"endpoints", KEY_ENDPOINTS, .meaning = "what clients call, by name: POST /NAME/predict"},
    {"endpoints.NAME.slo", KEY_DURATION, "100ms", BETWEEN("100us", "1h"),
     FIELD(struct config_endpoint, slo_us),
     .meaning = "latency objective; a row that would miss it gets the default, or 504"},
    {"endpoints.NAME.priority", KEY_CHOICE, "normal", .words = priority_words,
     FIELD(struct config_endpoint, priority),
     .meaning =
         "which rows go first when a model has too much to do; a request's X-Xebec-Priority counts instead"},
    {"endpoints.NAME.share", KEY_INTEGER, "1", BETWEEN("1", "1000"), FIELD(struct config_endpoint, share),
     .meaning = "weight against other endpoints of the same model, when it has too much to do"},
    {"endpoints.NAME.default", KEY_ANSWER, FIELD(struct config_endpoint, defaults),
     .meaning = "the answer for one row when the model's does not come: output names and values"},
    {"endpoints.NAME.when_unready", KEY_CHOICE, "spill", .words = unready_words,
     FIELD(struct config_endpoint, when_unready),
     .meaning = "no replica of the version is ready: spill to a ready arm of the split, or else wait; "
                "wait for a replica until the SLO is over; fail at once"},
    {"endpoints.NAME.model", KEY_SOLE_ARM, FIELD(struct config_endpoint, arms),
     .meaning = "the version that answers, as digits@linear; one of this, split and canary"},
    {"endpoints.NAME.split", KEY_SPLIT, FIELD(struct config_endpoint, arms),
     .meaning = "several versions that share the requests; one of this, model and canary"},
    {"endpoints.NAME.split[].model", KEY_ARM_VERSION, .required = true, FIELD(struct config_arm, version),
     .meaning = "the version of this arm, as digits@linear"},
    {"endpoints.NAME.split[].weight", KEY_WEIGHT, .required = true, FIELD(struct config_arm, weight),
     .meaning = "its share, relative to the other weights; fractions are fine, 0 is none at all"},
    {"endpoints.NAME.split[].name", KEY_ARM_NAME, FIELD(struct config_arm, name),
     .meaning = "what headers and metrics call the arm; none: as its model, digits@linear"},

    {"endpoints.NAME.canary", KEY_CANARY, FIELD(struct config_endpoint, canary),
     .meaning = "a version that is let in step by step, on evidence; one of this, model and split"},
    {"endpoints.NAME.canary.baseline", KEY_ARM_VERSION, .required = true,
     FIELD(struct config_canary, baseline), .meaning = "the version that answers now, as digits@linear"},
    {"endpoints.NAME.canary.candidate", KEY_ARM_VERSION, .required = true,
     FIELD(struct config_canary, candidate), .meaning = "the version that is to take over, as digits@forest"},
    {"endpoints.NAME.canary.steps", KEY_STEPS, "[1%, 5%, 25%, 50%, 100%]", BETWEEN("0.01%", "100%"),
     FIELD(struct config_canary, steps), .meaning = "the candidate's share of the requests, step by step"},
    {"endpoints.NAME.canary.dwell", KEY_DURATION, "10m", BETWEEN("100ms", "720h"),
     FIELD(struct config_canary, dwell_us), .meaning = "how long each step lasts at least"},
    {"endpoints.NAME.canary.min_requests", KEY_INTEGER, "200", BETWEEN("0", "1000000000"),
     FIELD(struct config_canary, min_requests),
     .meaning = "how many requests of the candidate each step compares at least"},
    {"endpoints.NAME.canary.alpha", KEY_FRACTION, "5%", BETWEEN("0.0001%", "50%"),
     FIELD(struct config_canary, alpha),
     .meaning = "the chance that a candidate as good as the baseline is ever stopped by its gates, together"},
    {.path = "endpoints.NAME.canary.gates", .type = KEY_SECTION},
    {"endpoints.NAME.canary.gates.errors", KEY_FRACTION, "0.5%", BETWEEN("0.01%", "50%"),
     FIELD(struct config_canary, errors),
     .meaning = "how much higher the candidate's rate of failed requests may be, absolutely"},
    {"endpoints.NAME.canary.gates.latency", KEY_SWITCH, "on", FIELD(struct config_canary, latency_quantile),
     .meaning = "whether and how latency is judged"},
    {"endpoints.NAME.canary.gates.latency.quantile", KEY_FRACTION, "99%", BETWEEN("10%", "99.9%"),
     FIELD(struct config_canary, latency_quantile),
     .meaning = "what of the baseline's latency is the measure"},
    {"endpoints.NAME.canary.gates.latency.slower", KEY_FRACTION, "20%", BETWEEN("0%", "10000%"),
     FIELD(struct config_canary, latency_slower),
     .meaning = "how much slower the candidate may be, relative to that"},
    {"endpoints.NAME.canary.gates.disagreement", KEY_FRACTION, BETWEEN("0%", "99%"),
     FIELD(struct config_canary, disagreement),
     .meaning = "the share of rows on which a shadow of the candidate, which it needs, may answer otherwise; "
                "none: no gate"},
    {.path = "endpoints.NAME.canary.tolerate", .type = KEY_SECTION},
    {"endpoints.NAME.canary.tolerate.crashes", KEY_INTEGER, "0", BETWEEN("0", "1000000000"),
     FIELD(struct config_canary, crashes),
     .meaning = "replicas of the candidate that may be lost with calls in flight; one more stops it at once"},
    {"endpoints.NAME.canary.tolerate.contract", KEY_INTEGER, "0", BETWEEN("0", "1000000000"),
     FIELD(struct config_canary, contract),
     .meaning = "requests for which it may break the worker protocol's contract; one more stops it at once"},
    {"endpoints.NAME.canary.tolerate.nan", KEY_INTEGER, "0", BETWEEN("0", "1000000000"),
     FIELD(struct config_canary, nan),
     .meaning = "requests that it may answer with a NaN; one more stops it at once"},

    {.path = "endpoints.NAME.sticky", .type = KEY_SECTION},
    {"endpoints.NAME.sticky.header", KEY_STICKY, FIELD(struct config_endpoint, sticky),
     .meaning = "clients are told apart by this header of their requests"},
    {"endpoints.NAME.sticky.cookie", KEY_STICKY, FIELD(struct config_endpoint, sticky),
     .meaning = "or by this cookie"},
    {"endpoints.NAME.sticky.field", KEY_STICKY, FIELD(struct config_endpoint, sticky),
     .meaning = "or by this field of the body's top level, a text or a number"},
    {"endpoints.NAME.sticky.client", KEY_STICKY, FIELD(struct config_endpoint, sticky),
     .meaning = "or, with true, by their address"},
    {"endpoints.NAME.sticky.salt", KEY_STICKY, FIELD(struct config_endpoint, sticky),
     .meaning = "endpoints with equal salts send a client to alike arms; none: the endpoint's name"},
    {"endpoints.NAME.arm_header", KEY_BOOLEAN, "true", FIELD(struct config_endpoint, arm_header),
     .meaning = "whether the header X-Xebec-Arm of a request chooses its arm"},

    {"endpoints.NAME.shadow", KEY_SHADOWS, FIELD(struct config_endpoint, shadows),
     .meaning = "versions that are asked the same, and whose answers are compared, not given: up to 16"},
    {"endpoints.NAME.shadow[].model", KEY_ARM_VERSION, .required = true, FIELD(struct config_shadow, version),
     .meaning = "the version that is asked, as digits@next"},
    {"endpoints.NAME.shadow[].sample", KEY_FRACTION, "100%", BETWEEN("0%", "100%"),
     FIELD(struct config_shadow, sample),
     .meaning = "share of the requests that it is asked, each drawn on its own"},
    {.path = "endpoints.NAME.shadow[].tolerance", .type = KEY_SECTION},
    {"endpoints.NAME.shadow[].tolerance.absolute", KEY_REAL, "1e-6", FIELD(struct config_shadow, absolute),
     .meaning = "floats agree when they differ by no more than this, and the relative part"},
    {"endpoints.NAME.shadow[].tolerance.relative", KEY_REAL, "1e-3", FIELD(struct config_shadow, relative),
     .meaning = "the same, as a share of what the client got"},
    {"endpoints.NAME.shadow[].top_k", KEY_INTEGER, "0", BETWEEN("0", "32"),
     FIELD(struct config_shadow, top_k),
     .meaning = "of float outputs, how many of the k largest are the same; 0: not asked"},
    {"endpoints.NAME.shadow[].noise", KEY_FRACTION, "0.2%", BETWEEN("0%", "100%"),
     FIELD(struct config_shadow, noise),
     .meaning = "share of those requests that the primary is asked once more: how far it agrees with itself"},
    {"endpoints.NAME.shadow[].examples", KEY_INTEGER, "20", BETWEEN("0", "1000"),
     FIELD(struct config_shadow, examples),
     .meaning = "rows with the worst disagreement that each shard keeps for GET /shadows/NAME"},
    {"endpoints.NAME.shadow[].example_size", KEY_SIZE, "4KiB", BETWEEN("0B", "16MiB"),
     FIELD(struct config_shadow, example_bytes),
     .meaning = "inputs of a row, or an answer, that are larger are left out of its example"},
    {"endpoints.NAME.shadow[].inputs", KEY_CHOICE, "kept", .words = inputs_words,
     FIELD(struct config_shadow, inputs),
     .meaning =
         "what of the clients' inputs examples show: all, a keyed hash that tells equal rows, or nothing"},
    {"endpoints.NAME.shadow[].max_rows", KEY_INTEGER, "1024", BETWEEN("1", "1048576"),
     FIELD(struct config_shadow, max_rows), .meaning = "rows under way at once; what is over is dropped"},
    {"endpoints.NAME.shadow[].held", KEY_SIZE, "16MiB", BETWEEN("1KiB", "1TiB"),
     FIELD(struct config_shadow, held_bytes),
     .meaning = "memory for rows under way: inputs, and the answers they are compared with"},
    {"endpoints.NAME.shadow[].calls", KEY_INTEGER, "2", BETWEEN("1", "64"),
     FIELD(struct config_shadow, calls), .meaning = "batches of such rows in flight to the version at most"},
    {"endpoints.NAME.shadow[].timeout", KEY_DURATION, BETWEEN("1ms", "1h"),
     FIELD(struct config_shadow, timeout_us),
     .meaning = "how long a row may take before it is dropped; none: ten times the slo"},

    {"mlflow", KEY_ENDPOINT, FIELD(struct config, mlflow),
     .meaning = "the endpoint that answers MLflow's POST /invocations"},
};
const size_t key_table_size = sizeof key_table / sizeof key_table[0];

const char *batching_policy_name(enum batching_policy policy)
{
    return policy_words[policy];
}

const char *when_unready_name(enum when_unready policy)
{
    return unready_words[policy];
}
