/*
 * What codec_json.cc (documents) and codec_json_rows.cc (rows of tensors) share: simdjson On-Demand, told to
 * throw nothing, and the way to say where in a document something is wrong.
 *
 * On-Demand indexes the whole text first, and there checks UTF-8, quotes and control characters; then it
 * walks the text as it is asked to. What it passes over without being asked it does not check, so everything
 * is either read or goes through check_value().
 */
#ifndef XEBEC_INFER_CODEC_JSON_HH
#define XEBEC_INFER_CODEC_JSON_HH

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <string_view>

extern "C" {
#include "infer/codec.h"
}

namespace ondemand = simdjson::ondemand;
using std::string_view;

/* Memory for text, of one size for a whole document, so that what lies in it stays where it is. */
struct scratch {
    char *bytes;
    size_t capacity, used;
};

struct json_reader {
    ondemand::parser parser;
    ondemand::document document;
    const char *text;
    size_t length;
    struct scratch unescaped;
    struct scratch padded; /* the copy of a document that came without padding */
};

/* The way from the root to a value, for messages. */
struct place {
    const struct place *outer;
    string_view key; /* of an object's member; data() is NULL for a list's element */
    size_t index;
    int depth; /* lists and objects around it */
};

struct json_value {
    struct json_reader *reader;
    ondemand::value value;
    struct place place;
    bool read;
};

namespace codec
{

/* What most functions need: whose document, where in it, and where the words of a problem go. */
struct at {
    struct json_reader *reader;
    const struct place *place;
    struct gw_err *err;
};

/* ---- problems, in words ---- */

/* "input[3]: " and the words. */
enum gw_status fail_at(struct at at, enum gw_status status, const char *format, ...) GW_PRINTF(3, 4);
enum gw_status syntax_error(struct at at);
enum gw_status no_memory(struct gw_err *err);
/* "expected a list, got a number"; a syntax error when what is there is nothing at all. */
enum gw_status wrong_kind(struct at at, ondemand::value &value, const char *expected);

/* ---- values ---- */

enum json_kind kind_of(ondemand::value &value);
/* From the value's first character to the next token. For a scalar, that is the value. */
string_view token_of(ondemand::value &value);

enum number_form { NUMBER_NOT, NUMBER_WHOLE, NUMBER_REAL };
enum number_form number_form(string_view text);

enum gw_status open_list(struct at at, ondemand::value &value, ondemand::array *list);
enum gw_status open_object(struct at at, ondemand::value &value, ondemand::object *object);
/* The next member of an object: its place, and its value to be read. */
enum gw_status take_member(struct at at, simdjson::simdjson_result<ondemand::field> &&item,
                           struct json_value *member);

/* The inside of a string as it stands in the document. False: it has no end. */
bool raw_text(const struct json_reader *reader, ondemand::raw_json_string raw, string_view *text);
/* Writes at most raw_text()'s length, and may scribble over CODEC_PADDING bytes more. */
enum gw_status unescape(struct at at, ondemand::raw_json_string raw, void *room, string_view *text);
/* A string's text: in the document where it stands for itself, else in scratch memory. */
enum gw_status read_text(struct at at, ondemand::raw_json_string raw, string_view *text);

/* Walks over a value that nobody reads. */
enum gw_status check_value(struct at at, ondemand::value &value);
/* Does that, and tells where the value stands in the document. */
enum gw_status raw_value(struct at at, ondemand::value &value, string_view *text);

/* Marks the value as read. */
struct at value_at(struct json_value *value, struct gw_err *err);

/*
 * Whether a value lies in the document. simdjson finds out that brackets are missing only from the bytes
 * behind the text, which may be anything: a comma there makes it offer one more element.
 */
static inline bool is_inside(const struct json_reader *reader, ondemand::value &value)
{
    return value.raw_json_token().data() < reader->text + reader->length;
}

/* Calls each(at, element) for the elements of a list, until one fails. `count`: how many there were. */
template <typename Each>
static inline enum gw_status for_each(struct at at, ondemand::array &list, size_t *count, Each each)
{
    struct place place = {at.place, {}, 0, at.place->depth + 1};
    for (auto item : list) {
        ondemand::value element;
        if (std::move(item).get(element) || !is_inside(at.reader, element))
            return syntax_error(at);
        enum gw_status status = each({at.reader, &place, at.err}, element);
        if (status != GW_OK)
            return status;
        place.index++;
    }
    *count = place.index;
    return GW_OK;
}

} // namespace codec

#endif
