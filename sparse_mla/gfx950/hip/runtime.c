// A HIP runtime whose one device is the emulator: the functions of HIP's API that sparse_mla/execute/hip_device.py and
// csrc/torch_op call, with HIP's signatures. Device memory is host memory that hipMalloc gave or hipHostRegister named.
//
// Work is queued and done when somebody waits for it, stream by stream, so that a host that forgets to wait reads old bytes, and
// a fault of a kernel comes to light at a later call than its launch. What of a launch is refused, and by which code, follows
// ROCm's clr (hipamd/src/hip_module.cpp); codes are those of HIP's hip_runtime_api.h.

// The bundled compiler brings no headers. The functions are of the C library that every process has.
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __SIZE_TYPE__ size_t;
#define NULL ((void*)0)
void* calloc(size_t, size_t);
void free(void*);
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
int pthread_mutex_lock(void*);
int pthread_mutex_unlock(void*);

#define ERRORS(X)                                                                                                                \
  X(Success, 0, "no error")                                                                                                      \
  X(ErrorInvalidValue, 1, "invalid argument")                                                                                    \
  X(ErrorOutOfMemory, 2, "out of memory")                                                                                        \
  X(ErrorInvalidConfiguration, 9, "invalid configuration argument")                                                              \
  X(ErrorInvalidDeviceFunction, 98, "invalid device function")                                                                   \
  X(ErrorInvalidDevice, 101, "invalid device ordinal")                                                                           \
  X(ErrorInvalidImage, 200, "device kernel image is invalid")                                                                    \
  X(ErrorNoBinaryForGpu, 209, "no kernel image is available for execution on the device")                                        \
  X(ErrorInvalidHandle, 400, "invalid resource handle")                                                                          \
  X(ErrorNotFound, 500, "named symbol not found")                                                                                \
  X(ErrorIllegalAddress, 700, "an illegal memory access was encountered")                                                        \
  X(ErrorHostMemoryAlreadyRegistered, 712, "part or all of the requested memory range is already mapped")                        \
  X(ErrorHostMemoryNotRegistered, 713, "pointer does not correspond to a registered memory region")                              \
  X(ErrorLaunchFailure, 719, "unspecified launch failure")                                                                       \
  X(ErrorNotSupported, 801, "operation not supported")                                                                           \
  X(ErrorStreamCaptureUnsupported, 900, "operation not permitted when stream is capturing")                                      \
  X(ErrorStreamCaptureInvalidated, 901, "operation failed due to a previous error during capture")                               \
  X(ErrorStreamCaptureUnmatched, 903, "the capture was not initiated in this stream")                                            \
  X(ErrorUnknown, 999, "unknown error")

#define CODE(name, code, text) hip##name = code,
enum { ERRORS(CODE) };
enum { HIP_VERSION = 70000000, GFX950 = 0x4f, EM_AMDGPU = 224, LDS_BYTES = 163840, WORKGROUP_LIMIT = 1024 };
static const uint64_t MEMORY_BYTES = 288000000000; // AMD's data sheet of the MI355X

enum kind { BLOCK, HOST, MODULE, FUNCTION, STREAM, EVENT, GRAPH, EXEC };
enum { MAX_THREADS, STATIC_LDS, PRIVATE_BYTES, VGPRS, EXPLICIT_BYTES, KERNARG_BYTES, ATTRIBUTES };

typedef struct Object Object;
typedef struct Op Op;
struct Object {
  Object* next;
  enum kind kind;
  char* at; // of memory
  size_t size;
  int64_t id;                     // of a module or function, on the emulator's side
  int32_t attributes[ATTRIBUTES]; // of a function
  Object* of;                     // a function's module; a stream's graph while it captures; an event's stream
  Op* ops;                        // of a graph
  bool done;                      // an event's; a graph's: its capture failed
};

