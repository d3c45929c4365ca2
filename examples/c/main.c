/* y = x w^T with 3-bit weights, by two kernels that tvmc compiled: `quantise` stores x as bytes with scales, `linear_q3`
 * multiplies them with the weights in integers. The result is compared with plain loops. */

#include <math.h>
#include <stdio.h>

#define QUANTISE_IMPLEMENTATION
#include "quantise.h"
#define LINEAR_Q3_IMPLEMENTATION
#include "linear_q3.h"

enum { M = 3, N = 100, K = 256, GROUP = 32, X_GROUP_BYTES = 36, W_GROUP_BYTES = 14 };

/* Memory whose start is a multiple of 64, never given back. */
static void *aligned(size_t bytes) {
  unsigned char *p = malloc(bytes + 64);
  if (!p) exit(1);
  return p + (64 - (uintptr_t)p % 64);
}

static int check(const char *kernel, tvmc_status status) {
  if (status.code == TVMC_OK) return 0;
  fprintf(stderr, "%s: argument `%s`: %s\n", kernel, status.argument, status.text);
  return 1;
}

/* Weight k of a row: d * (2 q - 7), where d = 2^-4 as f16 and q are three bits. */
static double weight(const unsigned char *row, int k) {
  const unsigned char *group = row + k / GROUP * W_GROUP_BYTES;
  int bit = 16 + k % GROUP * 3, code = 0;
  for (int i = 0; i < 3; i++) code |= (group[(bit + i) / 8] >> (bit + i) % 8 & 1) << i;
  return 0.0625 * (2 * code - 7);
}

int main(void) {
  const size_t x_bytes = M * K * sizeof(float), y_bytes = M * N * sizeof(float);
  const size_t q_bytes = M * (K / GROUP) * X_GROUP_BYTES, w_bytes = N * (K / GROUP) * W_GROUP_BYTES;
  float *x = aligned(x_bytes), *y = aligned(y_bytes);
  unsigned char *q = aligned(q_bytes), *w = aligned(w_bytes);

  for (int i = 0; i < M * K; i++) x[i] = sinf(0.1f * (float)i);
  for (size_t i = 0; i < w_bytes; i++) w[i] = (unsigned char)(i * 37 + i / 7);
  for (int g = 0; g < N * (K / GROUP); g++) {
    w[g * W_GROUP_BYTES] = 0x00; /* 0x2c00 is 2^-4 */
    w[g * W_GROUP_BYTES + 1] = 0x2c;
  }

  if (check("quantise", quantise(M, x, x_bytes, q, q_bytes))) return 1;
  if (check("linear_q3", linear_q3(M, N, q, q_bytes, w, w_bytes, y, y_bytes))) return 1;

  double worst = 0, most = 0;
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      double sum = 0;
      for (int k = 0; k < K; k++) sum += x[m * K + k] * weight(w + n * (K / GROUP) * W_GROUP_BYTES, k);
      worst = fmax(worst, fabs(sum - y[m * N + n]));
      most = fmax(most, fabs(sum));
    }
  printf("%d sums, largest %.2f, off by at most %.3f\n", M * N, most, worst);

  /* What does not fit is refused before anything is written. */
  tvmc_status status = linear_q3(M, N, q, q_bytes, w, w_bytes - 1, y, y_bytes);
  printf("short weights: code %d, argument `%s`: %s\n", (int)status.code, status.argument, status.text);
  status = linear_q3(M, N, q, q_bytes, w, w_bytes, (float *)(void *)q, y_bytes);
  printf("y over x: code %d, argument `%s`: %s\n", (int)status.code, status.argument, status.text);
  return worst < 0.02 * most && status.code == TVMC_OVERLAP ? 0 : 1;
}
