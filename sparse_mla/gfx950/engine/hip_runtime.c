// A HIP runtime whose one device is the emulator: those of HIP's functions that execute/hip_device.py, csrc/torch_op and their tests
// call. Device memory is host memory that hipMalloc gave or hipHostRegister named.
//
// Work is queued, and done when somebody waits for it, stream by stream: a host that forgets to wait reads old bytes, and a fault
// comes to light at a later call than its launch. What is refused, and by which code, follows ROCm's clr
// (hipamd/src/hip_module.cpp); codes are those of hip_runtime_api.h.
#include "engine.h"

// Of the C library, which every process has: the bundled compiler brings no headers of it.
void* calloc(u64, u64);
void free(void*);
int pthread_mutex_lock(void*);
int pthread_mutex_unlock(void*);
#define memcpy __builtin_memcpy

#define ERRORS(X) \
  X(Success, 0, "no error") \
  X(ErrorInvalidValue, 1, "invalid argument") \
  X(ErrorOutOfMemory, 2, "out of memory") \
  X(ErrorInvalidConfiguration, 9, "invalid configuration argument") \
  X(ErrorInvalidDeviceFunction, 98, "invalid device function") \
  X(ErrorInvalidImage, 200, "device kernel image is invalid") \
  X(ErrorNoBinaryForGpu, 209, "no kernel image is available for execution on the device") \
  X(ErrorInvalidHandle, 400, "invalid resource handle") \
  X(ErrorNotFound, 500, "named symbol not found") \
  X(ErrorNotReady, 600, "device not ready") \
  X(ErrorIllegalAddress, 700, "an illegal memory access was encountered") \
  X(ErrorHostMemoryAlreadyRegistered, 712, "part or all of the requested memory range is already mapped") \
  X(ErrorHostMemoryNotRegistered, 713, "pointer does not correspond to a registered memory region") \
  X(ErrorLaunchFailure, 719, "unspecified launch failure") \
  X(ErrorNotSupported, 801, "operation not supported") \
  X(ErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing") \
  X(ErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture") \
  X(ErrorStreamCaptureUnmatched, 903, "the capture was not initiated in this stream") \
  X(ErrorUnknown, 999, "unknown error")
#define CODE(name, code, text) name = code,
enum { ERRORS(CODE) };

enum { HIP_VERSION = 70000000, GFX950 = 0x4f, EM_AMDGPU = 224, LDS_BYTES = 163840, WORKGROUP_LIMIT = 1024 };
static const u64 MEMORY_BYTES = 288000000000;   // AMD's data sheet of the MI355X

typedef enum { BLOCK, HOST, MODULE, FUNCTION, STREAM, EVENT, GRAPH, GRAPH_EXEC } Kind;   // the first two are device memory
enum { MAX_THREADS, STATIC_LDS, PRIVATE_BYTES, VGPRS, EXPLICIT_BYTES, KERNARG_BYTES, ATTRIBUTES };

typedef struct Work Work;
typedef struct Object Object;
struct Object {
  Object* next;
  Kind kind;
  u8* at; u64 size;        // of memory
  i64 id;                  // of a module or function, on the emulator's side
  i32 has[ATTRIBUTES];     // of a function
  Object* of;              // a function's module; a stream's graph while it captures; the stream that an event was last recorded on
  Work* work;              // of a graph
  int done;                // an event was reached; a capture has failed
};
struct Work {
  Work* next;
  Object* stream;
  enum { LAUNCH, COPY, SET, RECORD } what;
  Object* on;              // function or event
  u32 grid[3], block[3], shared;
  u8* to; const u8* from; int value; u64 size;
  u8 bytes[];              // `size` bytes of a launch's arguments
};

// The emulator, driven from Python. Ids are not negative; what is negative is an error's code, its sign turned.
static struct {
  i64 (*load)(const u8* image, u64 size);
  i64 (*function)(i64 module, const char* name, i32* has);
  i64 (*launch)(i64 function, const u32* grid, const u32* block, u32 shared, const u8* bytes, u64 size, const Range*, u64 ranges);
  void (*unload)(i64 module);
} emulator;

