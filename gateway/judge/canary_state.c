/*
 * canary_state: a canary's numbers as JSON, and back. One table says which, for both ways. The reader takes
 * what the writer wrote, in its order, and nothing else: files that were changed by somebody are judged, not
 * trusted.
 */
#include "judge/canary.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_COUNT ((uint64_t)1 << 53)
#define NUMBER_ROOM   32

enum field_type { FIELD_COUNT, FIELD_REAL };

struct field {
    const char *name;
    enum field_type type;
    uint32_t n;
    size_t offset; /* in struct canary */
};

#define COUNTS(name, member, n)                                                                              \
    {                                                                                                        \
        name, FIELD_COUNT, n, offsetof(struct canary, member)                                                \
    }
#define REALS(name, member, n)                                                                               \
    {                                                                                                        \
        name, FIELD_REAL, n, offsetof(struct canary, member)                                                 \
    }
static const struct field fields[] = {
    COUNTS("began_us", began_us, 1),
    COUNTS("since_us", since_us, 1),
    COUNTS("held_us", held_us, 1),
    COUNTS("crashed", faults.crashed, 1),
    COUNTS("contract", faults.contract, 1),
    COUNTS("nan", faults.nan, 1),
    COUNTS("step", step_counts, 4),
    COUNTS("total", total, 4),
    COUNTS("slow_total", slow_total, 4),
    COUNTS("slow_us", slow_us, 1),
    COUNTS("disagreement", disagreement, 2),
    REALS("largest", largest, CANARY_GATES),
    REALS("errors_margin", errors.margin, 1),
    COUNTS("errors_baseline", errors.baseline, 2),
    COUNTS("errors_seen", errors.seen, 1),
    REALS("errors_log_e", errors.log_e, DRAWS_BETS),
    REALS("slow_quantile", slow_quantile, 1),
    REALS("slow_margin", slow_margin, 1),
    COUNTS("slow_baseline", slow.baseline, 2),
    COUNTS("slow_seen", slow.seen, 1),
    REALS("slow_log_e", slow.log_e, DRAWS_BETS),
    REALS("shares", shares.share, BOOK_ARMS),
    COUNTS("shares_counts", shares.count, BOOK_ARMS),
    REALS("shares_before", shares.log_e_before, 1),
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

/* --- there --- */

static void write_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    buf_json_text(out, text, strlen(text));
}

static void write_field(const struct canary *canary, const struct field *field, struct buf *out)
{
    const char *at = (const char *)canary + field->offset;
    buf_printf(out, ",\"%s\":[", field->name);
    for (uint32_t i = 0; i < field->n; i++, at += sizeof(uint64_t)) {
        uint64_t count;
        double real;
        memcpy(&count, at, sizeof count);
        memcpy(&real, at, sizeof real);
        if (field->type == FIELD_COUNT)
            buf_printf(out, "%s%" PRIu64, i ? "," : "", count);
        else
            buf_printf(out, "%s%.17g", i ? "," : "", real);
    }
    buf_text(out, "]");
}

void canary_write(const struct canary *canary, struct buf *out)
{
    buf_text(out, "{\"canary\":1");
    write_text(out, "baseline", canary->config->baseline->full_name);
    write_text(out, "candidate", canary->config->candidate->full_name);
    write_text(out, "phase", canary_phase_name(canary->phase));
    write_text(out, "why", canary->why);
    buf_printf(out, ",\"weight\":%.17g", canary->begun ? canary->config->steps[canary->step] : 0);
    for (size_t i = 0; i < N_FIELDS; i++)
        write_field(canary, &fields[i], out);
    buf_text(out, "}");
}

/* --- and back --- */

/* Bytes that are left; after the first that does not fit, failed. */
struct reader {
    const char *at, *end;
    bool failed;
};

static void skip_spaces(struct reader *reader)
{
    while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) && *reader->at)
        reader->at++;
}

static void expect(struct reader *reader, const char *token)
{
    size_t length = strlen(token);
    skip_spaces(reader);
    if (reader->failed || (size_t)(reader->end - reader->at) < length ||
        memcmp(reader->at, token, length) != 0)
        reader->failed = true;
    else
        reader->at += length;
}

static void expect_key(struct reader *reader, const char *name)
{
    expect(reader, ",");
    expect(reader, "\"");
    expect(reader, name);
    expect(reader, "\"");
    expect(reader, ":");
}

/* The bytes of a number, terminated, so that strto...() ends where the text does. */
static void read_digits(struct reader *reader, char out[NUMBER_ROOM])
{
    size_t n = 0;
    skip_spaces(reader);
    while (reader->at < reader->end && *reader->at && strchr("+-.0123456789eE", *reader->at) &&
           n < NUMBER_ROOM - 1)
        out[n++] = *reader->at++;
    out[n] = 0;
    reader->failed |= !n;
}

static double read_real(struct reader *reader)
{
    char digits[NUMBER_ROOM], *end;
    read_digits(reader, digits);
    double real = strtod(digits, &end);
    reader->failed |= *end != 0 || !isfinite(real);
    return reader->failed ? 0 : real;
}

static uint64_t read_count(struct reader *reader)
{
    char digits[NUMBER_ROOM], *end;
    read_digits(reader, digits);
    uint64_t count = strtoull(digits, &end, 10);
    reader->failed |= *end != 0 || strchr(digits, '-') || count > LARGEST_COUNT;
    return reader->failed ? 0 : count;
}

/* What JSON escapes: quotes and backslashes as they are, all else a space or a question mark. */
static char unescape(struct reader *reader)
{
    char c = reader->at < reader->end ? *reader->at++ : 0;
    if (c == 'u') {
        bool whole = reader->end - reader->at >= 4;
        reader->failed |= !whole;
        reader->at += whole ? 4 : 0;
        return '?';
    }
    return strchr("bfnrt", c) ? ' ' : c;
}

