/* config: what a file says, what it says by default, and every way in which it can be wrong. */
#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"

static struct config *parse(const char *text)
{
    struct config_problems problems;
    struct config *config = config_parse("f.yaml", text, strlen(text), &problems);
    cr_assert(config, "%u:%u: %s", problems.list[0].line, problems.list[0].column, problems.list[0].what);
    cr_assert_eq(problems.count, 0);
    config_problems_clear(&problems);
    return config;
}

/* Every problem of a file, as the operator sees them; to be freed. "" when there is none. */
static char *problems_of(const char *text, size_t length)
{
    struct config_problems problems;
    struct buf out = {0};
    struct config *config = config_parse("f.yaml", text, length, &problems);
    cr_assert_eq(!config, problems.count > 0);
    config_problems_print(&problems, "f.yaml", &out);
    buf_append(&out, "", 1);
    cr_assert_not(out.failed);
    config_problems_clear(&problems);
    config_unref(config);
    return out.bytes;
}

static void expect_problems(const char *text, size_t length, const char *expected)
{
    char *problems = problems_of(text, length);
    cr_expect_str_eq(problems, expected, "--- for\n%s\n--- got\n%s--- expected\n%s", text, problems,
                     expected);
    free(problems);
}

struct wrong {
    const char *text;
    const char *problems; /* "f.yaml:" stands before each */
};

/* --- good files --- */

#define MODEL                                                                                                \
    "models:\n"                                                                                              \
    "  digits:\n"                                                                                            \
    "    input: {pixels: {datatype: FP32, shape: [-1, 64]}}\n"                                               \
    "    versions: {linear: {replicas: [\"127.0.0.1:9000\"]}}\n"

static const char full[] =
    "listen: '[::1]:80'\n"
    "admin: unix:/run/xebec/admin.sock\n"
    "shards: 3\n"
    "log: {level: warn, access: /var/log/xebec.log}\n"
    "transport: grpc\n"
    "limits: {connections: 7, header: 2KiB, body: 3MiB, held: 4GiB, rows: 5, message: 7MiB}\n"
    "timeouts: {header: 1ms, body: 2s, idle: 3m, write: 4h, drain: 0}\n"
    "cache: {memory: 6B}\n"
    "models:\n"
    "  text.v-2_x:\n"
    "    input:\n"
    "      words: {datatype: BYTES, shape: [-1, -1], encoding: base64}\n"
    "      length: {datatype: INT64, shape: [-1]}\n"
    "    output:\n"
    "      answer: {datatype: BYTES, shape: [-1], encoding: json}\n"
    "    versions:\n"
    "      a: {replicas: [\"[::1]:9000\", \"unix:/tmp/a.sock\", some-host.example:9001]}\n"
    "      b: {replicas: [10.0.0.1:1]}\n"
    "    batching: {policy: fixed, max_rows: 8, max_delay: 500us, max_queued_rows: 9, calls: 10}\n"
    "    cache: {enabled: false, ttl: 11s}\n"
    "    health: {interval: 12s, timeout: 13ms}\n"
    "    retry: {attempts: 1, budget: 15%}\n"
    "    hedge: {budget: 2%}\n"
    "  digits:\n"
    "    input: {pixels: {datatype: FP32, shape: [-1, 64]}}\n"
    "    versions: {linear: {replicas: [127.0.0.1:9000]}}\n"
    "    batching: {policy: none}\n"
    "    cache: off\n"
    "endpoints:\n"
    "  zebra:\n"
    "    slo: 16ms\n"
    "    default: {answer: {a: [1, -2.50, 007, 0x1F, +.5, 1e3, .inf, null, ~, true, \"1\", yes, 'it''s']}}\n"
    "    split: [{model: text.v-2_x@a, weight: 17}, {model: text.v-2_x@b, weight: 0}]\n"
    "  digits: {model: digits@linear}\n"
    "  again: {model: text.v-2_x@a, slo: 3ms}\n";

Test(config, reads_every_key_of_the_gateway)
{
    struct config *config = parse(full);
    cr_expect_str_eq(config->path, "f.yaml");
    cr_expect_str_eq(config->listen.text, "[::1]:80");
    cr_expect_str_eq(config->listen.host, "::1");
    cr_expect_str_eq(config->listen.port, "80");
    cr_expect_null(config->listen.unix_path);
    cr_expect_str_eq(config->admin.text, "unix:/run/xebec/admin.sock");
    cr_expect_null(config->admin.host);
    cr_expect_null(config->admin.port);
    cr_expect_str_eq(config->admin.unix_path, "/run/xebec/admin.sock");
    cr_expect_eq(config->shards, 3);
    cr_expect_eq(config->transport, TRANSPORT_GRPC);
    cr_expect_eq(config->log_level, LOG_WARN_LEVEL);
    cr_expect_str_eq(config->access_log, "/var/log/xebec.log");
    cr_expect_eq(config->limits.connections, 7);
    cr_expect_eq(config->limits.header_bytes, 2048);
    cr_expect_eq(config->limits.body_bytes, 3 << 20);
    cr_expect_eq(config->limits.held_bytes, 4ULL << 30);
    cr_expect_eq(config->limits.rows, 5);
    cr_expect_eq(config->limits.message_bytes, 7 << 20);
    cr_expect_eq(config->timeouts.header_us, 1000);
    cr_expect_eq(config->timeouts.body_us, 2000000);
    cr_expect_eq(config->timeouts.idle_us, 180000000);
    cr_expect_eq(config->timeouts.write_us, 14400000000);
    cr_expect_eq(config->timeouts.drain_us, 0);
    cr_expect_eq(config->cache_bytes, 6);
    config_unref(config);
}

Test(config, reads_every_key_of_a_model)
{
    struct config *config = parse(full);
    cr_assert_eq(config->n_models, 2);
    const struct config_model *model = config->models[0];
    cr_expect_str_eq(model->name, "text.v-2_x");
    cr_assert_eq(model->signature.n_inputs, 2);
    const struct tensor_spec *words = &model->signature.inputs[0], *length = &model->signature.inputs[1];
    cr_expect_str_eq(words->name, "words");
    cr_expect_eq(words->datatype, DT_BYTES);
    cr_expect_eq(words->encoding, TENSOR_BASE64);
    cr_expect_eq(words->dims, 2);
    cr_expect_eq(words->shape[0], TENSOR_ANY);
    cr_expect_eq(words->shape[1], TENSOR_ANY);
    cr_expect_str_eq(length->name, "length");
    cr_expect_eq(length->datatype, DT_INT64);
    cr_expect_eq(length->dims, 1);
    cr_assert_eq(model->signature.n_outputs, 1);
    cr_expect_str_eq(model->signature.outputs[0].name, "answer");
    cr_expect_eq(model->signature.outputs[0].datatype, DT_BYTES);
    cr_expect_eq(model->signature.outputs[0].encoding, TENSOR_JSON);
    cr_expect_eq(model->batching.policy, BATCHING_FIXED);
    cr_expect_eq(model->batching.max_rows, 8);
    cr_expect_eq(model->batching.max_delay_us, 500);
    cr_expect_eq(model->batching.max_queued_rows, 9);
    cr_expect_eq(model->batching.calls, 10);
    cr_expect_not(model->cache);
    cr_expect_eq(model->cache_ttl_us, 11000000);
    cr_expect_eq(model->health_interval_us, 12000000);
    cr_expect_eq(model->health_timeout_us, 13000);
    cr_expect_eq(model->attempts, 1);
    cr_expect_eq(model->retry_percent, 15);
    cr_expect_eq(model->hedge_percent, 2);

    const struct config_model *digits = config->models[1];
    cr_expect_str_eq(digits->name, "digits");
    cr_expect_eq(digits->signature.inputs[0].shape[1], 64);
    cr_expect_eq(digits->signature.n_outputs, 0);
    cr_expect_eq(digits->batching.policy, BATCHING_NONE);
    cr_expect_not(digits->cache);
    cr_expect_eq(digits->cache_ttl_us, 600000000);
    config_unref(config);
}

Test(config, reads_versions_and_replicas)
{
    struct config *config = parse(full);
    cr_assert_eq(config->n_versions, 3);
    const struct config_version *a = config->versions[0], *b = config->versions[1];
    cr_expect_eq(config->models[0]->versions[0], a);
    cr_expect_eq(config->models[0]->versions[1], b);
    cr_expect_eq(config->models[0]->n_versions, 2);
    cr_expect_str_eq(a->name, "a");
    cr_expect_str_eq(a->full_name, "text.v-2_x@a");
    cr_expect_eq(a->model, config->models[0]);
    cr_expect_eq(a->line, 17);
    cr_assert_eq(a->n_replicas, 3);
    cr_expect_str_eq(a->replicas[0], "[::1]:9000");
    cr_expect_str_eq(a->replicas[1], "unix:/tmp/a.sock");
    cr_expect_str_eq(a->replicas[2], "some-host.example:9001");
    cr_expect_eq(a->least_slo_us, 3000, "the smaller SLO of two endpoints");
    cr_expect_eq(b->least_slo_us, 16000, "an arm of weight 0 can be asked for by name");
    for (uint32_t i = 0; i < config->n_versions; i++)
        cr_expect_eq(config->versions[i]->index, i);
    cr_expect_str_eq(config->versions[2]->full_name, "digits@linear");
    cr_expect_eq(config->versions[2]->least_slo_us, 100000);
    config_unref(config);
}

