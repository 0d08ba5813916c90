/* The enclave as its host and its clients see it: the development program as processes of its own,
 * this test as host and client. usage: test_enclave ENCLAVED_DEV DEVPKI */
#define _GNU_SOURCE
#include "live_enclave.h"

static void one_request(void **state)
{
    (void)state;
    assert_works();
    /* The sealed bytes are cached: the second one asks the host no more. */
    unsigned gets = w.gets;
    assert_works();
    assert_int_equal(w.gets, gets);
}

static void a_session_of_several(void **state)
{
    (void)state;
    struct client c = open_session();
    w.does = GIVE;
    for (int64_t rows = 1; rows < 4; rows++) {
        ask(&c, EML_MODE_REQUEST, true, "x", rows);
        expect_result(&c, rows);
    }
    ask(&c, EML_MODE_REQUEST, false, "x", 3); /* no model is left to ask */
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    c = open_session();
    for (int64_t rows = 1; rows < 8; rows++) {
        ask(&c, EML_MODE_SESSION, rows == 1, "x", rows);
        expect_result(&c, rows);
    }
    /* An input that does not fit leaves the model as it is. */
    ask(&c, EML_MODE_SESSION, false, "z", 1);
    expect_error(&c, EML_E_INPUT);
    ask(&c, EML_MODE_SESSION, false, "x", 3);
    expect_result(&c, 3);
    say(&c, EML_MSG_END, (struct eml_bytes){0});
    expect_end(&c);
    close_session(&c);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    struct client c = open_session();
    say(&c, EML_MSG_REQUEST, EML_LIT("nonsense"));
    expect_error(&c, EML_E_INPUT);
    expect_end(&c);
    close_session(&c);
    c = open_session();
    ask(&c, EML_MODE_SESSION, false, "x", 1); /* no topology yet */
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    c = open_session();
    ask(&c, EML_MODE_REQUEST, true, "wrong name", 1);
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    c = open_session();
    say(&c, EML_MSG_RESULT, EML_LIT("a result from a client"));
    expect_error(&c, EML_E_INPUT);
    close_session(&c);
    assert_works();
}

/* A model whose weights nobody has fetched yet. */
static void fresh_model(void)
{
    eml_buf_free(&w.object);
    eml_buf_free(&w.topology);
    make_model();
}

static void weights_that_are_not_right(void **state)
{
    (void)state;
    static const struct {
        enum service does;
        enum eml_err class;
    } cases[] = {{MISSING, EML_E_INPUT},
                 {SHORT, EML_E_INPUT},
                 {LONG, EML_E_INPUT},
                 {CUT, EML_E_NET},
                 {BIT, EML_E_AUTH}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fresh_model();
        struct client c = open_session();
        w.does = cases[i].does;
        ask(&c, EML_MODE_REQUEST, true, "x", 1);
        expect_error(&c, cases[i].class);
        expect_end(&c);
        close_session(&c);
        /* Nothing bad is kept: as soon as the host has the right bytes, it works. */
        assert_works();
    }
}

static void no_host_for_a_while(void **state)
{
    (void)state;
    fresh_model();
    struct client c = open_session();
    char moved[128];
    (void)snprintf(moved, sizeof moved, "%.60s/moved", w.dir);
    assert_int_equal(rename(w.service + 5, moved), 0);
    ask(&c, EML_MODE_REQUEST, true, "x", 1);
    expect_error(&c, EML_E_NET);
    close_session(&c);
    assert_int_equal(rename(moved, w.service + 5), 0);
    assert_works();
}

/* The host keeps records again. Those that wait come first, and the enclave dials only so often. */
static void keep_again(void)
{
    enum eml_msg_type type = EML_MSG_ERROR;
    w.keeps = KEEP;
    for (int64_t end = soon(); type != EML_MSG_RECEIPT && eml_net_now_ms() < end;) {
        struct client c = open_session();
        struct eml_buf b = {0};
        ask(&c, EML_MODE_REQUEST, true, "x", 1);
        type = hear(&c, &b);
        eml_buf_free(&b);
        close_session(&c);
        (void)usleep(100000);
    }
    assert_int_equal(type, EML_MSG_RECEIPT);
}

/* Whoever cannot be recorded is not served, and told so; then all goes on. */
static void no_room_for_the_log(void **state)
{
    (void)state;
    struct client c = open_session();
    w.keeps = FULL;
    ask(&c, EML_MODE_REQUEST, true, "x", 1);
    expect_error(&c, EML_E_REFUSED);
    close_session(&c);
    keep_again();
    assert_works();
}

