"""The text of a pair's method."""

from itertools import product

import pytest

from common.pairmethod import ESTIMATORS, OPTIONS, PairMethod


def test_every_method_has_one_text_that_is_read_back():
    texts = set()
    for estimator, log, prior, strict in product(ESTIMATORS, *[(False, True)] * 3):
        method = PairMethod(estimator, log, prior, strict)
        assert PairMethod.parse(method.text) == method
        texts.add(method.text)
    assert len(texts) == 32 and {"ols", "kalman+log+prior", "huber+strict"} <= texts


def test_options_may_come_in_any_order():
    assert PairMethod.parse("tls+strict+log").text == "tls+log+strict"
    assert PairMethod().text == "ols" and OPTIONS == ("log", "prior", "strict")


def test_only_the_filter_is_recursive():
    assert [name for name in ESTIMATORS if PairMethod.parse(name).is_recursive] == ["kalman"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "method must begin with one of ols, tls, kalman, huber, was ''"),
        ("OLS", "method must begin with one of ols, tls, kalman, huber, was 'OLS'"),
        ("log+ols", "method must begin with one of ols, tls, kalman, huber, was 'log+ols'"),
        ("ols+", "method has the unknown option '' (there are log, prior, strict), was 'ols+'"),
        ("ols+fast", "method has the unknown option 'fast' (there are log, prior, strict), was 'ols+fast'"),
        ("ols+log+log", "method must name each option once, was 'ols+log+log'"),
    ],
)
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(ValueError) as raised:
        PairMethod.parse(text)
    assert str(raised.value) == message
