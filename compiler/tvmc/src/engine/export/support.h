#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#elif defined(__x86_64__) || defined(_M_X64)
#error "code of tvmc for x86-64 is called by the System V convention: use GCC or Clang"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TVMC_SUPPORT
#define TVMC_SUPPORT
#if defined(__x86_64__)
#define TVMC_CALL __attribute__((sysv_abi))
/* Whether a bit of a register (0 to 3: eax, ebx, ecx, edx) of a leaf of cpuid is set. */
static inline int tvmc_cpuid(unsigned leaf, unsigned part, int at, int bit) {
  unsigned registers[4] = {0, 0, 0, 0};
  return __get_cpuid_count(leaf, part, registers, registers + 1, registers + 2, registers + 3) &&
         (registers[at] >> bit & 1u);
}
/* Whether the system saves all these parts of the processor's state for us: bits of XCR0. */
static inline int tvmc_saved(unsigned parts) {
  unsigned low, high;
  if (!tvmc_cpuid(1, 0, 2, 27)) return 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & parts) == parts;
}
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
/* Arithmetic of sizes and conditions: where 64 bits cannot hold the result, bad becomes 1. */
static inline int64_t tvmc_refuse(int *bad) {
  *bad = 1;
  return 0;
}
static inline int64_t tvmc_add(int64_t a, int64_t b, int *bad) {
  if (b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b) return tvmc_refuse(bad);
  return a + b;
}
static inline int64_t tvmc_subtract(int64_t a, int64_t b, int *bad) {
  if (b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b) return tvmc_refuse(bad);
  return a - b;
}
static inline int64_t tvmc_divide(int64_t a, int64_t b, int *bad) {
  if (b == 0 || (b == -1 && a == INT64_MIN)) return tvmc_refuse(bad);
  return a / b;
}
static inline int64_t tvmc_multiply(int64_t a, int64_t b, int *bad) {
  const int64_t product = (int64_t)((uint64_t)a * (uint64_t)b);
  if (b == 0) return 0;
  if ((b == -1 && a == INT64_MIN) || (a == -1 && b == INT64_MIN) || product / b != a) return tvmc_refuse(bad);
  return product;
}
static inline int64_t tvmc_remainder(int64_t a, int64_t b, int *bad) { return a - b * tvmc_divide(a, b, bad); }
static inline int64_t tvmc_divide_up(int64_t a, int64_t b, int *bad) {
  return tvmc_divide(tvmc_add(a, tvmc_subtract(b, 1, bad), bad), b, bad);
}
static inline int64_t tvmc_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t tvmc_max(int64_t a, int64_t b) { return a > b ? a : b; }
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
