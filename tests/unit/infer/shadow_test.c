/*
 * shadow: who is drawn, what is admitted, what a run takes along, and what becomes of it. The version is a
 * fake in this file: it keeps the jobs it is given, and the test sends them home, whenever it likes. Requests
 * are made by hand, as they are when their reply is sent.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/request.h"

/* --- the fake version --- */

enum { JOBS_MAX = 16 };

static struct job *jobs[JOBS_MAX];
static const struct version *asked[JOBS_MAX];
static uint32_t n_jobs, n_recalled;
static int version_refs;
static char versions[2]; /* the plan's version i is the address of versions[i] */

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
bool version_is_ready(const struct version *version)
{
    return (void)version, true;
}
bool version_digest(const struct version *version, uint64_t digest[2])
{
    return (void)version, (void)digest, false;
}
uint64_t version_crashes(const struct version *version)
{
    return (void)version, 0;
}
struct version *version_ref(struct version *version)
{
    version_refs++;
    return version;
}
void version_unref(struct version *version)
{
    version_refs -= version != NULL;
}

/* --- answers: one output y, FP32, a number a row --- */

static struct predict_result *make_result(const float *numbers, uint32_t n, uint64_t digest)
{
    struct predict_result *result = predict_result_new();
    struct tensor *output = arena_zalloc(&result->arena, sizeof *output);
    float *data = arena_array(&result->arena, n, sizeof *data);
    memcpy(data, numbers, n * sizeof *data);
    output->spec = (struct tensor_spec){.name = "y", .datatype = DT_FP32, .dims = 1, .shape = {n}};
    output->data = (const uint8_t *)data;
    output->bytes = n * sizeof *data;
    result->outputs = output;
    result->n_outputs = 1;
    result->n_rows = n;
    result->digest[0] = digest;
    return result;
}

/* Every row of the job gets its number, or the status. */
static void send_home(uint32_t i, enum gw_status status, const float *numbers, uint64_t digest)
{
    struct job *job = jobs[i];
    uint32_t n = job->entry.n_rows;
    struct predict_result *result = numbers ? make_result(numbers, n, digest) : NULL;
    for (uint32_t row = 0; row < n; row++)
        job->outcomes[row] = (struct row_outcome){
            .status = status, .result = result ? predict_result_ref(result) : NULL, .row = row};
    predict_result_unref(result);
    job->call_us = numbers ? 300 : 0;
    job->home(job);
}

/* --- a shard, and requests that have their reply --- */

static struct config_model model;
static struct config_version primary_config, shadow_config_;
static struct config_version *versions_config[2];
static struct config_arm arms[2];
static struct config_shadow shadow;
static struct config_endpoint endpoint;
static struct config_endpoint *endpoints[1];
static struct config config;
static struct tensor_spec input_spec;
static struct loop *loop;
static struct metrics *metrics;
static struct cache *cache;
static struct infer infer;

static void open_shadow(struct config_shadow wanted)
{
    n_jobs = n_recalled = 0;
    version_refs = 0;
    input_spec = (struct tensor_spec){.name = "x", .datatype = DT_UINT8, .dims = 1, .shape = {TENSOR_ANY}};
    model = (struct config_model){.name = "m", .signature = {.inputs = &input_spec, .n_inputs = 1}};
    primary_config = (struct config_version){.name = "v", .full_name = "m@v", .model = &model};
    shadow_config_ = (struct config_version){.name = "w", .full_name = "m@w", .model = &model, .index = 1};
    versions_config[0] = &primary_config;
    versions_config[1] = &shadow_config_;
    arms[0] = (struct config_arm){&primary_config, "m@v", 1};
    arms[1] = (struct config_arm){&shadow_config_, "m@w", 1};
    shadow = wanted;
    shadow.version = &shadow_config_;
    shadow.timeout_us = shadow.timeout_us ? shadow.timeout_us : 1000000;
    shadow.max_rows = shadow.max_rows ? shadow.max_rows : 100;
    shadow.held_bytes = shadow.held_bytes ? shadow.held_bytes : 1 << 20;
    shadow.calls = 2;
    endpoint = (struct config_endpoint){.name = "e",
                                        .arms = arms,
                                        .n_arms = 2,
                                        .weight_sum = 2,
                                        .sticky = {.name = "", .salt = "e"},
                                        .signature = &model.signature,
                                        .shadows = &shadow,
                                        .n_shadows = 1};
    endpoints[0] = &endpoint;
    config = (struct config){.refs = 1,
                             .shards = 1,
                             .versions = versions_config,
                             .n_versions = 2,
                             .endpoints = endpoints,
                             .n_endpoints = 1};
    loop = loop_new();
    metrics = metrics_new();
    cache = cache_new(0, metrics);
    struct plan *plan = plan_new(&config);
    for (int i = 0; i < 2; i++)
        plan->versions[i] = (struct version *)(void *)&versions[i];
    cr_assert(plan_open_shadows(plan, NULL, metrics));
    struct period *period = period_new(metrics, plan);
    plan_unref(plan);
    cr_assert_eq(infer_init(&infer, loop, period, cache, 0, 1), GW_OK);
}