Test(config, reads_endpoints)
{
    struct config *config = parse(full);
    cr_assert_eq(config->n_endpoints, 3);
    const struct config_endpoint *zebra = config->endpoints[0], *digits = config->endpoints[1];
    cr_expect_str_eq(zebra->name, "zebra");
    cr_expect_eq(zebra->slo_us, 16000);
    cr_assert_eq(zebra->n_defaults, 1);
    cr_expect_str_eq(zebra->defaults[0].name, "answer");
    cr_expect_str_eq(zebra->defaults[0].json, "{\"a\": [1, -2.50, 7, 31, 0.5, 1e3, \"Infinity\", null, null, "
                                              "true, \"1\", \"yes\", \"it's\"]}");
    cr_assert_eq(zebra->n_arms, 2);
    cr_expect_eq(zebra->arms[0].version, config->versions[0]);
    cr_expect_eq(zebra->arms[0].weight, 17);
    cr_expect_eq(zebra->arms[1].version, config->versions[1]);
    cr_expect_eq(zebra->arms[1].weight, 0);
    cr_expect_eq(zebra->weight_sum, 17);
    cr_expect_eq(zebra->signature, &config->models[0]->signature);

    cr_assert_eq(digits->n_arms, 1);
    cr_expect_eq(digits->arms[0].version, config->versions[2]);
    cr_expect_eq(digits->weight_sum, 1);
    cr_expect_eq(digits->slo_us, 100000);
    cr_expect_eq(digits->n_defaults, 0);
    for (uint32_t i = 0; i < config->n_endpoints; i++) {
        const char *name = config->endpoints[i]->name;
        cr_expect_eq(config->endpoints[i]->index, i);
        cr_expect_eq(config_endpoint(config, name, strlen(name)), config->endpoints[i]);
    }
    cr_expect_null(config_endpoint(config, "zebr", 4));
    cr_expect_null(config_endpoint(config, "zebraz", 6));
    cr_expect_null(config_endpoint(config, "", 0));
    cr_expect_eq(config_endpoint(config, "digits/predict", 6), digits);
    config_unref(config);
}

Test(config, has_a_default_for_every_key_that_may_be_left_out)
{
    struct config *config = parse(MODEL);
    cpu_set_t cores;
    cr_assert_eq(sched_getaffinity(0, sizeof cores, &cores), 0);
    cr_expect_str_eq(config->listen.text, "127.0.0.1:8080");
    cr_expect_str_eq(config->listen.host, "127.0.0.1");
    cr_expect_str_eq(config->listen.port, "8080");
    cr_expect_str_eq(config->admin.text, "127.0.0.1:8081");
    cr_expect_eq(config->shards, (uint32_t)CPU_COUNT(&cores));
    cr_expect_eq(config->transport, TRANSPORT_NGHTTP2);
    cr_expect_eq(config->log_level, LOG_INFO_LEVEL);
    cr_expect_null(config->access_log);
    cr_expect_eq(config->limits.connections, 16384);
    cr_expect_eq(config->limits.header_bytes, 16 << 10);
    cr_expect_eq(config->limits.body_bytes, 16 << 20);
    cr_expect_eq(config->limits.held_bytes, 512 << 20);
    cr_expect_eq(config->limits.rows, 16384);
    cr_expect_eq(config->limits.message_bytes, 64 << 20);
    cr_expect_eq(config->timeouts.header_us, 10000000);
    cr_expect_eq(config->timeouts.body_us, 30000000);
    cr_expect_eq(config->timeouts.idle_us, 75000000);
    cr_expect_eq(config->timeouts.write_us, 30000000);
    cr_expect_eq(config->timeouts.drain_us, 10000000);
    cr_expect_eq(config->cache_bytes, 64 << 20);
    cr_expect_eq(config->n_endpoints, 0);

    const struct config_model *model = config->models[0];
    cr_expect_eq(model->signature.inputs[0].encoding, TENSOR_TEXT);
    cr_expect_eq(model->batching.policy, BATCHING_ADAPTIVE);
    cr_expect(model->batching.admission);
    cr_expect_eq(model->batching.max_rows, 1024);
    cr_expect_eq(model->batching.max_delay_us, 0);
    cr_expect_eq(model->batching.max_queued_rows, 16384);
    cr_expect_eq(model->batching.calls, 2);
    cr_expect(model->cache);
    cr_expect_eq(model->cache_ttl_us, 600000000);
    cr_expect_eq(model->health_interval_us, 2000000);
    cr_expect_eq(model->health_timeout_us, 1000000);
    cr_expect_eq(model->attempts, 3);
    cr_expect_eq(model->retry_percent, 20);
    cr_expect_eq(model->hedge_percent, 5);
    cr_expect_eq(model->versions[0]->least_slo_us, 0, "no endpoint can route here");
    config_unref(config);
}

Test(config, takes_shorthands_and_empty_sections)
{
    static const struct {
        const char *text;
        size_t cache_bytes;
        bool model_cache;
    } cases[] = {
        {"cache: off\n" MODEL, 0, true},
        {"cache: false\n" MODEL, 0, true},
        {"cache: on\n" MODEL "    cache: off\n", 64 << 20, false},
        {"cache: {memory: 0}\n" MODEL "    cache: {enabled: off}\n", 0, false},
        {"cache:\nlimits:\nlog: ~\ntimeouts: null\n" MODEL "    batching:\n    cache:\n", 64 << 20, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = parse(cases[i].text);
        cr_expect_eq(config->cache_bytes, cases[i].cache_bytes, "%s", cases[i].text);
        cr_expect_eq(config->models[0]->cache, cases[i].model_cache, "%s", cases[i].text);
        cr_expect_eq(config->models[0]->cache_ttl_us, 600000000, "%s", cases[i].text);
        config_unref(config);
    }
}

static struct config *with_redis(const char *redis)
{
    char text[1024];
    snprintf(text, sizeof text, "cache: {redis: %s}\n" MODEL, redis);
    return parse(text);
}

static void expect_text(const char *is, const char *should_be)
{
    if (should_be)
        cr_expect(is && strcmp(is, should_be) == 0, "%s, not %s", is, should_be);
    else
        cr_expect_null(is);
}

Test(config, takes_every_form_of_redis)
{
    static const struct {
        const char *text, *shown, *unix_path, *host, *port, *user, *password;
        uint32_t database;
    } cases[] = {
        {"redis://cache", "redis://cache/0", NULL, "cache", "6379", NULL, NULL, 0},
        {"redis://cache/", "redis://cache/0", NULL, "cache", "6379", NULL, NULL, 0},
        {"'redis://10.0.0.1:7000/3'", "redis://10.0.0.1:7000/3", NULL, "10.0.0.1", "7000", NULL, NULL, 3},
        {"'redis://[::1]:7000'", "redis://[::1]:7000/0", NULL, "::1", "7000", NULL, NULL, 0},
        {"'redis://:pa@cache:7000'", "redis://cache:7000/0", NULL, "cache", "7000", NULL, "pa", 0},
        {"'redis://me:p%40%2f@cache/12'", "redis://cache/12", NULL, "cache", "6379", "me", "p@/", 12},
        {"'redis://me:a:b@cache'", "redis://cache/0", NULL, "cache", "6379", "me", "a:b", 0},
        {"'unix:/run/r.sock'", "unix:/run/r.sock?db=0", "/run/r.sock", NULL, NULL, NULL, NULL, 0},
        {"'unix:/run/r%20.sock?db=4'", "unix:/run/r .sock?db=4", "/run/r .sock", NULL, NULL, NULL, NULL, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config *config = with_redis(cases[i].text);
        expect_text(config->redis.shown, cases[i].shown);
        expect_text(config->redis.server.unix_path, cases[i].unix_path);
        expect_text(config->redis.server.host, cases[i].host);
        expect_text(config->redis.server.port, cases[i].port);
        expect_text(config->redis.server.user, cases[i].user);
        expect_text(config->redis.server.password, cases[i].password);
        cr_expect_eq(config->redis.server.database, cases[i].database);
        cr_expect_str_eq(config->redis.prefix, "xebec");
        cr_expect_eq(config->redis.connect_timeout_us, 1000000);
        cr_expect_eq(config->redis.command_timeout_us, 10000);
        config_unref(config);
    }
}

Test(config, no_redis_unless_it_is_asked_for)
{
    static const char *const texts[] = {MODEL, "cache: off\n" MODEL, "cache: {memory: 1MiB}\n" MODEL,
                                        "cache: {redis: off}\n" MODEL, "cache: {redis: }\n" MODEL};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config *config = parse(texts[i]);
        cr_expect_null(config->redis.shown, "%s", texts[i]);
        config_unref(config);
    }
}

Test(config, takes_redis_in_full_and_a_password_from_a_file)
{
    char path[] = "/tmp/xebec-config-test.XXXXXX", text[512];
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, "se cret\r\nmore\n", 15) == 15);
    snprintf(
        text, sizeof text,
        "{url: 'redis://me@cache', password_file: %s, prefix: 'a:b', timeout: {connect: 2s, command: 3ms}}",
        path);
    struct config *config = with_redis(text);
    expect_text(config->redis.server.password, "se cret");
    expect_text(config->redis.server.user, "me");
    expect_text(config->redis.prefix, "a:b");
    cr_expect_eq(config->redis.connect_timeout_us, 2000000);
    cr_expect_eq(config->redis.command_timeout_us, 3000);
    config_unref(config);
    close(fd);
    unlink(path);
}

