/* The least that a credential helper can do: request on standard input, one round trip, answer on standard output.
 * Does not: check anything, or have a case for trouble. It is what `rally-cred get` is compared with.
 * Used by: the benchmark. Usage: client SOCKET */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static size_t read_until(int fd, char *buffer, size_t room, const char *end) {
    size_t held = 0;
    buffer[0] = 0;
    while (!strstr(buffer, end)) {
        ssize_t count = read(fd, buffer + held, room - held - 1);
        if (count <= 0) break;
        held += count;
        buffer[held] = 0;
    }
    return held;
}

/* The value that follows `key` up to the first of `ends`. */
static const char *value(const char *text, const char *key, const char *ends, int *length) {
    const char *found = strstr(text, key);
    if (!found) _exit(1);
    found += strlen(key);
    *length = strcspn(found, ends);
    return found;
}

int main(int argc, char **argv) {
    static char request[4096], line[4096], answer[8192], output[8192];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int protocol_length, host_length, user_length, token_length, end_length;
    if (argc != 2) return 2;
    read_until(0, request, sizeof request, "\n\n");
    const char *protocol = value(request, "protocol=", "\n", &protocol_length);
    const char *host = value(request, "host=", "\n", &host_length);
    int length = snprintf(line, sizeof line, "{\"v\":1,\"op\":\"get\",\"protocol\":\"%.*s\",\"host\":\"%.*s\"}\n",
                          protocol_length, protocol, host_length, host);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) return 6;
    if (write(fd, line, length) != length || !read_until(fd, answer, sizeof answer, "\n")) return 6;
    const char *user = value(answer, "\"username\":\"", "\"", &user_length);
    const char *token = value(answer, "\"token\":\"", "\"", &token_length);
    const char *end = value(answer, "\"expires_at\":", ",}", &end_length);
    length = snprintf(output, sizeof output, "username=%.*s\npassword=%.*s\npassword_expiry_utc=%.*s\n", user_length, user,
                      token_length, token, end_length, end);
    return write(1, output, length) != length;
}
