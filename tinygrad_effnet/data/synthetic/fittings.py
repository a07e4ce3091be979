"""What stands out from the body: mirrors, roof rails, and the inside of an open car."""

from __future__ import annotations

from .body import Shell
from .canvas import shade
from .subject import GLASS, PLASTIC, SKY, Subject


def draw_rails(car: Subject) -> None:
    """Roof rails, where the model has them."""
    if car.model.rails is None:
        return
    front, rear, height = car.model.rails
    half = car.model.shells[0].half_width_at(2.0, height) - 0.05
    for z in (half, -half):
        rail = [(front, -0.04), (front + 0.15, 0.02), (rear - 0.15, 0.0), (rear, -0.05)]
        car.canvas.line([(x, height + y, z) for x, y in rail], car.finish.trim, 0.045)


def draw_mirrors(car: Subject) -> None:
    """The door mirrors that the camera sees."""
    x, y = car.model.mirror
    size, fill = (0.34, PLASTIC) if car.model.tall else (0.15, shade(car.finish.paint, 0.86))
    reach = car.model.shells[0].half_width_at(x, y) + 0.16
    for z in (reach, -reach) if car.shows_front else (-reach,):
        car.canvas.polygon([(x - 0.06, y, z), (x + 0.12, y, z), (x + 0.13, y + size, z), (x - 0.01, y + size, z)], fill)


def draw_cockpit(car: Subject, shell: Shell) -> None:
    """Windscreen frame, seats and folded roof of an open car."""
    # The measures below are those of a well that begins at 1.30 and sides that end at 0.86.
    back, up = shell.outline[shell.wells[0]][0] - 1.30, shell.belt - 0.86
    half = shell.half_width_at(back + 2.0, up + 0.9)
    parts = [(3.3, _draw_folded_roof), (2.98, _draw_seats), (2.28, _draw_seats), (1.6, _draw_windscreen)]
    # The end that the camera sees is the nearer one, so it is drawn last.
    for x, draw in parts if car.shows_front else parts[::-1]:
        draw(car, back + x, up, half)


def _draw_seats(car: Subject, row: float, up: float, half: float) -> None:
    leather = shade(car.finish.cargo, 0.8)
    for z in (0.42 * half, -0.42 * half):
        for x, low, high, w, tone in ((row, 0.80, 1.10, 0.23, 1.0), (row + 0.06, 1.12, 1.24, 0.14, 0.9)):
            top = x + 0.08
            low, high = up + low, up + high
            face = [(x, low, z - w), (x, low, z + w), (top, high, z + w), (top, high, z - w)]
            side = [(x, low, z - w), (x + 0.15, low, z - w), (x + 0.20, high, z - w), (top, high, z - w)]
            car.canvas.polygon(face, shade(leather, tone))
            car.canvas.polygon(side, shade(leather, 0.75 * tone))


def _draw_folded_roof(car: Subject, x: float, up: float, half: float) -> None:
    cloth = shade(car.finish.roof, 0.7) if car.finish.roof != car.finish.paint else (48, 46, 48)
    fold = [(x - 0.24, 0.86), (x - 0.20, 1.06), (x + 0.15, 1.10), (x + 0.36, 0.96)]
    for part in (0.8, 0.4, 0.0, -0.4, -0.84):
        car.canvas.polygon([(at, up + y, part * half) for at, y in fold], cloth)


def _draw_windscreen(car: Subject, x: float, up: float, half: float) -> None:
    foot, head = (x - 0.24, up + 0.90), (x + 0.38, up + 1.31)
    wide, narrow = 0.94 * half, 0.84 * half
    frame = [(*foot, -wide), (*head, -narrow), (*head, narrow), (*foot, wide)]
    car.canvas.film(frame, shade(GLASS, 1.6, SKY, 0.3), 0.5)
    car.canvas.line(frame, shade(car.finish.trim, 0.6, SKY, 0.12), 0.06)
    car.canvas.line([frame[3], frame[0]], (24, 24, 26), 0.05)
