/*
 * request: from bytes to an answer. The version is a fake in this file: it keeps the jobs it is given, and
 * the test sends them home; so is Redis: it keeps the question, and the test answers. The cache, the loop and
 * the arena are real. The dialect reads one row a byte of the body.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "infer/request.h"

/* --- the fake version --- */

enum { JOBS_MAX = 16 };

static struct job *jobs[JOBS_MAX];
static const struct version *asked[JOBS_MAX]; /* whom with jobs[i] */
static uint32_t n_jobs, n_recalled;
static bool has_digest;

void version_submit(struct version *version, struct job *job)
{
    asked[n_jobs] = version;
    jobs[n_jobs++] = job;
}
void version_recall(struct job *job, enum gw_status status)
{
    n_recalled++;
    job->recalled = true;
    job->recall_status = status;
}
/* The plan's version i is the address of this[i]. */
static bool is_ready[2];
bool version_is_ready(const struct version *version)
{
    return *(const bool *)version;
}
bool version_digest(const struct version *version, uint64_t digest[2])
{
    (void)version;
    digest[0] = digest[1] = 7;
    return has_digest;
}

uint64_t version_crashes(const struct version *version)
{
    return version == (const struct version *)&is_ready[1] ? 3 : 0;
}

struct version *version_ref(struct version *version)
{
    return version;
}
void version_unref(struct version *version)
{
    (void)version;
}

/* Every row of the job ends alike: well (a shared result), or with `status`. */
static void send_home(uint32_t i, enum gw_status status)
{
    struct job *job = jobs[i];
    struct predict_result *result = NULL;
    if (status == GW_OK) {
        result = predict_result_new();
        result->n_rows = job->entry.n_rows;
        result->digest[0] = result->digest[1] = 7;
    }
    for (uint32_t row = 0; row < job->entry.n_rows; row++)
        job->outcomes[row] = (struct row_outcome){.status = status,
                                                  .result = result ? predict_result_ref(result) : NULL,
                                                  .row = row,
                                                  .message = "why"};
    predict_result_unref(result);
    job->home(job);
}

/* --- the fake Redis --- */

static struct {
    enum cache_redis_mode mode;
    bool refuses; /* to take a question */
    uint64_t patience_us;
    uint32_t asked, given_up, stored; /* questions, those given up, answers */
    uint32_t n_rows;                  /* of the latest question */
    void (*told)(void *owner, struct cache_redis_found *found);
    void *owner;
} redis;
static char anything; /* for pointers that nobody looks through */

struct cache_redis_part *cache_redis_part(struct cache_redis *cache_, const char *version)
{
    (void)cache_;
    cr_assert(strcmp(version, "m@v") == 0 || strcmp(version, "m@w") == 0);
    return (struct cache_redis_part *)(void *)&anything;
}
enum cache_redis_mode cache_redis_mode(struct cache_redis_part *part, const uint64_t digest[2], uint32_t n)
{
    (void)part, (void)n;
    cr_assert_eq(digest[0], 7);
    return redis.mode;
}
bool cache_redis_wants(struct cache_redis_part *part, enum cache_redis_mode mode,
                       const struct cache_value_key *key)
{
    (void)part, (void)key;
    return mode == CACHE_REDIS_AWAITED || redis.patience_us; /* sampled: the test says */
}
struct cache_redis_lookup *cache_redis_ask(struct cache_redis_part *part,
                                           const struct cache_redis_question *question)
{
    (void)part;
    if (redis.refuses)
        return NULL;
    redis.asked++;
    redis.n_rows = question->n_rows;
    redis.told = question->told;
    redis.owner = question->owner;
    return (struct cache_redis_lookup *)(void *)&anything;
}
void cache_redis_give_up(struct cache_redis_lookup *lookup)
{
    cr_assert_eq((char *)lookup, &anything);
    redis.given_up++;
    redis.told = NULL;
}
uint64_t cache_redis_patience_us(const struct cache_redis_part *part, uint64_t now_us, uint64_t deadline_us)
{
    (void)part;
    cr_assert_gt(deadline_us, now_us);
    return redis.patience_us;
}
void cache_redis_store(struct cache_redis_part *part, const struct cache_value_key *key,
                       struct predict_result *answer, uint32_t row, uint64_t ttl_us)
{
    (void)part, (void)key;
    cr_assert_lt(row, answer->n_rows);
    cr_assert_eq(ttl_us, 1000000000);
    redis.stored++;
}
void cache_redis_model_took(struct cache_redis_part *part, uint64_t us)
{
    (void)part, (void)us;
}