static _Alignas(16) u8 mutex[64];   // all zero is an unlocked one, with glibc and with musl
static Object *objects, null_stream = {.kind = STREAM};
static Work* queue;
static u64 allocated;
static int broken;   // a fault stays until hipDeviceReset
static _Thread_local int last;

static int end(int status) {
  if (status) last = status;
  pthread_mutex_unlock(mutex);
  return status;
}

// What may wait, or make or free memory, is refused while a stream captures, and spoils the capture.
static int begin(int captured) {
  pthread_mutex_lock(mutex);
  int status = broken;
  for (Object* o = objects; !captured && o; o = o->next)
    if (o->kind == STREAM && o->of) o->of->done = 1, status = ErrorStreamCaptureUnsupported;
  return status;
}

#define REQUIRE(condition, code) if (!(condition)) return end(code)
#define BEGIN(captured) int status = begin(captured); REQUIRE(!status, status)
#define CAPTURED 1
#define ALONE 0

static Object* make(Kind kind, void* made) {
  Object* object = calloc(1, sizeof *object);
  object->kind = kind; object->next = objects;
  if (made) *(Object**)made = object;
  return objects = object;
}

static int is(const Object* given, Kind kind) {
  for (Object* o = objects; o; o = o->next)
    if (o == given) return o->kind == kind;
  return 0;
}

static Object* memory(const void* at, Kind kind) {
  for (Object* o = objects; o; o = o->next)
    if (o->kind == kind && o->at == at) return o;
  return 0;
}

static int on_device(const u8* at, u64 size) {
  for (Object* o = objects; o; o = o->next)
    if (o->kind <= HOST && o->at <= at && size <= o->size && (u64)(at - o->at) <= o->size - size) return 1;
  return 0;
}

static void drop_work(Work* work) {
  for (Work* next; work; work = next) { next = work->next; free(work); }
}

static int drop(Object* object) {
  Object** at = &objects;
  while (*at != object) at = &(*at)->next;
  *at = object->next;
  if (object->kind == BLOCK) { free(object->at); allocated -= object->size; }
  if (object->kind == MODULE) emulator.unload(object->id);
  drop_work(object->work);
  free(object);
  return Success;
}

static int perform(const Work* w) {
  if (w->what == COPY) memcpy(w->to, w->from, w->size);
  if (w->what == SET) __builtin_memset(w->to, w->value, w->size);
  if (w->what == RECORD && is(w->on, EVENT)) w->on->done = 1;
  if (w->what != LAUNCH) return Success;
  if (!is(w->on, FUNCTION)) return ErrorInvalidDeviceFunction;   // a graph's, whose module is gone
  u64 n = 0;
  for (Object* o = objects; o; o = o->next) n += o->kind <= HOST;
  Range* ranges = calloc(n + 1, sizeof *ranges);
  n = 0;
  for (Object* o = objects; o; o = o->next)
    if (o->kind <= HOST) ranges[n++] = (Range){(u64)o->at, o->size, o->at};
  i64 status = emulator.launch(w->on->id, w->grid, w->block, w->shared, w->bytes, w->size, ranges, n);
  free(ranges);
  return (int)-status;
}

// Does what waits on a stream, or on all (0); up to an event, if one is given.
static int drain(Object* stream, const Object* event) {
  for (Work** at = &queue; *at && !broken;) {
    Work* w = *at;
    if (stream && w->stream != stream) { at = &w->next; continue; }
    *at = w->next;
    broken = perform(w);
    int stop = event && w->on == event;
    free(w);
    if (stop) break;
  }
  return broken;
}

static Work* add(Object* stream, const Work* like, u64 bytes) {
  Work* w = calloc(1, sizeof *w + bytes);
  *w = *like;
  w->next = 0; w->stream = stream;
  Work** at = stream->of ? &stream->of->work : &queue;
  while (*at) at = &(*at)->next;
  return *at = w;
}

static void add_all(Object* stream, const Work* from) {
  for (; from; from = from->next) {
    u64 bytes = from->what == LAUNCH ? from->size : 0;
    memcpy(add(stream, from, bytes)->bytes, from->bytes, bytes);
  }
}

static Object* stream_of(Object* given) { return !given ? &null_stream : is(given, STREAM) ? given : 0; }