struct Op {
  Op* next;
  Object* stream;
  enum { LAUNCH, COPY, SET, RECORD } what;
  Object* on; // function or event
  uint32_t grid[3], block[3], shared;
  void* to;
  const void* from;
  int value;
  size_t size;
  char bytes[]; // a launch's arguments, `size` of them
};

typedef struct {
  uint64_t base, size;
} Range;

// The emulator, which is driven from Python. Ids are >= 0; what is negative is an error's code with its sign turned.
static struct {
  int64_t (*load)(const void* image, size_t size);
  int64_t (*function)(int64_t module, const char* name, int32_t* attributes);
  int64_t (*launch)(int64_t function, const uint32_t* grid, const uint32_t* block, uint32_t shared, const void* bytes,
                    size_t size, const Range* ranges, size_t n_ranges);
  void (*unload)(int64_t module);
} emulator;

static _Alignas(16) char mutex[64]; // all zero is an unlocked one, with glibc and with musl
static Object *objects, null_stream = {.kind = STREAM};
static Op* queue;
static uint64_t allocated;
static int broken; // a fault stays until hipDeviceReset
static _Thread_local int last;

static int end(int status) {
  if (status)
    last = status;
  pthread_mutex_unlock(mutex);
  return status;
}

// Every call that does something begins so. One that could wait or allocate ends every capture.
static int begin(bool may_wait) {
  pthread_mutex_lock(mutex);
  int status = broken;
  for (Object* o = objects; may_wait && o; o = o->next)
    if (o->kind == STREAM && o->of)
      o->of->done = true, status = hipErrorStreamCaptureUnsupported;
  return status;
}

#define BEGIN(may_wait)                                                                                                          \
  int status = begin(may_wait);                                                                                                  \
  if (status)                                                                                                                    \
  return end(status)
#define REQUIRE(condition, code)                                                                                                 \
  if (!(condition))                                                                                                              \
  return end(code)

static Object* make(enum kind kind) {
  Object* object = calloc(1, sizeof *object);
  object->kind = kind, object->next = objects;
  return objects = object;
}

static bool is(const Object* given, enum kind kind) {
  for (Object* o = objects; o; o = o->next)
    if (o == given)
      return o->kind == kind;
  return false;
}

static void free_ops(Op* op) {
  for (Op* next; op; op = next)
    next = op->next, free(op);
}

static void drop(Object* object) {
  for (Object** at = &objects; *at; at = &(*at)->next)
    if (*at == object) {
      *at = object->next;
      break;
    }
  if (object->kind == BLOCK)
    free(object->at), allocated -= object->size;
  if (object->kind == MODULE)
    emulator.unload(object->id);
  free_ops(object->ops);
  free(object);
}

static Object* memory(const void* at, enum kind kind) {
  for (Object* o = objects; o; o = o->next)
    if (o->kind == kind && o->at == at)
      return o;
  return NULL;
}

static bool on_device(const void* at, size_t size) {
  const char* first = at;
  for (Object* o = objects; o; o = o->next)
    if (o->kind <= HOST && o->at <= first && first + size <= o->at + o->size)
      return true;
  return false;
}

static int perform(const Op* op) {
  if (op->what == COPY)
    memcpy(op->to, op->from, op->size);
  if (op->what == SET)
    memset(op->to, op->value, op->size);
  if (op->what == RECORD && is(op->on, EVENT))
    op->on->done = true;
  if (op->what != LAUNCH)
    return hipSuccess;
  if (!is(op->on, FUNCTION))
    return hipErrorInvalidDeviceFunction; // its module was unloaded, and a graph launched it
  size_t n = 0;
  for (Object* o = objects; o; o = o->next)
    n += o->kind <= HOST;
  Range* ranges = calloc(n + 1, sizeof *ranges);
  n = 0;
  for (Object* o = objects; o; o = o->next)
    if (o->kind <= HOST)
      ranges[n++] = (Range){(uintptr_t)o->at, o->size};
  int64_t status = emulator.launch(op->on->id, op->grid, op->block, op->shared, op->bytes, op->size, ranges, n);
  free(ranges);
  return (int)-status;
}

