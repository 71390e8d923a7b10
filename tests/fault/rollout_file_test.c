/*
 * rollout_file_test: every call that keeps run-time changes on the disk fails in turn. What was kept before
 * is still there, whole, and the next save works; the disk is asked to flush both the file and its folder,
 * the file before it is renamed.
 *
 * The linker leads our own calls here first (CMakeLists.txt: --wrap).
 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rollouts/rollout_file.h"

int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
ssize_t __real_write(int fd, const void *bytes, size_t length);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
ssize_t __wrap_write(int fd, const void *bytes, size_t length);

static int failing;    /* the call that fails, from 1; 0: none does */
static int calls;      /* since the last save began */
static char story[32]; /* w: written, s: flushed, r: renamed */

static bool fails(char what)
{
    size_t length = strlen(story);
    if (length + 1 < sizeof story)
        story[length] = what;
    errno = what == 's' ? EIO : ENOSPC;
    return ++calls == failing;
}

int __wrap_fsync(int fd)
{
    return fails('s') ? -1 : __real_fsync(fd);
}
int __wrap_rename(const char *from, const char *to)
{
    return fails('r') ? -1 : __real_rename(from, to);
}
/* Takes half of what it is given, too. */
ssize_t __wrap_write(int fd, const void *bytes, size_t length)
{
    return fails('w') ? -1 : __real_write(fd, bytes, length > 1 ? length / 2 : length);
}

static void expect(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "rollout_file_test: call %d fails: %s\n", failing, what);
    abort();
}

static struct config_arm arm = {.name = "a", .weight = 1};
static const struct config_endpoint endpoint = {.name = "e", .arms = &arm, .n_arms = 1};

static enum gw_status save(const char *folder, uint64_t version)
{
    const double weight = 2;
    const struct rollout_draft draft = {.endpoint = &endpoint,
                                        .weights = &weight,
                                        .gateway = "00000000000000aa",
                                        .version = version,
                                        .at_ms = 1};
    struct rollout *rollout = rollout_new(&draft);
    struct gw_err err;
    expect(rollout != NULL, "no memory");
    calls = 0;
    memset(story, 0, sizeof story);
    enum gw_status status = rollout_file_save(folder, (const struct rollout *const *)&rollout, 1, &err);
    rollout_free(rollout);
    return status;
}

static void note_version(void *owner, struct rollout *rollout)
{
    *(uint64_t *)owner = rollout->version;
    rollout_free(rollout);
}

static uint64_t kept_version(const char *folder)
{
    struct gw_err err;
    uint64_t version = 0;
    expect(rollout_file_load(folder, note_version, &version, &err) == GW_OK, "what was kept cannot be read");
    return version;
}

/* Writes, then flushes, renames, flushes. */
static bool is_in_order(void)
{
    const char *rest = story + strspn(story, "w");
    return rest > story && strcmp(rest, "srs") == 0;
}

int main(void)
{
    char folder[] = "/tmp/rollout_file_test.XXXXXX", path[64];
    bool renamed = false;
    expect(sodium_init() >= 0 && mkdtemp(folder), "no folder");
    expect(save(folder, 1) == GW_OK && is_in_order(), story);
    int n = calls;
    for (failing = 1; failing <= n; failing++) {
        expect(save(folder, 1000u + (unsigned)failing) != GW_OK, "it is not told");
        renamed = strchr(story, 'r') && story[strlen(story) - 1] == 's';
        uint64_t kept = kept_version(folder);
        expect(renamed ? kept == 1000u + (unsigned)failing : kept == 1,
               "neither the old one nor the new one");
    }
    expect(renamed, "the folder's flush was not the last call");
    failing = 0;
    expect(save(folder, 9) == GW_OK && kept_version(folder) == 9, "the next save");
    printf("rollout_file_test: %d calls failed in turn\n", n);
    snprintf(path, sizeof path, "%s/rollouts", folder);
    unlink(path);
    rmdir(folder);
    return 0;
}
