// Flat, scratch and buffer addresses, atomics, loads straight to LDS, and what else LDS does.
#pragma once
#include "memory.h"

// Host pointers of the active lanes' accesses. Each gives 0 after a fault, which it has recorded.
enum { SHARED_APERTURE = 0x10000, PRIVATE_APERTURE = 0x20000 };   // high dwords of flat addresses into LDS and scratch
u32 flat_pointers(Wave* w, const Op* o, u32 vaddr, u32 size, u8** pointers);
u32 scratch_pointers(Wave* w, const Op* o, u32 vaddr, u32 saddr, u32 size, u8** pointers);
// Lanes that a buffer's range check refuses work on zeros of their own, so that loads give 0 and stores are lost. Wide accesses
// are checked dword by dword: a load finds those inside among the zeros, and a store of `from` has written them.
enum { OFFEN = 1, IDXEN = 2, RETURN = 4 };   // Op.aux
typedef struct { u8 bytes[LANES][16] __attribute__((aligned(16))); } Outside;
u32 buffer_pointers(Wave* w, const Op* o, u32 size, u32 from, u8** pointers, Outside* outside);
// A buffer resource: base, stride, number of records (bytes, or strides where an index is given). The scalar offset is no part
// of the check. Swizzled addresses (swizzle, thread id added) and other types of resource are refused.
typedef struct { u64 base; u32 stride, records, refused; } Resource;
Resource resource(Wave* w, u32 at);
u32 smem_buffer(Wave* w, const Op* o, u32 n, u32 store);
u32 to_lds(Wave* w, const Op* o, u32 size, u32 sign_extend, u8** pointers);
u32 misaligned(Wave* w, const Op* o, u8** pointers, u32 size);   // 1 after a fault: an atomic must be aligned to its size

#define TRY(x) if (UNLIKELY(!(x))) return 0
#define POINTERS u8* pointers[LANES] __attribute__((aligned(64)))
#define FLAT_POINTERS(vaddr, size) POINTERS; TRY(flat_pointers(w, o, vaddr, size, pointers))
#define FLAT_LOAD(T, N) FLAT_POINTERS(o->o[1], sizeof(T) * N); GATHER(T, N, o->o[0], GLOBAL_AT)
#define FLAT_LOAD_D16(T, shift) FLAT_POINTERS(o->o[1], sizeof(T)); GATHER_D16(T, o->o[0], shift, GLOBAL_AT)
#define FLAT_STORE(T, N, shift) FLAT_POINTERS(o->o[0], sizeof(T) * N); SCATTER(T, N, o->o[1], shift, GLOBAL_AT)
#define SCRATCH_POINTERS(vaddr, saddr, size) POINTERS; TRY(scratch_pointers(w, o, vaddr, saddr, size, pointers))
#define SCRATCH_LOAD(T, N) SCRATCH_POINTERS(o->o[1], o->o[2], sizeof(T) * N); GATHER(T, N, o->o[0], GLOBAL_AT)
#define SCRATCH_LOAD_D16(T, shift) SCRATCH_POINTERS(o->o[1], o->o[2], sizeof(T)); GATHER_D16(T, o->o[0], shift, GLOBAL_AT)
#define SCRATCH_STORE(T, N, shift) SCRATCH_POINTERS(o->o[0], o->o[2], sizeof(T) * N); SCATTER(T, N, o->o[1], shift, GLOBAL_AT)
#define BUFFER_POINTERS(size, from) POINTERS; Outside outside; TRY(buffer_pointers(w, o, size, from, pointers, &outside))
#define BUFFER_LOAD(T, N)                                                                            \
  BUFFER_POINTERS(sizeof(T) * N, 0);                                                                 \
  if (!o->o[0]) { TO_LDS(T, N); }                                                                    \
  GATHER(T, N, o->o[0], GLOBAL_AT)
