// Pooling, and moving numbers to and from places in a plane. Planes are C N H W, one after another; a thread makes one
// number of the result and goes on by the size of the grid. Tap (i, j) at output (ho, wo) meets the pixel
//
//     h = ho * stride + i * dilation - pad        w likewise

// The largest of each window, the first of several, and its place h * W + w. Padding never wins (place -1 where there is
// nothing else), NaN always does.
template <typename T>
__global__ void max_pool(const T *x, int height, int width, int out_height, int out_width, int kernel_height,
                         int kernel_width, int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top,
                         int pad_left, int n, T *y, long long *index) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const int wo = i % out_width, ho = i / out_width % out_height;
        const T *plane = x + i / out_width / out_height * height * width;
        Wide<T> best = minus_infinity<Wide<T>>();
        int place = -1;
        for (int r = 0; r < kernel_height; ++r) {
            const int h = ho * stride_h + r * dilation_h - pad_top;
            if (h < 0 || h >= height) continue;
            for (int c = 0; c < kernel_width; ++c) {
                const int w = wo * stride_w + c * dilation_w - pad_left;
                if (w < 0 || w >= width) continue;
                const Wide<T> v = wide(plane[h * width + w]);
                // a NaN wins over numbers, and once it has won neither comparison holds again
                if (place < 0 || v > best || (v != v && best == best)) best = v, place = h * width + w;
            }
        }
        y[i] = T(best);
        index[i] = place;
    }
}

// y[plane, q] = x[plane, index[plane, q]], `count` places a plane; 0 comes from place -1.
template <typename T>
__global__ void gather(const T *x, const long long *index, int area, int count, int n, T *y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const int place = static_cast<int>(index[i]);
        y[i] = place < 0 ? T(Wide<T>(0)) : x[i / count * area + place];
    }
}

// The transpose of `gather`: x[plane, index[plane, q]] += dy[plane, q]. A block does a plane; places are dealt out to its
// threads, each of which goes through all indices and adds, in their order, those that are its own: no atomics, and the
// same sum in every run. The indices pass through shared memory.
template <typename T>
__global__ void scatter(const T *dy, const long long *index, int area, int count, T *x) {
    constexpr int MOST = 1024;
    __shared__ int places[MOST];
    __shared__ Wide<T> values[MOST];
    T *plane = x + blockIdx.x * area;
    for (int i = threadIdx.x; i < area; i += blockDim.x) plane[i] = T(Wide<T>(0));
    for (int first = 0; first < count; first += MOST) {
        const int here = min(MOST, count - first);
        __syncthreads();
        for (int q = threadIdx.x; q < here; q += blockDim.x) {
            places[q] = static_cast<int>(index[blockIdx.x * count + first + q]);
            values[q] = wide(dy[blockIdx.x * count + first + q]);
        }
        __syncthreads();
        for (int q = 0; q < here; ++q)
            if (places[q] >= 0 && places[q] % blockDim.x == threadIdx.x)
                plane[places[q]] = T(wide(plane[places[q]]) + values[q]);
    }
}

// How many taps of output `o` meet one of `size` pixels.
__device__ inline int real_taps(int o, int taps, int stride, int dilation, int pad, int size) {
    int real = 0;
    for (int t = 0; t < taps; ++t) {
        const int at = o * stride + t * dilation - pad;
        real += at >= 0 && at < size;
    }
    return real;
}

// The mean of each window; with COUNT_PADDING its zeros count.
template <typename T, bool COUNT_PADDING>
__global__ void avg_pool(const T *x, int height, int width, int out_height, int out_width, int kernel_height,
                         int kernel_width, int stride_h, int stride_w, int dilation_h, int dilation_w, int pad_top,
                         int pad_left, int n, T *y) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const int wo = i % out_width, ho = i / out_width % out_height;
        const T *plane = x + i / out_width / out_height * height * width;
        Wide<T> sum = 0;
        for (int r = 0; r < kernel_height; ++r) {
            const int h = ho * stride_h + r * dilation_h - pad_top;
            if (h < 0 || h >= height) continue;
            for (int c = 0; c < kernel_width; ++c) {
                const int w = wo * stride_w + c * dilation_w - pad_left;
                if (w >= 0 && w < width) sum += wide(plane[h * width + w]);
            }
        }
        const int divisor = COUNT_PADDING ? kernel_height * kernel_width
                                          : real_taps(ho, kernel_height, stride_h, dilation_h, pad_top, height) *
                                                real_taps(wo, kernel_width, stride_w, dilation_w, pad_left, width);
        y[i] = T(sum / Wide<T>(divisor));
    }
}

// The transpose of `avg_pool`: each pixel gets its share of the outputs that it is in.
template <typename T, bool COUNT_PADDING>
__global__ void avg_pool_grad(const T *dy, int height, int width, int out_height, int out_width, int kernel_height,
                              int kernel_width, int stride_h, int stride_w, int dilation_h, int dilation_w,
                              int pad_top, int pad_left, int n, T *x) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        const int w = i % width, h = i / width % height;
        const T *plane = dy + i / width / height * out_height * out_width;
        Wide<T> sum = 0;
        for (int r = 0; r < kernel_height; ++r) {
            const int down = h + pad_top - r * dilation_h, ho = down / stride_h;
            if (down < 0 || down % stride_h || ho >= out_height) continue;
            const int rows = real_taps(ho, kernel_height, stride_h, dilation_h, pad_top, height);
            for (int c = 0; c < kernel_width; ++c) {
                const int across = w + pad_left - c * dilation_w, wo = across / stride_w;
                if (across < 0 || across % stride_w || wo >= out_width) continue;
                const int columns = COUNT_PADDING ? 0 : real_taps(wo, kernel_width, stride_w, dilation_w, pad_left, width);
                const int divisor = COUNT_PADDING ? kernel_height * kernel_width : rows * columns;
                sum += wide(plane[ho * out_width + wo]) / Wide<T>(divisor);
            }
        }
        x[i] = T(sum);
    }
}
