/* The least that a daemon can do: every line that arrives is answered by the same line.
 * Does not: read what it is asked. It is what `rally-credd` is compared with.
 * Used by: the benchmark. Usage: server SOCKET ANSWER; it says "ready" when it listens. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char answer[8192], buffer[65536];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct epoll_event events[64], event = {.events = EPOLLIN};
    if (argc != 3) return 2;
    int length = snprintf(answer, sizeof answer, "%s\n", argv[2]);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(EPOLL_CLOEXEC);
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return 1;
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    if (write(1, "ready\n", 6) != 6) return 1;
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                event.data.fd = accept4(listener, 0, 0, SOCK_CLOEXEC);
                if (event.data.fd >= 0) epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
                continue;
            }
            ssize_t got = read(fd, buffer, sizeof buffer);
            if (got <= 0 || (buffer[got - 1] == '\n' && write(fd, answer, length) != length)) close(fd);
        }
    }
}
