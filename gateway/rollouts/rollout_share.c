/* rollout_share: questions to Redis, and what comes back of them. */
#include "rollouts/rollout_share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/log.h"
#include "support/redis.h"

enum {
    TIMEOUTS_IN_A_ROW = 3,
    PROBE_LEAST_US = 100000,
    PROBE_MOST_US = 2000000,
    COMMAND_LEAST_US = 500000, /* nobody waits: more patience than a row has */
    COMMANDS_MAX = 1024,
    UNSENT_BYTES_MAX = 16 << 20,
    REPLY_BYTES_MAX = 16 << 20,
    KEY_ROOM = 256,
    LEASE_US = 5000000,
};

/* ROLLOUT_HEAD is 33. */
static const char store_script[] = "local kept = redis.call('GET', KEYS[1]) "
                                   "if kept and string.sub(kept, 1, 33) >= string.sub(ARGV[1], 1, 33) then "
                                   "return kept end "
                                   "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]";
static const char lease_script[] = "local holder = redis.call('GET', KEYS[1]) "
                                   "if holder and holder ~= ARGV[1] then return 0 end "
                                   "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";

struct rollout_share {
    struct rollout_share_setup setup;
    struct config *config; /* one reference: the server's texts */
    struct redis_voice voice;
    struct redis *redis;
    char name[32];
    bool asking, leasing;
    struct config *asked; /* one reference: what the question under way is about */
    uint64_t lease_asked_us, lease_until_us;
    bool judged; /* the last answer: it is ours */
};

/* --- set-up --- */

static struct redis *connect_to(struct rollout_share *share)
{
    const struct config_redis *config = &share->config->redis;
    uint64_t patience_us = config->command_timeout_us;
    snprintf(share->name, sizeof share->name, "xebec-rollouts");
    const struct redis_setup setup = {
        .loop = share->setup.loop,
        .resolver = share->setup.resolver,
        .metrics = share->setup.metrics,
        .server = &config->server,
        .use = "rollouts",
        .name = share->name,
        .voice = &share->voice,
        .connect_timeout_us = config->connect_timeout_us,
        .command_timeout_us = patience_us > COMMAND_LEAST_US ? patience_us : COMMAND_LEAST_US,
        .breaker = {TIMEOUTS_IN_A_ROW, PROBE_LEAST_US, PROBE_MOST_US},
        .commands_max = COMMANDS_MAX,
        .unsent_bytes_max = UNSENT_BYTES_MAX,
        .reply_bytes_max = REPLY_BYTES_MAX,
    };
    return redis_new(&setup);
}

struct rollout_share *rollout_share_new(const struct rollout_share_setup *setup)
{
    struct rollout_share *share = calloc(1, sizeof *share);
    if (!share)
        return NULL;
    share->setup = *setup;
    share->config = config_ref((struct config *)setup->config);
    redis_voice_init(&share->voice);
    share->redis = connect_to(share);
    if (share->redis)
        return share;
    rollout_share_free(share);
    return NULL;
}

void rollout_share_free(struct rollout_share *share)
{
    if (!share)
        return;
    share->setup.heard = NULL;
    redis_free(share->redis);
    redis_voice_clear(&share->voice);
    config_unref(share->asked);
    config_unref(share->config);
    free(share);
}

bool rollout_share_is_up(const struct rollout_share *share)
{
    return redis_is_up(share->redis);
}

/* --- records --- */

static struct redis_word word(const char *text)
{
    return (struct redis_word){text, strlen(text)};
}

static const char *prefix_of(const struct rollout_share *share)
{
    return share->config->redis.prefix;
}

/* What somebody stored, if it is a record; else a log line and NULL. */
static struct rollout *read_record(const struct redis_reply *reply)
{
    struct rollout *record;
    struct gw_err err;
    if (reply->kind != REDIS_TEXT)
        return NULL;
    if (rollout_read_ordered(reply->bytes, reply->length, &record, &err) == GW_OK)
        return record;
    log_warn("rollout_not_understood", LOG_TEXT("where", "redis"), LOG_TEXT("why", err.what));
    return NULL;
}

