// Buffer accesses that convert formats, and scalar atomics. Source: AMD CDNA3 and CDNA4 ISA manuals, the tables of data and number
// formats. Numbers go through fp32. A format that a buffer does not have, a store whose rounding nobody states (scaled, packed
// floats, integers that do not fit) and one of other than all its components are faults.
#pragma once
#include "access.h"

enum { UNORM, SNORM, USCALED, SSCALED, UINT, SINT, FLOAT = 7 };
// Bits of each component from the lowest on, by data format: their names begin with the highest.
static const u8 LAYOUTS[16][4] = {{0},          {8},      {16},     {8, 8},   {32},           {16, 16},         {11, 11, 10}, {10, 11, 11},
                                  {2, 10, 10, 10}, {10, 10, 10, 2}, {8, 8, 8, 8}, {32, 32}, {16, 16, 16, 16}, {32, 32, 32}, {32, 32, 32, 32}, {0}};
typedef struct { const u8* bits; u32 number, n, bytes, select; } Layout;   // select: 3 bits a result: 0, 1, or 4 and a component

INLINE u32 find_format(Wave* w, const Op* o, u32 typed, u32 half, Layout* f) {
  u32 words, code;
  __builtin_memcpy(&words, (u8*)w + (o->o[2] & ~1u) + 12, 4);
  code = typed ? o->aux >> 8 : (words >> 15 & 15) | (words >> 12 & 7) << 4;
  *f = (Layout){LAYOUTS[code & 15], code >> 4 & 7, 0, 0, typed ? 07654 : words & 0xfff};
  u32 total = 0, packed = (code & 15) == 6 || (code & 15) == 7, widest = 0;
  for (; f->n < 4 && f->bits[f->n]; ++f->n) {
    total += f->bits[f->n];
    widest = f->bits[f->n] > widest ? f->bits[f->n] : widest;
  }
  f->bytes = total / 8;
  u32 floats = packed || (code & 15) == 2 || (code & 15) == 5 || (code & 15) == 12;
  u32 known = f->n && f->number != 6 && (widest == 32 ? f->number >= UINT && !half : f->number != FLOAT || floats);
  if (!known || (packed && f->number != FLOAT)) return fault(w, o, FAULT_RESOURCE, 0, code, 0), 0;
  return 1;
}

