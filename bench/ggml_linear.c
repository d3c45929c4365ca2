// One linear layer y = x w^T in ggml, timed: what `bench/linear.py` compares with.
//
//   ggml_linear TYPE N K M THREADS REPACK COPIES REPETITIONS     {"us": median microseconds of one product}
//   ggml_linear roof THREADS                                     {"gops": most 8-bit operations per ns, or null}
//
// Weights are N rows of K in TYPE (ggml's name for it), 64 different rows of normal numbers over and over, COPIES of the matrix one after
// another so that they exceed the caches; x has M rows of f32. REPACK 1 puts weights where ggml repacks them for this machine, and
// fails where it has no such order for the type; 0 leaves them as stored. Errors go to stderr, with exit code 1.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"
#if defined(__AVX512VNNI__)
#include <immintrin.h>
#endif

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    fprintf(stderr, "ggml_linear: %s\n", what);
    exit(1);
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float normal(void) {
    float u = (rand() + 1.0f) / (RAND_MAX + 2.0f), v = rand() / (float)RAND_MAX;
    return sqrtf(-2 * logf(u)) * cosf(6.2831853f * v);
}

static int roof(int threads) {
#if defined(__AVX512VNNI__)
    double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        __m512i s[10], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(2);
        for (int i = 0; i < 10; i++) s[i] = _mm512_set1_epi32(i);
        double start = now();
        // Many rounds in one piece of assembler: between two the compiler stores all sums.
        for (long n = 0; n < 1000000; n++) {
            __asm__ volatile(".rept 40\n vpdpbusd %10,%11,%0\n vpdpbusd %10,%11,%1\n vpdpbusd %10,%11,%2\n vpdpbusd %10,%11,%3\n vpdpbusd %10,%11,%4\n"
                             "vpdpbusd %10,%11,%5\n vpdpbusd %10,%11,%6\n vpdpbusd %10,%11,%7\n vpdpbusd %10,%11,%8\n vpdpbusd %10,%11,%9\n .endr"
                             : "+v"(s[0]), "+v"(s[1]), "+v"(s[2]), "+v"(s[3]), "+v"(s[4]), "+v"(s[5]), "+v"(s[6]), "+v"(s[7]), "+v"(s[8]), "+v"(s[9])
                             : "v"(a), "v"(b));
        }
        total += 40e6 * 10 * 128 / (now() - start) / 1e9;
    }
    printf("{\"gops\": %.1f}\n", total);
#else
    (void)threads;
    printf("{\"gops\": null}\n");
#endif
    return 0;
}

int main(int count, char **args) {
    if (count == 3 && !strcmp(args[1], "roof")) return roof(atoi(args[2]));
    if (count != 9) fail("takes TYPE N K M THREADS REPACK COPIES REPETITIONS, or roof THREADS");
    long n = atol(args[2]), k = atol(args[3]), m = atol(args[4]);
    int threads = atoi(args[5]), repack = atoi(args[6]), copies = atoi(args[7]), repetitions = atoi(args[8]);
    enum ggml_type type = GGML_TYPE_COUNT;
    for (int t = 0; t < GGML_TYPE_COUNT; t++) {
        const char *name = ggml_type_name((enum ggml_type)t);
        if (name && !strcasecmp(name, args[1])) type = (enum ggml_type)t;
    }
    if (type == GGML_TYPE_COUNT) fail("no such type");
    if (n < 1 || k < 1 || m < 1 || copies < 1 || repetitions < 1 || k % ggml_blck_size(type)) fail("no such shape");

    ggml_backend_t cpu = ggml_backend_cpu_init();
    ggml_backend_cpu_set_n_threads(cpu, threads);
    ggml_backend_buffer_type_t place = ggml_backend_cpu_buffer_type();
    if (repack) {
        ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu));
        ggml_backend_dev_get_extra_bufts_t extra =
            (ggml_backend_dev_get_extra_bufts_t)ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
        ggml_backend_buffer_type_t *list = extra ? extra(ggml_backend_get_device(cpu)) : NULL;
        place = NULL;
        for (; list && *list; list++) {
            if (strstr(ggml_backend_buft_name(*list), "REPACK")) place = *list;
        }
        if (!place) fail("this build has no repacked buffers");
    }

    struct ggml_init_params params = {ggml_tensor_overhead() * (4 * copies + 64) + ggml_graph_overhead(), NULL, true};
    struct ggml_context *stored = ggml_init(params), *rest = ggml_init(params);
    struct ggml_tensor **w = malloc(copies * sizeof *w);
    for (int i = 0; i < copies; i++) w[i] = ggml_new_tensor_2d(stored, type, k, n);
    ggml_backend_buffer_t weights = ggml_backend_alloc_ctx_tensors_from_buft(stored, place);
    if (!weights) fail("no memory");
    // Without an order of its own for a type, the buffer says so by leaving the tensor without one.
    if (repack && !w[0]->extra) fail("this type is not repacked here");
    ggml_backend_buffer_set_usage(weights, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);

    size_t row = ggml_row_size(type, k);
    float *numbers = malloc(64 * k * sizeof *numbers), *ones = malloc(k * sizeof *ones);
    for (long i = 0; i < 64 * k; i++) numbers[i] = normal();
    for (long i = 0; i < k; i++) ones[i] = 1;
    char *bytes = malloc(row * n), *rows = malloc(row * 64);
    ggml_quantize_chunk(type, numbers, rows, 0, 64, k, ones);
    for (long r = 0; r < n; r++) memcpy(bytes + r * row, rows + r % 64 * row, row);
    for (int i = 0; i < copies; i++) ggml_backend_tensor_set(w[i], bytes, 0, row * n);

    struct ggml_tensor *x = ggml_new_tensor_2d(rest, GGML_TYPE_F32, k, m);
    struct ggml_cgraph *graph = ggml_new_graph(rest);
    for (int i = 0; i < copies; i++) ggml_build_forward_expand(graph, ggml_mul_mat(rest, w[i], x));
    if (!ggml_backend_alloc_ctx_tensors(rest, cpu)) fail("no memory");
    float *values = malloc(m * k * sizeof *values);
    for (long i = 0; i < m * k; i++) values[i] = numbers[i % (64 * k)];
    ggml_backend_tensor_set(x, values, 0, m * k * sizeof *values);

    double *times = malloc(repetitions * sizeof *times);
    ggml_backend_graph_compute(cpu, graph);
    for (int i = 0; i < repetitions; i++) {
        double start = now();
        if (ggml_backend_graph_compute(cpu, graph) != GGML_STATUS_SUCCESS) fail("the graph does not run");
        times[i] = (now() - start) / copies * 1e6;
    }
    qsort(times, repetitions, sizeof *times, by_size);
    printf("{\"us\": %.2f}\n", times[repetitions / 2]);
    return 0;
}
