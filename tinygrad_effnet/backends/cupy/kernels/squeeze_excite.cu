// Batch norm, SiLU and the gates of squeeze-excitation. What is summed over one plane is done by a team of TEAM threads:
// a warp for small planes, a block for large ones. The grid is (parts of a channel, channels) throughout.
#include "channel.cuh"

// The planes first..last of its channel that a block does, `count` at most.
struct Planes {
    int channel, first, last;

    __device__ Planes(int images, int count)
        : channel(blockIdx.y), first(blockIdx.x * count), last(min(first + count, images)) {}
};

template <int TEAM, int COUNT, typename A>
__device__ void team_sum(A (&x)[COUNT]) {
    if (TEAM == WARP)
        for (int k = 0; k < COUNT; ++k) x[k] = warp_sum(x[k]);
    else
        block_sum(x);
}

// Numbers of a plane that come before the first of them which begins an access of WIDTH, `start` being its place.
template <int WIDTH>
__device__ int ragged(int start, int area) {
    return min((WIDTH - start % WIDTH) % WIDTH, area);
}

// pooled, C N: the mean of silu(t) over each plane, WIDTH numbers at a time but at its ends.
template <typename T, int TEAM, int WIDTH>
__global__ void pool(const T *x, int images, int area, int count, const Wide<T> *gamma, const Wide<T> *beta, double eps,
                     const double *sums, int parts, Wide<T> *mean, Wide<T> *var, Wide<T> *pooled) {
    const Planes planes(images, count);
    const Form<T> form = channel_form(x, images * area, planes.channel, gamma, beta, eps, sums, parts, mean, var);
    for (int n = planes.first + threadIdx.x / TEAM; n < planes.last; n += blockDim.x / TEAM) {
        const int start = (planes.channel * images + n) * area, before = ragged<WIDTH>(start, area);
        const int packs = (area - before) / WIDTH, lane = threadIdx.x % TEAM;
        const T *plane = x + start;
        Wide<T> total[1] = {0};
        for (int p = lane; p < packs; p += TEAM) {
            const Pack<T, WIDTH> pack = load<T, WIDTH>(plane + before + p * WIDTH);
            for (int k = 0; k < WIDTH; ++k) total[0] += silu(form(pack.at[k]));
        }
        if (WIDTH > 1) {
            for (int i = lane; i < before; i += TEAM) total[0] += silu(form(plane[i]));
            for (int i = before + packs * WIDTH + lane; i < area; i += TEAM) total[0] += silu(form(plane[i]));
        }
        team_sum<TEAM>(total);
        if (threadIdx.x % TEAM == 0) pooled[planes.channel * images + n] = total[0] / area;
    }
}

// y = silu(t) * gate; gate is C N.
template <typename T, int WIDTH>
__global__ void excite(const T *x, int length, int chunk, int area, const Wide<T> *gamma, const Wide<T> *beta,
                       double eps, Wide<T> *mean, Wide<T> *var, const Wide<T> *gate, T *y) {
    const Part part(length, chunk);
    const Form<T> form = channel_form<T>(x, length, part.channel, gamma, beta, eps, nullptr, 0, mean, var);
    const Wide<T> *gates = gate + part.channel * (length / area);
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        Pack<T, WIDTH> pack = load<T, WIDTH>(x + part.row + i);
        for (int k = 0; k < WIDTH; ++k) pack.at[k] = T(silu(form(pack.at[k])) * gates[(i + k) / area]);
        store(y + part.row + i, pack);
    }
}

// Adds a number's part to what `excite_sums` sums.
template <typename T>
__device__ void add_share(T at, T dy, const Form<T> &form, Wide<T> (&total)[6]) {
    const Wide<T> up = wide(dy), d = wide(at) - form.centre, t = form(at);
    const Wide<T> act = silu(t), slope = silu_slope(t);
    total[0] += act;
    total[1] += up * act;
    total[2] += slope;
    total[3] += slope * d;
    total[4] += up * slope;
    total[5] += up * slope * d;
}

