/* The job B1 by hand, as a limit for the library: layer after layer, 8 neurons to a vector register, in threads.

   gcc -O3 -march=native -ffast-math -pthread b1.c -o b1 -lm
   ./b1 FILE spiking|density THREADS        (see run.py, which writes FILE)

   Each line on standard input runs the job once and answers with its seconds; at the end of the input the increments
   that the last layer hands on go to FILE.out. Little-endian, float32.

   The law is that of the library, with centred steps: f is the mean of both ends of a step, the age is one step in the step after a
   spike, and at the end of the dead time the hazard counts half.

   spiking: one exponential variate for each spike; the neuron fires in the step in which its summed hazard exceeds it.
   density: exact ages of 8 neurons at a time, which stay in the first-level cache; age zero moves, the bins stay.
   1 - exp(-x) is the library's polynomial, with its doublings where some x of the 8 neurons exceeds 1. */

#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef float v8 __attribute__((vector_size(32)));
typedef int i8 __attribute__((vector_size(32)));
typedef unsigned u8 __attribute__((vector_size(32)));

enum { P = 10, OUT = 16, DEAD = 3, MEMORY = 199, BLOCK = 64 }; /* steps in which no neuron fires; the oldest of the ages 0, 1, ... */

static struct { int neurons, depth, steps; float dt, tau_m, rate, amplitude, tau; } job;
static float *encoder, *decoder, *bias, *external;     /* (depth, neurons, P), (..., OUT), (depth, neurons), (steps, P) */
static float *filtered, *handed_on, ratio[MEMORY + 1]; /* (steps + 1, P), (steps, P), by age */
static int threads, spiking;

static v8 all(float x) { return (v8){x, x, x, x, x, x, x, x}; }
static v8 chosen(i8 mask, v8 a, v8 b) { return (v8)(((i8)a & mask) | ((i8)b & ~mask)); }

static inline v8 exponential(v8 x) {
    v8 y = x * 1.44269504f;
    v8 whole = _mm256_round_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    v8 z = y - whole;
    v8 p = z * 1.33335581e-3f + 9.61812911e-3f;
    p = p * z + 5.55041087e-2f, p = p * z + 2.40226507e-1f, p = p * z + 6.93147181e-1f, p = p * z + 1.0f;
    return (v8)((i8)p + (i8)_mm256_slli_epi32(_mm256_cvtps_epi32(whole), 23));
}

static inline v8 small(v8 x) { /* 1 - exp(-x) on [0, 1.1] */
    v8 p = x * 0.0001238745408f - 0.001285773566f;
    p = p * x + 0.008259406892f, p = p * x - 0.04163896337f, p = p * x + 0.1666616779f;
    p = p * x - 0.4999996614f, p = p * x + 0.9999999962f;
    return p * x;
}

static inline v8 any_size(v8 x) {
    v8 p = small(_mm256_min_ps(x, all(17.4f)) * (1.0f / 16));
    for (int k = 0; k < 4; k++) p = p + p * (1.0f - p);
    return p;
}

static inline v8 variate(u8 *state) { /* Exp(1), by an xorshift in each lane */
    u8 s = *state;
    s ^= s << 13, s ^= s >> 17, s ^= s << 5;
    *state = s;
    v8 u = (v8)((s >> 9) | 0x3f800000u) - (1.0f - 0x1p-24f); /* in (0, 1) */
    i8 bits = (i8)u;
    v8 power = __builtin_convertvector((bits >> 23) - 127, v8);
    v8 m = (v8)((bits & 0x7fffff) | 0x3f800000) - 1.0f; /* log(1 + m) to 10^-5 */
    v8 log = m * (0.99949556f + m * (-0.49190896f + m * (0.28947478f + m * (-0.13606275f + m * 0.03215845f))));
    return -(power * 0.69314718f + log);
}

/* Rows of 8 neurons, the latents apart. */
static void columns(const float *matrix, int stride, int first, v8 *column) {
    for (int k = 0; k < P; k++)
        for (int lane = 0; lane < 8; lane++) {
            int neuron = first + lane < job.neurons ? first + lane : job.neurons - 1;
            ((float *)&column[k])[lane] = matrix[neuron * stride + k];
        }
}