/* What was written is never repeated: it may hold a password. */
Test(config_problems, redis)
{
    static const char *const urls[] = {"''",
                                       "cache:6379",
                                       "http://cache",
                                       "redis://",
                                       "redis://hidden@",
                                       "redis://:@h",
                                       "redis://:hidden@h:0",
                                       "redis://:hidden@h:99999",
                                       "redis://:hidden@h:x",
                                       "redis://:hidden@h/x",
                                       "redis://:hidden@h/0/1",
                                       "redis://:hidden%@h",
                                       "redis://:hidden%zz@h",
                                       "redis://:hidden%00@h",
                                       "redis://:hidden@h h",
                                       "redis://:hidden@[::1",
                                       "redis://:hidden@[::1]x",
                                       "unix:relative",
                                       "unix:/a?x=1",
                                       "unix:/a?db=x",
                                       "redis://h/1000001"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "cache: {redis: '%s'}\n" MODEL, urls[i][0] == '\'' ? "" : urls[i]);
        char *problems = problems_of(text, strlen(text));
        cr_expect(strstr(problems, "f.yaml:1:16: cache.redis: expected a URL"), "%s: %s", urls[i], problems);
        cr_expect_not(strstr(problems, "hidden"), "%s", problems);
        free(problems);
    }
    static const struct wrong cases[] = {
        {"cache: {redis: 'rediss://h'}\n" MODEL, "f.yaml:1:16: cache.redis: rediss: TLS to Redis is not "
                                                 "built; use redis:// in a network that you trust, "
                                                 "or a tunnel\n"},
        {"cache: {redis: 'redis://me@h'}\n" MODEL,
         "f.yaml:1:16: cache.redis: a user needs a password: user:password@ in the URL, or password_file\n"},
        {"cache: {redis: {url: 'redis://h', password_file: secret}}\n" MODEL,
         "f.yaml:1:50: cache.redis.password_file: expected the absolute path of a file, got \"secret\"\n"},
        {"cache: {redis: {url: 'redis://h', password_file: /nonexistent}}\n" MODEL,
         "f.yaml:1:50: cache.redis.password_file: \"/nonexistent\" cannot be read: No such file or "
         "directory\n"},
        {"cache: {redis: {url: 'redis://h', password_file: /dev/null}}\n" MODEL,
         "f.yaml:1:50: cache.redis.password_file: \"/dev/null\" cannot be read: Invalid argument\n"},
        {"cache: {redis: {url: 'redis://:a@h', password_file: /etc/hostname}}\n" MODEL,
         "f.yaml:1:53: cache.redis.password_file: the URL has a password already; write it in one place\n"},
        {"cache: {redis: {url: 'redis://h', prefix: 'a b'}}\n" MODEL,
         "f.yaml:1:43: cache.redis.prefix: expected 1 to 64 letters, digits and _-.:{}, got \"a b\"\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_problems(cases[i].text, strlen(cases[i].text), cases[i].problems);
}

Test(config, writes_addresses_as_the_system_does)
{
    struct config *config = parse("listen: \"*:0\"\nadmin: \"[0:0::1]:0\"\nlog: {access: stdout}\n" MODEL);
    cr_expect_str_eq(config->listen.text, "*:0");
    cr_expect_str_eq(config->listen.host, "0.0.0.0");
    cr_expect_str_eq(config->admin.host, "::1");
    cr_expect_str_eq(config->access_log, "stdout");
    config_unref(config);
}

Test(config, types_a_default_as_yaml_does)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"-1", "-1"},
        {"0", "0"},
        {"-0", "-0"},
        {"+12", "12"},
        {"00012", "12"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
        {"0o17", "15"},
        {"0xffffffffffffffff", "18446744073709551615"},
        {"0x1ffffffffffffffff", "\"0x1ffffffffffffffff\""},
        {"0o8", "\"0o8\""},
        {"0x", "\"0x\""},
        {"1.", "1"},
        {".5", "0.5"},
        {"-.5e-3", "-0.5e-3"},
        {"1e", "\"1e\""},
        {"1e+", "\"1e+\""},
        {".", "\".\""},
        {"-", "\"-\""},
        {"1.2.3", "\"1.2.3\""},
        {"-.inf", "\"-Infinity\""},
        {"+.INF", "\"Infinity\""},
        {".nan", "\"NaN\""},
        {"-.nan", "\"-.nan\""},
        {"False", "false"},
        {"-true", "\"-true\""},
        {"Null", "null"},
        {"", "null"},
        {"\"\"", "\"\""},
        {"'null'", "\"null\""},
        {"\"a\\tb\\\"\"", "\"a\\tb\\\"\""},
        {"\xc3\xa9", "\"\xc3\xa9\""},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[[1], {b: [two]}]", "[[1], {\"b\": [\"two\"]}]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, MODEL "endpoints: {d: {model: digits@linear, default: {x: %s}}}\n",
                 cases[i].yaml);
        struct config *config = parse(text);
        cr_expect_str_eq(config->endpoints[0]->defaults[0].json, cases[i].json, "for %s", cases[i].yaml);
        config_unref(config);
    }
}

Test(config, lives_as_long_as_its_last_reference)
{
    struct config *config = parse(MODEL);
    struct config *other = config_ref(config);
    config_unref(config);
    cr_expect_str_eq(other->models[0]->name, "digits");
    config_unref(other);
    config_unref(NULL);
}

/* The sample's text, with the certificates that the tests have (XEBEC_TLS) instead of an operator's. */
static size_t read_sample(const char *path, char *text, size_t room)
{
    static const char theirs[] = "/etc/xebec/tls";
    const char *ours = getenv("XEBEC_TLS");
    static char raw[1 << 16];
    FILE *file = fopen(path, "r");
    cr_assert(file && ours, "%s; XEBEC_TLS is to be what tests/support/certificates.py has filled", path);
    raw[fread(raw, 1, sizeof raw - 1, file)] = '\0';
    fclose(file);
    size_t length = 0;
    char *from = raw;
    for (char *at; (at = strstr(from, theirs)); from = at + strlen(theirs))
        length += (size_t)snprintf(text + length, room - length, "%.*s%s", (int)(at - from), from, ours);
    return length + (size_t)snprintf(text + length, room - length, "%s", from);
}

Test(config, loads_every_sample)
{
    DIR *folder = opendir(XEBEC_SOURCE_DIR "/configs");
    cr_assert(folder);
    unsigned loaded = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct config_problems problems;
        char path[4096];
        if (!strstr(entry->d_name, ".yaml"))
            continue;
        snprintf(path, sizeof path, XEBEC_SOURCE_DIR "/configs/%s", entry->d_name);
        static char text[1 << 17];
        size_t length = read_sample(path, text, sizeof text);
        struct config *config = config_parse(path, text, length, &problems);
        cr_expect(config, "%s:%u: %s", path, problems.count ? problems.list[0].line : 0,
                  problems.count ? problems.list[0].what : "?");
        loaded += config != NULL;
        config_problems_clear(&problems);
        config_unref(config);
    }
    closedir(folder);
    cr_expect_geq(loaded, 4);
}

/* Where it stands, which file, and what to do. */
Test(config, what_is_wrong_with_certificates_is_told_where_they_are_named)
{
    static const struct {
        const char *tls, *problem; /* with %s for the directory */
    } cases[] = {
        {"{certificate: %1$s/server.crt, key: %1$s/client.key}",
         "f.yaml:1:%2$d: tls.key: %1$s/client.key is not the key of"},
        {"{certificate: %1$s/nowhere.crt, key: %1$s/server.key}",
         "tls.certificate: %1$s/nowhere.crt cannot be read"},
        {"{certificate: %1$s/server.crt}", "tls: needs key"},
        {"{certificate: server.crt, key: %1$s/server.key}", "tls.certificate: expected the absolute path"},
        {"{certificate: %1$s/server.crt, key: %1$s/server.key, clients: optional}",
         "tls.clients: says whether"},
        {"{certificate: %1$s/server.crt, key: %1$s/server.key, client_ca: %1$s/empty.crt}",
         "tls.client_ca: %1$s/empty.crt holds no certificate"},
        {"yes please", "tls: expected a mapping with certificate and key, or off"},
    };
    const char *directory = getenv("XEBEC_TLS");
    cr_assert(directory);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char tls[2048], text[4096], expected[2048];
        struct config_problems problems;
        struct buf said = {0};
        snprintf(tls, sizeof tls, cases[i].tls, directory);
        int length = snprintf(text, sizeof text,
                              "tls: %s\nmodels: {m: {input: {x: {datatype: FP32, shape: [-1]}}, versions: "
                              "{v: {replicas: [\"a:1\"]}}}}\n",
                              tls);
        char *key = strstr(text, "key: ");
        snprintf(expected, sizeof expected, cases[i].problem, directory, key ? (int)(key - text) + 6 : 0);
        struct config *config = config_parse("f.yaml", text, (size_t)length, &problems);
        cr_expect_null(config, "%s", text);
        config_problems_print(&problems, "f.yaml", &said);
        buf_append(&said, "", 1);
        cr_expect(said.bytes && strstr(said.bytes, expected), "expected %s, got %s", expected, said.bytes);
        buf_clear(&said);
        config_problems_clear(&problems);
        config_unref(config);
    }
}