#define BUFFER_LOAD_D16(T, shift) BUFFER_POINTERS(sizeof(T), 0); GATHER_D16(T, o->o[0], shift, GLOBAL_AT)
#define BUFFER_STORE(T, N, shift) BUFFER_POINTERS(sizeof(T) * N, o->o[0]); SCATTER(T, N, o->o[0], shift, GLOBAL_AT)
#define TO_LDS(T, N) TRY(to_lds(w, o, sizeof(T) * N, (T)-1 < (T)1, pointers)); NEXT
#define GLOBAL_LOAD_LDS(T, N) GLOBAL_POINTERS(o->o[0], o->o[1], sizeof(T) * N); TO_LDS(T, N)
#define SCRATCH_LOAD_LDS(T, N) SCRATCH_POINTERS(o->o[0], o->o[1], sizeof(T) * N); TO_LDS(T, N)

// ---- scalar memory -----------------------------------------------------------------------------------------------
#define SMEM_STORE(N)                                                                                \
  u64 a = (get_M(w, o->o[1]) + (o->o[2] ? AT(u32, w, o->o[2] & ~1u) : 0) + (u64)o->imm) & ~3ull;     \
  u8* p = host_address(w, a, 4 * N);                                                                 \
  if (UNLIKELY(!p)) return fault(w, o, FAULT_GLOBAL, 0, a, 4 * N);                                   \
  __builtin_memcpy(p, (u8*)w + (o->o[0] & ~1u), 4 * N);                                              \
  NEXT
#define SMEM_BUFFER_LOAD(N) TRY(smem_buffer(w, o, N, 0)); NEXT
#define SMEM_BUFFER_STORE(N) TRY(smem_buffer(w, o, N, 1)); NEXT

// ---- atomics -----------------------------------------------------------------------------------------------------
INLINE f32 as_f32(u32 x) { f32 r; __builtin_memcpy(&r, &x, 4); return r; }
INLINE u32 of_f32(f32 x) { u32 r; __builtin_memcpy(&r, &x, 4); return r; }
INLINE f64 as_f64(u64 x) { f64 r; __builtin_memcpy(&r, &x, 8); return r; }
INLINE u64 of_f64(f64 x) { u64 r; __builtin_memcpy(&r, &x, 8); return r; }
INLINE u32 flush(u32 x) { return x << 1 >> 24 ? x : x & 0x80000000u; }   // a denormal is a zero
INLINE u32 add_bf16(u32 x, u32 y) {
  u32 b = of_f32(as_f32(x << 16) + as_f32(y << 16));
  return (b & 0x7fffffffu) > 0x7f800000u ? b >> 16 | 0x40u : (b + 0x7fffu + (b >> 16 & 1)) >> 16;
}
INLINE f32 f16_to_f32(u32 x) {
  u32 m = x & 0x7fffu, s = (x & 0x8000u) << 16;
  if (m >= 0x7c00u) return as_f32(s | 0x7f800000u | (m & 0x3ffu) << 13);
  f32 r = as_f32(m << 13) * 0x1p112f;   // rebias 15 -> 127; denormals come out right
  return as_f32(s | of_f32(r));
}
INLINE u32 f32_to_f16(f32 f) {   // round to nearest even
  u32 b = of_f32(f), s = b >> 16 & 0x8000u, m = b & 0x7fffffffu;
  if (m > 0x7f800000u) return s | 0x7e00u | (m >> 13 & 0x1ffu);
  if (m >= 0x477ff000u) return s | 0x7c00u;                                              // 65520 and up
  if (m < 0x38800000u) return s | (of_f32(as_f32(m) + 0.5f) - 0x3f000000u);              // denormal: 0.5's ulp is 2^-24
  return s | ((m - 0x38000000u + 0xfffu + (m >> 13 & 1)) >> 13);
}
// An f16 sum rounds once: fp32 has over twice f16's precision, so rounding to it first changes nothing.
INLINE u32 add_f16(u32 x, u32 y) { return f32_to_f16(f16_to_f32(x & 0xffffu) + f16_to_f32(y & 0xffffu)); }

