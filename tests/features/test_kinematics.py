from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.kinematics import Orders, bearing_orders, check_bearing, geometry_version, turned_bearing_orders
from pipeline.assets.catalogue import catalogue

SKF_6205 = bearing_orders(9, 7.94, 39.04)


def test_skf_6205():
    # The figures that the CWRU Bearing Data Center states for this bearing (ball: spin of the ball, not its double).
    assert SKF_6205.bpfo == pytest.approx(3.5848, abs=5e-4)
    assert SKF_6205.bpfi == pytest.approx(5.4152, abs=5e-4)
    assert SKF_6205.bsf == pytest.approx(4.7135 / 2, abs=5e-4)
    assert SKF_6205.ftf == pytest.approx(0.39828, abs=5e-4)


@given(n=st.integers(3, 40), share=st.floats(0.01, 0.6), angle=st.floats(0, 80))
def test_identities_of_the_four_orders(n, share, angle):
    o = bearing_orders(n, share * 50, 50.0, angle)
    assert o.bpfo + o.bpfi == pytest.approx(n)
    assert o.bpfo == pytest.approx(n * o.ftf)
    assert 0 < o.ftf < 0.5 < o.bpfi / n < 1


def test_contact_angle_brings_the_races_together():
    assert bearing_orders(9, 7.94, 39.04, 40.0).bpfo > SKF_6205.bpfo


@pytest.mark.parametrize(
    "arguments, word",
    [
        ((1, 1.0, 5.0), "n_balls"),
        ((9.0, 1.0, 5.0), "n_balls"),
        ((9, 0.0, 5.0), "ball_diameter"),
        ((9, 1.0, float("nan")), "pitch_diameter"),
        ((9, 5.0, 5.0), "below pitch_diameter"),
        ((9, 1.0, 5.0, 90.0), "contact_angle_deg"),
    ],
)
def test_bad_geometry_is_refused_by_name(arguments, word):
    with pytest.raises(ValueError, match=word):
        bearing_orders(*arguments)


@pytest.mark.parametrize("field", ["bpfo", "bpfi", "bsf", "ftf"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "3"])
def test_bad_orders_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        Orders(**{field: value})


def test_gear_mesh_is_checked_entry_by_entry_and_may_be_a_list():
    with pytest.raises(ValueError, match=r"gear_mesh\[1\]"):
        Orders(gear_mesh=(12.0, -3.0))
    assert Orders(gear_mesh=[12.0]).gear_mesh == (12.0,)
    assert hash(Orders(gear_mesh=[12.0])) == hash(Orders(gear_mesh=(12.0,)))


def test_geometry_version_names_the_content():
    assert geometry_version(None) == "none"
    assert geometry_version(Orders(bpfo=3.585)) == "03780bc1c11f1ffc"  # frozen: it is a key in the database
    assert geometry_version(Orders(bpfo=3)) == geometry_version(Orders(bpfo=3.0))
    assert geometry_version(Orders(gear_mesh=(7, 12))) == geometry_version(Orders(gear_mesh=(12.0, 7.0)))
    versions = {
        geometry_version(o)
        for o in (Orders(), Orders(bpfo=3.0), Orders(bpfi=3.0), Orders(gear_mesh=(3.0,)), Orders(bpfo=3.0000001))
    }
    assert len(versions) == 5


def rounded(orders, digits=3):
    return replace(orders, **{n: round(getattr(orders, n), digits) for n in ("bpfo", "bpfi", "bsf", "ftf")})


@pytest.mark.parametrize(
    "n, ball, pitch, angle",
    [(9, 7.94, 39.04, 0.0), (8, 7.94, 33.5, 0.0), (20, 8.4, 71.5, 15.17), (14, 5.0, 40.0, 40.0)],
)
def test_orders_of_bearings_pass_as_rounded_as_data_sheets_have_them(n, ball, pitch, angle):
    orders = bearing_orders(n, ball, pitch, angle)
    for digits in (2, 3, 6):
        assert check_bearing(rounded(orders, digits)) == rounded(orders, digits)
    for ratio in (0.5, 0.4, 0.013, 3.0):
        turned = replace(turned_bearing_orders(orders, inner_speed=ratio), inner_ring=1.0)
        assert check_bearing(turned).inner_ring == pytest.approx(ratio, abs=1e-3), "the ring's speed is told"
        named = replace(turned, ftf=None, shafts=(ratio,))
        assert check_bearing(named).inner_ring in (1.0, pytest.approx(ratio, abs=1e-3)), (
            "of two that fit, the monitored"
        )
    hub = turned_bearing_orders(orders, inner_speed=0.0, outer_speed=1.0)
    assert check_bearing(hub) == hub
    for lacking in ("bpfo", "bpfi"):
        assert check_bearing(replace(orders, **{lacking: None})) == replace(orders, **{lacking: None})


@pytest.mark.parametrize("n, ball, pitch, angle", [(9, 7.94, 39.04, 0.0), (12, 6.0, 42.0, 25.0)])
def test_orders_that_no_bearing_has_are_refused_with_the_arithmetic(n, ball, pitch, angle):
    orders = rounded(bearing_orders(n, ball, pitch, angle))
    for changed, word in (
        (replace(orders, bsf=2 * orders.bsf), f"is 2 x bsf.*give bsf = {orders.bsf:.4g}"),
        (replace(orders, bsf=0.3 * orders.bsf), "at most, got"),
        (replace(orders, bsf=5 * orders.bsf), "at most, got"),
        (replace(orders, ftf=1.15 * orders.ftf), f"makes {n} balls and"),
        (replace(orders, bpfi=orders.bpfi + 0.4, ftf=None), "no whole number.*name reducer"),
        (replace(orders, bpfi=orders.bpfi + 0.4, ftf=1.06 * orders.ftf), "none either"),
        (replace(orders, bpfo=orders.bpfi, bpfi=orders.bpfo), "swapped"),
        (replace(orders, bpfi=None, ftf=1.06 * orders.ftf), "no number of balls"),
        (replace(orders, bpfi=None, bsf=2 * orders.bsf), f"is 2 x bsf.*give bsf = {orders.bsf:.4g}"),
        (replace(orders, bpfo=None, bsf=2 * orders.bsf), f"is 2 x bsf.*give bsf = {orders.bsf:.4g}"),
        (replace(orders, ftf=1 - orders.ftf), "outer ring turns; then name outer_ring"),
    ):
        with pytest.raises(ValueError, match=word):
            check_bearing(changed)


def test_what_is_not_given_is_not_judged():
    for orders in (Orders(), Orders(bpfo=3.1), Orders(bpfi=7.3, bsf=9.0), Orders(ftf=0.7), Orders(gear_mesh=(3.3,))):
        assert check_bearing(orders) == orders


def test_every_shipped_bearing_passes():
    for bearing in catalogue()[0]:
        assert check_bearing(rounded(bearing.orders(), 3)) == rounded(bearing.orders(), 3)