Test(config, an_expired_certificate_is_warned_of)
{
    const char *directory = getenv("XEBEC_TLS");
    char text[4096];
    struct config_problems problems;
    struct buf said = {0};
    cr_assert(directory);
    int length = snprintf(text, sizeof text,
                          "tls:\n  certificate: %s/expired.crt\n  key: %s/expired.key\nmodels: {m: {input: "
                          "{x: {datatype: FP32, shape: [-1]}}, versions: {v: {replicas: [\"a:1\"]}}}}\n",
                          directory, directory);
    struct config *config = config_parse("f.yaml", text, (size_t)length, &problems);
    cr_assert(config);
    config_warnings_print(config, &said);
    buf_append(&said, "", 1);
    cr_expect(strstr(said.bytes, "f.yaml:2:16: warning: tls.certificate: ") &&
                  strstr(said.bytes, "has expired"),
              "%s", said.bytes);
    buf_clear(&said);
    config_unref(config);
}

Test(config, quickstart_is_what_the_readme_promises)
{
    struct config_problems problems;
    struct config *config = config_load(XEBEC_SOURCE_DIR "/configs/quickstart.yaml", &problems);
    cr_assert(config);
    cr_expect_str_eq(config->listen.text, "127.0.0.1:8080");
    cr_expect_str_eq(config->admin.text, "127.0.0.1:8081");
    cr_expect_gt(config->cache_bytes, 0);
    const struct config_endpoint *linear = config_endpoint(config, "digits", 6);
    const struct config_endpoint *forest = config_endpoint(config, "digits-forest", 13);
    cr_assert(linear && forest);
    cr_expect_str_eq(linear->arms[0].version->full_name, "digits@linear");
    cr_expect_str_eq(linear->arms[0].version->replicas[0], "unix:/tmp/xebec/digits-linear.sock");
    cr_expect_str_eq(forest->arms[0].version->full_name, "digits@forest");
    cr_expect_str_eq(forest->arms[0].version->replicas[0], "unix:/tmp/xebec/digits-forest.sock");
    cr_expect_eq(linear->slo_us, 100000);
    config_problems_clear(&problems);
    config_unref(config);
}

/* --- problems --- */

static void expect_all(const struct wrong *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expect_problems(cases[i].text, strlen(cases[i].text), cases[i].problems);
}
#define EXPECT_ALL(cases) expect_all(cases, sizeof(cases) / sizeof((cases)[0]))

#define KEYS_AT_TOP                                                                                          \
    "; the keys here are: listen, admin, tls, admin_token_file, state_dir, watch, shards, transport, log, "  \
    "limits, "                                                                                               \
    "timeouts, cache, "                                                                                      \
    "models, endpoints, mlflow\n"
#define KEYS_OF_A_LIVE                                                                                       \
    "; the keys here are: slo, priority, share, default, when_unready, model, split, canary, sticky, "       \
    "arm_header, shadow\n"

Test(config_problems, unknown_keys)
{
    static const struct wrong cases[] = {
        {"lisen: 1\n" MODEL,
         "f.yaml:1:1: unknown key \"lisen\" at the top level; did you mean \"listen\"?\n"},
        {"Listen: 1\n" MODEL,
         "f.yaml:1:1: unknown key \"Listen\" at the top level; did you mean \"listen\"?\n"},
        {"redis: 1\n" MODEL, "f.yaml:1:1: unknown key \"redis\" at the top level" KEYS_AT_TOP},
        {"\"a\\n\\e[0m\": 1\n" MODEL,
         "f.yaml:1:1: unknown key \"a\\x0a\\x1b[0m\" at the top level" KEYS_AT_TOP},
        {"cache: {memory: 1MiB, redos: x}\n" MODEL,
         "f.yaml:1:23: unknown key \"redos\" in cache; did you mean \"redis\"?\n"},
        {"cache: {redis: {uri: x}}\n" MODEL,
         "f.yaml:1:9: cache.redis: needs url: redis://[[user]:password@]host[:port][/database] or "
         "unix:/path[?db=0]\n"
         "f.yaml:1:17: unknown key \"uri\" in cache.redis; did you mean \"url\"?\n"},
        {MODEL "    batching:\n      max_row: 1\n",
         "f.yaml:6:7: unknown key \"max_row\" in models.digits.batching; did you mean \"max_rows\"?\n"},
        {MODEL "mlflow: digit\nendpoints:\n  digits: {model: digits@linear}\n",
         "f.yaml:5:9: mlflow: no endpoint \"digit\"; did you mean \"digits\"?\n"},
        {MODEL "mlflow: [digits]\nendpoints:\n  digits: {model: digits@linear}\n",
         "f.yaml:5:1: mlflow: expected the name of an endpoint, got a list\n"},
        {MODEL "    slo: 20ms\n",
         "f.yaml:5:5: unknown key \"slo\" in models.digits; the keys here are: input, "
         "output, versions, tls, batching, cache, discovery, health, retry, hedge\n"},
        {MODEL "endpoints:\n  digits:\n    split:\n      - {model: digits@linear, weight: 1, wieght: 90}\n",
         "f.yaml:8:43: unknown key \"wieght\" in endpoints.digits.split[0]; did you mean \"weight\"?\n"},
        {MODEL "endpoints:\n  d: {model: digits@linear, bandit: 1, mirror: 2, ensemble: 3}\n",
         "f.yaml:6:29: unknown key \"bandit\" in endpoints.d" KEYS_OF_A_LIVE
         "f.yaml:6:40: unknown key \"mirror\" in endpoints.d" KEYS_OF_A_LIVE
         "f.yaml:6:51: unknown key \"ensemble\" in endpoints.d" KEYS_OF_A_LIVE},
    };
    EXPECT_ALL(cases);
}

Test(config_problems, types_and_units)
{
    static const struct wrong cases[] = {
        {"timeouts: {idle: 20}\n" MODEL,
         "f.yaml:1:18: timeouts.idle: expected a duration such as 20ms, got \"20\"\n"},
        {"timeouts: {idle: 20sec}\n" MODEL,
         "f.yaml:1:18: timeouts.idle: expected a duration such as 20ms, got "
         "\"20sec\"; the units are us, ms, s, m, h\n"},
        {"timeouts: {idle: 1.5s}\n" MODEL,
         "f.yaml:1:18: timeouts.idle: expected a duration such as 20ms, got "
         "\"1.5s\"; the units are us, ms, s, m, h\n"},
        {"timeouts: {idle: soon}\n" MODEL,
         "f.yaml:1:18: timeouts.idle: expected a duration such as 20ms, got \"soon\"\n"},
        {"timeouts: {idle: [1s]}\n" MODEL,
         "f.yaml:1:12: timeouts.idle: expected a duration such as 20ms, got a list\n"},
        {"timeouts:\n  idle:\n" MODEL,
         "f.yaml:2:8: timeouts.idle: expected a duration such as 20ms, got nothing\n"},
        {"timeouts: {idle: 25h}\n" MODEL, "f.yaml:1:18: timeouts.idle: expected 1ms to 24h, got \"25h\"\n"},
        {"timeouts: {idle: 0}\n" MODEL, "f.yaml:1:18: timeouts.idle: expected 1ms to 24h, got \"0\"\n"},
        {"timeouts: {idle: -5s}\n" MODEL, "f.yaml:1:18: timeouts.idle: expected 1ms to 24h, got \"-5s\"\n"},
        {"timeouts: {idle: 99999999999999999999h}\n" MODEL,
         "f.yaml:1:18: timeouts.idle: expected 1ms to 24h, got \"99999999999999999999h\"\n"},
        {"limits: {body: 64MB}\n" MODEL,
         "f.yaml:1:16: limits.body: expected a size such as 64MiB, got \"64MB\"; "
         "the units are B, KiB, MiB, GiB, TiB\n"},
        {"limits: {body: 64}\n" MODEL,
         "f.yaml:1:16: limits.body: expected a size such as 64MiB, got \"64\"\n"},
        {"limits: {body: 17179869185GiB}\n" MODEL,
         "f.yaml:1:16: limits.body: expected 1KiB to 1GiB, got \"17179869185GiB\"\n"},
        {"limits: {rows: many}\n" MODEL,
         "f.yaml:1:16: limits.rows: expected an integer such as 8, got \"many\"\n"},
        {"limits: {rows: 1.5}\n" MODEL,
         "f.yaml:1:16: limits.rows: expected an integer such as 8, got \"1.5\"\n"},
        {"limits: {rows: \"5\"}\n" MODEL,
         "f.yaml:1:16: limits.rows: expected an integer such as 8, got the text "
         "\"5\"; remove the quotes\n"},
        {"limits: {rows: 0}\n" MODEL, "f.yaml:1:16: limits.rows: expected 1 to 1048576, got \"0\"\n"},
        {"limits: 5\n" MODEL, "f.yaml:1:9: limits: expected a mapping of keys, got \"5\"\n"},
        {"limits: [a]\n" MODEL, "f.yaml:1:1: limits: expected a mapping of keys, got a list\n"},
        {"shards: 257\n" MODEL, "f.yaml:1:9: shards: expected 1 to 256, got \"257\"\n"},
        {"shards: auto\n" MODEL, "f.yaml:1:9: shards: expected an integer such as 8, got \"auto\"\n"},
        {"cache: maybe\n" MODEL, "f.yaml:1:8: cache: expected a mapping of keys, or off, got \"maybe\"\n"},
        {"log: {level: inf}\n" MODEL, "f.yaml:1:14: log.level: expected one of debug, info, warn, error, got "
                                      "\"inf\"; did you mean \"info\"?\n"},
        {"log: {level: {}}\n" MODEL, "f.yaml:1:7: log.level: expected one word, got a mapping\n"},
        {"log: {access: a.log}\n" MODEL,
         "f.yaml:1:15: log.access: expected off, stdout or the absolute path of a "
         "file, got \"a.log\"\n"},
        {MODEL "    batching: {policy: adaptable}\n",
         "f.yaml:5:24: models.digits.batching.policy: expected one of "
         "none, fixed, aimd, quantile, adaptive, got \"adaptable\"; did you mean \"adaptive\"?\n"},
        {MODEL "    cache: {enabled: yes}\n",
         "f.yaml:5:22: models.digits.cache.enabled: expected true or false, got \"yes\"\n"},
        {MODEL "    cache: {enabled: \"true\"}\n",
         "f.yaml:5:22: models.digits.cache.enabled: expected true or false, got \"true\"\n"},
        {MODEL "    retry: {budget: 20}\n",
         "f.yaml:5:21: models.digits.retry.budget: expected a percentage such as 25%, got \"20\"\n"},
        {MODEL "    retry: {budget: 101%}\n",
         "f.yaml:5:21: models.digits.retry.budget: expected 0% to 100%, got \"101%\"\n"},
    };
    EXPECT_ALL(cases);
}