static struct shadow *the_shadow(void)
{
    return infer.period->plan->endpoints[0].shadows[0];
}

static void close_shadow(void)
{
    loop_flush(loop); /* runs that are home go at the end of the turn */
    cr_assert_null(infer.shadows.first);
    cr_assert_eq(shadow_rows_open(the_shadow()), 0);
    cr_assert_eq(shadow_bytes_held(the_shadow()), 0);
    cr_assert_eq(version_refs, 0);
    infer_clear(&infer);
    cache_free(cache);
    metrics_free(metrics);
    loop_free(loop);
}

/* A request of n rows, answered by the primary with these numbers, or ended with `status`; then it is gone
 * for good. */
static void follow(uint64_t id, uint32_t n, const float *numbers, enum gw_status status)
{
    struct arena arena = {0};
    struct request *request = arena_zalloc(&arena, sizeof *request);
    struct predict_result *result = numbers ? make_result(numbers, n, 7) : NULL;
    struct tensor *input = arena_zalloc(&arena, sizeof *input);
    uint8_t *bytes = arena_zalloc(&arena, n);
    for (uint32_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(id + i);
    *input = (struct tensor){
        .spec = {.name = "x", .datatype = DT_UINT8, .dims = 1, .shape = {n}}, .data = bytes, .bytes = n};
    *request = (struct request){.infer = &infer,
                                .period = infer.period,
                                .arena = &arena,
                                .endpoint = &endpoint,
                                .id = id,
                                .inputs = input,
                                .n_inputs = 1,
                                .n_rows = n,
                                .version = &primary_config,
                                .rows = arena_zalloc(&arena, n * sizeof(struct row)),
                                .call_us = 100};
    for (uint32_t i = 0; i < n; i++)
        request->rows[i].outcome = (struct row_outcome){
            .status = status, .result = result ? predict_result_ref(result) : NULL, .row = i};
    shadow_follow(request);
    for (uint32_t i = 0; i < n; i++)
        predict_result_unref(request->rows[i].outcome.result);
    predict_result_unref(result);
    memset(bytes, 0xEE, n);
    arena_clear(&arena);
}

static struct shadow_report report(void)
{
    struct shadow_report report = {0};
    shadow_report_add(the_shadow(), 0, &report);
    return report;
}

/* --- drawing --- */

Test(shadow, a_share_is_what_it_says_nests_and_is_independent_of_other_shadows)
{
    uint64_t one = shadow_salt("e", "m@v"), other = shadow_salt("e", "m@w");
    uint32_t n = 0, both = 0, others = 0;
    for (uint64_t id = 1; id <= 100000; id++) {
        bool drawn = shadow_draws(one, id, 0.25), also = shadow_draws(other, id, 0.25);
        n += drawn, others += also, both += drawn && also;
        cr_assert(!drawn || shadow_draws(one, id, 0.5), "who is drawn for less is drawn for more");
        cr_assert_not(shadow_draws(one, id, 0));
        cr_assert(shadow_draws(one, id, 1));
    }
    cr_assert_lt(abs((int)n - 25000), 700); /* 5 sigma */
    cr_assert_lt(abs((int)others - 25000), 700);
    cr_assert_lt(abs((int)both - 6250), 400);
}

Test(shadow, names_that_run_into_each_other_draw_differently)
{
    cr_assert_neq(shadow_salt("ab", "c"), shadow_salt("a", "bc"));
}

/* --- what goes, and what comes of it --- */

Test(shadow, a_run_owns_all_it_needs_and_outlives_its_request)
{
    open_shadow((struct config_shadow){.sample = 1, .examples = 4, .example_bytes = 100});
    follow(5, 3, (float[]){1, 2, 3}, GW_OK);
    cr_assert_eq(n_jobs, 1);
    cr_assert_eq(jobs[0]->entry.n_rows, 3);
    cr_assert_eq(jobs[0]->background_calls, 2);
    cr_assert_not(jobs[0]->waits);
    cr_assert_eq((const char *)asked[0], &versions[1]);
    cr_assert_arr_eq(jobs[0]->inputs[0].data, ((uint8_t[]){5, 6, 7}), 3);
    send_home(0, GW_OK, (float[]){1, 2.5f, NAN}, 9);
    struct shadow_report told = report();
    cr_assert_eq(told.sent, 3);
    cr_assert_eq(told.answers.verdict[COMPARE_AGREES], 1);
    cr_assert_eq(told.answers.verdict[COMPARE_TOLERANCE], 1);
    cr_assert_eq(told.answers.verdict[COMPARE_NOT_FINITE], 1);
    cr_assert_str_eq(told.answers.output[0].name, "y");
    cr_assert_eq(told.calls, 1);
    cr_assert_eq(told.primary_call_us, 100);
    cr_assert_eq(told.shadow_call_us, 300);
    struct shadow_counts counts;
    shadow_counts(the_shadow(), &counts);
    cr_assert_eq(counts.compared, 3);
    cr_assert_eq(counts.disagreed, 2);
    cr_assert_eq(counts.noise_compared, 0);
    const struct worst_example *examples[4];
    cr_assert_eq(shadow_examples(the_shadow(), 0, examples, 4), 2);
    cr_assert_eq(examples[0]->row.verdict, COMPARE_NOT_FINITE);
    cr_assert_str_eq(examples[0]->request_id, "5");
    cr_assert_eq(examples[0]->inputs->outputs[0].data[0], 7);
    close_shadow();
}

Test(shadow, jobs_come_home_in_any_order)
{
    open_shadow((struct config_shadow){.sample = 1});
    for (uint64_t id = 0; id < 3; id++)
        follow(id, 1, (float[]){(float)id}, GW_OK);
    send_home(2, GW_OK, (float[]){2}, 0);
    send_home(0, GW_OK, (float[]){0}, 0);
    send_home(1, GW_OK, (float[]){8}, 0);
    cr_assert_eq(report().answers.verdict[COMPARE_AGREES], 2);
    cr_assert_eq(report().answers.verdict[COMPARE_TOLERANCE], 1);
    close_shadow();
}

Test(shadow, rows_that_the_gateway_gave_up_are_no_evidence_and_those_that_models_failed_are)
{
    open_shadow((struct config_shadow){.sample = 1});
    follow(1, 2, NULL, GW_E_DEADLINE);
    follow(2, 2, NULL, GW_E_NO_REPLICA);
    follow(3, 2, NULL, GW_E_OVERLOAD);
    cr_assert_eq(n_jobs, 0);
    follow(4, 1, NULL, GW_E_CONTRACT);
    send_home(0, GW_OK, (float[]){1}, 0);
    cr_assert_eq(report().answers.verdict[COMPARE_PRIMARY_FAILED], 1);
    follow(5, 1, (float[]){1}, GW_OK);
    send_home(1, GW_E_MODEL, NULL, 0);
    cr_assert_eq(report().answers.verdict[COMPARE_SHADOW_FAILED], 1);
    follow(6, 1, NULL, GW_E_MODEL);
    send_home(2, GW_E_CONTRACT, NULL, 0);
    cr_assert_eq(report().answers.verdict[COMPARE_BOTH_FAILED], 1);
    close_shadow();
}

Test(shadow, what_comes_back_unanswered_is_dropped_by_its_cause)
{
    static const struct {
        enum gw_status status;
        enum shadow_drop drop;
    } cases[] = {{GW_E_DEADLINE, SHADOW_DROP_DEADLINE},
                 {GW_E_NO_REPLICA, SHADOW_DROP_REPLICA},
                 {GW_E_OVERLOAD, SHADOW_DROP_QUEUE},
                 {GW_E_NO_MEMORY, SHADOW_DROP_MEMORY},
                 {GW_E_DRAINING, SHADOW_DROP_STOPPED}};
    open_shadow((struct config_shadow){.sample = 1});
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        follow(i, 2, (float[]){1, 2}, GW_OK);
        send_home(i, cases[i].status, NULL, 0);
        cr_assert_eq(report().dropped[cases[i].drop], 2, "%s", shadow_drop_name(cases[i].drop));
    }
    cr_assert_eq(report().answers.rows, 0);
    close_shadow();
}