static inline __attribute__((always_inline)) void potentials(int step, int count, const v8 *row, v8 rest, v8 *h) {
    for (int t = 0; t < count; t++) h[t] = rest + row[0] * filtered[(step + t) * P];
    for (int k = 1; k < P; k++)
        for (int t = 0; t < count; t++) h[t] += row[k] * filtered[(step + t) * P + k];
}

static void spikes(const float *own_encoder, const float *own_decoder, const float *own_bias, int first, float *sum) {
    v8 row[P], rest, h[DEAD + 2], left, eta, start;
    columns(own_encoder, P, first, row);
    for (int lane = 0; lane < 8; lane++)
        ((float *)&rest)[lane] = first + lane < job.neurons ? own_bias[first + lane] : -1e2f;
    u8 state;
    for (int lane = 0; lane < 8; lane++)
        ((unsigned *)&state)[lane] = (unsigned)(own_bias - bias + first + lane + 1) * 2654435761u ^ 0x9e3779b9u;
    for (int warm = 0; warm < 8; warm++) variate(&state);
    const v8 oldest = all(-job.amplitude) * exponential(all(-(MEMORY + 1) * job.dt / job.tau));
    const v8 youngest = all(-job.amplitude) * exponential(all(-job.dt / job.tau));
    const v8 fades = exponential(all(-job.dt / job.tau)), scale = all(0.5f * job.dt * job.rate);
    i8 silent = (i8){0} - 1;
    left = variate(&state), eta = oldest;
    potentials(0, 1, row, rest, &start);
    v8 before = exponential(start);
    for (int step = 0; step < job.steps; step += DEAD + 1) {
        potentials(step + 1, DEAD + 1, row, rest, h); /* there is room for as many behind the last step */
        for (int t = 0; t <= DEAD; t++) {
            v8 after = exponential(h[t]), x = scale * (before + after) * exponential(eta);
            before = after;
            x = chosen(silent == 0, all(0.5f) * x, x);
            left -= chosen(silent > 0, all(0), x);
            eta = _mm256_min_ps(eta * fades, oldest), silent -= 1;
            int fired = _mm256_movemask_ps(left);
            if (fired) {
                i8 who = left < 0.0f;
                left = chosen(who, variate(&state), left);
                eta = chosen(who, youngest, eta);
                silent = (who & DEAD) | (silent & ~who);
                for (; fired; fired &= fired - 1) {
                    const float *weights = own_decoder + (first + __builtin_ctz(fired)) * OUT;
                    float *to = sum + (step + t) * OUT;
                    for (int k = 0; k < OUT; k += 8)
                        _mm256_storeu_ps(to + k, _mm256_loadu_ps(to + k) + _mm256_loadu_ps(weights + k));
                }
            }
        }
    }
}

static inline __attribute__((always_inline)) v8 fire(v8 *bins, v8 x, int is_small) {
    v8 sum = all(0);
    for (int age = DEAD; age < MEMORY; age++) {
        v8 fired = bins[age] * (is_small ? small(x * ratio[age]) : any_size(x * ratio[age]));
        sum += fired, bins[age] -= fired;
    }
    return sum;
}

static void densities(const float *own_encoder, const float *own_decoder, const float *own_bias, int first, float *sum) {
    v8 row[P], weights[P], rest, h, last = all(1), buffer[MEMORY + BLOCK], *bins = buffer + BLOCK;
    memset(buffer, 0, sizeof buffer);
    columns(own_encoder, P, first, row), columns(own_decoder, OUT, first, weights);
    for (int lane = 0; lane < 8; lane++) {
        int exists = first + lane < job.neurons;
        ((float *)&rest)[lane] = exists ? own_bias[first + lane] : 0.0f;
        for (int k = 0; k < P && !exists; k++) ((float *)&weights[k])[lane] = 0.0f;
    }
    potentials(0, 1, row, rest, &h);
    v8 before = exponential(h);
    for (int step = 0; step < job.steps; step++) {
        potentials(step + 1, 1, row, rest, &h);
        v8 after = exponential(h), x = 0.5f * job.dt * job.rate * (before + after);
        before = after;
        int is_small = !_mm256_movemask_ps((v8)(x * ratio[MEMORY] > 1.0f));
        v8 activity = is_small ? fire(bins, x, 1) : fire(bins, x, 0);
        v8 fired = last * any_size(x * ratio[MEMORY]);
        activity += fired;
        last = last - fired + bins[MEMORY - 1];
        /* All grow older by one step: the place in front of the youngest is that of the newborn. */
        if (bins == buffer) bins = memmove(buffer + BLOCK, buffer, (MEMORY - 1) * sizeof(v8));
        bins--;
        bins[0] = activity;
        float *to = sum + step * OUT;
        for (int k = 0; k < P; k++) {
            v8 w = weights[k] * activity;
            to[k] += w[0] + w[1] + w[2] + w[3] + w[4] + w[5] + w[6] + w[7];
        }
    }
}

