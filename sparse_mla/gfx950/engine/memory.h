// Handler bodies for memory and cross-lane instructions. `o` is the operation, `w` the wave; operands stand in text order.
#pragma once
#include "lanes.h"

#define GO(op) do { const Op* go_ = (op); __attribute__((musttail)) return go_->run(go_, w); } while (0)
#define NEXT GO(o + 1)
#define V(off, lane) AT(u32, w, (off) + 4 * (lane))

// Four lanes of four dwords: what lies lane by lane in memory lies register by register in the wave.
typedef VEC(u32, 4) quad;
INLINE void transpose(quad r[4]) {
  quad a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  quad c = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  r[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  r[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  r[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  r[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

// N elements of type T at PTR(lane) to or from N registers, for every active lane. Anything narrower than a dword is extended
// by C's own rule on the way in, and taken from bit `shift` on the way out.
#define GATHER(T, N, dst, PTR)                                                                       \
  u32* to = &V(dst, 0); /* a local: stores to registers must not make the compiler reload operands */ \
  if (N == 4 && exec_of(w) == ~0ull)                                                                 \
    for (u32 lane = 0; lane < LANES; lane += 4) {                                                    \
      quad r[4];                                                                                     \
      for (u32 k = 0; k < 4; ++k) __builtin_memcpy(&r[k], PTR(lane + k), 16);                        \
      transpose(r);                                                                                  \
      for (u32 k = 0; k < 4; ++k) __builtin_memcpy(to + LANES * k + lane, &r[k], 16);                \
    }                                                                                                \
  else                                                                                               \
    EACH_LANE(w, {                                                                                   \
      T x[N];                                                                                        \
      __builtin_memcpy(x, PTR(lane), sizeof x);                                                      \
      for (u32 k = 0; k < N; ++k) to[LANES * k + lane] = (u32)(i32)x[k];                             \
    });                                                                                              \
  NEXT
#define SCATTER(T, N, src, shift, PTR)                                                               \
  const u32* from = &V(src, 0);                                                                      \
  if (N == 4 && exec_of(w) == ~0ull)                                                                 \
    for (u32 lane = 0; lane < LANES; lane += 4) {                                                    \
      quad r[4];                                                                                     \
      for (u32 k = 0; k < 4; ++k) __builtin_memcpy(&r[k], from + LANES * k + lane, 16);              \
      transpose(r);                                                                                  \
      for (u32 k = 0; k < 4; ++k) __builtin_memcpy(PTR(lane + k), &r[k], 16);                        \
    }                                                                                                \
  else                                                                                               \
    EACH_LANE(w, {                                                                                   \
      T x[N];                                                                                        \
      for (u32 k = 0; k < N; ++k) x[k] = (T)(from[LANES * k + lane] >> shift);                       \
      __builtin_memcpy(PTR(lane), x, sizeof x);                                                      \
    });                                                                                              \
  NEXT
// Into half a register: the other half keeps what it held.
#define GATHER_D16(T, dst, shift, PTR)                                                               \
  u32* to = &V(dst, 0);                                                                              \
  EACH_LANE(w, {                                                                                     \
    T x;                                                                                             \
    __builtin_memcpy(&x, PTR(lane), sizeof x);                                                       \
    to[lane] = (to[lane] & ~(0xffffu << shift)) | ((u32)(i32)x & 0xffffu) << shift;                  \
  });                                                                                                \
  NEXT

// Host pointers of the active lanes' global addresses: a VGPR pair, or (SGPR pair + VGPR) where `saddr` is given, plus a signed
// immediate. Returns the first lane whose access leaves every buffer, LANES when there is none.
u32 find_pointers(Wave* w, const Uv* address, u64 size, u8** pointers);
INLINE u32 global_pointers(Wave* w, const Op* o, u32 vaddr, u32 saddr, u64 size, u8** pointers, u64* bad) {
  Uv a = saddr ? get_M(w, saddr) + to_U(AT(uv, w, vaddr)) : get_U(w, vaddr);
  a += (u64)o->imm;
  for (u32 tries = 0; tries < 2; ++tries) {   // the buffer hit last, then that of the first active lane
    const Range* r = w->range;
    Uv off = a - r->base;
    u64 outside = exec_of(w) & ~mask_bits(to_i(off < r->size) & to_i(r->size - off >= size));
    *(Uv*)pointers = off + (u64)r->host;
    if (!outside) return LANES;
    if (!tries) host_address(w, a[__builtin_ctzll(exec_of(w))], size);
  }
  u32 lane = find_pointers(w, &a, size, pointers);   // by pointer: without AVX-512 there is no ABI for such a vector
  if (UNLIKELY(lane < LANES)) *bad = a[lane];
  return lane;
}
#define GLOBAL_POINTERS(vaddr, saddr, size)                                                          \
  u8* pointers[LANES] __attribute__((aligned(64)));                                                  \
  u64 bad;                                                                                           \
  u32 out = global_pointers(w, o, vaddr, saddr, size, pointers, &bad);                               \
  if (UNLIKELY(out < LANES)) return fault(w, o, FAULT_GLOBAL, out, bad, size)
#define GLOBAL_AT(lane) pointers[lane]
#define GLOBAL_LOAD(T, N) GLOBAL_POINTERS(o->o[1], o->o[2], sizeof(T) * N); GATHER(T, N, o->o[0], GLOBAL_AT)
#define GLOBAL_LOAD_D16(T, shift) GLOBAL_POINTERS(o->o[1], o->o[2], sizeof(T)); GATHER_D16(T, o->o[0], shift, GLOBAL_AT)
#define GLOBAL_STORE(T, N, shift) GLOBAL_POINTERS(o->o[0], o->o[2], sizeof(T) * N); SCATTER(T, N, o->o[1], shift, GLOBAL_AT)

#define SMEM_LOAD(N)                                                                                 \
  u64 a = get_M(w, o->o[1]) + (o->o[2] ? AT(u32, w, o->o[2] & ~1u) : 0) + (u64)o->imm;               \
  a &= ~3ull;                                                                                        \
  const u8* p = host_address(w, a, 4 * N);                                                           \
  if (UNLIKELY(!p)) return fault(w, o, FAULT_GLOBAL, 0, a, 4 * N);                                   \
  __builtin_memcpy((u8*)w + (o->o[0] & ~1u), p, 4 * N);                                              \
  NEXT

// LDS: a byte address a lane plus an unsigned immediate, modulo 2^32: compilers make a negative address and an offset that leads
// back. It is added as a signed number. All lanes are checked before the first byte moves.
INLINE u32 lds_outside(Wave* w, uv address, u64 offset, u64 size) {   // the first active lane out of bounds, LANES for none
  u64 room = w->lds_bytes - offset - size;
  u64 bad = offset + size > w->lds_bytes ? ~0ull : mask_bits(address > (u32)room);
  bad &= exec_of(w);
  if (UNLIKELY(bad != 0)) bad = size > w->lds_bytes ? bad : bad & mask_bits(address + (u32)offset > (u32)(w->lds_bytes - size));
  return UNLIKELY(bad != 0) ? (u32)__builtin_ctzll(bad) : LANES;
}
#define LDS_CHECK(va, offset, size)                                                                  \
  do {                                                                                               \
    u32 out = lds_outside(w, AT(uv, w, va), (u64)(offset), size);                                    \
    if (UNLIKELY(out < LANES)) return fault(w, o, FAULT_LDS, out, V(va, out) + (u32)(offset), size); \
  } while (0)
#define LDS_AT(lane) (lds + (i32)address[lane])
// Mostly the lanes in a row of 16 read side by side: then each row is one load.
typedef VEC(u32, 16) row16;
INLINE u32 side_by_side(const u32* address, u32 size) {
  const row16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  row16 a[4];
  __builtin_memcpy(a, address, sizeof a);
  VEC(i32, 16) apart = a[0] != address[0] + lanes * size;
  for (u32 r = 1; r < 4; ++r) apart |= a[r] != address[16 * r] + lanes * size;
  return !__builtin_reduce_or(apart);
}
#define READ_ROWS(T, dst, y_of_old)                                                                  \
  if (exec_of(w) == ~0ull && side_by_side(address, sizeof(T))) {                                     \
    for (u32 lane = 0; lane < LANES; lane += 16) {                                                   \
      VEC(T, 16) x;                                                                                  \
      row16 old, y;                                                                                  \
      __builtin_memcpy(&x, LDS_AT(lane), sizeof x);                                                  \
      __builtin_memcpy(&old, &V(dst, lane), sizeof old);                                             \
      y = (row16)__builtin_convertvector(x, VEC(i32, 16));                                           \
      y = y_of_old;                                                                                  \
      __builtin_memcpy(&V(dst, lane), &y, sizeof y);                                                 \
    }                                                                                                \
    NEXT;                                                                                            \
  }
#define DS_READ(T, N)                                                                                \
  LDS_CHECK(o->o[1], o->imm, sizeof(T) * N);                                                         \
  u8* lds = w->lds + o->imm;                                                                         \
  const u32* address = &V(o->o[1], 0);                                                               \
  if (N == 1) READ_ROWS(T, o->o[0], y);                                                              \
  GATHER(T, N, o->o[0], LDS_AT)
#define DS_READ_D16(T, shift)                                                                        \
  LDS_CHECK(o->o[1], o->imm, sizeof(T));                                                             \
  u8* lds = w->lds + o->imm;                                                                         \
  const u32* address = &V(o->o[1], 0);                                                               \
  READ_ROWS(T, o->o[0], (old & ~(0xffffu << shift)) | (y & 0xffffu) << shift);                       \
  GATHER_D16(T, o->o[0], shift, LDS_AT)
#define DS_WRITE(T, N, shift)                                                                        \
  LDS_CHECK(o->o[0], o->imm, sizeof(T) * N);                                                         \
  u8* lds = w->lds + o->imm;                                                                         \
  const u32* address = &V(o->o[0], 0);                                                               \
  SCATTER(T, N, o->o[1], shift, LDS_AT)
// Two elements of N dwords, their offsets counted in elements (times UNIT for the st64 forms).
#define DS_READ2(N, UNIT)                                                                            \
  u32 first = (u32)o->imm * 4 * N * UNIT, second = o->aux * 4 * N * UNIT;                            \
  LDS_CHECK(o->o[1], first, 4 * N);                                                                  \
  LDS_CHECK(o->o[1], second, 4 * N);                                                                 \
  EACH_LANE(w, {                                                                                     \
    u32 x[2 * N];                                                                                    \
    const u8* p = w->lds + (i32)V(o->o[1], lane);                                                        \
    __builtin_memcpy(x, p + first, 4 * N);                                                           \
    __builtin_memcpy(x + N, p + second, 4 * N);                                                      \
    for (u32 k = 0; k < 2 * N; ++k) V(o->o[0] + 4 * LANES * k, lane) = x[k];                         \
  });                                                                                                \
  NEXT
#define DS_WRITE2(N, UNIT)                                                                           \
  u32 first = (u32)o->imm * 4 * N * UNIT, second = o->aux * 4 * N * UNIT;                            \
  LDS_CHECK(o->o[0], first, 4 * N);                                                                  \
  LDS_CHECK(o->o[0], second, 4 * N);                                                                 \
  EACH_LANE(w, {                                                                                     \
    u8* p = w->lds + (i32)V(o->o[0], lane);                                                          \
    for (u32 k = 0; k < N; ++k) {                                                                    \
      __builtin_memcpy(p + first + 4 * k, &V(o->o[1] + 4 * LANES * k, lane), 4);                     \
      __builtin_memcpy(p + second + 4 * k, &V(o->o[2] + 4 * LANES * k, lane), 4);                    \
    }                                                                                                \
  });                                                                                                \
  NEXT
// Lane exchange through the LDS crossbar: an inactive source lane gives 0.
#define DS_BPERMUTE                                                                                  \
  uv data = get_u(w, o->o[2]), from = (get_u(w, o->o[1]) + (u32)o->imm) >> 2 & 63u, r;               \
  data = select(mask_lanes(exec_of(w)), data, splat(0));                                             \
  const u32 *source = (u32*)&data, *at = (u32*)&from;                                                \
  if (side_by_side(at, 1)) for (u32 l = 0; l < LANES; l += 16) __builtin_memcpy((u32*)&r + l, source + at[l], 64); \
  else if (side_by_side(at, 0)) for (u32 l = 0; l < LANES; l += 16) ((row16*)&r)[l / 16] = (row16)source[at[l]]; \
  else for (u32 l = 0; l < LANES; ++l) ((u32*)&r)[l] = source[at[l]];                                \
  put_u(w, o->o[0], r);                                                                              \
  NEXT

// Swap ROWS of W lanes: row 1 of dst with row 0 of src, row 3 of dst with row 2 of src, ...
#define PERMLANE_SWAP(W)                                                                             \
  u64 e = exec_of(w);                                                                                \
  for (u32 lane = 0; lane < LANES; ++lane)                                                           \
    if (!(lane & W)) {                                                                               \
      u32 s = V(o->o[1], lane), d = V(o->o[0], lane + W);                                            \
      if (e >> (lane + W) & 1) V(o->o[0], lane + W) = s;                                             \
      if (e >> lane & 1) V(o->o[1], lane) = d;                                                       \
    }                                                                                                \
  NEXT

#define BRANCH(condition) GO((condition) ? o->target : o + 1)
#define BARRIER w->state = AT_BARRIER; w->resume = o + 1; return 0
// Before every instruction of code to debug. `resume` is kept up even when going on: it says where the wave was when it ended.
#define STOP                                                                                         \
  Debug* d = w->worker->debug;                                                                       \
  if (d) {                                                                                           \
    w->resume = o + 1;                                                                               \
    if (!d->left || d->stops[o->pc]) { w->state = STOPPED; return 0; }                               \
    --d->left;                                                                                       \
  }                                                                                                  \
  NEXT
#define END_PROGRAM w->state = ENDED; return 0
// A basic block begins: counted once for all its instructions, whose number the budget loses.
#define BLOCK                                                                                        \
  ++w->counts[o->imm];                                                                               \
  if (UNLIKELY((w->budget -= o->aux) < 0)) return fault(w, o, FAULT_BUDGET, 0, 0, 0);                \
  NEXT
