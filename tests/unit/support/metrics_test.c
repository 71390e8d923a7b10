/* Metrics: counted, rendered, and read back by a parser of the text format that knows nothing of the
 * renderer. */
#include "support/metrics.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct metrics *metrics;

static void setup(void)
{
    metrics = metrics_new();
    cr_assert_not_null(metrics);
}

static void teardown(void)
{
    metrics_free(metrics);
}

TestSuite(metrics, .init = setup, .fini = teardown);

/* --- a small reader of the Prometheus text format, 0.0.4 --- */

struct sample {
    char name[64], labels[256];
    double value;
};

struct page {
    struct buf text;
    struct sample samples[512];
    int n_samples;
    char typed[64][64], types[64][16]; /* "# TYPE name type" in order */
    int n_typed;
};

static bool is_name(const char *text)
{
    return *text &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789:") == strlen(text) &&
           !strchr("0123456789", *text);
}

/* name="value",name="value": quotes, backslashes and line ends escaped. */
static bool are_labels(const char *at)
{
    for (;;) {
        size_t name = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
        if (!name || at[name] != '=' || at[name + 1] != '"')
            return false;
        for (at += name + 2; *at != '"'; at++) {
            if (!*at || *at == '\n' || (*at == '\\' && !strchr("\\\"n", at[1])))
                return false;
            at += *at == '\\';
        }
        if (!*++at)
            return true;
        if (*at++ != ',')
            return false;
    }
}

static void read_comment(struct page *page, char *line)
{
    char name[64], type[16];
    if (sscanf(line, "# TYPE %63s %15s", name, type) == 2) {
        for (int i = 0; i < page->n_typed; i++)
            cr_assert_str_neq(page->typed[i], name, "TYPE of %s stands twice", name);
        strcpy(page->typed[page->n_typed], name);
        strcpy(page->types[page->n_typed++], type);
        return;
    }
    char help[8];
    cr_assert_eq(sscanf(line, "# %7s %63s", help, name), 2);
    cr_assert_str_eq(help, "HELP");
    cr_assert(is_name(name));
}

static void read_sample(struct page *page, char *line)
{
    struct sample *sample = &page->samples[page->n_samples++];
    char *value = strrchr(line, ' '), *end, *brace = strchr(line, '{');
    cr_assert_not_null(value, "no value: %s", line);
    *value++ = '\0';
    sample->value = strtod(value, &end);
    cr_assert(*value && !*end, "not a number: %s", value);
    if (brace) {
        cr_assert_eq(value[-2], '}', "labels do not end: %s", line);
        value[-2] = '\0';
        *brace++ = '\0';
        cr_assert(are_labels(brace), "not labels: %s", brace);
        strcpy(sample->labels, brace);
    }
    cr_assert(is_name(line), "not a name: %s", line);
    strcpy(sample->name, line);
}

static struct page *read_page(void)
{
    static struct page page;
    memset(&page, 0, sizeof page);
    metrics_render(metrics, &page.text);
    cr_assert_not(page.text.failed);
    if (page.text.length)
        cr_assert_eq(page.text.bytes[page.text.length - 1], '\n', "the last line must end");
    buf_append(&page.text, "", 1);
    for (char *line = strtok(page.text.bytes, "\n"); line; line = strtok(NULL, "\n"))
        *line == '#' ? read_comment(&page, line) : read_sample(&page, line);
    buf_clear(&page.text);
    return &page;
}

static double value_of(const struct page *page, const char *name, const char *labels)
{
    const struct sample *found = NULL;
    for (int i = 0; i < page->n_samples; i++) {
        const struct sample *each = &page->samples[i];
        if (strcmp(each->name, name) == 0 && strcmp(each->labels, labels) == 0) {
            cr_assert_null(found, "%s{%s} stands twice", name, labels);
            found = each;
        }
    }
    cr_assert_not_null(found, "%s{%s} is missing", name, labels);
    return found->value;
}

/* --- counters and gauges --- */

Test(metrics, renders_nothing_of_what_nobody_asked_for)
{
    cr_assert_eq(read_page()->n_samples, 0);
}