// ---- connects the emulator; by this name a caller also tells this library from ROCm's
void sparse_mla_emulated_hip(const void* callbacks) { memcpy(&emulator, callbacks, sizeof emulator); }

// ---- device and errors
int hipInit(u32 flags) { return flags ? ErrorInvalidValue : Success; }
int hipRuntimeGetVersion(int* version) { return version ? *version = HIP_VERSION, Success : ErrorInvalidValue; }
int hipGetDeviceCount(int* count) { return count ? *count = 1, Success : ErrorInvalidValue; }
int hipDeviceSynchronize(void) { BEGIN(ALONE); return end(drain(0, 0)); }

int hipDeviceReset(void) {
  pthread_mutex_lock(mutex);
  while (objects) drop(objects);
  drop_work(queue);
  queue = 0; broken = last = 0;
  return end(Success);
}

int hipGetLastError(void) {
  int was = last ? last : broken;
  last = 0;
  return was;
}

#define NAME(name, code, text) case code: return "hip" #name;
#define TEXT(name, code, text) case code: return text;
const char* hipGetErrorName(int code) { switch (code) { ERRORS(NAME) } return "hipErrorUnknown"; }
const char* hipGetErrorString(int code) { switch (code) { ERRORS(TEXT) } return "unknown error"; }

// ---- memory
int hipMalloc(void** pointer, u64 size) {
  BEGIN(ALONE);
  REQUIRE(pointer, ErrorInvalidValue);
  *pointer = 0;
  REQUIRE(size, Success);
  *pointer = size <= MEMORY_BYTES - allocated ? calloc(1, size) : 0;
  REQUIRE(*pointer, ErrorOutOfMemory);
  Object* block = make(BLOCK, 0);
  block->at = *pointer; allocated += block->size = size;
  return end(Success);
}

static int release(void* pointer, Kind kind, int unknown) {
  BEGIN(ALONE);
  Object* found = memory(pointer, kind);
  REQUIRE(found, pointer ? unknown : Success);
  status = drain(0, 0);
  return end(status ? status : drop(found));
}

int hipFree(void* pointer) { return release(pointer, BLOCK, ErrorInvalidValue); }
int hipHostUnregister(void* pointer) { return release(pointer, HOST, ErrorHostMemoryNotRegistered); }

int hipHostRegister(u8* pointer, u64 size, u32 flags) {
  BEGIN(ALONE);
  REQUIRE(pointer && size && !flags, ErrorInvalidValue);
  for (Object* o = objects; o; o = o->next)
    REQUIRE(o->kind > HOST || pointer + size <= o->at || o->at + o->size <= pointer, ErrorHostMemoryAlreadyRegistered);
  Object* host = make(HOST, 0);
  host->at = pointer; host->size = size;
  return end(Success);
}

static int copy(u8* to, const u8* from, u64 size, u32 kind, Object* given, int wait) {
  BEGIN(wait ? ALONE : CAPTURED);
  Object* stream = stream_of(given);
  REQUIRE(stream, ErrorInvalidHandle);
  int to_device = kind == 1 || kind == 3, from_device = kind == 2 || kind == 3;   // hipMemcpyKind; 4: by the addresses
  REQUIRE(kind <= 4 && (!to_device || on_device(to, size)) && (!from_device || on_device(from, size)), ErrorInvalidValue);
  add(stream, &(Work){.what = COPY, .to = to, .from = from, .size = size}, 0);
  return end(wait ? drain(stream, 0) : Success);
}

int hipMemcpy(u8* to, const u8* from, u64 size, u32 kind) { return copy(to, from, size, kind, 0, 1); }
int hipMemcpyAsync(u8* to, const u8* from, u64 size, u32 kind, Object* stream) { return copy(to, from, size, kind, stream, 0); }

int hipMemsetAsync(u8* to, int value, u64 size, Object* given) {
  BEGIN(CAPTURED);
  Object* stream = stream_of(given);
  REQUIRE(stream, ErrorInvalidHandle);
  REQUIRE(on_device(to, size), ErrorInvalidValue);
  add(stream, &(Work){.what = SET, .to = to, .value = value, .size = size}, 0);
  return end(Success);
}

