/* tensor: names, sizes, rows and shapes; and the indexing of BYTES that came from outside. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "replica/tensor.h"

Test(tensor, every_datatype_has_a_name_that_parses_back)
{
    for (enum datatype each = DT_INVALID + 1; each < DT_COUNT; each++) {
        const char *name = datatype_name(each);
        cr_assert_eq(datatype_parse(name, strlen(name)), each, "%s", name);
    }
    cr_assert_str_eq(datatype_name(DT_FP32), "FP32");
    cr_assert_str_eq(datatype_name(DT_INVALID), "?");
    cr_assert_str_eq(datatype_name((enum datatype)99), "?");
    cr_assert_str_eq(datatype_name((enum datatype) - 1), "?");
}

Test(tensor, names_that_are_no_datatype_do_not_parse)
{
    cr_assert_eq(datatype_parse("FP3", 3), DT_INVALID);
    cr_assert_eq(datatype_parse("FP32x", 5), DT_INVALID);
    cr_assert_eq(datatype_parse("FP32x", 4), DT_FP32, "only the first four bytes count");
    cr_assert_eq(datatype_parse("fp32", 4), DT_INVALID);
    cr_assert_eq(datatype_parse("", 0), DT_INVALID);
    cr_assert_eq(datatype_parse("?", 1), DT_INVALID);
}

Test(tensor, datatypes_have_the_sizes_of_the_protocol)
{
    cr_assert_eq(datatype_bytes(DT_BOOL), 1);
    cr_assert_eq(datatype_bytes(DT_BF16), 2);
    cr_assert_eq(datatype_bytes(DT_FP64), 8);
    cr_assert_eq(datatype_bytes(DT_BYTES), 0);
    cr_assert_eq(datatype_bytes((enum datatype)99), 0);
}

static struct tensor_spec spec_of(enum datatype datatype, unsigned dims, ...)
{
    struct tensor_spec spec = {.name = "x", .datatype = datatype, .dims = (uint8_t)dims};
    va_list sizes;
    va_start(sizes, dims);
    for (unsigned i = 0; i < dims; i++)
        spec.shape[i] = va_arg(sizes, int);
    va_end(sizes);
    return spec;
}

Test(tensor, row_elements_multiply_what_lies_behind_the_row_dimension)
{
    size_t elements = 77;
    struct tensor_spec spec = spec_of(DT_FP32, 1, 5);
    cr_assert(tensor_row_elements(&spec, &elements));
    cr_assert_eq(elements, 1, "a row of shape [5] is a scalar");

    spec = spec_of(DT_FP32, 3, TENSOR_ANY, 4, 6);
    cr_assert(tensor_row_elements(&spec, &elements), "the row dimension does not matter");
    cr_assert_eq(elements, 24);

    spec = spec_of(DT_FP32, 3, 2, 4, TENSOR_ANY);
    cr_assert_not(tensor_row_elements(&spec, &elements));
}

Test(tensor, row_elements_refuse_overflow_but_know_that_nothing_is_nothing)
{
    size_t elements = 77;
    struct tensor_spec spec = spec_of(DT_FP32, 4, 1, 0, 0, 2);
    spec.shape[1] = spec.shape[2] = INT64_MAX;
    cr_assert_not(tensor_row_elements(&spec, &elements));

    spec.shape[3] = 0;
    cr_assert(tensor_row_elements(&spec, &elements));
    cr_assert_eq(elements, 0);

    spec.shape[3] = -3;
    cr_assert_not(tensor_row_elements(&spec, &elements));
}

Test(tensor, rows_of_a_fixed_datatype_are_found_by_arithmetic)
{
    const int16_t data[] = {1, 2, 3, 4, 5, 6};
    struct tensor tensor = {
        .spec = spec_of(DT_INT16, 2, 3, 2), .data = (const uint8_t *)data, .bytes = sizeof data};
    size_t bytes;
    const uint8_t *row = tensor_row(&tensor, 2, &bytes);
    cr_assert_eq(bytes, 4);
    cr_assert_arr_eq(row, ((const int16_t[]){5, 6}), 4);
}

Test(tensor, rows_without_elements_are_empty)
{
    struct tensor tensor = {.spec = spec_of(DT_INT16, 2, 3, 0)};
    size_t bytes = 9;
    (void)tensor_row(&tensor, 2, &bytes);
    cr_assert_eq(bytes, 0);
}

Test(tensor, rows_of_bytes_end_where_the_index_says)
{
    const uint8_t data[] = "\1\0\0\0a\0\0\0\0\2\0\0\0bc\3\0\0\0def";
    uint32_t row_end[2];
    cr_assert_eq(tensor_index_bytes(data, sizeof data - 1, 2, 2, row_end), GW_OK);
    cr_assert_eq(row_end[0], 9);
    cr_assert_eq(row_end[1], 22);

    struct tensor tensor = {
        .spec = spec_of(DT_BYTES, 2, 2, 2), .data = data, .bytes = 22, .row_end = row_end};
    size_t bytes;
    cr_assert_eq(tensor_row(&tensor, 0, &bytes), data);
    cr_assert_eq(bytes, 9);
    cr_assert_eq(tensor_row(&tensor, 1, &bytes), data + 9);
    cr_assert_eq(bytes, 13);
}

Test(tensor, bytes_that_are_cut_anywhere_are_refused)
{
    const uint8_t whole[] = "\1\0\0\0a\0\0\0\0\2\0\0\0bc";
    uint32_t row_end[3];
    for (size_t cut = 0; cut < sizeof whole - 1; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1); /* so that a read past the end is seen */
        memcpy(exact, whole, cut);
        cr_assert_eq(tensor_index_bytes(exact, cut, 3, 1, row_end), GW_E_INVALID, "cut at %zu", cut);
        free(exact);
    }
    cr_assert_eq(tensor_index_bytes(whole, sizeof whole - 1, 3, 1, row_end), GW_OK);
}

