/* worker_claims: memory, words and specs, as a replica claims them. */
#include "replica/worker_claims.h"

#include <string.h>

#include "support/buf.h"

enum { NAME_BYTES_MAX = 128, MESSAGE_BYTES_MAX = 1024 };

/* DT_* and TENSOR_* are the numbers of worker.proto. */
_Static_assert((int)DT_BOOL == XEBEC__WORKER__V1__DATATYPE__BOOL, "order of worker.proto");
_Static_assert((int)DT_FP32 == XEBEC__WORKER__V1__DATATYPE__FP32, "order of worker.proto");
_Static_assert((int)DT_BYTES == XEBEC__WORKER__V1__DATATYPE__BYTES, "order of worker.proto");
_Static_assert((int)DT_BF16 == XEBEC__WORKER__V1__DATATYPE__BF16, "order of worker.proto");
_Static_assert((int)TENSOR_JSON == XEBEC__WORKER__V1__ENCODING__JSON, "order of worker.proto");

/* --- memory --- */

void *claims_take(void *data, size_t bytes)
{
    struct claims *claims = data;
    struct arena *arena = claims->arena;
    void *room = arena_alloc(arena, bytes);
    if (!room)
        claims->dry =
            arena->limit && arena->limit - arena->bytes < bytes + 64 ? GW_E_CONTRACT : GW_E_NO_MEMORY;
    return room;
}

void claims_keep(void *data, void *room)
{
    (void)data, (void)room; /* freed with the arena */
}

enum gw_status claims_fault(const struct claims *claims, struct gw_err *err)
{
    switch (claims->dry) {
    case GW_E_NO_MEMORY:
        return gw_err_set(err, GW_E_NO_MEMORY, "%s", gw_status_words(GW_E_NO_MEMORY));
    case GW_E_CONTRACT:
        return gw_err_set(err, GW_E_CONTRACT, "the reply would unfold to far more than its size");
    default:
        return gw_err_set(err, GW_E_CONTRACT, "the reply is not the message of the worker protocol");
    }
}

/* --- words --- */

/* The well-formed UTF-8 sequence that terminated `text` begins with: its bytes; 0: it begins with none. */
static size_t sequence_of(const char *text)
{
    return buf_utf8_sequence(text, strnlen(text, 4));
}

static bool is_control(const char *sequence, size_t bytes)
{
    const uint8_t *byte = (const uint8_t *)sequence;
    return bytes == 1 ? byte[0] < 0x20 || byte[0] == 0x7F : bytes == 2 && byte[0] == 0xC2 && byte[1] < 0xA0;
}

const char *claims_name_fault(const char *name)
{
    if (!*name)
        return "is empty";
    if (strnlen(name, NAME_BYTES_MAX + 1) > NAME_BYTES_MAX)
        return "is longer than 128 bytes";
    for (size_t bytes; *name; name += bytes) {
        bytes = sequence_of(name);
        if (!bytes)
            return "is not UTF-8";
        if (is_control(name, bytes))
            return "has control characters";
    }
    return NULL;
}

const char *claims_printable(struct claims *claims, const char *text)
{
    char clean[MESSAGE_BYTES_MAX + 1];
    size_t length = 0;
    for (size_t taken; *text; text += taken) {
        size_t bytes = taken = sequence_of(text);
        const char *from = text;
        if (!bytes)
            taken = 1, bytes = 3, from = "\xEF\xBF\xBD"; /* U+FFFD */
        else if (is_control(text, bytes))
            bytes = 1, from = " ";
        if (length + bytes > MESSAGE_BYTES_MAX)
            break;
        memcpy(clean + length, from, bytes);
        length += bytes;
    }
    clean[length++] = '\0';
    char *copy = claims_take(claims, length);
    return copy ? memcpy(copy, clean, length) : NULL;
}

/* --- specs --- */

enum gw_status claims_spec(const Xebec__Worker__V1__TensorSpec *said, const char *kind, size_t index,
                           struct tensor_spec *spec, struct gw_err *err)
{
    const char *fault = claims_name_fault(said->name);
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

const struct tensor_spec *claims_find(const struct tensor_spec *specs, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(specs[i].name, name) == 0)
            return &specs[i];
    return NULL;
}

enum gw_status claims_contradiction(const char *kind, const struct tensor_spec *said,
                                    const struct tensor_spec *configured, struct gw_err *err)
{
    char is[CLAIMS_SPEC_TEXT], should_be[CLAIMS_SPEC_TEXT];
    return gw_err_set(err, GW_E_CONTRACT, "%s %s is %s, the configuration says %s", kind, said->name,
                      tensor_spec_text(said, is, sizeof is),
                      tensor_spec_text(configured, should_be, sizeof should_be));
}
