/* Trees on malloc, or with -DBOEHM on Boehm's collector. See README.md beside this file. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef BOEHM
#define GC_THREADS
#include <gc.h>
#define NEW(bytes) GC_MALLOC(bytes)
#define NEW_LEAF(bytes) GC_MALLOC_ATOMIC(bytes)
#define DROP(tree) ((void)(tree))
#else
#define NEW(bytes) malloc(bytes)
#define NEW_LEAF(bytes) malloc(bytes)
#define DROP(tree) drop(tree)
#endif

enum { NODES = 256, BUCKETS = 1024, LONGS = 1 << 16, LONG_NS = 50000, THREADS = 2 };

typedef struct Node {
    struct Node *left, *right;
    int32_t i, j;
} Node;

typedef struct {
    uint64_t first, last, end;
    uint32_t nodes, longs, lost;
    uint32_t buckets[BUCKETS];
    uint64_t start[LONGS], length[LONGS];
} Gaps;

static Gaps gaps[THREADS];
static __thread Gaps *mine;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int bucket(uint64_t ns)
{
    int log = 63 - __builtin_clzll(ns | 1);
    int bits = log >= 4 ? (int)(ns >> (log - 4)) & 15 : (int)(ns << (4 - log)) & 15;
    return log * 16 + bits;
}

static void begin(int thread)
{
    mine = &gaps[thread];
    mine->first = mine->last = now();
}

static void tick(void)
{
    if (++mine->nodes % NODES)
        return;
    uint64_t t = now(), gap = t - mine->last;
    mine->buckets[bucket(gap)]++;
    if (gap >= LONG_NS) {
        if (mine->longs < LONGS) {
            mine->start[mine->longs] = mine->last - mine->first;
            mine->length[mine->longs++] = gap;
        } else {
            mine->lost++;
        }
    }
    mine->last = t;
}

static Node *node(Node *left, Node *right)
{
    Node *n = NEW(sizeof *n);
    if (!n) {
        fputs("out of memory\n", stderr);
        exit(3);
    }
    n->left = left;
    n->right = right;
    n->i = 1;
    n->j = 0;
    tick();
    return n;
}

#ifndef BOEHM
static void drop(Node *n)
{
    if (!n)
        return;
    drop(n->left);
    drop(n->right);
    free(n);
}
#endif

static Node *bottom_up(int depth)
{
    if (depth == 0)
        return node(NULL, NULL);
    Node *left = bottom_up(depth - 1);
    Node *right = bottom_up(depth - 1);
    return node(left, right);
}

static void top_down(int depth, Node *n)
{
    if (depth == 0)
        return;
    n->left = node(NULL, NULL);
    n->right = node(NULL, NULL);
    top_down(depth - 1, n->left);
    top_down(depth - 1, n->right);
}

static uint64_t sum(const Node *n)
{
    if (!n)
        return 0;
    tick();
    return (uint64_t)n->i + sum(n->left) + sum(n->right);
}

static uint64_t gcbench(int depth)
{
    enum { ARRAY = 500000, LEAST = 4, MOST = 16, GROWS_FROM = 21 };
    uint64_t result = 0;
    Node *long_lived = node(NULL, NULL);
    top_down(depth, long_lived);
    double *array = NEW_LEAF(ARRAY * sizeof *array);
    for (int i = 0; i < ARRAY; i++)
        array[i] = 1.0 / (i + 1);
    for (int d = LEAST; d <= MOST; d += 2) {
        int times = ((2 << 18) / ((2 << d) - 1) * 2) << (depth > GROWS_FROM ? depth - GROWS_FROM : 0);
        for (int i = 0; i < times; i++) {
            Node *tree = node(NULL, NULL);
            top_down(d, tree);
            result += tree->i;
            DROP(tree);
        }
        for (int i = 0; i < times; i++) {
            Node *tree = bottom_up(d);
            result += tree->i;
            DROP(tree);
        }
    }
    result += sum(long_lived) + (array[1000] == 1.0 / 1001);
    DROP(long_lived);
    return result;
}

static uint64_t binary(int depth)
{
    uint64_t result = 0;
    Node *long_lived = bottom_up(depth);
    for (int d = 4; d <= depth; d += 4) {
        int times = 1 << (depth - d + 2);
        for (int i = 0; i < times; i++) {
            Node *tree = bottom_up(d);
            result += sum(tree);
            DROP(tree);
        }
    }
    result += sum(long_lived);
    DROP(long_lived);
    return result;
}

typedef struct {
    int thread, depth;
    uint64_t result;
} Work;

static void *work(void *argument)
{
    Work *w = argument;
    begin(w->thread);
    w->result = binary(w->depth);
    mine->end = now();
    return NULL;
}

#ifdef BOEHM
static uint64_t stopped, pauses[1 << 16];
static unsigned pause_count;

static void on_event(GC_EventType event)
{
    if (event == GC_EVENT_PRE_STOP_WORLD)
        stopped = now();
    else if (event == GC_EVENT_POST_START_WORLD && pause_count < sizeof pauses / sizeof *pauses)
        pauses[pause_count++] = now() - stopped;
}
#endif

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
#ifdef BOEHM
    GC_INIT();
    /* Tables of numbers are no roots. */
    GC_exclude_static_roots(gaps, gaps + THREADS);
    GC_exclude_static_roots(pauses, pauses + sizeof pauses / sizeof *pauses);
    GC_set_on_collection_event(on_event);
#endif
    int depth = atoi(argv[2]), threads = 1;
    uint64_t result;
    if (!strcmp(argv[1], "threads")) {
        pthread_t ids[THREADS];
        Work works[THREADS];
        threads = THREADS;
        result = 0;
        for (int t = 0; t < THREADS; t++) {
            works[t] = (Work){ t, depth - 1, 0 };
            pthread_create(&ids[t], NULL, work, &works[t]);
        }
        for (int t = 0; t < THREADS; t++) {
            pthread_join(ids[t], NULL);
            result += works[t].result;
        }
    } else {
        begin(0);
        result = strcmp(argv[1], "gcbench") ? binary(depth) : gcbench(depth);
        mine->end = now();
    }
    printf("result %llu\nthreads %d\n", (unsigned long long)result, threads);
    for (int t = 0; t < threads; t++) {
        Gaps *g = &gaps[t];
        for (int b = 0; b < BUCKETS; b++)
            if (g->buckets[b])
                printf("gap %d %u\n", b, g->buckets[b]);
        for (unsigned n = 0; n < g->longs; n++)
            printf("long %d %llu %llu\n", t, (unsigned long long)g->start[n],
                   (unsigned long long)g->length[n]);
        printf("lost %u\nrun %d %llu\n", g->lost, t, (unsigned long long)(g->end - g->first));
    }
#ifdef BOEHM
    for (unsigned n = 0; n < pause_count; n++)
        printf("pause %llu\n", (unsigned long long)pauses[n]);
#endif
    return 0;
}
