#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef TVMC_STATUS
#define TVMC_STATUS
enum tvmc_code {
  TVMC_OK = 0,         /* done */
  TVMC_NULL = 1,       /* a null pointer */
  TVMC_SHORT = 2,      /* a tensor shorter than its shape says */
  TVMC_MISALIGNED = 3, /* a pointer that is not aligned to 64 bytes */
  TVMC_DIMENSION = 4,  /* a dimension out of range, or a condition that does not hold */
  TVMC_OVERLAP = 5,    /* a written tensor that overlaps another */
  TVMC_MEMORY = 6,     /* no memory for scratch */
  TVMC_PROCESSOR = 7,  /* this processor cannot run the code */
  TVMC_ASSERT = 8      /* an assert of the kernel failed; tensors it writes hold anything */
};
typedef struct tvmc_status {
  enum tvmc_code code;
  const char *argument; /* the argument at fault, or empty */
  const char *text;     /* what is wrong, or empty */
} tvmc_status;
#endif
