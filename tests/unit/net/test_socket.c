#include "testsupport/support.h"

#include "net/net.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/eml-net-XXXXXX";

static int64_t in_ms(int64_t ms)
{
    return eml_net_now_ms() + ms;
}

static void address_in_dir(char *out, size_t n, const char *name)
{
    (void)snprintf(out, n, "unix:%s/%s", dir, name);
}

static void talk(const char *address, int listener)
{
    int c = -1, s = -1;
    uint8_t room[4];
    size_t got;
    assert_int_equal(eml_net_connect(address, in_ms(2000), &c, NULL), EML_OK);
    assert_int_equal(eml_net_accept(listener, in_ms(2000), &s), EML_OK);
    assert_true(eml_net_is_from(s, address)); /* vsock: the address is of CID 1, as is the peer */
    assert_int_equal(eml_net_is_from(s, "vsock:3:1"), strncmp(address, "vsock:", 6) != 0);
    assert_false(eml_net_is_from(s, "nonsense"));
    assert_true((fcntl(c, F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(s, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(eml_net_send(c, EML_LIT("ping"), in_ms(2000)), EML_OK);
    assert_int_equal(eml_net_recv(s, EML_ROOM(room), in_ms(2000), &got), EML_OK);
    assert_memory_equal(room, "ping", 4);
    eml_net_close(&c);
    assert_int_equal(c, -1);
    eml_net_close(&s);
}

static void tcp_connects(void **state)
{
    (void)state;
    int l = -1;
    char address[64];
    assert_int_equal(eml_net_listen("tcp:127.0.0.1:0", &l, NULL), EML_OK);
    assert_int_not_equal(eml_net_port(l), 0);
    (void)snprintf(address, sizeof address, "tcp:127.0.0.1:%u", (unsigned)eml_net_port(l));
    talk(address, l);
    eml_net_close(&l);
    struct eml_why why = {0};
    int c = 0;
    assert_int_equal(eml_net_connect(address, in_ms(2000), &c, &why), EML_E_NET);
    assert_int_equal(c, -1);
    assert_non_null(strstr(why.rule, "nobody answers"));
}

static void vsock_connects(void **state)
{
    (void)state;
    int l = -1;
    char address[64];
    (void)snprintf(address, sizeof address, "vsock:1:%u", 20000 + (unsigned)getpid() % 20000);
    if (eml_net_listen(address, &l, NULL) != EML_OK) {
        print_message("vsock is not tested: this kernel has no vsock_loopback\n");
        skip();
    }
    talk(address, l);
    eml_net_close(&l);
    int c = 0;
    assert_int_equal(eml_net_connect(address, in_ms(2000), &c, NULL), EML_E_NET);
    assert_int_equal(c, -1);
}

static void unix_connects_and_replaces_only_a_dead_socket(void **state)
{
    (void)state;
    int l = -1, second = -1;
    char address[128];
    address_in_dir(address, sizeof address, "s");
    assert_int_equal(eml_net_listen(address, &l, NULL), EML_OK);
    assert_int_equal(eml_net_port(l), 0);
    talk(address, l);
    assert_int_equal(eml_net_listen(address, &second, NULL), EML_E_SYSTEM);
    /* The second one knocked to find out that the first one lives. */
    assert_int_equal(eml_net_accept(l, in_ms(2000), &second), EML_OK);
    eml_net_close(&second);
    talk(address, l);
    eml_net_close(&l);
    assert_int_equal(eml_net_listen(address, &l, NULL), EML_OK);
    talk(address, l);
    eml_net_close(&l);
    assert_int_equal(unlink(address + 5), 0);
}

static void a_file_in_the_way_stays(void **state)
{
    (void)state;
    char address[128];
    struct stat st;
    int fd, l = -1;
    address_in_dir(address, sizeof address, "file");
    fd = open(address + 5, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(eml_net_listen(address, &l, NULL), EML_E_SYSTEM);
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(unlink(address + 5), 0);
}

static void accept_and_wrong_uses_end(void **state)
{
    (void)state;
    int l = -1, fd = 0;
    assert_int_equal(eml_net_listen("tcp:127.0.0.1:0", &l, NULL), EML_OK);
    int64_t start = eml_net_now_ms();
    assert_int_equal(eml_net_accept(l, in_ms(20), &fd), EML_E_NET);
    assert_in_range(eml_net_now_ms() - start, 18, 5000);
    assert_int_equal(fd, -1);
    eml_net_close(&l);
    assert_int_equal(eml_net_listen("vsock-unix:/x:1", &l, NULL), EML_E_USAGE);
    assert_int_equal(eml_net_connect("vsock:any:1", in_ms(20), &fd, NULL), EML_E_USAGE);
    assert_int_equal(eml_net_connect("tcp:localhost:0", in_ms(20), &fd, NULL), EML_E_USAGE);
}

struct firecracker {
    int listener;
    const char *answer;
    char request[32];
};

static void *act_firecracker(void *arg)
{
    struct firecracker *f = arg;
    int s = -1;
    size_t got, n = 0;
    if (eml_net_accept(f->listener, in_ms(5000), &s) != EML_OK)
        return NULL;
    while (n < sizeof f->request - 1 && (n == 0 || f->request[n - 1] != '\n')) {
        if (eml_net_recv(s, (struct eml_room){(uint8_t *)f->request + n, 1}, in_ms(5000), &got) !=
            EML_OK)
            break;
        n++;
    }
    if (eml_net_send(s, eml_bytes_of_str(f->answer), in_ms(5000)) != EML_OK)
        n = 0;
    f->request[n] = '\0';
    eml_net_close(&s);
    return NULL;
}

static void firecracker_socket_is_asked_for_the_port(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum eml_err expected;
    } cases[] = {
        {"OK 1073741824\n", EML_OK},
        {"KO\n", EML_E_NET},
        {"", EML_E_NET},
        {"OK 12345678901234567890123456789012345678901234567890\n", EML_E_NET},
    };
    char path[128], address[160];
    address_in_dir(path, sizeof path, "v");
    (void)snprintf(address, sizeof address, "vsock-%s:5005", path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct firecracker f = {.listener = -1, .answer = cases[i].answer};
        pthread_t t;
        int c = -1;
        assert_int_equal(eml_net_listen(path, &f.listener, NULL), EML_OK);
        assert_int_equal(pthread_create(&t, NULL, act_firecracker, &f), 0);
        assert_int_equal(eml_net_connect(address, in_ms(3000), &c, NULL), cases[i].expected);
        assert_int_equal(pthread_join(t, NULL), 0);
        assert_string_equal(f.request, "CONNECT 5005\n");
        assert_int_equal(c >= 0, cases[i].expected == EML_OK);
        eml_net_close(&c);
        eml_net_close(&f.listener);
    }
    assert_int_equal(unlink(path + 5), 0);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_connects),
        cmocka_unit_test(vsock_connects),
        cmocka_unit_test(unix_connects_and_replaces_only_a_dead_socket),
        cmocka_unit_test(a_file_in_the_way_stays),
        cmocka_unit_test(accept_and_wrong_uses_end),
        cmocka_unit_test(firecracker_socket_is_asked_for_the_port),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
