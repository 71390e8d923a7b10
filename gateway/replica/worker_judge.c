/*
 * worker_judge: what a replica says to the gateway (worker_codec.h). protobuf-c unpacks it into a bounded
 * arena; then every claim is judged. A hostile reply costs a few times its own size, and ends as one
 * GW_E_CONTRACT with words.
 */
#include "replica/worker_codec.h"

#include <string.h>

#include "health.pb-c.h"
#include "replica/worker_split.h"
#include "worker.pb-c.h"

enum {
    NAME_BYTES_MAX = 128,
    MESSAGE_BYTES_MAX = 1024,
    SPECS_MAX = 256, /* inputs, or outputs, of one model */
    DESCRIPTION_BYTES_MAX = 256 * 1024,
    METADATA_PAIRS_MAX = 64,
    METADATA_BYTES_MAX = 4096,
    HEALTH_BYTES_MAX = 1024,
    FIELD_DATA = 15, /* of PredictResponse */
};

/* DT_* and TENSOR_* are the numbers of worker.proto. */
_Static_assert((int)DT_BOOL == XEBEC__WORKER__V1__DATATYPE__BOOL, "order of worker.proto");
_Static_assert((int)DT_FP32 == XEBEC__WORKER__V1__DATATYPE__FP32, "order of worker.proto");
_Static_assert((int)DT_BYTES == XEBEC__WORKER__V1__DATATYPE__BYTES, "order of worker.proto");
_Static_assert((int)DT_BF16 == XEBEC__WORKER__V1__DATATYPE__BF16, "order of worker.proto");
_Static_assert((int)TENSOR_JSON == XEBEC__WORKER__V1__ENCODING__JSON, "order of worker.proto");

/* --- memory for what a replica says --- */

/* An arena, and why it gave no more. */
struct memory {
    struct arena *arena;
    enum gw_status dry; /* GW_OK while it gives; GW_E_CONTRACT: at its limit; GW_E_NO_MEMORY */
};

static void *memory_take(void *data, size_t bytes)
{
    struct memory *memory = data;
    struct arena *arena = memory->arena;
    void *room = arena_alloc(arena, bytes);
    if (!room)
        memory->dry =
            arena->limit && arena->limit - arena->bytes < bytes + 64 ? GW_E_CONTRACT : GW_E_NO_MEMORY;
    return room;
}

static void memory_keep(void *data, void *room)
{
    (void)data, (void)room; /* freed with the arena */
}

/* What to say when unpacking, or a memory_take(), came back with nothing. */
static enum gw_status memory_fault(const struct memory *memory, struct gw_err *err)
{
    switch (memory->dry) {
    case GW_E_NO_MEMORY:
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    case GW_E_CONTRACT:
        return gw_err_set(err, GW_E_CONTRACT, "the reply would unfold to far more than its size");
    default:
        return gw_err_set(err, GW_E_CONTRACT, "the reply is not the message of the worker protocol");
    }
}

/* --- text --- */

/* Bytes of the UTF-8 character that terminated `text` begins with; 0 if it is none (overlong, surrogate, cut
 * off). */
static size_t utf8_character(const char *text, uint32_t *character)
{
    static const uint32_t least[] = {[2] = 0x80, [3] = 0x800, [4] = 0x10000};
    const uint8_t *byte = (const uint8_t *)text;
    *character = byte[0];
    if (byte[0] < 0x80)
        return 1;
    if (byte[0] < 0xC0 || byte[0] > 0xF7)
        return 0;
    size_t length = byte[0] >= 0xF0 ? 4 : byte[0] >= 0xE0 ? 3 : 2;
    *character = byte[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
        *character = *character << 6 | (byte[i] & 0x3F);
    }
    bool surrogate = *character >= 0xD800 && *character <= 0xDFFF;
    return *character < least[length] || *character > 0x10FFFF || surrogate ? 0 : length;
}

static bool is_control(uint32_t character)
{
    return character < 0x20 || (character >= 0x7F && character < 0xA0);
}

