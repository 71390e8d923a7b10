/* main: argv, signals, start and drain; nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <sodium.h>

#include "admin.h"
#include "commands/commands.h"
#include "commands/health.h"
#include "config/config.h"
#include "reload.h"
#include "rollouts/rollouts.h"
#include "shard.h"
#include "support/log.h"
#include "support/loop.h"

/* --- what people see --- */

static const char usage[] = "xebec " XEBEC_VERSION ", a model-serving gateway\n"
                            "\n"
                            "  xebec serve --config FILE   serve predictions until SIGTERM or Ctrl-C\n"
                            "  xebec check --config FILE   report every problem of a configuration\n"
                            "  xebec health [ADDRESS]      ask a running gateway whether it takes requests\n"
                            "  xebec status                show a running gateway: replicas, endpoints\n"
                            "  xebec rollout COMMAND       show and change how endpoints share out requests\n"
                            "  xebec reload                have a running gateway read its file again\n"
                            "  xebec version               print the version\n"
                            "\n"
                            "xebec COMMAND --help tells more.\n";

static const char serve_help[] =
    "usage: xebec serve --config FILE\n"
    "\n"
    "Serves predictions as FILE says, in the foreground; the log goes to standard error, one JSON object a "
    "line.\n"
    "SIGHUP reads FILE again and goes by it, without losing a request; a bad file changes nothing.\n"
    "SIGTERM or Ctrl-C drains: accepting stops, requests in flight are finished within timeouts.drain, and "
    "the\n"
    "exit status is 0. A second signal stops at once.\n"
    "\n"
    "exit status: 0 drained, 1 could not start or requests were cut off, 2 wrong usage or configuration\n";

static const char check_help[] =
    "usage: xebec check --config FILE\n"
    "       xebec check --keys\n"
    "\n"
    "Reports every problem of a configuration as FILE:LINE:COLUMN: what is wrong, and the fix.\n"
    "--keys lists every key: path, type, default and meaning, separated by tabs.\n"
    "\n"
    "exit status: 0 no problem, 2 problems or wrong usage\n";

static const char health_help[] =
    "usage: xebec health [ADDRESS]\n"
    "\n"
    "Asks /health/serving of the gateway whose admin listener is at ADDRESS: host:port, [v6]:port or "
    "unix:/path;\n"
    "127.0.0.1:8081 unless it is given. Prints the answer, within two seconds.\n"
    "\n"
    "exit status: 0 it takes requests, 1 it does not, or cannot be asked, 2 wrong usage\n";

static const char version_help[] = "usage: xebec version\n\nPrints the version.\n";

enum { EXIT_USAGE = 2 };

