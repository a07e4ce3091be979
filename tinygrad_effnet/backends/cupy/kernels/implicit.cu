// Convolution as a matrix product whose second matrix, the patches, is never written: each block gathers the part of it that
// it multiplies, STEP rows at a time, into shared memory. See convolution.cu for the columns that this is about; tap (i, j)
// at output (ho, wo) meets the pixel
//
//     h = ho * stride + i * dilation - pad        w likewise
//
// A block makes ROWS x COLUMNS numbers of a result, a thread of its 256 SIDE x SIDE of them. Sums are taken in one order.

constexpr int ROWS = 32, COLUMNS = 128, STEP = 16, SIDE = 4, BLOCK = 256;

struct Geometry {
    int height, width, out_height, out_width, kernel_height, kernel_width, stride_h, stride_w, dilation_h, dilation_w, pad_top,
        pad_left;
};

// Row k of the patches: a channel, and how far its pixel lies from the window's corner.
struct Tap {
    int channel, number, down, across;

    Tap() = default;
    __device__ Tap(const Geometry &g, int k) {
        const int taps = g.kernel_height * g.kernel_width;
        channel = k / taps, number = k % taps;
        down = number / g.kernel_width * g.dilation_h, across = number % g.kernel_width * g.dilation_w;
    }
};

// Column m of the patches: an image, and the window's corner in it.
struct Corner {
    int image, h, w;

    Corner() = default;
    __device__ Corner(const Geometry &g, int m) {
        const int area = g.out_height * g.out_width;
        image = m / area;
        h = m % area / g.out_width * g.stride_h - g.pad_top, w = m % g.out_width * g.stride_w - g.pad_left;
    }
};

// x, C N H W, of one group; nothing for the padding
template <typename T>
__device__ Wide<T> patch(const T *x, int images, const Geometry &g, const Tap &tap, const Corner &at) {
    const int h = at.h + tap.down, w = at.w + tap.across;
    if (h < 0 || h >= g.height || w < 0 || w >= g.width) return 0;
    return wide(x[((tap.channel * images + at.image) * g.height + h) * g.width + w]);
}

template <typename A>
struct Tiles {
    A left[STEP][ROWS + 1], right[STEP][COLUMNS + 1];  // one more: neighbours then lie in different banks

    __device__ void multiply(A (&sums)[SIDE][SIDE]) const {
        const int down = threadIdx.x / WARP * SIDE, across = threadIdx.x % WARP;
#pragma unroll
        for (int k = 0; k < STEP; ++k) {
            A a[SIDE], b[SIDE];
            for (int i = 0; i < SIDE; ++i) a[i] = left[k][down + i], b[i] = right[k][across + i * WARP];
            for (int i = 0; i < SIDE; ++i)
                for (int j = 0; j < SIDE; ++j) sums[i][j] += a[i] * b[j];
        }
    }
};

// A thread's sums to their places: `to` is rows x columns, the block's part of it begins at (row, column).
template <typename A, typename T>
__device__ void put(const A (&sums)[SIDE][SIDE], int row, int column, int rows, int columns, T *to) {
    row += threadIdx.x / WARP * SIDE, column += threadIdx.x % WARP;
    for (int i = 0; i < SIDE && row + i < rows; ++i)
        for (int j = 0; j < SIDE; ++j)
            if (column + j * WARP < columns) to[(row + i) * columns + column + j * WARP] = T(sums[i][j]);
}

// y, O N Ho Wo = w, O (C/G taps) times the patches of x, C N H W. The grid is (N Ho Wo / COLUMNS, O/G / ROWS, G).
template <typename T>
__global__ void __launch_bounds__(BLOCK)
implicit_forward(const T *x, const T *w, int images, int inputs, int outputs, int height, int width,
                 int out_height, int out_width, int kernel_height, int kernel_width, int stride_h,
                 int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left, T *y) {
    const Geometry g{height, width, out_height, out_width, kernel_height, kernel_width,
                     stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left};
    __shared__ Tiles<Wide<T>> tiles;
    __shared__ Tap taps[STEP];
    const int depth = inputs * kernel_height * kernel_width, columns = images * out_height * out_width;
    const int group = blockIdx.z, row = blockIdx.y * ROWS, column = blockIdx.x * COLUMNS, own = threadIdx.x % COLUMNS;
    const Corner corner(g, column + own);
    x += group * inputs * images * height * width, w += group * outputs * depth, y += group * outputs * columns;
    Wide<T> sums[SIDE][SIDE] = {};
    for (int start = 0; start < depth; start += STEP) {
        if (threadIdx.x < STEP) taps[threadIdx.x] = Tap(g, start + threadIdx.x);
        __syncthreads();
        for (int e = threadIdx.x; e < STEP * ROWS; e += BLOCK) {
            const int k = e % STEP, r = e / STEP;
            const bool inside = start + k < depth && row + r < outputs;
            tiles.left[k][r] = inside ? wide(w[(row + r) * depth + start + k]) : Wide<T>(0);
        }
        for (int k = threadIdx.x / COLUMNS; k < STEP; k += BLOCK / COLUMNS) {
            const bool inside = start + k < depth && column + own < columns;
            tiles.right[k][own] = inside ? patch(x, images, g, taps[k], corner) : Wide<T>(0);
        }
        __syncthreads();
        tiles.multiply(sums);
    }
    put(sums, row, column, outputs, columns, y);
}