Test(metrics, sums_instances_with_equal_labels)
{
    struct metric *a = metrics_series(metrics, METRIC_ROWS, METRIC_LABELS("version", "a"));
    struct metric *again = metrics_series(metrics, METRIC_ROWS, METRIC_LABELS("version", "a"));
    struct metric *b = metrics_series(metrics, METRIC_ROWS, METRIC_LABELS("version", "b"));
    struct metric *bare = metrics_series(metrics, METRIC_CACHE_HITS, NULL);
    cr_assert(a && again && b && bare && a != again);
    metric_add(a, 3);
    metric_add(again, 4);
    metric_add(b, 1ULL << 40);
    metric_add(bare, 9);
    const struct page *page = read_page();
    cr_assert_eq(page->n_samples, 3);
    cr_assert_eq(value_of(page, "xebec_rows_total", "version=\"a\""), 7);
    cr_assert_eq(value_of(page, "xebec_rows_total", "version=\"b\""), 0x1p40);
    cr_assert_eq(value_of(page, "xebec_cache_hits_total", ""), 9);
}

Test(metrics, what_is_given_back_goes_on_counting_in_the_next_hands)
{
    struct metric *first = metrics_series(metrics, METRIC_ROWS, METRIC_LABELS("version", "a"));
    struct metric *gauge = metrics_series(metrics, METRIC_QUEUE_ROWS, METRIC_LABELS("version", "a"));
    struct histogram *seconds =
        metrics_histogram(metrics, METRIC_REQUEST_SECONDS, METRIC_LABELS("endpoint", "e"));
    metric_add(first, 3);
    metric_set(gauge, 7);
    histogram_observe(seconds, 10);
    metrics_release(metrics, first);
    metrics_release(metrics, gauge);
    metrics_release(metrics, seconds);
    metrics_release(metrics, NULL);
    const struct page *page = read_page();
    cr_expect_eq(value_of(page, "xebec_rows_total", "version=\"a\""), 3);
    cr_expect_eq(value_of(page, "xebec_queue_rows", "version=\"a\""), 0, "nobody is there to queue");
    struct metric *next = metrics_series(metrics, METRIC_ROWS, METRIC_LABELS("version", "a"));
    struct metric *other = metrics_series(metrics, METRIC_ROWS, METRIC_LABELS("version", "a"));
    cr_assert_eq(next, first, "it was free");
    cr_assert_neq(other, first, "it is taken");
    cr_expect_eq(metrics_histogram(metrics, METRIC_REQUEST_SECONDS, METRIC_LABELS("endpoint", "e")), seconds);
    metric_add(next, 4);
    metric_add(other, 10);
    cr_expect_eq(value_of(read_page(), "xebec_rows_total", "version=\"a\""), 17);
}

Test(metrics, gauges_fall_and_read_as_signed_over_all_instances)
{
    struct metric *here = metrics_series(metrics, METRIC_CONNECTIONS, NULL);
    struct metric *there = metrics_series(metrics, METRIC_CONNECTIONS, NULL);
    metric_set(here, 10);
    metric_sub(there, 3); /* came here, left there */
    cr_assert_eq(value_of(read_page(), "xebec_connections", ""), 7);
    metric_sub(here, 12);
    cr_assert_eq(value_of(read_page(), "xebec_connections", ""), -5);
}

Test(metrics, escapes_label_values)
{
    const char *text = "endpoint=\"a\\\"b\\\\c\\nd\",outcome=\"ok\"";
    metric_add(
        metrics_series(metrics, METRIC_REQUESTS, METRIC_LABELS("endpoint", "a\"b\\c\nd", "outcome", "ok")),
        1);
    cr_assert_eq(value_of(read_page(), "xebec_requests_total", text), 1);
}

