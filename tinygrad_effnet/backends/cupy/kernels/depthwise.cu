// Depthwise convolution: 3x3 and 5x5 filters K, stride S of 1 or 2, no dilation (every other window: depthwise_any.cu).
//
// A block does one channel and a tile of each of a few planes: large planes are cut, small ones come together. It brings
// what its tile needs into shared memory, zeros for the padding, so that every number is read from memory once; with NORM
// it is silu(t) that is put there (channel.cuh), and the convolution of a normalised activation costs no pass of its own.
// A thread then computes STRIP results below one another, for which the filter slides over rows that it reads once.
#include "channel.cuh"

template <int S>
struct Strip {
    static constexpr int LONG = S == 1 ? 4 : 2;
};

// The numbers of a block: planes first..., rows from `top` and columns from `left` of each, counted in tiles.
struct Tile {
    int channel, first, planes, top, left;

    // Tile number `tile`, for `across` tiles in a row of them and `down` below one another in a plane.
    __device__ Tile(int tile, int images, int most_planes, int across, int down, int height, int width)
        : channel(blockIdx.y),
          first(tile / (across * down) * most_planes),
          planes(min(most_planes, images - first)),
          top(tile / across % down * height),
          left(tile % across * width) {}
};

// What is put into shared memory: x itself, or silu(t).
template <typename T, bool NORM>
__device__ Wide<T> entering(T x, const Form<T> &form) {
    return NORM ? silu(form(x)) : wide(x);
}

// How a row of numbers lies in shared memory. Packed, it is made of whole accesses of FULL numbers (rows of planes must be
// such, too), each of which is inside a plane or outside: so it begins up to FULL - 1 numbers early.
template <typename T>
struct Rows {
    bool packed;
    int pitch;  // numbers from a row to the next

    __device__ Rows(int packed, int columns)
        : packed(packed), pitch(packed ? (columns + 2 * FULL<T> - 2) / FULL<T> * FULL<T> : columns) {}

    // How early a row begins that is to hold the columns from `left` on.
    __device__ int early(int left) const { return packed ? left & (FULL<T> - 1) : 0; }
};

// Fills shared memory with rows x columns numbers of each plane, from (top, left) on, which may lie outside.
template <typename T, bool NORM>
__device__ void stage(const T *channel, int first, int planes, int height, int width, int top, int left, int rows,
                      const Rows<T> &lying, const Form<T> &form, Wide<T> *staged) {
    using A = Wide<T>;
    if (lying.packed) {
        constexpr int WIDTH = FULL<T>;
        const int packs = lying.pitch / WIDTH, total = planes * rows * packs, begin = left - lying.early(left);
        Walk at(threadIdx.x, blockDim.x, packs);
        for (int i = threadIdx.x; i < total; i += blockDim.x, at.next()) {
            const int plane = at.row / rows, h = top + at.row % rows, w = begin + at.column * WIDTH;
            const bool inside = h >= 0 && h < height && w >= 0 && w < width;
            Pack<T, WIDTH> pack;
            if (inside) pack = load<T, WIDTH>(channel + ((first + plane) * height + h) * width + w);
            Pack<A, WIDTH> made;
            for (int k = 0; k < WIDTH; ++k) made.at[k] = inside ? entering<T, NORM>(pack.at[k], form) : A(0);
            store(staged + i * WIDTH, made);
        }
        return;
    }
    const int columns = lying.pitch, total = planes * rows * columns;
    Walk at(threadIdx.x, blockDim.x, columns);
    for (int i = threadIdx.x; i < total; i += blockDim.x, at.next()) {
        const int plane = at.row / rows, h = top + at.row % rows, w = left + at.column;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        staged[i] = inside ? entering<T, NORM>(channel[((first + plane) * height + h) * width + w], form) : A(0);
    }
}