Test(tensor, bytes_with_too_many_elements_or_huge_lengths_are_refused)
{
    const uint8_t two[] = "\0\0\0\0\0\0\0\0", huge[] = "\xFF\xFF\xFF\xFFx";
    uint32_t row_end[2];
    cr_assert_eq(tensor_index_bytes(two, 8, 1, 1, row_end), GW_E_INVALID, "one is left over");
    cr_assert_eq(tensor_index_bytes(two, 8, 1, SIZE_MAX, row_end), GW_E_INVALID);
    cr_assert_eq(tensor_index_bytes(huge, 5, 1, 1, row_end), GW_E_INVALID);
    cr_assert_eq(tensor_index_bytes(two, (size_t)UINT32_MAX + 1, 1, 1, row_end), GW_E_INVALID,
                 "row ends would not fit 32 bits");
    cr_assert_eq(tensor_index_bytes(NULL, 0, 2, 0, row_end), GW_OK);
    cr_assert_eq(row_end[1], 0);
}

Test(tensor, a_spec_fits_where_sizes_are_equal_or_any)
{
    struct tensor_spec declared = spec_of(DT_FP32, 2, TENSOR_ANY, 64);
    struct tensor_spec same = declared, rows = spec_of(DT_FP32, 2, 3, 64), other = spec_of(DT_FP64, 2, 3, 64);
    struct tensor_spec wide = spec_of(DT_FP32, 2, 3, 65), deep = spec_of(DT_FP32, 3, 3, 64, 1);
    struct tensor_spec any = spec_of(DT_FP32, 2, TENSOR_ANY, TENSOR_ANY);
    cr_assert(tensor_spec_fits(&declared, &same));
    cr_assert(tensor_spec_fits(&declared, &rows));
    cr_assert(tensor_spec_fits(&any, &declared));
    cr_assert_not(tensor_spec_fits(&declared, &any), "declared promises 64");
    cr_assert_not(tensor_spec_fits(&declared, &other));
    cr_assert_not(tensor_spec_fits(&declared, &wide));
    cr_assert_not(tensor_spec_fits(&declared, &deep));
}

Test(tensor, specs_are_written_for_people_and_cut_to_the_room)
{
    struct tensor_spec spec = spec_of(DT_FP32, 2, TENSOR_ANY, 64);
    char text[64];
    cr_assert_str_eq(tensor_spec_text(&spec, text, sizeof text), "FP32[-1,64]");
    for (size_t room = 1; room < 12; room++) {
        cr_assert_eq(strlen(tensor_spec_text(&spec, text, room)), room - 1, "room for %zu", room);
        cr_assert_eq(strncmp(text, "FP32[-1,64]", room - 1), 0);
    }
}

Test(tensor, names_are_written_for_people_and_cut_to_the_room)
{
    struct tensor_spec specs[40];
    char text[TENSOR_NAMES_ROOM];
    for (unsigned i = 0; i < 40; i++)
        specs[i] = (struct tensor_spec){.name = i < 2 ? "x" : "caption"};
    cr_assert_str_eq(tensor_spec_names(specs, 0, text), "");
    cr_assert_str_eq(tensor_spec_names(specs, 1, text), "x");
    cr_assert_str_eq(tensor_spec_names(specs, 3, text), "x, x, caption");
    cr_assert_str_eq(tensor_spec_names(specs, 15, text) + strlen(text) - 9, ", caption", "all of them fit");
    tensor_spec_names(specs, 40, text);
    cr_assert_lt(strlen(text), sizeof text);
    cr_assert_str_eq(text + strlen(text) - 10, "caption...");
    specs[0].name = "a name that is longer than all the room that there is, which is one hundred and "
                    "twenty-eight bytes, and "
                    "so it is not shown at all";
    cr_assert_str_eq(tensor_spec_names(specs, 1, text), "...");
}

Test(tensor, a_nan_is_found_in_its_row_alone_and_infinity_is_none)
{
    static const double fp64[] = {1, INFINITY, -NAN, 0};
    static const float fp32[] = {-INFINITY, 3e38f, 0, NAN};
    static const uint16_t fp16[] = {0x7C00, 0xFC00, 0xFE00, 0x7BFF},
                          bf16[] = {0x7F80, 0xFF80, 0x3F80, 0x7F81};
    static const uint8_t bytes[] = {0xFF, 0xFF, 0xFF, 0xFF};
    static const struct {
        enum datatype datatype;
        const void *data;
        size_t bytes;
        bool nan;
    } cases[] = {{DT_FP64, fp64, sizeof fp64, true},
                 {DT_FP32, fp32, sizeof fp32, true},
                 {DT_FP16, fp16, sizeof fp16, true},
                 {DT_BF16, bf16, sizeof bf16, true},
                 {DT_UINT8, bytes, sizeof bytes, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tensor tensor = {
            .spec = {.name = "y", .datatype = cases[i].datatype, .dims = 2, .shape = {2, 2}},
            .data = cases[i].data,
            .bytes = cases[i].bytes};
        cr_expect_not(tensor_row_has_nan(&tensor, 0), "%s", datatype_name(cases[i].datatype));
        cr_expect_eq(tensor_row_has_nan(&tensor, 1), cases[i].nan, "%s", datatype_name(cases[i].datatype));
    }
}