/* Redis answers: the rows of which `found` has a letter other than '.' were there. */
static void tell(const char *found)
{
    struct cache_redis_found rows[JOBS_MAX] = {{0}};
    cr_assert(redis.told && strlen(found) == redis.n_rows);
    for (uint32_t i = 0; i < redis.n_rows; i++) {
        rows[i].ttl_us = 1000000;
        rows[i].answer = found[i] == '.' ? NULL : predict_result_new();
        if (rows[i].answer)
            rows[i].answer->n_rows = 1;
    }
    redis.told(redis.owner, rows);
    for (uint32_t i = 0; i < redis.n_rows; i++)
        cr_assert_null(rows[i].answer, "what was found is the rows' now");
}

/* --- a shard's infer, and clients --- */

static enum gw_status decode(struct request *request, const char *body, size_t length)
{
    if (!length)
        return gw_err_set(&request->err, GW_E_INVALID, "no rows");
    if (body[0] == '@') {
        request->asked_version = body + 1;
        request->asked_version_length = length - 1;
        body = "a", length = 1;
    }
    struct tensor *input = arena_zalloc(request->arena, sizeof *input);
    input->spec =
        (struct tensor_spec){.name = "x", .datatype = DT_UINT8, .dims = 1, .shape = {(int64_t)length}};
    input->data = (const uint8_t *)body;
    input->bytes = length;
    request->inputs = input;
    request->n_inputs = 1;
    request->n_rows = (uint32_t)length;
    request->is_batch = length > 1;
    return GW_OK;
}

static uint32_t encoded;
static void encode(struct request *request)
{
    encoded++;
    buf_printf(&request->reply, "%s", gw_status_cause(request->status));
}
static const struct dialect dialect = {.name = "letters", .decode = decode, .encode = encode};

static struct config config;
static struct config_model model;
static struct config_version version_config_, other_config;
static struct config_endpoint endpoint;
static struct config_arm arms[3];
static struct config_endpoint *endpoints[1];
static struct config_version *versions_config[2];
static struct config_default default_label;
static struct tensor_spec spec;
static struct loop *loop;
static struct metrics *metrics;
static struct cache *cache;
static struct infer infer;

/* What requests go by: the configuration as it is now, and fake versions. */
static struct period *make_period(void)
{
    struct plan *plan = plan_new(&config);
    cr_assert_not_null(plan);
    for (int i = 0; i < 2; i++)
        plan->versions[i] = (struct version *)&is_ready[i];
    struct period *period = period_new(metrics, plan);
    cr_assert_not_null(period);
    plan_unref(plan);
    return period;
}

/* With one arm, v; or with two, and all but one in a million requests belong to v. */
static void open_arms(uint32_t n_arms, bool cached, bool with_default)
{
    n_jobs = n_recalled = encoded = 0;
    has_digest = true;
    is_ready[0] = is_ready[1] = true;
    spec = (struct tensor_spec){.name = "x", .datatype = DT_UINT8, .dims = 1, .shape = {TENSOR_ANY}};
    model = (struct config_model){.name = "m",
                                  .cache = cached,
                                  .cache_ttl_us = 1000000000,
                                  .signature = {.inputs = &spec, .n_inputs = 1}};
    version_config_ = (struct config_version){.name = "v", .full_name = "m@v", .model = &model};
    other_config = (struct config_version){.name = "w", .full_name = "m@w", .model = &model, .index = 1};
    arms[0] = (struct config_arm){&version_config_, "m@v", 1000000};
    arms[1] = (struct config_arm){&other_config, "m@w", 1};
    default_label = (struct config_default){"label", "-1"};
    endpoint = (struct config_endpoint){.name = "e",
                                        .slo_us = 50000,
                                        .arms = arms,
                                        .n_arms = n_arms,
                                        .weight_sum = 1000000 + (n_arms - 1),
                                        .sticky = {.name = "", .salt = "e"},
                                        .signature = &model.signature,
                                        .defaults = &default_label,
                                        .n_defaults = with_default};
    endpoints[0] = &endpoint;
    versions_config[0] = &version_config_;
    versions_config[1] = &other_config;
    config = (struct config){.refs = 1,
                             .shards = 1,
                             .versions = versions_config,
                             .n_versions = 2,
                             .endpoints = endpoints,
                             .n_endpoints = 1,
                             .cache_bytes = cached ? 1 << 20 : 0};
    loop = loop_new();
    metrics = metrics_new();
    cache = cache_new(config.cache_bytes, metrics);
    cr_assert_eq(infer_init(&infer, loop, make_period(), cache, 0, 1), GW_OK);
}

static void open_infer(bool cached, bool with_default)
{
    open_arms(1, cached, with_default);
}

