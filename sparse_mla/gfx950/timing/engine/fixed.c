// A stand-in for memory: every access takes the same time behind the CU's address unit. For tests of the rules, and the replay.
#include "timing.h"

MemoryTime fixed_access(const Constants* k, u64* address_free, u32 cu, u64 t, u32 kind, u32 dwords, u32 lanes, u32 latency) {
  if ((kind & 7) == MEMORY_SMEM) return (MemoryTime){t, t + k->smem_hit, 1, 0};
  u64 start = t > address_free[cu] ? t : address_free[cu];
  address_free[cu] = start + address_cycles(k, dwords, lanes);
  return (MemoryTime){start, start + latency, 2, (u32)(start - t)};
}

__attribute__((weak)) u64 memory_bytes(const Constants* k) { (void)k; return 8; }
__attribute__((weak)) void memory_start(Memory* m, const Constants* k) { (void)m; (void)k; }
__attribute__((weak)) void memory_launch(Memory* m) { (void)m; }
__attribute__((weak)) MemoryTime memory_access(Memory* m, u32 cu, u64 t, u32 kind, u32 dwords, u32 lanes, const u32* lines, u32 n_lines) {
  (void)m; (void)cu; (void)kind; (void)dwords; (void)lanes; (void)lines; (void)n_lines;
  return (MemoryTime){t, t + 300, 2, 0};
}