// `old` becomes NEW, of the data `a` and `b`, lane by lane in ascending order, against other host threads too. Where the
// instruction returns, dst gets what was there before.
INLINE u32 read_u32(Wave* w, u32 o, u32 lane) { return V(o, lane); }
INLINE u64 read_u64(Wave* w, u32 o, u32 lane) { return V(o, lane) | (u64)V(o + 4 * LANES, lane) << 32; }
#define ATOMIC_OP(NAME, T, S_TYPE, NEW)                                                              \
  static inline __attribute__((always_inline, unused)) T next_##NAME(T old, T a, T b) {              \
    typedef S_TYPE S __attribute__((unused));                                                        \
    (void)old; (void)b;                                                                              \
    return NEW;                                                                                      \
  }                                                                                                  \
  static __attribute__((noinline, unused)) u32 atomic_##NAME(Wave* w, const Op* o, u8** pointers, u32 data, u32 data2, u32 dst) { \
    if (UNLIKELY(misaligned(w, o, pointers, sizeof(T)))) return 0;                                   \
    for (u64 active = exec_of(w); active; active &= active - 1) {                                    \
      u32 lane = (u32)__builtin_ctzll(active);                                                       \
      T* p = (T*)pointers[lane];                                                                     \
      T a = read_##T(w, data, lane), b = read_##T(w, data2, lane), old = __atomic_load_n(p, __ATOMIC_RELAXED), new; \
      do new = next_##NAME(old, a, b); while (!__atomic_compare_exchange_n(p, &old, new, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)); \
      if (!dst) continue;                                                                            \
      V(dst, lane) = (u32)old;                                                                       \
      if (sizeof(T) == 8) V(dst + 4 * LANES, lane) = (u32)((u64)old >> 32);                          \
    }                                                                                                \
    return 1;                                                                                        \
  }
#define BOTH_SIZES(NAME, NEW) ATOMIC_OP(NAME##_32, u32, i32, NEW) ATOMIC_OP(NAME##_64, u64, i64, NEW)
BOTH_SIZES(add, old + a)
BOTH_SIZES(sub, old - a)
BOTH_SIZES(rsub, a - old)
BOTH_SIZES(swap, a)
BOTH_SIZES(cmpswap, old == b ? a : old)
BOTH_SIZES(smin, (S)a < (S)old ? a : old)
BOTH_SIZES(smax, (S)a > (S)old ? a : old)
BOTH_SIZES(umin, a < old ? a : old)
BOTH_SIZES(umax, a > old ? a : old)
BOTH_SIZES(and, old & a)
BOTH_SIZES(or, old | a)
BOTH_SIZES(xor, old ^ a)
BOTH_SIZES(inc, old >= a ? 0 : old + 1)
BOTH_SIZES(dec, old == 0 || old > a ? a : old - 1)
BOTH_SIZES(mskor, (old & ~a) | b)
ATOMIC_OP(wrap, u32, i32, old >= a ? old - a : old + b)
// Each half is exchanged where the data's own top bit says so, and that bit is not stored.
#define EXCHANGE_HALF(s) (a >> (31 + s) & 1 ? a & 0x7fffffffull << s : old & 0xffffffffull << s)
ATOMIC_OP(condxchg, u64, i64, EXCHANGE_HALF(0) | EXCHANGE_HALF(32))
ATOMIC_OP(add_f32, u32, i32, of_f32(as_f32(old) + as_f32(a)))
ATOMIC_OP(add_f32_flush, u32, i32, flush(of_f32(as_f32(flush(old)) + as_f32(flush(a)))))   // in the caches, not in LDS
ATOMIC_OP(min_f32, u32, i32, as_f32(a) < as_f32(old) ? a : old)
ATOMIC_OP(max_f32, u32, i32, as_f32(a) > as_f32(old) ? a : old)
ATOMIC_OP(cmpswap_f32, u32, i32, as_f32(old) == as_f32(b) ? a : old)
ATOMIC_OP(add_f64, u64, i64, of_f64(as_f64(old) + as_f64(a)))
ATOMIC_OP(min_f64, u64, i64, as_f64(a) < as_f64(old) ? a : old)
ATOMIC_OP(max_f64, u64, i64, as_f64(a) > as_f64(old) ? a : old)
ATOMIC_OP(cmpswap_f64, u64, i64, as_f64(old) == as_f64(b) ? a : old)
ATOMIC_OP(pk_add_f16, u32, i32, add_f16(old, a) | add_f16(old >> 16, a >> 16) << 16)
ATOMIC_OP(pk_add_bf16, u32, i32, add_bf16(old & 0xffffu, a & 0xffffu) | add_bf16(old >> 16, a >> 16) << 16)

