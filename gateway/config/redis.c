/*
 * redis: reads cache.redis: a URL alone, or a mapping with one.
 *
 *     redis://[[user]:password@]host[:port][/database]        unix:/path/to.sock[?db=0]
 *
 * A password may stand in the URL, so no message repeats what was written.
 */
#include "config/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/units.h"

#define PASSWORD_BYTES_MAX  4096
#define PREFIX_BYTES_MAX    64
#define UNIX_PATH_BYTES_MAX 107 /* sockaddr_un.sun_path, less its terminator */
#define DATABASE_MAX        1000000

static const char url_expected[] = "expected a URL such as redis://host:6379/0 or unix:/run/redis.sock (it "
                                   "is not repeated here: it may hold "
                                   "a password)";

/* Part of a text. */
struct span {
    const char *at;
    size_t length;
};

static struct span span_until(const char *from, const char *end)
{
    return (struct span){from, (size_t)(end - from)};
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* A copy with %XX undone; NULL where that is broken or makes a NUL. */
static const char *unescaped(struct config_reader *reader, struct span span)
{
    char *copy = reader_array(reader, span.length + 1, 1);
    size_t length = 0;
    for (size_t i = 0; copy && i < span.length; i++, length++) {
        copy[length] = span.at[i];
        if (span.at[i] != '%')
            continue;
        int high = span.length - i > 2 ? hex_digit(span.at[i + 1]) : -1;
        int low = span.length - i > 2 ? hex_digit(span.at[i + 2]) : -1;
        if (high < 0 || low < 0 || high + low == 0)
            return NULL;
        copy[length] = (char)(high * 16 + low);
        i += 2;
    }
    return copy;
}

static bool read_database(struct span span, uint32_t *database)
{
    uint64_t value = 0;
    if (span.length && (quantity_parse(QUANTITY_INTEGER, span.at, span.length, &value) != QUANTITY_OK ||
                        value > DATABASE_MAX))
        return false;
    *database = (uint32_t)value;
    return true;
}

/* user:password, :password, or a user alone, whose password is in a file. */
static bool read_user(struct config_reader *reader, struct span span, struct config_redis *redis)
{
    const char *end = span.at + span.length, *colon = memchr(span.at, ':', span.length);
    struct span user = span_until(span.at, colon ? colon : end);
    if (user.length && !(redis->server.user = unescaped(reader, user)))
        return false;
    return !colon ||
           (colon + 1 < end && (redis->server.password = unescaped(reader, span_until(colon + 1, end))));
}

static bool host_is_fine(struct span host, bool bracketed)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    static const char numeric[] = "0123456789abcdefABCDEF:.%";
    size_t fine = strspn(host.at, bracketed ? numeric : letters);
    return host.length && host.length <= 253 && fine >= host.length;
}

/* host, host:port, [v6], [v6]:port */
static bool read_host(struct config_reader *reader, struct span span, struct config_redis *redis)
{
    const char *end = span.at + span.length;
    const char *bracket = span.length && span.at[0] == '[' ? memchr(span.at, ']', span.length) : NULL;
    const char *colon = bracket ? bracket + 1 : memchr(span.at, ':', span.length);
    bool has_port = colon && colon < end;
    struct span host =
        bracket ? span_until(span.at + 1, bracket) : span_until(span.at, has_port ? colon : end);
    struct span port = has_port ? span_until(colon + 1, end) : (struct span){"6379", 4};
    uint64_t number;
    if (!host_is_fine(host, bracket != NULL) || (has_port && *colon != ':') ||
        quantity_parse(QUANTITY_INTEGER, port.at, port.length, &number) != QUANTITY_OK || number == 0 ||
        number > UINT16_MAX)
        return false;
    redis->server.host = reader_text(reader, host.at, host.length);
    redis->server.port = reader_text(reader, port.at, port.length);
    return true;
}

static bool read_tcp(struct config_reader *reader, const char *rest, struct config_redis *redis)
{
    const char *slash = strrchr(rest, '/'), *end = slash ? slash : rest + strlen(rest);
    const char *at = memrchr(rest, '@', (size_t)(end - rest));
    struct span host = span_until(at ? at + 1 : rest, end);
    if ((at && !read_user(reader, span_until(rest, at), redis)) || !read_host(reader, host, redis) ||
        (slash && !read_database(span_until(slash + 1, slash + strlen(slash)), &redis->server.database)))
        return false;
    redis->shown =
        arena_printf(reader->arena, "redis://%.*s/%u", (int)host.length, host.at, redis->server.database);
    reader->problems->no_memory |= !redis->shown;
    return true;
}