Test(shadow, a_request_that_the_shadow_itself_answered_or_that_was_cancelled_has_none)
{
    open_shadow((struct config_shadow){.sample = 1});
    struct request request = {.infer = &infer,
                              .period = infer.period,
                              .endpoint = &endpoint,
                              .version = &shadow_config_,
                              .n_rows = 1,
                              .rows = &(struct row){.outcome = {.status = GW_OK}}};
    shadow_follow(&request);
    request.version = &primary_config;
    request.ending = GW_E_CANCELLED;
    shadow_follow(&request);
    request = (struct request){.infer = &infer, .period = infer.period, .endpoint = &endpoint};
    shadow_follow(&request); /* it never had rows */
    cr_assert_eq(n_jobs, 0);
    close_shadow();
}

/* --- bounds --- */

Test(shadow, rows_and_bytes_under_way_are_bounded_and_given_back)
{
    open_shadow((struct config_shadow){.sample = 1, .max_rows = 5});
    follow(1, 3, (float[]){1, 2, 3}, GW_OK);
    follow(2, 3, (float[]){1, 2, 3}, GW_OK);
    follow(3, 2, (float[]){1, 2}, GW_OK);
    cr_assert_eq(n_jobs, 2);
    cr_assert_eq(shadow_rows_open(the_shadow()), 5);
    cr_assert_eq(report().dropped[SHADOW_DROP_ROWS], 3);
    cr_assert_gt(shadow_bytes_held(the_shadow()), 0);
    for (uint32_t i = 0; i < 2; i++)
        send_home(i, GW_OK, (float[]){1, 2, 3}, 0);
    close_shadow();

    open_shadow((struct config_shadow){.sample = 1, .held_bytes = 1000});
    follow(1, 100, (float[100]){0}, GW_OK);
    cr_assert_eq(n_jobs, 0);
    cr_assert_eq(report().dropped[SHADOW_DROP_HELD], 100);
    cr_assert_eq(shadow_rows_open(the_shadow()), 0);
    close_shadow();
}

