// Updates of all parameters in one launch. A parameter's arrays are given by their addresses, and cut into pieces, so that
// a thousand small parameters and one large one keep a device equally busy. A block does a piece:
//
//     addresses   parameters x slots; the parameter first, its gradient next, then what the rule remembers
//     pieces      (parameter, first number, count)
//
// The formulas, and what their letters mean, are in optim/; scalars come in double and are used in the arrays' precision.

struct Piece {
    int parameter, first, count;

    __device__ explicit Piece(const int *pieces)
        : parameter(pieces[blockIdx.x * 3]), first(pieces[blockIdx.x * 3 + 1]), count(pieces[blockIdx.x * 3 + 2]) {}

    template <typename T>
    __device__ T *array(const unsigned long long *addresses, int slots, int slot) const {
        return reinterpret_cast<T *>(addresses[parameter * slots + slot]) + first;
    }
};

// Calls change(at) with a number of each of the SLOTS arrays, in order, and writes what it makes of them, but for the second
// array, the gradient. Numbers come FULL at a time where all arrays allow it.
template <typename T, int SLOTS, typename F>
__device__ void each(const Piece &piece, const unsigned long long *addresses, const F &change) {
    constexpr int WIDTH = FULL<T>;
    T *array[SLOTS];
    bool packed = true;
    for (int s = 0; s < SLOTS; ++s) {
        array[s] = piece.array<T>(addresses, SLOTS, s);
        packed = packed && is_aligned(array[s]);
    }
    const int packs = packed ? piece.count / WIDTH : 0;
    for (int p = threadIdx.x; p < packs; p += blockDim.x) {
        Pack<T, WIDTH> pack[SLOTS];
        for (int s = 0; s < SLOTS; ++s) pack[s] = load<T, WIDTH>(array[s] + p * WIDTH);
        for (int k = 0; k < WIDTH; ++k) {
            T at[SLOTS];
            for (int s = 0; s < SLOTS; ++s) at[s] = pack[s].at[k];
            change(at);
            for (int s = 0; s < SLOTS; ++s) pack[s].at[k] = at[s];
        }
        for (int s = 0; s < SLOTS; ++s)
            if (s != 1) store(array[s] + p * WIDTH, pack[s]);
    }
    for (int i = packs * WIDTH + threadIdx.x; i < piece.count; i += blockDim.x) {
        T at[SLOTS];
        for (int s = 0; s < SLOTS; ++s) at[s] = array[s][i];
        change(at);
        for (int s = 0; s < SLOTS; ++s)
            if (s != 1) array[s][i] = at[s];
    }
}

// Adam and NAdam: m and v as in both, then  p -= (of_gradient g + of_momentum m) / (sqrt(v / correction) + eps).
// Adam has of_gradient 0. `shrink` multiplies p first (decoupled decay), `decay` adds to the gradient (L2), `sign` is -1
// to go up. With AMSGRAD there is a fifth array, the largest v so far, in v's place.
template <typename T, bool AMSGRAD>
__global__ void adam(const unsigned long long *addresses, const int *pieces, double sign, double shrink, double decay,
                     double beta1, double beta2, double of_gradient, double of_momentum, double correction,
                     double eps) {
    using A = Wide<T>;
    constexpr int SLOTS = AMSGRAD ? 5 : 4;
    const Piece piece(pieces);
    const A new_m = A(1 - beta1), new_v = A(1 - beta2), inverse = A(1 / correction);
    each<T, SLOTS>(piece, addresses, [=](T (&at)[SLOTS]) {
        A x = wide(at[0]) * A(shrink);
        const A g = A(sign) * wide(at[1]) + A(decay) * x;
        const A first = A(beta1) * wide(at[2]) + new_m * g;
        A second = A(beta2) * wide(at[3]) + new_v * (g * g);
        at[2] = T(first);
        at[3] = T(second);
        if (AMSGRAD) {
            const A before = wide(at[SLOTS - 1]);
            second = second > before || second != second ? second : before;  // a NaN stays seen
            at[SLOTS - 1] = T(second);
        }
        x -= (A(of_gradient) * g + A(of_momentum) * first) / (root(second * inverse) + A(eps));
        at[0] = T(x);
    });
}

// Gradient descent; b is the third array, where there is momentum.
enum Descent { PLAIN, MOMENTUM, NESTEROV };

template <typename T, Descent KIND>
__global__ void sgd(const unsigned long long *addresses, const int *pieces, double sign, double decay, double momentum,
                    double share, double lr) {
    using A = Wide<T>;
    constexpr int SLOTS = KIND == PLAIN ? 2 : 3;
    const Piece piece(pieces);
    each<T, SLOTS>(piece, addresses, [=](T (&at)[SLOTS]) {
        const A x = wide(at[0]), g = A(sign) * wide(at[1]) + A(decay) * x;
        A step = g;
        if (KIND != PLAIN) {
            step = A(momentum) * wide(at[SLOTS - 1]) + A(share) * g;
            at[SLOTS - 1] = T(step);
        }
        if (KIND == NESTEROV) step = g + A(momentum) * step;
        at[0] = T(x - A(lr) * step);
    });
}

// average += share (x - average); the average first, x second.
template <typename T>
__global__ void ema(const unsigned long long *addresses, const int *pieces, double share) {
    const Piece piece(pieces);
    each<T, 2>(piece, addresses, [=](T (&at)[2]) {
        const Wide<T> before = wide(at[0]);
        at[0] = T(before + Wide<T>(share) * (wide(at[1]) - before));
    });
}

// The sum of squares of each piece, in double: of what is stored in at most 32 bits it neither over- nor underflows.
template <typename T>
__global__ void squares(const unsigned long long *addresses, const int *pieces, double *found) {
    const Piece piece(pieces);
    const T *x = piece.array<T>(addresses, 1, 0);
    double sum[1] = {0};
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) sum[0] += double(wide(x[i])) * double(wide(x[i]));
    block_sum(sum);
    if (threadIdx.x == 0) found[blockIdx.x] = sum[0];
}

// x *= factor, one number on the device
template <typename T>
__global__ void scale(const unsigned long long *addresses, const int *pieces, const double *factor) {
    const Piece piece(pieces);
    T *x = piece.array<T>(addresses, 1, 0);
    const Wide<T> share = Wide<T>(*factor);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) x[i] = T(wide(x[i]) * share);
}

// to = from, rounded; from, the second, is in the precision that is computed in.
template <typename T>
__global__ void narrow(const unsigned long long *addresses, const int *pieces) {
    const Piece piece(pieces);
    T *to = piece.array<T>(addresses, 2, 0);
    const Wide<T> *from = piece.array<Wide<T>>(addresses, 2, 1);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) to[i] = T(from[i]);
}

// to = from / divisor, or that is added to it; to, the first, is in the precision that is computed in.
template <typename T, bool ADDS>
__global__ void widen(const unsigned long long *addresses, const int *pieces, double divisor) {
    const Piece piece(pieces);
    Wide<T> *to = piece.array<Wide<T>>(addresses, 2, 0);
    const T *from = piece.array<T>(addresses, 2, 1);
    for (int i = threadIdx.x; i < piece.count; i += blockDim.x) {
        const Wide<T> x = wide(from[i]) / Wide<T>(divisor);
        to[i] = ADDS ? to[i] + x : x;
    }
}