Test(metrics, families_stand_in_table_order_with_their_types)
{
    static const struct {
        const char *name, *type;
    } expected[] = {{"xebec_requests_total", "counter"},
                    {"xebec_request_seconds", "histogram"},
                    {"xebec_batch_rows", "histogram"},
                    {"xebec_cache_bytes", "gauge"}};
    (void)!metrics_series(metrics, METRIC_CACHE_BYTES, NULL);
    (void)!metrics_histogram(metrics, METRIC_BATCH_ROWS, NULL);
    (void)!metrics_histogram(metrics, METRIC_REQUEST_SECONDS, NULL);
    (void)!metrics_series(metrics, METRIC_REQUESTS, NULL);
    const struct page *page = read_page();
    cr_assert_eq(page->n_typed, 4);
    for (int i = 0; i < 4; i++) {
        cr_assert_str_eq(page->typed[i], expected[i].name);
        cr_assert_str_eq(page->types[i], expected[i].type);
    }
}

/* --- reals --- */

Test(metrics, amounts_are_a_summary_and_add_up_over_instances)
{
    const char *const *labels = METRIC_LABELS("output", "y");
    struct amounts *here = metrics_amounts(metrics, METRIC_SHADOW_OUTPUT_ERROR, labels);
    struct amounts *there = metrics_amounts(metrics, METRIC_SHADOW_OUTPUT_ERROR, labels);
    amounts_add(here, 0.25, 3);
    amounts_add(here, 0.5, 1);
    amounts_add(there, 1e-3, 2);
    metrics_release(metrics, there);
    const struct page *page = read_page();
    cr_assert_str_eq(page->types[0], "summary");
    cr_assert_float_eq(value_of(page, "xebec_shadow_output_error_sum", "output=\"y\""), 0.751, 1e-12);
    cr_assert_eq(value_of(page, "xebec_shadow_output_error_count", "output=\"y\""), 6);
    amounts_add(here, 1.7e308, 1);
    amounts_add(here, 1.7e308, 1);
    cr_assert_lt(value_of(read_page(), "xebec_shadow_output_error_sum", "output=\"y\""), INFINITY);
}

Test(metrics, of_a_largest_the_largest_instance_is_shown_until_it_is_given_back)
{
    const char *const *labels = METRIC_LABELS("output", "y");
    struct metric *here = metrics_series(metrics, METRIC_SHADOW_OUTPUT_MOST, labels);
    struct metric *there = metrics_series(metrics, METRIC_SHADOW_OUTPUT_MOST, labels);
    metric_raise(here, 2.5);
    metric_raise(here, 1);
    metric_raise(there, 0.125);
    const struct page *page = read_page();
    cr_assert_str_eq(page->types[0], "gauge");
    cr_assert_eq(value_of(page, "xebec_shadow_output_error_max", "output=\"y\""), 2.5);
    metrics_release(metrics, here);
    cr_assert_eq(value_of(read_page(), "xebec_shadow_output_error_max", "output=\"y\""), 0.125);
}

/* --- histograms --- */

/* Every bucket counts what is at most its bound; they never fall; +Inf is the count. */
static void cr_buckets(const struct page *page, const char *name, const uint64_t *values, int n, double unit)
{
    char bucket[80], of_sum[80];
    double last = 0, sum = 0;
    int n_buckets = 0;
    snprintf(bucket, sizeof bucket, "%s_bucket", name);
    for (int i = 0; i < page->n_samples; i++) {
        const struct sample *sample = &page->samples[i];
        const char *le = strstr(sample->labels, "le=\"");
        if (strcmp(sample->name, bucket) != 0)
            continue;
        cr_assert_not_null(le);
        double bound = strtod(le + 4, NULL) / unit, expected = 0;
        for (int v = 0; v < n; v++)
            expected += (double)values[v] <= bound * (1 + 1e-9);
        cr_assert_eq(sample->value, expected, "%s: %g, not %g", sample->labels, sample->value, expected);
        cr_assert_geq(sample->value, last);
        last = sample->value;
        n_buckets++;
    }
    for (int v = 0; v < n; v++)
        sum += (double)values[v] * unit;
    snprintf(of_sum, sizeof of_sum, "%s_sum", name);
    cr_assert_float_eq(value_of(page, of_sum, "version=\"a\""), sum, sum * 1e-6);
    cr_assert_gt(n_buckets, 15);
    cr_assert_eq(last, n, "+Inf counts all");
}

static const uint64_t values[] = {0,    1,     2,     3,       4,        5,        7,
                                  8,    9,     16,    17,      100,      1023,     1024,
                                  1025, 65536, 65537, 1000000, 67108864, 67108865, 10000000000};
