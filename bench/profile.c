/* usage: bench_profile [--bf16] MODEL.onnx RUNS THREADS [NODES] NAME=DIMxDIM...: where a run's time
 * goes.
 *
 * Decomposes, plans and runs in memory with inputs made up from their names and shapes (floats
 * between -1 and 1, integers all 1), RUNS times, and prints the best whole run, then the sum over
 * nodes of each node's best time, by operator and for the NODES slowest nodes (30 by default). With
 * one thread all times are of that thread's processor time, which other processes on the machine
 * disturb less. Reading the clock costs up to 0.3 microseconds a node.
 */
#include "blob/blob.h"
#include "crypto/crypto.h"
#include "decompose/decompose.h"
#include "engine/engine.h"
#include "model/limits.h"
#include "topology/topology.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct profile {
    struct eml_arena arena;
    struct eml_pool *pool;
    struct eml_topology topology;
    struct eml_plan *plan;
    struct eml_bytes weights;
    struct eml_room activations;
    struct eml_tensor inputs[EML_GRAPH_IO_MAX], outputs[EML_GRAPH_IO_MAX];
    uint64_t *last, *best; /* per node */
    uint64_t (*now_ns)(void);
};

static void must(enum eml_err e, const char *what, const struct eml_why *why)
{
    if (e == EML_OK)
        return;
    (void)fprintf(stderr, "bench_profile: %s: %s: %s\n", what, eml_err_name(e),
                  why != NULL && why->rule != NULL ? why->rule : "");
    exit(eml_err_exit(e));
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t wall_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static uint64_t cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static void *alloc(struct profile *p, size_t count, size_t size)
{
    void *m = eml_arena_alloc(&p->arena, count * size, 64);
    must(m != NULL ? EML_OK : EML_E_SYSTEM, "memory", NULL);
    return m;
}

static void load(struct profile *p, const char *path, bool bf16)
{
    struct eml_onnx_model *onnx = NULL;
    struct eml_onnx_diag diag = {0};
    struct eml_check_report report = {0};
    struct eml_decomposed d;
    struct eml_why why = {0};
    const struct eml_decompose_options options = {.version = 1, .min_version = 1, .bf16 = bf16};
    must(eml_onnx_load(path, &onnx, &diag), path, &diag.why);
    enum eml_err e = eml_decompose(onnx, &options, &d, &report);
    if (report.n != 0)
        (void)!eml_check_print(&report, path, stderr);
    must(e, path, NULL);
    eml_onnx_free(onnx);
    must(eml_topology_decode(eml_buf_bytes(&d.topology), &p->arena, &p->topology, &why), path,
         &why);
    size_t room = (size_t)p->topology.blob.chunks * EML_CHUNK_BYTES;
    uint8_t *plain = alloc(p, room, 1);
    must(eml_blob_open(&p->topology.blob, eml_buf_bytes(&d.sealed), &p->arena,
                       (struct eml_room){plain, room}, &why),
         path, &why);
    p->weights = eml_bytes(plain, room);
    eml_decomposed_free(&d);
    eml_check_free(&report);
}

/* Input i, "name=1x3x224x224". */
static void make_input(struct profile *p, uint32_t i, const char *dims)
{
    struct eml_tensor *t = &p->inputs[i];
    size_t count = 1;
    t->dtype = p->topology.graph.values[p->topology.graph.inputs[i].value].dtype;
    for (char *end = NULL; *dims != '\0' && t->shape.rank < EML_RANK_MAX; dims = end) {
        t->shape.dim[t->shape.rank++] = strtoll(dims, &end, 10);
        count *= (size_t)t->shape.dim[t->shape.rank - 1];
        end += *end == 'x';
    }
    t->bytes = count * eml_dtype_bytes(t->dtype);
    uint8_t *data = alloc(p, t->bytes, 1);
    t->data = data;
    for (size_t k = 0; k < count; k++) {
        float f = (float)((k * 2654435761u >> 8) % 2001) / 1000 - 1;
        if (t->dtype == EML_DT_F32)
            memcpy(data + k * sizeof f, &f, sizeof f);
        else
            data[k * eml_dtype_bytes(t->dtype)] = 1; /* little-endian */
    }
}

static void make_inputs(struct profile *p, char **args, int n)
{
    const struct eml_graph *g = &p->topology.graph;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        struct eml_bytes name = g->inputs[i].text;
        int k = 0;
        while (k < n && (strncmp(args[k], (const char *)name.ptr, name.len) != 0 ||
                         args[k][name.len] != '='))
            k++;
        if (k == n)
            (void)fprintf(stderr, "no shape for %.*s\n", (int)name.len, (const char *)name.ptr);
        must(k < n ? EML_OK : EML_E_USAGE, "inputs", NULL);
        make_input(p, i, args[k] + name.len + 1);
    }
}

static uint64_t run(struct profile *p)
{
    struct eml_why why = {0};
    uint64_t start = p->now_ns();
    must(eml_plan_run(p->plan, p->weights, p->inputs, p->activations, p->pool, p->outputs, &why),
         "run", &why);
    return p->now_ns() - start;
}

