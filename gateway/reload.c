/* reload: from a file that may have changed to a gateway that goes by it. */
#include "reload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support/log.h"

enum { WATCH_INTERVAL_US = 1000 * 1000 };

/*
 * What tells one state of the files that a configuration is read from, certificates too, from another: a
 * digest of where and how large they are and when they changed (FNV-1a). A symbolic link is followed:
 * Kubernetes turns one to change a ConfigMap or a Secret.
 */
struct file_state {
    bool is_there; /* the configuration itself */
    uint64_t digest;
};

struct reload {
    struct loop *loop;
    struct gateway *gateway;
    struct reload_ask *ask;   /* under way */
    struct reload_ask nobody; /* that of reload_soon() */
    const char *again;        /* who asked meanwhile; NULL: nobody */
    uint64_t started_us;
    struct loop_timer watch;
    struct file_state loaded; /* the files when they were last read */
    struct file_state seen;   /* and at the last look */
};

static void reload_watch(struct loop_timer *timer);
static void answered_to_nobody(struct reload_ask *ask, const struct reload_answer *answer);

/* --- one reload --- */

static const char *path_of(const struct reload *reload)
{
    return gateway_config(reload->gateway)->path;
}

static void mix(struct file_state *state, uint64_t word)
{
    for (int i = 0; i < 8; i++, word >>= 8)
        state->digest = (state->digest ^ (word & 0xFF)) * UINT64_C(0x100000001B3);
}

static void look_at_file(void *owner, const char *path)
{
    struct file_state *state = owner;
    struct stat file = {0};
    bool is_there = stat(path, &file) == 0;
    mix(state, file.st_dev);
    mix(state, file.st_ino);
    mix(state, (uint64_t)file.st_size);
    mix(state, (uint64_t)file.st_mtim.tv_sec);
    mix(state, (uint64_t)file.st_mtim.tv_nsec);
    state->is_there = state->is_there && is_there;
}

static void look(const struct reload *reload, struct file_state *state)
{
    *state = (struct file_state){.is_there = true, .digest = UINT64_C(0xCBF29CE484222325)};
    config_each_file(gateway_config(reload->gateway), look_at_file, state);
}

static bool states_same(const struct file_state *a, const struct file_state *b)
{
    return a->is_there == b->is_there && a->digest == b->digest;
}

static void tell_log(const struct reload *reload, const struct reload_answer *answer)
{
    const struct config *config = gateway_config(reload->gateway);
    const struct config_problems *problems = answer->problems;
    if (answer->err.status == GW_OK)
        log_info("reloaded", LOG_TEXT("who", reload->ask->who), LOG_TEXT("file", config->path),
                 LOG_INT("versions", config->n_versions), LOG_INT("endpoints", config->n_endpoints),
                 LOG_INT("took_us", loop_now_us() - reload->started_us));
    else
        log_error("reload_refused", LOG_TEXT("who", reload->ask->who), LOG_TEXT("file", config->path),
                  LOG_TEXT("why", answer->err.what), LOG_INT("problems", problems ? problems->count : 0),
                  LOG_INT("line", problems && problems->count ? problems->list[0].line : 0),
                  LOG_TEXT("first", problems && problems->count ? problems->list[0].what : ""));
}

static void reload_end(struct reload *reload, const struct gw_err *err,
                       const struct config_problems *problems)
{
    const struct reload_answer answer = {.err = *err, .problems = problems};
    struct reload_ask *ask = reload->ask;
    const char *again = reload->again;
    tell_log(reload, &answer);
    reload->ask = NULL;
    reload->again = NULL;
    ask->done(ask, &answer);
    if (again)
        reload_soon(reload, again);
}

static void gateway_changed(void *owner, const struct gw_err *err)
{
    reload_end(owner, err, NULL);
}

void reload_ask(struct reload *reload, struct reload_ask *ask)
{
    struct config_problems problems = {0};
    struct gw_err err;
    if (reload->ask) {
        struct reload_answer busy = {0};
        gw_err_set(&busy.err, GW_E_OVERLOAD, "another reload is under way; ask again when it is done");
        ask->done(ask, &busy);
        return;
    }
    reload->ask = ask;
    reload->started_us = loop_now_us();
    look(reload, &reload->loaded);
    struct config *config = config_load(path_of(reload), &problems);
    if (config)
        config_warnings_log(config);
    if (!config) {
        gw_err_set(&err, GW_E_INVALID, "the file has problems; nothing was changed");
        reload_end(reload, &err, &problems);
    } else if (gateway_change(reload->gateway, config, gateway_changed, reload, &err) != GW_OK) {
        reload_end(reload, &err, NULL);
    }
    config_unref(config);
    config_problems_clear(&problems);
}

static void answered_to_nobody(struct reload_ask *ask, const struct reload_answer *answer)
{
    (void)ask, (void)answer; /* the log has it */
}

void reload_soon(struct reload *reload, const char *who)
{
    if (reload->ask) {
        reload->again = who;
        return;
    }
    reload->nobody.who = who;
    reload_ask(reload, &reload->nobody);
}

/* --- watching --- */

/* Files are read once they have looked the same twice: not while somebody writes them. */
static void reload_watch(struct loop_timer *timer)
{
    struct reload *reload = container_of(timer, struct reload, watch);
    struct file_state now;
    look(reload, &now);
    if (gateway_config(reload->gateway)->watch && now.is_there && states_same(&now, &reload->seen) &&
        !states_same(&now, &reload->loaded))
        reload_soon(reload, "watch");
    reload->seen = now;
    if (loop_timer_set(reload->loop, timer, loop_now_us() + WATCH_INTERVAL_US) != GW_OK)
        log_error("watch_stopped", LOG_TEXT("why", "out of memory"));
}

struct reload *reload_new(struct loop *loop, struct gateway *gateway)
{
    struct reload *reload = calloc(1, sizeof *reload);
    if (!reload)
        return NULL;
    reload->loop = loop;
    reload->gateway = gateway;
    reload->nobody.done = answered_to_nobody;
    reload->watch.fire = reload_watch;
    look(reload, &reload->loaded);
    reload->seen = reload->loaded;
    if (loop_timer_set(loop, &reload->watch, loop_now_us() + WATCH_INTERVAL_US) == GW_OK)
        return reload;
    free(reload);
    return NULL;
}

void reload_free(struct reload *reload)
{
    if (!reload)
        return;
    loop_timer_cancel(reload->loop, &reload->watch);
    free(reload);
}
