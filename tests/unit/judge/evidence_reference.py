#!/usr/bin/python3
"""Prints the known values in evidence*_test.c, computed another way: scipy's log gamma, optimisers and quadrature.

    evidence_reference.py        needs python3-scipy; no test runs it
"""
from math import log, pi

from scipy import integrate, optimize
from scipy.special import betaln, gammaln


def mixture(bad, n, a, b):
    return betaln(bad + a, n - bad + b) - betaln(a, b)


def likelihood(bad, n, rate):
    return (bad * log(rate) if bad else 0) + ((n - bad) * log(1 - rate) if n > bad else 0)


def above(bad, n, tolerated, prior):
    strength = prior / min(tolerated, 1 - tolerated)
    best = min(bad / n if n else 0, tolerated)
    return mixture(bad, n, strength * tolerated, strength * (1 - tolerated)) - likelihood(bad, n, best)


def at_difference(bad_b, n_b, bad_c, n_c, difference):
    """The two mixtures over the largest likelihood of rates that differ by just this."""
    least, most = max(0, -difference) + 1e-13, min(1, 1 - difference) - 1e-13
    best = optimize.minimize_scalar(lambda p: -likelihood(bad_b, n_b, p) - likelihood(bad_c, n_c, p + difference),
                                    bounds=(least, most), method="bounded", options={"xatol": 1e-14})
    return mixture(bad_b, n_b, .5, .5) + mixture(bad_c, n_c, .5, .5) + best.fun


def worse(bad_b, n_b, bad_c, n_c, margin):
    seen = bad_c / n_c - bad_b / n_b
    return at_difference(bad_b, n_b, bad_c, n_c, min(seen, margin))


def interval(bad, n, alpha):
    def over(rate):
        return mixture(bad, n, .5, .5) - likelihood(bad, n, rate) - log(1 / alpha)
    low = optimize.brentq(over, 1e-300, bad / n, xtol=1e-15) if bad else 0
    high = optimize.brentq(over, bad / n, 1 - 1e-16, xtol=1e-15) if bad < n else 1
    return low, high


def difference_interval(bad_b, n_b, bad_c, n_c, alpha):
    seen = bad_c / n_c - bad_b / n_b
    def over(difference):
        return at_difference(bad_b, n_b, bad_c, n_c, difference) - log(1 / alpha)
    return optimize.brentq(over, -.5, seen), optimize.brentq(over, seen, .5)


def shares(counts, share, prior=200.):
    return float(gammaln(prior) - gammaln(prior + sum(counts)) + sum(
        gammaln(prior * s + n) - gammaln(prior * s) - n * log(s) for n, s in zip(counts, share)))


def gamma_excess(n, prior):
    return float(gammaln(n + prior)) - (n * log(n) - n if n else 0)


def main():
    for function, cases in (
            (gamma_excess, [(0, .5), (1, .5), (15, .5), (16, 1), (100, .5), (1000, 4.), (50, 2000.)]),
            (above, [(0, 100, .02, .5), (10, 100, .02, .5), (100, 100, .02, .5), (1, 3, .5, .5), (30, 1000, .01, 4),
                     (990, 1000, .98, 4)]),
            (worse, [(10, 1000, 30, 1000, 0), (10, 1000, 30, 1000, .005), (95, 9500, 25, 500, .01),
                     (5, 1000, 5, 1000, 0), (1, 10000, 40, 500, .001)]),
            (interval, [(0, 100, .05), (10, 1000, .05), (50, 100, .01), (100, 100, .05)]),
            (difference_interval, [(20, 1000, 60, 1000, .05)]),
            (shares, [((50, 50), (.5, .5)), ((600, 400), (.5, .5)), ((10, 20, 70), (.2, .3, .5)),
                      ((940, 60), (.95, .05))])):
        for case in cases:
            print(f"{function.__name__}{case} = {function(*case)!r}")
    quadrature = integrate.quad(lambda p: p ** 9.5 * (1 - p) ** 89.5 / pi, 0, 1, epsabs=0, epsrel=1e-12)[0]
    print(f"the mixture of 10 in 100 by quadrature = {log(quadrature)!r}")


if __name__ == "__main__":
    main()