struct part { int layer, first, last; float *sum; };

static void *run_part(void *argument) {
    struct part *part = argument;
    size_t layer = (size_t)part->layer * job.neurons;
    memset(part->sum, 0, sizeof(float) * OUT * (job.steps + DEAD + 1));
    for (int first = part->first; first < part->last; first += 8)
        (spiking ? spikes : densities)(encoder + layer * P, decoder + layer * OUT, bias + layer, first, part->sum);
    return NULL;
}

static void run_layer(int layer, const float *increments, float **sums) {
    const float decay = expf(-job.dt / job.tau_m), scale = (1.0f - decay) / job.dt;
    float y[P] = {0};
    for (int step = 0; step < job.steps; step++)
        for (int k = 0; k < P; k++) {
            filtered[step * P + k] = y[k]; /* between the steps; the last one behind them */
            y[k] = decay * y[k] + scale * increments[step * P + k];
            filtered[(step + 1) * P + k] = y[k];
        }
    pthread_t ids[64];
    struct part parts[64];
    int vectors = (job.neurons + 7) / 8;
    for (int i = 0; i < threads; i++) {
        parts[i] = (struct part){layer, 8 * (vectors * i / threads), 8 * (vectors * (i + 1) / threads), sums[i]};
        pthread_create(&ids[i], NULL, run_part, &parts[i]);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    for (int step = 0; step < job.steps; step++)
        for (int k = 0; k < P; k++) {
            float sum = 0;
            for (int i = 0; i < threads; i++) sum += sums[i][step * OUT + k];
            handed_on[step * P + k] = sum / job.neurons;
        }
}

static float *floats(FILE *file, size_t count) {
    float *numbers = calloc(count, sizeof(float));
    if (file && fread(numbers, sizeof(float), count, file) != count) exit(1);
    return numbers;
}

static float *in_rows(float *matrix, size_t rows) { /* of OUT numbers instead of P */
    float *wider = calloc(rows * OUT, sizeof(float));
    for (size_t row = 0; row < rows; row++) memcpy(wider + row * OUT, matrix + row * P, P * sizeof(float));
    free(matrix);
    return wider;
}

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "usage: b1 FILE spiking|density THREADS\n"), 2;
    FILE *file = fopen(arguments[1], "rb");
    if (!file || fread(&job, sizeof job, 1, file) != 1) return perror(arguments[1]), 1;
    spiking = !strcmp(arguments[2], "spiking"), threads = atoi(arguments[3]);
    size_t all_neurons = (size_t)job.depth * job.neurons, path = (size_t)job.steps * P;
    encoder = floats(file, all_neurons * P), decoder = in_rows(floats(file, all_neurons * P), all_neurons);
    bias = floats(file, all_neurons), external = floats(file, path);
    filtered = floats(NULL, path + (DEAD + 2) * P), handed_on = floats(NULL, path);
    fclose(file);
    float *sums[64];
    for (int i = 0; i < threads; i++) sums[i] = floats(NULL, (size_t)(job.steps + DEAD + 1) * OUT);
    for (int age = 0; age <= MEMORY; age++) ratio[age] = (age == DEAD ? 0.5f : 1.0f) * expf(-job.amplitude * expf(-(age + 1) * job.dt / job.tau));
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        struct timespec began, ended;
        clock_gettime(CLOCK_MONOTONIC, &began);
        for (int layer = 0; layer < job.depth; layer++) run_layer(layer, layer ? handed_on : external, sums);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        printf("%.6f\n", ended.tv_sec - began.tv_sec + 1e-9 * (ended.tv_nsec - began.tv_nsec));
        fflush(stdout);
    }
    char name[4096];
    snprintf(name, sizeof name, "%s.out", arguments[1]);
    file = fopen(name, "wb");
    return !file || fwrite(handed_on, sizeof(float), path, file) != path || fclose(file);
}