static void close_infer(void)
{
    cr_assert_eq(infer.open, 0);
    infer_clear(&infer);
    cache_free(cache);
    metrics_free(metrics);
    loop_free(loop);
}

struct client {
    struct arena arena;
    struct request *request;
    uint32_t answers;
    enum gw_status status;
    char what[256], version[16]; /* version: that answered */
    uint32_t defaulted;
    bool cancelled;
};

static void answered(struct request *request)
{
    struct client *client = request->client;
    client->answers++;
    client->status = request->status;
    client->cancelled = request->ending == GW_E_CANCELLED;
    snprintf(client->what, sizeof client->what, "%s", request->err.what);
    snprintf(client->version, sizeof client->version, "%s", request->version ? request->version->name : "");
    for (uint32_t i = 0; request->rows && i < request->n_rows; i++)
        client->defaulted += request_row_defaulted(request, i);
    request_free(request);
}

static void ask(struct client *client, const char *body)
{
    *client = (struct client){0};
    client->request =
        request_new(&infer, &endpoint, &dialect, &client->arena, loop_now_us(), answered, client);
    request_start(client->request, body, strlen(body));
}

static void leave(struct client *client)
{
    arena_clear(&client->arena);
}

/* Turns the loop until the client is answered, or two seconds passed. */
static void stop_loop(struct loop_timer *timer)
{
    (void)timer, loop_stop(loop);
}
static void turn_for(uint64_t us)
{
    struct loop_timer end = {.fire = stop_loop};
    cr_assert_eq(loop_timer_set(loop, &end, loop_now_us() + us), GW_OK);
    loop_run(loop);
}

Test(request, rows_go_as_one_job_and_the_reply_follows_their_return)
{
    struct client a;
    open_infer(false, false);
    ask(&a, "abc");
    cr_assert_eq(n_jobs, 1);
    cr_assert_eq(jobs[0]->entry.n_rows, 3);
    cr_assert_eq(a.answers, 0);
    send_home(0, GW_OK);
    cr_assert_eq(a.answers, 1);
    cr_assert_eq(a.status, GW_OK);
    leave(&a);
    close_infer();
}

Test(request, what_cannot_be_decoded_or_routed_ends_at_once_with_words)
{
    struct client a, b, c;
    open_infer(false, true);
    ask(&a, "");
    cr_assert_eq(a.status, GW_E_INVALID);
    cr_assert_str_eq(a.what, "no rows");
    ask(&b, "@w");
    cr_assert_eq(b.status, GW_E_INVALID);
    cr_assert_str_eq(b.what, "Requested version: w does not exist for model: m");
    ask(&c, "@m@v");
    cr_assert_eq(n_jobs, 1);
    send_home(0, GW_OK);
    cr_assert_eq(c.status, GW_OK);
    leave(&a), leave(&b), leave(&c);
    close_infer();
}

Test(request, a_row_asked_again_is_answered_from_memory_and_only_new_rows_travel)
{
    struct client a, b, c;
    open_infer(true, false);
    ask(&a, "ab");
    send_home(0, GW_OK);
    ask(&b, "ba");
    cr_assert_eq(b.answers, 1, "all rows were there");
    cr_assert_eq(n_jobs, 1);
    ask(&c, "abz");
    cr_assert_eq(jobs[1]->entry.n_rows, 1);
    cr_assert_eq(jobs[1]->rows[0], 2);
    send_home(1, GW_OK);
    cr_assert_eq(c.status, GW_OK);
    leave(&a), leave(&b), leave(&c);
    close_infer();
}

Test(request, identical_rows_in_flight_are_computed_once_and_failures_are_shared_not_kept)
{
    struct client a, b, c;
    open_infer(true, false);
    ask(&a, "a");
    ask(&b, "a");
    cr_assert_eq(n_jobs, 1);
    send_home(0, GW_E_MODEL);
    loop_flush(loop);
    cr_assert_eq(a.status, GW_E_MODEL);
    cr_assert_eq(b.status, GW_E_MODEL);
    cr_assert_str_eq(b.what, "why");
    ask(&c, "a");
    cr_assert_eq(n_jobs, 2, "the failure was not kept");
    send_home(1, GW_OK);
    leave(&a), leave(&b), leave(&c);
    close_infer();
}

Test(request, a_leader_that_hangs_up_hands_the_row_to_who_waits)
{
    struct client a, b;
    open_infer(true, false);
    ask(&a, "a");
    ask(&b, "a");
    request_cancel(a.request);
    cr_assert_eq(n_recalled, 1);
    send_home(0, GW_E_CANCELLED);
    cr_assert(a.cancelled);
    cr_assert_eq(encoded, 0, "nobody reads a reply");
    loop_flush(loop);
    cr_assert_eq(n_jobs, 2, "the waiter leads now");
    send_home(1, GW_OK);
    cr_assert_eq(b.status, GW_OK);
    leave(&a), leave(&b);
    close_infer();
}