// Does what is queued on a stream, or on all (NULL), up to an event if one is given.
static int drain(Object* stream, const Object* event) {
  for (Op** at = &queue; *at && !broken;) {
    Op* op = *at;
    if (stream && op->stream != stream) {
      at = &op->next;
      continue;
    }
    *at = op->next;
    broken = perform(op);
    bool stop = event && op->what == RECORD && op->on == event;
    free(op);
    if (stop)
      break;
  }
  return broken;
}

static void append(Op** to, Op* op) {
  while (*to)
    to = &(*to)->next;
  *to = op;
}

static Op* make_op(int what, Object* stream, size_t bytes) {
  Op* op = calloc(1, sizeof *op + bytes);
  op->what = what, op->stream = stream;
  append(stream->of ? &stream->of->ops : &queue, op);
  return op;
}

static Object* stream_of(Object* given) { return !given ? &null_stream : is(given, STREAM) ? given : NULL; }

// ---- the emulator's side: this name is also how a caller tells this library from ROCm's
void sparse_mla_emulated_hip(const void* callbacks) { memcpy(&emulator, callbacks, sizeof emulator); }

// ---- device and errors
int hipInit(unsigned flags) { return flags ? hipErrorInvalidValue : hipSuccess; }

int hipRuntimeGetVersion(int* version) { return version ? *version = HIP_VERSION, hipSuccess : hipErrorInvalidValue; }

int hipGetDeviceCount(int* count) { return count ? *count = 1, hipSuccess : hipErrorInvalidValue; }

int hipGetDevice(int* device) { return device ? *device = 0, hipSuccess : hipErrorInvalidValue; }

int hipDeviceGetName(char* name, int size, int device) {
  static const char own[] = "gfx950, emulated on this CPU";
  BEGIN(false);
  REQUIRE(name && size > 0, hipErrorInvalidValue);
  REQUIRE(device == 0, hipErrorInvalidDevice);
  for (int i = 0; i < size; i++)
    name[i] = i < (int)sizeof own && i < size - 1 ? own[i] : 0;
  return end(hipSuccess);
}

int hipDeviceSynchronize(void) {
  BEGIN(true);
  return end(drain(NULL, NULL));
}

int hipDeviceReset(void) {
  pthread_mutex_lock(mutex);
  while (objects)
    drop(objects);
  free_ops(queue);
  queue = NULL, broken = last = 0;
  return end(hipSuccess);
}

int hipGetLastError(void) {
  int was = last ? last : broken;
  last = 0;
  return was;
}

const char* hipGetErrorName(int code) {
#define NAME(name, code, text)                                                                                                   \
  case code:                                                                                                                     \
    return "hip" #name;
  switch (code) { ERRORS(NAME) }
  return "hipErrorUnknown";
}

const char* hipGetErrorString(int code) {
#define TEXT(name, code, text)                                                                                                   \
  case code:                                                                                                                     \
    return text;
  switch (code) { ERRORS(TEXT) }
  return "unknown error";
}

// ---- memory
int hipMalloc(void** pointer, size_t size) {
  BEGIN(true);
  REQUIRE(pointer, hipErrorInvalidValue);
  *pointer = NULL;
  if (!size)
    return end(hipSuccess);
  char* at = size <= MEMORY_BYTES - allocated ? calloc(1, size) : NULL;
  REQUIRE(at, hipErrorOutOfMemory);
  Object* block = make(BLOCK);
  block->at = *pointer = at, block->size = size, allocated += size;
  return end(hipSuccess);
}

int hipFree(void* pointer) {
  BEGIN(true);
  if (!pointer)
    return end(hipSuccess);
  Object* block = memory(pointer, BLOCK);
  REQUIRE(block, hipErrorInvalidValue);
  status = drain(NULL, NULL);
  if (!status)
    drop(block);
  return end(status);
}

