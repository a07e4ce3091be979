// From pictures as they are decoded to what a network takes: a part resized, cut, perhaps mirrored, its colours changed,
// normalised. Bytes cross to the device, a quarter of what floats would be.
//
// Resizing is Pillow's, to the last bit: bilinear over as many pixels as an output covers, across and then down or the other
// way round, in whole numbers with BITS binary places, rounded to bytes in between.

constexpr int BITS = 22;
constexpr int HALF = 1 << (BITS - 1);

// a product that is rounded before anything is added to it, as on a host
__device__ inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}
__device__ inline double product(double a, double b) {
#ifdef __CUDA_ARCH__
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

__device__ inline int byte_of(int sum) {
    const int whole = sum >> BITS;
    return whole < 0 ? 0 : whole > 255 ? 255 : whole;
}

// What is to be done with a picture; see data/byte_batch.py.
struct Place {
    int start, height, width, resized_height, resized_width, top, left, mirrored, down_first;

    __device__ Place(const int *places, int n) {
        const int *of = places + n * 9;
        start = of[0], height = of[1], width = of[2], resized_height = of[3], resized_width = of[4];
        top = of[5], left = of[6], mirrored = of[7], down_first = of[8];
    }
};

// The pixels that each output row, and then each output column, of each picture is made of: reach holds the first and how
// many, weights their shares, `room` for each. A thread does an output.
__global__ void taps(const int *places, const float *boxes, int images, int out_height, int out_width, int room, int *reach,
                     int *weights) {
    const int outputs = out_height + out_width, total = images * outputs;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int n = i / outputs, k = i % outputs;
        const bool across = k >= out_height;
        const Place place(places, n);
        const float *box = boxes + n * 4 + (across ? 0 : 1);
        const float low = box[0], high = box[2];
        const int length = across ? place.width : place.height;
        const int at = across ? k - out_height + place.left : k + place.top;
        const double scale = double(high - low) / (across ? place.resized_width : place.resized_height);
        const double support = scale < 1.0 ? 1.0 : scale;  // enlarged, an output still lies between two pixels
        const double center = low + product(at + 0.5, scale), slope = 1.0 / support;
        int first = int(center - support + 0.5), last = int(center + support + 0.5);
        first = first < 0 ? 0 : first;
        last = last > length ? length : last;
        double sum = 0.0;
        for (int x = first; x < last; ++x) {
            const double far = magnitude(product(x - center + 0.5, slope));
            sum += far < 1.0 ? 1.0 - far : 0.0;
        }
        for (int x = first; x < last; ++x) {
            const double far = magnitude(product(x - center + 0.5, slope));
            const double share = far < 1.0 ? 1.0 - far : 0.0;
            weights[i * room + x - first] = int(0.5 + product(share / sum, double(1 << BITS)));
        }
        reach[i * 2] = first, reach[i * 2 + 1] = last - first;
    }
}

// The weighted sum of `count` pixels, `stride` pixels apart, as a pixel.
__device__ inline void weigh(const unsigned char *from, int stride, const int *weights, int count, unsigned char *to) {
    int red = HALF, green = HALF, blue = HALF;
    for (int k = 0; k < count; ++k, from += stride * 3)
        red += from[0] * weights[k], green += from[1] * weights[k], blue += from[2] * weights[k];
    to[0] = byte_of(red), to[1] = byte_of(green), to[2] = byte_of(blue);
}

// Of each picture in `pixels`, resized in its first direction: height x out_width pixels in `half`, or out_height x width,
// `most` reserved for each picture; only those that the second pass reads are written. A thread does a pixel.
__global__ void first_pass(const unsigned char *pixels, const int *places, const int *reach, const int *weights, int images,
                           int most, int out_height, int out_width, int room, unsigned char *half) {
    const int total = images * most, outputs = out_height + out_width;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int n = i / most, j = i % most;
        const Place place(places, n);
        const int wide = place.down_first ? place.width : out_width, row = j / wide, column = j % wide;
        if (row >= (place.down_first ? out_height : place.height)) continue;
        // the output, and in the other direction what all outputs see together
        const int k = n * outputs + (place.down_first ? row : out_height + column);
        const int *low = reach + (n * outputs + (place.down_first ? out_height : 0)) * 2;
        const int *high = low + ((place.down_first ? out_width : out_height) - 1) * 2;
        const int other = place.down_first ? column : row;
        if (other < low[0] || other >= high[0] + high[1]) continue;
        const int start = place.down_first ? reach[k * 2] * place.width + column : row * place.width + reach[k * 2];
        weigh(pixels + place.start + start * 3, place.down_first ? place.width : 1, weights + k * room, reach[k * 2 + 1],
              half + i * 3);
    }
}

// half -> cuts, N out_height out_width 3, mirrored where asked. A thread does a pixel.
__global__ void second_pass(const unsigned char *half, const int *places, const int *reach, const int *weights, int images,
                            int most, int out_height, int out_width, int room, unsigned char *cuts) {
    const int total = images * out_height * out_width, outputs = out_height + out_width;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        const int w = i % out_width, h = i / out_width % out_height, n = i / out_width / out_height;
        const Place place(places, n);
        const int k = n * outputs + (place.down_first ? out_height + w : h);
        const int start = place.down_first ? h * place.width + reach[k * 2] : reach[k * 2] * out_width + w;
        weigh(half + (n * most + start) * 3, place.down_first ? 1 : out_width, weights + k * room, reach[k * 2 + 1],
              cuts + (place.mirrored ? i - w + out_width - 1 - w : i) * 3);
    }
}

// The mean grey of each cut (ITU-R BT.601 luma): sums of bytes are exact. A block does a picture.
__global__ void mean_grey(const unsigned char *cuts, int area, float *greys) {
    long long sums[3] = {0, 0, 0};
    const unsigned char *cut = cuts + blockIdx.x * area * 3;
    for (int i = threadIdx.x; i < area; i += blockDim.x)
        for (int c = 0; c < 3; ++c) sums[c] += cut[i * 3 + c];
    block_sum(sums);
    if (threadIdx.x == 0)
        greys[blockIdx.x] = 0.299f * float(double(sums[0]) / area) + 0.587f * float(double(sums[1]) / area) +
                            0.114f * float(double(sums[2]) / area);
}

// cuts, N h w 3 -> y, 3 N h w: pixel * scale - offset; before it, where there are `colours`, their change. A thread does a
// pixel.
template <typename T>
__global__ void normalise_pixels(const unsigned char *cuts, const double *colours, const float *greys, int images, int area,
                                 const float *scale, const float *offset, T *y) {
    const int total = images * area;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < total; i += gridDim.x * blockDim.x) {
        float pixel[3] = {float(cuts[i * 3]), float(cuts[i * 3 + 1]), float(cuts[i * 3 + 2])};
        if (colours) {
            const double *of = colours + i / area * 10;
            const float level = float(product(of[9], double(greys[i / area])) + 0.5);
            float changed[3];
            for (int c = 0; c < 3; ++c) {
                const float sum = product(pixel[0], float(of[c])) + product(pixel[1], float(of[3 + c])) +
                                  product(pixel[2], float(of[6 + c])) + level;
                changed[c] = float(int(sum < 0.0f ? 0.0f : sum > 255.0f ? 255.0f : sum));
            }
            for (int c = 0; c < 3; ++c) pixel[c] = changed[c];
        }
        for (int c = 0; c < 3; ++c) y[c * total + i] = T(product(pixel[c], scale[c]) - offset[c]);
    }
}
