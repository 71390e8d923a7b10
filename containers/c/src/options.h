/* options: the command line that xebec-noop and xebec-echo share. */
#ifndef XEBEC_WORKER_OPTIONS_H
#define XEBEC_WORKER_OPTIONS_H

#include "xebec_worker.h"

enum { OPTIONS_SPECS = 16 };

struct options {
    struct xebec_spec inputs[OPTIONS_SPECS], outputs[OPTIONS_SPECS];
    struct xebec_model model; /* its inputs and outputs are those above */
    const char *address;
};

/*
 * Reads --listen, --name, --version, --input, --output, --max-rows, --message-bytes and --digest into `options`, whose
 * model's name, version and digest may hold defaults. -1: go on and serve; else the exit code, with words
 * already said: 0 after --help, 2 for what is not understood.
 */
int options_read(struct options *options, int argc, char **argv, const char *what_it_is);

#endif
