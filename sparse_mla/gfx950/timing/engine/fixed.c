// A stand-in for memory: every access takes the same time behind the CU's address unit. For tests of the rules, and the replay.
#include "timing.h"

MemoryTime fixed_access(const Constants* k, u64* address_free, u32 cu, u64 t, u32 kind, u32 dwords, u32 lanes, u32 latency) {
  if ((kind & 7) == MEMORY_SMEM) return (MemoryTime){t, t + k->smem_hit, 1, 0};
  u64 start = t > address_free[cu] ? t : address_free[cu];
  address_free[cu] = start + address_cycles(k, dwords, lanes);
  return (MemoryTime){start, start + latency, 2, (u32)(start - t)};
}