int hipHostRegister(void* pointer, size_t size, unsigned flags) {
  BEGIN(true);
  REQUIRE(pointer && size && !flags, hipErrorInvalidValue);
  for (Object* o = objects; o; o = o->next)
    if (o->kind <= HOST)
      REQUIRE((char*)pointer + size <= o->at || o->at + o->size <= (char*)pointer, hipErrorHostMemoryAlreadyRegistered);
  Object* host = make(HOST);
  host->at = pointer, host->size = size;
  return end(hipSuccess);
}

int hipHostUnregister(void* pointer) {
  BEGIN(true);
  Object* host = memory(pointer, HOST);
  REQUIRE(host, hipErrorHostMemoryNotRegistered);
  status = drain(NULL, NULL);
  drop(host);
  return end(status);
}

static int copy(void* to, const void* from, size_t size, int kind, Object* given, bool wait) {
  enum { FROM_DEVICE = 2, TO_DEVICE = 1, BOTH = 3, DEFAULT = 4 };
  BEGIN(wait);
  Object* stream = stream_of(given);
  REQUIRE(stream, hipErrorInvalidHandle);
  REQUIRE(kind >= 0 && kind <= DEFAULT && (!size || (to && from)), hipErrorInvalidValue);
  REQUIRE((kind != TO_DEVICE && kind != BOTH) || on_device(to, size), hipErrorInvalidValue);
  REQUIRE((kind != FROM_DEVICE && kind != BOTH) || on_device(from, size), hipErrorInvalidValue);
  Op* op = make_op(COPY, stream, 0);
  op->to = to, op->from = from, op->size = size;
  return end(wait ? drain(stream, NULL) : hipSuccess);
}

int hipMemcpy(void* to, const void* from, size_t size, int kind) { return copy(to, from, size, kind, NULL, true); }

int hipMemcpyAsync(void* to, const void* from, size_t size, int kind, Object* stream) {
  return copy(to, from, size, kind, stream, false);
}

int hipMemsetAsync(void* to, int value, size_t size, Object* given) {
  BEGIN(false);
  Object* stream = stream_of(given);
  REQUIRE(stream, hipErrorInvalidHandle);
  REQUIRE(on_device(to, size), hipErrorInvalidValue);
  Op* op = make_op(SET, stream, 0);
  op->to = to, op->value = value, op->size = size;
  return end(hipSuccess);
}

// ---- modules
int hipModuleLoadData(Object** module, const void* image) {
  BEGIN(true);
  REQUIRE(module && image, hipErrorInvalidValue);
  const uint8_t* elf = image;
  REQUIRE(elf[0] == 0x7f && elf[1] == 'E' && elf[2] == 'L' && elf[3] == 'F', hipErrorInvalidImage);
  uint16_t machine, each, count;
  uint32_t flags;
  uint64_t sections;
  memcpy(&machine, elf + 18, 2), memcpy(&sections, elf + 40, 8), memcpy(&flags, elf + 48, 4);
  memcpy(&each, elf + 58, 2), memcpy(&count, elf + 60, 2);
  REQUIRE(machine == EM_AMDGPU, hipErrorInvalidImage);
  REQUIRE((flags & 0xff) == GFX950, hipErrorNoBinaryForGpu);
  int64_t id = emulator.load(image, sections + (uint64_t)each * count); // section headers come last
  REQUIRE(id >= 0, (int)-id);
  *module = make(MODULE);
  (*module)->id = id;
  return end(hipSuccess);
}

int hipModuleUnload(Object* module) {
  BEGIN(true);
  REQUIRE(is(module, MODULE), hipErrorInvalidHandle);
  status = drain(NULL, NULL);
  for (Object *o = objects, *next; o; o = next) {
    next = o->next;
    if (o->kind == FUNCTION && o->of == module)
      drop(o);
  }
  drop(module);
  return end(status);
}