/* What keeps `name` from being a name; NULL if nothing does. */
static const char *name_fault(const char *name)
{
    uint32_t character;
    if (!*name)
        return "is empty";
    if (strnlen(name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX)
        return "is longer than 128 bytes";
    for (size_t bytes; *name; name += bytes) {
        bytes = utf8_character(name, &character);
        if (!bytes)
            return "is not UTF-8";
        if (is_control(character))
            return "has control characters";
    }
    return NULL;
}

/* A copy of `text` on one line of valid UTF-8, cut to MESSAGE_BYTES_MAX. NULL: memory is dry. */
static const char *printable_copy(struct memory *memory, const char *text)
{
    char clean[MESSAGE_BYTES_MAX + 1];
    size_t length = 0;
    for (size_t taken; *text; text += taken) {
        uint32_t character;
        size_t bytes = taken = utf8_character(text, &character);
        const char *from = text;
        if (!bytes)
            taken = 1, bytes = 3, from = "\xEF\xBF\xBD"; /* U+FFFD */
        else if (is_control(character))
            bytes = 1, from = " ";
        if (length + bytes > MESSAGE_BYTES_MAX)
            break;
        memcpy(clean + length, from, bytes);
        length += bytes;
    }
    clean[length++] = '\0';
    char *copy = memory_take(memory, length);
    return copy ? memcpy(copy, clean, length) : NULL;
}

/* --- specs: what Describe and Predict both say --- */

enum { SPEC_TEXT_BYTES = 200 }; /* 8 dimensions of 20 digits, and a datatype */

/* Judges name, datatype, dimensions, encoding; sizes are for the caller to judge. Borrows the name. */
static enum gw_status read_spec(const Xebec__Worker__V1__TensorSpec *said, const char *kind, size_t index,
                                struct tensor_spec *spec, struct gw_err *err)
{
    const char *fault = name_fault(said->name);
    if (fault)
        return gw_err_set(err, GW_E_CONTRACT, "the name of %s %zu %s", kind, index, fault);
    if ((int)said->datatype <= DT_INVALID || (int)said->datatype >= DT_COUNT)
        return gw_err_set(err, GW_E_CONTRACT, "%s %s has datatype %d, which does not exist", kind, said->name,
                          (int)said->datatype);
    if (said->n_shape < 1 || said->n_shape > TENSOR_DIMS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%s %s has %zu dimensions, 1 to %d are possible", kind,
                          said->name, said->n_shape, TENSOR_DIMS_MAX);
    if ((int)said->encoding < TENSOR_TEXT || (int)said->encoding > TENSOR_JSON)
        return gw_err_set(err, GW_E_CONTRACT, "%s %s has encoding %d, which does not exist", kind, said->name,
                          (int)said->encoding);

    *spec = (struct tensor_spec){
        .name = said->name, .datatype = (enum datatype)said->datatype, .dims = (uint8_t)said->n_shape};
    if (spec->datatype == DT_BYTES)
        spec->encoding = (enum tensor_encoding)said->encoding;
    memcpy(spec->shape, said->shape, said->n_shape * sizeof *said->shape);
    return GW_OK;
}

static const struct tensor_spec *find_spec(const struct tensor_spec *specs, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

static enum gw_status contradiction(const char *kind, const struct tensor_spec *said,
                                    const struct tensor_spec *configured, struct gw_err *err)
{
    char is[SPEC_TEXT_BYTES], should_be[SPEC_TEXT_BYTES];
    return gw_err_set(err, GW_E_CONTRACT, "%s %s is %s, the configuration says %s", kind, said->name,
                      tensor_spec_text(said, is, sizeof is),
                      tensor_spec_text(configured, should_be, sizeof should_be));
}

/* --- Predict: the reply --- */

static const struct tensor *find_tensor(const struct tensor *tensors, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(tensors[i].spec.name, name) == 0)
            return &tensors[i];
    return NULL;
}

/* The sizes that an output claims, against the rows that were asked for. */
static enum gw_status judge_sizes(const struct tensor_spec *spec, uint32_t n_rows, size_t *row_elements,
                                  struct gw_err *err)
{
    char text[SPEC_TEXT_BYTES];
    if (spec->shape[0] != n_rows)
        return gw_err_set(err, GW_E_CONTRACT, "output %s has %lld rows, %u were asked for", spec->name,
                          (long long)spec->shape[0], n_rows);
    if (!tensor_row_elements(spec, row_elements))
        return gw_err_set(err, GW_E_CONTRACT, "output %s is %s, which is no possible size", spec->name,
                          tensor_spec_text(spec, text, sizeof text));
    return GW_OK;
}

static enum gw_status judge_fixed(const struct tensor *output, uint32_t n_rows, size_t row_elements,
                                  struct gw_err *err)
{
    size_t bytes;
    char text[SPEC_TEXT_BYTES];
    bool huge = __builtin_mul_overflow(row_elements, datatype_bytes(output->spec.datatype), &bytes) ||
                __builtin_mul_overflow(bytes, n_rows, &bytes);
    if (huge || bytes != output->bytes)
        return gw_err_set(err, GW_E_CONTRACT, "output %s is %s, which does not come to its %zu bytes",
                          output->spec.name, tensor_spec_text(&output->spec, text, sizeof text),
                          output->bytes);
    return GW_OK;
}

static enum gw_status index_rows(struct memory *memory, struct tensor *output, uint32_t n_rows,
                                 size_t row_elements, struct gw_err *err)
{
    char text[SPEC_TEXT_BYTES];
    uint32_t *row_end = memory_take(memory, n_rows * sizeof *row_end);
    if (!row_end)
        return memory_fault(memory, err);
    output->row_end = row_end;
    if (tensor_index_bytes(output->data, output->bytes, n_rows, row_elements, row_end) != GW_OK)
        return gw_err_set(
            err, GW_E_CONTRACT, "output %s is %s, but its %zu bytes do not hold so many elements",
            output->spec.name, tensor_spec_text(&output->spec, text, sizeof text), output->bytes);
    return GW_OK;
}

static enum gw_status judge_declared(struct tensor *output, const struct signature *declared,
                                     struct gw_err *err)
{
    if (declared->n_outputs == 0)
        return GW_OK;
    const struct tensor_spec *spec = find_spec(declared->outputs, declared->n_outputs, output->spec.name);
    if (!spec)
        return gw_err_set(err, GW_E_CONTRACT, "output %s is not in the configuration", output->spec.name);
    if (!tensor_spec_fits(spec, &output->spec))
        return contradiction("output", &output->spec, spec, err);
    output->spec.encoding = spec->encoding;
    return GW_OK;
}

static enum gw_status read_output(struct memory *memory, const Xebec__Worker__V1__PredictResponse *said,
                                  size_t index, uint32_t n_rows, const struct signature *declared,
                                  struct tensor *output, struct gw_err *err)
{
    size_t row_elements;
    enum gw_status status = read_spec(said->outputs[index], "output", index, &output->spec, err);
    if (status == GW_OK)
        status = judge_declared(output, declared, err);
    if (status == GW_OK)
        status = judge_sizes(&output->spec, n_rows, &row_elements, err);
    if (status != GW_OK)
        return status;

    output->bytes = said->data[index].len;
    output->data = output->bytes ? said->data[index].data : (const uint8_t *)"";
    if (output->spec.datatype == DT_BYTES)
        return index_rows(memory, output, n_rows, row_elements, err);
    return judge_fixed(output, n_rows, row_elements, err);
}

/* Every output that the reply holds, in its order. */
static enum gw_status read_outputs(struct memory *memory, const Xebec__Worker__V1__PredictResponse *said,
                                   const struct signature *declared, struct predict_result *result,
                                   struct gw_err *err)
{
    if (said->n_outputs > SPECS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%zu outputs are more than %d", said->n_outputs, SPECS_MAX);
    if (said->n_outputs != said->n_data)
        return gw_err_set(err, GW_E_CONTRACT, "%zu outputs are described, the data of %zu came",
                          said->n_outputs, said->n_data);
    struct tensor *outputs = memory_take(memory, said->n_outputs * sizeof *outputs);
    if (!outputs)
        return memory_fault(memory, err);
    for (uint32_t i = 0; i < said->n_outputs; i++) {
        outputs[i] = (struct tensor){0};
        enum gw_status status = read_output(memory, said, i, result->n_rows, declared, &outputs[i], err);
        if (status != GW_OK)
            return status;
        if (find_tensor(outputs, i, outputs[i].spec.name))
            return gw_err_set(err, GW_E_CONTRACT, "output %s came twice", outputs[i].spec.name);
    }
    result->outputs = outputs;
    result->n_outputs = (uint32_t)said->n_outputs;
    return GW_OK;
}

/* Keeps names[0..count), in that order; every one must be there. */
static enum gw_status keep_outputs(struct memory *memory, struct predict_result *result,
                                   const char *(*name)(const void *names, uint32_t index), const void *names,
                                   uint32_t count, struct gw_err *err)
{
    struct tensor *kept = memory_take(memory, count * sizeof *kept);
    if (!kept)
        return memory_fault(memory, err);
    for (uint32_t i = 0; i < count; i++) {
        const struct tensor *output = find_tensor(result->outputs, result->n_outputs, name(names, i));
        if (!output)
            return gw_err_set(err, GW_E_CONTRACT, "output %s is missing", name(names, i));
        kept[i] = *output;
    }
    result->outputs = kept;
    result->n_outputs = count;
    return GW_OK;
}

static const char *wanted_name(const void *names, uint32_t index)
{
    return ((const char *const *)names)[index];
}

static const char *declared_name(const void *specs, uint32_t index)
{
    return ((const struct tensor_spec *)specs)[index].name;
}

static enum gw_status read_row_errors(struct memory *memory, const Xebec__Worker__V1__PredictResponse *said,
                                      struct predict_result *result, struct gw_err *err)
{
    if (said->n_errors == 0)
        return GW_OK;
    const char **errors = memory_take(memory, result->n_rows * sizeof *errors);
    if (!errors)
        return memory_fault(memory, err);
    memset(errors, 0, result->n_rows * sizeof *errors);
    for (size_t i = 0; i < said->n_errors; i++) {
        uint32_t row = said->errors[i]->row;
        if (row >= result->n_rows)
            return gw_err_set(err, GW_E_CONTRACT, "row %u is said to have failed, %u rows were asked for",
                              row, result->n_rows);
        if (errors[row])
            return gw_err_set(err, GW_E_CONTRACT, "row %u is said to have failed twice", row);
        const char *message = said->errors[i]->message;
        errors[row] = printable_copy(memory, *message ? message : gw_status_words(GW_E_MODEL));
        if (!errors[row])
            return memory_fault(memory, err);
    }
    result->row_errors = errors;
    return GW_OK;
}

/* protobuf-c copies what it unpacks: tensors' data, which is nearly all of a large reply, stays where it
 * lies. */
static enum gw_status unpack_reply(struct memory *memory, const uint8_t *bytes, size_t size,
                                   Xebec__Worker__V1__PredictResponse **said, struct gw_err *err)
{
    struct split_count count;
    ProtobufCAllocator allocator = {memory_take, memory_keep, memory};
    if (!split_measure(bytes, size, FIELD_DATA, &count))
        return memory_fault(memory, err);
    struct split_place *places = memory_take(memory, count.n * sizeof *places);
    ProtobufCBinaryData *data = places ? memory_take(memory, count.n * sizeof *data) : NULL;
    uint8_t *rest = data ? memory_take(memory, count.rest) : NULL;
    if (!rest)
        return memory_fault(memory, err);
    split_message(bytes, size, FIELD_DATA, places, rest);
    *said = xebec__worker__v1__predict_response__unpack(&allocator, count.rest, rest);
    if (!*said || (*said)->n_data)
        return memory_fault(memory, err);
    for (size_t i = 0; i < count.n; i++)
        data[i] = (ProtobufCBinaryData){.len = places[i].size, .data = (uint8_t *)(uintptr_t)places[i].bytes};
    (*said)->data = data;
    (*said)->n_data = count.n;
    return GW_OK;
}

/* What an honest reply can unfold to: its bytes, the tables beside them, and the row errors' structs. */
static size_t reply_memory_limit(size_t size, uint32_t n_rows)
{
    return 64 * 1024 + 4 * size + (size_t)256 * n_rows;
}

enum gw_status worker_predict_read(const uint8_t *bytes, size_t size, uint32_t n_rows,
                                   const struct signature *declared, const char *const *wanted,
                                   uint32_t n_wanted, struct predict_result **result, struct gw_err *err)
{
    struct arena memory = {0};
    uint8_t *copy = arena_alloc(&memory, size);
    if (!copy)
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    if (size)
        memcpy(copy, bytes, size);
    return worker_predict_take(&memory, copy, size, n_rows, declared, wanted, n_wanted, result, err);
}

enum gw_status worker_predict_take(struct arena *holder, const uint8_t *bytes, size_t size, uint32_t n_rows,
                                   const struct signature *declared, const char *const *wanted,
                                   uint32_t n_wanted, struct predict_result **result, struct gw_err *err)
{
    Xebec__Worker__V1__PredictResponse *said = NULL;
    struct predict_result *reply = predict_result_new();
    if (!reply) {
        arena_clear(holder);
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    }
    reply->n_rows = n_rows;
    reply->arena = *holder;
    reply->arena.limit = holder->bytes + reply_memory_limit(size, n_rows);
    *holder = (struct arena){0};
    struct memory memory = {.arena = &reply->arena};
    enum gw_status status = unpack_reply(&memory, bytes, size, &said, err);
    if (status == GW_OK)
        status = read_outputs(&memory, said, declared, reply, err);
    if (status == GW_OK && n_wanted)
        status = keep_outputs(&memory, reply, wanted_name, wanted, n_wanted, err);
    else if (status == GW_OK && declared->n_outputs)
        status = keep_outputs(&memory, reply, declared_name, declared->outputs, declared->n_outputs, err);
    if (status == GW_OK)
        status = read_row_errors(&memory, said, reply, err);
    if (status != GW_OK)
        goto fail;
    *result = reply;
    return GW_OK;

fail:
    predict_result_unref(reply);
    return status;
}

/* --- Describe --- */

/* A signature's spec: dimension 0 is any number of rows, others any size or a fixed one. */
static enum gw_status judge_declaration(const struct tensor_spec *spec, const char *kind, struct gw_err *err)
{
    char text[SPEC_TEXT_BYTES];
    if (spec->shape[0] != TENSOR_ANY)
        return gw_err_set(err, GW_E_CONTRACT, "%s %s is %s: dimension 0 is the rows, and must be -1", kind,
                          spec->name, tensor_spec_text(spec, text, sizeof text));
    for (unsigned i = 1; i < spec->dims; i++)
        if (spec->shape[i] < TENSOR_ANY)
            return gw_err_set(err, GW_E_CONTRACT, "%s %s is %s: a size is negative", kind, spec->name,
                              tensor_spec_text(spec, text, sizeof text));
    return GW_OK;
}

static enum gw_status read_specs(struct memory *memory, Xebec__Worker__V1__TensorSpec *const *said,
                                 size_t count, const char *kind, struct tensor_spec **specs,
                                 uint32_t *n_specs, struct gw_err *err)
{
    if (count > SPECS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%zu %ss are more than %d", count, kind, SPECS_MAX);
    struct tensor_spec *list = memory_take(memory, count * sizeof *list);
    if (!list)
        return memory_fault(memory, err);
    for (uint32_t i = 0; i < count; i++) {
        enum gw_status status = read_spec(said[i], kind, i, &list[i], err);
        if (status == GW_OK)
            status = judge_declaration(&list[i], kind, err);
        if (status != GW_OK)
            return status;
        if (find_spec(list, i, list[i].name))
            return gw_err_set(err, GW_E_CONTRACT, "%s %s is described twice", kind, list[i].name);
    }
    *specs = list;
    *n_specs = (uint32_t)count;
    return GW_OK;
}

static enum gw_status read_metadata(struct memory *memory, const Xebec__Worker__V1__DescribeResponse *said,
                                    struct worker_description *description, struct gw_err *err)
{
    size_t bytes = 0;
    if (said->n_metadata > METADATA_PAIRS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%zu pairs of metadata are more than %d", said->n_metadata,
                          METADATA_PAIRS_MAX);
    const char **pairs = memory_take(memory, 2 * said->n_metadata * sizeof *pairs);
    if (!pairs)
        return memory_fault(memory, err);
    for (size_t i = 0; i < said->n_metadata; i++) {
        const char *key = said->metadata[i]->key, *value = said->metadata[i]->value;
        bytes += strlen(key) + strlen(value);
        if (bytes > METADATA_BYTES_MAX)
            return gw_err_set(err, GW_E_CONTRACT, "the metadata is larger than %d bytes", METADATA_BYTES_MAX);
        pairs[2 * i] = printable_copy(memory, key);
        pairs[2 * i + 1] = printable_copy(memory, value);
        if (!pairs[2 * i] || !pairs[2 * i + 1])
            return memory_fault(memory, err);
    }
    description->metadata = pairs;
    description->n_metadata = (uint32_t)said->n_metadata;
    return GW_OK;
}

/* The names by which a replica says who it is. A model without a digest is one that nobody can tell apart. */
static enum gw_status judge_identity(const Xebec__Worker__V1__DescribeResponse *said, struct gw_err *err)
{
    const char *fault;
    if ((fault = name_fault(said->model)))
        return gw_err_set(err, GW_E_CONTRACT, "the model's name %s", fault);
    if ((fault = name_fault(said->version)))
        return gw_err_set(err, GW_E_CONTRACT, "the version's name %s", fault);
    if (*said->digest && (fault = name_fault(said->digest)))
        return gw_err_set(err, GW_E_CONTRACT, "the model's digest %s", fault);
    return GW_OK;
}

enum gw_status worker_describe_read(struct arena *arena, const uint8_t *bytes, size_t size,
                                    struct worker_description *description, struct gw_err *err)
{
    struct memory memory = {.arena = arena};
    ProtobufCAllocator allocator = {memory_take, memory_keep, &memory};
    if (size > DESCRIPTION_BYTES_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "a description of %zu bytes is larger than %d", size,
                          DESCRIPTION_BYTES_MAX);
    const Xebec__Worker__V1__DescribeResponse *said =
        xebec__worker__v1__describe_response__unpack(&allocator, size, bytes);
    if (!said)
        return memory_fault(&memory, err);

    *description = (struct worker_description){
        .model = said->model, .version = said->version, .digest = said->digest, .max_rows = said->max_rows};
    struct signature *signature = &description->signature;
    enum gw_status status = judge_identity(said, err);
    if (status == GW_OK)
        status = read_specs(&memory, said->inputs, said->n_inputs, "input", &signature->inputs,
                            &signature->n_inputs, err);
    if (status == GW_OK)
        status = read_specs(&memory, said->outputs, said->n_outputs, "output", &signature->outputs,
                            &signature->n_outputs, err);
    if (status == GW_OK)
        status = read_metadata(&memory, said, description, err);
    return status;
}

/* Every configured input is one that the replica takes, and it takes no others. */
static enum gw_status check_inputs(const struct signature *described, const struct signature *configured,
                                   struct gw_err *err)
{
    for (uint32_t i = 0; i < configured->n_inputs; i++) {
        const struct tensor_spec *asked = &configured->inputs[i];
        const struct tensor_spec *taken = find_spec(described->inputs, described->n_inputs, asked->name);
        if (!taken)
            return gw_err_set(err, GW_E_CONTRACT, "the replica has no input %s", asked->name);
        if (!tensor_spec_fits(taken, asked)) /* what clients may send, the replica must take */
            return contradiction("input", taken, asked, err);
    }
    for (uint32_t i = 0; i < described->n_inputs; i++)
        if (!find_spec(configured->inputs, configured->n_inputs, described->inputs[i].name))
            return gw_err_set(err, GW_E_CONTRACT, "the replica wants input %s, the configuration has none",
                              described->inputs[i].name);
    return GW_OK;
}

/*
 * Outputs are compared where both sides declare some. Either may be wider than the other: every reply is
 * judged against the configuration anyway.
 */
static enum gw_status check_outputs(const struct signature *described, const struct signature *configured,
                                    struct gw_err *err)
{
    if (described->n_outputs == 0 || configured->n_outputs == 0)
        return GW_OK;
    for (uint32_t i = 0; i < configured->n_outputs; i++) {
        const struct tensor_spec *wanted = &configured->outputs[i];
        const struct tensor_spec *given = find_spec(described->outputs, described->n_outputs, wanted->name);
        if (!given)
            return gw_err_set(err, GW_E_CONTRACT, "the replica has no output %s", wanted->name);
        if (!tensor_spec_fits(wanted, given) && !tensor_spec_fits(given, wanted))
            return contradiction("output", given, wanted, err);
    }
    for (uint32_t i = 0; i < described->n_outputs; i++)
        if (!find_spec(configured->outputs, configured->n_outputs, described->outputs[i].name))
            return gw_err_set(err, GW_E_CONTRACT, "the replica gives output %s, the configuration has none",
                              described->outputs[i].name);
    return GW_OK;
}

enum gw_status worker_describe_check(const struct worker_description *description, const char *model,
                                     const char *version, const struct signature *configured,
                                     struct gw_err *err)
{
    if (strcmp(description->model, model) != 0 || strcmp(description->version, version) != 0)
        return gw_err_set(err, GW_E_CONTRACT,
                          "the replica serves %.100s@%.100s, the configuration says %s@%s",
                          description->model, description->version, model, version);
    enum gw_status status = check_inputs(&description->signature, configured, err);
    return status == GW_OK ? check_outputs(&description->signature, configured, err) : status;
}

/* --- health --- */

bool worker_health_serving(const uint8_t *bytes, size_t size)
{
    if (size > HEALTH_BYTES_MAX)
        return false;
    Grpc__Health__V1__HealthCheckResponse *said =
        grpc__health__v1__health_check_response__unpack(NULL, size, bytes);
    bool serving = said && said->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    if (said)
        grpc__health__v1__health_check_response__free_unpacked(said, NULL);
    return serving;
}
