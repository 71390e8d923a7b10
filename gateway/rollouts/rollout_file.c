/* rollout_file: read and judged; written beside and renamed. */
#include "rollouts/rollout_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define ANY_HEAD       "xebec-rollouts "
#define HEAD           ANY_HEAD "1 "
enum { HASH_BYTES = 16, HASH_TEXT = 2 * HASH_BYTES + 1, HEAD_ROOM = 96 };

struct path {
    char text[PATH_MAX];
};

static struct path path_in(const char *folder, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", folder, name);
    return path;
}

static void hash_text(const char *bytes, size_t length, char text[HASH_TEXT])
{
    unsigned char hash[HASH_BYTES];
    crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes, length, NULL, 0);
    sodium_bin2hex(text, HASH_TEXT, hash, sizeof hash);
}

/* --- reading --- */

static bool read_whole(int fd, struct buf *bytes)
{
    while (bytes->length <= FILE_BYTES_MAX) {
        char *room = buf_reserve(bytes, 1 << 16);
        ssize_t n = room ? read(fd, room, 1 << 16) : -1;
        if (n < 0 && room && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        bytes->length += (size_t)n;
    }
    return true;
}

/* Where the records begin; NULL: it is not what we write. */
static const char *judge_head(const char *bytes, size_t whole, size_t *length)
{
    char head[HEAD_ROOM], wanted[HEAD_ROOM], hash[HASH_TEXT];
    const char *end = whole ? memchr(bytes, '\n', whole) : NULL;
    size_t head_length = end ? (size_t)(end - bytes) + 1 : 0;
    if (!end || head_length >= sizeof head)
        return NULL;
    memcpy(head, bytes, head_length);
    head[head_length] = '\0';
    *length = whole - head_length;
    hash_text(end + 1, *length, hash);
    snprintf(wanted, sizeof wanted, HEAD "%zu %s\n", *length, hash);
    return strcmp(head, wanted) == 0 ? end + 1 : NULL;
}

/* take NULL: only whether they can be. */
static enum gw_status take_records(const struct node *list,
                                   void (*take)(void *owner, struct rollout *rollout), void *owner,
                                   struct gw_err *err)
{
    for (const struct node *child = list ? list->first : NULL; child; child = child->next) {
        struct rollout *rollout;
        if (rollout_read(child, &rollout, err) != GW_OK)
            return err->status;
        if (take)
            take(owner, rollout);
        else
            rollout_free(rollout);
    }
    return list ? GW_OK : gw_err_set(err, GW_E_INVALID, "it has no records");
}

static bool begins(const char *bytes, size_t length, const char *with)
{
    return length >= strlen(with) && memcmp(bytes, with, strlen(with)) == 0;
}

enum gw_status rollout_file_read(const char *bytes, size_t whole,
                                 void (*take)(void *owner, struct rollout *rollout), void *owner,
                                 struct gw_err *err)
{
    struct document document;
    size_t length = 0;
    if (begins(bytes, whole, ANY_HEAD) && !begins(bytes, whole, HEAD))
        return gw_err_set(err, GW_E_INVALID, "it is of another format than this gateway's");
    const char *records = judge_head(bytes, whole, &length);
    if (!records)
        return gw_err_set(err, GW_E_INVALID, "it was cut short or changed");
    if (document_read(&document, "the file", records, length, err) != GW_OK)
        return err->status;
    const struct node *list = node_get(document.root, "rollouts");
    enum gw_status status = take_records(list, NULL, owner, err); /* all of them, or none */
    if (status == GW_OK)
        status = take_records(list, take, owner, err);
    document_clear(&document);
    return status;
}

static enum gw_status set_aside(const char *folder, struct gw_err *err)
{
    struct path good = path_in(folder, "rollouts"), bad = path_in(folder, "rollouts.bad");
    char why[sizeof err->what];
    snprintf(why, sizeof why, "%s", err->what);
    if (rename(good.text, bad.text) != 0)
        return gw_err_set(err, GW_E_INVALID, "%s (and cannot be set aside: %s)", why, strerror(errno));
    return gw_err_set(err, GW_E_INVALID, "%s; it is %.100s now", why, bad.text);
}

enum gw_status rollout_file_load(const char *folder, void (*take)(void *owner, struct rollout *rollout),
                                 void *owner, struct gw_err *err)
{
    struct path path = path_in(folder, "rollouts");
    struct buf file = {0};
    gw_err_set(err, GW_OK, "ok");
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return gw_err_set(err, GW_E_INTERNAL, "%s cannot be made: %s", folder, strerror(errno));
    int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return GW_OK;
    if (fd < 0 || !read_whole(fd, &file)) {
        gw_err_set(err, GW_E_INTERNAL, "%s cannot be read: %s", path.text, strerror(errno));
    } else if (rollout_file_read(file.bytes, file.length, take, owner, err) == GW_E_INVALID) {
        set_aside(folder, err);
    }
    if (fd >= 0)
        close(fd);
    buf_clear(&file);
    return err->status;
}

/* --- writing --- */

static bool write_whole(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

static bool write_file(const char *path, const char *head, const struct buf *records)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool written = write_whole(fd, head, strlen(head)) && write_whole(fd, records->bytes, records->length) &&
                   fsync(fd) == 0;
    int error = errno;
    bool closed = close(fd) == 0;
    if (!written)
        errno = error;
    return written && closed;
}

static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return synced;
}

enum gw_status rollout_file_save(const char *folder, const struct rollout *const *rollouts, uint32_t n,
                                 struct gw_err *err)
{
    struct path path = path_in(folder, "rollouts"), fresh = path_in(folder, "rollouts.new");
    struct buf records = {0};
    char head[HEAD_ROOM], hash[HASH_TEXT];
    buf_text(&records, "{\"rollouts\":[");
    for (uint32_t i = 0; i < n; i++) {
        buf_text(&records, i ? ",\n" : "\n");
        rollout_write(rollouts[i], &records);
    }
    buf_text(&records, "]}\n");
    if (records.failed) {
        buf_clear(&records);
        return gw_err_set(err, GW_E_NO_MEMORY, "out of memory");
    }
    hash_text(records.bytes, records.length, hash);
    snprintf(head, sizeof head, HEAD "%zu %s\n", records.length, hash);
    bool saved =
        write_file(fresh.text, head, &records) && rename(fresh.text, path.text) == 0 && sync_folder(folder);
    if (!saved) {
        gw_err_set(err, GW_E_INTERNAL, "%s cannot be written: %s", path.text, strerror(errno));
        unlink(fresh.text);
    }
    buf_clear(&records);
    return saved ? GW_OK : err->status;
}