int hipModuleGetFunction(Object** function, Object* module, const char* name) {
  BEGIN(false);
  REQUIRE(function && name && *name, hipErrorInvalidValue);
  REQUIRE(is(module, MODULE), hipErrorInvalidHandle);
  int32_t attributes[ATTRIBUTES];
  int64_t id = emulator.function(module->id, name, attributes);
  REQUIRE(id >= 0, (int)-id);
  *function = make(FUNCTION);
  (*function)->id = id, (*function)->of = module;
  memcpy((*function)->attributes, attributes, sizeof attributes);
  return end(hipSuccess);
}

int hipFuncGetAttribute(int* value, int attribute, Object* function) {
  static const int known[] = {MAX_THREADS, STATIC_LDS, -1, PRIVATE_BYTES, VGPRS}; // by HIP_FUNC_ATTRIBUTE_...
  BEGIN(false);
  REQUIRE(is(function, FUNCTION), hipErrorInvalidHandle);
  REQUIRE(value && attribute >= 0 && attribute < 5 && known[attribute] >= 0, hipErrorInvalidValue);
  *value = function->attributes[known[attribute]];
  return end(hipSuccess);
}

int hipModuleLaunchKernel(Object* function, uint32_t grid_x, uint32_t grid_y, uint32_t grid_z, uint32_t block_x, uint32_t block_y,
                          uint32_t block_z, uint32_t shared, Object* given, void** parameters, void** extra) {
  const uint32_t grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
  BEGIN(false);
  REQUIRE(is(function, FUNCTION), hipErrorInvalidImage);
  Object* stream = stream_of(given);
  REQUIRE(stream, hipErrorInvalidHandle);
  REQUIRE(!parameters, extra ? hipErrorInvalidValue : hipErrorNotSupported);
  const int32_t* has = function->attributes;
  uint64_t threads = 1;
  for (int i = 0; i < 3; i++) {
    REQUIRE(grid[i], hipErrorInvalidValue);
    REQUIRE(block[i] && (uint64_t)grid[i] * block[i] <= ~0u, hipErrorInvalidConfiguration);
    threads = threads * block[i] > WORKGROUP_LIMIT ? WORKGROUP_LIMIT + 1 : threads * block[i];
  }
  REQUIRE((uint64_t)has[STATIC_LDS] + shared <= LDS_BYTES && threads <= WORKGROUP_LIMIT, hipErrorInvalidValue);
  REQUIRE(threads <= (uint64_t)has[MAX_THREADS], hipErrorLaunchFailure);
  uintptr_t* marks = (uintptr_t*)extra;
  REQUIRE(extra ? marks[0] == 1 && marks[2] == 2 && marks[4] == 3 : !has[EXPLICIT_BYTES], hipErrorInvalidValue);
  // ROCm takes what the kernel needs from the buffer, however long that is; here its length has to be right.
  size_t size = extra ? *(size_t*)extra[3] : 0;
  REQUIRE(size >= (size_t)has[EXPLICIT_BYTES] && size <= (size_t)has[KERNARG_BYTES], hipErrorInvalidValue);
  Op* op = make_op(LAUNCH, stream, size);
  op->on = function, op->shared = shared, op->size = size;
  memcpy(op->grid, grid, sizeof grid), memcpy(op->block, block, sizeof block);
  if (size)
    memcpy(op->bytes, extra[1], size);
  return end(hipSuccess);
}

// ---- streams, and graphs captured from them
int hipStreamCreateWithFlags(Object** stream, unsigned flags) {
  BEGIN(false);
  REQUIRE(stream && flags == 1, hipErrorInvalidValue); // hipStreamNonBlocking: does not wait for the null stream
  *stream = make(STREAM);
  return end(hipSuccess);
}

int hipStreamDestroy(Object* stream) {
  BEGIN(true);
  REQUIRE(is(stream, STREAM), hipErrorInvalidHandle);
  status = drain(stream, NULL);
  if (!status)
    drop(stream);
  return end(status);
}