static bool read_unix(struct config_reader *reader, const char *path, struct config_redis *redis)
{
    const char *query = strchr(path, '?'), *end = query ? query : path + strlen(path);
    if (query && (strncmp(query, "?db=", 4) != 0 ||
                  !read_database(span_until(query + 4, query + strlen(query)), &redis->server.database)))
        return false;
    redis->server.unix_path = unescaped(reader, span_until(path, end));
    if (path[0] != '/' || !redis->server.unix_path || strlen(redis->server.unix_path) > UNIX_PATH_BYTES_MAX)
        return false;
    redis->shown =
        arena_printf(reader->arena, "unix:%s?db=%u", redis->server.unix_path, redis->server.database);
    reader->problems->no_memory |= !redis->shown;
    return true;
}

void read_redis_url(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    struct config_redis *redis = &((struct config *)base)->redis;
    (void)key;
    bool well = false;
    if (node->kind == NODE_SCALAR && strncmp(node->text, "rediss://", 9) == 0) {
        node_problem(
            reader->problems, node,
            "rediss: TLS to Redis is not built; use redis:// in a network that you trust, or a tunnel");
        return;
    }
    if (node->kind == NODE_SCALAR && strncmp(node->text, "redis://", 8) == 0)
        well = read_tcp(reader, node->text + 8, redis);
    else if (node->kind == NODE_SCALAR && strncmp(node->text, "unix:", 5) == 0)
        well = read_unix(reader, node->text + 5, redis);
    if (!well)
        node_problem(reader->problems, node, "%s", url_expected);
}

/* The file's bytes up to the first line's end into `text`; its length, or -1 with errno set. */
static ssize_t read_first_line(const char *path, char text[PASSWORD_BYTES_MAX])
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t got = -1;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        got = read(fd, text, PASSWORD_BYTES_MAX);
    else
        errno = EINVAL;
    int problem = errno;
    close(fd);
    errno = problem;
    const char *end = got > 0 ? memchr(text, '\n', (size_t)got) : NULL;
    if (end > text && end[-1] == '\r')
        end--;
    return end ? end - text : got;
}

void read_password_file(struct config_reader *reader, const struct key *key, const struct node *node,
                        void *base)
{
    struct config_redis *redis = &((struct config *)base)->redis;
    char text[PASSWORD_BYTES_MAX];
    (void)key;
    if (node_is_null(node) || !reader_expects(reader, node, NODE_SCALAR, "the absolute path of a file"))
        return;
    if (node->text[0] != '/') {
        node_problem(reader->problems, node, "expected the absolute path of a file, got %s",
                     quote(node->text, node->length).text);
        return;
    }
    ssize_t length = read_first_line(node->text, text);
    if (length < 0)
        node_problem(reader->problems, node, "%s cannot be read: %s", quote(node->text, node->length).text,
                     strerror(errno));
    else if (length == 0 || length == PASSWORD_BYTES_MAX || memchr(text, '\0', (size_t)length))
        node_problem(reader->problems, node, "the first line of %s is no password of 1 to %d bytes",
                     quote(node->text, node->length).text, PASSWORD_BYTES_MAX - 1);
    else if (redis->server.password)
        node_problem(reader->problems, node, "the URL has a password already; write it in one place");
    else
        redis->server.password = reader_text(reader, text, (size_t)length);
    explicit_bzero(text, sizeof text);
}

void read_redis_prefix(struct config_reader *reader, const struct key *key, const struct node *node,
                       void *base)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:{}";
    struct config *config = base;
    (void)key;
    if (!reader_expects(reader, node, NODE_SCALAR, "a word such as xebec"))
        return;
    if (!node->length || node->length > PREFIX_BYTES_MAX || strspn(node->text, letters) != node->length)
        node_problem(reader->problems, node, "expected 1 to %d letters, digits and _-.:{}, got %s",
                     PREFIX_BYTES_MAX, quote(node->text, node->length).text);
    else
        config->redis.prefix = reader_text(reader, node->text, node->length);
}

/* The short form is the mapping's `url`, and the rest is at its default. */
void read_redis(struct config_reader *reader, const struct key *key, const struct node *node, void *base)
{
    if (node_is_null(node) || node_is(node, "off") || node_is(node, "false"))
        return;
    const struct config_redis *redis = &((struct config *)base)->redis;
    if (node->kind == NODE_MAP) {
        keys_read(reader, node, key->path, base);
    } else {
        keys_read(reader, NULL, key->path, base);
        read_redis_url(reader, key, node, base);
    }
    if (redis->server.user && !redis->server.password)
        node_problem(reader->problems, node,
                     "a user needs a password: user:password@ in the URL, or password_file");
}

bool config_redis_same(const struct config_redis *a, const struct config_redis *b)
{
    return texts_same(a->shown, b->shown) && texts_same(a->server.user, b->server.user) &&
           texts_same(a->server.password, b->server.password) && texts_same(a->prefix, b->prefix) &&
           a->connect_timeout_us == b->connect_timeout_us && a->command_timeout_us == b->command_timeout_us;
}