static void stop_loop(struct loop_timer *timer)
{
    (void)timer, loop_stop(loop);
}

Test(shadow, a_run_that_is_late_is_called_back_once_and_comes_home_when_it_may)
{
    open_shadow((struct config_shadow){.sample = 1, .timeout_us = 1000});
    follow(1, 1, (float[]){1}, GW_OK);
    struct loop_timer end = {.fire = stop_loop};
    cr_assert_eq(loop_timer_set(loop, &end, loop_now_us() + 5000), GW_OK);
    loop_run(loop);
    cr_assert_eq(n_recalled, 1);
    cr_assert_eq(jobs[0]->recall_status, GW_E_DEADLINE);
    shadow_line_recall(&infer.shadows);
    cr_assert_eq(n_recalled, 1, "on its way back already");
    send_home(0, GW_E_DEADLINE, NULL, 0);
    cr_assert_eq(report().dropped[SHADOW_DROP_DEADLINE], 1);
    close_shadow();
}

Test(shadow, all_are_called_back_at_the_end)
{
    open_shadow((struct config_shadow){.sample = 1});
    follow(1, 1, (float[]){1}, GW_OK);
    follow(2, 1, (float[]){1}, GW_OK);
    shadow_line_recall(&infer.shadows);
    cr_assert_eq(n_recalled, 2);
    cr_assert_eq(jobs[1]->recall_status, GW_E_DRAINING);
    send_home(0, GW_E_DRAINING, NULL, 0);
    send_home(1, GW_OK, (float[]){1}, 0);
    cr_assert_eq(report().dropped[SHADOW_DROP_STOPPED], 1);
    close_shadow();
}