#define ATOMIC(OP, data, data2, dst) TRY(atomic_##OP(w, o, pointers, data, data2, dst)); NEXT
// The compared value stands behind the new one.
#define GLOBAL_ATOMIC(OP, N) GLOBAL_POINTERS(o->o[1], o->o[3], 4 * N); ATOMIC(OP, o->o[2], o->o[2] + 4 * LANES * N, o->o[0])
#define FLAT_ATOMIC(OP, N) FLAT_POINTERS(o->o[1], 4 * N); ATOMIC(OP, o->o[2], o->o[2] + 4 * LANES * N, o->o[0])
#define BUFFER_ATOMIC(OP, N)                                                                         \
  BUFFER_POINTERS(4 * N, 0);                                                                         \
  ATOMIC(OP, o->o[0], o->o[0] + 4 * LANES * N, o->aux & RETURN ? o->o[0] : 0)

// ---- LDS ---------------------------------------------------------------------------------------------------------
#define DS_ATOMIC(OP, N, va, data, data2, dst)                                                       \
  LDS_CHECK(o->o[va], o->imm, 4 * N);                                                                \
  POINTERS;                                                                                          \
  for (u32 lane = 0; lane < LANES; ++lane) pointers[lane] = w->lds + o->imm + (i32)V(o->o[va], lane);\
  ATOMIC(OP, data, data2, dst)
// Two elements of N dwords, old ones out, new ones in.
#define DS_EXCHANGE2(N, UNIT)                                                                        \
  u32 first = (u32)o->imm * 4 * N * UNIT, second = o->aux * 4 * N * UNIT;                            \
  LDS_CHECK(o->o[1], first, 4 * N);                                                                  \
  LDS_CHECK(o->o[1], second, 4 * N);                                                                 \
  EACH_LANE(w, {                                                                                     \
    u32 x[2 * N]; u32 y[2 * N];                                                                      \
    u8* p = w->lds + (i32)V(o->o[1], lane);                                                          \
    __builtin_memcpy(x, p + first, 4 * N);                                                           \
    __builtin_memcpy(x + N, p + second, 4 * N);                                                      \
    for (u32 k = 0; k < N; ++k) { y[k] = V(o->o[2] + 4 * LANES * k, lane); y[N + k] = V(o->o[3] + 4 * LANES * k, lane); } \
    __builtin_memcpy(p + first, y, 4 * N);                                                           \
    __builtin_memcpy(p + second, y + N, 4 * N);                                                      \
    for (u32 k = 0; k < 2 * N; ++k) V(o->o[0] + 4 * LANES * k, lane) = x[k];                         \
  });                                                                                                \
  NEXT
// One counter a wave at M0 + offset moves by the number of active lanes; all of them get what it was.
#define DS_COUNTER(OP)                                                                               \
  u64 at = (u64)SREG(u32, w, M0) + (u64)o->imm, e = exec_of(w);                                      \
  if (!e) NEXT;                                                                                      \
  if (UNLIKELY(at + 4 > w->lds_bytes)) return fault(w, o, FAULT_LDS, (u32)__builtin_ctzll(e), at, 4); \
  u32 old; u32 new;                                                                                  \
  __builtin_memcpy(&old, w->lds + at, 4);                                                            \
  new = old OP (u32)__builtin_popcountll(e);                                                         \
  __builtin_memcpy(w->lds + at, &new, 4);                                                            \
  put_u(w, o->o[0], splat(old));                                                                     \
  NEXT
// The lane's own dword behind M0 + offset.
#define DS_ADDTID(BODY)                                                                              \
  u64 at = (SREG(u32, w, M0) & 0xffffu) + (u64)o->imm, e = exec_of(w);                               \
  u32 last = e ? 63 - (u32)__builtin_clzll(e) : 0;                                                   \
  if (UNLIKELY(e && at + 4 * last + 4 > w->lds_bytes)) return fault(w, o, FAULT_LDS, last, at + 4 * last, 4); \
  EACH_LANE(w, { u8* p = w->lds + at + 4 * lane; BODY; });                                           \
  NEXT
