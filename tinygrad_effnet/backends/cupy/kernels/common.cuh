// What all kernels share: number types, vector loads, sums over a block, a walk over rows and columns.
//
// launch.py puts this text before each family's. No CUDA header is included, so NVRTC needs none to be installed, and the
// same text compiles with a C++ compiler behind the header that the tests put before it (tests/backends/cupy/emulator).

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

#ifndef DYNAMIC_SHARED  // the memory of a block whose size the launch gives
#define DYNAMIC_SHARED(Type, name)                              \
    extern __shared__ __align__(16) unsigned char block_bytes[]; \
    Type *const name = reinterpret_cast<Type *>(block_bytes)
#endif

// -- numbers: stored as T, computed with as Wide<T> -------------------------------------------------------------------

struct float16 {
    unsigned short bits;
    float16() = default;
#ifdef __CUDA_ARCH__
    __device__ explicit float16(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    __device__ operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }
#else
    __device__ explicit float16(float x) : bits(half_bits(x)) {}
    __device__ operator float() const { return half_value(bits); }
#endif
};

struct bfloat16 {  // the upper half of a float
    unsigned short bits;
    bfloat16() = default;
    __device__ explicit bfloat16(float x) {
        const unsigned whole = __float_as_uint(x);
        const unsigned to_even = 0x7fffu + ((whole >> 16) & 1u);
        bits = x != x ? 0x7fc0 : (whole + to_even) >> 16;
    }
    __device__ operator float() const { return __uint_as_float(static_cast<unsigned>(bits) << 16); }
};

template <typename T>
struct Computing {
    using Type = float;
};
template <>
struct Computing<double> {
    using Type = double;
};
template <typename T>
using Wide = typename Computing<T>::Type;

template <typename T>
__device__ Wide<T> wide(T x) {
    return static_cast<Wide<T>>(x);
}

// -- several numbers in one access of 16 bytes (WIDTH = 1 where addresses or lengths do not allow it) -----------------

template <typename T, int WIDTH>
struct alignas(sizeof(T) * WIDTH) Pack {
    T at[WIDTH];
};

template <typename T, int WIDTH>
__device__ Pack<T, WIDTH> load(const T *from) {
    return *reinterpret_cast<const Pack<T, WIDTH> *>(from);
}

template <typename T, int WIDTH>
__device__ void store(T *to, const Pack<T, WIDTH> &pack) {
    *reinterpret_cast<Pack<T, WIDTH> *>(to) = pack;
}

// Numbers of T that a thread takes at a time where it computes much with each: those that fill 16 bytes once they are wide
// (registers would not do for the eight of 16 bits). And whether an access may begin here.
template <typename T>
constexpr int FULL = 16 / sizeof(Wide<T>);

__device__ inline bool is_aligned(const void *address) {
    return reinterpret_cast<unsigned long long>(address) % 16 == 0;
}

// -- functions of one number ------------------------------------------------------------------------------------------

__device__ inline float exponential(float x) { return expf(x); }
__device__ inline double exponential(double x) { return exp(x); }
__device__ inline float logarithm(float x) { return logf(x); }
__device__ inline double logarithm(double x) { return log(x); }
__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }
__device__ inline float magnitude(float x) { return fabsf(x); }
__device__ inline double magnitude(double x) { return fabs(x); }

// less than every number
template <typename A>
__device__ A minus_infinity() {
    return A(-1) / A(0);
}

// 1 / (1 + exp(-x)); only ever the exponential of what is not positive, so that nothing overflows
template <typename A>
__device__ A sigmoid(A x) {
    const A e = exponential(-magnitude(x));
    return (x >= A(0) ? A(1) : e) / (A(1) + e);
}

template <typename A>
__device__ A silu(A x) {
    return x * sigmoid(x);
}

// the derivative of silu
template <typename A>
__device__ A silu_slope(A x) {
    const A s = sigmoid(x);
    return s * (A(1) + x * (A(1) - s));
}

// -- sums: always in the same order, so that a result is the same in every run ----------------------------------------

template <typename A>
__device__ A warp_sum(A x) {
    for (int step = WARP / 2; step; step /= 2) x += __shfl_xor_sync(ALL_LANES, x, step);
    return x;
}

// Sums each of COUNT numbers over the block; every thread gets them. The block is one-dimensional, whole warps.
template <int COUNT, typename A>
__device__ void block_sum(A (&x)[COUNT]) {
    __shared__ A of_warps[COUNT][WARP];
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    __syncthreads();  // an earlier sum may still be read
    for (int k = 0; k < COUNT; ++k) {
        const A sum = warp_sum(x[k]);
        if (lane == 0) of_warps[k][warp] = sum;
    }
    __syncthreads();
    for (int k = 0; k < COUNT; ++k) {
        A sum = A(0);
        for (int w = 0; w < warps; ++w) sum += of_warps[k][w];
        x[k] = sum;
    }
}

// -- a thread's way through rows of equal width, `stride` places a step, without dividing at each --------------------

struct Walk {
    int row, column;

    __device__ Walk(int start, int stride, int width)
        : row(start / width), column(start % width), rows(stride / width), columns(stride % width), width(width) {}

    __device__ void next() {
        row += rows;
        column += columns;
        if (column >= width) {
            column -= width;
            ++row;
        }
    }

   private:
    int rows, columns, width;
};
