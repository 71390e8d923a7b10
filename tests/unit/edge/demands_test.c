/* What headers ask of a request's handling, and what is refused. */
#include "edge/demands.h"

#include <criterion/criterion.h>
#include <string.h>

static enum gw_status read_fields(struct request *request, struct gw_err *err, const char *const fields[][2],
                                  uint32_t n)
{
    struct http_header headers[4];
    for (uint32_t i = 0; i < n; i++)
        headers[i] = (struct http_header){.name = fields[i][0],
                                          .value = fields[i][1],
                                          .name_length = strlen(fields[i][0]),
                                          .value_length = strlen(fields[i][1])};
    *request = (struct request){.received_us = 5000000, .deadline_us = 5100000, .priority = PRIORITY_NORMAL};
    *err = (struct gw_err){0};
    return demands_read(&(struct http_message){.headers = headers, .n_headers = n}, request, err);
}
#define READ(...)                                                                                            \
    read_fields(&request, &err, (const char *const[][2]){__VA_ARGS__},                                       \
                sizeof((const char *const[][2]){__VA_ARGS__}) / (2 * sizeof(char *)))

Test(demands, nothing_is_asked_for)
{
    struct request request;
    struct gw_err err;
    cr_assert_eq(READ({"accept", "*/*"}), GW_OK);
    cr_assert_eq(request.deadline_us, 5100000);
    cr_assert_eq(request.priority, PRIORITY_NORMAL);
}

Test(demands, a_deadline_shortens_the_objective_and_never_lengthens_it)
{
    struct request request;
    struct gw_err err;
    cr_assert_eq(READ({"x-xebec-deadline-ms", "40"}), GW_OK);
    cr_assert_eq(request.deadline_us, 5040000);
    cr_assert_eq(READ({"x-xebec-deadline-ms", "3600000"}), GW_OK);
    cr_assert_eq(request.deadline_us, 5100000);
    cr_assert_eq(READ({"x-xebec-deadline-ms", "001"}), GW_OK);
    cr_assert_eq(request.deadline_us, 5001000);
}

Test(demands, priorities_by_name)
{
    struct request request;
    struct gw_err err;
    cr_assert_eq(READ({"x-xebec-priority", "high"}), GW_OK);
    cr_assert_eq(request.priority, PRIORITY_HIGH);
    cr_assert_eq(READ({"x-xebec-priority", "Batch"}, {"x-xebec-deadline-ms", "5"}), GW_OK);
    cr_assert_eq(request.priority, PRIORITY_BATCH);
    cr_assert_eq(request.deadline_us, 5005000);
}

Test(demands, anything_else_is_refused_with_words_and_changes_nothing)
{
    static const char *const bad[] = {
        "", "0", "-1", "+5", "1.5", "5ms", " 5", "3600001", "99999999999999999999999", "0x10"};
    struct request request;
    struct gw_err err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(READ({"x-xebec-deadline-ms", bad[i]}), GW_E_INVALID, "%s", bad[i]);
        cr_assert(strstr(err.what, "x-xebec-deadline-ms") && strstr(err.what, "milliseconds"), "%s",
                  err.what);
        cr_assert_eq(request.deadline_us, 5100000);
    }
    cr_assert_eq(READ({"x-xebec-deadline-ms", "5"}, {"x-xebec-priority", "urgent"}), GW_E_INVALID);
    cr_assert_str_eq(err.what, "the header x-xebec-priority: expected high, normal or batch, got \"urgent\"");
    cr_assert_eq(request.deadline_us, 5100000, "all or nothing");
    cr_assert_eq(READ({"x-xebec-deadline-ms", "5"}, {"x-xebec-deadline-ms", "5"}), GW_E_INVALID);
    cr_assert_str_eq(err.what, "the header x-xebec-deadline-ms is given twice");
}