static void measure(struct profile *p, unsigned long runs)
{
    uint64_t whole = UINT64_MAX;
    uint32_t n = p->topology.graph.n_nodes;
    memset(p->best, 0xff, n * sizeof *p->best);
    for (unsigned long i = 0; i < runs; i++) {
        eml_plan_set_profile(p->plan, (struct eml_plan_profile){NULL, p->now_ns});
        uint64_t t = run(p);
        whole = t < whole ? t : whole;
        eml_plan_set_profile(p->plan, (struct eml_plan_profile){p->last, p->now_ns});
        (void)run(p);
        for (uint32_t k = 0; k < n; k++)
            p->best[k] = p->last[k] < p->best[k] ? p->last[k] : p->best[k];
    }
    (void)printf("best run %.3f ms, %.2f GFLOP\n", (double)whole / 1e6,
                 (double)eml_plan_flops(p->plan) / 1e9);
}

static const char *name_of(enum eml_op op)
{
    const char *onnx = eml_op_info(op)->name;
    return *onnx != '\0' ? onnx : "(internal)";
}

static void print_operators(const struct profile *p)
{
    uint64_t ns[EML_OP_N] = {0}, all = 0;
    unsigned count[EML_OP_N] = {0};
    const struct eml_graph *g = &p->topology.graph;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        ns[g->nodes[i].op] += p->best[i];
        count[g->nodes[i].op] += p->best[i] != 0;
        all += p->best[i];
    }
    (void)printf("sum of nodes %.3f ms\n", (double)all / 1e6);
    for (;;) {
        size_t top = 0;
        for (size_t op = 1; op < EML_OP_N; op++)
            top = ns[op] > ns[top] ? op : top;
        if (ns[top] == 0)
            return;
        (void)printf("%8.3f ms %5.1f %% %4u %s\n", (double)ns[top] / 1e6,
                     100 * (double)ns[top] / (double)all, count[top], name_of((enum eml_op)top));
        ns[top] = 0;
    }
}

static void print_shape(const struct eml_shape *s)
{
    for (uint32_t i = 0; i < s->rank; i++)
        (void)printf("%c%lld", i == 0 ? ' ' : 'x', (long long)s->dim[i]);
}

static void print_nodes(struct profile *p, unsigned long nodes)
{
    const struct eml_graph *g = &p->topology.graph;
    for (; nodes > 0; nodes--) {
        uint32_t top = 0;
        for (uint32_t i = 1; i < g->n_nodes; i++)
            top = p->best[i] > p->best[top] ? i : top;
        if (g->n_nodes == 0 || p->best[top] == 0)
            return;
        const struct eml_node *n = &g->nodes[top];
        (void)printf("%8.3f ms  node %u %s:", (double)p->best[top] / 1e6, top, name_of(n->op));
        for (uint32_t i = 0; i < n->n_in; i++) {
            struct eml_shape s = {0};
            if (n->in[i] != EML_ABSENT)
                s = eml_plan_shape(p->plan, n->in[i]);
            print_shape(&s);
            (void)printf(",");
        }
        struct eml_shape out = eml_plan_shape(p->plan, n->out[0]);
        (void)printf(" ->");
        print_shape(&out);
        (void)printf(" act %lld\n", (long long)eml_node_int(n, EML_ATTR_ACT, 0));
        p->best[top] = 0;
    }
}

int main(int argc, char **argv)
{
    static struct profile p;
    struct eml_why why = {0};
    bool bf16 = argc > 1 && strcmp(argv[1], "--bf16") == 0;
    argc -= bf16;
    argv += bf16;
    unsigned long runs = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
    unsigned long threads = argc > 3 ? strtoul(argv[3], NULL, 10) : 0, nodes = 30;
    int first = 4;
    if (runs == 0 || threads == 0 || threads > 256) {
        (void)fprintf(
            stderr,
            "usage: bench_profile [--bf16] MODEL.onnx RUNS THREADS [NODES] NAME=DIMxDIM...\n");
        return eml_err_exit(EML_E_USAGE);
    }
    if (argc > 4 && strchr(argv[4], '=') == NULL)
        nodes = strtoul(argv[first++], NULL, 10);
    p.now_ns = threads == 1 ? cpu_ns : wall_ns;
    eml_crypto_init();
    must(eml_arena_create(&p.arena, (size_t)64 << 30), "arena", NULL);
    must(eml_pool_create((unsigned)threads, &p.pool), "threads", NULL);
    load(&p, argv[1], bf16);
    make_inputs(&p, argv + first, argc - first);
    must(eml_plan_make(&p.topology.graph, p.inputs, EML_ISA_AUTO, (unsigned)threads, NULL, &p.arena,
                       &p.plan, &why),
         "plan", &why);
    size_t room = eml_plan_activation_bytes(p.plan);
    p.activations = (struct eml_room){alloc(&p, room, 1), room};
    p.last = alloc(&p, p.topology.graph.n_nodes, sizeof *p.last);
    p.best = alloc(&p, p.topology.graph.n_nodes, sizeof *p.best);
    measure(&p, runs);
    print_operators(&p);
    print_nodes(&p, nodes);
    eml_pool_destroy(p.pool);
    (void)eml_arena_destroy(&p.arena);
    return 0;
}
