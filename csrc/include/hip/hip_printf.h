// printf of hip_runtime.h: each call appends one record for each active lane to a buffer of the launch, which the host prints
// when the launch ends. The buffer's address stands where ROCm keeps that of its own printf service. A record: its size in bytes,
// the format's address, then 8 bytes an argument: integers extended, floating point as double, strings by address.
#pragma once

namespace hip_shim {
HIP_SHIM uint64_t printable(double x) { return hip_shim_cast<uint64_t>(x); }
HIP_SHIM uint64_t printable(float x) { return printable(double(x)); }
HIP_SHIM uint64_t printable(__bf16 x) { return printable(double(x)); }
HIP_SHIM uint64_t printable(_Float16 x) { return printable(double(x)); }
template <typename T> HIP_SHIM uint64_t printable(T* x) { return uint64_t(x); }
template <typename T> HIP_SHIM uint64_t printable(T x) { return uint64_t(int64_t(x)); }
} // namespace hip_shim
template <typename... Args> HIP_SHIM int printf(const char* format, Args... args) {
  typedef __attribute__((address_space(1))) uint64_t Word;
  Word* const buffer = hip_shim::implicit<Word*>(80); // bytes taken, bytes there are, records
  constexpr uint64_t size = 8 * (2 + sizeof...(args));
  const uint64_t at = __hip_atomic_fetch_add(buffer, size, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
  if (at + size > buffer[1])
    return -1; // the host tells how much did not fit
  const uint64_t record[] = {size, uint64_t(format), hip_shim::printable(args)...};
#pragma unroll
  for (int i = 0; i < int(2 + sizeof...(args)); ++i)
    buffer[2 + at / 8 + i] = record[i];
  return sizeof...(args);
}
