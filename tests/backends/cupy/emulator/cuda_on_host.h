// CUDA C++ on the CPU, for tests: this text stands before a kernel's source and makes it ordinary C++.
//
// A block's threads are fibers on one thread of the machine. Each runs until it meets a barrier (__syncthreads, or a warp
// shuffle, for which its warp meets) and then lets the next run. A warp goes as far ahead of the others as barriers allow,
// warps and lanes take turns in shuffled orders, and blocks come first to last or last to first: a forgotten barrier gives
// a wrong result. Where threads wait for one that has ended or waits elsewhere, where a device would hang, there is an
// error. What is shared and dynamic is filled with NaNs first.

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <math.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __shared__ static
#define DYNAMIC_SHARED(Type, name) Type *const name = reinterpret_cast<Type *>(emulator::dynamic_shared)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

constexpr int MOST_THREADS = 1024, LANES = 32;
constexpr size_t STACK = 128 * 1024, SHARED = 48 * 1024;

alignas(16) static unsigned char dynamic_shared[SHARED];

enum State { READY, AT_BLOCK, AT_WARP, ENDED };

struct Fiber {
    State state = ENDED;
    bool begun = false;
    dim3 index;
    jmp_buf place;
    ucontext_t first;
    unsigned turn = 0;  // which of its warp's two sets of slots the next shuffle uses
};

struct Warp {
    unsigned char slot[2][LANES][16];
    int arrived = 0;
};

static Fiber fibers[MOST_THREADS];
static Warp warps[MOST_THREADS / LANES];
static int count = 0, current = 0, at_block = 0, ended = 0;
static jmp_buf scheduler;
static void (*body)(void *) = nullptr;
static void *body_argument = nullptr;
static uint64_t random_state = 1;
static char *message = nullptr;

inline unsigned draw(unsigned below) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return static_cast<unsigned>((random_state >> 33) % below);
}

inline void yield() {
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

inline void fiber_main() {  // a fiber lives on, to be used by the next block
    for (;;) {
        body(body_argument);
        fibers[current].state = ENDED;
        ++ended;
        yield();
    }
}

inline void resume(int thread) {
    Fiber &fiber = fibers[thread];
    current = thread;
    threadIdx = fiber.index;
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.place, 1);
    fiber.begun = true;
    getcontext(&fiber.first);
    fiber.first.uc_stack.ss_sp = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fiber.first.uc_stack.ss_size = STACK;
    fiber.first.uc_link = nullptr;
    makecontext(&fiber.first, fiber_main, 0);
    setcontext(&fiber.first);
}

inline int warp_size(int warp) { return count - warp * LANES < LANES ? count - warp * LANES : LANES; }

// All threads of the block meet.
inline void block_barrier() {
    fibers[current].state = AT_BLOCK;
    if (++at_block == count) {
        for (int t = 0; t < count; ++t) fibers[t].state = READY;
        at_block = 0;
    }
    yield();
}

// All threads of a warp meet.
inline void warp_barrier() {
    const int warp = current / LANES;
    fibers[current].state = AT_WARP;
    if (++warps[warp].arrived == warp_size(warp)) {
        for (int t = warp * LANES; t < warp * LANES + warp_size(warp); ++t) fibers[t].state = READY;
        warps[warp].arrived = 0;
    }
    yield();
}

inline void shuffle(int *order, int length) {
    for (int i = length - 1; i > 0; --i) {
        const int other = draw(i + 1), swapped = order[i];
        order[i] = order[other], order[other] = swapped;
    }
}

// Runs one warp until all its threads wait for the block or have ended; false where none of them could move.
inline bool run_warp(int warp) {
    int order[LANES];
    const int size = warp_size(warp);
    for (int lane = 0; lane < size; ++lane) order[lane] = warp * LANES + lane;
    bool moved = false;
    for (bool again = true; again;) {
        again = false;
        shuffle(order, size);
        for (int lane = 0; lane < size; ++lane) {
            if (fibers[order[lane]].state != READY) continue;
            resume(order[lane]);
            moved = again = true;
        }
    }
    return moved;
}

// Runs one block; false where its threads wait for each other for ever.
inline bool run_block(size_t shared) {
    memset(dynamic_shared, 0xff, shared);
    at_block = ended = 0;
    int order[MOST_THREADS / LANES];
    for (int t = 0; t < count; ++t) {
        const int x = t % blockDim.x, y = t / blockDim.x % blockDim.y, z = t / (blockDim.x * blockDim.y);
        fibers[t].index = {unsigned(x), unsigned(y), unsigned(z)};
        fibers[t].state = READY;
    }
    const int number = (count + LANES - 1) / LANES;
    for (int warp = 0; warp < number; ++warp) order[warp] = warp, warps[warp].arrived = 0;
    while (ended < count) {
        shuffle(order, number);
        bool moved = false;
        for (int i = 0; i < number; ++i) moved |= run_warp(order[i]);
        if (!moved) return false;
    }
    return true;
}