int hipStreamSynchronize(Object* given) {
  BEGIN(true);
  Object* stream = stream_of(given);
  REQUIRE(stream, hipErrorInvalidHandle);
  return end(drain(stream, NULL));
}

int hipStreamBeginCapture(Object* stream, int mode) {
  BEGIN(false);
  REQUIRE(mode == 0, hipErrorNotSupported); // hipStreamCaptureModeGlobal
  REQUIRE(is(stream, STREAM), stream ? hipErrorInvalidHandle : hipErrorStreamCaptureUnsupported);
  REQUIRE(!stream->of, hipErrorInvalidValue);
  stream->of = make(GRAPH);
  return end(hipSuccess);
}

int hipStreamEndCapture(Object* stream, Object** graph) {
  BEGIN(false);
  REQUIRE(graph && is(stream, STREAM), hipErrorInvalidValue);
  REQUIRE(stream->of, hipErrorStreamCaptureUnmatched);
  Object* made = stream->of;
  stream->of = NULL;
  *graph = made->done ? NULL : made;
  if (*graph)
    return end(hipSuccess);
  drop(made);
  return end(hipErrorStreamCaptureInvalidated);
}

static Op* copies(const Op* op, Object* stream) {
  Op* first = NULL;
  for (; op; op = op->next) {
    size_t size = sizeof *op + (op->what == LAUNCH ? op->size : 0);
    Op* own = calloc(1, size);
    memcpy(own, op, size);
    own->next = NULL, own->stream = stream;
    append(&first, own);
  }
  return first;
}

int hipGraphInstantiateWithFlags(Object** exec, Object* graph, uint64_t flags) {
  BEGIN(false);
  REQUIRE(exec && is(graph, GRAPH) && !flags, hipErrorInvalidValue);
  *exec = make(EXEC);
  (*exec)->ops = copies(graph->ops, NULL);
  return end(hipSuccess);
}

int hipGraphLaunch(Object* exec, Object* given) {
  BEGIN(false);
  Object* stream = stream_of(given);
  REQUIRE(stream && is(exec, EXEC), hipErrorInvalidValue);
  append(stream->of ? &stream->of->ops : &queue, copies(exec->ops, stream));
  return end(hipSuccess);
}

static int destroy(Object* object, enum kind kind) {
  BEGIN(false);
  REQUIRE(is(object, kind), hipErrorInvalidValue);
  drop(object);
  return end(hipSuccess);
}

int hipGraphDestroy(Object* graph) { return destroy(graph, GRAPH); }

int hipGraphExecDestroy(Object* exec) { return destroy(exec, EXEC); }

// ---- events: their times are all zero, for this device has no clock
int hipEventCreate(Object** event) {
  BEGIN(false);
  REQUIRE(event, hipErrorInvalidValue);
  *event = make(EVENT);
  return end(hipSuccess);
}

int hipEventDestroy(Object* event) { return destroy(event, EVENT); }

int hipEventRecord(Object* event, Object* given) {
  BEGIN(false);
  Object* stream = stream_of(given);
  REQUIRE(stream && is(event, EVENT), hipErrorInvalidHandle);
  event->of = stream, event->done = false;
  make_op(RECORD, stream, 0)->on = event;
  return end(hipSuccess);
}

int hipEventSynchronize(Object* event) {
  BEGIN(true);
  REQUIRE(is(event, EVENT), hipErrorInvalidHandle);
  return end(event->of && !event->done ? drain(event->of, event) : hipSuccess);
}

int hipEventElapsedTime(float* milliseconds, Object* from, Object* to) {
  BEGIN(false);
  REQUIRE(milliseconds, hipErrorInvalidValue);
  REQUIRE(is(from, EVENT) && is(to, EVENT) && from->of && to->of, hipErrorInvalidHandle);
  REQUIRE(from->done && to->done, 600); // hipErrorNotReady
  *milliseconds = 0;
  return end(hipSuccess);
}