/* room: with the terminator; longer is cut. */
static void read_text(struct reader *reader, char *out, size_t room)
{
    size_t n = 0;
    skip_spaces(reader);
    expect(reader, "\"");
    while (!reader->failed && reader->at < reader->end && *reader->at != '"') {
        char c = *reader->at++;
        c = c == '\\' ? unescape(reader) : c;
        reader->failed |= !c;
        if (n < room - 1)
            out[n++] = c;
    }
    out[n] = 0;
    expect(reader, "\"");
}

static void read_field(struct reader *reader, const struct field *field, struct canary *canary)
{
    char *at = (char *)canary + field->offset;
    expect_key(reader, field->name);
    expect(reader, "[");
    for (uint32_t i = 0; i < field->n && !reader->failed; i++, at += sizeof(uint64_t)) {
        if (i)
            expect(reader, ",");
        if (field->type == FIELD_COUNT) {
            uint64_t count = read_count(reader);
            memcpy(at, &count, sizeof count);
        } else {
            double real = read_real(reader);
            memcpy(at, &real, sizeof real);
        }
    }
    expect(reader, "]");
}

static void read_name(struct reader *reader, const char *key, const char *expected)
{
    char name[CANARY_WHY_ROOM];
    expect_key(reader, key);
    read_text(reader, name, sizeof name);
    reader->failed |= strcmp(name, expected) != 0;
}

static void read_phase(struct reader *reader, struct canary *canary)
{
    char name[NUMBER_ROOM];
    uint32_t phase = 0;
    expect_key(reader, "phase");
    read_text(reader, name, sizeof name);
    while (phase < CANARY_PHASES && strcmp(name, canary_phase_name((enum canary_phase)phase)) != 0)
        phase++;
    reader->failed |= phase == CANARY_PHASES;
    canary->phase = reader->failed ? CANARY_RUNNING : (enum canary_phase)phase;
}

/* The largest step that is not above the weight; of none, not begun. */
static void find_step(struct canary *canary, double weight)
{
    const struct config_canary *config = canary->config;
    canary->begun = weight >= config->steps[0];
    while (canary->step + 1 < config->n_steps && config->steps[canary->step + 1] <= weight)
        canary->step++;
}

static bool tallies_are_sound(const struct tally *tallies, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (tallies[i].bad > tallies[i].n)
            return false;
    return true;
}

static bool is_sound(const struct canary *canary)
{
    const double *share = canary->shares.share;
    double sum = share[0] + share[1];
    return tallies_are_sound(canary->step_counts, BOOK_ARMS) && tallies_are_sound(canary->total, BOOK_ARMS) &&
           tallies_are_sound(canary->slow_total, BOOK_ARMS) && tallies_are_sound(&canary->disagreement, 1) &&
           tallies_are_sound(&canary->errors.baseline, 1) && tallies_are_sound(&canary->slow.baseline, 1) &&
           share[0] >= 0 && share[1] >= 0 && (!(sum > 0) || fabs(sum - 1) < 1e-9);
}

/* Evidence is kept where it is about what the configuration still asks. */
static void keep_evidence(struct canary *canary, const struct canary *stored)
{
    const struct config_canary *config = canary->config;
    struct draws errors = canary->errors, slow = canary->slow;
    bool same_margin = stored->errors.margin == config->errors;
    bool same_slow =
        stored->slow_quantile == config->latency_quantile && stored->slow_margin == config->latency_slower;
    if (same_margin) {
        errors.baseline = stored->errors.baseline;
        errors.seen = stored->errors.seen;
        memcpy(errors.log_e, stored->errors.log_e, sizeof errors.log_e);
    }
    if (same_slow) {
        slow.baseline = stored->slow.baseline;
        slow.seen = stored->slow.seen;
        memcpy(slow.log_e, stored->slow.log_e, sizeof slow.log_e);
    }
    uint64_t slow_us = same_slow ? stored->slow_us : 0;
    *canary = *stored;
    canary->errors = errors;
    canary->slow = slow;
    canary->slow_us = slow_us;
    canary->slow_quantile = config->latency_quantile;
    canary->slow_margin = config->latency_slower;
    canary->largest[CANARY_ERRORS] *= same_margin;
    canary->largest[CANARY_LATENCY] *= same_slow;
    canary->shares.n_arms = canary->shares.share[0] + canary->shares.share[1] > 0 ? BOOK_ARMS : 0;
}

bool canary_read(struct canary *canary, const struct config_canary *config, const char *json, size_t length,
                 uint64_t now_us)
{
    struct reader reader = {.at = json, .end = json + length};
    struct canary stored;
    canary_start(canary, config, now_us);
    canary_start(&stored, config, now_us);
    expect(&reader, "{");
    expect(&reader, "\"canary\"");
    expect(&reader, ":");
    expect(&reader, "1");
    read_name(&reader, "baseline", config->baseline->full_name);
    read_name(&reader, "candidate", config->candidate->full_name);
    read_phase(&reader, &stored);
    expect_key(&reader, "why");
    read_text(&reader, stored.why, sizeof stored.why);
    expect_key(&reader, "weight");
    double weight = read_real(&reader);
    for (size_t i = 0; i < N_FIELDS; i++)
        read_field(&reader, &fields[i], &stored);
    expect(&reader, "}");
    skip_spaces(&reader);
    if (reader.failed || reader.at != reader.end || !is_sound(&stored) || !(weight >= 0 && weight <= 1))
        return false;
    find_step(&stored, weight);
    keep_evidence(canary, &stored);
    return true;
}