enum { N_VALUES = sizeof values / sizeof values[0] };

Test(metrics, histograms_render_cumulative_powers_of_two)
{
    struct histogram *seconds = metrics_histogram(metrics, METRIC_RPC_SECONDS, METRIC_LABELS("version", "a"));
    struct histogram *rows[2] = {
        metrics_histogram(metrics, METRIC_BATCH_ROWS, METRIC_LABELS("version", "a")),
        metrics_histogram(metrics, METRIC_BATCH_ROWS, METRIC_LABELS("version", "a"))};
    for (int i = 0; i < N_VALUES; i++) {
        histogram_observe(seconds, values[i]);
        histogram_observe(rows[i & 1], values[i]);
    }
    const struct page *page = read_page();
    cr_buckets(page, "xebec_rpc_seconds", values, N_VALUES, 1e-6);
    cr_buckets(page, "xebec_batch_rows", values, N_VALUES, 1);
    cr_assert_eq(value_of(page, "xebec_rpc_seconds_count", "version=\"a\""), N_VALUES);
    cr_assert_eq(value_of(page, "xebec_rpc_seconds_bucket", "version=\"a\",le=\"0.001024\""), 14);
    cr_assert_eq(value_of(page, "xebec_batch_rows_bucket", "version=\"a\",le=\"+Inf\""), N_VALUES);
}

static void cr_within(double got, double right, const char *what)
{
    cr_assert(got >= right * 0.88 && got <= right * 1.12, "%s: %g, where %g is right", what, got, right);
}

Test(metrics, quantiles_are_within_12_percent_of_any_single_value)
{
    for (uint64_t value = 1; value < 60000000; value += 1 + value / 50) {
        struct histogram *histogram = metrics_histogram(metrics, METRIC_RPC_SECONDS, NULL);
        char what[32];
        for (int i = 0; i < 5; i++)
            histogram_observe(histogram, value);
        snprintf(what, sizeof what, "the median of %lu", value);
        cr_within((double)histogram_quantile(histogram, 0.5), (double)value, what);
    }
}

Test(metrics, quantiles_are_within_12_percent_of_a_long_tail)
{
    struct histogram *histogram = metrics_histogram(metrics, METRIC_RPC_SECONDS, NULL);
    cr_assert_eq(histogram_quantile(histogram, 0.5), 0);
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_observe(histogram, 100 + i * i / 100000);
    static const double quantiles[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    for (int i = 0; i < 7; i++) {
        double at = quantiles[i] * 100000;
        cr_within((double)histogram_quantile(histogram, quantiles[i]), 100 + at * at / 100000, "quantile");
    }
    cr_assert_gt(histogram_quantile(histogram, 0), 0);
}

/* --- one series, read back --- */

Test(metrics, a_series_is_the_sum_of_its_instances)
{
    const char *const *labels = METRIC_LABELS("version", "m@v");
    for (int i = 1; i <= 2; i++) {
        histogram_observe(metrics_histogram(metrics, METRIC_RPC_SECONDS, labels), 100 * (uint64_t)i);
        metric_add(metrics_series(metrics, METRIC_RETRIES, labels), (uint64_t)i);
        amounts_add(metrics_amounts(metrics, METRIC_ARM_ENDINGS, labels), 0.5, 2);
        metric_raise(metrics_series(metrics, METRIC_ARM_LAST, labels), i);
    }
    struct metrics_sum sum = metrics_read(metrics, METRIC_RPC_SECONDS, labels);
    cr_expect(sum.count == 2 && sum.sum == 300);
    sum = metrics_read(metrics, METRIC_RETRIES, labels);
    cr_expect(sum.count == 3);
    sum = metrics_read(metrics, METRIC_ARM_ENDINGS, labels);
    cr_expect(sum.count == 4 && sum.sum == 1);
    sum = metrics_read(metrics, METRIC_ARM_LAST, labels);
    cr_expect(sum.count == 0 && sum.sum == 2);
    sum = metrics_read(metrics, METRIC_RPC_SECONDS, METRIC_LABELS("version", "m@w"));
    cr_expect(sum.count == 0 && sum.sum == 0);
}
