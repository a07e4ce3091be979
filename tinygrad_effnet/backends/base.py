"""The contract of a backend: an array module and a table of kernels, the same names and shapes everywhere.

A kernel takes arrays and returns new arrays; it knows no Tensor, no tape and no gradient rule. Whatever *computes*
a number is a kernel, so that each backend can say how; whatever only *moves* numbers (reshape, transpose, slicing,
concatenation) is done with the array module ``xp`` by the operation itself.

Shapes are always logical. Images are (N, C, H, W): batch, channels, height, width. A fast backend may keep them
channel-major in memory, (C, N, H, W) seen through a transpose: a 1x1 convolution is then a single matrix product and a
channel's statistics a single contiguous sum. No kernel may rely on its caller having done so.

Symbols used in the shape comments: ``O`` output channels, ``G`` groups, ``kh kw`` kernel size, ``Ho Wo`` output size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

Array = Any  # numpy.ndarray or cupy.ndarray; the two share an interface but no base class
Axes = int | tuple[int, ...] | None
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
Given = tuple[Array, Array] | None  # mean and variance, C each
Squeeze = tuple[Array, Array, Array, Array]  # weight and bias of squeeze-excitation's two 1x1 convolutions


class Window(NamedTuple):
    """How a kernel slides over a plane: everything that convolution and pooling share.

    ``padding`` is ``((top, bottom), (left, right))`` in pixels: TensorFlow's asymmetric "same" is no special case.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)

    def output_size(self, height: int, width: int) -> Pair:
        """Size (Ho, Wo) that the window leaves of a plane; zero or less where it does not fit."""
        axes = zip((height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True)
        sizes = [(size + before + after - d * (k - 1) - 1) // s + 1 for size, k, s, (before, after), d in axes]
        return sizes[0], sizes[1]

    @property
    def is_pointwise(self) -> bool:
        """True for a 1x1 window that visits every pixel: a convolution with it is a plain matrix product."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.padding == ((0, 0), (0, 0))


class Statistics(NamedTuple):
    """Mean and biased variance of each channel, C each, with the ``eps`` that batch norm adds to the variance.

    ``fixed`` where they were given rather than taken of the batch: then they are constants, and have no gradient.
    """

    mean: Array
    var: Array
    eps: float
    fixed: bool


class Layer(NamedTuple):
    """A convolution whose batch norm is folded into it: act(conv2d(x, weight) + shift)."""

    weight: Array  # O C/groups kh kw
    shift: Array  # O
    groups: int
    act: str  # "none", "silu" or "relu6"


class Block(NamedTuple):
    """An inverted residual with its batch norms folded in: widen, depthwise, squeeze-excitation, project, add x."""

    widen: Layer | None
    depthwise: Layer
    squeeze: Squeeze | None
    project: Layer
    skip: bool


class Backend(ABC):
    """Array module ``xp`` plus kernels. Floating results have the dtype of the floating inputs.

    Elementwise kernels broadcast as NumPy does. ``axis`` is an int, a tuple of ints or None (all axes).
    """

    name: str
    xp: ModuleType
    # where launches cost: `adam`, `sgd` and `ema` of many arrays at once (see cupy/optimiser.py); for the host's arrays
    # also `norms` and `scale` (see numba/optimiser.py)
    updates: Any = None
    inference: Any = None  # where whole blocks have kernels for use without gradients (see numba/inference)
    has_fused: bool = False  # whether fused operations have kernels of their own, and so are worth using

    def updates_of(self, array: Array) -> Any:
        """What updates many arrays such as this one at once, or None where each is done by the optimiser's formula."""
        return self.updates

    # -- elementwise, two operands (broadcast) -------------------------------------------------------------------
    @abstractmethod
    def add(self, a: Array, b: Array) -> Array: ...
    @abstractmethod
    def subtract(self, a: Array, b: Array) -> Array: ...
    @abstractmethod
    def multiply(self, a: Array, b: Array) -> Array: ...
    @abstractmethod
    def divide(self, a: Array, b: Array) -> Array: ...
    @abstractmethod
    def power(self, a: Array, b: Array) -> Array: ...
    @abstractmethod
    def maximum(self, a: Array, b: Array) -> Array:
        """The larger of the two; NaN where either is NaN."""

    @abstractmethod
    def minimum(self, a: Array, b: Array) -> Array:
        """The smaller of the two; NaN where either is NaN."""

    @abstractmethod
    def where(self, condition: Array, a: Array, b: Array) -> Array:
        """``a`` where the boolean ``condition`` holds, ``b`` elsewhere."""

    # -- elementwise, one operand --------------------------------------------------------------------------------
    @abstractmethod
    def negative(self, x: Array) -> Array: ...
    @abstractmethod
    def absolute(self, x: Array) -> Array: ...
    @abstractmethod
    def sign(self, x: Array) -> Array: ...
    @abstractmethod
    def exp(self, x: Array) -> Array: ...
    @abstractmethod
    def log(self, x: Array) -> Array: ...
    @abstractmethod
    def log1p(self, x: Array) -> Array:
        """log(1 + x), exact for small x."""

    @abstractmethod
    def sqrt(self, x: Array) -> Array: ...
    @abstractmethod
    def sin(self, x: Array) -> Array: ...
    @abstractmethod
    def cos(self, x: Array) -> Array: ...
    @abstractmethod
    def tanh(self, x: Array) -> Array: ...
    @abstractmethod
    def erf(self, x: Array) -> Array:
        """Error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x."""

    @abstractmethod
    def clip(self, x: Array, low: float, high: float) -> Array:
        """min(max(x, low), high); the bounds may be infinite."""

    @abstractmethod
    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), without overflow for any x."""

    @abstractmethod
    def silu(self, x: Array) -> Array:
        """x * sigmoid(x)."""

    @abstractmethod
    def silu_grad(self, x: Array, dy: Array) -> Array:
        """dy * s * (1 + x * (1 - s)), s = sigmoid(x): the gradient of `silu`; x and dy have the same shape."""

    # -- reductions ----------------------------------------------------------------------------------------------
    @abstractmethod
    def sum(self, x: Array, axis: Axes, keepdims: bool) -> Array: ...
    @abstractmethod
    def max(self, x: Array, axis: Axes, keepdims: bool) -> Array: ...
    @abstractmethod
    def argmax(self, x: Array, axis: int | None, keepdims: bool) -> Array:
        """Index (int64) of the first largest entry; with ``axis=None`` into the flattened array."""

    @abstractmethod
    def logsumexp(self, x: Array, axis: Axes, keepdims: bool) -> Array:
        """log of the sum of exp(x), shifted by the maximum so that it cannot overflow."""

    @abstractmethod
    def softmax(self, x: Array, axis: int) -> Array: ...
    @abstractmethod
    def log_softmax(self, x: Array, axis: int) -> Array: ...
    @abstractmethod
    def softmax_cross_entropy(self, x: Array, goal: Array) -> tuple[Array, Array]:
        """x, goal: N K -> (loss, slope): -sum of goal * log_softmax(x) for each row, N, and its gradient by x, N K."""

    @abstractmethod
    def label_cross_entropy(
        self, x: Array, labels: Array, smoothing: float, scale: float | None
    ) -> tuple[Array, Array]:
        """x: N K, labels: N (int64) -> (loss, slope): of each row's softmax and its class, and the gradient.

        The goal is ``1 - smoothing`` at the label, and ``smoothing / K`` more everywhere; a row whose label is negative
        counts for nothing. loss: N, or with a ``scale`` their sum times that, (); slope: that one's gradient by x, N K.
        """

    # -- products ------------------------------------------------------------------------------------------------
    @abstractmethod
    def matmul(self, a: Array, b: Array) -> Array:
        """a: (..., n, k), b: (..., k, m) -> (..., n, m); leading axes broadcast. Both have at least two axes."""

    @abstractmethod
    def conv2d(self, x: Array, w: Array, window: Window, groups: int) -> Array:
        """Cross-correlation. x: N C H W, w: O C/G kh kw -> N O Ho Wo."""

    @abstractmethod
    def conv2d_input_grad(self, dy: Array, w: Array, window: Window, groups: int, size: Pair) -> Array:
        """dy: N O Ho Wo, w: O C/G kh kw -> N C H W with (H, W) = ``size``."""

    @abstractmethod
    def conv2d_weight_grad(self, x: Array, dy: Array, window: Window, groups: int) -> Array:
        """x: N C H W, dy: N O Ho Wo -> O C/G kh kw."""

    @abstractmethod
    def depthwise_conv2d(self, x: Array, w: Array, window: Window) -> Array:
        """Each channel with its own filter. x: N C H W, w: C 1 kh kw -> N C Ho Wo."""

    @abstractmethod
    def depthwise_conv2d_input_grad(self, dy: Array, w: Array, window: Window, size: Pair) -> Array:
        """dy: N C Ho Wo, w: C 1 kh kw -> N C H W with (H, W) = ``size``."""

    @abstractmethod
    def depthwise_conv2d_weight_grad(self, x: Array, dy: Array, window: Window) -> Array:
        """x: N C H W, dy: N C Ho Wo -> C 1 kh kw."""

    # -- pooling -------------------------------------------------------------------------------------------------
    @abstractmethod
    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        """x: N C H W -> (largest, index), both N C Ho Wo.

        ``index`` (int64) is the place ``h * W + w`` of the first largest entry in its plane; padding never wins, NaN
        always does.
        """

    @abstractmethod
    def gather_planes(self, x: Array, index: Array) -> Array:
        """x: N C H W, index: N C Ho Wo of places ``h * W + w`` -> N C Ho Wo."""

    @abstractmethod
    def scatter_planes(self, dy: Array, index: Array, size: Pair) -> Array:
        """The transpose of `gather_planes`: adds dy (N C Ho Wo) into a zero plane N C H W at ``index``."""

    @abstractmethod
    def avg_pool2d(self, x: Array, window: Window, count_include_pad: bool) -> Array:
        """x: N C H W -> N C Ho Wo. Without ``count_include_pad`` the divisor counts real pixels only."""

    @abstractmethod
    def avg_pool2d_grad(self, dy: Array, window: Window, count_include_pad: bool, size: Pair) -> Array:
        """The transpose of `avg_pool2d`: dy: N C Ho Wo -> N C H W with (H, W) = ``size``."""

    # -- normalisation -------------------------------------------------------------------------------------------
    @abstractmethod
    def batch_norm(self, x: Array, gamma: Array, beta: Array, eps: float) -> tuple[Array, Array, Array]:
        """x: N C ..., gamma, beta: C -> (y, mean, var): y like x, the batch's mean and biased variance, C each."""

    @abstractmethod
    def batch_norm_grad(
        self, x: Array, gamma: Array, dy: Array, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array, Array]:
        """x, dy: N C ..., the rest C -> (dx, dgamma, dbeta), with mean and var taken as functions of x."""

    @abstractmethod
    def scale_shift(self, x: Array, scale: Array, shift: Array) -> Array:
        """x: N C ..., scale, shift: C -> x * scale + shift, channel by channel."""

    def move_statistics(
        self, running_mean: Array, running_var: Array, mean: Array, var: Array, momentum: float, unbias: float
    ) -> None:
        """In place, running += momentum (batch - running), C each; the batch's variance is multiplied by unbias."""
        for running, batch in ((running_mean, mean), (running_var, var * unbias)):
            running += momentum * (batch.astype(running.dtype) - running)

    # -- indexing and random numbers -----------------------------------------------------------------------------
    @abstractmethod
    def scatter_add(self, dy: Array, index: Any, shape: Sequence[int]) -> Array:
        """Zeros of ``shape`` with ``dy`` added at ``[index]``; an entry indexed twice receives both."""

    @abstractmethod
    def uniform(self, generator: Any, shape: Sequence[int], dtype: Any) -> Array:
        """Numbers in [0, 1) from ``generator`` (`numpy.random.Generator`), in this backend's memory."""

    # -- fused: several steps of a network in one pass over memory -----------------------------------------------
    # Each is defined by the composition that stands here. ``given`` is a mean and a variance to normalise with, C each;
    # without it they are taken of the batch. Gradients need the raw input only: the rest is computed anew.
    def normalise(self, x: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
        """x: N C H W, gamma, beta: C -> (x - mean) / sqrt(var + eps) * gamma + beta, and the statistics used."""
        if given is None:
            y, mean, var = self.batch_norm(x, gamma, beta, eps)
            return y, Statistics(mean, var, eps, False)
        statistics = Statistics(*given, eps, True)
        return self._normalised(x, gamma, beta, statistics), statistics

    def _normalised(self, x: Array, gamma: Array, beta: Array, statistics: Statistics) -> Array:
        mean, var, eps, _ = statistics
        centred = self.subtract(x, mean.reshape(1, -1, 1, 1))  # first: x * scale, mean * scale may be large and alike
        return self.scale_shift(centred, self.divide(gamma, self.sqrt(self.add(var, eps))), beta)

    def normalise_grad(self, x: Array, gamma: Array, dy: Array, statistics: Statistics) -> tuple[Array, Array, Array]:
        """The gradient of `normalise`: x, dy: N C H W, gamma: C -> (dx, dgamma, dbeta)."""
        mean, var, eps, fixed = statistics
        if not fixed:
            return self.batch_norm_grad(x, gamma, dy, mean, var, eps)
        std = self.sqrt(self.add(var, eps)).reshape(1, -1, 1, 1)
        normal = self.divide(self.subtract(x, mean.reshape(1, -1, 1, 1)), std)
        dx = self.multiply(dy, self.divide(gamma.reshape(1, -1, 1, 1), std))
        return dx, self.sum(self.multiply(dy, normal), (0, 2, 3), False), self.sum(dy, (0, 2, 3), False)

    def norm_silu(self, x: Array, gamma: Array, beta: Array, eps: float, given: Given) -> tuple[Array, Statistics]:
        """silu(normalise(x)): N C H W."""
        t, statistics = self.normalise(x, gamma, beta, eps, given)
        return self.silu(t), statistics

    def norm_silu_grad(
        self, x: Array, gamma: Array, beta: Array, dy: Array, statistics: Statistics
    ) -> tuple[Array, Array, Array]:
        """x, dy: N C H W, gamma, beta: C -> (dx, dgamma, dbeta)."""
        dt = self.silu_grad(self._normalised(x, gamma, beta, statistics), dy)
        return self.normalise_grad(x, gamma, dt, statistics)

    def norm_silu_depthwise(
        self, x: Array, gamma: Array, beta: Array, w: Array, window: Window, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        """depthwise_conv2d(silu(normalise(x)), w); x: N C H W, w: C 1 kh kw -> N C Ho Wo."""
        h, statistics = self.norm_silu(x, gamma, beta, eps, given)
        return self.depthwise_conv2d(h, w, window), statistics

    def norm_silu_depthwise_grad(
        self, x: Array, gamma: Array, beta: Array, w: Array, dy: Array, window: Window, statistics: Statistics
    ) -> tuple[Array, Array, Array, Array]:
        """x: N C H W, dy: N C Ho Wo -> (dx, dgamma, dbeta, dw)."""
        h = self.silu(self._normalised(x, gamma, beta, statistics))
        dw = self.depthwise_conv2d_weight_grad(h, dy, window)
        dh = self.depthwise_conv2d_input_grad(dy, w, window, (x.shape[2], x.shape[3]))
        return *self.norm_silu_grad(x, gamma, beta, dh, statistics), dw

    def norm_silu_squeeze_excite(
        self, y: Array, gamma: Array, beta: Array, squeeze: Squeeze, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        """h * gate(mean of each plane of h), h = silu(normalise(y)): N C H W. ``squeeze``: see `gate`."""
        h, statistics = self.norm_silu(y, gamma, beta, eps, given)
        *_, gate = self.gate(self._pooled(h), squeeze)
        return self.multiply(h, gate.reshape(*gate.shape, 1, 1)), statistics

    def norm_silu_squeeze_excite_grad(
        self, y: Array, gamma: Array, beta: Array, squeeze: Squeeze, dz: Array, statistics: Statistics
    ) -> tuple[Array, ...]:
        """y, dz: N C H W -> gradients of y, gamma, beta and the four of ``squeeze``."""
        t = self._normalised(y, gamma, beta, statistics)
        h = self.silu(t)
        pooled = self._pooled(h)
        reduced, active, gate = self.gate(pooled, squeeze)
        dgate = self.sum(self.multiply(dz, h), (2, 3), False)
        dpooled, *weights = self.gate_grad(pooled, reduced, active, gate, dgate, squeeze)
        share = self.divide(dpooled, y.shape[2] * y.shape[3])
        dh = self.add(self.multiply(dz, gate.reshape(*gate.shape, 1, 1)), share.reshape(*share.shape, 1, 1))
        return *self.normalise_grad(y, gamma, self.silu_grad(t, dh), statistics), *weights

    def _pooled(self, h: Array) -> Array:
        return self.divide(self.sum(h, (2, 3), False), h.shape[2] * h.shape[3])

    def gate(self, pooled: Array, squeeze: Squeeze) -> tuple[Array, Array, Array]:
        """sigmoid(expand(silu(reduce(pooled)))): N C -> (reduced: N S, active: N S, gate: N C).

        ``squeeze`` holds the weights and biases of the two 1x1 convolutions: S C 1 1, S, C S 1 1, C.
        """
        reduce_w, reduce_b, expand_w, expand_b = squeeze
        reduced = self.add(self.matmul(pooled, reduce_w[:, :, 0, 0].T), reduce_b)
        active = self.silu(reduced)
        return reduced, active, self.sigmoid(self.add(self.matmul(active, expand_w[:, :, 0, 0].T), expand_b))

    def gate_grad(
        self, pooled: Array, reduced: Array, active: Array, gate: Array, dgate: Array, squeeze: Squeeze
    ) -> tuple[Array, ...]:
        """The gradient of `gate`: of pooled, N C, and of the four of ``squeeze``."""
        reduce_w, _, expand_w, _ = squeeze
        de = self.multiply(dgate, self.multiply(gate, self.subtract(1, gate)))
        dr = self.silu_grad(reduced, self.matmul(de, expand_w[:, :, 0, 0]))
        return (
            self.matmul(dr, reduce_w[:, :, 0, 0]),
            self.matmul(dr.T, pooled).reshape(reduce_w.shape),
            self.sum(dr, 0, False),
            self.matmul(de.T, active).reshape(expand_w.shape),
            self.sum(de, 0, False),
        )

    def norm_add(
        self, v: Array, gamma: Array, beta: Array, skip: Array, mask: Array | None, eps: float, given: Given
    ) -> tuple[Array, Statistics]:
        """normalise(v) * mask + skip; v, skip: N C H W, mask: N or None for ones."""
        t, statistics = self.normalise(v, gamma, beta, eps, given)
        kept = t if mask is None else self.multiply(t, mask.reshape(-1, 1, 1, 1))
        return self.add(kept, skip), statistics

    def norm_add_grad(
        self, v: Array, gamma: Array, dy: Array, mask: Array | None, statistics: Statistics
    ) -> tuple[Array, Array, Array]:
        """v, dy: N C H W -> (dv, dgamma, dbeta); the gradient of ``skip`` is dy."""
        kept = dy if mask is None else self.multiply(dy, mask.reshape(-1, 1, 1, 1))
        return self.normalise_grad(v, gamma, kept, statistics)
