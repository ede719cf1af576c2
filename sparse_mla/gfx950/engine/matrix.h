// Matrix cores. D[i][j] = C[i][j] + sum over k of A[i][k] * B[k][j], accumulated in this order and rounding, stated here only:
// k ascending, one fp32 fused multiply-add a step (bf16 products are exact in fp32, so each step rounds once). CDNA3 is known
// to sum groups of eight exactly before rounding; what CDNA4 does is not published. EXEC is ignored, denormals are kept.
//
// Lane l holds A[l % M][K/G * (l/M) + t] and B likewise by column, G = 64/M groups, two bf16 a dword, low half first;
// register r of lane l holds D[4G*(r/4) + 4*(l/M) + r%4][l % M].
#pragma once
#include "memory.h"

#define MFMA_BF16(M, K)                                                                                   \
  typedef VEC(f32, M) row;                                                                                \
  enum { G = LANES / M, PER_LANE = K / G, REGS = M * M / LANES, ROWS = 8 };                                \
  f32 a[K][M] __attribute__((aligned(64)));                                                               \
  row b[K], c[M];                                                                                         \
  for (u32 r = 0; r < PER_LANE / 2; ++r) {                                                                \
    uv x = AT(uv, w, o->o[1] + 4 * LANES * r), y = AT(uv, w, o->o[2] + 4 * LANES * r);                    \
    uv part[4] = {x << 16, x & 0xffff0000u, y << 16, y & 0xffff0000u};                                    \
    for (u32 g = 0; g < G; ++g)                                                                           \
      for (u32 h = 0; h < 2; ++h) {                                                                       \
        u32 k = PER_LANE * g + 2 * r + h;                                                                 \
        __builtin_memcpy(a[k], (u32*)&part[h] + M * g, 4 * M);                                            \
        __builtin_memcpy(&b[k], (u32*)&part[2 + h] + M * g, 4 * M);                                       \
      }                                                                                                   \
  }                                                                                                       \
  for (u32 r = 0; r < REGS; ++r) {                                                                        \
    uv x = o->o[3] & 1 ? get_u(w, o->o[3]) : AT(uv, w, o->o[3] + 4 * LANES * r);                          \
    for (u32 g = 0; g < G; ++g) __builtin_memcpy(&c[4 * G * (r / 4) + 4 * g + r % 4], (u32*)&x + M * g, 4 * M); \
  }                                                                                                       \
  for (u32 i0 = 0; i0 < M; i0 += ROWS) {                                                                  \
    row sum[ROWS];                                                                                        \
    for (u32 i = 0; i < ROWS; ++i) sum[i] = c[i0 + i];                                                    \
    for (u32 k = 0; k < K; ++k)                                                                           \
      for (u32 i = 0; i < ROWS; ++i) sum[i] = fma((row)a[k][i0 + i], b[k], sum[i]);                       \
    for (u32 i = 0; i < ROWS; ++i) c[i0 + i] = sum[i];                                                    \
  }                                                                                                       \
  for (u32 r = 0; r < REGS; ++r)                                                                          \
    for (u32 g = 0; g < G; ++g)                                                                           \
      __builtin_memcpy((u8*)w + o->o[0] + 4 * LANES * r + 4 * M * g, &c[4 * G * (r / 4) + 4 * g + r % 4], 4 * M); \
  NEXT