Test(request, a_waiter_that_hangs_up_leaves_the_line)
{
    struct client a, b;
    open_infer(true, false);
    ask(&a, "a");
    ask(&b, "a");
    request_cancel(b.request);
    cr_assert_eq(b.answers, 1);
    leave(&b);
    send_home(0, GW_OK);
    loop_flush(loop);
    cr_assert_eq(a.status, GW_OK);
    leave(&a);
    close_infer();
}

Test(request, the_same_row_twice_in_one_request_is_computed_once)
{
    struct client a;
    open_infer(true, false);
    ask(&a, "aa");
    cr_assert_eq(jobs[0]->entry.n_rows, 1);
    send_home(0, GW_OK);
    loop_flush(loop);
    cr_assert_eq(a.answers, 1);
    cr_assert_eq(a.status, GW_OK);
    leave(&a);
    close_infer();
}

Test(request, an_objective_that_passes_recalls_the_job_and_answers_504)
{
    struct client a;
    open_infer(false, false);
    ask(&a, "a");
    turn_for(80000);
    cr_assert_eq(n_recalled, 1);
    cr_assert_eq(jobs[0]->recall_status, GW_E_DEADLINE);
    send_home(0, GW_E_DEADLINE);
    cr_assert_eq(a.answers, 1);
    cr_assert_eq(a.status, GW_E_DEADLINE);
    leave(&a);
    close_infer();
}

Test(request, a_waiter_whose_objective_passes_is_answered_without_the_leader)
{
    struct client a, b;
    open_infer(true, true);
    endpoint.slo_us = 10000000;
    ask(&a, "a");
    endpoint.slo_us = 20000;
    ask(&b, "a");
    turn_for(60000);
    cr_assert_eq(b.answers, 1);
    cr_assert_eq(b.defaulted, 1);
    cr_assert_eq(b.status, GW_OK);
    cr_assert_eq(a.answers, 0);
    send_home(0, GW_OK);
    leave(&a), leave(&b);
    close_infer();
}

Test(request, rows_that_fail_apart_are_partial_and_alike_are_one_error)
{
    struct client a, b;
    open_infer(false, false);
    ask(&a, "ab");
    struct job *job = jobs[0];
    job->outcomes[0] = (struct row_outcome){.status = GW_E_MODEL, .message = "bad row"};
    job->outcomes[1] = (struct row_outcome){.status = GW_OK};
    job->home(job);
    cr_assert_eq(a.status, GW_PARTIAL);
    ask(&b, "ab");
    send_home(1, GW_E_NO_REPLICA);
    cr_assert_eq(b.status, GW_E_NO_REPLICA);
    leave(&a), leave(&b);
    close_infer();
}

Test(request, a_default_covers_what_fails_but_not_what_is_invalid)
{
    struct client a, b;
    open_infer(false, true);
    ask(&a, "ab");
    send_home(0, GW_E_MODEL);
    cr_assert_eq(a.status, GW_OK);
    cr_assert_eq(a.defaulted, 2);
    ask(&b, "a");
    send_home(1, GW_E_INVALID);
    cr_assert_eq(b.status, GW_E_INVALID);
    cr_assert_eq(b.defaulted, 0);
    leave(&a), leave(&b);
    close_infer();
}

Test(request, without_a_digest_nothing_is_cached)
{
    struct client a, b;
    open_infer(true, false);
    has_digest = false;
    ask(&a, "a");
    ask(&b, "a");
    cr_assert_eq(n_jobs, 2);
    send_home(0, GW_OK);
    send_home(1, GW_OK);
    leave(&a), leave(&b);
    close_infer();
}

/* --- no replica is ready --- */

/* w takes over from v. */
static void open_split(bool cached, enum when_unready when_unready)
{
    open_arms(2, cached, false);
    endpoint.when_unready = when_unready;
    endpoint.slo_us = 5000000;
}

static void expect_job(uint32_t i, uint32_t version, uint32_t rows, bool waits)
{
    cr_assert_gt(n_jobs, i);
    cr_assert_eq(asked[i], (const struct version *)&is_ready[version]);
    cr_assert_eq(jobs[i]->entry.n_rows, rows);
    cr_assert_eq(jobs[i]->waits, waits);
}

static void expect_answer(struct client *client, enum gw_status status, const char *version)
{
    cr_assert_eq(client->answers, 1);
    cr_assert_eq(client->status, status, "%s", client->what);
    cr_assert_str_eq(client->version, version);
    leave(client);
}

