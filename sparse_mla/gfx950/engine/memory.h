// Handler bodies for memory and cross-lane instructions. `o` is the operation, `w` the wave; operands stand in text order.
#pragma once
#include "lanes.h"

#define NEXT return o + 1
#define V(off, lane) AT(uv, w, off)[lane]

// Global addresses: a VGPR pair, or (SGPR pair + VGPR) when operand S is not `off`, plus a signed immediate.
INLINE u64 global_address(const Op* o, Wave* w, u32 vaddr, u32 saddr, u32 lane) {
  u64 a = saddr ? get_M(w, saddr) + V(vaddr, lane) : V(vaddr, lane) | (u64)V(vaddr + 4 * LANES, lane) << 32;
  return a + (u64)o->imm;
}

// T is the element in memory, N how many of them; anything narrower than a dword is extended by C's own rule.
#define GLOBAL_LOAD(T, N)                                                              \
  EACH_LANE(w, {                                                                       \
    u64 a = global_address(o, w, o->o[1], o->o[2], lane);                              \
    const u8* p = host_address(w, a, sizeof(T) * N);                                   \
    if (UNLIKELY(!p)) return fault(w, o, FAULT_GLOBAL, lane, a, sizeof(T) * N);        \
    T x[N];                                                                            \
    __builtin_memcpy(x, p, sizeof x);                                                  \
    for (u32 k = 0; k < N; ++k) V(o->o[0] + 4 * LANES * k, lane) = (u32)(i32)x[k];     \
  });                                                                                  \
  NEXT
#define GLOBAL_STORE(T, N, shift)                                                        \
  EACH_LANE(w, {                                                                       \
    u64 a = global_address(o, w, o->o[0], o->o[2], lane);                              \
    u8* p = host_address(w, a, sizeof(T) * N);                                         \
    if (UNLIKELY(!p)) return fault(w, o, FAULT_GLOBAL, lane, a, sizeof(T) * N);        \
    T x[N];                                                                            \
    for (u32 k = 0; k < N; ++k) x[k] = (T)(V(o->o[1] + 4 * LANES * k, lane) >> shift); \
    __builtin_memcpy(p, x, sizeof x);                                                  \
  });                                                                                  \
  NEXT

// Loads into half a register: the other half keeps what it held.
#define HALF(old, x, shift) (((old) & ~(0xffffu << (shift))) | ((u32)(x) & 0xffffu) << (shift))
#define GLOBAL_LOAD_D16(T, shift)                                                      \
  EACH_LANE(w, {                                                                       \
    u64 a = global_address(o, w, o->o[1], o->o[2], lane);                              \
    const u8* p = host_address(w, a, sizeof(T));                                       \
    if (UNLIKELY(!p)) return fault(w, o, FAULT_GLOBAL, lane, a, sizeof(T));            \
    T x;                                                                               \
    __builtin_memcpy(&x, p, sizeof x);                                                 \
    V(o->o[0], lane) = HALF(V(o->o[0], lane), (i32)x, shift);                          \
  });                                                                                  \
  NEXT


#define SMEM_LOAD(N)                                                                   \
  u64 a = get_M(w, o->o[1]) + (o->o[2] ? AT(u32, w, o->o[2] & ~1u) : 0) + (u64)o->imm; \
  a &= ~3ull;                                                                          \
  const u8* p = host_address(w, a, 4 * N);                                             \
  if (UNLIKELY(!p)) return fault(w, o, FAULT_GLOBAL, 0, a, 4 * N);                     \
  __builtin_memcpy((u8*)w + (o->o[0] & ~1u), p, 4 * N);                                \
  NEXT

// LDS: a byte address a lane plus an unsigned immediate.
#define LDS_AT(va, offset, T, N)                                                          \
  u64 a = (u64)V(va, lane) + (u64)(offset);                                               \
  if (UNLIKELY(a + sizeof(T) * N > w->lds_bytes)) return fault(w, o, FAULT_LDS, lane, a, sizeof(T) * N); \
  u8* p = w->lds + a
#define DS_READ(T, N)                                                                  \
  EACH_LANE(w, {                                                                       \
    LDS_AT(o->o[1], o->imm, T, N);                                                     \
    T x[N];                                                                            \
    __builtin_memcpy(x, p, sizeof x);                                                  \
    for (u32 k = 0; k < N; ++k) V(o->o[0] + 4 * LANES * k, lane) = (u32)(i32)x[k];     \
  });                                                                                  \
  NEXT