/* A result does not leave before it is on the host's disk that it did. */
static void no_result_without_its_record(void **state)
{
    (void)state;
    struct client c = open_session();
    w.keeps = SILENT;
    ask(&c, EML_MODE_REQUEST, true, "x", 1);
    expect_error(&c, EML_E_NET);
    close_session(&c);
    keep_again();
    assert_works();
}

static void nonsense_before_the_channel(void **state)
{
    (void)state;
    static const char *const bad[] = {"00000000", "ffffffff", "00000003616263", "0000"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eml_buf b = eml_test_hex(bad[i]);
        uint8_t rest[1];
        size_t n = 1;
        int fd = dial();
        assert_int_equal(eml_net_send(fd, eml_buf_bytes(&b), soon()), EML_OK);
        (void)shutdown(fd, SHUT_WR);
        assert_true(eml_net_recv_some(fd, EML_ROOM(rest), soon(), &n) != EML_OK || n == 0);
        eml_net_close(&fd);
        eml_buf_free(&b);
    }
    assert_works();
}

static void an_altered_record_ends_the_session(void **state)
{
    (void)state;
    struct client c = open_session();
    struct eml_buf out = {0};
    uint8_t rest[1];
    size_t n = 1;
    assert_int_equal(eml_channel_seal(c.ch, EML_MSG_REQUEST, EML_LIT("x"), &out), EML_OK);
    out.ptr[out.len - 1] ^= 1;
    assert_int_equal(eml_net_send(c.fd, eml_buf_bytes(&out), soon()), EML_OK);
    /* Not even an error: the channel is not trusted any more. */
    (void)shutdown(c.fd, SHUT_WR);
    assert_true(eml_net_recv_some(c.fd, EML_ROOM(rest), soon(), &n) != EML_OK || n == 0);
    eml_buf_free(&out);
    close_session(&c);
    assert_works();
}

static void sessions_over_the_limit_wait(void **state)
{
    (void)state;
    struct client open[3];
    wait_for_children(0);
    for (size_t i = 0; i < 3; i++)
        open[i] = open_session();
    struct eml_buf hello = {0}, evidence = {0};
    struct eml_channel *ch;
    int fd = dial();
    assert_int_equal(eml_channel_client_hello(&ch, &hello), EML_OK);
    assert_int_equal(eml_net_send(fd, eml_buf_bytes(&hello), soon()), EML_OK);
    assert_int_equal(
        eml_net_recv_frame(fd, EML_EVIDENCE_BYTES_MAX, eml_net_now_ms() + 300, &evidence),
        EML_E_NET);
    close_session(&open[1]);
    assert_int_equal(eml_net_recv_frame(fd, EML_EVIDENCE_BYTES_MAX, soon(), &evidence), EML_OK);
    eml_net_close(&fd);
    eml_channel_free(ch);
    eml_buf_free(&hello);
    eml_buf_free(&evidence);
    close_session(&open[0]);
    close_session(&open[2]);
    wait_for_children(0);
}

static void a_killed_worker_concerns_nobody_else(void **state)
{
    (void)state;
    pid_t pids[8];
    uint8_t rest[1];
    size_t n = 1;
    wait_for_children(0);
    struct client a = open_session();
    assert_int_equal(children(pids, 8), 1);
    struct client b = open_session();
    assert_int_equal(kill(pids[0], SIGKILL), 0);
    assert_true(eml_net_recv_some(a.fd, EML_ROOM(rest), soon(), &n) != EML_OK || n == 0);
    w.does = GIVE;
    ask(&b, EML_MODE_REQUEST, true, "x", 1);
    expect_result(&b, 1);
    close_session(&a);
    close_session(&b);
    assert_works();
}

/* What an open worker may still do, as the kernel tells. */
static void a_worker_has_nothing_but_its_two_sockets(void **state)
{
    (void)state;
    pid_t pids[8];
    char path[64], line[256];
    bool filtered = false, no_new = false;
    wait_for_children(0);
    struct client c = open_session();
    assert_int_equal(children(pids, 8), 1);
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pids[0]);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        filtered = filtered || strcmp(line, "Seccomp:\t2\n") == 0;
        no_new = no_new || strcmp(line, "NoNewPrivs:\t1\n") == 0;
        if (geteuid() == 0 && strncmp(line, "Uid:", 4) == 0)
            assert_string_equal(line, "Uid:\t65534\t65534\t65534\t65534\n");
    }
    (void)fclose(f);
    assert_true(filtered && no_new);
    size_t sockets = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pids[0]);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char target[256] = {0};
        if (e->d_name[0] == '.')
            continue;
        assert_true(readlinkat(dirfd(d), e->d_name, target, sizeof target - 1) > 0);
        if (strncmp(target, "socket:", 7) == 0)
            sockets++;
        else
            assert_string_equal(target, "/dev/null");
    }
    (void)closedir(d);
    assert_int_equal(sockets, 2);
    close_session(&c);
}

