// Softmax, its logarithm, and cross-entropy, along rows of `classes` numbers. A warp does a row.

// The maximum of a row and the sum of exp(x - maximum), for every lane. An infinite maximum less itself is NaN, and with
// it the sum and the whole row. A NaN is never larger, and makes the sum NaN as well.
template <typename T>
struct Row {
    Wide<T> shift, sum;

    __device__ Row(const T *x, int classes) {
        const int lane = threadIdx.x % WARP;
        Wide<T> most = minus_infinity<Wide<T>>();
        for (int k = lane; k < classes; k += WARP) most = wide(x[k]) > most ? wide(x[k]) : most;
        for (int step = WARP / 2; step; step /= 2) {
            const Wide<T> other = __shfl_xor_sync(ALL_LANES, most, step);
            most = other > most ? other : most;
        }
        shift = most;
        Wide<T> share = 0;
        for (int k = lane; k < classes; k += WARP) share += exponential(wide(x[k]) - shift);
        sum = warp_sum(share);
    }
};

__device__ inline int warp_number() { return (blockIdx.x * blockDim.x + threadIdx.x) / WARP; }

template <typename T>
__global__ void softmax(const T *x, int rows, int classes, T *y) {
    const int n = warp_number();
    if (n >= rows) return;
    x += n * classes, y += n * classes;
    const Row<T> row(x, classes);
    for (int k = threadIdx.x % WARP; k < classes; k += WARP) y[k] = T(exponential(wide(x[k]) - row.shift) / row.sum);
}

template <typename T>
__global__ void log_softmax(const T *x, int rows, int classes, T *y) {
    const int n = warp_number();
    if (n >= rows) return;
    x += n * classes, y += n * classes;
    const Row<T> row(x, classes);
    const Wide<T> log_sum = logarithm(row.sum);
    for (int k = threadIdx.x % WARP; k < classes; k += WARP) y[k] = T(wide(x[k]) - row.shift - log_sum);
}

// loss[n] = -sum of goal * log_softmax(x), and its gradient dx = softmax(x) * (sum of goal) - goal.
template <typename T>
__global__ void cross_entropy(const T *x, const T *goal, int rows, int classes, T *loss, T *dx) {
    const int n = warp_number();
    if (n >= rows) return;
    x += n * classes, goal += n * classes, dx += n * classes;
    const Row<T> row(x, classes);
    const Wide<T> log_sum = logarithm(row.sum);
    Wide<T> total = 0, weight = 0;
    for (int k = threadIdx.x % WARP; k < classes; k += WARP) {
        const Wide<T> wanted = wide(goal[k]);
        total -= wanted * (wide(x[k]) - row.shift - log_sum);
        weight += wanted;
    }
    total = warp_sum(total);
    weight = warp_sum(weight);
    if (threadIdx.x % WARP == 0) loss[n] = T(total);
    for (int k = threadIdx.x % WARP; k < classes; k += WARP)
        dx[k] = T(exponential(wide(x[k]) - row.shift) / row.sum * weight - wide(goal[k]));
}
