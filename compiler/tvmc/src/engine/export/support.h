#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TVMC_SUPPORT
#define TVMC_SUPPORT
#if defined(__x86_64__) && defined(__GNUC__)
#define TVMC_CALL __attribute__((sysv_abi))
#else
#define TVMC_CALL
#endif
struct tvmc_arguments {
  void *const *buffers;
  const uint64_t *scalars;
  void *scratch;
  uint32_t *status;
  int32_t grid[4];
  void *print;
  void *log;
};
static inline tvmc_status tvmc_fail(enum tvmc_code code, const char *argument, const char *text) {
  tvmc_status status;
  status.code = code;
  status.argument = argument;
  status.text = text;
  return status;
}
/* a * b; bad where it is negative or leaves 64 bits */
static inline int64_t tvmc_multiply(int64_t a, int64_t b, int *bad) {
  if (a < 0 || b < 0 || (a > 0 && b > INT64_MAX / a)) {
    *bad = 1;
    return 0;
  }
  return a * b;
}
static inline int64_t tvmc_divide(int64_t a, int64_t b, int *bad) {
  if (b == 0 || (b == -1 && a == INT64_MIN)) {
    *bad = 1;
    return 0;
  }
  return a / b;
}
static inline int tvmc_overlap(const void *a, int64_t a_bytes, const void *b, int64_t b_bytes) {
  const uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
  return a_bytes > 0 && b_bytes > 0 && x < y + (uintptr_t)b_bytes && y < x + (uintptr_t)a_bytes;
}
static inline void *tvmc_align(void *p) { return (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63); }
static inline uint64_t tvmc_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}
#endif
