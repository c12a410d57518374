/* Dispatch and combine by MPI_Alltoallv, with the packing that xds bench xccl uses: a token goes once to each rank that has one of
 * its experts, each expert's row comes back, and the rows are summed in order of k in single precision.
 * mpicc -O3 -march=native alltoallv.c -o alltoallv; mpirun -n 2 alltoallv TOKENS HIDDEN TOPK EXPERTS ROUNDS
 * prints the medians in microseconds: dispatch, combine, both. */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int rank, ranks, tokens, hidden, topk, experts, rounds;
static uint64_t state;

static uint32_t draw(void)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state >> 33);
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, rounds, sizeof *values, rising);
    return values[rounds / 2] * 1e6;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc != 6) return fprintf(stderr, "usage: alltoallv TOKENS HIDDEN TOPK EXPERTS ROUNDS\n"), 1;
    tokens = atoi(argv[1]), hidden = atoi(argv[2]), topk = atoi(argv[3]), experts = atoi(argv[4]), rounds = atoi(argv[5]);
    state = 1 + rank;
    size_t row = (size_t)hidden * 2;
    int per = experts / ranks;

    int *slots = malloc(sizeof(int) * tokens * topk), *all = malloc(sizeof(int) * experts);
    for (int e = 0; e < experts; e++) all[e] = e;
    for (int t = 0; t < tokens; t++)
        for (int k = 0; k < topk; k++) {
            int other = k + draw() % (experts - k), slot = all[other];
            all[other] = all[k], all[k] = slot, slots[t * topk + k] = slot;
        }
    float *gates = malloc(sizeof(float) * tokens * topk), *combined = malloc(sizeof(float) * tokens * hidden);
    for (int i = 0; i < tokens * topk; i++) gates[i] = 1.0f / topk;

    char *rows = malloc(row * tokens), *packed = malloc(row * tokens * ranks), *received = malloc(row * tokens * ranks);
    char *outputs = malloc(row * tokens * ranks * topk), *answers = malloc(row * tokens * ranks * topk), *returned = malloc(row * tokens * topk);
    int *ids = malloc(sizeof(int) * tokens * topk * ranks), *received_ids = malloc(sizeof(int) * tokens * topk * ranks);
    const char **place = malloc(sizeof *place * tokens * topk);
    for (size_t i = 0; i < row * tokens / 2; i++) ((uint16_t *)rows)[i] = 0x3F80;
    for (size_t i = 0; i < row * tokens * ranks * topk / 2; i++) ((uint16_t *)outputs)[i] = 0x3F80;
    int n[4][64], start[4][64], pairs_out[64], pairs_in[64], counts[64], arrived[64];
    double *there = malloc(sizeof(double) * rounds), *back = malloc(sizeof(double) * rounds), *both = malloc(sizeof(double) * rounds);

    for (int round = -rounds / 4; round < rounds; round++) {
        double begin = MPI_Wtime();
        /* dispatch: pack, counts, rows and slots */
        size_t used = 0;
        for (int r = 0; r < ranks; r++) {
            counts[r] = pairs_in[r] = 0;
            start[0][r] = used * row, start[1][r] = used * topk * sizeof(int);
            for (int t = 0; t < tokens; t++) {
                int wanted = 0;
                for (int k = 0; k < topk; k++) wanted += slots[t * topk + k] / per == r;
                if (!wanted) continue;
                for (int k = 0; k < topk; k++) {
                    int slot = slots[t * topk + k];
                    ids[used * topk + k] = slot / per == r ? slot % per : -1;
                }
                memcpy(packed + used * row, rows + t * row, row);
                used++, counts[r]++, pairs_in[r] += wanted;
            }
            n[0][r] = counts[r] * row, n[1][r] = counts[r] * topk * sizeof(int);
        }
        MPI_Alltoall(counts, 1, MPI_INT, arrived, 1, MPI_INT, MPI_COMM_WORLD);
        int total = 0;
        for (int r = 0; r < ranks; r++) {
            n[2][r] = arrived[r] * row, n[3][r] = arrived[r] * topk * sizeof(int);
            start[2][r] = total * row, start[3][r] = total * topk * sizeof(int);
            total += arrived[r];
        }
        MPI_Alltoallv(ids, n[1], start[1], MPI_BYTE, received_ids, n[3], start[3], MPI_BYTE, MPI_COMM_WORLD);
        MPI_Alltoallv(packed, n[0], start[0], MPI_BYTE, received, n[2], start[2], MPI_BYTE, MPI_COMM_WORLD);
        double middle = MPI_Wtime();
        /* combine: one row for each (token, expert) */
        size_t filled = 0;
        for (int r = 0, first = 0; r < ranks; first += arrived[r++]) {
            size_t before = filled;
            for (int p = first * topk; p < (first + arrived[r]) * topk; p++)
                if (received_ids[p] >= 0) memcpy(answers + filled++ * row, outputs + p * row, row);
            n[0][r] = (filled - before) * row, start[0][r] = before * row;
        }
        size_t expected = 0;
        for (int r = 0; r < ranks; r++) {
            n[1][r] = pairs_in[r] * row, start[1][r] = expected * row, pairs_out[r] = expected;
            expected += pairs_in[r];
        }
        MPI_Alltoallv(answers, n[0], start[0], MPI_BYTE, returned, n[1], start[1], MPI_BYTE, MPI_COMM_WORLD);
        for (int i = 0; i < tokens * topk; i++) place[i] = returned + pairs_out[slots[i] / per]++ * row;
        for (int t = 0; t < tokens; t++)
            for (int i = 0; i < hidden; i += 64) {
                float sums[64] = { 0 };
                int width = hidden - i < 64 ? hidden - i : 64;
                for (int k = 0; k < topk; k++) {
                    const uint16_t *values = (const uint16_t *)place[t * topk + k] + i;
                    float gate = gates[t * topk + k];
                    for (int j = 0; j < width; j++) {
                        union { uint32_t bits; float value; } single = { (uint32_t)values[j] << 16 };
                        sums[j] = __builtin_fmaf(gate, single.value, sums[j]);
                    }
                }
                memcpy(combined + (size_t)t * hidden + i, sums, width * sizeof(float));
            }
        double end = MPI_Wtime();
        if (round >= 0) there[round] = middle - begin, back[round] = end - middle, both[round] = end - begin;
    }
    if (combined[0] < 0.99f || combined[0] > 1.01f) return fprintf(stderr, "wrong sum %f\n", combined[0]), 1;
    if (rank == 0) printf("%.1f %.1f %.1f\n", median(there), median(back), median(both));
    MPI_Finalize();
    return 0;
}