#define LISTEN_FORMS                                                                                         \
    "listen: expected an address such as 127.0.0.1:8080, \"*:8080\", \"[::]:8080\" or unix:/path, got "

Test(config_problems, listeners)
{
    static const struct wrong cases[] = {
        {"listen: localhost:80\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"localhost:80\"\n"},
        {"listen: 8080\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"8080\"\n"},
        {"listen: :8080\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\":8080\"\n"},
        {"listen: ::1:8080\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"::1:8080\"\n"},
        {"listen: 127.0.0.1:65536\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"127.0.0.1:65536\"\n"},
        {"listen: 127.0.0.1:080\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"127.0.0.1:080\"\n"},
        {"listen: \"127.0.0.1:\"\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"127.0.0.1:\"\n"},
        {"listen: '[::1]'\n" MODEL, "f.yaml:1:9: " LISTEN_FORMS "\"[::1]\"\n"},
        {"listen: unix:here\n" MODEL, "f.yaml:1:9: listen: expected unix: and an absolute path of up to 107 "
                                      "bytes, got \"unix:here\"\n"},
        {"listen: 127.0.0.1:8081\n" MODEL, "f.yaml:1:9: listen: listen (127.0.0.1:8081) and admin "
                                           "(127.0.0.1:8081) are the same address; change one\n"},
        {"listen: \"*:9\"\nadmin: 127.0.0.1:9\n" MODEL,
         "f.yaml:2:8: admin: listen (*:9) and admin (127.0.0.1:9) are the same address; change one\n"},
        {"admin: unix:/a\nlisten: unix:/a\n" MODEL,
         "f.yaml:2:9: listen: listen (unix:/a) and admin (unix:/a) are the same address; change one\n"},
        {"limits: {held: 1MiB}\n" MODEL, "f.yaml:1:16: limits.held: limits.held is less than limits.body: no "
                                         "request of the largest size could be "
                                         "taken; raise held or lower body\n"},
    };
    EXPECT_ALL(cases);
}

#define INPUT "    input: {x: {datatype: FP32, shape: [-1]}}\n"
#define DATATYPES                                                                                            \
    "; the datatypes are: BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, "      \
    "FP64, "                                                                                                 \
    "BYTES, BF16\n"
#define NAME_RULE  "names are letters, digits, _ - and . up to 64, starting with a letter or digit\n"
#define SIXTY_FIVE "a1234567890123456789012345678901234567890123456789012345678901234"

Test(config_problems, models)
{
    static const struct wrong cases[] = {
        {"shards: 1\n", "f.yaml: needs models: the models, by name\n"},
        {"models:\n", "f.yaml:1:8: models: expected a mapping of at least one model, got nothing\n"},
        {"models: {}\n", "f.yaml:1:1: models: expected a mapping of at least one model, got none\n"},
        {"models: [digits]\n", "f.yaml:1:1: models: expected a mapping of at least one model, got a list\n"},
        {"models:\n  a:\n", "f.yaml:2:5: models.a: needs input: what the model takes, by name\n"
                            "f.yaml:2:5: models.a: needs versions: the builds of the model, by name\n"},
        {"models:\n  a: 5\n", "f.yaml:2:6: models.a: expected a mapping of keys, got \"5\"\n"},
        {MODEL "  -a:\n" INPUT "    versions: {v: {replicas: [h:1]}}\n",
         "f.yaml:5:3: \"-a\" cannot be the name of a model; " NAME_RULE},
        {MODEL "  " SIXTY_FIVE ":\n" INPUT "    versions: {v: {replicas: [h:1]}}\n",
         "f.yaml:5:3: \"" SIXTY_FIVE "\" cannot be the name of a model; " NAME_RULE},
        {"models:\n  a:\n" INPUT "    versions: {b/c: {replicas: [h:1]}}\n",
         "f.yaml:4:16: \"b/c\" cannot be the name of a version; " NAME_RULE},
        {MODEL "endpoints:\n  a b: {model: digits@linear}\n",
         "f.yaml:6:3: \"a b\" cannot be the name of an endpoint; " NAME_RULE},
        {"models:\n  a:\n" INPUT "    versions: {}\n",
         "f.yaml:4:5: models.a.versions: expected a mapping of at least one version, got none\n"},
        {"models:\n  a:\n" INPUT "    versions: {v: {}}\n",
         "f.yaml:4:16: models.a.versions.v: needs replicas: where the containers are that run this version: "
         "host:port, [v6]:port, unix:/path, or dns:host:port, every address the name has\n"},
        {"models:\n  a:\n    input: {\"\": {datatype: FP32, shape: [-1]}}\n    versions: {v: {replicas: "
         "[h:1]}}\n",
         "f.yaml:3:13: \"\" cannot be the name of a tensor; names have 1 to 256 bytes\n"},
    };
    EXPECT_ALL(cases);
}

static void expect_input_problems(const char *input, const char *expected)
{
    char text[1024];
    snprintf(text, sizeof text,
             "models:\n  a:\n    input:\n      x: %s\n    versions: {v: {replicas: [h:1]}}\n", input);
    expect_problems(text, strlen(text), expected);
}