// x's gradient, C N H W: row c of the product is w's (O/G taps) entries for channel c, and a pixel's column holds what each
// tap of each output gave it. With a stride most taps gave it nothing. The grid is (N H W / COLUMNS, C/G / ROWS, G).
template <typename T>
__global__ void __launch_bounds__(BLOCK)
implicit_input_grad(const T *dy, const T *w, int images, int inputs, int outputs, int height, int width,
                    int out_height, int out_width, int kernel_height, int kernel_width, int stride_h,
                    int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left, T *dx) {
    const Geometry g{height, width, out_height, out_width, kernel_height, kernel_width,
                     stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left};
    __shared__ Tiles<Wide<T>> tiles;
    __shared__ Tap taps[STEP];
    const int number = kernel_height * kernel_width, depth = outputs * number, columns = images * height * width;
    const int group = blockIdx.z, row = blockIdx.y * ROWS, column = blockIdx.x * COLUMNS, own = threadIdx.x % COLUMNS;
    const int image = (column + own) / (height * width), h = (column + own) / width % height + pad_top;
    const int v = (column + own) % width + pad_left;
    dy += group * outputs * images * out_height * out_width, w += group * outputs * inputs * number;
    dx += group * inputs * columns;
    Wide<T> sums[SIDE][SIDE] = {};
    for (int start = 0; start < depth; start += STEP) {
        if (threadIdx.x < STEP) taps[threadIdx.x] = Tap(g, start + threadIdx.x);
        __syncthreads();
        for (int e = threadIdx.x; e < STEP * ROWS; e += BLOCK) {
            const int k = e % STEP, r = e / STEP;
            const bool inside = start + k < depth && row + r < inputs;
            const int place = (taps[k].channel * inputs + row + r) * number + taps[k].number;
            tiles.left[k][r] = inside ? wide(w[place]) : Wide<T>(0);
        }
        for (int k = threadIdx.x / COLUMNS; k < STEP; k += BLOCK / COLUMNS) {
            const Tap tap = taps[k];
            const int down = h - tap.down, across = v - tap.across;
            const int ho = stride_h == 1 ? down : down / stride_h, wo = stride_w == 1 ? across : across / stride_w;
            const bool met = down >= 0 && across >= 0 && ho * stride_h == down && wo * stride_w == across &&
                             ho < out_height && wo < out_width && start + k < depth && column + own < columns;
            const int place = ((tap.channel * images + image) * out_height + ho) * out_width + wo;
            tiles.right[k][own] = met ? wide(dy[place]) : Wide<T>(0);
        }
        __syncthreads();
        tiles.multiply(sums);
    }
    put(sums, row, column, inputs, columns, dx);
}

// w's gradient, O (C/G taps): dy, O N Ho Wo, times the patches transposed, summed over N Ho Wo. The sum is shared out among
// `parts`, each of which writes its share, parts O (C/G taps). The grid is (C/G taps / COLUMNS, O/G / ROWS, G parts).
template <typename T>
__global__ void __launch_bounds__(BLOCK)
implicit_weight_grad(const T *x, const T *dy, int images, int inputs, int outputs, int height, int width,
                     int out_height, int out_width, int kernel_height, int kernel_width, int stride_h,
                     int stride_w, int dilation_h, int dilation_w, int pad_top, int pad_left, int groups,
                     int chunk, Wide<T> *shares) {
    const Geometry g{height, width, out_height, out_width, kernel_height, kernel_width,
                     stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left};
    __shared__ Tiles<Wide<T>> tiles;
    __shared__ Tap taps[COLUMNS];
    __shared__ Corner corners[STEP];
    const int depth = inputs * kernel_height * kernel_width, pixels = images * out_height * out_width;
    const int group = blockIdx.z % groups, part = blockIdx.z / groups;
    const int row = blockIdx.y * ROWS, column = blockIdx.x * COLUMNS;
    const int begin = part * chunk, end = begin + chunk < pixels ? begin + chunk : pixels;
    x += group * inputs * images * height * width, dy += group * outputs * pixels;
    shares += (part * groups + group) * outputs * depth;
    if (threadIdx.x < COLUMNS) taps[threadIdx.x] = Tap(g, column + threadIdx.x);
    Wide<T> sums[SIDE][SIDE] = {};
    for (int start = begin; start < end; start += STEP) {
        if (threadIdx.x < STEP) corners[threadIdx.x] = Corner(g, start + threadIdx.x);
        __syncthreads();
        for (int e = threadIdx.x; e < STEP * ROWS; e += BLOCK) {
            const int m = e % STEP, r = e / STEP;
            const bool inside = start + m < end && row + r < outputs;
            tiles.left[m][r] = inside ? wide(dy[(row + r) * pixels + start + m]) : Wide<T>(0);
        }
        for (int e = threadIdx.x; e < STEP * COLUMNS; e += BLOCK) {
            const int m = e % STEP, k = e / STEP;
            const bool inside = start + m < end && column + k < depth;
            tiles.right[m][k] = inside ? patch(x, images, g, taps[k], corners[m]) : Wide<T>(0);
        }
        __syncthreads();
        tiles.multiply(sums);
    }
    put(sums, row, column, outputs, depth, shares);
}