// What the gradient needs of each plane; sums is C N 6, of
// act, dy * act, slope, slope * d, dy * slope, dy * slope * d,    d = x - centre
template <typename T, int TEAM, int WIDTH>
__global__ void excite_sums(const T *x, const T *dy, int images, int area, int count, const Wide<T> *gamma,
                            const Wide<T> *beta, double eps, Wide<T> *mean, Wide<T> *var, Wide<T> *sums) {
    const Planes planes(images, count);
    const Form<T> form = channel_form<T>(x, images * area, planes.channel, gamma, beta, eps, nullptr, 0, mean, var);
    for (int n = planes.first + threadIdx.x / TEAM; n < planes.last; n += blockDim.x / TEAM) {
        const int plane = planes.channel * images + n, start = plane * area, before = ragged<WIDTH>(start, area);
        const int packs = (area - before) / WIDTH, lane = threadIdx.x % TEAM;
        Wide<T> total[6] = {0, 0, 0, 0, 0, 0};
        for (int p = lane; p < packs; p += TEAM) {
            const int i = start + before + p * WIDTH;
            const Pack<T, WIDTH> at = load<T, WIDTH>(x + i), up = load<T, WIDTH>(dy + i);
            for (int k = 0; k < WIDTH; ++k) add_share(at.at[k], up.at[k], form, total);
        }
        if (WIDTH > 1) {
            for (int i = start + lane; i < start + before; i += TEAM) add_share(x[i], dy[i], form, total);
            for (int i = start + before + packs * WIDTH + lane; i < start + area; i += TEAM)
                add_share(x[i], dy[i], form, total);
        }
        team_sum<TEAM>(total);
        if (threadIdx.x % TEAM == 0)
            for (int k = 0; k < 6; ++k) sums[plane * 6 + k] = total[k];
    }
}

// dx and the gradients of gamma and beta, from that of y (dy), that of the pooled means (dpooled) and `excite_sums`:
// g = (dy * gate + dpooled / area) * slope, so that its sums over the channel are sums of the planes' sums.
template <typename T, int WIDTH>
__global__ void excite_gradient(const T *x, const T *dy, int length, int chunk, int area, const Wide<T> *gamma,
                                const Wide<T> *beta, double eps, Wide<T> *mean, Wide<T> *var, double share,
                                const Wide<T> *gate, const Wide<T> *dpooled, const Wide<T> *sums, T *dx,
                                Wide<T> *dgamma, Wide<T> *dbeta) {
    const Part part(length, chunk);
    const int images = length / area, first = part.channel * images;
    const Form<T> form = channel_form<T>(x, length, part.channel, gamma, beta, eps, nullptr, 0, mean, var);
    double total[2] = {0, 0};
    for (int n = first + threadIdx.x; n < first + images; n += blockDim.x) {
        const Wide<T> *plane = sums + n * 6;
        const double gated = gate[n], extra = double(dpooled[n]) / area;
        total[0] += gated * plane[4] + extra * plane[2];
        total[1] += gated * plane[5] + extra * plane[3];
    }
    block_sum(total);
    const Back<T> back = channel_back<T>(total, part.channel, gamma, mean, var, eps, share, dgamma, dbeta);
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        Pack<T, WIDTH> pack = load<T, WIDTH>(x + part.row + i);
        const Pack<T, WIDTH> up = load<T, WIDTH>(dy + part.row + i);
        for (int k = 0; k < WIDTH; ++k) {
            const int n = first + (i + k) / area;
            const Wide<T> slope = silu_slope(form(pack.at[k]));
            pack.at[k] = T(back(pack.at[k], (wide(up.at[k]) * gate[n] + dpooled[n] / area) * slope));
        }
        store(dx + part.row + i, pack);
    }
}