Test(config_problems, tensors)
{
    static const struct wrong cases[] = {
        {"{}",
         "f.yaml:4:7: models.a.input.x: needs datatype: type of an element: BOOL, UINT8 to UINT64, INT8 to "
         "INT64, FP16, BF16, FP32, FP64, BYTES\n"
         "f.yaml:4:7: models.a.input.x: needs shape: 1 to 8 sizes; the first is the row dimension, -1; -1 "
         "elsewhere is any size\n"},
        {"{datatype: float32, shape: [-1]}", "f.yaml:4:21: models.a.input.x.datatype: expected a datatype "
                                             "such as FP32, got \"float32\"" DATATYPES},
        {"{datatype: fp32, shape: [-1]}",
         "f.yaml:4:21: models.a.input.x.datatype: expected a datatype such as "
         "FP32, got \"fp32\"; did you mean \"FP32\"?\n"},
        {"{datatype: FP32, shape: 64}",
         "f.yaml:4:34: models.a.input.x.shape: expected a list of sizes such as [-1, 64], got \"64\"\n"},
        {"{datatype: FP32, shape: []}",
         "f.yaml:4:27: models.a.input.x.shape: expected 1 to 8 sizes such as [-1, 64], got 0\n"},
        {"{datatype: FP32, shape: [-1,1,1,1,1,1,1,1,1]}",
         "f.yaml:4:27: models.a.input.x.shape: expected 1 to 8 sizes such as [-1, 64], got 9\n"},
        {"{datatype: FP32, shape: [64]}", "f.yaml:4:35: models.a.input.x.shape[0]: the first size is the row "
                                          "dimension and must be -1, got \"64\"\n"},
        {"{datatype: FP32, shape: [-1, 0, -2, x, [1]]}",
         "f.yaml:4:39: models.a.input.x.shape[1]: expected -1 or 1 to 2147483648, got \"0\"\n"
         "f.yaml:4:42: models.a.input.x.shape[2]: expected -1 or 1 to 2147483648, got \"-2\"\n"
         "f.yaml:4:46: models.a.input.x.shape[3]: expected -1 or 1 to 2147483648, got \"x\"\n"
         "f.yaml:4:49: models.a.input.x.shape[4]: expected -1 or a size, got a list\n"},
        {"{datatype: FP32, shape: [-1, 2147483648, 2]}",
         "f.yaml:4:27: models.a.input.x.shape: a row of this shape has more than 2147483648 elements\n"},
        {"{datatype: FP32, shape: [-1], encoding: json}",
         "f.yaml:4:50: models.a.input.x.encoding: is for BYTES alone; FP32 is always written as numbers: "
         "remove "
         "it\n"},
        {"{datatype: BYTES, shape: [-1], encoding: utf8}",
         "f.yaml:4:51: models.a.input.x.encoding: expected one of text, base64, json, got \"utf8\"\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_input_problems(cases[i].text, cases[i].problems);
}

static void expect_replica_problems(const char *replicas, const char *expected)
{
    char text[1024];
    snprintf(text, sizeof text, "models:\n  a:\n" INPUT "    versions:\n      v:\n        replicas: %s\n",
             replicas);
    expect_problems(text, strlen(text), expected);
}

#define REPLICA_FORMS                                                                                        \
    "expected an address such as 127.0.0.1:9000, host:9000, dns:host:9000 or unix:/path, got "
#define PATH_OF_107                                                                                          \
    "/2345678901234567890123456789012345678901234567890123456789012345678901234567890"                       \
    "123456789012345678901234567"

Test(config_problems, replicas)
{
    static const struct wrong cases[] = {
        {"h:1", "f.yaml:6:19: models.a.versions.v.replicas: expected a list of addresses, got \"h:1\"\n"},
        {"[]", "f.yaml:6:9: models.a.versions.v.replicas: expected 1 to 256 addresses, got 0\n"},
        {"[h]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"h\"\n"},
        {"[\"h:0\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"h:0\"\n"},
        {"[\"h:1x\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"h:1x\"\n"},
        {"[\"http://h:1\"]",
         "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"http://h:1\"\n"},
        {"[\"a b:1\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"a b:1\"\n"},
        {"[\"[::g]:1\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"[::g]:1\"\n"},
        {"[\"*:1\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"*:1\"\n"},
        {"[\"dns:h:1\", \"dns:h.d:1\", \"h:1\"]", ""},
        {"[\"dns:h\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"dns:h\"\n"},
        {"[\"dns::1\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"dns::1\"\n"},
        {"[\"dns:h:0\"]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"dns:h:0\"\n"},
        {"[\"dns:[::1]:1\"]",
         "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "\"dns:[::1]:1\"\n"},
        {"[\"dns:h:1\", \"dns:h:1\"]",
         "f.yaml:6:31: models.a.versions.v.replicas[1]: \"dns:h:1\" is listed twice; "
         "list a replica once\n"},
        {"[\"h:1\", \"h:2\", \"h:1\"]",
         "f.yaml:6:34: models.a.versions.v.replicas[2]: \"h:1\" is listed twice; "
         "list a replica once\n"},
        {"[\"unix:" PATH_OF_107 "\"]", ""},
        {"[\"unix:" PATH_OF_107 "7\"]",
         "f.yaml:6:20: models.a.versions.v.replicas[0]: expected unix: and an absolute path of up to 107 "
         "bytes, "
         "got \"unix:/23456789012345678901234567890123456789012345678901234567890123...\"\n"},
        {"[{a: 1}]", "f.yaml:6:20: models.a.versions.v.replicas[0]: " REPLICA_FORMS "a mapping\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_replica_problems(cases[i].text, cases[i].problems);
}

#define TWO_MODELS                                                                                           \
    "models:\n"                                                                                              \
    "  digits:\n"                                                                                            \
    "    input: {pixels: {datatype: FP32, shape: [-1, 64]}}\n"                                               \
    "    output: {label: {datatype: INT64, shape: [-1]}}\n"                                                  \
    "    versions: {linear: {replicas: [h:1]}, forest: {replicas: [h:2]}}\n"                                 \
    "  text:\n"                                                                                              \
    "    input: {pixels: {datatype: FP64, shape: [-1, 64]}}\n"                                               \
    "    versions: {v1: {replicas: [h:3]}}\n"                                                                \
    "endpoints:\n"

Test(config_problems, endpoints)
{
    static const struct wrong cases[] = {
        {TWO_MODELS, "f.yaml:9:11: endpoints: expected a mapping of endpoints, got nothing\n"},
        {TWO_MODELS "  e:\n",
         "f.yaml:10:5: endpoints.e: needs model, split or canary: which version answers\n"},
        {TWO_MODELS "  e: {slo: 20, model: digits@linear}\n",
         "f.yaml:10:12: endpoints.e.slo: expected a duration such as 20ms, got \"20\"\n"},
        {TWO_MODELS "  e: {model: digits@linear, split: [{model: digits@forest, weight: 1}]}\n",
         "f.yaml:10:29: endpoints.e.split: model and split exclude each other; keep one\n"},
        {TWO_MODELS "  e: {model: digits@forrest}\n",
         "f.yaml:10:14: endpoints.e.model: no version \"digits@forrest\"; model digits has: linear, "
         "forest\n"},
        {TWO_MODELS "  e: {model: digits@}\n",
         "f.yaml:10:14: endpoints.e.model: no version \"digits@\"; model digits has: linear, forest\n"},
        {TWO_MODELS "  e: {model: digit@linear}\n",
         "f.yaml:10:14: endpoints.e.model: no model \"digit\"; did you mean \"digits\"?\n"},
        {TWO_MODELS "  e: {model: images@linear}\n",
         "f.yaml:10:14: endpoints.e.model: no model \"images\"; the models are: digits, text\n"},
        {TWO_MODELS "  e: {model: digits}\n", "f.yaml:10:14: endpoints.e.model: expected model@version, got "
                                              "\"digits\"; model digits has: linear, forest\n"},
        {TWO_MODELS "  e: {model: linear}\n",
         "f.yaml:10:14: endpoints.e.model: expected model@version such as "
         "digits@linear, got \"linear\"\n"},
        {TWO_MODELS "  e: {model: [digits@linear]}\n",
         "f.yaml:10:7: endpoints.e.model: expected model@version such as digits@linear, got a list\n"},
        {TWO_MODELS "  e: {split: {digits@linear: 1}}\n",
         "f.yaml:10:7: endpoints.e.split: expected a list of {model: ..., weight: ...}, got a mapping\n"},
        {TWO_MODELS "  e: {split: []}\n", "f.yaml:10:7: endpoints.e.split: expected 1 to 256 arms, got 0\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear}]}\n",
         "f.yaml:10:15: endpoints.e.split[0]: needs weight: its share, relative to the other weights; "
         "fractions "
         "are fine, 0 is none at all\n"},
        {TWO_MODELS "  e:\n    split:\n      - {model: digits@linear, weight: 1}\n"
                    "      - {model: digits@forrest, weight: 1}\n",
         "f.yaml:13:17: endpoints.e.split[1].model: no version \"digits@forrest\"; model digits has: linear, "
         "forest\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1000001}]}\n",
         "f.yaml:10:46: endpoints.e.split[0].weight: expected a number from 0 to 1000000, such as 10 or 0.5, "
         "got "
         "\"1000001\"\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1e3}]}\n",
         "f.yaml:10:46: endpoints.e.split[0].weight: expected a number from 0 to 1000000, such as 10 or 0.5, "
         "got "
         "\"1e3\"\n"},
        {TWO_MODELS
         "  e: {split: [{model: digits@linear, weight: .5}, {model: digits@forest, weight: 0.0}]}\n",
         "f.yaml:10:46: endpoints.e.split[0].weight: expected a number from 0 to 1000000, such as 10 or 0.5, "
         "got "
         "\".5\"\n"},
        {TWO_MODELS
         "  e: {split: [{model: digits@linear, weight: 0.0}, {model: digits@forest, weight: 0}]}\n",
         "f.yaml:10:7: endpoints.e.split: the weights add up to 0; give at least one arm a weight above "
         "0\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1, name: a b}]}\n",
         "f.yaml:10:55: endpoints.e.split[0].name: expected at most 64 letters, digits, _ - . and @, got \"a "
         "b\"\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1, name: x}, {model: digits@forest, "
                    "weight: 1, name: x}]}\n",
         "f.yaml:10:99: endpoints.e.split[1].name: two arms of this split are called x; rename one\n"},
        {TWO_MODELS "  e: {model: digits@linear, sticky: {header: X-User, cookie: id}}\n",
         "f.yaml:10:62: endpoints.e.sticky.cookie: clients are told apart in one way; keep one of these "
         "keys\n"},
        {TWO_MODELS "  e: {model: digits@linear, sticky: {header: \"x user\"}}\n",
         "f.yaml:10:46: endpoints.e.sticky.header: expected the name of a header such as x-user-id, got \"x "
         "user\"\n"},
        {TWO_MODELS "  e: {model: digits@linear, sticky: {salt: s}}\n",
         "f.yaml:10:29: endpoints.e.sticky: needs header, cookie, field or client: what to tell clients "
         "apart by\n"},
        {TWO_MODELS "  e: {model: digits@linear, sticky: {client: false}}\n",
         "f.yaml:10:46: endpoints.e.sticky.client: expected true; leave the key out for false, got "
         "\"false\"\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 0}, {model: digits@forest, weight: 0}]}\n",
         "f.yaml:10:7: endpoints.e.split: the weights add up to 0; give at least one arm a weight above 0\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1}, {model: digits@linear, weight: 2}]}\n",
         "f.yaml:10:58: endpoints.e.split[1].model: digits@linear is in this split already; add up the "
         "weights\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1}, {model: text@v1, weight: 2}]}\n",
         "f.yaml:10:58: endpoints.e.split[1].model: digits@linear and text@v1 differ in \"pixels\"; the arms "
         "of a "
         "split must take and answer the same tensors\n"},
        {TWO_MODELS "  e: {model: digits@linear, default: -1}\n",
         "f.yaml:10:38: endpoints.e.default: expected output names and values such as {label: -1}, got "
         "\"-1\"\n"},
        {TWO_MODELS "  e: {model: digits@linear, default: {}}\n",
         "f.yaml:10:29: endpoints.e.default: expected at least one output; without a default, remove the "
         "key\n"},
        {TWO_MODELS "  e: {model: digits@linear, default: {labl: -1}}\n",
         "f.yaml:10:39: endpoints.e.default: model digits has no output \"labl\"; did you mean \"label\"?\n"},
        {TWO_MODELS "  e: {model: text@v1, default: {labl: -1}}\n", ""},
    };
    EXPECT_ALL(cases);
}

#define PAIR "baseline: digits@linear, candidate: digits@forest"

Test(config_problems, canaries)
{
    static const struct wrong cases[] = {
        {TWO_MODELS "  e: {canary: {" PAIR "}}\n", ""},
        {TWO_MODELS "  e: {canary: {" PAIR ", gates: {latency: off}}, sticky: {header: u}}\n", ""},
        {TWO_MODELS "  e: {canary: {candidate: digits@forest}}\n",
         "f.yaml:10:7: endpoints.e.canary: needs baseline: the version that answers now, as "
         "digits@linear\n"},
        {TWO_MODELS "  e: {canary: {baseline: digits@linear}}\n",
         "f.yaml:10:7: endpoints.e.canary: needs candidate: the version that is to take over, as "
         "digits@forest\n"},
        {TWO_MODELS "  e: {canary: digits@forest}\n",
         "f.yaml:10:15: endpoints.e.canary: expected a mapping with baseline and candidate, got "
         "\"digits@forest\"\n"},
        {TWO_MODELS "  e: {canary: {baseline: digits@linear, candidate: digits@forrest}}\n",
         "f.yaml:10:52: endpoints.e.canary.candidate: no version \"digits@forrest\"; model digits has: "
         "linear, forest\n"},
        {TWO_MODELS "  e: {canary: {baseline: digit@linear, candidate: digits@forest}}\n",
         "f.yaml:10:26: endpoints.e.canary.baseline: no model \"digit\"; did you mean \"digits\"?\n"},
        {TWO_MODELS "  e: {canary: {baseline: digits@linear, candidate: text@v1}}\n",
         "f.yaml:10:52: endpoints.e.canary.candidate: digits@linear and text@v1 differ in \"pixels\"; the "
         "arms of a canary must take and answer the same tensors\n"},
        {TWO_MODELS "  e: {canary: {baseline: digits@linear, candidate: digits@linear}}\n",
         "f.yaml:10:52: endpoints.e.canary.candidate: digits@linear is the baseline already; name another "
         "version\n"},
        {TWO_MODELS "  e: {model: digits@linear, canary: {" PAIR "}}\n",
         "f.yaml:10:29: endpoints.e.canary: model and canary exclude each other; keep one\n"},
        {TWO_MODELS "  e: {split: [{model: digits@linear, weight: 1}], canary: {" PAIR "}}\n",
         "f.yaml:10:51: endpoints.e.canary: split and canary exclude each other; keep one\n"},
        {TWO_MODELS "  e: {canary: {" PAIR ", weight: 1}}\n",
         "f.yaml:10:67: unknown key \"weight\" in endpoints.e.canary; the keys here are: baseline, "
         "candidate, steps, dwell, min_requests, alpha, gates, tolerate\n"},
    };
    EXPECT_ALL(cases);
}

#define CANARY(more) TWO_MODELS "  e: {canary: {" PAIR ", " more "}}\n"
#define AT           "f.yaml:10:"

Test(config_problems, canaries_in_numbers)
{
    static const struct wrong cases[] = {
        {CANARY("steps: [0.5%, 100%]"), ""},
        {CANARY("steps: [100%]"), ""},
        {CANARY("gates: {disagreement: 5%}"),
         AT "89: endpoints.e.canary.gates.disagreement: needs a shadow of the candidate, whose answers are "
            "compared; add to the endpoint shadow: [{model: digits@forest, sample: 10%}], or remove this "
            "gate\n"},
        {TWO_MODELS "  e: {shadow: [{model: digits@forest}], canary: {" PAIR
                    ", gates: {disagreement: 5%}}}\n",
         ""},
        {CANARY("steps: []"), AT "67: endpoints.e.canary.steps: expected 1 to 64 steps, got 0\n"},
        {CANARY("steps: 5%"), AT "74: endpoints.e.canary.steps: expected a list of growing shares such as "
                                 "[5%, 50%, 100%], got \"5%\"\n"},
        {CANARY("steps: [5%, 5%, 100%]"),
         AT "79: endpoints.e.canary.steps[1]: steps grow; put one above 5% here, or leave it out\n"},
        {CANARY("steps: [5%, 50%]"),
         AT "79: endpoints.e.canary.steps[1]: the last step is all requests; add 100%\n"},
        {CANARY("steps: [0%, 100%]"),
         AT "75: endpoints.e.canary.steps[0]: expected 0.01% to 100%, got \"0%\"\n"},
        {CANARY("steps: [5, 100%]"),
         AT "75: endpoints.e.canary.steps[0]: expected a percentage such as 0.5%, got \"5\"\n"},
        {CANARY("alpha: 60%"), AT "74: endpoints.e.canary.alpha: expected 0.0001% to 50%, got \"60%\"\n"},
        {CANARY("alpha: '5%'"), ""},
        {CANARY("alpha: 1e-2%"),
         AT "74: endpoints.e.canary.alpha: expected a percentage such as 0.5%, got \"1e-2%\"\n"},
        {CANARY("alpha: 5.%"),
         AT "74: endpoints.e.canary.alpha: expected a percentage such as 0.5%, got \"5.%\"\n"},
        {CANARY("gates: {errors: 0%}"),
         AT "83: endpoints.e.canary.gates.errors: expected 0.01% to 50%, got \"0%\"\n"},
        {CANARY("gates: {latency: {quantile: 100%}}"),
         AT "95: endpoints.e.canary.gates.latency.quantile: expected 10% to 99.9%, got \"100%\"\n"},
        {CANARY("tolerate: {crashes: -1}"),
         AT "87: endpoints.e.canary.tolerate.crashes: expected 0 to 1000000000, got \"-1\"\n"},
        {CANARY("dwell: 1ms"), AT "74: endpoints.e.canary.dwell: expected 100ms to 720h, got \"1ms\"\n"},
    };
    EXPECT_ALL(cases);
}

Test(config, a_canary_is_two_arms_and_has_its_defaults)
{
    struct config *config = parse(TWO_MODELS "  e: {canary: {" PAIR "}}\n");
    const struct config_endpoint *endpoint = config->endpoints[0];
    const struct config_canary *canary = endpoint->canary;
    cr_expect_eq(endpoint->n_arms, 2);
    cr_expect_eq(endpoint->arms[0].version, canary->baseline);
    cr_expect_eq(endpoint->arms[1].version, canary->candidate);
    cr_expect_str_eq(endpoint->arms[1].name, "digits@forest");
    cr_expect(endpoint->arms[0].weight == 1 && endpoint->arms[1].weight == 0);
    cr_assert_eq(canary->n_steps, 5);
    cr_expect(canary->steps[0] == 0.01 && canary->steps[3] == 0.5 && canary->steps[4] == 1);
    cr_expect_eq(canary->dwell_us, 600000000u);
    cr_expect_eq(canary->min_requests, 200);
    cr_expect_float_eq(canary->alpha, 0.05, 1e-12);
    cr_expect_float_eq(canary->errors, 0.005, 1e-12);
    cr_expect_float_eq(canary->latency_quantile, 0.99, 1e-12);
    cr_expect_float_eq(canary->latency_slower, 0.2, 1e-12);
    cr_expect(canary->disagreement < 0);
    config_unref(config);
}

#define BAD_START                                                                                            \
    "not valid YAML: found character that cannot start any token while scanning for the next token; indent " \
    "with spaces, not tabs, and quote text that starts with @, ` or %\n"

Test(config_problems, yaml)
{
    static const struct wrong cases[] = {
        {"", "f.yaml: the file is empty; it needs at least a model: see configs/quickstart.yaml\n"},
        {"# nothing\n---\n",
         "f.yaml: the file is empty; it needs at least a model: see configs/quickstart.yaml\n"},
        {"- a\n", "f.yaml:1:1: expected keys such as models: at the top level, got a list\n"},
        {"a\n", "f.yaml:1:1: expected keys such as models: at the top level, got a single value\n"},
        {MODEL "---\na: 1\n",
         "f.yaml:5:1: a second document starts here; a configuration is one document: remove the ---\n"},
        {MODEL "shards: 1\nshards: 2\n",
         "f.yaml:6:1: duplicate key \"shards\" at the top level; it is first at line 5\n"},
        {MODEL "  digits: {}\n", "f.yaml:5:3: duplicate key \"digits\" in models; it is first at line 2\n"},
        {"shards: &one 1\n" MODEL,
         "f.yaml:1:9: anchors (&one) are not read; write the value out where it is needed\n"},
        {"shards: *one\n" MODEL, "f.yaml:1:9: aliases (*one) are not read; write the value out\n"},
        {"*one : 1\n" MODEL, "f.yaml:1:1: aliases (*one) are not read; write the value out\n"},
        {"shards: !!int 1\n" MODEL, "f.yaml:1:9: tags (\"!!int\") are not read; quote what must stay text\n"},
        {"shards: !mine 1\n" MODEL, "f.yaml:1:9: tags (\"!mine\") are not read; quote what must stay text\n"},
        {"<<: {shards: 1}\n" MODEL, "f.yaml:1:1: merge keys (<<) are not read; write the keys out\n"},
        {"? [a]\n: 1\n" MODEL, "f.yaml:1:3: a list or mapping cannot be a key; write a name\n"},
        {"a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n", "f.yaml:1:35: nested deeper than 32 levels\n"},
        {"a: b: c\n", "f.yaml:1:5: not valid YAML: mapping values are not allowed in this context; check the "
                      "indentation, and quote text that contains a colon and a space\n"},
        {"a: \"b\n",
         "f.yaml:2:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar "
         "from line 1; close the quote\n"},
        {"a:\n\tb: 1\n", "f.yaml:2:1: " BAD_START},
        {"a: @b\n", "f.yaml:1:4: " BAD_START},
        {"listen: *:80\n",
         "f.yaml:1:10: not valid YAML: did not find expected alphabetic or numeric character "
         "while scanning an alias; quote text that starts with *\n"},
        {"listen: [::]:80\n",
         "f.yaml:1:10: not valid YAML: did not find expected node content while parsing a "
         "flow node; quote text that contains [ ] { } or a comma\n"},
        {"a: b\n# \xc3\xa9\xff\n", "f.yaml:2:4: not UTF-8 (byte 0xff); save the file as UTF-8\n"},
        {"a: \xc0\xaf\n", "f.yaml:1:4: not UTF-8 (byte 0xc0); save the file as UTF-8\n"},
        {"a: b\x1b[0m\n", "f.yaml:1:5: a control character (U+001B); remove it\n"},
        {"shards: \"a\\0b\"\n" MODEL, "f.yaml:1:9: shards: contains a NUL character; remove the \\0\n"},
        {"\"a\\0b\": 1\n" MODEL, "f.yaml:1:1: key \"a\\x00b\" contains a NUL character; remove the \\0\n"},
        {"\xef\xbb\xbf"
         "shard: 1\n" MODEL,
         "f.yaml:1:1: unknown key \"shard\" at the top level; did you mean \"shards\"?\n"},
    };
    EXPECT_ALL(cases);
    expect_problems("a: b\n\0", 6, "f.yaml:2:1: a NUL byte; is this a text file?\n");
    expect_problems("\xff\xfe"
                    "a\0",
                    4, "f.yaml:1:1: not UTF-8 (byte 0xff); save the file as UTF-8\n");
}

Test(config_problems, are_all_reported_in_the_order_of_the_file)
{
    static const char text[] = "endpoints:\n"
                               "  e: {model: digits@forest, slo: 20}\n"
                               "models:\n"
                               "  digits:\n"
                               "    input: {x: {datatype: FP31, shape: [-1]}}\n"
                               "    versions: {linear: {replicas: [\"h:1\"]}}\n"
                               "    color: red\n"
                               "lisen: x\n"
                               "shards: 0\n";
    expect_problems(text, strlen(text),
                    "f.yaml:2:14: endpoints.e.model: no version \"digits@forest\"; model digits has: linear\n"
                    "f.yaml:2:34: endpoints.e.slo: expected a duration such as 20ms, got \"20\"\n"
                    "f.yaml:5:27: models.digits.input.x.datatype: expected a datatype such as FP32, got "
                    "\"FP31\"; did you mean "
                    "\"FP32\"?\n"
                    "f.yaml:7:5: unknown key \"color\" in models.digits; the keys here are: input, output, "
                    "versions, tls, batching, "
                    "cache, discovery, health, retry, hedge\n"
                    "f.yaml:8:1: unknown key \"lisen\" at the top level; did you mean \"listen\"?\n"
                    "f.yaml:9:9: shards: expected 1 to 256, got \"0\"\n");
}

Test(config_problems, stop_at_a_hundred_and_count_the_rest)
{
    struct buf text = {0};
    struct config_problems problems;
    for (int i = 0; i < 250; i++)
        buf_printf(&text, "key%d: 1\n", i);
    buf_text(&text, MODEL);
    cr_assert_null(config_parse("f.yaml", text.bytes, text.length, &problems));
    cr_assert_eq(problems.count, 101);
    for (uint32_t i = 0; i < 100; i++)
        cr_expect_eq(problems.list[i].line, i + 1);
    cr_expect_eq(problems.list[100].line, 0);
    cr_expect_str_eq(problems.list[100].what, "and 150 more problems");
    config_problems_clear(&problems);
    buf_clear(&text);
}

Test(config_problems, long_words_are_cut_between_characters)
{
    struct buf text = {0};
    for (int i = 0; i < 500; i++)
        buf_text(&text, "\xc3\xa9");
    buf_text(&text, ": 1\n" MODEL);
    char *problems = problems_of(text.bytes, text.length);
    cr_expect(strstr(problems, "\xc3\xa9...\" at the top level"), "%s", problems);
    free(problems);
    buf_clear(&text);
}

Test(config_problems, a_file_too_large)
{
    size_t length = (1 << 20) + 1;
    char *text = malloc(length);
    memset(text, '#', length);
    memcpy(text, MODEL, strlen(MODEL));
    expect_problems(text, length, "f.yaml: the file is larger than 1 MiB; is this the configuration?\n");
    expect_problems(text, length - 1, "");
    free(text);
}

Test(config_problems, many_keys_take_no_time)
{
    struct buf text = {0};
    buf_text(&text, MODEL "endpoints:\n");
    for (int i = 0; i < 20000; i++)
        buf_printf(&text, "  e%d: {model: digits@linear}\n", i);
    struct config_problems problems;
    struct config *config = config_parse("f.yaml", text.bytes, text.length, &problems);
    cr_assert(config);
    cr_assert_eq(config->n_endpoints, 20000);
    cr_expect_eq(config_endpoint(config, "e19999", 6), config->endpoints[19999]);
    config_unref(config);
    buf_clear(&text);
}

static void expect_load_problem(const char *path, const char *expected)
{
    struct config_problems problems;
    cr_assert_null(config_load(path, &problems));
    cr_assert_eq(problems.count, 1);
    cr_expect_str_eq(problems.list[0].what, expected);
    cr_expect_eq(problems.list[0].line, 0);
    config_problems_clear(&problems);
}

Test(config_problems, files_that_cannot_be_read)
{
    char path[] = "/tmp/xebec-config-test-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, 5 << 20), 0);
    close(fd);
    expect_load_problem(path, "the file is larger than 1 MiB; is this the configuration?");
    unlink(path);
    expect_load_problem(path, "cannot be read: No such file or directory");
    expect_load_problem("/tmp", "cannot be read: Is a directory");
}

/* --- the table --- */

Test(config_keys, prints_one_line_a_key)
{
    struct buf out = {0};
    config_print_keys(&out);
    buf_append(&out, "", 1);
    cr_assert_not(out.failed);
    cr_expect_eq(strncmp(out.bytes, "listen\taddress\t127.0.0.1:8080\t", 30), 0);
    cr_expect(
        strstr(out.bytes,
               "\nmodels.NAME.batching.policy\tone of none, fixed, aimd, quantile, adaptive\tadaptive\t"));
    cr_expect(strstr(out.bytes, "\nendpoints.NAME.split[].weight\tnumber\trequired\t"));
    unsigned lines = 0;
    for (char *line = strtok(out.bytes, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        unsigned tabs = 0;
        for (const char *at = line; *at; at++)
            tabs += *at == '\t';
        cr_expect_eq(tabs, 3, "%s", line);
    }
    cr_expect_gt(lines, 40);
    buf_clear(&out);
}