// Calls a kernel with arguments given by their addresses, as cuLaunchKernel does.
template <typename... P>
struct Call {
    void (*kernel)(P...);
    void **args;

    template <size_t... I>
    void with(std::index_sequence<I...>) {
        kernel(*static_cast<P *>(args[I])...);
    }

    static void run(void *self) { static_cast<Call *>(self)->with(std::make_index_sequence<sizeof...(P)>()); }
};

template <typename... P>
int launch(void (*kernel)(P...), const unsigned *grid, const unsigned *block, unsigned shared, void **args,
           const unsigned *sizes, int passed, uint64_t seed, char *text, int room) {
    const size_t expected[] = {sizeof(P)...};
    if (passed != int(sizeof...(P))) return snprintf(text, room, "%d arguments passed, %d declared", passed, int(sizeof...(P)));
    for (int i = 0; i < passed; ++i)
        if (sizes[i] != expected[i])
            return snprintf(text, room, "argument %d has %u bytes, %u declared", i, sizes[i], unsigned(expected[i]));
    Call<P...> call{kernel, args};
    body = Call<P...>::run, body_argument = &call;
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
    count = block[0] * block[1] * block[2];
    if (count > MOST_THREADS || shared > SHARED) return snprintf(text, room, "%d threads, %u bytes shared", count, shared);
    random_state = seed * 2654435761u + 88172645463325252u;
    const uint64_t blocks = uint64_t(grid[0]) * grid[1] * grid[2];
    const bool backwards = draw(2);
    for (uint64_t b = 0; b < blocks; ++b) {
        const uint64_t i = backwards ? blocks - 1 - b : b;
        blockIdx = {unsigned(i % grid[0]), unsigned(i / grid[0] % grid[1]), unsigned(i / (uint64_t(grid[0]) * grid[1]))};
        if (!run_block(shared)) {
            // the fibers are left where they wait; new ones take their place
            for (int t = 0; t < count; ++t) fibers[t].begun = false;
            return snprintf(text, room, "block (%u, %u, %u): %d of %d threads ended, %d wait at __syncthreads, the rest for "
                            "their warp: a device would hang", blockIdx.x, blockIdx.y, blockIdx.z, ended, count, at_block);
        }
    }
    return 0;
}

// The value of another lane of the warp; every lane takes part. Two sets of slots: one barrier a shuffle is enough.
template <typename V>
V exchange(V value, int lane) {
    static_assert(sizeof(V) <= 16, "a shuffle moves at most 16 bytes here");
    Warp &warp = warps[current / LANES];
    unsigned char(*slot)[16] = warp.slot[fibers[current].turn++ % 2];
    memcpy(slot[current % LANES], &value, sizeof(V));
    warp_barrier();
    memcpy(&value, slot[lane], sizeof(V));
    return value;
}

inline int own_lane() { return current % LANES; }

}  // namespace emulator

// -- what CUDA declares ------------------------------------------------------------------------------------------------

inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp(unsigned = ~0u) { emulator::warp_barrier(); }
inline void __threadfence() {}

template <typename V>
V __shfl_xor_sync(unsigned, V value, int mask) {
    return emulator::exchange(value, emulator::own_lane() ^ mask);
}
template <typename V>
V __shfl_down_sync(unsigned, V value, int step) {
    const int lane = emulator::own_lane() + step;
    return emulator::exchange(value, lane < emulator::LANES ? lane : emulator::own_lane());
}
template <typename V>
V __shfl_sync(unsigned, V value, int lane) {
    return emulator::exchange(value, lane % emulator::LANES);
}

template <typename V, typename U>
V atomicAdd(V *to, U value) {
    const V before = *to;
    *to = before + V(value);
    return before;
}

template <typename V>
V __ldg(const V *from) {
    return *from;
}

inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

// float16's bits to and from a float: CUDA has an instruction for it
inline unsigned short half_bits(float x) {
    const _Float16 half = static_cast<_Float16>(x);
    unsigned short bits;
    memcpy(&bits, &half, 2);
    return bits;
}
inline float half_value(unsigned short bits) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return static_cast<float>(half);
}

template <typename V>
inline V min(V a, V b) {
    return b < a ? b : a;
}
template <typename V>
inline V max(V a, V b) {
    return a < b ? b : a;
}
