// Activations, elementwise: a thread takes WIDTH numbers at a time, and goes on by the size of the grid.

struct Sigmoid {
    template <typename A>
    static __device__ A of(A x) {
        return sigmoid(x);
    }
};

struct SiLU {
    template <typename A>
    static __device__ A of(A x) {
        return silu(x);
    }
};

// y = F(x); the numbers that do not fill a pack are the last block's
template <typename F, typename T, int WIDTH>
__device__ void apply(const T *x, T *y, int n) {
    const int packs = n / WIDTH, step = gridDim.x * blockDim.x, thread = blockIdx.x * blockDim.x + threadIdx.x;
    for (int p = thread; p < packs; p += step) {
        Pack<T, WIDTH> pack = load<T, WIDTH>(x + p * WIDTH);
        for (int k = 0; k < WIDTH; ++k) pack.at[k] = T(F::of(wide(pack.at[k])));
        store(y + p * WIDTH, pack);
    }
    for (int i = packs * WIDTH + thread; i < n; i += step) y[i] = T(F::of(wide(x[i])));
}

template <typename T, int WIDTH>
__global__ void sigmoid_forward(const T *x, T *y, int n) {
    apply<Sigmoid, T, WIDTH>(x, y, n);
}

template <typename T, int WIDTH>
__global__ void silu_forward(const T *x, T *y, int n) {
    apply<SiLU, T, WIDTH>(x, y, n);
}

template <typename T, int WIDTH>
__global__ void silu_backward(const T *x, const T *dy, T *dx, int n) {
    const int packs = n / WIDTH, step = gridDim.x * blockDim.x, thread = blockIdx.x * blockDim.x + threadIdx.x;
    for (int p = thread; p < packs; p += step) {
        const Pack<T, WIDTH> at = load<T, WIDTH>(x + p * WIDTH);
        Pack<T, WIDTH> pack = load<T, WIDTH>(dy + p * WIDTH);
        for (int k = 0; k < WIDTH; ++k) pack.at[k] = T(wide(pack.at[k]) * silu_slope(wide(at.at[k])));
        store(dx + p * WIDTH, pack);
    }
    for (int i = packs * WIDTH + thread; i < n; i += step) dx[i] = T(wide(dy[i]) * silu_slope(wide(x[i])));
}