/* --- what a canary's books say of it --- */

static const struct config_canary canary = {.baseline = &version_config_, .candidate = &other_config};
static struct arm_counts counts[BOOK_ARMS];

/* v is the baseline and gets all but one in a million. */
static void open_canary(bool cached, bool with_default, bool sticky)
{
    open_arms(2, cached, with_default);
    endpoint.canary = &canary;
    endpoint.slo_us = 5000000;
    endpoint.sticky.kind = sticky ? STICKY_HEADER : STICKY_NONE;
    infer_enter(&infer, make_period());
}

static void ask_as(struct client *client, const char *body, const char *sticky, const char *arm)
{
    *client = (struct client){0};
    client->request =
        request_new(&infer, &endpoint, &dialect, &client->arena, loop_now_us(), answered, client);
    client->request->sticky = sticky;
    client->request->sticky_length = sticky ? strlen(sticky) : 0;
    client->request->asked_arm = arm;
    request_start(client->request, body, strlen(body));
}

static void expect_books(uint64_t drawn, uint64_t requests, uint64_t bad)
{
    plan_count_arms(infer.period->plan, &endpoint, counts);
    cr_expect_eq(counts[0].drawn, drawn, "%lu drawn, not %lu", counts[0].drawn, drawn);
    cr_expect_eq(counts[0].requests, requests, "%lu compared, not %lu", counts[0].requests, requests);
    cr_expect_eq(counts[0].bad, bad, "%lu bad, not %lu", counts[0].bad, bad);
    cr_expect_eq(counts[0].latency.n, requests);
}

Test(request_canary, what_is_the_versions_doing_is_counted)
{
    static const struct {
        enum gw_status status;
        bool compared, bad;
    } ways[] = {{GW_OK, true, false},          {GW_E_MODEL, true, true},      {GW_E_CONTRACT, true, true},
                {GW_E_INVALID, true, true},    {GW_E_OVERLOAD, true, true},   {GW_E_DEADLINE, true, true},
                {GW_E_NO_REPLICA, true, true}, {GW_E_DRAINING, false, false}, {GW_E_CANCELLED, false, false}};
    uint64_t drawn = 0, compared = 0, bad = 0;
    open_canary(false, true, false);
    endpoint.when_unready = UNREADY_WAIT;
    for (uint32_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct client a;
        ask(&a, "ab");
        send_home(i, ways[i].status);
        cr_assert_eq(a.answers, 1);
        leave(&a);
        compared += ways[i].compared, bad += ways[i].bad;
        expect_books(++drawn, compared, bad);
    }
    cr_expect_eq(counts[0].contract, 1);
    close_infer();
}

Test(request_canary, a_client_that_left_and_input_that_is_none_say_nothing)
{
    struct client a, b;
    open_canary(false, false, false);
    ask(&a, "a");
    request_cancel(a.request);
    send_home(0, GW_OK);
    ask(&b, "");
    cr_assert(a.answers == 1 && b.answers == 1);
    expect_books(1, 0, 0);
    leave(&a), leave(&b);
    close_infer();
}

Test(request_canary, who_asked_for_an_arm_was_not_drawn)
{
    struct client a, b, c;
    open_canary(false, false, false);
    ask_as(&a, "a", NULL, "m@v");
    ask(&b, "@v");
    ask_as(&c, "a", NULL, "m@w");
    send_home(0, GW_E_MODEL), send_home(1, GW_E_CONTRACT), send_home(2, GW_OK);
    expect_books(0, 0, 0);
    cr_expect_eq(counts[0].contract, 1, "which is a hard stop, whoever asked");
    cr_expect_eq(counts[1].requests, 0);
    leave(&a), leave(&b), leave(&c);
    close_infer();
}

Test(request_canary, who_spilled_is_not_compared)
{
    struct client a;
    open_canary(false, false, false);
    is_ready[0] = false;
    ask(&a, "a");
    expect_job(0, 1, 1, false);
    send_home(0, GW_E_MODEL);
    expect_answer(&a, GW_E_MODEL, "w");
    expect_books(1, 0, 0);
    cr_expect_eq(counts[1].requests, 0);
    close_infer();
}

Test(request_canary, answers_from_the_cache_are_not_compared)
{
    struct client a, b, c, d;
    open_canary(true, false, false);
    ask(&a, "a");
    ask(&b, "a"); /* waits for a's answer */
    send_home(0, GW_OK);
    turn_for(1000);
    ask(&c, "a");
    cr_assert(a.answers == 1 && b.answers == 1 && c.answers == 1);
    expect_books(3, 1, 0);
    ask(&d, "ax");
    send_home(1, GW_OK);
    expect_books(4, 2, 0);
    leave(&a), leave(&b), leave(&c), leave(&d);
    close_infer();
}

