// The product kernel as a torch op, without Python: torch.ops.<SPARSE_MLA_OPS>.sparse_mla_decode. docs/hip_device.md says how to
// build it, here or into another extension. It uses torch's stable ABI (2.10 and newer), and carries the code object that CMake
// made, which is also what the emulator runs; a build for other architectures carries none, and the op says so.
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>

#include <hip/hip_runtime.h>

#include <initializer_list>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#define __bf16 uint16_t // the host only hands pointers on, and not every host compiler has the type
#include "../include/cache_layout.h"
#include "../include/decode_params.h"
#undef __bf16

#ifndef SPARSE_MLA_OPS
#define SPARSE_MLA_OPS sparse_mla_rocm // the namespace of the op
#endif
#ifndef SPARSE_MLA_DISPATCH
#define SPARSE_MLA_DISPATCH CUDA // torch's name for AMD's GPUs too
#endif

#ifdef SPARSE_MLA_CODE_OBJECT
__asm__(".pushsection .rodata\n.balign 4096\nsparse_mla_code_object:\n.incbin \"" SPARSE_MLA_CODE_OBJECT "\"\n.popsection");
extern const char code_object[] __asm__("sparse_mla_code_object");
#else
static const char* const code_object = nullptr;
#endif

namespace {
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Optional = std::optional<Tensor>;

constexpr int BLOCK_HEADS = 16, THREADS = 512, REDUCE_THREADS = 64, ONE_LAUNCH = 4; // of csrc/decode/product.hip
constexpr int64_t SPLITS[] = {1, 2, 3, 4, 6, 8, 12, 16};

void check(hipError_t code, const char* call, const char* kernel) {
  if (code == hipSuccess)
    return;
  static_cast<void>(hipGetLastError()); // or torch would find the error at its own next call
  STD_TORCH_CHECK(false, call, " (", kernel, "): ", hipGetErrorName(code), ", ", static_cast<int>(code), ": ",
                  hipGetErrorString(code));
}

hipFunction_t function_of(const char* kernel, int device) {
  static std::mutex mutex;
  static std::map<int, hipModule_t> modules;
  static std::map<std::pair<int, const char*>, hipFunction_t> functions;
  const std::lock_guard<std::mutex> guard(mutex);
  hipFunction_t& function = functions[{device, kernel}];
  if (!function) {
    STD_TORCH_CHECK(code_object, "sparse_mla_decode was built without code for gfx950: add it to the architectures");
    hipModule_t& module = modules[device];
    if (!module)
      check(hipModuleLoadData(&module, code_object), "hipModuleLoadData", kernel);
    check(hipModuleGetFunction(&function, module, kernel), "hipModuleGetFunction", kernel);
  }
  return function;
}

void launch(const char* kernel, int device, int64_t x, int64_t y, int64_t z, unsigned threads, DecodeParams& params) {
  void* stream = nullptr;
#ifdef USE_CUDA
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
#endif
  size_t size = sizeof params;
  void* extra[] = {HIP_LAUNCH_PARAM_BUFFER_POINTER, &params, HIP_LAUNCH_PARAM_BUFFER_SIZE, &size, HIP_LAUNCH_PARAM_END};
  check(hipModuleLaunchKernel(function_of(kernel, device), static_cast<unsigned>(x), static_cast<unsigned>(y),
                              static_cast<unsigned>(z), threads, 1, 1, 0, static_cast<hipStream_t>(stream), nullptr, extra),
        "hipModuleLaunchKernel", kernel);
}

// The address of a tensor of this dtype and these sizes (-1: any) on q's device.
template <class T = void>
T* address(const char* name, const Tensor& tensor, const Tensor& q, ScalarType type, std::initializer_list<int64_t> sizes,
           bool contiguous = true) {
  STD_TORCH_CHECK(tensor.scalar_type() == type, name, " has another dtype than the op's schema says");
  bool fits = tensor.dim() == static_cast<int64_t>(sizes.size());
  for (size_t i = 0; fits && i < sizes.size(); ++i)
    fits = sizes.begin()[i] < 0 || tensor.size(static_cast<int64_t>(i)) == sizes.begin()[i];
  STD_TORCH_CHECK(fits, name, " has another shape than the op takes");
  STD_TORCH_CHECK(!contiguous || tensor.is_contiguous(), name, " must be contiguous");
  STD_TORCH_CHECK(tensor.is_cpu() == q.is_cpu() && tensor.get_device_index() == q.get_device_index(), name,
                  " is not on the device of q");
  return static_cast<T*>(tensor.data_ptr());
}

// Of kernels.params.Divisor.by, for 1 to 2^31.
Divisor by(int64_t divisor) {
  uint32_t shift = 0;
  while ((int64_t{1} << shift) < divisor)
    ++shift;
  return {static_cast<uint32_t>((int64_t{1} << (31 + shift)) / divisor + 1), shift};
}

void segment(Segment& made, List& list, const Tensor& cache, const Tensor& indices, const Tensor& indptr, const Tensor& q) {
  made.cache = address<uint8_t>("cache", cache, q, ScalarType::Byte, {-1, -1, TOKEN_BYTES}, false);
  const int64_t blocks = cache.size(0), block_size = cache.size(1);
  STD_TORCH_CHECK(block_size >= 1 && cache.stride(2) == 1 && (block_size == 1 || cache.stride(1) == TOKEN_BYTES) &&
                      (blocks < 2 || cache.stride(0) >= block_size * TOKEN_BYTES) && blocks <= INT32_MAX / block_size,
                  "cache: only the stride between blocks is free, and slots are int32");
  list.indices = address<int32_t>("indices", indices, q, ScalarType::Int, {-1});
  list.indptr = address<int32_t>("indptr", indptr, q, ScalarType::Int, {q.size(0) + 1});
  made.block_stride = cache.stride(0);
  made.num_slots = static_cast<int32_t>(blocks * block_size);
  made.block_size = static_cast<int32_t>(block_size);
  made.block = by(block_size);
}

void decode(const Tensor& q, const Tensor& main_cache, const Tensor& main_indices, const Tensor& main_indptr,
            const Optional& extra_cache, const Optional& extra_indices, const Optional& extra_indptr, const Optional& attn_sink,
            double scale, int64_t split_k, const Tensor& out, const Optional& lse, const Optional& partial_acc,
            const Optional& partial_ml, const Optional& arrivals) {
  STD_TORCH_CHECK(q.dim() == 3, "q must be [rows, heads, 512]");
  const int64_t rows = q.size(0), heads = q.size(1), head_blocks = (heads + BLOCK_HEADS - 1) / BLOCK_HEADS;
  DecodeParams p = {};
  p.q = address<uint16_t>("q", q, q, ScalarType::BFloat16, {rows, heads, HEAD_DIM}, false);
  p.out = address<uint16_t>("out", out, q, ScalarType::BFloat16, {rows, heads, HEAD_DIM}, false);
  STD_TORCH_CHECK(q.stride(2) == 1 && out.stride(2) == 1, "the last stride of q and of out must be 1");
  STD_TORCH_CHECK(heads >= 1 && heads <= 65535 && rows <= INT32_MAX, "q must have 1 to 65535 heads, and rows in int32");
  bool known = false;
  for (const int64_t allowed : SPLITS)
    known |= split_k == allowed;
  STD_TORCH_CHECK(known, "split_k is ", split_k, "; it may be 1, 2, 3, 4, 6, 8, 12 or 16");
  segment(p.main, p.main_list, main_cache, main_indices, main_indptr, q);
  STD_TORCH_CHECK(extra_cache.has_value() == extra_indices.has_value() && extra_cache.has_value() == extra_indptr.has_value(),
                  "extra_cache, extra_indices and extra_indptr come together");
  if (extra_cache)
    segment(p.extra, p.extra_list, *extra_cache, *extra_indices, *extra_indptr, q);
  if (attn_sink)
    p.attn_sink = address<float>("attn_sink", *attn_sink, q, ScalarType::Float, {heads});
  if (lse)
    p.lse = address<float>("lse", *lse, q, ScalarType::Float, {rows, heads});
  if (split_k > 1) {
    STD_TORCH_CHECK(partial_acc && partial_ml && (arrivals || split_k > ONE_LAUNCH),
                    "a split decode needs partial_acc and partial_ml, and to split_k 4 arrivals, all zero");
    p.partial_acc = address("partial_acc", *partial_acc, q, ScalarType::Float, {rows, split_k, heads, HEAD_DIM});
    p.partial_ml = address<float>("partial_ml", *partial_ml, q, ScalarType::Float, {rows, split_k, heads, 2});
    if (split_k <= ONE_LAUNCH)
      p.arrivals = address<uint32_t>("arrivals", *arrivals, q, ScalarType::Int, {rows, head_blocks});
  }
  p.q_row_stride = q.stride(0), p.q_head_stride = q.stride(1);
  p.out_row_stride = out.stride(0), p.out_head_stride = out.stride(1);
  p.rows = static_cast<int32_t>(rows), p.heads = static_cast<int32_t>(heads), p.split_k = static_cast<int32_t>(split_k);
  p.scale = static_cast<float>(scale);
  p.split = by(split_k);
  if (rows == 0)
    return;
  const int device = q.is_cpu() ? 0 : q.get_device_index();
#ifdef USE_CUDA
  const torch::stable::accelerator::DeviceGuard guard(device);
#endif
  launch(split_k == 1 ? "mla_decode_product_fused" : "mla_decode_product_split", device, rows, head_blocks, split_k, THREADS, p);
  if (split_k > ONE_LAUNCH)
    launch("mla_decode_product_reduce", device, rows, heads, 1, REDUCE_THREADS, p);
}
} // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(SPARSE_MLA_OPS, library) {
  library.def("sparse_mla_decode(Tensor q, Tensor main_cache, Tensor main_indices, Tensor main_indptr, Tensor? extra_cache, "
              "Tensor? extra_indices, Tensor? extra_indptr, Tensor? attn_sink, float scale, int split_k, Tensor(a!) out, "
              "Tensor(b!)? lse, Tensor(c!)? partial_acc, Tensor(d!)? partial_ml, Tensor(e!)? arrivals) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(SPARSE_MLA_OPS, SPARSE_MLA_DISPATCH, library) { library.impl("sparse_mla_decode", TORCH_BOX(&decode)); }