// y; the grid is (tiles, channels). Tiles are of outputs.
template <typename T, int K, int S, bool NORM>
__global__ void __launch_bounds__(256)
    depthwise_forward(const T *x, const T *w, int images, int height, int width, int out_height, int out_width,
                      int pad_top, int pad_left, int planes, int across, int down, int tile_height, int tile_width,
                      int packed, const Wide<T> *gamma, const Wide<T> *beta, double eps, const double *sums, int parts,
                      Wide<T> *mean, Wide<T> *var, T *y) {
    constexpr int LONG = Strip<S>::LONG;
    using A = Wide<T>;
    DYNAMIC_SHARED(A, staged);
    const Tile tile(blockIdx.x, images, planes, across, down, tile_height, tile_width);
    const int area = height * width;
    Form<T> form;
    if (NORM) form = channel_form(x, images * area, tile.channel, gamma, beta, eps, sums, parts, mean, var);

    const int groups = (tile_height + LONG - 1) / LONG;
    const Rows<T> lying(packed, (tile_width - 1) * S + K);
    const int rows = (groups * LONG - 1) * S + K, pitch = lying.pitch, corner = tile.left * S - pad_left;
    stage<T, NORM>(x + tile.channel * images * area, tile.first, tile.planes, height, width, tile.top * S - pad_top,
                   corner, rows, lying, form, staged);
    A filter[K * K];
    for (int k = 0; k < K * K; ++k) filter[k] = wide(w[tile.channel * K * K + k]);
    __syncthreads();

    Walk at(threadIdx.x, blockDim.x, tile_width);
    for (int i = threadIdx.x; i < tile.planes * groups * tile_width; i += blockDim.x, at.next()) {
        const int plane = at.row / groups, group = at.row % groups;
        const A *source = staged + (plane * rows + group * LONG * S) * pitch + lying.early(corner) + at.column * S;
        A sum[LONG] = {};
#pragma unroll
        for (int r = 0; r < (LONG - 1) * S + K; ++r)
#pragma unroll
            for (int j = 0; j < K; ++j) {
                const A v = source[r * pitch + j];
#pragma unroll
                for (int o = 0; o < LONG; ++o)
                    if (r >= o * S && r < o * S + K) sum[o] += v * filter[(r - o * S) * K + j];
            }
        const int wo = tile.left + at.column;
        T *target = y + (tile.channel * images + tile.first + plane) * out_height * out_width;
#pragma unroll
        for (int o = 0; o < LONG; ++o) {
            const int row = group * LONG + o, ho = tile.top + row;
            if (row < tile_height && ho < out_height && wo < out_width) target[ho * out_width + wo] = T(sum[o]);
        }
    }
}

// The gradient of x. Pixels come in squares of S x S, those with equal (h + pad) / S and (w + pad) / S: within a square
// it is known to the compiler which tap meets which pixel. Tiles are of squares, and count from the one of pixel (0, 0).
// With NORM the result is g, the gradient of t, and its sums over the tile are left for the kernel `gradient_of_norm`.
template <typename T, int K, int S, bool NORM>
__global__ void __launch_bounds__(256)
    depthwise_input_grad(const T *dy, const T *w, int images, int height, int width, int out_height, int out_width,
                         int pad_top, int pad_left, int planes, int across, int down, int tile_height, int tile_width,
                         int packed, const T *x, const Wide<T> *gamma, const Wide<T> *beta, double eps, Wide<T> *mean,
                         Wide<T> *var, double *sums, T *dx) {
    constexpr int LONG = Strip<S>::LONG, REACH = (K + S - 1) / S;  // REACH: outputs that meet a pixel, in a row
    using A = Wide<T>;
    DYNAMIC_SHARED(A, staged);
    const Tile tile(blockIdx.x, images, planes, across, down, tile_height, tile_width);
    Form<T> form;
    if (NORM)
        form = channel_form<T>(x, images * height * width, tile.channel, gamma, beta, eps, nullptr, 0, mean, var);

    const int groups = (tile_height + LONG - 1) / LONG;
    const Rows<T> lying(packed, tile_width + REACH - 1);
    const int rows = groups * LONG + REACH - 1, pitch = lying.pitch;
    const int top = pad_top / S + tile.top, left = pad_left / S + tile.left;  // the tile's first square
    stage<T, false>(dy + tile.channel * images * out_height * out_width, tile.first, tile.planes, out_height, out_width,
                    top - (REACH - 1), left - (REACH - 1), rows, lying, form, staged);
    A filter[K * K];
    for (int k = 0; k < K * K; ++k) filter[k] = wide(w[tile.channel * K * K + k]);
    __syncthreads();

    A s = 0, q = 0;
    Walk at(threadIdx.x, blockDim.x, tile_width);
    for (int i = threadIdx.x; i < tile.planes * groups * tile_width; i += blockDim.x, at.next()) {
        const int plane = at.row / groups, group = at.row % groups;
        const A *source =
            staged + (plane * rows + group * LONG) * pitch + lying.early(left - (REACH - 1)) + at.column;
        A sum[LONG * S][S] = {};
#pragma unroll
        for (int r = 0; r < LONG + REACH - 1; ++r)
#pragma unroll
            for (int c = 0; c < REACH; ++c) {
                const A v = source[r * pitch + c];
                // square o of the strip meets row r by the taps i = S * (o + REACH - 1 - r) + e, e its pixel's place
#pragma unroll
                for (int o = 0; o < LONG; ++o)
#pragma unroll
                    for (int e = 0; e < S; ++e)
#pragma unroll
                        for (int f = 0; f < S; ++f) {
                            const int tap_row = S * (o + REACH - 1 - r) + e, tap_column = S * (REACH - 1 - c) + f;
                            if (tap_row >= 0 && tap_row < K && tap_column < K)
                                sum[o * S + e][f] += v * filter[tap_row * K + tap_column];
                        }
            }
        const int begin = (tile.channel * images + tile.first + plane) * height * width;
#pragma unroll
        for (int e = 0; e < LONG * S; ++e)
#pragma unroll
            for (int f = 0; f < S; ++f) {
                const int row = group * LONG * S + e;
                const int h = top * S + row - pad_top, c = (left + at.column) * S + f - pad_left;
                if (row >= tile_height * S || h < 0 || h >= height || c < 0 || c >= width) continue;
                const int place = begin + h * width + c;
                A g = sum[e][f];
                if (NORM) {
                    g *= silu_slope(form(x[place]));
                    s += g;
                    q += g * (wide(x[place]) - form.centre);
                }
                dx[place] = T(g);
            }
    }
    if (NORM) {
        double share[2] = {s, q};
        leave_sums(share, tile.channel, blockIdx.x, gridDim.x, sums);
    }
}