#define DS_READ_D16(T, shift)                                                          \
  EACH_LANE(w, {                                                                       \
    LDS_AT(o->o[1], o->imm, T, 1);                                                     \
    T x;                                                                               \
    __builtin_memcpy(&x, p, sizeof x);                                                 \
    V(o->o[0], lane) = HALF(V(o->o[0], lane), (i32)x, shift);                          \
  });                                                                                  \
  NEXT
#define DS_WRITE(T, N, shift)                                                          \
  EACH_LANE(w, {                                                                       \
    LDS_AT(o->o[0], o->imm, T, N);                                                     \
    T x[N];                                                                            \
    for (u32 k = 0; k < N; ++k) x[k] = (T)(V(o->o[1] + 4 * LANES * k, lane) >> shift); \
    __builtin_memcpy(p, x, sizeof x);                                                  \
  });                                                                                  \
  NEXT
// Two elements of N dwords, their offsets counted in elements (times UNIT for the st64 forms).
#define DS_READ2(N, UNIT)                                                              \
  EACH_LANE(w, {                                                                       \
    u32 x[2 * N];                                                                      \
    { LDS_AT(o->o[1], o->imm * 4 * N * UNIT, u32, N); __builtin_memcpy(x, p, 4 * N); } \
    { LDS_AT(o->o[1], o->aux * 4 * N * UNIT, u32, N); __builtin_memcpy(x + N, p, 4 * N); } \
    for (u32 k = 0; k < 2 * N; ++k) V(o->o[0] + 4 * LANES * k, lane) = x[k];           \
  });                                                                                  \
  NEXT
#define DS_WRITE2(N, UNIT)                                                             \
  EACH_LANE(w, {                                                                       \
    u32 x[N];                                                                          \
    for (u32 k = 0; k < N; ++k) x[k] = V(o->o[1] + 4 * LANES * k, lane);               \
    { LDS_AT(o->o[0], o->imm * 4 * N * UNIT, u32, N); __builtin_memcpy(p, x, 4 * N); } \
    for (u32 k = 0; k < N; ++k) x[k] = V(o->o[2] + 4 * LANES * k, lane);               \
    { LDS_AT(o->o[0], o->aux * 4 * N * UNIT, u32, N); __builtin_memcpy(p, x, 4 * N); } \
  });                                                                                  \
  NEXT
// Lane exchange through the LDS crossbar: an inactive source lane gives 0.
#define DS_BPERMUTE                                                                    \
  uv data = get_u(w, o->o[2]);                                                         \
  u64 e = exec_of(w);                                                                  \
  uv r;                                                                                \
  for (u32 lane = 0; lane < LANES; ++lane) {                                           \
    u32 s = ((V(o->o[1], lane) + (u32)o->imm) >> 2) & 63;                              \
    r[lane] = e >> s & 1 ? data[s] : 0;                                                \
  }                                                                                    \
  put_u(w, o->o[0], r);                                                                \
  NEXT

// Swap ROWS of W lanes: row 1 of dst with row 0 of src, row 3 of dst with row 2 of src, ...
#define PERMLANE_SWAP(W)                                                               \
  u64 e = exec_of(w);                                                                  \
  for (u32 lane = 0; lane < LANES; ++lane)                                             \
    if (!(lane & W)) {                                                                 \
      u32 s = V(o->o[1], lane), d = V(o->o[0], lane + W);                              \
      if (e >> (lane + W) & 1) V(o->o[0], lane + W) = s;                               \
      if (e >> lane & 1) V(o->o[1], lane) = d;                                         \
    }                                                                                  \
  NEXT

#define BRANCH(condition) return (condition) ? o->target : o + 1
#define BARRIER w->state = AT_BARRIER; w->resume = o + 1; return 0
#define END_PROGRAM w->state = ENDED; return 0
// A basic block begins: counted once for all its instructions, whose number the budget loses.
#define BLOCK                                                                          \
  ++w->counts[o->imm];                                                                 \
  if (UNLIKELY((w->budget -= o->aux) < 0)) return fault(w, o, FAULT_BUDGET, 0, 0, 0);  \
  NEXT
