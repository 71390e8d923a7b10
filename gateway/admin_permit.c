/* admin_permit: the token, compared in constant time; or where the question comes from. */
#include "admin_permit.h"

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { TOKEN_BYTES_MAX = 4096 };

/* The first line of the file. -1: it cannot be read, or is empty. */
static ssize_t read_token(const char *path, char token[TOKEN_BYTES_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, token, TOKEN_BYTES_MAX - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return -1;
    token[n] = '\0';
    n = (ssize_t)strcspn(token, "\r\n");
    return n ? n : -1;
}

static bool bears_token(const struct http_message *message, const char *token, size_t length)
{
    const struct http_header *header = http_message_header(message, "authorization");
    return header && header->value_length == strlen("Bearer ") + length &&
           strncasecmp(header->value, "Bearer ", strlen("Bearer ")) == 0 &&
           sodium_memcmp(header->value + strlen("Bearer "), token, length) == 0;
}

static bool is_here(const char *client)
{
    return !strncmp(client, "127.", 4) || !strncmp(client, "::ffff:127.", 11) || !strcmp(client, "::1") ||
           !strcmp(client, "unix");
}

enum gw_status admin_permit(const char *token_file, const struct exchange *exchange, struct gw_err *err)
{
    char token[TOKEN_BYTES_MAX];
    if (!token_file) {
        if (is_here(exchange->client) && !http_message_header(&exchange->message, "origin"))
            return GW_OK;
        return gw_err_set(err, GW_E_UNAUTHENTICATED,
                          "changes from elsewhere need admin_token_file in the configuration");
    }
    ssize_t length = read_token(token_file, token);
    bool permitted = length > 0 && bears_token(&exchange->message, token, (size_t)length);
    sodium_memzero(token, sizeof token);
    if (permitted)
        return GW_OK;
    return length > 0
               ? gw_err_set(err, GW_E_UNAUTHENTICATED, "send Authorization: Bearer and the admin token")
               : gw_err_set(err, GW_E_UNAUTHENTICATED, "%s has no token", token_file);
}
