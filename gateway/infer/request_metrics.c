/* request_metrics: tables of series, indexed by what the configuration numbers: endpoints, versions,
 * outcomes. */
#include "infer/request_metrics.h"

#include <stdlib.h>

/* An outcome is a status, or "default": an answer of the endpoint's default. */
enum { OUTCOME_DEFAULT = GW_STATUS_COUNT, OUTCOME_COUNT };

struct infer_metrics {
    struct metrics *metrics;
    const struct config *config;
    uint32_t versions; /* of the configuration, and one more for "none" */
    struct metric *open[REQUEST_STATE_COUNT];
    struct histogram **seconds;     /* by endpoint */
    struct metric **requests;       /* by endpoint, version, outcome */
    struct metric **rows;           /* by version, outcome */
    struct metric **spilled;        /* by endpoint, version */
    uint32_t *first_arm;            /* by endpoint: where its arms begin below */
    uint32_t n_arms;                /* of all endpoints */
    struct metric **arm_requests;   /* by arm, outcome */
    struct histogram **arm_seconds; /* by arm */
    struct amounts **arm_endings;   /* by arm, ending */
    struct metric **arm_last;       /* by arm */
};

static const char *outcome_name(uint32_t outcome)
{
    return outcome == OUTCOME_DEFAULT ? "default" : gw_status_cause((enum gw_status)outcome);
}

static const char *version_name(const struct config *config, uint32_t version)
{
    return version < config->n_versions ? config->versions[version]->full_name : "";
}

static bool open_states(struct infer_metrics *m)
{
    for (uint32_t state = 0; state < REQUEST_DONE; state++) {
        const char *name = request_state_name((enum request_state)state);
        m->open[state] = metrics_series(m->metrics, METRIC_REQUESTS_OPEN, METRIC_LABELS("state", name));
        if (!m->open[state])
            return false;
    }
    return true;
}

static bool open_endpoints(struct infer_metrics *m)
{
    for (uint32_t i = 0; i < m->config->n_endpoints; i++) {
        const char *name = m->config->endpoints[i]->name;
        m->seconds[i] =
            metrics_histogram(m->metrics, METRIC_REQUEST_SECONDS, METRIC_LABELS("endpoint", name));
        if (!m->seconds[i])
            return false;
    }
    return true;
}

static bool open_arms(struct infer_metrics *m)
{
    m->first_arm = calloc(m->config->n_endpoints + 1, sizeof *m->first_arm);
    for (uint32_t i = 0; m->first_arm && i < m->config->n_endpoints; i++) {
        m->first_arm[i] = m->n_arms;
        m->n_arms += m->config->endpoints[i]->n_arms;
    }
    m->arm_requests = calloc((size_t)m->n_arms * OUTCOME_COUNT + 1, sizeof(struct metric *));
    m->arm_seconds = calloc(m->n_arms + 1, sizeof(struct histogram *));
    m->arm_endings = calloc((size_t)m->n_arms * ARM_ENDING_COUNT + 1, sizeof(struct amounts *));
    m->arm_last = calloc(m->n_arms + 1, sizeof(struct metric *));
    return m->first_arm && m->arm_requests && m->arm_seconds && m->arm_endings && m->arm_last;
}

struct infer_metrics *infer_metrics_new(struct metrics *metrics, const struct config *config)
{
    struct infer_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->metrics = metrics;
    m->config = config;
    m->versions = config->n_versions + 1;
    m->seconds = calloc(config->n_endpoints + 1, sizeof(struct histogram *));
    m->requests =
        calloc((size_t)config->n_endpoints * m->versions * OUTCOME_COUNT + 1, sizeof(struct metric *));
    m->rows = calloc((size_t)m->versions * OUTCOME_COUNT, sizeof(struct metric *));
    m->spilled = calloc((size_t)config->n_endpoints * m->versions + 1, sizeof(struct metric *));
    if (m->seconds && m->requests && m->rows && m->spilled && open_arms(m) && open_states(m) &&
        open_endpoints(m))
        return m;
    infer_metrics_free(m);
    return NULL;
}

/* series: n instances, or NULL where none was needed; NULL: no table. */
static void release(struct infer_metrics *m, void **series, size_t n)
{
    for (size_t i = 0; series && i < n; i++)
        metrics_release(m->metrics, series[i]);
}

void infer_metrics_free(struct infer_metrics *m)
{
    if (!m)
        return;
    size_t n_versions = m->versions, n_requests = m->config->n_endpoints * n_versions * OUTCOME_COUNT;
    release(m, (void **)m->open, REQUEST_STATE_COUNT);
    release(m, (void **)m->seconds, m->config->n_endpoints);
    release(m, (void **)m->requests, n_requests);
    release(m, (void **)m->rows, n_versions * OUTCOME_COUNT);
    release(m, (void **)m->spilled, m->config->n_endpoints * n_versions);
    release(m, (void **)m->arm_requests, (size_t)m->n_arms * OUTCOME_COUNT);
    release(m, (void **)m->arm_seconds, m->n_arms);
    release(m, (void **)m->arm_endings, (size_t)m->n_arms * ARM_ENDING_COUNT);
    release(m, (void **)m->arm_last, m->n_arms);
    free(m->first_arm);
    free(m->arm_requests);
    free(m->arm_seconds);
    free(m->arm_endings);
    free(m->arm_last);
    free(m->seconds);
    free(m->requests);
    free(m->rows);
    free(m->spilled);
    free(m);
}