Test(request_canary, a_sticky_client_is_one_draw)
{
    struct client a;
    open_canary(false, false, true);
    for (uint32_t i = 0; i < 3; i++) {
        ask_as(&a, "a", "anna", NULL);
        send_home(i, GW_E_MODEL);
        leave(&a);
    }
    expect_books(1, 1, 1);
    ask_as(&a, "a", "otto", NULL);
    send_home(3, GW_OK);
    leave(&a);
    for (uint32_t i = 4; i < 6; i++) { /* nobody in particular */
        ask_as(&a, "a", NULL, NULL);
        send_home(i, GW_OK);
        leave(&a);
    }
    expect_books(4, 4, 1);
    close_infer();
}

Test(request_canary, nan_is_seen)
{
    static const float rows[] = {1, 2, 3, __builtin_nanf("")};
    static const struct tensor output = {
        .spec = {.name = "y", .datatype = DT_FP32, .dims = 2, .shape = {2, 2}},
        .data = (const uint8_t *)rows,
        .bytes = sizeof rows};
    struct client a;
    open_canary(false, false, false);
    for (uint32_t row = 0; row < 2; row++) {
        struct predict_result *result = predict_result_new();
        result->n_rows = 2, result->n_outputs = 1, result->outputs = &output;
        ask(&a, "a");
        jobs[row]->outcomes[0] = (struct row_outcome){.status = GW_OK, .result = result, .row = row};
        jobs[row]->home(jobs[row]);
        expect_books(row + 1, row + 1, 0);
        cr_expect_eq(counts[0].nan, row);
        leave(&a);
    }
    close_infer();
}

Test(request_canary, books_go_on_in_the_next_plan_and_draws_begin_anew)
{
    struct client a, b;
    open_canary(false, false, false);
    cr_assert(plan_keep_books(infer.period->plan, NULL));
    ask(&a, "a");
    struct period *next = make_period();
    cr_assert(plan_keep_books(next->plan, infer.period->plan));
    cr_assert(plan_set_weights(next->plan, &endpoint, (double[]){1, 1}));
    uint64_t lot = counts[0].lot;
    infer_enter(&infer, next);
    send_home(0, GW_E_MODEL); /* by the plan before */
    expect_books(0, 1, 1);
    cr_expect_neq(counts[0].lot, lot);
    cr_expect(counts[1].share > 0.4 && counts[1].share < 0.6 && counts[0].share + counts[1].share == 1);
    cr_expect_eq(counts[1].crashed, 0, "what was lost before is not counted");
    leave(&a);

    next = make_period();
    next->plan->versions[1] = next->plan->versions[0]; /* another candidate: other books */
    cr_assert(plan_keep_books(next->plan, infer.period->plan));
    turn_for(1000);
    infer_enter(&infer, next);
    ask(&b, "a");
    send_home(1, GW_OK);
    leave(&b);
    expect_books(1, 1, 0);
    close_infer();
}

/* --- spilling --- */

Test(request, spills_to_the_arm_that_is_ready)
{
    struct client a;
    open_split(false, UNREADY_SPILL);
    is_ready[0] = false;
    ask(&a, "ab");
    expect_job(0, 1, 2, false);
    send_home(0, GW_OK);
    expect_answer(&a, GW_OK, "w");
    close_infer();
}

Test(request, spills_when_the_last_replica_is_lost_under_it)
{
    struct client a;
    open_split(false, UNREADY_SPILL);
    ask(&a, "ab");
    expect_job(0, 0, 2, false);
    is_ready[0] = false;
    send_home(0, GW_E_NO_REPLICA);
    expect_job(1, 1, 2, false);
    send_home(1, GW_OK);
    expect_answer(&a, GW_OK, "w");
    close_infer();
}

Test(request, with_no_arm_ready_it_waits_at_its_own)
{
    struct client a;
    open_split(false, UNREADY_SPILL);
    is_ready[0] = is_ready[1] = false;
    ask(&a, "a");
    expect_job(0, 0, 1, true);
    send_home(0, GW_OK);
    expect_answer(&a, GW_OK, "v");
    close_infer();
}

Test(request, never_spills_to_weight_0_nor_away_from_a_version_asked_for)
{
    struct client a, b;
    open_split(false, UNREADY_SPILL);
    is_ready[0] = false;
    ask(&a, "@v");
    expect_job(0, 0, 1, true);
    arms[1].weight = 0;
    endpoint.weight_sum = 1000000;
    infer_enter(&infer, make_period());
    ask(&b, "a");
    expect_job(1, 0, 1, true);
    send_home(0, GW_OK), send_home(1, GW_E_NO_REPLICA);
    expect_answer(&a, GW_OK, "v");
    expect_answer(&b, GW_E_NO_REPLICA, "v");
    close_infer();
}