static int fail_usage(const char *command, const char *what, const char *which)
{
    fprintf(stderr, "xebec%s%s: %s%s; try: xebec%s%s --help\n", command[0] ? " " : "", command, what, which,
            command[0] ? " " : "", command);
    return EXIT_USAGE;
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

static struct config *load(const char *path)
{
    struct config_problems problems = {0};
    struct config *config = config_load(path, &problems);
    struct buf text = {0};
    config_problems_print(&problems, path, &text);
    if (text.failed)
        fprintf(stderr, "xebec: out of memory for the problems of %s\n", path);
    else if (text.length)
        fwrite(text.bytes, 1, text.length, stderr);
    buf_clear(&text);
    config_problems_clear(&problems);
    return config;
}

/* --- check --- */

static int print_keys(void)
{
    struct buf keys = {0};
    config_print_keys(&keys);
    fwrite(keys.bytes, 1, keys.length, stdout);
    bool ok = !keys.failed && fflush(stdout) == 0;
    buf_clear(&keys);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void print_warnings(const struct config *config)
{
    struct buf text = {0};
    config_warnings_print(config, &text);
    if (text.length)
        fwrite(text.bytes, 1, text.length, stderr);
    buf_clear(&text);
}

static int check(const char *path)
{
    struct config *config = load(path);
    if (!config)
        return EXIT_USAGE;
    print_warnings(config);
    printf("%s: ok: %u model%s, %u version%s, %u endpoint%s\n", path, config->n_models,
           config->n_models == 1 ? "" : "s", config->n_versions, config->n_versions == 1 ? "" : "s",
           config->n_endpoints, config->n_endpoints == 1 ? "" : "s");
    config_unref(config);
    return EXIT_SUCCESS;
}

/* --- health --- */

static int health(int argc, char **argv)
{
    if (argc > 2 && is_help(argv[2])) {
        fputs(health_help, stdout);
        return EXIT_SUCCESS;
    }
    if (argc > 3 || (argc > 2 && argv[2][0] == '-'))
        return fail_usage("health", "cannot make sense of ", argv[argc - 1]);
    struct buf said = {0};
    bool healthy = health_ask(argc > 2 ? argv[2] : "127.0.0.1:8081", &said);
    fwrite(said.bytes, 1, said.length, stdout);
    buf_clear(&said);
    return healthy ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- serve: signals --- */

static struct loop *volatile signalled_loop; /* a handler has no other way to its owner */
static volatile sig_atomic_t stop_signalled, reload_signalled;

static void on_signal(int number)
{
    int saved = errno;
    if (number == SIGHUP)
        reload_signalled = 1;
    else
        stop_signalled = 1;
    if (signalled_loop)
        loop_stop(signalled_loop);
    errno = saved;
}

/* Signals reach this thread only: the others inherit the mask that blocks them. */
static void block_signals(int how)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(how, &ours, NULL);
}

static void catch_signals(struct loop *loop)
{
    struct sigaction ours = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    signalled_loop = loop;
    sigaction(SIGTERM, &ours, NULL);
    sigaction(SIGINT, &ours, NULL);
    sigaction(SIGHUP, &ours, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* --- serve --- */

static void raise_descriptor_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/*
 * A batch of 128 rows of 784 floats is 400 KB: malloc would map it, fill it with zeroed pages and give it
 * back, for every call. Kept, it is a pointer moved.
 */
static void keep_large_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

static int open_access_log(const char *path)
{
    if (!path)
        return -1;
    return strcmp(path, "stdout") == 0 ? dup(STDOUT_FILENO)
                                       : open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

struct drain {
    struct loop_task done; /* posted when the last shard has finished */
    struct loop *loop;
    bool finished;
};

static void drain_finished(struct loop_task *task)
{
    struct drain *drain = container_of(task, struct drain, done);
    drain->finished = true;
    loop_stop(drain->loop);
}

/* Until a stop signal; SIGHUP reads the configuration again on the way. */
static void serve_until_stopped(struct loop *loop, struct reload *reload)
{
    while (!stop_signalled) {
        loop_run(loop);
        if (reload_signalled && !stop_signalled) {
            reload_signalled = 0;
            reload_soon(reload, "SIGHUP");
        }
    }
    stop_signalled = 0;
}

/* What a process serves with; some of it may be missing. */
struct served {
    struct rollouts *rollouts;
    struct gateway *gateway;
    struct reload *reload;
    struct admin *admin;
};

/* Until everything is answered, time is up, or another signal. */
static bool serve_until_drained(struct loop *loop, struct served *served)
{
    struct drain drain = {.done = {.run = drain_finished}, .loop = loop};
    log_info("draining", LOG_INT("drain_us", gateway_config(served->gateway)->timeouts.drain_us));
    admin_drain(served->admin);
    rollouts_stop(served->rollouts);
    gateway_drain(served->gateway, &drain.done);
    while (!drain.finished && !stop_signalled)
        loop_run(loop);
    bool finished = drain.finished;
    admin_free(served->admin);
    bool clean = gateway_stop(served->gateway) && finished;
    loop_flush(loop); /* `drain` may still lie in its mailbox */
    log_info("stopped", LOG_BOOL("clean", clean));
    return clean;
}

/* Bottom up; false with err where something cannot be had. */
static bool start(struct served *served, struct config *config, struct loop *loop, struct metrics *metrics,
                  int access_log, struct gw_err *err)
{
    served->rollouts = rollouts_new(loop, metrics, config, err);
    if (!served->rollouts)
        return false;
    const struct gateway_tuner tuner = rollouts_tuner(served->rollouts);
    block_signals(SIG_BLOCK);
    served->gateway = gateway_start(config, metrics, access_log, loop, &tuner, err);
    block_signals(SIG_UNBLOCK);
    if (!served->gateway)
        return false;
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory while starting");
    served->reload = reload_new(loop, served->gateway);
    if (!served->reload || !rollouts_start(served->rollouts, served->gateway))
        return false;
    served->admin = admin_new(loop, served->gateway, served->reload, served->rollouts, err);
    return served->admin != NULL;
}

static int serve_config(struct config *config, struct loop *loop, struct metrics *metrics)
{
    struct gw_err err;
    struct served served = {0};
    int access_log = open_access_log(config->access_log);
    if (config->access_log && access_log < 0) {
        fprintf(stderr, "xebec: cannot open the access log %s: %s\n", config->access_log, strerror(errno));
        return EXIT_FAILURE;
    }
    bool clean = false;
    if (start(&served, config, loop, metrics, access_log, &err)) {
        log_info("serving", LOG_TEXT("version", XEBEC_VERSION), LOG_TEXT("listen", config->listen.text),
                 LOG_INT("port", gateway_port(served.gateway)), LOG_TEXT("admin", config->admin.text),
                 LOG_INT("admin_port", admin_port(served.admin)), LOG_INT("shards", config->shards));
        serve_until_stopped(loop, served.reload);
        clean = serve_until_drained(loop, &served);
    } else {
        fprintf(stderr, "xebec: %s\n", err.what);
        if (served.rollouts)
            rollouts_stop(served.rollouts);
        if (served.gateway)
            gateway_stop(served.gateway);
    }
    reload_free(served.reload);
    rollouts_free(served.rollouts);
    if (access_log >= 0)
        close(access_log);
    return clean ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int serve(const char *path)
{
    struct config *config = load(path);
    if (!config)
        return EXIT_USAGE;
    log_open(STDERR_FILENO, config->log_level);
    config_warnings_log(config);
    raise_descriptor_limit();
    keep_large_memory();
    struct loop *loop = loop_new();
    struct metrics *metrics = metrics_new();
    int status = EXIT_FAILURE;
    if (loop && metrics && sodium_init() >= 0) {
        catch_signals(loop);
        status = serve_config(config, loop, metrics);
        signalled_loop = NULL;
    } else {
        fprintf(stderr, "xebec: out of memory, descriptors or randomness while starting\n");
    }
    loop_free(loop);
    metrics_free(metrics);
    config_unref(config);
    return status;
}

/* --- argv --- */

/* The commands that take --config FILE; check takes --keys instead, too. */
static int with_config(int argc, char **argv, const char *help, int (*run)(const char *path))
{
    const char *command = argv[1], *path = NULL;
    for (int i = 2; i < argc; i++) {
        if (is_help(argv[i])) {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        if (run == check && !strcmp(argv[i], "--keys") && argc == 3)
            return print_keys();
        if (!strncmp(argv[i], "--config=", 9))
            path = argv[i] + 9;
        else if (!strcmp(argv[i], "--config") && i + 1 < argc)
            path = argv[++i];
        else if (!strcmp(argv[i], "--config"))
            return fail_usage(command, "--config wants a FILE", "");
        else
            return fail_usage(command, "cannot make sense of ", argv[i]);
    }
    return path ? run(path) : fail_usage(command, "--config FILE is needed", "");
}

int main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (!strcmp(command, "serve"))
        return with_config(argc, argv, serve_help, serve);
    if (!strcmp(command, "check"))
        return with_config(argc, argv, check_help, check);
    if (!strcmp(command, "health"))
        return health(argc, argv);
    if (!strcmp(command, "status"))
        return command_status(argc, argv);
    if (!strcmp(command, "reload"))
        return command_reload(argc, argv);
    if (!strcmp(command, "rollout"))
        return command_rollout(argc, argv);
    if (!strcmp(command, "version") || !strcmp(command, "--version")) {
        bool help = argc > 2 && is_help(argv[2]);
        fputs(help ? version_help : "xebec " XEBEC_VERSION "\n", stdout);
        return EXIT_SUCCESS;
    }
    if (is_help(command)) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (!command[0])
        fputs(usage, stderr);
    return command[0] ? fail_usage("", "no such command: ", command) : EXIT_USAGE;
}