static void hear(struct rollout_share *share, const char *endpoint, const struct redis_reply *reply)
{
    struct rollout *record = read_record(reply);
    if (record && strcmp(record->endpoint, endpoint) != 0) {
        log_warn("rollout_not_understood", LOG_TEXT("where", "redis"),
                 LOG_TEXT("why", "it is of another endpoint"));
        rollout_free(record);
        record = NULL;
    }
    if (record || reply->kind == REDIS_NIL)
        share->setup.heard(share->setup.owner, endpoint, record);
}

static void all_answered(void *owner, const struct redis_reply *reply)
{
    struct rollout_share *share = owner;
    struct config *asked = share->asked;
    share->asking = false;
    share->asked = NULL;
    if (share->setup.heard && reply->kind == REDIS_ARRAY && reply->n_elements == asked->n_endpoints)
        for (uint32_t i = 0; i < asked->n_endpoints; i++)
            hear(share, asked->endpoints[i]->name, reply->elements[i]);
    else if (reply->kind == REDIS_ERROR)
        log_warn("rollouts_not_shared", LOG_TEXT("why", reply->bytes));
    config_unref(asked);
}

void rollout_share_ask(struct rollout_share *share, const struct config *config)
{
    uint32_t n = config->n_endpoints;
    struct redis_word *words = calloc(n + 1, sizeof *words);
    char *keys = calloc(n + 1, KEY_ROOM);
    if (words && keys && n && !share->asking) {
        words[0] = word("MGET");
        for (uint32_t i = 0; i < n; i++) {
            char *key = keys + (size_t)i * KEY_ROOM;
            snprintf(key, KEY_ROOM, "%s:rollouts:1:%s", prefix_of(share), config->endpoints[i]->name);
            words[i + 1] = word(key);
        }
        share->asking = redis_send(share->redis, words, n + 1, all_answered, share) != 0;
        share->asked = share->asking ? config_ref((struct config *)config) : NULL;
    }
    free(keys);
    free(words);
}

/* A record on its way to Redis. */
struct telling {
    struct rollout_share *share;
    char endpoint[];
};

static void told(void *owner, const struct redis_reply *reply)
{
    struct telling *telling = owner;
    if (telling->share->setup.heard && reply->kind == REDIS_TEXT)
        hear(telling->share, telling->endpoint, reply);
    else if (reply->kind == REDIS_ERROR)
        log_warn("rollouts_not_shared", LOG_TEXT("why", reply->bytes));
    free(telling);
}

void rollout_share_tell(struct rollout_share *share, const struct rollout *record)
{
    struct telling *telling = malloc(sizeof *telling + strlen(record->endpoint) + 1);
    struct buf value = {0};
    char key[KEY_ROOM];
    rollout_write_ordered(record, &value);
    snprintf(key, sizeof key, "%s:rollouts:1:%s", prefix_of(share), record->endpoint);
    const struct redis_word words[] = {
        word("EVAL"), word(store_script), word("1"), word(key), {value.bytes, value.length}};
    if (telling) {
        telling->share = share;
        strcpy(telling->endpoint, record->endpoint);
    }
    if (!telling || value.failed || !redis_send(share->redis, words, 5, told, telling))
        free(telling); /* it stays untold, and is told again */
    buf_clear(&value);
}

/* --- who judges --- */

static void lease_answered(void *owner, const struct redis_reply *reply)
{
    struct rollout_share *share = owner;
    share->leasing = false;
    if (reply->kind != REDIS_INTEGER)
        return;
    share->judged = reply->integer == 1;
    share->lease_until_us = share->judged ? share->lease_asked_us + LEASE_US : 0;
}

void rollout_share_lease(struct rollout_share *share)
{
    char key[KEY_ROOM], lasts[16];
    if (share->leasing)
        return;
    snprintf(key, sizeof key, "%s:judge:1", prefix_of(share));
    snprintf(lasts, sizeof lasts, "%d", LEASE_US / 1000);
    const struct redis_word words[] = {word("EVAL"), word(lease_script),         word("1"),
                                       word(key),    word(share->setup.gateway), word(lasts)};
    share->lease_asked_us = loop_now_us();
    share->leasing = redis_send(share->redis, words, 6, lease_answered, share) != 0;
}

bool rollout_share_judges(const struct rollout_share *share)
{
    if (!redis_is_up(share->redis))
        return share->judged;
    return share->judged && loop_now_us() < share->lease_until_us;
}