Test(request, waits_or_fails_where_the_endpoint_says_so)
{
    struct client a, b;
    open_split(false, UNREADY_WAIT);
    is_ready[0] = false;
    ask(&a, "a");
    expect_job(0, 0, 1, true);
    send_home(0, GW_OK);
    expect_answer(&a, GW_OK, "v");
    endpoint.when_unready = UNREADY_FAIL;
    ask(&b, "a");
    cr_assert_eq(n_jobs, 1);
    expect_answer(&b, GW_E_NO_REPLICA, "v");
    close_infer();
}

Test(request, one_version_answers_all_rows_of_a_request_that_spills)
{
    struct client a, b, c;
    open_split(true, UNREADY_SPILL);
    ask(&a, "a");
    send_home(0, GW_OK);
    is_ready[0] = false;
    ask(&b, "a"); /* v's answer is in the cache: nobody is needed */
    expect_answer(&a, GW_OK, "v");
    expect_answer(&b, GW_OK, "v");
    ask(&c, "ab");
    expect_job(1, 1, 2, false); /* a, too, though v has an answer to it */
    send_home(1, GW_OK);
    expect_answer(&c, GW_OK, "w");
    close_infer();
}

Test(request, who_joined_a_row_that_is_lost_spills_as_well)
{
    struct client a, b;
    open_split(true, UNREADY_SPILL);
    ask(&a, "a");
    ask(&b, "a");
    cr_assert_eq(n_jobs, 1);
    is_ready[0] = false;
    send_home(0, GW_E_NO_REPLICA);
    turn_for(1000);
    cr_assert_eq(n_jobs, 2, "together again, at w");
    expect_job(1, 1, 1, false);
    send_home(1, GW_OK);
    turn_for(1000);
    expect_answer(&a, GW_OK, "w");
    expect_answer(&b, GW_OK, "w");
    close_infer();
}

Test(request, goes_round_but_not_for_ever)
{
    struct client a;
    open_split(false, UNREADY_SPILL);
    ask(&a, "a");
    for (uint32_t i = 0; !a.answers && i < JOBS_MAX; i++)
        send_home(i, GW_E_NO_REPLICA); /* both say that they are ready, and are not */
    cr_assert_eq(n_jobs, 4);           /* as many as there are arms, and one more, again */
    expect_answer(&a, GW_E_NO_REPLICA, "w");
    close_infer();
}

/* --- Redis behind the memory --- */

static void open_redis(enum cache_redis_mode mode)
{
    open_infer(true, false);
    infer.redis = (struct cache_redis *)(void *)&anything;
    memset(&redis, 0, sizeof redis);
    redis.mode = mode;
    redis.patience_us = 40000;
}

Test(request_redis, what_is_found_is_answered_and_kept_and_the_rest_is_computed_and_shared)
{
    struct client a, b;
    open_redis(CACHE_REDIS_AWAITED);
    ask(&a, "abc");
    cr_assert(redis.asked == 1 && redis.n_rows == 3 && n_jobs == 0);
    tell("a.c");
    cr_assert_eq(n_jobs, 1);
    cr_assert(jobs[0]->entry.n_rows == 1 && jobs[0]->rows[0] == 1);
    cr_assert_eq(redis.asked, 1, "once is enough");
    send_home(0, GW_OK);
    cr_assert(a.answers == 1 && a.status == GW_OK);
    cr_assert_eq(redis.stored, 1, "what was there is not stored again");
    ask(&b, "cab");
    cr_assert(b.answers == 1 && redis.asked == 1, "memory has them all");
    leave(&a), leave(&b);
    close_infer();
}

Test(request_redis, all_found_is_an_answer_without_a_job)
{
    struct client a;
    open_redis(CACHE_REDIS_AWAITED);
    ask(&a, "ab");
    tell("ab");
    cr_assert(a.answers == 1 && a.status == GW_OK && n_jobs == 0 && redis.stored == 0);
    leave(&a);
    close_infer();
}

Test(request_redis, who_waits_for_a_row_that_is_asked_gets_what_is_found)
{
    struct client a, b;
    open_redis(CACHE_REDIS_AWAITED);
    ask(&a, "a");
    ask(&b, "a");
    cr_assert_eq(redis.asked, 1);
    tell("a");
    loop_flush(loop);
    cr_assert(a.answers == 1 && b.answers == 1 && b.status == GW_OK && n_jobs == 0);
    leave(&a), leave(&b);
    close_infer();
}

