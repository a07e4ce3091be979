// Batch normalisation, alone and fused with what follows it pixel by pixel. The grid is (parts of a channel, channels).
#include "channel.cuh"

// What follows the normalisation:
enum Mode {
    PLAIN,  // y = t
    SILU,   // y = silu(t)
    ADD     // y = t * mask + skip, one number of mask for each image (no mask: 1)
};

template <typename T>
__device__ Wide<T> mask_at(const Wide<T> *mask, int i, int area) {
    return mask ? mask[i / area] : Wide<T>(1);
}

// Sums of d and d^2, d = x - (the channel's first number): one pass, and the shift bounds what cancellation can lose,
// for (x[0] - mean)^2 is at most `length` times the variance.
template <typename T, int WIDTH>
__global__ void moments(const T *x, int length, int chunk, double *sums) {
    const Part part(length, chunk);
    const T *row = x + part.row;
    const Wide<T> shift = wide(row[0]);
    Wide<T> s = 0, q = 0;
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        const Pack<T, WIDTH> pack = load<T, WIDTH>(row + i);
        for (int k = 0; k < WIDTH; ++k) {
            const Wide<T> d = wide(pack.at[k]) - shift;
            s += d;
            q += d * d;
        }
    }
    double share[2] = {s, q};
    leave_sums(share, part.channel, blockIdx.x, gridDim.x, sums);
}

// y from x, as MODE says; mean and var are given, or made of `sums` (see channel_form).
template <typename T, int WIDTH, Mode MODE>
__global__ void normalise(const T *x, int length, int chunk, const Wide<T> *gamma, const Wide<T> *beta, double eps,
                          const double *sums, const Wide<T> *mask, int area, const T *skip, Wide<T> *mean, Wide<T> *var,
                          T *y) {
    const Part part(length, chunk);
    const Form<T> form = channel_form(x, length, part.channel, gamma, beta, eps, sums, gridDim.x, mean, var);
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        Pack<T, WIDTH> pack = load<T, WIDTH>(x + part.row + i), other;
        if (MODE == ADD) other = load<T, WIDTH>(skip + part.row + i);
        for (int k = 0; k < WIDTH; ++k) {
            Wide<T> t = form(pack.at[k]);
            if (MODE == SILU) t = silu(t);
            if (MODE == ADD) t = t * mask_at<T>(mask, i + k, area) + wide(other.at[k]);
            pack.at[k] = T(t);
        }
        store(y + part.row + i, pack);
    }
}

// g, the gradient of t, from that of y
template <typename T, Mode MODE>
__device__ Wide<T> through(T x, T dy, const Form<T> &form, const Wide<T> *mask, int i, int area) {
    if (MODE == SILU) return wide(dy) * silu_slope(form(x));
    if (MODE == ADD) return wide(dy) * mask_at<T>(mask, i, area);
    return wide(dy);
}

// Sums of g and of g * (x - mean).
template <typename T, int WIDTH, Mode MODE>
__global__ void gradient_sums(const T *x, const T *dy, int length, int chunk, const Wide<T> *gamma,
                              const Wide<T> *beta, Wide<T> *mean, Wide<T> *var, double eps, const Wide<T> *mask, int area,
                              double *sums) {
    const Part part(length, chunk);
    const Form<T> form = channel_form<T>(x, length, part.channel, gamma, beta, eps, nullptr, 0, mean, var);
    Wide<T> s = 0, q = 0;
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        const Pack<T, WIDTH> pack = load<T, WIDTH>(x + part.row + i), up = load<T, WIDTH>(dy + part.row + i);
        for (int k = 0; k < WIDTH; ++k) {
            const Wide<T> g = through<T, MODE>(pack.at[k], up.at[k], form, mask, i + k, area);
            s += g;
            q += g * (wide(pack.at[k]) - form.centre);
        }
    }
    double share[2] = {s, q};
    leave_sums(share, part.channel, blockIdx.x, gridDim.x, sums);
}

// dx, and the gradients of gamma and beta, from the sums of `gradient_sums`; g is computed anew.
template <typename T, int WIDTH, Mode MODE>
__global__ void gradient(const T *x, const T *dy, int length, int chunk, const Wide<T> *gamma, const Wide<T> *beta,
                         Wide<T> *mean, Wide<T> *var, double eps, double share, const Wide<T> *mask, int area,
                         const double *sums, T *dx, Wide<T> *dgamma, Wide<T> *dbeta) {
    const Part part(length, chunk);
    const Form<T> form = channel_form<T>(x, length, part.channel, gamma, beta, eps, nullptr, 0, mean, var);
    double total[2];
    collect_sums(total, part.channel, gridDim.x, sums);
    const Back<T> back = channel_back<T>(total, part.channel, gamma, mean, var, eps, share, dgamma, dbeta);
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        Pack<T, WIDTH> pack = load<T, WIDTH>(x + part.row + i);
        const Pack<T, WIDTH> up = load<T, WIDTH>(dy + part.row + i);
        for (int k = 0; k < WIDTH; ++k)
            pack.at[k] = T(back(pack.at[k], through<T, MODE>(pack.at[k], up.at[k], form, mask, i + k, area)));
        store(dx + part.row + i, pack);
    }
}

// y = x * scale + shift
template <typename T, int WIDTH>
__global__ void scale_shift(const T *x, int length, int chunk, const Wide<T> *scale, const Wide<T> *shift, T *y) {
    const Part part(length, chunk);
    const Wide<T> factor = scale[part.channel], term = shift[part.channel];
    for (int i = part.begin + threadIdx.x * WIDTH; i < part.end; i += blockDim.x * WIDTH) {
        Pack<T, WIDTH> pack = load<T, WIDTH>(x + part.row + i);
        for (int k = 0; k < WIDTH; ++k) pack.at[k] = T(wide(pack.at[k]) * factor + term);
        store(y + part.row + i, pack);
    }
}

// running += momentum * (batch - running) for each channel, the batch's variance made unbiased; a thread does a channel
template <typename T>
__global__ void move_statistics(const T *mean, const T *var, int channels, double momentum, double unbias, T *running_mean,
                                T *running_var) {
    using A = Wide<T>;
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= channels) return;
    const A old_mean = wide(running_mean[c]), old_var = wide(running_var[c]);
    running_mean[c] = T(old_mean + A(momentum) * (wide(mean[c]) - old_mean));
    running_var[c] = T(old_var + A(momentum) * (wide(var[c]) * A(unbias) - old_var));
}
