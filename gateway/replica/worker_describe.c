/*
 * worker_describe: what a replica says that it is, and whether that is what the configuration says; and
 * whether it is well (worker_codec.h).
 */
#include "replica/worker_codec.h"

#include <string.h>

#include "health.pb-c.h"
#include "replica/worker_claims.h"
#include "worker.pb-c.h"

enum {
    DESCRIPTION_BYTES_MAX = 256 * 1024,
    METADATA_PAIRS_MAX = 64,
    METADATA_BYTES_MAX = 4096,
    HEALTH_BYTES_MAX = 1024,
};

/* --- what it says --- */

/* A signature's spec: dimension 0 is any number of rows, others any size or a fixed one. */
static enum gw_status judge_declaration(const struct tensor_spec *spec, const char *kind, struct gw_err *err)
{
    char text[CLAIMS_SPEC_TEXT];
    if (spec->shape[0] != TENSOR_ANY)
        return gw_err_set(err, GW_E_CONTRACT, "%s %s is %s: dimension 0 is the rows, and must be -1", kind,
                          spec->name, tensor_spec_text(spec, text, sizeof text));
    for (unsigned i = 1; i < spec->dims; i++)
        if (spec->shape[i] < TENSOR_ANY)
            return gw_err_set(err, GW_E_CONTRACT, "%s %s is %s: a size is negative", kind, spec->name,
                              tensor_spec_text(spec, text, sizeof text));
    return GW_OK;
}

static enum gw_status read_specs(struct claims *claims, Xebec__Worker__V1__TensorSpec *const *said,
                                 size_t count, const char *kind, struct tensor_spec **specs,
                                 uint32_t *n_specs, struct gw_err *err)
{
    if (count > CLAIMS_SPECS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%zu %ss are more than %d", count, kind, CLAIMS_SPECS_MAX);
    struct tensor_spec *list = claims_take(claims, count * sizeof *list);
    if (!list)
        return claims_fault(claims, err);
    for (uint32_t i = 0; i < count; i++) {
        enum gw_status status = claims_spec(said[i], kind, i, &list[i], err);
        if (status == GW_OK)
            status = judge_declaration(&list[i], kind, err);
        if (status != GW_OK)
            return status;
        if (claims_find(list, i, list[i].name))
            return gw_err_set(err, GW_E_CONTRACT, "%s %s is described twice", kind, list[i].name);
    }
    *specs = list;
    *n_specs = (uint32_t)count;
    return GW_OK;
}

static enum gw_status read_metadata(struct claims *claims, const Xebec__Worker__V1__DescribeResponse *said,
                                    struct worker_description *description, struct gw_err *err)
{
    size_t bytes = 0;
    if (said->n_metadata > METADATA_PAIRS_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "%zu pairs of metadata are more than %d", said->n_metadata,
                          METADATA_PAIRS_MAX);
    const char **pairs = claims_take(claims, 2 * said->n_metadata * sizeof *pairs);
    if (!pairs)
        return claims_fault(claims, err);
    for (size_t i = 0; i < said->n_metadata; i++) {
        const char *key = said->metadata[i]->key, *value = said->metadata[i]->value;
        bytes += strlen(key) + strlen(value);
        if (bytes > METADATA_BYTES_MAX)
            return gw_err_set(err, GW_E_CONTRACT, "the metadata is larger than %d bytes", METADATA_BYTES_MAX);
        pairs[2 * i] = claims_printable(claims, key);
        pairs[2 * i + 1] = claims_printable(claims, value);
        if (!pairs[2 * i] || !pairs[2 * i + 1])
            return claims_fault(claims, err);
    }
    description->metadata = pairs;
    description->n_metadata = (uint32_t)said->n_metadata;
    return GW_OK;
}

/* The names by which a replica says who it is. A model without a digest is one that nobody can tell apart. */
static enum gw_status judge_identity(const Xebec__Worker__V1__DescribeResponse *said, struct gw_err *err)
{
    const char *fault;
    if ((fault = claims_name_fault(said->model)))
        return gw_err_set(err, GW_E_CONTRACT, "the model's name %s", fault);
    if ((fault = claims_name_fault(said->version)))
        return gw_err_set(err, GW_E_CONTRACT, "the version's name %s", fault);
    if (*said->digest && (fault = claims_name_fault(said->digest)))
        return gw_err_set(err, GW_E_CONTRACT, "the model's digest %s", fault);
    return GW_OK;
}

enum gw_status worker_describe_read(struct arena *arena, const uint8_t *bytes, size_t size,
                                    struct worker_description *description, struct gw_err *err)
{
    struct claims claims = {.arena = arena};
    ProtobufCAllocator allocator = {claims_take, claims_keep, &claims};
    if (size > DESCRIPTION_BYTES_MAX)
        return gw_err_set(err, GW_E_CONTRACT, "a description of %zu bytes is larger than %d", size,
                          DESCRIPTION_BYTES_MAX);
    const Xebec__Worker__V1__DescribeResponse *said =
        xebec__worker__v1__describe_response__unpack(&allocator, size, bytes);
    if (!said)
        return claims_fault(&claims, err);

    *description = (struct worker_description){
        .model = said->model, .version = said->version, .digest = said->digest, .max_rows = said->max_rows};
    struct signature *signature = &description->signature;
    enum gw_status status = judge_identity(said, err);
    if (status == GW_OK)
        status = read_specs(&claims, said->inputs, said->n_inputs, "input", &signature->inputs,
                            &signature->n_inputs, err);
    if (status == GW_OK)
        status = read_specs(&claims, said->outputs, said->n_outputs, "output", &signature->outputs,
                            &signature->n_outputs, err);
    if (status == GW_OK)
        status = read_metadata(&claims, said, description, err);
    return status;
}

/* --- against the configuration --- */

/* Every configured input is one that the replica takes, and it takes no others. */
static enum gw_status check_inputs(const struct signature *described, const struct signature *configured,
                                   struct gw_err *err)
{
    for (uint32_t i = 0; i < configured->n_inputs; i++) {
        const struct tensor_spec *asked = &configured->inputs[i];
        const struct tensor_spec *taken = claims_find(described->inputs, described->n_inputs, asked->name);
        if (!taken)
            return gw_err_set(err, GW_E_CONTRACT, "the replica has no input %s", asked->name);
        if (!tensor_spec_fits(taken, asked)) /* what clients may send, the replica must take */
            return claims_contradiction("input", taken, asked, err);
    }
    for (uint32_t i = 0; i < described->n_inputs; i++)
        if (!claims_find(configured->inputs, configured->n_inputs, described->inputs[i].name))
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
        const struct tensor_spec *given = claims_find(described->outputs, described->n_outputs, wanted->name);
        if (!given)
            return gw_err_set(err, GW_E_CONTRACT, "the replica has no output %s", wanted->name);
        if (!tensor_spec_fits(wanted, given) && !tensor_spec_fits(given, wanted))
            return claims_contradiction("output", given, wanted, err);
    }
    for (uint32_t i = 0; i < described->n_outputs; i++)
        if (!claims_find(configured->outputs, configured->n_outputs, described->outputs[i].name))
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
