/* options: argv -> a model's description. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES_LEAST = 64 << 10, MESSAGE_BYTES_MOST = 1 << 30 };

static const char HELP[] =
    "usage: %s [option ...]\n"
    "%s\n\n"
    "  --listen ADDRESS             127.0.0.1:9000; or unix:/path (port 0: any free one)\n"
    "  --name NAME --version NAME   what it says it is: %s@%s; --model is --name\n"
    "  --input NAME:DATATYPE:SHAPE  an input, as x:FP32:-1,4 (the default); may be given again\n"
    "  --output NAME:DATATYPE:SHAPE an output; may be given again\n"
    "  --max-rows N                 the largest batch it takes; 0 (the default): any\n"
    "  --message-bytes N            the largest message it takes or sends; default 67108864\n"
    "  --digest TEXT                of the model's files\n"
    "  --tls-certificate FILE --tls-key FILE   serves TLS with these PEM files\n"
    "  --tls-client-ca FILE         ... and to clients alone whose certificates are from here\n\n"
    "XEBEC_LISTEN, XEBEC_NAME, XEBEC_VERSION, XEBEC_MAX_ROWS, XEBEC_MESSAGE_BYTES, XEBEC_TLS_CERTIFICATE,\n"
    "XEBEC_TLS_KEY and XEBEC_TLS_CLIENT_CA in the environment are the defaults.\n";

static bool parse_number(const char *text, char **end, int64_t least, int64_t most, int64_t *number)
{
    errno = 0;
    *number = strtoll(text, end, 10);
    return *end != text && errno == 0 && *number >= least && *number <= most;
}

/* "x:FP32:-1,4": keeps a pointer into `text`, and cuts it at the colon. */
static bool parse_spec(char *text, struct xebec_spec *spec)
{
    char *datatype = strchr(text, ':'), *shape = datatype ? strchr(datatype + 1, ':') : NULL;
    if (!shape || datatype == text)
        return false;
    *spec = (struct xebec_spec){
        .name = text, .datatype = xebec_datatype_parse(datatype + 1, (size_t)(shape - datatype) - 1)};
    for (char *at = shape; *at; spec->dims++)
        if (spec->dims == XEBEC_DIMS_MAX || (spec->dims && *at != ',') ||
            !parse_number(at + 1, &at, XEBEC_ANY, INT64_MAX, &spec->shape[spec->dims]))
            return false;
    *datatype = '\0';
    return spec->datatype != 0 && spec->dims > 0;
}

static bool add_spec(char *text, struct xebec_spec *specs, uint32_t *count)
{
    if (*count < OPTIONS_SPECS && parse_spec(text, &specs[*count])) {
        ++*count;
        return true;
    }
    fprintf(stderr, "%s is not NAME:DATATYPE:SHAPE, as x:FP32:-1,4; or more than %d came\n", text,
            OPTIONS_SPECS);
    return false;
}

static bool set_max_rows(const char *text, struct options *options)
{
    char *end;
    int64_t rows;
    if (!parse_number(text, &end, 0, UINT32_MAX, &rows) || *end) {
        fprintf(stderr, "--max-rows %s is not a number of rows\n", text);
        return false;
    }
    options->model.max_rows = (uint32_t)rows;
    return true;
}

static bool set_message_bytes(const char *text, struct options *options)
{
    char *end;
    int64_t bytes;
    if (!parse_number(text, &end, MESSAGE_BYTES_LEAST, MESSAGE_BYTES_MOST, &bytes) || *end) {
        fprintf(stderr, "--message-bytes %s is not a number of bytes from 64 KiB to 1 GiB\n", text);
        return false;
    }
    options->model.message_bytes = (uint32_t)bytes;
    return true;
}

static bool set_option(struct options *options, int option, char *text)
{
    struct xebec_model *model = &options->model;
    switch (option) {
    case 'l':
        options->address = text;
        return true;
    case 'm':
        model->name = text;
        return true;
    case 'v':
        model->version = text;
        return true;
    case 'd':
        model->digest = text;
        return true;
    case 'i':
        return add_spec(text, options->inputs, &model->n_inputs);
    case 'o':
        return add_spec(text, options->outputs, &model->n_outputs);
    case 'c':
        model->tls_certificate = text;
        return true;
    case 'k':
        model->tls_key = text;
        return true;
    case 'a':
        model->tls_client_ca = text;
        return true;
    case 'b':
        return set_message_bytes(text, options);
    default:
        return set_max_rows(text, options);
    }
}

/* As containers are configured; an empty variable is none. */
static bool set_from_environment(struct options *options)
{
    static const struct {
        const char *variable;
        int option;
    } names[] = {{"XEBEC_LISTEN", 'l'},   {"XEBEC_NAME", 'm'},          {"XEBEC_VERSION", 'v'},
                 {"XEBEC_MAX_ROWS", 'r'}, {"XEBEC_MESSAGE_BYTES", 'b'}, {"XEBEC_TLS_CERTIFICATE", 'c'},
                 {"XEBEC_TLS_KEY", 'k'},  {"XEBEC_TLS_CLIENT_CA", 'a'}};
    bool understood = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text = getenv(names[i].variable);
        if (text && *text)
            understood &= set_option(options, names[i].option, text);
    }
    return understood;
}

int options_read(struct options *options, int argc, char **argv, const char *what_it_is)
{
    static const struct option names[] = {{"listen", required_argument, NULL, 'l'},
                                          {"name", required_argument, NULL, 'm'},
                                          {"model", required_argument, NULL, 'm'},
                                          {"version", required_argument, NULL, 'v'},
                                          {"input", required_argument, NULL, 'i'},
                                          {"output", required_argument, NULL, 'o'},
                                          {"max-rows", required_argument, NULL, 'r'},
                                          {"digest", required_argument, NULL, 'd'},
                                          {"message-bytes", required_argument, NULL, 'b'},
                                          {"tls-certificate", required_argument, NULL, 'c'},
                                          {"tls-key", required_argument, NULL, 'k'},
                                          {"tls-client-ca", required_argument, NULL, 'a'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct xebec_model *model = &options->model;
    const char *name = model->name, *version = model->version;
    options->address = "127.0.0.1:9000";
    if (!set_from_environment(options))
        return 2;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == 'h') {
            printf(HELP, argv[0], what_it_is, name, version);
            return 0;
        }
        if (option == '?' || !set_option(options, option, optarg))
            return 2;
    }
    if (optind < argc) {
        fprintf(stderr, "%s is not an option; see --help\n", argv[optind]);
        return 2;
    }
    if (model->n_inputs == 0)
        options->inputs[model->n_inputs++] =
            (struct xebec_spec){.name = "x", .datatype = XEBEC_FP32, .dims = 2, .shape = {XEBEC_ANY, 4}};
    model->inputs = options->inputs;
    model->outputs = options->outputs;
    return -1;
}
