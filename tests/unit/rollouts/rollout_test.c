/* A record of a rollout: made, compared, measured against the file, written and read; and the file that keeps
 * them. */
#include "rollouts/rollout.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rollouts/rollout_file.h"

/* An endpoint of two arms, a and b. */
static struct config_arm arms[] = {
    {.name = "a", .weight = 90}, {.name = "b", .weight = 10}, {.name = "c", .weight = 0}};
static const struct config_endpoint two = {.name = "e", .arms = arms, .n_arms = 2};
static const struct config_endpoint three = {.name = "e", .arms = arms, .n_arms = 3};
static const struct config_endpoint one = {.name = "e", .arms = arms, .n_arms = 1};
static const double set[] = {0.1, 1e6, 3};

static struct rollout *make(const struct config_endpoint *endpoint, const double *weights, uint64_t version,
                            const char *gateway)
{
    const struct rollout_draft draft = {
        .endpoint = endpoint,
        .weights = weights,
        .gateway = gateway,
        .who = "ada \"the\" \n first",
        .why = "\xC3\xA9t\xC3\xA9 \xC2\x9B \xC2\x85 \xE2\x80\xA8 \xEF\xBF\xBE \x7F",
        .version = version,
        .at_ms = 1790000000123};
    struct rollout *rollout = rollout_new(&draft);
    cr_assert_not_null(rollout);
    return rollout;
}

static const char gateway_a[] = "00000000000000aa", gateway_b[] = "00000000000000bb";

static void expect_same(const struct rollout *a, const struct rollout *b)
{
    cr_assert_str_eq(a->endpoint, b->endpoint);
    cr_assert_str_eq(a->gateway, b->gateway);
    cr_assert_str_eq(a->who, b->who);
    cr_assert_str_eq(a->why, b->why);
    cr_assert(a->version == b->version && a->at_ms == b->at_ms && a->is_set == b->is_set &&
              a->n_arms == b->n_arms);
    for (uint32_t i = 0; i < a->n_arms; i++) {
        cr_assert_str_eq(a->arms[i].name, b->arms[i].name);
        cr_assert(memcmp(&a->arms[i].weight, &b->arms[i].weight, sizeof(double)) == 0, "to the last bit");
        cr_assert(memcmp(&a->arms[i].file, &b->arms[i].file, sizeof(double)) == 0, "to the last bit");
    }
}

static enum gw_status read_text(const char *text, size_t length, struct rollout **rollout)
{
    struct document document;
    struct gw_err err;
    if (document_read(&document, "it", text, length, &err) != GW_OK)
        return err.status;
    enum gw_status status = rollout_read(document.root, rollout, &err);
    document_clear(&document);
    return status;
}

Test(rollout, what_is_written_reads_the_same)
{
    struct rollout *rollout = make(&two, set, (uint64_t)1 << 52, gateway_a), *again = NULL;
    struct buf text = {0};
    rollout_write(rollout, &text);
    cr_assert_eq(read_text(text.bytes, text.length, &again), GW_OK);
    expect_same(rollout, again);
    buf_clear(&text);
    rollout_free(again);
    rollout_free(rollout);
}

Test(rollout, a_canary_goes_along_as_text)
{
    const struct rollout_draft draft = {.endpoint = &two,
                                        .weights = set,
                                        .gateway = gateway_a,
                                        .who = "",
                                        .why = "",
                                        .canary = "{\"canary\":1,\"why\":\"a: b, [c]\",\"n\":[1,-2.5e-07]}",
                                        .version = 1,
                                        .at_ms = 1};
    struct rollout *rollout = rollout_new(&draft), *again = NULL;
    struct buf text = {0};
    rollout_write(rollout, &text);
    cr_assert_eq(read_text(text.bytes, text.length, &again), GW_OK);
    cr_assert_str_eq(again->canary, "{\"canary\": 1, \"why\": \"a: b, [c]\", \"n\": [1, -2.5e-07]}");
    buf_clear(&text);
    rollout_free(again);
    rollout_free(rollout);
}

