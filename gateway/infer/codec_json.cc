/*
 * codec_json: documents and the values in them. codec_json_rows.cc makes tensors of values;
 * codec_json_write.cc is the way back.
 *
 *   json_read -> read_members -> callback -> json_object | json_array -> callback ...
 *                                         -> json_text | json_int | json_raw | json_append_row(s), _tensor
 *                                         -> nothing: check_value
 */
#include "infer/codec_json.hh"

#include <inttypes.h>
#include <new>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace codec;

static_assert(CODEC_PADDING >= simdjson::SIMDJSON_PADDING, "simdjson reads further than callers promise");

static const int DEPTH_MAX = 64;
static const size_t READER_FIRST_BYTES = 8192, READER_KEPT_BYTES = 1 << 20;
static const size_t PLACE_ROOM = 160, KEY_SHOWN_MAX = 64;

/* ---- problems, in words ---- */

/* "input[3].pixels"; "" for the root. */
static size_t place_write(const struct place *place, char *text, size_t room)
{
    if (!place->outer) {
        text[0] = '\0';
        return 0;
    }
    size_t length = place_write(place->outer, text, room);
    string_view key = place->key.substr(0, KEY_SHOWN_MAX);
    const char *dot = length ? "." : "";
    int added = place->key.data() ? snprintf(text + length, room - length, "%s%.*s", dot,
                                             static_cast<int>(key.size()), key.data())
                                  : snprintf(text + length, room - length, "[%zu]", place->index);
    length += added > 0 ? static_cast<size_t>(added) : 0;
    return length < room ? length : room - 1;
}

static enum gw_status fail_at_list(struct at at, enum gw_status status, const char *format, va_list args)
{
    char where[PLACE_ROOM], what[sizeof at.err->what];
    vsnprintf(what, sizeof what, format, args);
    bool known = place_write(at.place, where, sizeof where) > 0;
    return gw_err_set(at.err, status, "%s: %s", known ? where : "the document", what);
}

enum gw_status codec::fail_at(struct at at, enum gw_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fail_at_list(at, status, format, args);
    va_end(args);
    return status;
}

extern "C" enum gw_status json_refuse(const struct json_value *value, struct gw_err *err, const char *format,
                                      ...)
{
    va_list args;
    va_start(args, format);
    fail_at_list({value->reader, &value->place, err}, GW_E_INVALID, format, args);
    va_end(args);
    return GW_E_INVALID;
}

enum gw_status codec::no_memory(struct gw_err *err)
{
    return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
}

enum gw_status codec::syntax_error(struct at at)
{
    const char *here = at.reader->text + at.reader->length, *location;
    if (!at.reader->document.current_location().get(location) && location < here)
        here = location;
    return gw_err_set(at.err, GW_E_INVALID, "not valid JSON near byte %zu",
                      static_cast<size_t>(here - at.reader->text));
}

static enum gw_status document_error(struct gw_err *err, simdjson::error_code error)
{
    switch (error) {
    case simdjson::MEMALLOC:
        return no_memory(err);
    case simdjson::CAPACITY:
        return gw_err_set(err, GW_E_TOO_LARGE, "the document is larger than 4 GiB");
    case simdjson::EMPTY:
        return gw_err_set(err, GW_E_INVALID, "the document is empty");
    case simdjson::UTF8_ERROR:
        return gw_err_set(err, GW_E_INVALID, "the document is not UTF-8");
    case simdjson::UNCLOSED_STRING:
        return gw_err_set(err, GW_E_INVALID, "not valid JSON: a string does not end");
    case simdjson::UNESCAPED_CHARS:
        return gw_err_set(err, GW_E_INVALID, "not valid JSON: a control character in a string");
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
        return gw_err_set(err, GW_E_INVALID, "not valid JSON: the document does not end with its object");
    default:
        return gw_err_set(err, GW_E_INVALID, "not valid JSON");
    }
}

/* ---- tokens ---- */