#define DS_READ_ADDTID DS_ADDTID(__builtin_memcpy(&V(o->o[0], lane), p, 4))
#define DS_WRITE_ADDTID DS_ADDTID(__builtin_memcpy(p, &V(o->o[0], lane), 4))
// The crossbar: by a written pattern (an inactive source gives 0), and pushed, where the highest lane wins.
INLINE u32 swizzle_source(u32 pattern, u32 lane) {
  u32 i = lane & 31, low = pattern & 31, j;
  if (pattern >= 0xe000) j = (__builtin_bitreverse32(i) >> 27) >> __builtin_popcount(low) | (i & low);        // FFT
  else if (pattern >= 0xc000) j = (i & low) | ((i + (pattern & 0x400 ? 32 - (pattern >> 5 & 31) : pattern >> 5 & 31)) & 31 & ~low);
  else if (pattern >= 0x8000) j = (i & 28) | (pattern >> 2 * (i & 3) & 3);                                    // four lanes
  else j = ((i & low) | (pattern >> 5 & 31)) ^ (pattern >> 10 & 31);                                          // and, or, xor
  return j | (lane & 32);
}
#define DS_SWIZZLE                                                                                   \
  uv data = select(mask_lanes(exec_of(w)), get_u(w, o->o[1]), splat(0)), r;                          \
  for (u32 lane = 0; lane < LANES; ++lane) ((u32*)&r)[lane] = ((u32*)&data)[swizzle_source((u32)o->imm, lane)]; \
  put_u(w, o->o[0], r);                                                                              \
  NEXT
#define DS_PERMUTE                                                                                   \
  uv data = get_u(w, o->o[2]), to = (get_u(w, o->o[1]) + (u32)o->imm) >> 2 & 63u, r = splat(0);      \
  EACH_LANE(w, { ((u32*)&r)[((u32*)&to)[lane]] = ((u32*)&data)[lane]; });                            \
  put_u(w, o->o[0], r);                                                                              \
  NEXT
// Transposed reads: in each group of 16 lanes, lane l's element e is element l % N of lane (16 / N) e + l / N, N elements of
// BITS bits a lane. Sure for 16 and 8 bits (kernels that run on the device agree); 4 and 6 follow the same rule by inference.
// The manual wants every lane active: anything else is a fault here.
#define DS_READ_TR(BITS, DWORDS)                                                                     \
  enum { N = 32 * DWORDS / BITS };                                                                   \
  if (UNLIKELY(exec_of(w) != ~0ull)) return fault(w, o, FAULT_LANES, (u32)__builtin_ctzll(~exec_of(w)), 0, 0); \
  LDS_CHECK(o->o[1], o->imm, 4 * DWORDS);                                                            \
  u32 in[LANES][DWORDS + 1]; u32 out[LANES][DWORDS];                                                 \
  for (u32 lane = 0; lane < LANES; ++lane) {                                                         \
    __builtin_memcpy(in[lane], w->lds + o->imm + (i32)V(o->o[1], lane), 4 * DWORDS);                 \
    in[lane][DWORDS] = 0;                                                                            \
    for (u32 k = 0; k < DWORDS; ++k) out[lane][k] = 0;                                               \
  }                                                                                                  \
  for (u32 lane = 0; lane < LANES; ++lane)                                                           \
    for (u32 e = 0; e < N; ++e) {                                                                    \
      u32 l = lane & 15; u32 from = BITS * (l % N); u32 to = BITS * e;                               \
      const u32* s = &in[(lane & 48) + 16 / N * e + l / N][from / 32];                               \
      u64 x = (s[0] | (u64)s[1] << 32) >> from % 32 & ((1u << BITS) - 1);                            \
      x <<= to % 32;                                                                                 \
      out[lane][to / 32] |= (u32)x;                                                                  \
      if (x >> 32) out[lane][to / 32 + 1] |= (u32)(x >> 32);                                         \
    }                                                                                                \
  for (u32 lane = 0; lane < LANES; ++lane)                                                           \
    for (u32 k = 0; k < DWORDS; ++k) V(o->o[0] + 4 * LANES * k, lane) = out[lane][k];                \
  NEXT