Test(rollout, what_is_no_record_is_refused)
{
    static const char *const texts[] = {
        "{}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[]}",
        "{\"version\":0,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{\"name\":"
        "\"a\",\"file\":1,\"weight\":1}]}",
        "{\"version\":1e300,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{"
        "\"name\":\"a\",\"file\":1,\"weight\":1}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"aa\",\"arms\":[{\"name\":\"a\",\"file\":"
        "1,\"weight\":1}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{\"name\":"
        "\"a\",\"file\":1,\"weight\":-1}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{\"name\":"
        "\"a\",\"file\":1,\"weight\":0}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{\"name\":"
        "\"\",\"file\":1,\"weight\":1}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{\"name\":"
        "\"a\",\"file\":1,\"weight\":\"1\"}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[{\"name\":"
        "\"a\",\"file\":1,\"weight\":.inf}]}",
        "{\"version\":1,\"at_ms\":1,\"endpoint\":\"e\",\"gateway\":\"00000000000000aa\",\"arms\":[7]}",
        "[1,2]",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rollout *none = NULL;
        cr_expect_eq(read_text(texts[i], strlen(texts[i]), &none), GW_E_INVALID, "%s", texts[i]);
        cr_expect_null(none);
    }
}

Test(rollout, the_later_one_wins_wherever_it_was_made)
{
    struct rollout *early = make(&two, set, 5, gateway_b), *late = make(&two, set, 6, gateway_a);
    struct rollout *tie = make(&two, set, 6, gateway_b);
    cr_expect(rollout_is_later(early, NULL));
    cr_expect(rollout_is_later(late, early) && !rollout_is_later(early, late));
    cr_expect(rollout_is_later(tie, late) && !rollout_is_later(late, tie), "one order for all");
    cr_expect(!rollout_is_later(tie, tie));
    rollout_free(early);
    rollout_free(late);
    rollout_free(tie);
}

Test(rollout, a_person_comes_after_all_that_they_saw_and_before_no_judge)
{
    cr_expect_eq(rollout_next_version(0, 1790000000000), 1790000000000);
    cr_expect_gt(rollout_next_version(1790000000000, 1000), 1790000000000, "a clock that went back");
    uint64_t judged = 1790000000000 + 4; /* four verdicts that the person did not hear of */
    cr_expect_gt(rollout_next_version(1790000000000, 1000), judged);
}

static void expect_weights(const struct rollout *rollout, const struct config_endpoint *endpoint,
                           const double *expected)
{
    double weights[3];
    rollout_weights(rollout, endpoint, weights);
    for (uint32_t i = 0; i < endpoint->n_arms; i++)
        cr_expect_float_eq(weights[i], expected[i], 0, "arm %u has %g", i, weights[i]);
}

Test(rollout, it_counts_while_the_file_says_the_same)
{
    static const double file[] = {90, 10, 0}, joined[] = {0.1, 1e6, 0};
    struct rollout *rollout = make(&two, set, 1, gateway_a);
    expect_weights(NULL, &two, file);
    expect_weights(rollout, &two, set);
    cr_expect_null(rollout_objection(rollout, &three), "an arm that joins with nothing");
    expect_weights(rollout, &three, joined);
    cr_expect_not_null(rollout_objection(rollout, &one), "an arm with a weight is gone");
    expect_weights(rollout, &one, file);
    arms[0].weight = 80;
    cr_expect_not_null(rollout_objection(rollout, &two));
    arms[0].weight = 90;
    cr_expect_null(rollout_objection(rollout, &two));
    rollout_free(rollout);
}

Test(rollout, an_arm_that_only_had_weight_at_run_time_is_missed_too)
{
    struct rollout *rollout = make(&three, set, 1, gateway_a);
    cr_expect_not_null(rollout_objection(rollout, &two));
    rollout_free(rollout);
    static const double nothing[] = {1, 2, 0};
    rollout = make(&three, nothing, 1, gateway_a);
    cr_expect_null(rollout_objection(rollout, &two), "but not one that never had any");
    rollout_free(rollout);
}

/* --- the file --- */

static char folder[64];