/* The mappings of a process that lives; only root may see those of one that cannot be dumped. */
static void assert_no_map_is_writable_and_executable(pid_t pid)
{
    char path[64], line[512], may[5];
    size_t maps = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *f = fopen(path, "r");
    if (f == NULL && geteuid() != 0)
        return;
    assert_non_null(f);
    for (; fgets(line, sizeof line, f) != NULL; maps++) {
        assert_int_equal(sscanf(line, "%*s %4s", may), 1);
        assert_false(may[1] == 'w' && may[2] == 'x');
    }
    (void)fclose(f);
    assert_true(maps > 10 || geteuid() != 0);
}

static void no_memory_is_writable_and_executable(void **state)
{
    (void)state;
    pid_t pids[8];
    wait_for_children(0);
    struct client c = open_session();
    assert_int_equal(children(pids, 8), 1);
    w.does = GIVE;
    ask(&c, EML_MODE_SESSION, true, "x", 1); /* the model is assembled, and was run */
    expect_result(&c, 1);
    assert_no_map_is_writable_and_executable(w.pid);
    assert_no_map_is_writable_and_executable(pids[0]);
    close_session(&c);
}

static void a_request_that_takes_too_long_is_ended(void **state)
{
    (void)state;
    struct client c = open_session();
    struct eml_buf out = {0};
    uint8_t rest[64];
    size_t n = 1;
    int64_t start = eml_net_now_ms();
    /* The first record of a large message, and then silence. */
    assert_int_equal(eml_channel_seal_begin(c.ch, EML_MSG_REQUEST, 1 << 20, &out), EML_OK);
    static const uint8_t part[200000];
    assert_int_equal(eml_channel_seal_part(c.ch, EML_BYTES(part), &out), EML_OK);
    assert_int_equal(eml_net_send(c.fd, eml_buf_bytes(&out), soon()), EML_OK);
    while (n > 0 && eml_net_recv_some(c.fd, EML_ROOM(rest), soon(), &n) == EML_OK)
        ;
    assert_in_range(eml_net_now_ms() - start, 4500, 12000);
    eml_buf_free(&out);
    close_session(&c);
    assert_works();
}

/* Whoever attests and then says nothing does not keep the place of others. */
static void an_idle_session_is_ended(void **state)
{
    (void)state;
    struct client before = open_session(), between = open_session();
    uint8_t rest[64];
    ask(&between, EML_MODE_SESSION, true, "x", 1);
    expect_result(&between, 1);
    int64_t start = eml_net_now_ms();
    for (struct client *c = &before; c != NULL; c = c == &before ? &between : NULL)
        for (size_t n = 1; n > 0 && eml_net_recv_some(c->fd, EML_ROOM(rest), soon(), &n) == EML_OK;)
            ;
    assert_in_range(eml_net_now_ms() - start, 2000, 8000);
    close_session(&before);
    close_session(&between);
    wait_for_children(0);
    assert_works();
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    enclaved = argv[1];
    devpki = argv[2];
    eml_crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_request),
        cmocka_unit_test(a_session_of_several),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(weights_that_are_not_right),
        cmocka_unit_test(no_host_for_a_while),
        cmocka_unit_test(no_room_for_the_log),
        cmocka_unit_test(no_result_without_its_record),
        cmocka_unit_test(nonsense_before_the_channel),
        cmocka_unit_test(an_altered_record_ends_the_session),
        cmocka_unit_test(sessions_over_the_limit_wait),
        cmocka_unit_test(a_killed_worker_concerns_nobody_else),
        cmocka_unit_test(a_worker_has_nothing_but_its_two_sockets),
        cmocka_unit_test(no_memory_is_writable_and_executable),
        cmocka_unit_test(a_request_that_takes_too_long_is_ended),
        cmocka_unit_test(an_idle_session_is_ended),
    };
    return cmocka_run_group_tests(tests, up, down);
}