static enum json_kind kind_of_character(char c)
{
    switch (c) {
    case 'n':
        return JSON_NULL;
    case 't':
    case 'f':
        return JSON_BOOLEAN;
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_LIST;
    case '{':
        return JSON_OBJECT;
    default:
        return c == '-' || (c >= '0' && c <= '9') ? JSON_NUMBER : JSON_INVALID;
    }
}

static const char *kind_words(enum json_kind kind)
{
    static const char *const words[] = {"something else", "null",   "a boolean", "a number",
                                        "a string",       "a list", "an object"};
    return words[kind];
}

static string_view trimmed(string_view text)
{
    while (!text.empty() && string_view(" \t\r\n").find(text.back()) != string_view::npos)
        text.remove_suffix(1);
    return text;
}

string_view codec::token_of(ondemand::value &value)
{
    return trimmed(value.raw_json_token());
}

enum json_kind codec::kind_of(ondemand::value &value)
{
    return kind_of_character(*value.raw_json_token().data());
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* RFC 8259, section 6. */
enum number_form codec::number_form(string_view text)
{
    const char *at = text.data(), *end = at + text.size();
    enum number_form form = NUMBER_WHOLE;
    at += at < end && *at == '-';
    const char *digits = at;
    at = skip_digits(at, end);
    if (at == digits || (*digits == '0' && at - digits > 1))
        return NUMBER_NOT;
    if (at < end && *at == '.') {
        form = NUMBER_REAL;
        digits = ++at;
        at = skip_digits(at, end);
        if (at == digits)
            return NUMBER_NOT;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        form = NUMBER_REAL;
        at++;
        at += at < end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return NUMBER_NOT;
    }
    return at == end ? form : NUMBER_NOT;
}

/* null, a boolean or a number, spelled out. */
static bool scalar_is_valid(ondemand::value &value)
{
    string_view token = token_of(value);
    return token == "null" || token == "true" || token == "false" || number_form(token) != NUMBER_NOT;
}

enum gw_status codec::wrong_kind(struct at at, ondemand::value &value, const char *expected)
{
    enum json_kind kind = kind_of(value);
    if (kind < JSON_STRING && !scalar_is_valid(value))
        return syntax_error(at);
    return fail_at(at, GW_E_INVALID, "expected %s, got %s", expected, kind_words(kind));
}

/* ---- text ---- */

static bool scratch_open(struct scratch *scratch, size_t bytes)
{
    if (scratch->capacity >= bytes)
        return true;
    free(scratch->bytes);
    scratch->bytes = static_cast<char *>(malloc(bytes));
    scratch->capacity = scratch->bytes ? bytes : 0;
    return scratch->bytes;
}

static void scratch_close(struct scratch *scratch)
{
    scratch->used = 0;
    if (scratch->capacity > READER_KEPT_BYTES) {
        free(scratch->bytes);
        scratch->bytes = nullptr;
        scratch->capacity = 0;
    }
}

bool codec::raw_text(const struct json_reader *reader, ondemand::raw_json_string raw, string_view *text)
{
    const char *start = raw.raw(), *end = reader->text + reader->length, *from = start;
    while (const void *found = memchr(from, '"', static_cast<size_t>(end - from))) {
        const char *quote = static_cast<const char *>(found), *escape = quote;
        while (escape > start && escape[-1] == '\\')
            escape--;
        if ((quote - escape) % 2 == 0) {
            *text = string_view(start, static_cast<size_t>(quote - start));
            return true;
        }
        from = quote + 1;
    }
    return false;
}

enum gw_status codec::unescape(struct at at, ondemand::raw_json_string raw, void *room, string_view *text)
{
    uint8_t *to = static_cast<uint8_t *>(room);
    if (at.reader->parser.unescape(raw, to).get(*text))
        return fail_at(at, GW_E_INVALID, "a string has an escape that is not valid");
    return GW_OK;
}

enum gw_status codec::read_text(struct at at, ondemand::raw_json_string raw, string_view *text)
{
    struct scratch *scratch = &at.reader->unescaped;
    if (!raw_text(at.reader, raw, text))
        return syntax_error(at);
    if (text->find('\\') == string_view::npos)
        return GW_OK;
    if (!scratch_open(scratch, at.reader->length + CODEC_PADDING))
        return no_memory(at.err);
    enum gw_status status = unescape(at, raw, scratch->bytes + scratch->used, text);
    if (status == GW_OK)
        scratch->used += text->size();
    return status;
}

/* ---- lists and objects ---- */

enum gw_status codec::open_list(struct at at, ondemand::value &value, ondemand::array *list)
{
    if (kind_of(value) != JSON_LIST)
        return wrong_kind(at, value, "a list");
    if (at.place->depth >= DEPTH_MAX)
        return fail_at(at, GW_E_INVALID, "nested deeper than %d", DEPTH_MAX);
    return value.get_array().get(*list) ? syntax_error(at) : GW_OK;
}

enum gw_status codec::open_object(struct at at, ondemand::value &value, ondemand::object *object)
{
    if (kind_of(value) != JSON_OBJECT)
        return wrong_kind(at, value, "an object");
    if (at.place->depth >= DEPTH_MAX)
        return fail_at(at, GW_E_INVALID, "nested deeper than %d", DEPTH_MAX);
    return value.get_object().get(*object) ? syntax_error(at) : GW_OK;
}

enum gw_status codec::take_member(struct at at, simdjson::simdjson_result<ondemand::field> &&item,
                                  struct json_value *member)
{
    ondemand::field field;
    if (std::move(item).get(field))
        return syntax_error(at);
    *member = {at.reader, field.value(), {at.place, {}, 0, at.place->depth + 1}, false};
    if (!is_inside(at.reader, member->value))
        return syntax_error(at);
    return read_text(at, field.key(), &member->place.key);
}

static enum gw_status read_members(struct at at, ondemand::object &object, json_member_fn *member,
                                   void *owner)
{
    for (auto item : object) {
        struct json_value value;
        enum gw_status status = take_member(at, std::move(item), &value);
        if (status == GW_OK)
            status = member(owner, value.place.key.data(), value.place.key.size(), &value, at.err);
        if (status == GW_OK && !value.read)
            status = check_value({at.reader, &value.place, at.err}, value.value);
        if (status != GW_OK)
            return status;
    }
    return GW_OK;
}

static enum gw_status read_elements(struct at at, ondemand::array &list, json_element_fn *element,
                                    void *owner)
{
    size_t count;
    return for_each(at, list, &count, [&](struct at here, ondemand::value &found) {
        struct json_value value = {here.reader, found, *here.place, false};
        enum gw_status status = element(owner, static_cast<uint32_t>(here.place->index), &value, here.err);
        return status == GW_OK && !value.read ? check_value(here, found) : status;
    });
}

/* ---- what nobody reads ---- */

static enum gw_status check_list(struct at at, ondemand::value &value)
{
    ondemand::array list;
    size_t count;
    enum gw_status status = open_list(at, value, &list);
    return status == GW_OK ? for_each(at, list, &count, check_value) : status;
}

static enum gw_status check_object(struct at at, ondemand::value &value)
{
    ondemand::object object;
    enum gw_status status = open_object(at, value, &object);
    if (status != GW_OK)
        return status;
    for (auto item : object) {
        struct json_value member;
        status = take_member(at, std::move(item), &member);
        if (status == GW_OK)
            status = check_value({at.reader, &member.place, at.err}, member.value);
        if (status != GW_OK)
            return status;
    }
    return GW_OK;
}

/* Strings are consumed, as simdjson would take one with a colon behind it for a key when it skips. */
static enum gw_status check_text(struct at at, ondemand::value &value)
{
    ondemand::raw_json_string raw;
    string_view text;
    if (value.get_raw_json_string().get(raw))
        return syntax_error(at);
    size_t used = at.reader->unescaped.used;
    enum gw_status status = read_text(at, raw, &text);
    at.reader->unescaped.used = used;
    return status;
}

enum gw_status codec::check_value(struct at at, ondemand::value &value)
{
    switch (kind_of(value)) {
    case JSON_LIST:
        return check_list(at, value);
    case JSON_OBJECT:
        return check_object(at, value);
    case JSON_STRING:
        return check_text(at, value);
    default:
        return scalar_is_valid(value) ? GW_OK : syntax_error(at);
    }
}

enum gw_status codec::raw_value(struct at at, ondemand::value &value, string_view *text)
{
    enum json_kind kind = kind_of(value);
    *text = token_of(value);
    enum gw_status status = check_value(at, value);
    if (status != GW_OK || (kind != JSON_LIST && kind != JSON_OBJECT))
        return status;
    const char *next;
    if (at.reader->document.current_location().get(next) || next < text->data())
        return syntax_error(at);
    *text = trimmed(string_view(text->data(), static_cast<size_t>(next - text->data())));
    return GW_OK;
}

/* ---- documents ---- */

/*
 * Memory first, in powers of two, so that documents that grow little by little do not move it each time.
 * simdjson does not notice when there is none for its strings; no string is ever read into those.
 */
static simdjson::error_code reader_reserve(struct json_reader *reader, size_t length)
{
    size_t capacity = READER_FIRST_BYTES;
    while (capacity < length && capacity < SIZE_MAX / 2)
        capacity *= 2;
    if (capacity <= reader->parser.capacity())
        return simdjson::SUCCESS;
    return reader->parser.allocate(capacity < reader->parser.max_capacity() ? capacity : length);
}

static enum gw_status reader_open(struct json_reader *reader, const char *text, size_t length,
                                  struct gw_err *err)
{
    reader->text = text;
    reader->length = length;
    simdjson::error_code error = reader_reserve(reader, length);
    if (!error)
        error = reader->parser.iterate(text, length, length + CODEC_PADDING).get(reader->document);
    return error ? document_error(err, error) : GW_OK;
}

static void reader_close(struct json_reader *reader)
{
    reader->document = ondemand::document();
    if (reader->parser.capacity() > READER_KEPT_BYTES)
        reader->parser = ondemand::parser();
    scratch_close(&reader->unescaped);
    scratch_close(&reader->padded);
}

/* After the root's closing bracket there must be nothing. */
static enum gw_status reader_end(struct at at)
{
    if (at.reader->document.current_location().error() == simdjson::OUT_OF_BOUNDS)
        return GW_OK;
    return syntax_error(at);
}

static enum gw_status read_root(struct at at, json_member_fn *member, void *owner)
{
    ondemand::object object;
    string_view token;
    simdjson::error_code error = at.reader->document.get_object().get(object);
    if (error == simdjson::INCORRECT_TYPE && !at.reader->document.raw_json_token().get(token)) {
        enum json_kind kind = kind_of_character(token[0]);
        return kind == JSON_INVALID
                   ? syntax_error(at)
                   : fail_at(at, GW_E_INVALID, "expected an object, got %s", kind_words(kind));
    }
    if (error)
        return document_error(at.err, error);
    enum gw_status status = read_members(at, object, member, owner);
    return status == GW_OK ? reader_end(at) : status;
}

/* The document stands in brackets that json_check() put around it, so that it may be a scalar. */
static enum gw_status check_bracketed(struct at at)
{
    ondemand::array list;
    size_t count;
    simdjson::error_code error = at.reader->document.get_array().get(list);
    if (error)
        return document_error(at.err, error);
    enum gw_status status = for_each(at, list, &count, check_value);
    if (status == GW_OK && count != 1)
        return syntax_error(at);
    return status == GW_OK ? reader_end(at) : status;
}

/* ---- the contract ---- */

struct at codec::value_at(struct json_value *value, struct gw_err *err)
{
    value->read = true;
    return {value->reader, &value->place, err};
}

extern "C" struct json_reader *json_reader_new(void)
{
    return new (std::nothrow) json_reader();
}

extern "C" void json_reader_free(struct json_reader *reader)
{
    if (!reader)
        return;
    free(reader->unescaped.bytes);
    free(reader->padded.bytes);
    delete reader;
}

extern "C" enum gw_status json_read(struct json_reader *reader, const char *text, size_t length,
                                    json_member_fn *member, void *owner, struct gw_err *err)
{
    struct place root = {};
    enum gw_status status = reader_open(reader, text, length, err);
    if (status == GW_OK)
        status = read_root({reader, &root, err}, member, owner);
    reader_close(reader);
    return status;
}

extern "C" enum gw_status json_object(struct json_value *value, json_member_fn *member, void *owner,
                                      struct gw_err *err)
{
    ondemand::object object;
    struct at at = value_at(value, err);
    enum gw_status status = open_object(at, value->value, &object);
    return status == GW_OK ? read_members(at, object, member, owner) : status;
}

extern "C" enum gw_status json_array(struct json_value *value, json_element_fn *element, void *owner,
                                     struct gw_err *err)
{
    ondemand::array list;
    struct at at = value_at(value, err);
    enum gw_status status = open_list(at, value->value, &list);
    return status == GW_OK ? read_elements(at, list, element, owner) : status;
}

extern "C" enum json_kind json_kind(const struct json_value *value)
{
    ondemand::value copy = value->value;
    return kind_of(copy);
}

extern "C" enum gw_status json_text(struct json_value *value, struct arena *arena, const char **text,
                                    size_t *length, struct gw_err *err)
{
    struct at at = value_at(value, err);
    ondemand::raw_json_string raw;
    string_view inside;
    if (value->value.get_raw_json_string().get(raw))
        return wrong_kind(at, value->value, "a string");
    if (!raw_text(at.reader, raw, &inside))
        return syntax_error(at);
    char *room = static_cast<char *>(arena_alloc(arena, inside.size() + CODEC_PADDING));
    if (!room)
        return no_memory(err);
    enum gw_status status = unescape(at, raw, room, &inside);
    if (status == GW_OK) {
        room[inside.size()] = '\0';
        *text = room;
        *length = inside.size();
    }
    return status;
}

extern "C" enum gw_status json_word(struct json_value *value, struct arena *arena, const char **text,
                                    size_t *length, struct gw_err *err)
{
    int64_t number;
    if (json_kind(value) == JSON_NULL)
        return GW_OK;
    if (json_kind(value) != JSON_NUMBER)
        return json_text(value, arena, text, length, err);
    enum gw_status status = json_int(value, &number, err);
    if (status != GW_OK)
        return status;
    *text = arena_printf(arena, "%" PRId64, number);
    *length = *text ? strlen(*text) : 0;
    return *text ? GW_OK : no_memory(err);
}

extern "C" enum gw_status json_bool(struct json_value *value, bool *truth, struct gw_err *err)
{
    struct at at = value_at(value, err);
    return value->value.get_bool().get(*truth) ? wrong_kind(at, value->value, "a boolean") : GW_OK;
}

extern "C" enum gw_status json_raw(struct json_value *value, struct arena *arena, const char **text,
                                   size_t *length, struct gw_err *err)
{
    string_view raw;
    enum gw_status status = raw_value(value_at(value, err), value->value, &raw);
    if (status != GW_OK)
        return status;
    *text = arena_text(arena, raw.data(), raw.size());
    *length = raw.size();
    return *text ? GW_OK : no_memory(err);
}

extern "C" enum gw_status json_check(struct json_reader *reader, const char *text, size_t length,
                                     struct gw_err *err)
{
    struct place root = {nullptr, {}, 0, -1}; /* the brackets do not count */
    if (!scratch_open(&reader->padded, length + 2 + CODEC_PADDING))
        return no_memory(err);
    char *copy = reader->padded.bytes;
    copy[0] = '[';
    if (length)
        memcpy(copy + 1, text, length);
    copy[length + 1] = ']';
    memset(copy + length + 2, 0, CODEC_PADDING);
    enum gw_status status = reader_open(reader, copy, length + 2, err);
    if (status == GW_OK)
        status = check_bracketed({reader, &root, err});
    reader_close(reader);
    return status;
}
