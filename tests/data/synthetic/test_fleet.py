"""Bodies: the ten by hand, and those that are drawn from their number."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tinygrad_effnet.data.synthetic.body import CarModel, rounded
from tinygrad_effnet.data.synthetic.fleet import CAR_MODELS, car_models

MANY = 196


def test_a_longer_list_begins_with_a_shorter_one():
    assert car_models(10) == CAR_MODELS
    assert car_models(3) == CAR_MODELS[:3]
    assert car_models(40)[:25] == car_models(25)
    with pytest.raises(ValueError, match="models: got 0, expected at least 1"):
        car_models(0)


def test_names_differ_and_tell_the_kind_of_body():
    names = [model.name for model in car_models(MANY)]
    assert len(set(names)) == MANY
    for number, name in enumerate(names):
        assert name.startswith(CAR_MODELS[number % 10].name)
    assert names[195] == "Fir Pick-up Mk 20"


@pytest.mark.parametrize("model", car_models(MANY), ids=lambda model: model.name)
def test_bodies_fit_their_own_measures(model: CarModel):
    assert min(s.front for s in model.shells) == pytest.approx(0.0, abs=1e-9)
    assert max(s.rear for s in model.shells) == pytest.approx(model.length, abs=0.02)
    top = max([s.top for s in model.shells] + ([model.rails[2]] if model.rails else []))
    # Rails stand on the roof, and a kind's height is with them; some of its models have none.
    assert model.open_top or model.height - 0.05 <= top <= model.height + 0.03
    assert 0 < model.axles[0] - model.wheel and model.axles[-1] + model.wheel < model.length
    assert model.axles[0] + 2 * model.wheel < model.axles[-1] - 2 * model.wheel
    bottom = model.shells[0].bottom
    for low, high in (model.head_lamp, model.tail_lamp, model.grille):
        assert bottom < low < high < model.height
    for shell in model.shells:
        assert 0 < shell.bottom < shell.belt <= shell.top
        # The line of the roof rises to its peak and falls from there, as the drawing of the two ends needs it.
        heights = [y for _, y, _ in shell.outline]
        peak = int(np.argmax(heights))
        assert heights[: peak + 1] == sorted(heights[: peak + 1])
        for x, y in shell.glass:
            assert shell.front < x < shell.rear and shell.bottom < y < shell.top
        for x in (*shell.doors, *shell.handles):
            assert shell.front < x < shell.rear


def test_no_two_models_are_nearly_the_same():
    """Pictures of one model differ by a twentieth in their proportions at most, so models differ by more somewhere."""

    def measures(model: CarModel) -> np.ndarray:
        body = model.shells[0]
        xs = [v[0] for v in body.outline] + [model.axles[0], model.axles[-1], model.wheel]
        ys = [body.bottom, body.belt, body.top, *model.head_lamp, *model.tail_lamp]
        return np.concatenate([np.array(xs) / model.length, np.array(ys) / model.height, [model.height / model.length]])

    fleet = car_models(MANY)
    for kind in range(10):
        found = [measures(model) for model in fleet[kind::10]]
        for (a, one), (b, other) in combinations(enumerate(found), 2):
            assert (np.abs(one - other) > 0.05 * other).any(), (fleet[kind + 10 * a].name, fleet[kind + 10 * b].name)


def test_rounding_keeps_the_ends_and_stays_inside_the_corner():
    points, owners = rounded(((0.0, 0.0, 0.5), (0.0, 2.0, 0.5), (3.0, 2.0, 0.5)))
    assert points[0].tolist() == [0.0, 0.0]
    assert points[-1].tolist() == [3.0, 2.0]
    assert len(points) == len(owners)
    assert points[:, 0].min() >= 0.0
    assert points[:, 1].max() <= 2.0
    assert not any(np.array_equal(p, (0.0, 2.0)) for p in points)
