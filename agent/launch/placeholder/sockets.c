/*
 * What /proc does not tell of sockets. Prints, one a line:
 *   socket PID FD INODE KIND   every socket of the processes; KIND is the kernel's name of its protocol: TCP, MPTCP, UNIX-STREAM ...
 *   peer INODE INODE           every UNIX socket of this network namespace that is connected, and the one at its other end
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "placeholder.h"

/* The kernel's interface, whose headers a static build has not. @see netlink(7), sock_diag(7) */
enum { SOCK_DIAG = 4, MESSAGE_ERROR = 2, MESSAGE_DONE = 3, DIAG_BY_FAMILY = 20, SHOW_PEER = 4, ATTRIBUTE_PEER = 2 };
enum { IS_REQUEST = 0x001, WANTS_ALL = 0x300, ALIGNMENT = 4 };

struct header {
    uint32_t length; /* its own included */
    uint16_t type, flags;
    uint32_t sequence, port;
};

struct unix_request {
    struct header header;
    uint8_t family, protocol;
    uint16_t pad;
    uint32_t states, inode, show, cookie[2];
};

struct unix_answer {
    struct header header;
    uint8_t family, type, state, pad;
    uint32_t inode, cookie[2];
};

struct attribute {
    uint16_t length, type; /* its own 4 bytes included */
};

static size_t aligned(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int failed(const char *doing) {
    fprintf(stderr, "podferry-sleep: cannot %s: %s\n", doing, strerror(errno));
    return 1;
}

/* A process or a socket that is gone meanwhile is passed over. */
static void print_sockets(const char *pid) {
    char path[512], kind[64];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat status;
        snprintf(path, sizeof path, "/proc/%s/fd/%s", pid, entry->d_name);
        if (entry->d_name[0] == '.' || stat(path, &status) || !S_ISSOCK(status.st_mode)) continue;
        ssize_t n = getxattr(path, "system.sockprotoname", kind, sizeof kind - 1);
        kind[n > 0 ? n : 0] = '\0';
        printf("socket %s %s %llu %s\n", pid, entry->d_name, (unsigned long long)status.st_ino, n > 0 ? kind : "unknown");
    }
    closedir(dir);
}

static void print_peer(const char *message, size_t length) {
    struct unix_answer socket;
    struct attribute attribute;
    uint32_t peer;
    if (length < sizeof socket) return;
    memcpy(&socket, message, sizeof socket);
    for (size_t at = sizeof socket; at + sizeof attribute <= length; at += aligned(attribute.length)) {
        memcpy(&attribute, message + at, sizeof attribute);
        if (attribute.length < sizeof attribute || attribute.length > length - at) return;
        if (attribute.type != ATTRIBUTE_PEER || attribute.length < sizeof attribute + sizeof peer) continue;
        memcpy(&peer, message + at + sizeof attribute, sizeof peer);
        if (peer != 0) printf("peer %u %u\n", socket.inode, peer);
    }
}

/* Returns 1 at the end of the list, 0 when more follows, -1 on failure. */
static int read_answer(int netlink) {
    static char answer[32768];
    struct header header;
    ssize_t got = recv(netlink, answer, sizeof answer, 0);
    if (got < 0) return errno == EINTR ? 0 : -1;
    for (size_t at = 0; at + sizeof header <= (size_t)got; at += aligned(header.length)) {
        memcpy(&header, answer + at, sizeof header);
        if (header.length < sizeof header || header.length > (size_t)got - at) break;
        if (header.type == MESSAGE_DONE) return 1;
        if (header.type == MESSAGE_ERROR) {
            int32_t fault = 0;
            if (header.length >= sizeof header + sizeof fault) memcpy(&fault, answer + at + sizeof header, sizeof fault);
            errno = -fault;
            return -1;
        }
        if (header.type == DIAG_BY_FAMILY) print_peer(answer + at, header.length);
    }
    return 0;
}

static int print_peers(void) {
    const struct unix_request request = {
        .header = {.length = sizeof request, .type = DIAG_BY_FAMILY, .flags = IS_REQUEST | WANTS_ALL},
        .family = AF_UNIX,
        .states = ~0u,
        .show = SHOW_PEER,
    };
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, SOCK_DIAG);
    if (netlink < 0) return failed("ask the kernel for UNIX sockets");
    int end = send(netlink, &request, sizeof request, 0) < 0 ? -1 : 0;
    while (end == 0) end = read_answer(netlink);
    if (end < 0) failed("list UNIX sockets");
    close(netlink);
    return end < 0;
}

int run_sockets(int count, char **pids) {
    for (int i = 0; i < count; i++) print_sockets(pids[i]);
    return print_peers();
}
