/*
 * What may lie in Redis under the key of a rollout, or in a state_dir. Byte 0 picks where; in a file the
 * checksum is made right, as somebody does who can write there. What was believed is used: measured against
 * the file's endpoints, gone on from as a canary, judged and guarded; and comes back the same when it is
 * written and read again.
 */
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "judge/canary.h"
#include "rollouts/rollout.h"
#include "rollouts/rollout_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char file[] =
    "models:\n"
    "  m:\n"
    "    input: {x: {datatype: FP32, shape: [-1, 1]}}\n"
    "    versions: {v1: {replicas: [\"unix:/a\"]}, v2: {replicas: [\"unix:/b\"]}}\n"
    "endpoints:\n"
    "  e: {split: [{model: m@v1, weight: 90}, {model: m@v2, weight: 10}]}\n"
    "  c: {canary: {baseline: m@v1, candidate: m@v2, steps: [5%, 50%, 100%], dwell: 1s, min_requests: 0}}\n";

static void require(bool holds)
{
    if (!holds)
        abort();
}

static const struct config *config(void)
{
    static struct config *parsed;
    struct config_problems problems;
    if (!parsed) {
        parsed = config_parse("fuzz.yaml", file, sizeof file - 1, &problems);
        require(parsed != NULL);
        config_problems_clear(&problems);
    }
    return parsed;
}

static void require_same(struct buf *a, struct buf *b)
{
    require(!a->failed && !b->failed && a->length == b->length && !memcmp(a->bytes, b->bytes, a->length));
    buf_clear(a);
    buf_clear(b);
}

/* --- a canary --- */

static void require_sane(const struct canary *canary)
{
    double weight = canary_weight(canary);
    require((unsigned)canary->phase < CANARY_PHASES && canary->step < canary->config->n_steps);
    require(weight >= 0 && weight <= 1 &&
            !(canary_is_live(canary) && weight > canary->config->steps[canary->step]));
    for (int i = 0; i < CANARY_GATES; i++) {
        double p = canary_p_value(canary, (enum canary_gate)i);
        require(p >= 0 && p <= 1);
    }
    require(strlen(canary_why(canary)) < CANARY_WHY_ROOM);
}

static void go_on(struct canary *canary)
{
    static struct arm_counts counts[BOOK_ARMS]; /* large */
    struct canary_guard guard = {0};
    struct buf wait = {0};
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 8; i++) {
        for (int arm = 0; arm < BOOK_ARMS; arm++) {
            counts[arm].share = 0.5;
            counts[arm].drawn += 50, counts[arm].requests += 50, counts[arm].bad += (uint64_t)arm;
        }
        canary_judge(canary, counts, true, (uint64_t)(1000 + i) * 1000000);
        require_sane(canary);
        canary_print_wait(canary, &wait);
        buf_clear(&wait);
    }
    canary_guard_meet(&guard, canary, &counts[1]);
    counts[1].nan++;
    bool was_live = canary_is_live(canary);
    require(canary_guard_watch(&guard, canary, &counts[1], 1) == was_live);
}

static void try_canary(const char *text)
{
    static struct canary canary, again; /* 40 KiB each */
    const struct config_canary *asked = config_endpoint(config(), "c", 1)->canary;
    struct buf first = {0}, second = {0};
    if (!canary_read(&canary, asked, text, strlen(text), 1000000000)) {
        require(canary.phase == CANARY_RUNNING && canary.step == 0 && !canary.begun);
        return;
    }
    require_sane(&canary);
    canary_write(&canary, &first);
    require(canary_read(&again, asked, first.bytes, first.length, 1000000000));
    canary_write(&again, &second);
    require_same(&first, &second);
    go_on(&canary);
}

/* --- a record --- */

static void measure(const struct rollout *record, const struct config_endpoint *endpoint)
{
    double weights[CONFIG_ARMS_MAX], sum = 0;
    const char *objection = rollout_objection(record, endpoint);
    rollout_weights(record, endpoint, weights);
    for (uint32_t i = 0; i < endpoint->n_arms; i++) {
        require(isfinite(weights[i]) && weights[i] >= 0);
        require(!objection || weights[i] == endpoint->arms[i].weight);
        sum += weights[i];
    }
    require(sum > 0);
}

static void use(void *owner, struct rollout *record)
{
    struct buf first = {0}, second = {0};
    struct rollout *again = NULL;
    struct gw_err err;
    (void)owner;
    require(record->version >= 1 && record->n_arms >= 1 && record->n_arms <= CONFIG_ARMS_MAX);
    require(strlen(record->who) <= ROLLOUT_WORDS_MAX && strlen(record->gateway) == ROLLOUT_GATEWAY_ROOM - 1);
    rollout_write_ordered(record, &first);
    require(rollout_read_ordered(first.bytes, first.length, &again, &err) == GW_OK);
    require(!rollout_is_later(again, record) && !rollout_is_later(record, again) &&
            rollout_is_later(record, NULL));
    rollout_write_ordered(again, &second);
    require_same(&first, &second);
    measure(record, config_endpoint(config(), "e", 1));
    measure(record, config_endpoint(config(), "c", 1));
    if (record->canary)
        try_canary(record->canary);
    rollout_free(again);
    rollout_free(record);
}

/* --- where it lies --- */

static void read_from_redis(const char *bytes, size_t length)
{
    struct rollout *record;
    struct gw_err err;
    if (rollout_read_ordered(bytes, length, &record, &err) == GW_OK)
        use(NULL, record);
    else
        require(err.status == GW_E_INVALID && err.what[0]);
}

static void read_from_file(const char *bytes, size_t length)
{
    struct gw_err err;
    if (rollout_file_read(bytes, length, use, NULL, &err) != GW_OK)
        require(err.status == GW_E_INVALID && err.what[0]);
}

static void read_forged_file(const char *bytes, size_t length)
{
    unsigned char hash[16];
    char text[2 * sizeof hash + 1];
    struct buf whole = {0};
    crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes, length, NULL, 0);
    sodium_bin2hex(text, sizeof text, hash, sizeof hash);
    buf_printf(&whole, "xebec-rollouts 1 %zu %s\n", length, text);
    buf_append(&whole, bytes, length);
    require(!whole.failed);
    read_from_file(whole.bytes, whole.length);
    buf_clear(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *bytes = (const char *)data + 1;
    switch (data[0] % 3) {
    case 0:
        read_from_redis(bytes, size - 1);
        break;
    case 1:
        read_from_file(bytes, size - 1);
        break;
    default:
        read_forged_file(bytes, size - 1);
    }
    return 0;
}