// The gradient of w, from x (with NORM: from silu(t)) and dy. A block goes through tiles of outputs, by gridDim.x, and
// leaves its share: shares is C, gridDim.x, K K.
template <typename T, int K, int S, bool NORM>
__global__ void __launch_bounds__(256)
    depthwise_weight_grad(const T *x, const T *dy, int images, int height, int width, int out_height, int out_width,
                          int pad_top, int pad_left, int planes, int across, int down, int tile_height, int tile_width,
                          int packed, int tiles, const Wide<T> *gamma, const Wide<T> *beta, double eps, Wide<T> *mean,
                          Wide<T> *var, Wide<T> *shares) {
    constexpr int LONG = Strip<S>::LONG;
    using A = Wide<T>;
    DYNAMIC_SHARED(A, staged);
    const int channel = blockIdx.y, area = height * width;
    Form<T> form;
    if (NORM) form = channel_form<T>(x, images * area, channel, gamma, beta, eps, nullptr, 0, mean, var);
    const int groups = (tile_height + LONG - 1) / LONG;
    const Rows<T> lying(packed, (tile_width - 1) * S + K);
    const int rows = (groups * LONG - 1) * S + K, pitch = lying.pitch;
    A total[K * K] = {};
    for (int number = blockIdx.x; number < tiles; number += gridDim.x) {
        const Tile tile(number, images, planes, across, down, tile_height, tile_width);
        const int corner = tile.left * S - pad_left;
        __syncthreads();  // the last tile may still be read
        stage<T, NORM>(x + channel * images * area, tile.first, tile.planes, height, width, tile.top * S - pad_top,
                       corner, rows, lying, form, staged);
        __syncthreads();
        Walk at(threadIdx.x, blockDim.x, tile_width);
        for (int i = threadIdx.x; i < tile.planes * groups * tile_width; i += blockDim.x, at.next()) {
            const int plane = at.row / groups, group = at.row % groups, wo = tile.left + at.column;
            const A *source = staged + (plane * rows + group * LONG * S) * pitch + lying.early(corner) + at.column * S;
            const T *up = dy + (channel * images + tile.first + plane) * out_height * out_width;
            A g[LONG];
#pragma unroll
            for (int o = 0; o < LONG; ++o) {
                const int row = group * LONG + o, ho = tile.top + row;
                const bool inside = row < tile_height && ho < out_height && wo < out_width;
                g[o] = inside ? wide(up[ho * out_width + wo]) : A(0);
            }
#pragma unroll
            for (int r = 0; r < (LONG - 1) * S + K; ++r)
#pragma unroll
                for (int j = 0; j < K; ++j) {
                    const A v = source[r * pitch + j];
#pragma unroll
                    for (int o = 0; o < LONG; ++o)
                        if (r >= o * S && r < o * S + K) total[(r - o * S) * K + j] += g[o] * v;
                }
        }
    }
    block_sum(total);
    if (threadIdx.x == 0)
        for (int k = 0; k < K * K; ++k) shares[(channel * gridDim.x + blockIdx.x) * K * K + k] = total[k];
}

// dw, C taps, from the blocks' shares, C parts taps; a thread for each number.
template <typename T>
__global__ void add_shares(const Wide<T> *shares, int numbers, int taps, int parts, T *dw) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= numbers) return;
    const Wide<T> *share = shares + i / taps * parts * taps + i % taps;
    double sum = 0;
    for (int part = 0; part < parts; ++part) sum += share[part * taps];
    dw[i] = T(Wide<T>(sum));
}

// dx from g, in place, and the gradients of gamma and beta; `sums` are those of depthwise_input_grad, C parts 2.
template <typename T, int WIDTH>
__global__ void gradient_of_norm(const T *x, T *g, int length, int chunk, const Wide<T> *gamma, const Wide<T> *mean,
                                 const Wide<T> *var, double eps, double share, const double *sums, int parts,
                                 Wide<T> *dgamma, Wide<T> *dbeta) {
    const Part part(length, chunk);
    double total[2];
    collect_sums(total, part.channel, parts, sums);
    const Back<T> back = channel_back<T>(total, part.channel, gamma, mean, var, eps, share, dgamma, dbeta);
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        const Pack<T, WIDTH> at = load<T, WIDTH>(x + part.row + i);
        Pack<T, WIDTH> pack = load<T, WIDTH>(g + part.row + i);
        for (int k = 0; k < WIDTH; ++k) pack.at[k] = T(back(at.at[k], wide(pack.at[k])));
        store(g + part.row + i, pack);
    }
}