// ---- modules
int hipModuleLoadData(Object** module, const u8* elf) {
  BEGIN(ALONE);
  REQUIRE(module && elf, ErrorInvalidValue);
  struct { u32 magic; u8 ident[12]; u16 type, machine; u32 version; u64 entry, segments, sections; u32 flags; u16 sizes[3], each, count; } h;
  memcpy(&h, elf, 4);
  REQUIRE(h.magic == 0x464c457f, ErrorInvalidImage);
  memcpy(&h, elf, sizeof h);
  REQUIRE(h.machine == EM_AMDGPU, ErrorInvalidImage);
  REQUIRE((h.flags & 0xff) == GFX950, ErrorNoBinaryForGpu);
  i64 id = emulator.load(elf, h.sections + (u64)h.each * h.count);   // the section headers are an ELF's end
  REQUIRE(id >= 0, (int)-id);
  make(MODULE, module)->id = id;
  return end(Success);
}

int hipModuleUnload(Object* module) {
  BEGIN(ALONE);
  REQUIRE(is(module, MODULE), ErrorInvalidHandle);
  status = drain(0, 0);
  for (Object *o = objects, *next; o; o = next) {
    next = o->next;
    if (o->kind == FUNCTION && o->of == module) drop(o);
  }
  drop(module);
  return end(status);
}

int hipModuleGetFunction(Object** function, Object* module, const char* name) {
  BEGIN(CAPTURED);
  REQUIRE(function && name && *name, ErrorInvalidValue);
  REQUIRE(is(module, MODULE), ErrorInvalidHandle);
  i32 has[ATTRIBUTES];
  i64 id = emulator.function(module->id, name, has);
  REQUIRE(id >= 0, (int)-id);
  Object* made = make(FUNCTION, function);
  made->id = id; made->of = module;
  memcpy(made->has, has, sizeof has);
  return end(Success);
}

int hipFuncGetAttribute(int* value, u32 attribute, Object* function) {
  static const int known[] = {MAX_THREADS, STATIC_LDS, -1, PRIVATE_BYTES, VGPRS};   // by HIP_FUNC_ATTRIBUTE_...
  BEGIN(CAPTURED);
  REQUIRE(is(function, FUNCTION), ErrorInvalidHandle);
  REQUIRE(value && attribute < 5 && known[attribute] >= 0, ErrorInvalidValue);
  *value = function->has[known[attribute]];
  return end(Success);
}

int hipModuleLaunchKernel(Object* function, u32 grid_x, u32 grid_y, u32 grid_z, u32 block_x, u32 block_y, u32 block_z, u32 shared,
                          Object* given, void** parameters, void** extra) {
  BEGIN(CAPTURED);
  Object* stream = stream_of(given);
  REQUIRE(is(function, FUNCTION), ErrorInvalidImage);
  REQUIRE(stream, ErrorInvalidHandle);
  REQUIRE(!parameters, extra ? ErrorInvalidValue : ErrorNotSupported);
  Work w = {.what = LAUNCH, .on = function, .grid = {grid_x, grid_y, grid_z}, .block = {block_x, block_y, block_z}, .shared = shared};
  const i32* has = function->has;
  u64 threads = 1;
  for (u32 i = 0; i < 3; ++i) {
    REQUIRE(w.grid[i], ErrorInvalidValue);
    REQUIRE(w.block[i] && (u64)w.grid[i] * w.block[i] <= ~0u, ErrorInvalidConfiguration);
    REQUIRE((threads *= w.block[i]) <= WORKGROUP_LIMIT, ErrorInvalidValue);
  }
  REQUIRE((u64)has[STATIC_LDS] + shared <= LDS_BYTES, ErrorInvalidValue);
  REQUIRE(threads <= (u64)has[MAX_THREADS], ErrorLaunchFailure);
  u64* marks = (u64*)extra;   // HIP_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END
  REQUIRE(extra ? marks[0] == 1 && marks[2] == 2 && marks[4] == 3 : !has[EXPLICIT_BYTES], ErrorInvalidValue);
  // ROCm takes what the kernel needs from the buffer, however short that is; here the length has to be right.
  w.size = extra ? *(u64*)extra[3] : 0;
  REQUIRE(w.size >= (u64)has[EXPLICIT_BYTES] && w.size <= (u64)has[KERNARG_BYTES], ErrorInvalidValue);
  memcpy(add(stream, &w, w.size)->bytes, extra ? extra[1] : 0, w.size);
  return end(Success);
}