static void make_folder(void)
{
    cr_assert_geq(sodium_init(), 0);
    strcpy(folder, "/tmp/rollout_test.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char path[128];
    static const char *const names[] = {"rollouts", "rollouts.bad", "rollouts.new"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
        rmdir(path);
    }
    rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

struct taken {
    uint32_t n;
    struct rollout *rollouts[4];
};

static void take(void *owner, struct rollout *rollout)
{
    struct taken *taken = owner;
    cr_assert_lt(taken->n, 4);
    taken->rollouts[taken->n++] = rollout;
}

static enum gw_status load(struct taken *taken, struct gw_err *err)
{
    *taken = (struct taken){0};
    return rollout_file_load(folder, take, taken, err);
}

static void let_go(struct taken *taken)
{
    while (taken->n)
        rollout_free(taken->rollouts[--taken->n]);
}

static struct rollout *save_one(void)
{
    struct gw_err err;
    struct rollout *rollout = make(&two, set, 7, gateway_a);
    cr_assert_eq(rollout_file_save(folder, (const struct rollout *const *)&rollout, 1, &err), GW_OK);
    return rollout;
}

static size_t slurp(char *bytes, size_t room)
{
    FILE *file = fopen(in_folder("rollouts"), "rb");
    cr_assert_not_null(file);
    size_t length = fread(bytes, 1, room, file);
    fclose(file);
    return length;
}

static void spill(const char *bytes, size_t length)
{
    FILE *file = fopen(in_folder("rollouts"), "wb");
    cr_assert(file && fwrite(bytes, 1, length, file) == length);
    fclose(file);
}

TestSuite(rollout_file, .init = make_folder, .fini = remove_folder);

Test(rollout_file, keeps_what_was_saved_for_its_owner_alone)
{
    struct rollout *rollout = save_one();
    struct taken taken;
    struct gw_err err;
    struct stat file;
    cr_assert_eq(load(&taken, &err), GW_OK);
    cr_assert_eq(taken.n, 1);
    expect_same(rollout, taken.rollouts[0]);
    cr_assert(stat(in_folder("rollouts"), &file) == 0 && (file.st_mode & 0777) == 0600);
    cr_assert(stat(in_folder("rollouts.new"), &file) != 0);
    let_go(&taken);
    rollout_free(rollout);
}

Test(rollout_file, none_is_nothing_and_its_folder_is_made)
{
    struct taken taken;
    struct gw_err err;
    rmdir(folder);
    cr_assert_eq(load(&taken, &err), GW_OK);
    cr_assert_eq(taken.n, 0);
    cr_assert_eq(access(folder, W_OK), 0);
}

Test(rollout_file, cut_short_anywhere_it_is_set_aside)
{
    char bytes[2048];
    struct taken taken;
    struct gw_err err;
    rollout_free(save_one());
    size_t length = slurp(bytes, sizeof bytes);
    cr_assert(length > 100 && length < sizeof bytes);
    for (size_t cut = 0; cut < length; cut++) {
        spill(bytes, cut);
        cr_assert_eq(load(&taken, &err), GW_E_INVALID, "cut after %zu bytes", cut);
        cr_assert_eq(taken.n, 0);
        cr_assert(access(in_folder("rollouts"), F_OK) != 0);
        cr_assert_eq(access(in_folder("rollouts.bad"), F_OK), 0);
        cr_assert_eq(load(&taken, &err), GW_OK, "the next start has none");
    }
}

Test(rollout_file, a_changed_bit_anywhere_is_seen)
{
    char bytes[2048];
    struct taken taken;
    struct gw_err err;
    rollout_free(save_one());
    size_t length = slurp(bytes, sizeof bytes);
    for (size_t at = 0; at < length; at++) {
        bytes[at] ^= 4;
        spill(bytes, length);
        cr_assert_eq(load(&taken, &err), GW_E_INVALID, "byte %zu", at);
        cr_assert_eq(taken.n, 0);
        bytes[at] ^= 4;
    }
}

Test(rollout_file, more_behind_it_and_another_format_are_told_apart)
{
    char bytes[2048];
    struct taken taken;
    struct gw_err err;
    rollout_free(save_one());
    size_t length = slurp(bytes, sizeof bytes - 1);
    bytes[length] = '\n';
    spill(bytes, length + 1);
    cr_assert_eq(load(&taken, &err), GW_E_INVALID);
    cr_assert(strstr(err.what, "cut short or changed") && strstr(err.what, "rollouts.bad"), "%s", err.what);
    bytes[strlen("xebec-rollouts ")] = '2';
    spill(bytes, length);
    cr_assert_eq(load(&taken, &err), GW_E_INVALID);
    cr_assert(strstr(err.what, "another format"), "%s", err.what);
}

Test(rollout_file, a_save_that_fails_leaves_the_old_one)
{
    struct taken taken;
    struct gw_err err;
    struct rollout *kept = save_one(), *newer = make(&two, set, 8, gateway_a);
    cr_assert_eq(mkdir(in_folder("rollouts.new"), 0700), 0);
    cr_assert_eq(rollout_file_save(folder, (const struct rollout *const *)&newer, 1, &err), GW_E_INTERNAL);
    cr_assert_eq(load(&taken, &err), GW_OK);
    cr_assert(taken.n == 1 && taken.rollouts[0]->version == 7);
    let_go(&taken);
    rollout_free(kept);
    rollout_free(newer);
}