/* --- the noise floor --- */

Test(shadow, the_primary_is_asked_once_more_and_compared_with_itself)
{
    open_shadow((struct config_shadow){.sample = 1, .noise = 1, .examples = 4, .example_bytes = 100});
    follow(1, 2, (float[]){1, 2}, GW_OK);
    cr_assert_eq(n_jobs, 2);
    cr_assert_eq((const char *)asked[0], &versions[1]);
    cr_assert_eq((const char *)asked[1], &versions[0]);
    cr_assert_eq(jobs[1]->background_calls, 1);
    send_home(0, GW_OK, (float[]){1, 2}, 0);
    send_home(1, GW_OK, (float[]){1, 3}, 7);
    struct shadow_counts counts;
    shadow_counts(the_shadow(), &counts);
    cr_assert_eq(counts.noise_compared, 2);
    cr_assert_eq(counts.noise_disagreed, 1);
    cr_assert_eq(counts.disagreed, 0);
    cr_assert_eq(report().calls, 1, "noise is not the shadow's latency");
    const struct worst_example *examples[4];
    cr_assert_eq(shadow_examples(the_shadow(), 0, examples, 4), 0, "noise is no example");
    follow(2, 1, (float[]){1}, GW_OK);
    send_home(3, GW_OK, (float[]){5}, 8);
    cr_assert_eq(report().dropped[SHADOW_DROP_STALE], 1, "another model says nothing of noise");
    send_home(2, GW_OK, (float[]){1}, 0);
    close_shadow();
}

/* --- reloads --- */

/* A plan for endpoint e with m@v, m@w behind it in the shadow, whose versions are these. */
static struct plan *make_plan(const char *keys, char *primary, char *other, const struct plan *former)
{
    char text[512];
    struct config_problems problems;
    snprintf(text, sizeof text,
             "shards: 2\n"
             "models: {m: {input: {x: {datatype: FP32, shape: [-1]}}, versions: {v: {replicas: ['h:1']}, w: "
             "{replicas: ['h:2']}}}}\n"
             "endpoints: {d: {model: m@w}, e: {model: m@v, shadow: [{model: m@w, %s}]}}\n",
             keys);
    struct config *parsed = config_parse("f.yaml", text, strlen(text), &problems);
    cr_assert_not_null(parsed, "%s", problems.count ? problems.list[0].what : "");
    struct plan *plan = plan_new(parsed);
    config_unref(parsed);
    plan->versions[0] = (struct version *)(void *)primary;
    plan->versions[1] = (struct version *)(void *)other;
    cr_assert(plan_open_shadows(plan, former, metrics));
    return plan;
}

static const struct shadow *shadow_of(const struct plan *plan)
{
    return plan->endpoints[1].shadows[0];
}

Test(shadow, a_plan_takes_over_the_shadows_that_stay_the_same_and_no_others)
{
    static char v, w, another;
    metrics = metrics_new();
    struct plan *first = make_plan("sample: 50%", &v, &w, NULL);
    struct plan *same = make_plan("sample: 50%", &v, &w, first);
    cr_assert_eq(shadow_of(same), shadow_of(first));
    struct plan *others[] = {make_plan("sample: 51%", &v, &w, same),
                             make_plan("sample: 50%", &v, &another, same),
                             make_plan("sample: 50%", &another, &w, same)};
    for (int i = 0; i < 3; i++) {
        cr_assert_neq(shadow_of(others[i]), shadow_of(same), "%d", i);
        plan_unref(others[i]);
    }
    plan_unref(first);
    struct shadow_counts counts;
    shadow_counts(shadow_of(same), &counts);
    cr_assert_eq(counts.compared, 0, "it lives on in the plan that took it over");
    plan_unref(same);
    metrics_free(metrics);
}