// ---- streams, and graphs captured from them
int hipStreamCreateWithFlags(Object** stream, u32 flags) {
  BEGIN(CAPTURED);
  REQUIRE(stream && flags == 1, ErrorInvalidValue);   // hipStreamNonBlocking: does not wait for the null stream
  make(STREAM, stream);
  return end(Success);
}

int hipStreamSynchronize(Object* given) {
  BEGIN(ALONE);
  Object* stream = stream_of(given);
  REQUIRE(stream, ErrorInvalidHandle);
  return end(drain(stream, 0));
}

int hipStreamDestroy(Object* stream) {
  BEGIN(ALONE);
  REQUIRE(is(stream, STREAM), ErrorInvalidHandle);
  status = drain(stream, 0);
  return end(status ? status : drop(stream));
}

int hipStreamBeginCapture(Object* stream, u32 mode) {
  BEGIN(CAPTURED);
  REQUIRE(!mode, ErrorNotSupported);   // all but hipStreamCaptureModeGlobal
  REQUIRE(is(stream, STREAM), stream ? ErrorInvalidHandle : ErrorStreamCaptureUnsupported);
  REQUIRE(!stream->of, ErrorInvalidValue);
  stream->of = make(GRAPH, 0);
  return end(Success);
}

int hipStreamEndCapture(Object* stream, Object** graph) {
  BEGIN(CAPTURED);
  REQUIRE(graph && is(stream, STREAM), ErrorInvalidValue);
  REQUIRE(stream->of, ErrorStreamCaptureUnmatched);
  *graph = stream->of;
  stream->of = 0;
  REQUIRE((*graph)->done, Success);
  drop(*graph);
  *graph = 0;
  return end(ErrorStreamCaptureInvalidated);
}

int hipGraphInstantiateWithFlags(Object** exec, Object* graph, u64 flags) {
  BEGIN(CAPTURED);
  REQUIRE(exec && is(graph, GRAPH) && !flags, ErrorInvalidValue);
  Object like = {.of = make(GRAPH_EXEC, exec)};
  add_all(&like, graph->work);
  return end(Success);
}

int hipGraphLaunch(Object* exec, Object* given) {
  BEGIN(CAPTURED);
  Object* stream = stream_of(given);
  REQUIRE(stream && is(exec, GRAPH_EXEC), ErrorInvalidValue);
  add_all(stream, exec->work);
  return end(Success);
}

static int destroy(Object* object, Kind kind) {
  BEGIN(CAPTURED);
  REQUIRE(is(object, kind), ErrorInvalidValue);
  return end(drop(object));
}

int hipGraphDestroy(Object* graph) { return destroy(graph, GRAPH); }
int hipGraphExecDestroy(Object* exec) { return destroy(exec, GRAPH_EXEC); }

// ---- events: the time between any two is zero, for this device has no clock
int hipEventCreate(Object** event) {
  BEGIN(CAPTURED);
  REQUIRE(event, ErrorInvalidValue);
  make(EVENT, event);
  return end(Success);
}

int hipEventDestroy(Object* event) { return destroy(event, EVENT); }

int hipEventRecord(Object* event, Object* given) {
  BEGIN(CAPTURED);
  Object* stream = stream_of(given);
  REQUIRE(stream && is(event, EVENT), ErrorInvalidHandle);
  event->of = stream; event->done = 0;
  add(stream, &(Work){.what = RECORD, .on = event}, 0);
  return end(Success);
}

int hipEventSynchronize(Object* event) {
  BEGIN(ALONE);
  REQUIRE(is(event, EVENT), ErrorInvalidHandle);
  return end(event->of && !event->done ? drain(event->of, event) : Success);
}

int hipEventElapsedTime(float* milliseconds, Object* from, Object* to) {
  BEGIN(CAPTURED);
  REQUIRE(milliseconds && is(from, EVENT) && is(to, EVENT) && from->of && to->of, ErrorInvalidHandle);
  REQUIRE(from->done && to->done, ErrorNotReady);
  *milliseconds = 0;
  return end(Success);
}