INLINE u32 of_number(f32 x, u32 half) { return half ? f32_to_f16(x) : of_f32(x); }
INLINE u32 decoded(u32 x, u32 bits, u32 number, u32 half) {
  i32 s = (i32)(x << (32 - bits)) >> (32 - bits);
  f64 v = number == UNORM ? x / (f64)((1ull << bits) - 1) : number == SNORM ? s / (f64)((1u << (bits - 1)) - 1) : number == USCALED ? (f64)x : (f64)s;
  if (number == UINT || number == SINT || bits == 32) return (number == SINT ? (u32)s : x) & (half ? 0xffffu : ~0u);
  u32 f = bits == 16 ? x : x << (15 - bits);   // 10 and 11 bits have no sign
  if (number == FLOAT) return half ? f : of_f32(f16_to_f32(f));
  return of_number(v < -1.0 && number == SNORM ? -1.0f : (f32)v, half);
}
INLINE u32 encoded(u32 x, u32 bits, u32 number, u32 half, u32* ok) {
  f32 f = half ? f16_to_f32(x) : as_f32(x);
  i64 s = half ? (i16)x : (i32)x;
  if (bits == 32) return x;
  *ok &= number == UINT ? x >> bits == 0 : number == SINT ? s << (64 - bits) >> (64 - bits) == s : number == FLOAT ? bits == 16 : number <= SNORM;
  if (number >= UINT) return (number == FLOAT && !half ? f32_to_f16(f) : x) & ((1u << bits) - 1);
  f64 low = number == SNORM ? -1.0 : 0.0, v = f != f ? 0.0 : f < low ? low : f > 1.0f ? 1.0 : f;
  return (u32)(i32)__builtin_elementwise_roundeven(v * ((1u << (bits - (number == SNORM))) - 1)) & ((1u << bits) - 1);
}
INLINE u32 component(const u8* p, u32 at, u32 bits) {
  u64 x = 0;
  __builtin_memcpy(&x, p + at / 32 * 4, 4);
  return (u32)(x >> at % 32) & (bits < 32 ? (1u << bits) - 1 : ~0u);
}
// `half`: two results a register, in 16 bits each; `high`: the only one in its upper half.
SHARED u32 typed_load(Wave* w, const Op* o, u32 n, u32 half, u32 high, u32 typed) {
  Layout f;
  TRY(find_format(w, o, typed, half, &f));
  BUFFER_POINTERS(f.bytes, 0);
  for (u64 active = exec_of(w); active; active &= active - 1) {
    u32 lane = (u32)__builtin_ctzll(active);
    u8 own[16] = {0};
    __builtin_memcpy(own, pointers[lane], f.bytes);
    for (u32 k = 0; k < n; ++k) {
      u32 pick = f.select >> 3 * k & 7, c = pick & 3, at = 0, one = f.number == UINT || f.number == SINT ? 1 : of_number(1.0f, half);
      for (u32 i = 0; i < c; ++i) at += f.bits[i];
      u32 x = pick < 4 ? (pick == 1 ? one : 0) : c < f.n ? decoded(component(own, at, f.bits[c]), f.bits[c], f.number, half) : c == 3 ? one : 0;
      u32* to = &V(o->o[0] + 4 * LANES * (half ? k / 2 : k), lane);
      u32 shift = 16 * (high | (k & 1));
      *to = half ? (*to & ~(0xffffu << shift)) | x << shift : x;
    }
  }
  return 1;
}
SHARED u32 typed_store(Wave* w, const Op* o, u32 n, u32 half, u32 high, u32 typed) {
  Layout f;
  TRY(find_format(w, o, typed, half, &f));
  u32 ok = f.n == n && (f.select ^ 07654) << (32 - 3 * n) == 0;
  BUFFER_POINTERS(f.bytes, 0);
  for (u64 active = exec_of(w); active; active &= active - 1) {
    u32 lane = (u32)__builtin_ctzll(active);
    u32 words[4] = {0};
    for (u32 k = 0, at = 0; k < f.n && k < n; at += f.bits[k++]) {
      u32 x = V(o->o[0] + 4 * LANES * (half ? k / 2 : k), lane);
      words[at / 32] |= encoded(half ? x >> 16 * (high | (k & 1)) & 0xffffu : x, f.bits[k], f.number, half, &ok) << at % 32;
    }
    if (!ok) return fault(w, o, FAULT_RESOURCE, lane, f.number, f.bytes), 0;
    __builtin_memcpy(pointers[lane], words, f.bytes);
  }
  return 1;
}
#define FORMAT_LOAD(N, HALF, HIGH, TYPED) TRY(typed_load(w, o, N, HALF, HIGH, TYPED)); NEXT
#define FORMAT_STORE(N, HALF, HIGH, TYPED) TRY(typed_store(w, o, N, HALF, HIGH, TYPED)); NEXT

// ---- scalar atomics: one for the wave, data in SGPRs, which get what was there before where the instruction has glc ----------
SHARED u32 scalar_pointer(Wave* w, const Op* o, u32 size, u32 buffer, u8** p) {   // null outside a buffer's records
  u64 offset = (o->o[2] ? AT(u32, w, o->o[2] & ~1u) : 0) + (u64)o->imm, a;
  *p = 0;
  if (buffer) {
    Resource r = resource(w, o->o[1]);
    if (r.refused) return fault(w, o, FAULT_RESOURCE, 0, r.base, 0), 0;
    if (offset + size > (r.stride ? (u64)r.stride * r.records : r.records)) return 1;
    a = (r.base + offset) & ~3ull;
  } else a = (get_M(w, o->o[1]) + offset) & ~3ull;
  if (a & (size - 1)) return fault(w, o, FAULT_ALIGNMENT, 0, a, size), 0;
  if (!(*p = host_address(w, a, size))) return fault(w, o, FAULT_GLOBAL, 0, a, size), 0;
  return 1;
}
#define SMEM_ATOMIC(OP, T, BUFFER)                                                                   \
  u8* p;                                                                                             \
  TRY(scalar_pointer(w, o, sizeof(T), BUFFER, &p));                                                  \
  u8* own = (u8*)w + (o->o[0] & ~1u);                                                                \
  T a, b, old = 0, new;                                                                              \
  __builtin_memcpy(&a, own, sizeof a);                                                               \
  __builtin_memcpy(&b, own + sizeof a, sizeof b);                                                    \
  if (p) {                                                                                           \
    old = __atomic_load_n((T*)p, __ATOMIC_RELAXED);                                                  \
    do new = next_##OP(old, a, b); while (!__atomic_compare_exchange_n((T*)p, &old, new, 1, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)); \
  }                                                                                                  \
  if (o->aux & RETURN) __builtin_memcpy(own, &old, sizeof old);                                      \
  NEXT
