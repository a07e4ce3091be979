"""Four optimisers in one valley
================================

SGD, SGD with momentum, Adam and NAdam walk from the same place towards the lowest point of Rosenbrock's valley::

    f(x, y) = (1 − x)² + 10 (y − x²)²,

which is steep across and nearly flat along. Plain SGD finds the floor and then hardly moves. Momentum remembers where
it came from and runs on. Adam and NAdam divide each coordinate by how much it has varied; NAdam also looks a step
ahead.
"""

import sys
from pathlib import Path

if "__file__" in globals():  # run from a source tree, installed or not
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import matplotlib.pyplot as plt
import numpy as np

import tinygrad_effnet as tg
from tinygrad_effnet import optim


def valley(x, y):
    return (1.0 - x) ** 2.0 + 10.0 * (y - x**2.0) ** 2.0


def walk(make, steps=150):
    """The places (steps + 1, 2) that an optimiser comes through."""
    place = tg.Tensor([-1.4, 1.4], requires_grad=True, dtype="float64")
    optimizer = make([place])
    places = [place.numpy().copy()]
    for _ in range(steps):
        optimizer.zero_grad()
        valley(place[0], place[1]).backward()
        optimizer.step()
        places.append(place.numpy().copy())
    return np.array(places)


# %%
# Each has a learning rate that suits it; the number of steps is the same.
optimizers = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.005),
    "SGD with momentum": lambda parameters: optim.SGD(parameters, lr=0.005, momentum=0.9),
    "Adam": lambda parameters: optim.Adam(parameters, lr=0.1),
    "NAdam": lambda parameters: optim.NAdam(parameters, lr=0.1),
}
paths = {name: walk(make) for name, make in optimizers.items()}
for name, path in paths.items():
    print(f"{name:18} ends at ({path[-1, 0]:+.3f}, {path[-1, 1]:+.3f}), f = {valley(*path[-1]):.5f}")

# %%
# The lowest point, at (1, 1), is marked by a cross.
figure, axes = plt.subplots(2, 2, figsize=(8, 6), sharex=True, sharey=True, layout="constrained")
x, y = np.meshgrid(np.linspace(-1.8, 1.8, 200), np.linspace(-0.8, 2.2, 200))
for ax, (name, path) in zip(axes.flat, paths.items(), strict=True):
    ax.contour(x, y, valley(x, y), levels=np.geomspace(0.1, 200, 12), colors="0.8", linewidths=0.8)
    ax.plot(*path.T, ".-", color="#0b63b6", linewidth=1, markersize=3)
    ax.plot(1, 1, "x", color="#a8480c", markersize=9)
    ax.set_title(f"{name}: f = {valley(*path[-1]):.1e}", fontsize=10)
plt.show()
