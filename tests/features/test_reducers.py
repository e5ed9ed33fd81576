"""Reducers: closed forms, identities over ranges, and mechanisms rolled out from velocities at their contacts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kinematics import bearing_orders, turned_bearing_orders
from features.reducers import (
    chain,
    check_ratio,
    gear_pair,
    harmonic,
    known_ratio,
    plain_belt,
    planetary,
    rv,
    toothed_belt,
)

RV_40 = {"sun_teeth": 12, "planet_teeth": 36, "pins": 40}


def order_of(stage, name):
    return next(order.order for order in stage.orders if order.name == name)


def passings(per_turn, teeth, turns=20):
    """Count how many teeth a point passes while the input makes some turns, from angles in fine steps."""
    angle = np.linspace(0.0, turns, 400_001) * abs(per_turn)
    return np.count_nonzero(np.diff(np.floor(angle * teeth + 1e-9))) / turns


# ------------------------------------------------------------------------------------------------ closed forms


def test_gear_pair():
    stage = gear_pair(driving_teeth=18, driven_teeth=45)
    assert stage.ratio == 2.5
    assert dict(stage.speeds)["output"] == pytest.approx(-0.4)
    assert stage.meshes == (18.0,)
    assert order_of(stage, "hunting tooth") == pytest.approx(9 / 45)


def test_harmonic_drive_of_100_and_102_teeth():
    stage = harmonic(flexspline_teeth=100, circular_spline_teeth=102)
    assert stage.ratio == pytest.approx(50)
    assert dict(stage.speeds)["output"] == pytest.approx(-1 / 50)
    assert order_of(stage, "wave") == 2
    assert stage.meshes == pytest.approx((102,))
    turned = harmonic(flexspline_teeth=100, circular_spline_teeth=102, fixed="flexspline")
    assert turned.ratio == pytest.approx(51)
    assert dict(turned.speeds)["output"] == pytest.approx(1 / 51)
    assert turned.meshes == pytest.approx((100,)), "as many as the fixed spline has"


def test_planetary_with_fixed_ring():
    stage = planetary(sun_teeth=20, planet_teeth=20, ring_teeth=60, n_planets=4)
    assert stage.ratio == pytest.approx(4)
    assert stage.meshes == pytest.approx((15.0,))
    assert order_of(stage, "planet spin") == pytest.approx(0.75)
    assert order_of(stage, "planet fault") == pytest.approx(1.5)
    assert order_of(stage, "planet pass of the ring") == pytest.approx(1.0)
    assert order_of(stage, "planet pass of the sun") == pytest.approx(3.0)
    assert stage.notes == ()


@pytest.mark.parametrize(
    ("fixed", "driving", "speed"),
    [
        ("ring", "sun", 1 / 4),
        ("ring", "carrier", 4.0),
        ("sun", "ring", 3 / 4),
        ("sun", "carrier", 4 / 3),
        ("carrier", "sun", -1 / 3),
        ("carrier", "ring", -3.0),
    ],
)
def test_planetary_in_all_six_ways(fixed, driving, speed):
    stage = planetary(sun_teeth=20, planet_teeth=20, ring_teeth=60, n_planets=3, fixed=fixed, driving=driving)
    assert dict(stage.speeds)["output"] == pytest.approx(speed)


def test_planets_that_cannot_be_spaced_evenly_are_noted_and_not_refused():
    stage = planetary(sun_teeth=20, planet_teeth=20, ring_teeth=60, n_planets=3)
    assert "cannot be spaced evenly" in stage.notes[0]
    assert chain([("wrist", stage)]).notes[0].startswith("wrist: 3 planets")


def test_rv_reducer():
    stage = rv(**RV_40)
    assert stage.ratio == pytest.approx(1 + 36 / 12 * 40) == pytest.approx(121)
    assert dict(stage.speeds)["output"] == pytest.approx(1 / 121)
    assert order_of(stage, "eccentric orbit") == pytest.approx(39 / 121)
    assert stage.meshes == pytest.approx((12 * 120 / 121, 40 * 39 / 121))
    turned = rv(**RV_40, fixed="carrier")
    assert turned.ratio == pytest.approx(120)
    assert dict(turned.speeds)["output"] == pytest.approx(-1 / 120)


def test_belts():
    toothed = toothed_belt(driving_teeth=20, driven_teeth=40, belt_teeth=100)
    assert (toothed.ratio, toothed.meshes) == (2.0, (20.0,))
    assert order_of(toothed, "belt") == pytest.approx(0.2)
    flat = plain_belt(driving_diameter=50.0, driven_diameter=100.0, belt_length=500.0)
    assert (flat.ratio, flat.meshes) == (2.0, ())
    assert order_of(flat, "belt") == pytest.approx(math.pi / 10)


def test_a_chain_multiplies_and_can_be_told_in_turns_of_any_shaft():
    belt, gears = toothed_belt(driving_teeth=20, driven_teeth=40, belt_teeth=100), rv(**RV_40)
    whole = chain([("belt", belt), ("rv", gears)])
    assert whole.ratio == pytest.approx(242)
    assert dict(whole.speeds)["rv.crankshaft"] == pytest.approx(0.5 * dict(gears.speeds)["crankshaft"])
    assert whole.meshes == pytest.approx((20.0, *(0.5 * mesh for mesh in gears.meshes)))
    assert order_of(whole, "rv: output shaft") == pytest.approx(1 / 242)
    behind = chain([("belt", belt), ("rv", gears)], monitored="belt.output")
    assert behind.meshes == pytest.approx((40.0, *gears.meshes))
    assert dict(behind.speeds)["input"] == pytest.approx(2.0)
    assert order_of(behind, "rv: output shaft") == pytest.approx(1 / 121), "in turns of the pulley, not of the input"
    assert behind.ratio == pytest.approx(242)


def test_only_the_ratio_is_known():
    assert known_ratio("rv", 121.0).meshes == ()
    assert order_of(known_ratio("harmonic", 80.0), "wave") == 2.0
    assert order_of(known_ratio("rv", 121.0), "output shaft") == pytest.approx(1 / 121)


# ------------------------------------------------------------------------- mechanisms from velocities at contacts


@given(zs=st.integers(8, 60), zp=st.integers(8, 60), n=st.integers(2, 6))
def test_planetary_rolls_without_slip_and_as_many_teeth_pass_at_every_mesh(zs, zp, n):
    stage = planetary(sun_teeth=zs, planet_teeth=zp, ring_teeth=zs + 2 * zp, n_planets=n)
    # Unknown: sun, ring, carrier, planet. Pitch radii are as the teeth; velocities agree at both contacts.
    equations = np.array(
        [
            [zs, 0, -(zs + zp), zp],
            [0, zs + 2 * zp, -(zs + zp), -zp],
            [1, 0, 0, 0],
            [0, 1, 0, 0],
        ],
        dtype=float,
    )
    sun, ring, carrier, planet = np.linalg.solve(equations, [0, 0, 1, 0])
    assert dict(stage.speeds) == pytest.approx(
        {"input": 1, "sun": sun, "ring": ring, "carrier": carrier, "planet": planet, "output": carrier}
    )
    assert stage.meshes[0] == pytest.approx(zs * abs(sun - carrier))
    assert stage.meshes[0] == pytest.approx(zp * abs(planet - carrier))
    assert order_of(stage, "planet fault") == pytest.approx(2 * abs(planet - carrier))


def rolled_rv(z1, z2, pins, fixed):
    """Speeds of crankshaft, carrier and case from velocities at the contacts of the pitch circles, input at 1."""
    # The disc has the carrier's speed, its centre runs around with the crank on a circle of radius e = 1; its rolling
    # circle has radius pins - 1, the pins' one pins. Unknown: sun, crank, carrier, case.
    equations = np.array(
        [
            [z1, z2, -(z1 + z2), 0],
            [0, 1, pins - 1, -pins],
            [1, 0, 0, 0],
            [0, 0, 0, 1] if fixed == "case" else [0, 0, 1, 0],
        ],
        dtype=float,
    )
    return np.linalg.solve(equations, [0, 0, 1, 0])[1:]


@pytest.mark.parametrize("fixed", ["case", "carrier"])
@given(z1=st.integers(6, 40), z2=st.integers(15, 80), pins=st.integers(10, 80))
def test_rv_rolls_without_slip(fixed, z1, z2, pins):
    stage = rv(sun_teeth=z1, planet_teeth=z2, pins=pins, fixed=fixed)
    crank, carrier, case = rolled_rv(z1, z2, pins, fixed)
    told = dict(stage.speeds)
    assert [told["crankshaft"], told["carrier"], told["case"]] == pytest.approx([crank, carrier, case], abs=1e-12)
    assert stage.meshes[1] == pytest.approx((pins - 1) * abs(crank - carrier)), "as many lobes as pins are passed"


def test_teeth_and_pins_that_pass_can_be_counted():
    crank, carrier, case = rolled_rv(12, 36, 40, "case")
    stage = rv(**RV_40)
    assert passings(1 - carrier, 12) == pytest.approx(stage.meshes[0], abs=0.06)
    assert passings(crank - case, 40) == pytest.approx(stage.meshes[1], abs=0.06)
    drive = harmonic(flexspline_teeth=100, circular_spline_teeth=102)
    flexspline = dict(drive.speeds)["flexspline"]
    assert passings(1 - flexspline, 100) == pytest.approx(drive.meshes[0], abs=0.06), "teeth of the flexspline"
    assert passings(1, 102) == pytest.approx(drive.meshes[0], abs=0.06), "teeth of the circular spline"


@given(f=st.integers(20, 400), step=st.integers(1, 3))
def test_harmonic_after_one_turn_the_flexspline_lags_by_the_difference_of_teeth(f, step):
    stage = harmonic(flexspline_teeth=f, circular_spline_teeth=f + 2 * step)
    assert dict(stage.speeds)["output"] * f == pytest.approx(-2 * step)
    assert dict(stage.speeds)["wave_generator"] == dict(stage.speeds)["input"] == 1.0
    assert stage.ratio == pytest.approx(f / (2 * step))


# -------------------------------------------------------------------------------- bearings on turning shafts


@given(inner=st.floats(-3, 3), outer=st.floats(-3, 3))
def test_bearing_with_both_rings_turning_by_velocities_of_ball_and_cage(inner, outer):
    if abs(inner - outer) < 1e-3:
        return
    n, ball, pitch = 9, 8.0, 40.0
    got = turned_bearing_orders(bearing_orders(n, ball, pitch), inner_speed=inner, outer_speed=outer)
    # Rolling at both raceways: the ball's centre moves at the mean of the raceways' velocities.
    at_inner, at_outer = inner * (pitch - ball) / 2, outer * (pitch + ball) / 2
    cage = (at_inner + at_outer) / 2 / (pitch / 2)
    spin = (at_outer - at_inner) / ball
    assert (got.ftf or 0.0) == pytest.approx(abs(cage), abs=1e-9)
    assert got.bpfo == pytest.approx(n * abs(outer - cage))
    assert got.bpfi == pytest.approx(n * abs(inner - cage))
    assert got.bsf == pytest.approx(abs(spin - cage))


def test_bearing_with_the_outer_ring_at_rest_is_what_it_was():
    at_rest = bearing_orders(9, 7.94, 39.04, 15.0)
    assert turned_bearing_orders(at_rest, inner_speed=1.0) == at_rest
    assert turned_bearing_orders(at_rest, inner_speed=-0.25).bpfo == pytest.approx(at_rest.bpfo / 4)
    with pytest.raises(ValueError, match="does not roll"):
        turned_bearing_orders(at_rest, inner_speed=0.5, outer_speed=0.5)
    with pytest.raises(ValueError, match="outer_speed"):
        turned_bearing_orders(at_rest, inner_speed=0.5, outer_speed=math.nan)


# ------------------------------------------------------------------------------------------------- bad counts


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: gear_pair(driving_teeth=0, driven_teeth=20), "driving_teeth"),
        (lambda: gear_pair(driving_teeth=18, driven_teeth=20.0), "driven_teeth"),
        (lambda: gear_pair(driving_teeth=True, driven_teeth=20), "driving_teeth"),
        (lambda: gear_pair(driving_teeth=18, driven_teeth=10**9), "driven_teeth"),
        (
            lambda: planetary(sun_teeth=20, planet_teeth=20, ring_teeth=62, n_planets=3),
            r"sun_teeth \+ 2 x planet_teeth = 60, got 62",
        ),
        (
            lambda: planetary(sun_teeth=20, planet_teeth=20, ring_teeth=60, n_planets=3, fixed="sun", driving="sun"),
            "two of sun, ring, carrier",
        ),
        (lambda: planetary(sun_teeth=20, planet_teeth=20, ring_teeth=60, n_planets=0), "n_planets"),
        (lambda: rv(**RV_40, lobes=38), "39, got 38"),
        (lambda: rv(**RV_40, fixed="sun"), "case or carrier"),
        (lambda: harmonic(flexspline_teeth=100, circular_spline_teeth=103), "multiple of 2"),
        (lambda: harmonic(flexspline_teeth=102, circular_spline_teeth=100), "circular_spline_teeth"),
        (lambda: toothed_belt(driving_teeth=20, driven_teeth=40, belt_teeth=30), "belt_teeth"),
        (lambda: plain_belt(driving_diameter=50.0, driven_diameter=50.0, belt_length=100.0), "belt_length"),
        (lambda: plain_belt(driving_diameter=math.nan, driven_diameter=50.0, belt_length=1e3), "driving_diameter"),
        (lambda: known_ratio("rv", 0.0), "ratio"),
        (lambda: check_ratio(rv(**RV_40), 105.0), "declared as 105, but the counts give 121"),
        (lambda: chain([]), "at least one"),
        (lambda: chain([("a", known_ratio("rv", 5.0))] * 2), "differ"),
        (lambda: chain([("rv", rv(**RV_40))], monitored="rv.case"), "does not turn here; one of input, rv.input"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(make, word):
    with pytest.raises(ValueError, match=word):
        make()


def test_a_rounded_ratio_is_no_contradiction():
    check_ratio(rv(**RV_40), 120.6)
    with pytest.raises(ValueError, match="counts give 121"):
        check_ratio(rv(**RV_40), 120.0)
