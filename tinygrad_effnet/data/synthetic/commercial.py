"""Fictional commercial vehicles: pick-up, van, minibus, lorry.

Lengths in metres; see :mod:`.body` for what each number means. The figures follow the proportions of ordinary European
vehicles of each kind; the models themselves are invented.
"""

from __future__ import annotations

from .body import CarModel, Shell

PICKUP = CarModel(
    name="Fir Pick-up",
    length=5.35,
    height=1.80,
    shells=(
        Shell(
            outline=(
                (0.08, 0.40, 0.06),
                (0.00, 0.68, 0.08),
                (0.05, 1.06, 0.12),
                (1.24, 1.16, 0.10),
                (1.80, 1.71, 0.18),
                (2.35, 1.80, 0.30),
                (2.95, 1.76, 0.12),
                (3.12, 1.18, 0.02),
                (5.27, 1.18, 0.03),
                (5.35, 0.62, 0.06),
                (5.30, 0.46, 0.04),
            ),
            width=1.90,
            belt=1.12,
            lean=0.11,
            corner=0.08,
            panes=(3, 6),
            wells=(7,),
            glass=((1.50, 1.17), (1.90, 1.64), (2.35, 1.71), (2.84, 1.68), (2.94, 1.20)),
            pillars=((2.30, 2.28, 0.10),),
            doors=(1.44, 2.32, 3.02, 3.17),
            handles=(2.14, 2.86),
        ),
    ),
    axles=(0.98, 4.20),
    wheel=0.40,
    head_lamp=(0.86, 1.04),
    tail_lamp=(0.72, 1.12),
    grille=(0.64, 1.00),
    mirror=(1.66, 1.19),
    cladding=0.50,
)

VAN = CarModel(
    name="Gorse Van",
    length=5.30,
    height=2.30,
    shells=(
        Shell(
            outline=(
                (0.06, 0.28, 0.06),
                (0.00, 0.60, 0.10),
                (0.08, 0.98, 0.16),
                (0.78, 1.28, 0.12),
                (1.52, 2.14, 0.25),
                (2.10, 2.30, 0.40),
                (5.14, 2.26, 0.18),
                (5.30, 1.20, 0.40),
                (5.30, 0.50, 0.08),
                (5.26, 0.32, 0.04),
            ),
            width=1.98,
            belt=1.25,
            lean=0.10,
            corner=0.10,
            panes=(3,),
            glass=((1.06, 1.24), (1.58, 1.84), (2.08, 1.86), (2.08, 1.24)),
            doors=(1.00, 2.16, 3.40),
            handles=(1.98, 2.34),
        ),
    ),
    axles=(0.94, 4.28),
    wheel=0.345,
    head_lamp=(0.80, 1.06),
    tail_lamp=(0.80, 1.50),
    grille=(0.56, 0.78),
    mirror=(1.24, 1.30),
    tall=True,
)

MINIBUS = CarModel(
    name="Hazel Minibus",
    length=6.10,
    height=2.65,
    shells=(
        Shell(
            outline=(
                (0.05, 0.30, 0.06),
                (0.00, 0.66, 0.10),
                (0.07, 1.10, 0.16),
                (0.42, 1.36, 0.14),
                (0.98, 2.40, 0.25),
                (1.50, 2.65, 0.40),
                (5.94, 2.62, 0.22),
                (6.10, 1.40, 0.40),
                (6.10, 0.50, 0.08),
                (6.06, 0.32, 0.04),
            ),
            width=2.05,
            belt=1.30,
            lean=0.08,
            corner=0.10,
            panes=(3, 6),
            glass=((0.78, 1.30), (1.18, 2.08), (5.80, 2.08), (5.86, 1.30)),
            pillars=((1.72, 1.72, 0.16), (2.74, 2.74, 0.09), (3.76, 3.76, 0.09), (4.78, 4.78, 0.09)),
            doors=(0.76, 1.68, 2.74),
            handles=(1.56,),
        ),
    ),
    axles=(0.98, 4.70),
    wheel=0.37,
    head_lamp=(0.82, 1.06),
    tail_lamp=(0.80, 1.30),
    grille=(0.56, 0.78),
    mirror=(0.92, 1.62),
    tall=True,
)

LORRY = CarModel(
    name="Ivy Lorry",
    length=7.30,
    height=3.30,
    shells=(
        Shell(
            outline=(
                (0.06, 0.46, 0.06),
                (0.00, 0.80, 0.08),
                (0.00, 1.34, 0.10),
                (0.22, 2.44, 0.24),
                (0.60, 2.62, 0.20),
                (1.62, 2.62, 0.10),
                (1.72, 2.40, 0.10),
                (1.72, 0.60, 0.04),
            ),
            width=2.25,
            belt=1.44,
            lean=0.06,
            corner=0.10,
            panes=(2,),
            glass=((0.34, 1.44), (0.50, 2.18), (1.34, 2.18), (1.34, 1.44)),
            doors=(0.26, 1.44),
            handles=(1.28,),
        ),
        Shell(
            outline=(
                (1.92, 0.98, 0.0),
                (1.92, 3.30, 0.05),
                (7.30, 3.30, 0.05),
                (7.30, 0.98, 0.0),
            ),
            width=2.35,
            belt=3.30,
            lean=0.0,
            corner=0.0,
            cargo=True,
        ),
    ),
    axles=(1.02, 5.70),
    wheel=0.47,
    head_lamp=(0.66, 0.88),
    tail_lamp=(0.72, 0.90),
    grille=(0.92, 1.30),
    mirror=(0.30, 1.75),
    chassis=(1.50, 7.20, 0.62, 0.96),
    tall=True,
)