Test(request_redis, patience_ends_before_the_objective_and_the_model_is_asked)
{
    struct client a;
    open_redis(CACHE_REDIS_AWAITED);
    redis.patience_us = 2000;
    ask(&a, "ab");
    turn_for(10000);
    cr_assert(redis.given_up == 1 && n_jobs == 1 && jobs[0]->entry.n_rows == 2);
    cr_assert_eq(redis.asked, 1);
    send_home(0, GW_OK);
    cr_assert(a.status == GW_OK && redis.stored == 2);
    leave(&a);
    close_infer();
}

Test(request_redis, the_objective_still_holds_afterwards)
{
    struct client a;
    open_redis(CACHE_REDIS_AWAITED);
    redis.patience_us = 2000;
    ask(&a, "a");
    turn_for(100000);
    cr_assert_eq(n_recalled, 1);
    send_home(0, GW_E_DEADLINE);
    cr_assert(a.status == GW_E_DEADLINE && redis.stored == 0);
    leave(&a);
    close_infer();
}

Test(request_redis, a_client_that_hangs_up_gives_the_lookup_up_and_who_waits_leads)
{
    struct client a, b;
    open_redis(CACHE_REDIS_AWAITED);
    ask(&a, "a");
    ask(&b, "a");
    request_cancel(a.request);
    cr_assert(a.cancelled && redis.given_up == 1 && n_jobs == 0);
    loop_flush(loop);
    cr_assert_eq(redis.asked, 2, "the waiter asks for itself");
    tell("a");
    cr_assert_eq(b.status, GW_OK);
    leave(&a), leave(&b);
    close_infer();
}

Test(request_redis, sampled_rows_are_asked_and_stored_but_not_waited_for)
{
    struct client a, b;
    open_redis(CACHE_REDIS_SAMPLED);
    ask(&a, "ab");
    cr_assert(redis.asked == 1 && !redis.told && n_jobs == 1 && jobs[0]->entry.n_rows == 2);
    send_home(0, GW_OK);
    cr_assert(a.status == GW_OK && redis.stored == 2);
    redis.patience_us = 0; /* none is picked */
    ask(&b, "cd");
    cr_assert(redis.asked == 1 && n_jobs == 2);
    send_home(1, GW_OK);
    cr_assert(b.status == GW_OK && redis.stored == 2);
    leave(&a), leave(&b);
    close_infer();
}

Test(request_redis, off_or_refused_is_as_without_it)
{
    struct client a, b;
    open_redis(CACHE_REDIS_OFF);
    ask(&a, "a");
    cr_assert(redis.asked == 0 && n_jobs == 1);
    redis.mode = CACHE_REDIS_AWAITED;
    redis.refuses = true;
    ask(&b, "b");
    cr_assert_eq(n_jobs, 2);
    send_home(0, GW_OK);
    send_home(1, GW_OK);
    cr_assert(a.status == GW_OK && b.status == GW_OK);
    leave(&a), leave(&b);
    close_infer();
}

Test(request_redis, failures_are_not_stored)
{
    struct client a;
    open_redis(CACHE_REDIS_AWAITED);
    ask(&a, "a");
    tell(".");
    send_home(0, GW_E_MODEL);
    cr_assert(a.status == GW_E_MODEL && redis.stored == 0);
    leave(&a);
    close_infer();
}

Test(request_redis, without_memory_redis_is_the_only_level)
{
    struct client a, b;
    open_redis(CACHE_REDIS_AWAITED);
    config.cache_bytes = 0; /* what memory keeps is another matter here: that it is asked at all */
    ask(&a, "a");
    cr_assert_eq(redis.asked, 1);
    tell("a");
    cr_assert_eq(a.status, GW_OK);
    infer.redis = NULL;
    ask(&b, "b");
    cr_assert(redis.asked == 1 && n_jobs == 1);
    send_home(0, GW_OK);
    leave(&a), leave(&b);
    close_infer();
}

/* What was asked of one version's part is nothing to another's: all begins anew. */
Test(request_redis, a_request_that_spills_asks_again_for_its_new_version)
{
    struct client a;
    open_split(true, UNREADY_SPILL);
    infer.redis = (struct cache_redis *)(void *)&anything;
    memset(&redis, 0, sizeof redis);
    redis.mode = CACHE_REDIS_AWAITED;
    redis.patience_us = 40000;
    ask(&a, "a");
    tell(".");
    is_ready[0] = false;
    send_home(0, GW_E_NO_REPLICA);
    turn_for(1000);
    cr_assert_eq(redis.asked, 2);
    tell("a");
    expect_answer(&a, GW_OK, "w");
    cr_assert_eq(redis.stored, 0);
    close_infer();
}
