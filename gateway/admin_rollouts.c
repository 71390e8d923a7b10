/* admin_rollouts: from a path and a body to a change, and what came of it. */
#include "admin_rollouts.h"

#include <string.h>

static const char root[] = "/rollouts";

static const struct {
    const char *name;
    rollout_action *act;
} actions[] = {{"set", rollouts_set},           {"reset", rollouts_reset}, {"promote", rollouts_promote},
               {"rollback", rollouts_rollback}, {"pause", rollouts_pause}, {"resume", rollouts_resume}};
enum { ACTIONS = sizeof actions / sizeof actions[0] };

bool admin_rollouts_has(const char *path, bool *acts)
{
    size_t length = sizeof root - 1;
    if (strncmp(path, root, length) != 0 || (path[length] && path[length] != '/'))
        return false;
    *acts = path[length] && strchr(path + length + 1, '/');
    return true;
}

static rollout_action *action_named(const char *name)
{
    for (int i = 0; i < ACTIONS; i++)
        if (!strcmp(actions[i].name, name))
            return actions[i].act;
    return NULL;
}

/* By what address, and by whom in their own words. */
static const char *who_asks(struct exchange *exchange, const struct node *body)
{
    const char *name = node_text(body, "who", "");
    return name[0] ? arena_printf(&exchange->arena, "%.100s (%s)", name, exchange->client) : exchange->client;
}

static enum gw_status act(struct rollouts *rollouts, struct exchange *exchange, const char *endpoint,
                          rollout_action *action, struct gw_err *err)
{
    const struct http_message *message = &exchange->message;
    struct document body = {.root = NULL};
    if (message->body_length &&
        document_read(&body, "the body", message->body, message->body_length, err) != GW_OK)
        return err->status;
    const struct rollout_ask ask = {.endpoint = endpoint,
                                    .who = who_asks(exchange, body.root),
                                    .why = node_text(body.root, "why", ""),
                                    .weights = node_get(body.root, "weights")};
    gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    enum gw_status status = ask.who ? action(rollouts, &ask, err) : GW_E_NO_MEMORY;
    document_clear(&body);
    return status;
}

enum gw_status admin_rollouts_answer(struct rollouts *rollouts, struct exchange *exchange, struct buf *out,
                                     struct gw_err *err)
{
    const char *path = exchange->message.path + sizeof root - 1;
    const char *slash = path[0] ? strchr(path + 1, '/') : NULL;
    if (!path[0]) {
        rollouts_write_all(rollouts, out);
        return GW_OK;
    }
    const char *endpoint =
        slash ? arena_text(&exchange->arena, path + 1, (size_t)(slash - path) - 1) : path + 1;
    if (!endpoint)
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory; nothing was changed");
    if (slash) {
        rollout_action *action = action_named(slash + 1);
        if (!action)
            return gw_err_set(err, GW_E_NOT_FOUND,
                              "no such action; there are set, reset, promote, rollback, pause and resume");
        if (act(rollouts, exchange, endpoint, action, err) != GW_OK)
            return err->status;
    }
    return rollouts_write_one(rollouts, endpoint, out, err);
}