struct metrics *infer_metrics_registry(const struct infer_metrics *m)
{
    return m->metrics;
}

const char *arm_ending_name(enum arm_ending ending)
{
    static const char *const names[ARM_ENDING_COUNT] = {
        [ARM_ANSWERED] = "answered", [ARM_CACHED] = "cached", [ARM_FAILED] = "failed"};
    return names[ending];
}

void infer_metrics_move(struct infer_metrics *m, enum request_state from, enum request_state to)
{
    if (from != to)
        metric_sub(m->open[from], 1);
    if (to != REQUEST_DONE)
        metric_add(m->open[to], 1);
}

static void count_request(struct infer_metrics *m, uint32_t endpoint, uint32_t version, uint32_t outcome)
{
    struct metric **series = &m->requests[(endpoint * m->versions + version) * OUTCOME_COUNT + outcome];
    if (!*series)
        *series =
            metrics_series(m->metrics, METRIC_REQUESTS,
                           METRIC_LABELS("endpoint", m->config->endpoints[endpoint]->name, "version",
                                         version_name(m->config, version), "outcome", outcome_name(outcome)));
    if (*series)
        metric_add(*series, 1);
}

/* With answers from a cache: how it was for the client, whoever answered. */
static void count_ending(struct infer_metrics *m, const struct request *request, uint32_t arm,
                         uint32_t outcome, uint64_t took_us)
{
    enum arm_ending ending = outcome != GW_OK ? ARM_FAILED : request->asked_model ? ARM_ANSWERED : ARM_CACHED;
    const char *const *labels = METRIC_LABELS("endpoint", request->endpoint->name, "arm", request->arm->name);
    struct amounts **endings = &m->arm_endings[arm * ARM_ENDING_COUNT + ending];
    if (!*endings)
        *endings = metrics_amounts(
            m->metrics, METRIC_ARM_ENDINGS,
            METRIC_LABELS(labels[0], labels[1], labels[2], labels[3], "ending", arm_ending_name(ending)));
    if (*endings)
        amounts_add(*endings, (double)took_us * 1e-6, 1);
    if (ending == ARM_FAILED)
        return;
    if (!m->arm_last[arm])
        m->arm_last[arm] = metrics_series(m->metrics, METRIC_ARM_LAST, labels);
    if (m->arm_last[arm])
        metric_raise(m->arm_last[arm], (double)loop_wall_us() * 1e-6);
}

/* Latency without answers from a cache: they would show which arm's cache is warm, not which model is quick.
 */
static void count_arm(struct infer_metrics *m, const struct request *request, uint32_t outcome,
                      uint64_t took_us)
{
    uint32_t in_endpoint = (uint32_t)(request->arm - request->endpoint->arms);
    uint32_t arm = m->first_arm[request->endpoint->index] + in_endpoint;
    struct metric **series = &m->arm_requests[arm * OUTCOME_COUNT + outcome];
    if (!*series)
        *series = metrics_series(m->metrics, METRIC_ARM_REQUESTS,
                                 METRIC_LABELS("endpoint", request->endpoint->name, "arm", request->arm->name,
                                               "outcome", outcome_name(outcome)));
    if (*series)
        metric_add(*series, 1);
    count_ending(m, request, arm, outcome, took_us);
    if (!request->asked_model)
        return;
    if (!m->arm_seconds[arm])
        m->arm_seconds[arm] =
            metrics_histogram(m->metrics, METRIC_ARM_SECONDS,
                              METRIC_LABELS("endpoint", request->endpoint->name, "arm", request->arm->name));
    if (m->arm_seconds[arm])
        histogram_observe(m->arm_seconds[arm], took_us);
}

static void count_row(struct infer_metrics *m, uint32_t version, uint32_t outcome)
{
    struct metric **series = &m->rows[version * OUTCOME_COUNT + outcome];
    if (!*series)
        *series = metrics_series(
            m->metrics, METRIC_ROWS,
            METRIC_LABELS("version", version_name(m->config, version), "outcome", outcome_name(outcome)));
    if (*series)
        metric_add(*series, 1);
}

void infer_metrics_spilled(struct infer_metrics *m, const struct request *request)
{
    uint32_t endpoint = request->endpoint->index, version = request->version->index;
    struct metric **series = &m->spilled[endpoint * m->versions + version];
    if (!*series)
        *series = metrics_series(
            m->metrics, METRIC_SPILLED,
            METRIC_LABELS("endpoint", request->endpoint->name, "version", version_name(m->config, version)));
    if (*series)
        metric_add(*series, 1);
}

void infer_metrics_end(struct infer_metrics *m, const struct request *request, uint64_t now_us)
{
    uint32_t endpoint = request->endpoint->index;
    uint32_t version = request->version ? request->version->index : m->config->n_versions;
    uint32_t outcome = request->status;
    for (uint32_t i = 0; request->rows && i < request->n_rows; i++) {
        bool defaulted = request_row_defaulted(request, i);
        if (defaulted && request->status == GW_OK)
            outcome = OUTCOME_DEFAULT;
        count_row(m, version, defaulted ? OUTCOME_DEFAULT : (uint32_t)request->rows[i].outcome.status);
    }
    count_request(m, endpoint, version, outcome);
    if (request->arm)
        count_arm(m, request, outcome, now_us - request->received_us);
    histogram_observe(m->seconds[endpoint], now_us - request->received_us);
}
